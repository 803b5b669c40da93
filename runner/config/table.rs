//! Tables of a file, declared once: the fields with their types, defaults and documentation. The
//! macros write the struct, the code that takes it from a file, and its part of the reference.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::reference::FieldDoc;
use super::suggest::did_you_mean;
use super::value::entries;
use super::{Code, Context, Diagnostic, Diagnostics, Document, FromValue};

/// Takes the fields of one table, and tells of keys that nobody took.
pub struct Reader<'r, 'a, 't, 'i> {
    title: &'static str,
    table: &'t DeTable<'i>,
    span: std::ops::Range<usize>,
    taken: Vec<&'static str>,
    context: &'r mut Context<'a>,
}

impl<'r, 'a, 't, 'i> Reader<'r, 'a, 't, 'i> {
    /// Begins with a table; tells if the value is none.
    pub fn open(
        value: &'t Spanned<DeValue<'i>>,
        title: &'static str,
        context: &'r mut Context<'a>,
    ) -> Option<Self> {
        let DeValue::Table(table) = value.get_ref() else {
            context.wrong_type(value, "a table");
            return None;
        };
        let taken = context.tag.take().into_iter().collect();
        Some(Self { title, table, span: value.span(), taken, context })
    }

    /// Takes one field: the file's value, else the default (TOML text), else what stands for an
    /// absent one; tells if there must be one.
    pub fn take<T: FromValue>(&mut self, key: &'static str, default: Option<&'static str>) -> Option<T> {
        self.taken.push(key);
        if let Some(value) = self.table.get(key) {
            return T::from_value(value, self.context);
        }
        if let Some(text) = default {
            return default_value(text);
        }
        let absent = T::absent();
        if absent.is_none() {
            let place = self.context.document.hidden_place(self.span.clone());
            let message = format!("the key \"{key}\" is missing in {}", self.title);
            self.context.diagnostics.add(Diagnostic::error(Code::MissingKey, place, message));
        }
        absent
    }

    /// Tells of every key that was not taken.
    pub fn finish(self) {
        for (key, _) in entries(self.table) {
            if self.taken.contains(&key.get_ref().as_ref()) {
                continue;
            }
            let place = self.context.document.place(key.span());
            let message = format!("unknown key \"{}\" in {}", key.get_ref(), self.title);
            let hint = match did_you_mean(key.get_ref(), self.taken.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("known keys are: {}", self.taken.join(", ")),
            };
            self.context.diagnostics.add(Diagnostic::error(Code::UnknownKey, place, message).hint(hint));
        }
    }
}

/// Takes a default from its TOML text. A default that cannot be taken is a fault of ours, which the
/// reference test finds.
pub(crate) fn default_value<T: FromValue>(text: &'static str) -> Option<T> {
    let document = Document::new(std::path::Path::new("<default>"), text.to_owned());
    let value = DeValue::parse(text).ok()?;
    let mut diagnostics = Diagnostics::default();
    let mut context = Context { document: &document, diagnostics: &mut diagnostics, tag: None };
    T::from_default(&value, &mut context)
}

/// What stands for a field whose value is wrong: its default, or what stands for an absent one.
pub(crate) fn fallback<T: FromValue>(default: Option<&'static str>) -> Option<T> {
    default.map_or_else(T::absent, default_value)
}

/// What a table without any key is; none if a key must be given.
pub(crate) fn empty_table<T: FromValue>() -> Option<T> {
    default_value("{}")
}

/// Documentation of one field, for the macro.
pub(crate) fn field_doc<T: FromValue>(
    name: &'static str,
    default: Option<&'static str>,
    doc: &'static str,
) -> FieldDoc {
    FieldDoc {
        name,
        type_text: T::type_text(),
        required: default.is_none() && T::absent().is_none(),
        default,
        doc,
        schema: T::schema(),
    }
}

