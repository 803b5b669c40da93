//! How days, times of day and moments are written.

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde_json::json;
use toml::Spanned;
use toml::de::DeValue;

use super::window::{DAY_S, Days};
use crate::config::{Context, FromValue, did_you_mean};

const DAY_NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Days of the week: `"mon-fri"`, `"sat,sun"`, or a list of such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaysText(pub(super) Days);

/// A time of day on the clock, in seconds since midnight; at most 24:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockText(pub(super) i64);

/// A time of day, or a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MomentText {
    /// A time of day, which comes every day.
    Clock(ClockText),
    /// A date and a time on the clock of a time zone that is told beside it.
    Local(DateTime),
    /// A date and a time with its offset from UTC.
    Exact(Timestamp),
}

impl FromValue for DaysText {
    fn type_text() -> String {
        "days of the week".to_owned()
    }

    fn schema() -> serde_json::Value {
        let text = json!({ "type": "string" });
        json!({ "anyOf": [text, { "type": "array", "items": text }] })
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        let items = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let mut days = 0;
        for item in &items {
            let DeValue::String(text) = item.get_ref() else {
                context.wrong_type(item, "days of the week in double quotes, such as \"mon-fri\",");
                return None;
            };
            for part in text.split(',') {
                match days_of(part.trim()) {
                    Ok(found) => days |= found,
                    Err((message, hint)) => {
                        context.bad_value(item.span(), message, hint);
                        return None;
                    }
                }
            }
        }
        if days == 0 {
            context.bad_value(value.span(), "there is no day", Some("such as \"mon-fri\"".to_owned()));
            return None;
        }
        Some(Self(Days(days)))
    }
}

/// The days of one name or range.
fn days_of(text: &str) -> Result<u8, (String, Option<String>)> {
    let Some((first, last)) = text.split_once('-') else {
        return Ok(1 << day_of(text)?);
    };
    let (mut day, last) = (day_of(first.trim())?, day_of(last.trim())?);
    let mut days = 1_u8 << day;
    // A week is a circle: "sat-mon" are three days.
    while day != last {
        day = (day + 1) % 7;
        days |= 1 << day;
    }
    Ok(days)
}

/// A day by its name, in full or by its first three letters; 0 is Monday.
fn day_of(text: &str) -> Result<usize, (String, Option<String>)> {
    const FULL: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let name = text.to_ascii_lowercase();
    let found =
        DAY_NAMES.iter().position(|day| *day == name).or_else(|| FULL.iter().position(|day| *day == name));
    found.ok_or_else(|| {
        let near = did_you_mean(&name, DAY_NAMES.into_iter().chain(FULL));
        let hint = near.map_or_else(
            || format!("days are: {}; several are written \"mon-fri\" or \"sat,sun\"", DAY_NAMES.join(", ")),
            |near| format!("did you mean \"{near}\"?"),
        );
        (format!("\"{text}\" is no day of the week"), Some(hint))
    })
}

impl FromValue for ClockText {
    fn type_text() -> String {
        "time of day".to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^([01][0-9]|2[0-4]):[0-5][0-9](:[0-5][0-9])?$" })
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        let wanted = "a time of day, such as \"08:00\",";
        let text = written(value, wanted, context)?;
        let found = clock(&text);
        if found.is_none() {
            let hint = "from \"00:00\" to \"24:00\", with seconds if wished".to_owned();
            context.bad_value(value.span(), format!("\"{text}\" is no time of day"), Some(hint));
        }
        found
    }
}

impl FromValue for MomentText {
    fn type_text() -> String {
        "time of day or date and time".to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string" })
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        let wanted = "a time of day, such as \"22:00\", or a date and time, such as 2026-12-01T22:00:00Z,";
        let text = written(value, wanted, context)?;
        let found = moment(&text);
        if found.is_none() {
            let hint = "write a time of day, \"22:00\", or a date and time, 2026-12-01T22:00:00Z or, with \
                        timezone, 2026-12-01T22:00:00";
            context.bad_value(value.span(), format!("\"{text}\" is no time"), Some(hint.to_owned()));
        }
        found
    }
}

/// What is written as a string or as a date of TOML.
fn written(value: &Spanned<DeValue<'_>>, wanted: &str, context: &mut Context<'_>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.trim().to_owned()),
        DeValue::Datetime(date) => Some(date.to_string()),
        _ => {
            context.wrong_type(value, wanted);
            None
        }
    }
}

fn moment(text: &str) -> Option<MomentText> {
    if let Some(clock) = clock(text) {
        return Some(MomentText::Clock(clock));
    }
    // A date alone leaves open whether its day is meant as a whole.
    if !text.contains(':') {
        return None;
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(MomentText::Exact(moment));
    }
    text.parse::<DateTime>().ok().map(MomentText::Local)
}

/// `HH:MM` or `HH:MM:SS`, at most 24:00.
fn clock(text: &str) -> Option<ClockText> {
    let parts: Vec<&str> = text.split(':').collect();
    if !(2..=3).contains(&parts.len()) {
        return None;
    }
    let mut seconds = 0;
    for (part, (limit, scale)) in parts.iter().zip([(24, 3_600), (59, 60), (59, 1)]) {
        if part.len() != 2 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        seconds += part.parse::<i64>().ok().filter(|value| *value <= limit)? * scale;
    }
    (seconds <= DAY_S).then_some(ClockText(seconds))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn times_people_write() {
        for (text, seconds) in [("00:00", 0), ("08:00", 28_800), ("23:59:59", 86_399), ("24:00", 86_400)] {
            assert_eq!(clock(text), Some(ClockText(seconds)), "{text}");
        }
        for text in ["", "8:00", "08", "24:01", "08:60", "08:00:60", "08:00:00:00", "-8:00", "08:00 "] {
            assert_eq!(clock(text), None, "{text:?}");
        }
        assert!(matches!(moment("2026-12-01T22:00:00Z"), Some(MomentText::Exact(_))));
        assert!(matches!(moment("2026-12-01T22:00:00+02:00"), Some(MomentText::Exact(_))));
        assert!(matches!(moment("2026-12-01 22:00:00"), Some(MomentText::Local(_))));
        assert!(matches!(moment("22:00"), Some(MomentText::Clock(_))));
        for text in ["2026-12-01", "2026-13-01T22:00:00Z", "tomorrow", "2026-12-01T25:00:00"] {
            assert_eq!(moment(text), None, "{text:?}");
        }
    }

    #[test]
    fn days_people_write() {
        let cases = [("mon-fri", 0b001_1111), ("sat-mon", 0b110_0001), ("Sunday", 0b100_0000), ("tue", 0b10)];
        for (text, days) in cases {
            assert_eq!(days_of(text).unwrap(), days, "{text}");
        }
        let (message, hint) = days_of("mon-firday").unwrap_err();
        assert_eq!(
            (message.as_str(), hint.as_deref()),
            ("\"firday\" is no day of the week", Some("did you mean \"friday\"?"))
        );
    }
}
