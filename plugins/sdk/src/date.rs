//! Dates as facts write them (RFC 3339), as seconds since the Unix epoch: what `started_at_ns` counts.

/// The seconds from the Unix epoch to a date such as `2026-12-24T10:00:00Z`; a fraction of a second is
/// cut off. None where it is no date of RFC 3339.
pub fn unix_seconds(rfc3339: &str) -> Option<i64> {
    let (date, time) = (rfc3339.get(..10)?, rfc3339.get(10..)?);
    let [year, month, day] = numbers(date, b'-')?;
    let clock = time.strip_prefix(['T', 't', ' '])?;
    let [hour, minute, second] = numbers(clock.get(..8)?, b':')?;
    let mut zone = clock.get(8..)?;
    if let Some(fraction) = zone.strip_prefix('.') {
        zone = fraction.trim_start_matches(|digit: char| digit.is_ascii_digit());
        if zone.len() == fraction.len() {
            return None;
        }
    }
    let is_clock = hour < 24 && minute < 60 && second <= 60;
    if !is_clock || !(1..=12).contains(&month) || !(1..=month_days(year, month)).contains(&day) {
        return None;
    }
    let offset = offset_seconds(zone)?;
    Some(days_since_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset)
}

/// `2026-12-24` or `10:00:00`: numbers of digits alone. The first may have four digits, the others two.
fn numbers(text: &str, separator: u8) -> Option<[i64; 3]> {
    let bytes = text.as_bytes();
    let first_end = bytes.len().checked_sub(6)?;
    if bytes[first_end] != separator || bytes[first_end + 3] != separator {
        return None;
    }
    let number = |digits: &[u8]| {
        digits
            .iter()
            .try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    };
    Some([
        number(&bytes[..first_end])?,
        number(&bytes[first_end + 1..first_end + 3])?,
        number(&bytes[first_end + 4..])?,
    ])
}

/// `Z`, or `+05:30` in seconds east.
fn offset_seconds(zone: &str) -> Option<i64> {
    let east = match zone.as_bytes().first()? {
        b'Z' | b'z' if zone.len() == 1 => return Some(0),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let number = |text: &str| match text.as_bytes() {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some(i64::from((tens - b'0') * 10 + (ones - b'0'))),
        _ => None,
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours < 24 && minutes < 60).then_some(east * (hours * 3_600 + minutes * 60))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar, for any year from 0.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March: the leap day is the last of its year, and every month's begin is at
    // a fixed distance (Howard Hinnant's days_from_civil).
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_seconds_since_the_epoch() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59Z", -1),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2024-02-29T23:59:59z", 1_709_251_199),
            ("2026-11-22t10:30:00.999Z", 1_795_343_400),
            ("2026-11-22T16:00:00+05:30", 1_795_343_400),
            ("2026-11-22T02:30:00-08:00", 1_795_343_400),
            ("2026-11-22 10:30:00Z", 1_795_343_400),
            ("2016-12-31T23:59:60Z", 1_483_228_800),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
            ("0000-01-01T00:00:00Z", -62_167_219_200),
        ] {
            assert_eq!(unix_seconds(text), Some(seconds), "{text}");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut expected = days_since_epoch(1899, 12, 31);
        for year in 1900..2201 {
            for month in 1..=12 {
                for day in 1..=month_days(year, month) {
                    expected += 1;
                    assert_eq!(days_since_epoch(year, month, day), expected, "{year}-{month}-{day}");
                }
            }
        }
    }

    #[test]
    fn other_texts_are_none() {
        for text in [
            "",
            "2026",
            "2026-11-22",
            "2026-11-22T10:30:00",
            "2026-11-22T10:30Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2026-11-31T00:00:00Z",
            "2026-11-00T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T10:60:00Z",
            "2026-11-22T10:30:61Z",
            "2026-11-22T10:30:00.Z",
            "2026-11-22T10:30:00+5:30",
            "2026-11-22T10:30:00+24:00",
            "2026-11-22T10:30:00Zulu",
            "2026-11-22T10:30:00+05:3x",
            "+026-11-22T10:30:00Z",
            "2026-1１-22T10:30:00Z",
            "é026-11-22T10:30:00Z",
            "26-11-22T10:30:00Z",
        ] {
            assert_eq!(unix_seconds(text), None, "{text}");
        }
    }
}
