//! A check's configuration: from the host's JSON text to the check's own type, with messages for
//! the person who wrote it.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Reads a configuration. No text, or `null`, is an empty table.
///
/// The error names the key: `phase: unknown variant "tsl", expected one of ...`. It has no line and
/// column, because the JSON text is the host's and not what the person wrote.
pub fn parse<Config: DeserializeOwned>(json: &str) -> Result<Config, String> {
    let json = match json.trim() {
        "" | "null" => "{}",
        text => text,
    };
    let mut reader = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| refusal(&error.path().to_string(), &error.inner().to_string()))
}

/// Words a refusal of `serde_json` as the rest of Probity would.
fn refusal(path: &str, message: &str) -> String {
    // It adds ` at line 1 column 9`, and quotes with backticks.
    let message = message.rfind(" at line ").map_or(message, |end| &message[..end]).replace('`', "\"");
    let (path, message) = if let Some(rest) = message.strip_prefix("unknown field ") {
        // The message names the key; the path is the table it stands in.
        let table = path.rfind('.').map_or("", |end| &path[..end]);
        (table, format!("unknown key {rest}"))
    } else if let Some(rest) = message.strip_prefix("missing field ") {
        (path, format!("missing key {rest}"))
    } else {
        (path, message)
    };
    match path {
        // The whole configuration.
        "" | "." => message,
        path => format!("{path}: {message}"),
    }
}

/// One value, or a list of values: `"a"` is read as `["a"]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OneOrMany<Item>(pub Vec<Item>);

impl<Item> Default for OneOrMany<Item> {
    fn default() -> Self {
        OneOrMany(Vec::new())
    }
}

impl<Item: JsonSchema> JsonSchema for OneOrMany<Item> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("one_or_many_{}", Item::schema_name()).into()
    }

    fn schema_id() -> Cow<'static, str> {
        format!("OneOrMany<{}>", Item::schema_id()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<Item>();
        json_schema!({ "oneOf": [item, { "type": "array", "items": item }] })
    }
}

impl<'de, Item: Deserialize<'de>> Deserialize<'de> for OneOrMany<Item> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor(PhantomData))
    }
}

struct OneOrManyVisitor<Item>(PhantomData<Item>);

/// A value alone is handed to the item's own reader, so that a refusal is worded by the item.
impl<'de, Item: Deserialize<'de>> Visitor<'de> for OneOrManyVisitor<Item> {
    type Value = OneOrMany<Item>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("one value or a list of values")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Item::deserialize(text.into_deserializer()).map(|item| OneOrMany(vec![item]))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        Item::deserialize(number.into_deserializer()).map(|item| OneOrMany(vec![item]))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        Item::deserialize(number.into_deserializer()).map(|item| OneOrMany(vec![item]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(OneOrMany(all))
    }
}

/// A length of time written with its unit, as everywhere in a pipeline file: `"800ms"`, `"1.5s"`,
/// `"1m30s"`. Units: `ns`, `us`, `ms`, `s`, `m`, `h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(
    with = "String",
    rename = "duration",
    description = "A number with a unit (ns, us, ms, s, m, h), or several: \"800ms\", \"1.5s\", \"1m30s\".",
    extend("pattern" = "^([0-9]+(\\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$")
)]
pub struct Length(pub Duration);

impl Length {
    /// Reads `"1m30s"`. The error says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refusal =
            || format!("\"{text}\" is not a duration: write it with a unit, like \"800ms\" or \"2s\"");
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(refusal());
        }
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(refusal)?;
            let (number, after) = rest.split_at(number_end);
            let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, after) = after.split_at(unit_end);
            let part = nanoseconds(number, unit).ok_or_else(refusal)?;
            total = total.checked_add(Duration::from_nanos(part)).ok_or_else(refusal)?;
            rest = after;
        }
        Ok(Length(total))
    }
}

/// `number` (digits, perhaps with a fraction) of `unit` in nanoseconds, without going through a float.
fn nanoseconds(number: &str, unit: &str) -> Option<u64> {
    let unit_ns: u64 = match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let mut total = whole.parse::<u64>().ok()?.checked_mul(unit_ns)?;
    let mut digit_ns = unit_ns;
    if fraction.is_empty() {
        return None;
    }
    for digit in fraction.chars() {
        digit_ns /= 10;
        total = total.checked_add(u64::from(digit.to_digit(10)?) * digit_ns)?;
    }
    Some(total)
}

impl Display for Length {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let (unit_ns, unit) = match nanos {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "us"),
            1_000_000..1_000_000_000 => (1_000_000, "ms"),
            _ => (1_000_000_000, "s"),
        };
        // Three digits after the point, without trailing zeros: 1.5s, 812.25ms.
        let thousandths = nanos * 1_000 / unit_ns;
        let (whole, fraction) = (thousandths / 1_000, thousandths % 1_000);
        if fraction == 0 {
            write!(formatter, "{whole}{unit}")
        } else {
            let digits = format!("{fraction:03}");
            write!(formatter, "{whole}.{}{unit}", digits.trim_end_matches('0'))
        }
    }
}

/// As it is written, so that a default shows in a schema.
impl Serialize for Length {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Length;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a duration with a unit, like \"800ms\" or \"2s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Length, E> {
                Length::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    #[derive(Default)]
    struct Sample {
        max: Option<Length>,
        words: OneOrMany<String>,
    }

    fn refusal(json: &str) -> String {
        parse::<Sample>(json).unwrap_err()
    }

    #[test]
    fn nothing_is_an_empty_table() {
        for json in ["", "null", "{}", " {} "] {
            let sample = parse::<Sample>(json).unwrap();
            assert_eq!((sample.max, sample.words), (None, OneOrMany(vec![])), "{json}");
        }
    }

    #[test]
    fn refusals_name_the_key_and_no_position() {
        assert_eq!(refusal(r#"{"mx":"1s"}"#), r#"unknown key "mx", expected "max" or "words""#);
        assert_eq!(
            refusal(r#"{"max":3}"#),
            r#"max: invalid type: integer "3", expected a duration with a unit, like "800ms" or "2s""#
        );
        assert_eq!(
            refusal(r#"{"words":["a",1]}"#),
            r#"words[1]: invalid type: integer "1", expected a string"#
        );
        assert_eq!(
            refusal(r#"{"words":true}"#),
            r#"words: invalid type: boolean "true", expected one value or a list of values"#
        );
    }

    #[test]
    fn one_is_a_list_of_one() {
        assert_eq!(parse::<Sample>(r#"{"words":"a"}"#).unwrap().words.0, ["a"]);
        assert_eq!(parse::<Sample>(r#"{"words":["a","b"]}"#).unwrap().words.0, ["a", "b"]);
    }

    #[test]
    fn lengths_read_and_print() {
        for (text, nanos, printed) in [
            ("800ms", 800_000_000, "800ms"),
            ("2s", 2_000_000_000, "2s"),
            ("1.5s", 1_500_000_000, "1.5s"),
            ("0.25ms", 250_000, "250us"),
            ("1m30s", 90_000_000_000, "90s"),
            ("0s", 0, "0ns"),
        ] {
            let length = Length::parse(text).unwrap();
            assert_eq!((length.0.as_nanos(), length.to_string().as_str()), (nanos, printed), "{text}");
        }
        assert_eq!(Length(Duration::from_nanos(812_250_999)).to_string(), "812.25ms");
        for text in ["", "1", "ms", "1 s", "-1s", "1.s", ".5s", "1..5s", "1d", "1s2", "99999999999999h"] {
            assert!(Length::parse(text).is_err(), "{text}");
        }
    }
}
