//! JSON as values of the language, and how values look in a message.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::{self, Write as _};

use cel_rust::Value;
use cel_rust::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use cel_rust::common::value::Val;
use probity_check::excerpt;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::needs::Keys;

/// The most characters of a value in a message.
const SHOWN_CHARS: usize = 80;

/// A value of the language that may borrow from the body.
pub(crate) type Item<'v> = Box<dyn Val + 'v>;

/// Reads of a JSON text what stands at these keys; the rest is only checked. A byte order mark is
/// ignored.
pub(crate) fn parse<'v>(text: &'v str, keys: &Keys) -> Result<Item<'v>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let value = Json(keys).deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Reads a JSON value without a step between: a number without a fraction is an int.
struct Json<'a>(&'a Keys);

impl<'de> DeserializeSeed<'de> for Json<'_> {
    type Value = Item<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Item<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Json<'_> {
    type Value = Item<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Item<'de>, E> {
        Ok(Box::new(CelNull))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Item<'de>, E> {
        Ok(Box::new(CelBool::from(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Item<'de>, E> {
        Ok(Box::new(CelInt::from(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Item<'de>, E> {
        Ok(match i64::try_from(value) {
            Ok(value) => Box::new(CelInt::from(value)),
            Err(_) => Box::new(CelUInt::from(value)),
        })
    }

    fn visit_f64<E>(self, value: f64) -> Result<Item<'de>, E> {
        Ok(Box::new(CelDouble::from(value)))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Item<'de>, E> {
        Ok(Box::new(CelString::from(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Item<'de>, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E>(self, value: String) -> Result<Item<'de>, E> {
        Ok(Box::new(CelString::from(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Item<'de>, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(Json(&Keys::All))? {
            all.push(item);
        }
        Ok(Box::new(CelList::from(all)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Item<'de>, A::Error> {
        let mut all = HashMap::new();
        while let Some(Key(key)) = entries.next_key()? {
            if !self.0.has(&key) {
                entries.next_value::<IgnoredAny>()?;
                continue;
            }
            let key = match key {
                Cow::Borrowed(key) => CelMapKey::from(key),
                Cow::Owned(key) => CelMapKey::from(key),
            };
            all.insert(key, entries.next_value_seed(Json(&Keys::All))?);
        }
        Ok(Box::new(CelMap::from(all)))
    }
}

/// A key, borrowed where it was written without escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

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

    fn read(text: &str, keys: &Keys) -> Value {
        Value::try_from(parse(text, keys).unwrap().as_ref()).unwrap()
    }

    #[test]
    fn values_look_like_json() {
        let json = r#"{"a":[1,-2,0.5,18446744073709551615,null,true],"b":{"c":"x\n"}}"#;
        assert_eq!(shown(&read(json, &Keys::All)), json);
        let long = format!("[{}0]", "0,".repeat(1000));
        assert_eq!(shown(&read(&long, &Keys::All)).chars().count(), SHOWN_CHARS + 1);
    }

    #[test]
    fn what_is_not_used_is_checked_and_left_out() {
        let keys = Keys::Only(vec!["b".to_owned(), "d\n".to_owned()]);
        let json = "\u{feff}{\"a\":[1,{}],\"b\":{\"a\":1},\"c\":2,\"d\\n\":\"\\u00e9\"}";
        assert_eq!(shown(&read(json, &keys)), r#"{"b":{"a":1},"d\n":"é"}"#);
        assert_eq!(shown(&read("[{\"a\":1}]", &keys)), r#"[{"a":1}]"#);
        for broken in ["{\"a\":[1,}", "{\"b\":1} 2", "", "{\"a\":01}"] {
            assert!(parse(broken, &keys).is_err(), "{broken}");
        }
    }
}
