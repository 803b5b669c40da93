//! What a case wants of a row, as data: column to value, and a few words for what no value can say.

use serde_json::{Value, json};

use super::Row;

/// What of a row is not as it is wanted, a line each. What is wanted of a column is its value, or a text:
/// `null`; `>= 5` for a number that is at least this; `< other_column`; `*part*` for a text that has this in it.
/// Of a map, the keys that are named are held.
pub(crate) fn differences(row: &Row, wanted: &Row) -> Vec<String> {
    let differs = wanted.iter().filter(|(column, wanted)| {
        let is = row.get(*column).unwrap_or_else(|| panic!("there is no column \"{column}\""));
        !holds(is, wanted, row)
    });
    differs.map(|(column, wanted)| format!("{column} is {}, not {wanted}", row[column])).collect()
}

fn holds(is: &Value, wanted: &Value, row: &Row) -> bool {
    match wanted {
        Value::String(text) => {
            if text == "null" {
                is.is_null()
            } else if let Some(least) = text.strip_prefix(">= ") {
                is.as_i64() >= Some(least.parse().expect("a number after >="))
            } else if let Some(other) = text.strip_prefix("< ") {
                is.as_i64().is_some() && is.as_i64() < row[other].as_i64()
            } else if let Some(part) = text.strip_prefix('*').and_then(|text| text.strip_suffix('*')) {
                is.as_str().is_some_and(|is| is.contains(part))
            } else {
                is == wanted
            }
        }
        Value::Object(wanted) => {
            wanted.iter().all(|(key, wanted)| is.get(key).is_some_and(|is| holds(is, wanted, row)))
        }
        wanted => is == wanted,
    }
}

/// A value as it stands in a pipeline file, on one line.
pub(crate) fn inline(value: &Value) -> String {
    match value {
        Value::Null => "{}".to_owned(),
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(pairs) => {
            let pair = |(key, value): (&String, &Value)| format!("{} = {}", json!(key), inline(value));
            format!("{{ {} }}", pairs.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
        scalar => scalar.to_string(),
    }
}
