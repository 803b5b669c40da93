//! The fields of a cron expression, checked one by one, so that a mistake is told with its field.

use std::ops::RangeInclusive;

/// What is wrong with an expression, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CronProblem {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl CronProblem {
    pub(super) fn new(message: impl Into<String>, hint: Option<String>) -> Self {
        Self { message: message.into(), hint }
    }
}

/// An expression that can be read.
#[derive(Debug)]
pub(super) struct CronFields {
    /// Its 6 fields.
    pub(super) text: String,
    /// Whether it has no `*` in second, minute and hour.
    pub(super) is_fixed: bool,
    /// Whether both days must fit, because one of them begins with `*`; else one of them is enough.
    pub(super) both_days: bool,
}

/// One of the fields.
struct Field {
    name: &'static str,
    range: RangeInclusive<u32>,
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const FIELDS: [Field; 6] = [
    Field { name: "second", range: 0..=59, names: &[] },
    Field { name: "minute", range: 0..=59, names: &[] },
    Field { name: "hour", range: 0..=23, names: &[] },
    Field { name: "day of the month", range: 1..=31, names: &[] },
    Field { name: "month", range: 1..=12, names: MONTHS },
    Field { name: "day of the week", range: 0..=7, names: DAYS },
];
const DAY_OF_MONTH: usize = 3;
const DAY_OF_WEEK: usize = 5;

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * SUN"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// Checks an expression.
pub(super) fn read_fields(text: &str) -> Result<CronFields, CronProblem> {
    let text = expand(text.trim())?;
    let upper = text.to_ascii_uppercase();
    let mut fields: Vec<&str> = upper.split_ascii_whitespace().collect();
    match fields.len() {
        5 => fields.insert(0, "0"),
        6 => {}
        found => {
            let hint = "minute, hour, day of the month, month, day of the week; a sixth one in front is the \
                        second";
            let message = format!("a cron expression has 5 or 6 fields, not {found}");
            return Err(CronProblem::new(message, Some(hint.to_owned())));
        }
    }
    for (index, (field, text)) in FIELDS.iter().zip(&fields).enumerate() {
        for part in text.split(',') {
            let is_whole = !text.contains(',');
            check_part(index, field, part, is_whole)?;
        }
    }
    Ok(CronFields {
        is_fixed: !fields[..3].iter().any(|field| field.contains('*')),
        both_days: [DAY_OF_MONTH, DAY_OF_WEEK].iter().any(|day| fields[*day].starts_with(['*', '?'])),
        text: fields.join(" "),
    })
}

fn expand(text: &str) -> Result<&str, CronProblem> {
    if !text.starts_with('@') {
        return Ok(text);
    }
    let found = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, fields)| *fields).ok_or_else(|| {
        let known: Vec<&str> = NICKNAMES.iter().map(|(name, _)| *name).collect();
        CronProblem::new("this name is not known", Some(format!("known names are: {}", known.join(", "))))
    })
}

/// Checks one part of a list.
fn check_part(index: usize, field: &Field, part: &str, is_whole: bool) -> Result<(), CronProblem> {
    if part.is_empty() {
        return Err(wrong(field, "a value is missing beside a comma", None));
    }
    if part == "*" || (part == "?" && is_whole && matches!(index, DAY_OF_MONTH | DAY_OF_WEEK)) {
        return Ok(());
    }
    if index == DAY_OF_MONTH && is_special_day(field, part)? {
        return Ok(());
    }
    if index == DAY_OF_WEEK && is_special_weekday(field, part)? {
        return Ok(());
    }
    let (values, step) = part.split_once('/').map_or((part, None), |(values, step)| (values, Some(step)));
    if let Some(step) = step {
        check_step(field, part, step)?;
    }
    if values == "*" {
        return Ok(());
    }
    let Some((first, last)) = values.split_once('-') else {
        let value = number(field, values)?;
        if let Some(step) = step {
            let hint = format!("write \"{value}-{}/{step}\"", field.range.end());
            return Err(wrong(field, &format!("\"{part}\" has a step without a range"), Some(hint)));
        }
        return Ok(());
    };
    let (first_value, mut last_value) = (number(field, first)?, number(field, last)?);
    if index == DAY_OF_WEEK && last_value == 0 && first_value > 0 {
        last_value = 7;
    }
    if first_value > last_value {
        let hint = format!(
            "write \"{first}-{},{}-{last}\"",
            if index == DAY_OF_WEEK { 6 } else { *field.range.end() },
            field.range.start()
        );
        return Err(wrong(field, &format!("the range \"{values}\" is reversed"), Some(hint)));
    }
    Ok(())
}

