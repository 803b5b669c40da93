//! What a file says, whatever it looks like: the same text for the same keys and values, without regard to
//! their order, to comments and to how they are written. Values that stand elsewhere are what the file says of
//! them, so that no secret gets in.

use std::fmt::Write as _;

use toml::de::{DeTable, DeValue};

/// A table as such a text, without the keys of `except`. To be made before values that stand elsewhere take
/// their place.
pub fn canonical(table: &DeTable<'_>, except: &[&str]) -> String {
    let mut out = String::new();
    write_table(table, except, &mut out);
    out
}

fn write_table(table: &DeTable<'_>, except: &[&str], out: &mut String) {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by(|a, b| a.0.get_ref().cmp(b.0.get_ref()));
    out.push('{');
    for (key, value) in entries {
        if except.contains(&key.get_ref().as_ref()) {
            continue;
        }
        let _ = write!(out, "{:?}:", key.get_ref());
        write_value(value.get_ref(), out);
        out.push(',');
    }
    out.push('}');
}

fn write_value(value: &DeValue<'_>, out: &mut String) {
    let _ = match value {
        DeValue::String(text) => write!(out, "{text:?}"),
        DeValue::Boolean(found) => write!(out, "{found}"),
        DeValue::Datetime(date) => write!(out, "{date}"),
        DeValue::Float(number) => match number.as_str().parse::<f64>() {
            Ok(number) => write!(out, "{number:?}"),
            Err(_) => write!(out, "{number}"),
        },
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => write!(out, "{number}"),
            Err(_) => write!(out, "{number}"),
        },
        DeValue::Array(items) => {
            out.push('[');
            for item in items {
                write_value(item.get_ref(), out);
                out.push(',');
            }
            out.write_char(']')
        }
        DeValue::Table(table) => {
            write_table(table, &[], out);
            Ok(())
        }
    };
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Diagnostics, Document};

    fn text(toml: &str) -> String {
        let document = Document::new(Path::new("x.toml"), toml.to_owned());
        canonical(document.parse(&mut Diagnostics::default()).unwrap().get_ref(), &["tests"])
    }

    #[test]
    fn looks_do_not_count() {
        let one = text("# note\na = 0x10\nb = 'x'\n[c]\nd = [1,\n 2]\n[[tests]]\nname = 'x'\n");
        assert_eq!(one, text("c = { d = [1, 2] }\nb = \"x\"\na = 16"));
        assert_ne!(one, text("c = { d = [1, 3] }\nb = \"x\"\na = 16"));
        assert_ne!(text("a = '1'"), text("a = 1"));
        assert_ne!(text("a = 'x\",b:'"), text("a = 'x'\nb = ''"));
    }
}
