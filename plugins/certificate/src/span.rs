//! Spans of days, as configuration writes them and messages tell them.

use std::fmt::{self, Display};

use probity_check::{JsonSchema, Length, schemars};
use serde::de::{self, Deserialize, Deserializer, Visitor};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A span in whole seconds. Written as `"14d"`, `"36h"`, `"1d12h"`: the units of every duration in a
/// pipeline file; what is below a second is cut off. A day is 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(
    with = "String",
    rename = "duration",
    description = "A number with a unit (d, h, m, s), or several: \"14d\", \"36h\", \"1d12h\".",
    extend("pattern" = "^([0-9]+d)?([0-9]+(\\.[0-9]+)?(ns|us|µs|ms|s|m|h))*$", "minLength" = 2)
)]
pub(crate) struct Span(pub(crate) u64);

impl Span {
    /// So many days.
    pub(crate) const fn days(days: u64) -> Self {
        Span(days * DAY)
    }

    /// The span in days, with a fraction.
    #[allow(clippy::cast_precision_loss, reason = "a span of millions of years is no matter here")]
    pub(crate) fn as_days(self) -> f64 {
        self.0 as f64 / DAY as f64
    }

    /// Reads `"1d12h"`. The error says what is expected.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let refusal =
            || format!("\"{text}\" is not a duration: write it with a unit, like \"14d\" or \"36h\"");
        let (days, rest) = match text.trim().split_once('d') {
            // Digits alone: a parser of numbers takes a sign too.
            Some((days, _)) if !days.bytes().all(|digit| digit.is_ascii_digit()) => return Err(refusal()),
            Some((days, rest)) => (days.parse::<u32>().map_err(|_| refusal())?, rest),
            None => (0, text.trim()),
        };
        let rest = match rest {
            "" if text.contains('d') => 0,
            rest => Length::parse(rest).map_err(|_| refusal())?.0.as_secs(),
        };
        Ok(Span(u64::from(days) * DAY + rest))
    }
}

/// The two greatest units that it has: `13d4h`, `4h30m`, `59s`.
impl Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Span(seconds) = *self;
        let (unit, letter, part, part_letter) = match seconds {
            0..MINUTE => return write!(formatter, "{seconds}s"),
            MINUTE..HOUR => (MINUTE, 'm', 1, 's'),
            HOUR..DAY => (HOUR, 'h', MINUTE, 'm'),
            _ => (DAY, 'd', HOUR, 'h'),
        };
        write!(formatter, "{}{letter}", seconds / unit)?;
        match seconds % unit / part {
            0 => Ok(()),
            rest => write!(formatter, "{rest}{part_letter}"),
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Span;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a duration with a unit, like \"14d\" or \"36h\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                Span::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn spans_read_and_print() {
        for (text, seconds, printed) in [
            ("14d", 14 * DAY, "14d"),
            ("0d", 0, "0s"),
            ("0s", 0, "0s"),
            ("36h", 36 * HOUR, "1d12h"),
            ("1d12h", 36 * HOUR, "1d12h"),
            ("1d1m", DAY + MINUTE, "1d"),
            (" 90m ", 90 * MINUTE, "1h30m"),
            ("61s", 61, "1m1s"),
            ("1.5s", 1, "1s"),
            ("4294967295d", 4_294_967_295 * DAY, "4294967295d"),
        ] {
            let span = Span::parse(text).unwrap();
            assert_eq!((span.0, span.to_string().as_str()), (seconds, printed), "{text}");
        }
        for text in
            ["", "d", "14", "-14d", "+14d", "14 d", "1.5d", "14days", "1d2d", "4294967296d", "1d2", "potato"]
        {
            assert!(Span::parse(text).is_err(), "{text}");
        }
    }
}
