//! Judges the HTTP status code: it must be in `expect` and must not be in `reject`.

use std::fmt::{self, Display};

use probity_check::{Check, JsonSchema, Manifest, Observation, OneOrMany, Verdict, schemars};
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// The HTTP status code must be in `expect` and must not be in `reject`.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Codes that are right.
    #[schemars(extend("default" = ["2xx"]))]
    expect: OneOrMany<Entry>,
    /// Codes that are wrong even where `expect` has them.
    #[schemars(extend("default" = []))]
    reject: OneOrMany<Entry>,
}

impl Default for Config {
    fn default() -> Self {
        let success = Range { first: 200, last: 299, as_written: "2xx".to_owned() };
        Config { expect: OneOrMany(vec![Entry(vec![success])]), reject: OneOrMany::default() }
    }
}

/// A code (`404`), a class (`"2xx"`) or a range (`"200-299"`); a string may hold several, separated by
/// commas.
#[derive(Debug, JsonSchema)]
#[schemars(schema_with = "number_or_text", rename = "code")]
struct Entry(Vec<Range>);

fn number_or_text(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "oneOf": [
            { "type": "integer", "minimum": 100, "maximum": 999 },
            { "type": "string", "minLength": 3 },
        ],
    })
}

/// The check, configured.
#[derive(Debug)]
pub struct Status {
    expect: Codes,
    reject: Codes,
}

impl Check for Status {
    const MANIFEST: Manifest = Manifest {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        summary: env!("CARGO_PKG_DESCRIPTION"),
        needs_body: false,
    };
    type Config = Config;

    fn configure(config: Config) -> Result<Self, String> {
        let Config { expect, reject } = config;
        let (expect, reject) = (Codes::from(expect), Codes::from(reject));
        if expect.0.is_empty() {
            return Err("expect: the list is empty, so that every status would fail".to_owned());
        }
        Ok(Status { expect, reject })
    }

    fn run(&self, seen: &dyn Observation) -> Result<Verdict, String> {
        let Some(status) = seen.status() else {
            let kind = seen.error().unwrap_or_else(|| "no error kind".to_owned());
            return Ok(Verdict::fail(format!("no response ({kind})")));
        };
        if let Some(range) = self.reject.find(status) {
            return Ok(Verdict::fail(format!("status {status} is rejected by {range}")));
        }
        Ok(match self.expect.find(status) {
            Some(_) => Verdict::pass(format!("status {status}")),
            None => Verdict::fail(format!("status {status} is not in {}", self.expect)),
        })
    }
}

#[cfg(not(feature = "member"))]
probity_check::export!(Status, schema = "schema.json");

/// Some status codes, as a list of ranges.
#[derive(Debug)]
struct Codes(Vec<Range>);

impl From<OneOrMany<Entry>> for Codes {
    fn from(entries: OneOrMany<Entry>) -> Self {
        Codes(entries.0.into_iter().flat_map(|Entry(ranges)| ranges).collect())
    }
}

impl Codes {
    /// The first range that holds the code.
    fn find(&self, status: u16) -> Option<&Range> {
        self.0.iter().find(|range| (range.first..=range.last).contains(&status))
    }
}

impl Display for Codes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(formatter, "{separator}{range}")?;
        }
        Ok(())
    }
}

/// Status codes from `first` to `last`, both included.
#[derive(Debug)]
struct Range {
    first: u16,
    last: u16,
    /// The person's own word for it, for messages.
    as_written: String,
}

impl Range {
    /// Reads `404`, `2xx` or `200-299`.
    fn parse(text: &str) -> Result<Self, String> {
        let as_written = text.trim();
        let (first, last) = bounds(as_written).ok_or_else(|| {
            format!("\"{as_written}\" is not a status: write a code from 100 to 999, \"2xx\" or \"200-299\"")
        })?;
        if first > last {
            return Err(format!("\"{as_written}\" is an empty range: write it as \"{last}-{first}\""));
        }
        Ok(Range { first, last, as_written: as_written.to_owned() })
    }
}

impl Display for Range {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.as_written)
    }
}

/// First and last code of `404`, `2xx` or `200-299`.
fn bounds(text: &str) -> Option<(u16, u16)> {
    let lower = text.to_ascii_lowercase();
    if let Some(class) = lower.strip_suffix("xx") {
        let hundreds = class.parse::<u16>().ok().filter(|class| (1..=9).contains(class))?;
        return Some((hundreds * 100, hundreds * 100 + 99));
    }
    match lower.split_once('-') {
        Some((first, last)) => Some((code(first)?, code(last)?)),
        None => code(&lower).map(|code| (code, code)),
    }
}

/// A three-digit code. Digits only: `parse` alone would take `+200`.
fn code(text: &str) -> Option<u16> {
    let text = text.trim();
    let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|code| digits && (100..=999).contains(code))
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrText;
        impl Visitor<'_> for NumberOrText {
            type Value = Entry;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a status, like 304, \"2xx\" or \"200-299\"")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Entry, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Entry, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Entry, E> {
                text.split(',').map(Range::parse).collect::<Result<_, _>>().map(Entry).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(NumberOrText)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn cases() {
        probity_check::cases::run::<Status>(include_str!("../cases.toml")).unwrap();
    }

    #[test]
    fn codes_read_as_written() {
        for (text, first, last) in [
            ("404", 404, 404),
            ("2xx", 200, 299),
            ("5XX", 500, 599),
            ("200-299", 200, 299),
            ("302 - 307", 302, 307),
        ] {
            let range = Range::parse(text).unwrap();
            assert_eq!((range.first, range.last, range.as_written.as_str()), (first, last, text));
        }
        for text in ["", "30a", "xx", "0xx", "20", "2000", "099", "+200", "200-", "-200", "301-200-400", "2x"]
        {
            assert!(Range::parse(text).unwrap_err().contains("is not a status"), "{text}");
        }
        assert_eq!(
            Range::parse("299-200").unwrap_err(),
            "\"299-200\" is an empty range: write it as \"200-299\""
        );
    }
}
