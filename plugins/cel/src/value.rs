//! JSON as values of the language, and how values look in a message.

use std::collections::HashMap;
use std::fmt::{self, Write as _};

use cel_rust::Value;
use probity_check::excerpt;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// The most characters of a value in a message.
const SHOWN_CHARS: usize = 80;

/// Reads a JSON text; a byte order mark is ignored.
pub(crate) fn parse(text: &str) -> Result<Json, serde_json::Error> {
    serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// A JSON value, read without a step between: a number without a fraction is an int.
pub(crate) struct Json(pub(crate) Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json(i64::try_from(value).map_or_else(|_| value.into(), Value::from)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut all: Vec<Value> = Vec::new();
        while let Some(Json(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Json(all.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut all: HashMap<String, Value> = HashMap::new();
        while let Some((key, Json(value))) = entries.next_entry()? {
            all.insert(key, value);
        }
        Ok(Json(all.into()))
    }
}

/// A value in a message, cut to a bound.
pub(crate) fn shown(value: &Value) -> String {
    if let Value::String(text) = value {
        return excerpt(text.as_bytes(), SHOWN_CHARS);
    }
    let mut text = String::new();
    show(value, &mut text);
    if let Some((end, _)) = text.char_indices().nth(SHOWN_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Writes a value like its JSON, until there is enough of it.
fn show(value: &Value, text: &mut String) {
    if text.len() > SHOWN_CHARS * 4 {
        return;
    }
    // Writing to a string cannot fail.
    let _ = match value {
        Value::Null => write!(text, "null"),
        Value::Bool(value) => write!(text, "{value}"),
        Value::Int(value) => write!(text, "{value}"),
        Value::UInt(value) => write!(text, "{value}"),
        Value::Float(value) => write!(text, "{value}"),
        Value::String(value) => write!(text, "{}", excerpt(value.as_bytes(), SHOWN_CHARS)),
        Value::List(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate().take(SHOWN_CHARS) {
                text.push_str(if index == 0 { "" } else { "," });
                show(item, text);
            }
            write!(text, "]")
        }
        Value::Map(map) => {
            // They have no order of their own.
            let mut entries: Vec<(String, &Value)> =
                map.map.iter().map(|(key, value)| (key.to_string(), value)).collect();
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            text.push('{');
            for (index, (key, value)) in entries.iter().enumerate().take(SHOWN_CHARS) {
                text.push_str(if index == 0 { "" } else { "," });
                let _ = write!(text, "{}:", excerpt(key.as_bytes(), SHOWN_CHARS));
                show(value, text);
            }
            write!(text, "}}")
        }
        other => write!(text, "of type {}", other.type_of()),
    };
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn values_look_like_json() {
        let json = r#"{"a":[1,-2,0.5,18446744073709551615,null,true],"b":{"c":"x\n"}}"#;
        assert_eq!(shown(&parse(json).unwrap().0), json);
        let long = format!("[{}0]", "0,".repeat(1000));
        assert_eq!(shown(&parse(&long).unwrap().0).chars().count(), SHOWN_CHARS + 1);
    }
}