/// `L`, `LW`, `15W`.
fn is_special_day(field: &Field, part: &str) -> Result<bool, CronProblem> {
    if matches!(part, "L" | "LW") {
        return Ok(true);
    }
    let Some(day) = part.strip_suffix('W') else { return Ok(false) };
    number(field, day).map(|_| true)
}

/// `5L`, `FRI#2`.
fn is_special_weekday(field: &Field, part: &str) -> Result<bool, CronProblem> {
    if part == "L" {
        let hint = "say of which day the last one is meant, such as \"5L\" for the last Friday";
        return Err(wrong(field, "\"L\" alone says no day", Some(hint.to_owned())));
    }
    if let Some((day, count)) = part.split_once('#') {
        number(field, day)?;
        if matches!(count, "1" | "2" | "3" | "4" | "5" | "L") {
            return Ok(true);
        }
        let hint = "\"FRI#2\" is the second Friday of a month, and there are at most 5";
        return Err(wrong(
            field,
            &format!("\"{part}\" counts a day that never comes"),
            Some(hint.to_owned()),
        ));
    }
    let Some(day) = part.strip_suffix('L') else { return Ok(false) };
    number(field, day).map(|_| true)
}

fn check_step(field: &Field, part: &str, step: &str) -> Result<(), CronProblem> {
    let largest = *field.range.end();
    match plain_number(step) {
        Some(step) if (1..=largest).contains(&step) => Ok(()),
        _ => {
            let message = format!("the step of \"{part}\" is not 1 to {largest}");
            Err(wrong(field, &message, None))
        }
    }
}

/// A number or a name.
fn number(field: &Field, text: &str) -> Result<u32, CronProblem> {
    if let Some(at) = field.names.iter().position(|name| *name == text) {
        return Ok(at as u32 + field.range.start());
    }
    let (first, last) = (field.range.start(), field.range.end());
    match plain_number(text) {
        Some(value) if field.range.contains(&value) => Ok(value),
        Some(_) => {
            let hint = (field.name == "hour" && text == "24").then(|| "midnight is 0".to_owned());
            Err(wrong(field, &format!("\"{text}\" is not {first} to {last}"), hint))
        }
        None if field.names.is_empty() => {
            let message = format!("\"{text}\" is no number from {first} to {last}");
            let hint = text.contains(['L', 'W', '#', '?']).then(|| {
                "\"L\", \"W\" and \"?\" are for the day of the month; \"L\", \"#\" and \"?\" for the day of \
                 the week"
                    .to_owned()
            });
            Err(wrong(field, &message, hint))
        }
        None => {
            let names = field.names.iter().map(|name| name.to_lowercase()).collect::<Vec<_>>();
            let lower = text.to_lowercase();
            // People write names in full.
            let near = names.iter().find(|name| lower.starts_with(name.as_str())).cloned().or_else(|| {
                crate::config::did_you_mean(text, names.iter().map(String::as_str)).map(str::to_owned)
            });
            let hint = near.map_or_else(
                || format!("names are: {}", names.join(", ")),
                |near| format!("did you mean \"{near}\"?"),
            );
            Err(wrong(
                field,
                &format!("\"{text}\" is no number from {first} to {last} and no name"),
                Some(hint),
            ))
        }
    }
}

fn plain_number(text: &str) -> Option<u32> {
    let is_plain = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

fn wrong(field: &Field, message: &str, hint: Option<String>) -> CronProblem {
    CronProblem::new(format!("in the {}: {message}", field.name), hint)
}
