//! A regular expression in a configuration, searched in bytes.

use std::fmt::{self, Display};

use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use schemars::JsonSchema;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// The most memory a compiled expression may take; the regex crate's own limit.
const NFA_BYTES: usize = 10 << 20;

/// A regular expression, compiled while the configuration is read, so that a bad one is refused
/// there. It is searched in bytes; `\w`, `\d`, `\s` and `(?i)` know ASCII alone.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(
    with = "String",
    rename = "regular_expression",
    description = "A regular expression in the syntax of the regex crate, searched in bytes; (?s) lets . match a line break.",
    extend("minLength" = 1)
)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles an expression. The error says what is wrong with it, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bytes = syntax::Config::new().unicode(false).utf8(false);
        let options = Regex::config().utf8_empty(false).nfa_size_limit(Some(NFA_BYTES));
        let compiled = Regex::builder().syntax(bytes).configure(options).build(text);
        compiled.map(|regex| Pattern { text: text.to_owned(), regex }).map_err(|error| {
            let reason = match error.syntax_error() {
                // It is drawn over several lines; the last one says what it is.
                Some(drawn) => drawn.to_string().lines().last().unwrap_or_default().to_owned(),
                None if error.size_limit().is_some() => "it is too large when compiled".to_owned(),
                None => error.to_string(),
            };
            let reason = reason.strip_prefix("error: ").unwrap_or(&reason);
            format!("\"{text}\" is not a regular expression: {reason}")
        })
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches somewhere.
    pub fn is_match(&self, bytes: &[u8]) -> bool {
        self.regex.is_match(bytes)
    }

    /// Where it first matches: the offset, and the bytes that match.
    pub fn find<'bytes>(&self, bytes: &'bytes [u8]) -> Option<(usize, &'bytes [u8])> {
        self.regex.find(bytes).map(|found| (found.start(), &bytes[found.range()]))
    }

    /// Where it matches: all matches from left to right, none over another.
    pub fn find_all(&self, bytes: &[u8]) -> impl Iterator<Item = std::ops::Range<usize>> {
        self.regex.find_iter(bytes).map(|found| found.range())
    }
}

impl Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// As it is written, so that a default shows in a schema.
impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Pattern;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a regular expression")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Pattern, E> {
                Pattern::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn matches_bytes_across_lines() {
        let pattern = Pattern::parse("(?s)first.*second").unwrap();
        assert_eq!(pattern.find(b"a\nfirst\n\xff\nsecond\n"), Some((2, &b"first\n\xff\nsecond"[..])));
        assert!(!Pattern::parse("first.*second").unwrap().is_match(b"first\nsecond"));
        assert!(Pattern::parse("caf(é|e)\\s\\d+").unwrap().is_match("café 12".as_bytes()));
        assert!(Pattern::parse("(?u:[äöü])").unwrap().is_match("für".as_bytes()));
        assert!(Pattern::parse("(?i)sold out").unwrap().is_match(b"SOLD OUT"));
        let all: Vec<_> = Pattern::parse("(?m)^a+").unwrap().find_all(b"aa\nba\na").collect();
        assert_eq!(all, [0..2, 6..7]);
    }

    #[test]
    fn refusals_are_one_line() {
        assert_eq!(Pattern::parse("(a").unwrap_err(), "\"(a\" is not a regular expression: unclosed group");
        let huge = Pattern::parse("(?:a{1000}){1000}").unwrap_err();
        assert!(!huge.contains('\n') && huge.contains("too large"), "{huge}");
    }
}
