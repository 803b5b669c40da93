//! A moment as people type it: a date with or without a time, or an age.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::clock::{Clock, UnixNanos};
use crate::config::parse_duration;

/// Reads a moment; an age counts back from now.
pub(super) fn parse(text: &str) -> Result<UnixNanos, &'static str> {
    read(text, Clock::system().wall())
}

/// Reads a moment; an age counts back from `now`. The error says what is wanted.
fn read(text: &str, now: UnixNanos) -> Result<UnixNanos, &'static str> {
    if let Ok(age) = parse_duration(text) {
        return Ok(now.minus(age));
    }
    let day = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp());
    let at = if text.len() > "2026-11-22".len() { text.parse::<Timestamp>().ok() } else { day() };
    at.and_then(|at| i64::try_from(at.as_nanosecond()).ok())
        .map(UnixNanos)
        .ok_or("a moment is 2026-11-22T03:00:00Z or 2026-11-22 (UTC), an age is 90m, 12h or 2d")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_ages() {
        let now = UnixNanos(1_800_000_000_000_000_000);
        let cases = [
            ("2027-01-15T08:00:00Z", Some(1_800_000_000)),
            ("2027-01-15T09:00:00+01:00", Some(1_800_000_000)),
            ("2027-01-15", Some(1_799_971_200)),
            ("90m", Some(1_800_000_000 - 5_400)),
            ("1h30m", Some(1_800_000_000 - 5_400)),
            ("0s", Some(1_800_000_000)),
            ("", None),
            ("2027-01-15T08:00:00", None),
            ("2027-13-01", None),
            ("yesterday", None),
            ("5", None),
        ];
        for (text, seconds) in cases {
            let expected = seconds.map(|seconds: i64| UnixNanos(seconds * 1_000_000_000));
            assert_eq!(read(text, now).ok(), expected, "{text:?}");
        }
    }
}
