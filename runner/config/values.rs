//! Texts with units: durations, sizes, names.

use std::fmt;
use std::time::Duration;

/// Units of a duration, with their length in nanoseconds.
const DURATION_UNITS: [(&str, u128); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Units of a size, in bytes.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Reads a duration: whole or decimal numbers with a unit (`ns`, `us`, `ms`, `s`, `m`, `h`, `d`),
/// several in a row if wished (`1m30s`). The error says what is wrong, without quoting the text.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut rest = text;
    if rest.is_empty() {
        return Err("a duration is missing".to_owned());
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        if number.is_empty() {
            return Err("a duration begins with a number and ends with a unit".to_owned());
        }
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at(letters);
        let Some((_, length)) = DURATION_UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(if unit.is_empty() {
                "a duration needs a unit: ms, s, m, h or d".to_owned()
            } else {
                "the unit of a duration is one of ns, us, ms, s, m, h, d".to_owned()
            });
        };
        nanos = scaled(number, *length)
            .and_then(|part| nanos.checked_add(part))
            .ok_or("the duration is too long or not a number")?;
        rest = next;
    }
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| "the duration is too long".to_owned())
}

/// Reads a size in bytes: a whole or decimal number with a unit (`B`, `KiB`, `MiB`, `GiB`, `TiB`;
/// `kB`, `MB`, `GB`, `TB`). The error says what is wrong, without quoting the text.
pub fn parse_bytes(text: &str) -> Result<ByteSize, String> {
    let (number, unit) = split_number(text);
    if number.is_empty() {
        return Err("a size begins with a number and ends with a unit".to_owned());
    }
    let Some((_, scale)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit.trim_start()) else {
        return Err("the unit of a size is one of B, KiB, MiB, GiB, TiB, kB, MB, GB, TB".to_owned());
    };
    scaled(number, u128::from(*scale))
        .and_then(|bytes| u64::try_from(bytes).ok())
        .map(ByteSize)
        .ok_or_else(|| "the size is too large or not a number".to_owned())
}

/// Reads a name of a pipeline or a check: 1 to 64 of `a-z`, `0-9`, `.`, `_`, `-`.
pub fn parse_name(text: &str) -> Result<String, String> {
    let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    if text.is_empty() || text.len() > 64 {
        return Err("a name has 1 to 64 characters".to_owned());
    }
    if !text.bytes().all(valid) {
        return Err("a name is made of a-z, 0-9, \".\", \"_\" and \"-\"".to_owned());
    }
    if text.starts_with('.') {
        return Err("a name does not begin with \".\"".to_owned());
    }
    Ok(text.to_owned())
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()))
}

/// A decimal number times a scale, rounded down; none if it is no number or too large.
fn scaled(number: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || fraction.len() > 18 || (number.ends_with('.')) {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?;
    let mut sum = u128::from(whole).checked_mul(scale)?;
    if !fraction.is_empty() {
        let part = fraction.parse::<u128>().ok()?.checked_mul(scale)?;
        sum = sum.checked_add(part / 10_u128.pow(u32::try_from(fraction.len()).ok()?))?;
    }
    Some(sum)
}

/// A duration as people write it: the largest units first, none that is zero.
pub fn format_duration(duration: Duration) -> String {
    let mut nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, length) in DURATION_UNITS.iter().rev() {
        if nanos >= *length {
            text.push_str(&(nanos / length).to_string());
            text.push_str(unit);
            nanos %= length;
        }
    }
    text
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = SIZE_UNITS[..5]
            .iter()
            .rev()
            .find(|(_, s)| self.0 >= *s && self.0.is_multiple_of(*s))
            .unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_people_write() {
        let cases = [
            ("500ms", 500_000_000),
            ("10s", 10_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5s", 1_500_000_000),
            ("2h", 7_200_000_000_000),
            ("1d", 86_400_000_000_000),
            ("0s", 0),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration() {
        for text in [
            "",
            "10",
            "s",
            "-1s",
            "10 s",
            "1e3s",
            "nan",
            "inf",
            "1..5s",
            ".5s",
            "5.s",
            "10sec",
            "99999999999999999999d",
            "1s ",
            "１s",
        ] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sizes_people_write() {
        let cases = [("1MiB", 1 << 20), ("128B", 128), ("1.5KiB", 1_536), ("2 GB", 2_000_000_000)];
        for (text, bytes) in cases {
            assert_eq!(parse_bytes(text), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "1", "MiB", "-1B", "1mib", "99999999999TiB"] {
            assert!(parse_bytes(text).is_err(), "{text:?}");
        }
        assert_eq!(ByteSize(1 << 20).to_string(), "1MiB");
        assert_eq!(ByteSize(1_500).to_string(), "1500B");
    }

    #[test]
    fn names() {
        for text in ["a", "shop", "shop.eu-1_x", &"a".repeat(64)] {
            assert!(parse_name(text).is_ok(), "{text:?}");
        }
        for text in ["", "Shop", "a/b", "..", ".x", "a b", "é", "a\n", &"a".repeat(65)] {
            assert!(parse_name(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_printed_duration_reads_back(nanos in any::<u64>()) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn a_printed_size_reads_back(bytes in any::<u64>()) {
            prop_assert_eq!(parse_bytes(&ByteSize(bytes).to_string()), Ok(ByteSize(bytes)));
        }

        #[test]
        fn nothing_panics(text in "\\PC*") {
            let _ = parse_duration(&text);
            let _ = parse_bytes(&text);
            let _ = parse_name(&text);
        }
    }
}