/// Declares a table: its struct, how it is read, and its reference.
///
/// A field is `key: Type`, with `= r#"TOML text"#` for a default. `Option` and lists may be absent.
macro_rules! config_table {
    (
        $(#[doc = $doc:literal])+
        $vis:vis struct $name:ident, $title:literal {
            $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty $(= $default:literal)?,)+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
        $vis struct $name {
            $($(#[doc = $field_doc])+ pub $field: $type,)+
        }

        impl $name {
            /// The table's documentation.
            $vis fn table_doc() -> $crate::config::TableDoc {
                $crate::config::TableDoc {
                    title: $title,
                    doc: concat!($($doc, "\n"),+),
                    fields: vec![$(
                        $crate::config::table::field_doc::<$type>(
                            stringify!($field),
                            $crate::config::table::config_table!(@default $($default)?),
                            concat!($($field_doc, "\n"),+),
                        ),
                    )+],
                }
            }
        }

        impl $crate::config::FromValue for $name {
            fn type_text() -> String {
                concat!("table ", $title).to_owned()
            }

            fn schema() -> serde_json::Value {
                Self::table_doc().schema(None)
            }

            fn tables(out: &mut Vec<$crate::config::TableDoc>) {
                out.push(Self::table_doc());
                $(<$type as $crate::config::FromValue>::tables(out);)+
            }

            fn from_value(
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                context: &mut $crate::config::Context<'_>,
            ) -> Option<Self> {
                let mut reader = $crate::config::Reader::open(value, $title, context)?;
                $(let $field: Option<$type> = reader.take(
                    stringify!($field),
                    $crate::config::table::config_table!(@default $($default)?),
                );)+
                reader.finish();
                // A field that is wrong has been told of; the rest goes on with what it would be by default,
                // so that the problems behind it are told as well.
                Some(Self {
                    $($field: $field.or_else(|| $crate::config::table::fallback(
                        $crate::config::table::config_table!(@default $($default)?),
                    ))?,)+
                })
            }

            fn absent() -> Option<Self> {
                $crate::config::table::empty_table()
            }
        }
    };
    (@default) => { None };
    (@default $default:literal) => { Some($default) };
}

/// Declares a closed list of texts.
macro_rules! config_enum {
    (
        $(#[doc = $doc:literal])+
        $vis:vis enum $name:ident {
            $($(#[doc = $variant_doc:literal])+ $variant:ident = $text:literal,)+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name { $($(#[doc = $variant_doc])+ $variant,)+ }

        impl $crate::config::FromValue for $name {
            fn type_text() -> String {
                [$(concat!("\"", $text, "\"")),+].join(" or ")
            }

            fn schema() -> serde_json::Value {
                serde_json::json!({ "enum": [$($text),+] })
            }

            fn from_value(
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                context: &mut $crate::config::Context<'_>,
            ) -> Option<Self> {
                let text = $crate::config::table::word(value, &[$($text),+], context)?;
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

/// Declares tables that stand under one key and are told apart by the key `type`.
macro_rules! config_variants {
    (
        $(#[doc = $doc:literal])+
        $vis:vis enum $name:ident, $title:literal, default $default:expr, {
            $($(#[doc = $variant_doc:literal])+ $variant:ident($table:ty) = $text:literal,)+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
        #[allow(clippy::large_enum_variant, reason = "a file has a handful of them")]
        $vis enum $name { $($(#[doc = $variant_doc])+ $variant($table),)+ }

        impl $crate::config::FromValue for $name {
            fn type_text() -> String {
                concat!("table ", $title).to_owned()
            }

            fn schema() -> serde_json::Value {
                $crate::config::reference::variants_schema(
                    &[$(($text, <$table>::table_doc())),+],
                    $default,
                )
            }

            fn tables(out: &mut Vec<$crate::config::TableDoc>) {
                $(<$table as $crate::config::FromValue>::tables(out);)+
            }

            fn from_value(
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                context: &mut $crate::config::Context<'_>,
            ) -> Option<Self> {
                let text = $crate::config::table::tag(value, $title, &[$($text),+], $default, context)?;
                context.tag = Some("type");
                match text {
                    $($text => <$table as $crate::config::FromValue>::from_value(value, context).map(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

pub(crate) use {config_enum, config_table, config_variants};

/// One of the known words, or a diagnostic.
pub(crate) fn word(
    value: &Spanned<DeValue<'_>>,
    known: &[&'static str],
    context: &mut Context<'_>,
) -> Option<&'static str> {
    let DeValue::String(text) = value.get_ref() else {
        context.wrong_type(value, "a string");
        return None;
    };
    let found = known.iter().find(|word| **word == text.as_ref()).copied();
    if found.is_none() {
        let hint = did_you_mean(text, known.iter().copied()).map(|near| format!("did you mean \"{near}\"?"));
        context.bad_value(value.span(), format!("one of {} is wanted here", quoted(known)), hint);
    }
    found
}

/// The tag of a table with variants, or a diagnostic.
pub(crate) fn tag(
    value: &Spanned<DeValue<'_>>,
    title: &'static str,
    known: &[&'static str],
    default: Option<&'static str>,
    context: &mut Context<'_>,
) -> Option<&'static str> {
    let DeValue::Table(table) = value.get_ref() else {
        context.wrong_type(value, "a table");
        return None;
    };
    if let Some(found) = table.get("type") {
        return word(found, known, context);
    }
    if default.is_none() {
        let place = context.document.hidden_place(value.span());
        let message = format!("the key \"type\" is missing in {title}");
        let hint = format!("it is one of {}", quoted(known));
        context.diagnostics.add(Diagnostic::error(Code::MissingKey, place, message).hint(hint));
    }
    default
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::Located;

    config_table! {
        /// A table.
        struct Outer, "the file" {
            /// How often.
            every: Located<Duration> = r#""60s""#,
            /// A word.
            mode: Option<Mode>,
            /// Tables below.
            inner: Inner,
            /// Several of a kind.
            things: Vec<Thing>,
        }
    }

    config_table! {
        /// A table below.
        struct Inner, "[inner]" {
            /// A switch.
            on: bool = "true",
        }
    }

    config_enum! {
        /// A mode.
        enum Mode {
            /// Fast.
            Fast = "fast",
            /// Slow.
            Slow = "slow",
        }
    }

    config_variants! {
        /// A thing.
        enum Thing, "[[things]]", default Some("small"), {
            /// Small.
            Small(Small) = "small",
            /// Large.
            Large(Inner) = "large",
        }
    }

    config_table! {
        /// A small thing.
        struct Small, "[[things]]" {
            /// A name.
            name: String,
        }
    }

    fn read(text: &str) -> (Option<Outer>, String) {
        let document = Document::new(Path::new("x.toml"), text.to_owned());
        let mut diagnostics = Diagnostics::default();
        let outer = document.parse(&mut diagnostics).and_then(|table| {
            let value = Spanned::new(table.span(), DeValue::Table(table.into_inner()));
            let mut context = Context { document: &document, diagnostics: &mut diagnostics, tag: None };
            Outer::from_value(&value, &mut context)
        });
        (outer, diagnostics.render(false))
    }

    #[test]
    fn absent_tables_take_their_defaults() {
        let (outer, problems) = read("# nothing\n");
        let outer = outer.unwrap();
        assert_eq!((outer.every.value, outer.every.span), (Duration::from_mins(1), None));
        assert!(outer.inner.on && outer.mode.is_none() && outer.things.is_empty());
        assert_eq!(problems, "");
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let (outer, problems) = read(
            "every = 5\nmode = \"fats\"\n[inner]\nonn = true\n[[things]]\n[[things]]\ntype = \"large\"\nname = \"x\"\n",
        );
        assert_eq!(outer.unwrap().every.value, Duration::from_mins(1), "what is wrong is its default");
        for part in [
            "x.toml:1:9",
            "a duration in double quotes",
            "x.toml:2:8",
            "did you mean \"fast\"?",
            "unknown key \"onn\" in [inner]",
            "did you mean \"on\"?",
            "the key \"name\" is missing in [[things]]",
            "unknown key \"name\" in [inner]",
        ] {
            assert!(problems.contains(part), "{part}\n{problems}");
        }
    }

    #[test]
    fn variants_are_told_apart() {
        let (outer, problems) = read("things = [{ name = \"a\" }, { type = \"large\", on = false }]");
        assert_eq!(problems, "");
        let things = outer.unwrap().things;
        assert!(matches!(&things[0], Thing::Small(small) if small.name == "a"));
        assert!(matches!(&things[1], Thing::Large(inner) if !inner.on));
    }
}
