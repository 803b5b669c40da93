//! JSON values: their types, exact comparison, and how they look in a message.

use std::cmp::Ordering;

use probity_check::{JsonSchema, excerpt, schemars};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

/// A type of value, by its name in JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "type")]
pub(crate) enum Kind {
    String,
    Number,
    /// A number without a fraction; `1.0` is one.
    Integer,
    Boolean,
    Object,
    Array,
    Null,
}

impl Kind {
    /// Whether a value is of this type.
    pub(crate) fn holds(self, value: &Value) -> bool {
        match (self, value) {
            (Kind::Integer, Value::Number(number)) => {
                integer(number).is_some() || number.as_f64().is_some_and(|float| float.fract() == 0.0)
            }
            (Kind::String, Value::String(_))
            | (Kind::Number, Value::Number(_))
            | (Kind::Boolean, Value::Bool(_))
            | (Kind::Object, Value::Object(_))
            | (Kind::Array, Value::Array(_))
            | (Kind::Null, Value::Null) => true,
            _ => false,
        }
    }

    /// The type in a message.
    fn words(self) -> &'static str {
        match self {
            Kind::String => "a string",
            Kind::Number => "a number",
            Kind::Integer => "an integer",
            Kind::Boolean => "a boolean",
            Kind::Object => "an object",
            Kind::Array => "an array",
            Kind::Null => "null",
        }
    }
}

/// Several types in a message: `a string or null`.
pub(crate) fn list_kinds(kinds: &[Kind]) -> String {
    kinds.iter().map(|kind| kind.words()).collect::<Vec<_>>().join(" or ")
}

/// The number that a value is. A text of digits is none.
pub(crate) fn number(value: &Value) -> Option<&Number> {
    match value {
        Value::Number(number) => Some(number),
        _ => None,
    }
}

fn integer(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

/// Compares two numbers exactly: an integer beyond 2^53 is not rounded to a float for it.
pub(crate) fn compare(one: &Number, other: &Number) -> Ordering {
    match (integer(one), integer(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        (Some(one), None) => compare_with_float(one, float(other)),
        (None, Some(other)) => compare_with_float(other, float(one)).reverse(),
        // JSON has no NaN.
        (None, None) => float(one).partial_cmp(&float(other)).unwrap_or(Ordering::Equal),
    }
}

fn float(number: &Number) -> f64 {
    number.as_f64().unwrap_or_default()
}

/// An integer of at most 65 bits against a float.
#[allow(clippy::cast_possible_truncation, reason = "the cast saturates far beyond every integer here")]
fn compare_with_float(integer: i128, float: f64) -> Ordering {
    let whole = float.trunc();
    let fraction = float - whole;
    integer.cmp(&(whole as i128)).then_with(|| 0.0_f64.partial_cmp(&fraction).unwrap_or(Ordering::Equal))
}

/// Whether two values are the same in type and content; `1` and `1.0` are the same number.
pub(crate) fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => compare(one, other).is_eq(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| equal(one, other)))
        }
        _ => one == other,
    }
}

/// Whether a text contains a text, an array a value, or an object a key.
pub(crate) fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::String(whole), Value::String(part)) => whole.contains(part.as_str()),
        (Value::Array(items), part) => items.iter().any(|item| equal(item, part)),
        (Value::Object(entries), Value::String(key)) => entries.contains_key(key),
        _ => false,
    }
}

/// A value in a message, at most about `max_chars` long.
pub(crate) fn shown(value: &Value, max_chars: usize) -> String {
    if let Value::String(text) = value {
        return excerpt(text.as_bytes(), max_chars);
    }
    let mut text = value.to_string();
    if let Some((end, _)) = text.char_indices().nth(max_chars) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn numbers_compare_exactly() {
        for (less, greater) in [
            ("0.4", "0.5"),
            ("-1", "0"),
            ("-0.5", "0"),
            ("0", "0.5"),
            ("2", "2.5"),
            ("-2.5", "-2"),
            ("123", "123.4"),
            ("9007199254740992", "9007199254740993"),
            ("9007199254740992.0", "9007199254740993"),
            ("18446744073709551614", "18446744073709551615"),
            ("18446744073709551615", "18446744073709551616"),
            ("-9223372036854775808", "-9223372036854775807"),
            ("18446744073709551615", "1e300"),
            ("-1e300", "-9223372036854775808"),
        ] {
            let (small, large): (Number, Number) =
                (serde_json::from_str(less).unwrap(), serde_json::from_str(greater).unwrap());
            assert_eq!(compare(&small, &large), Ordering::Less, "{less} {greater}");
            assert_eq!(compare(&large, &small), Ordering::Greater, "{less} {greater}");
            assert_eq!(compare(&large, &large), Ordering::Equal, "{greater}");
        }
    }

    #[test]
    fn equal_is_deep_and_typed() {
        let equals = |one: &str, other: &str| {
            equal(&serde_json::from_str(one).unwrap(), &serde_json::from_str(other).unwrap())
        };
        assert!(equals("1", "1.0") && equals("[1,{\"a\":2}]", "[1.0,{\"a\":2e0}]") && equals("-0.0", "0"));
        assert!(equals(r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#));
        for (one, other) in [("1", "\"1\""), ("0", "false"), ("null", "0"), ("[]", "{}"), ("[1,2]", "[2,1]")]
        {
            assert!(!equals(one, other), "{one} {other}");
        }
    }
}
