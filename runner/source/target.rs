//! One item of a source: from what the user wrote to checked values, all its problems at once.

use std::time::Duration;

use super::ParseDuration;
use super::problem::{Place, SourceProblem};
use super::url::{Refusal, printable_url, read_url};

/// The keys that an item may have.
pub const TARGET_KEYS: &[&str] = &["url", "name", "every", "labels"];

/// The shortest interval.
pub const EVERY_MIN: Duration = Duration::from_millis(100);

/// The longest interval: a year, a leap year at that.
pub const EVERY_MAX: Duration = Duration::from_hours(366 * 24);

/// The longest name that a source may give, in characters.
pub(super) const MAX_NAME_CHARS: usize = 256;

/// The longest value of a label, in characters.
pub(super) const MAX_LABEL_CHARS: usize = 1_024;

/// The most labels of one target.
const MAX_LABELS: usize = 64;

/// A target as it is written, nothing checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetText {
    /// The URL, possibly without a scheme.
    pub url: String,
    /// The name, if it has one of its own.
    pub name: Option<String>,
    /// The interval with its unit, if it has one of its own.
    pub every: Option<String>,
    /// Labels in the order in which they are written.
    pub labels: Vec<(String, String)>,
    /// Where it is written.
    pub place: Place,
}

/// A target that can be probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checked {
    /// None: the URL is the name.
    pub(super) name: Option<String>,
    pub(super) url: String,
    pub(super) every: Option<Duration>,
    pub(super) labels: Vec<(String, String)>,
    pub(super) place: Place,
}

/// Checks an item; all that is wrong with it comes at once.
pub(super) fn check(text: TargetText, parse_duration: ParseDuration) -> Result<Checked, Vec<SourceProblem>> {
    let TargetText { url, name, every, labels, place } = text;
    let mut refusals = Vec::new();
    let url = read_url(&url).map_err(|refusal| refusals.push(refusal)).unwrap_or_default();
    let name = name.and_then(|name| check_name(&name).map_err(|refusal| refusals.push(refusal)).ok());
    let every =
        every.and_then(|every| check_every(&every, parse_duration).map_err(|r| refusals.push(r)).ok());
    check_labels(&labels, &mut refusals);
    if refusals.is_empty() {
        return Ok(Checked { name, url, every, labels, place });
    }
    Err(refusals.into_iter().map(|refusal| at(&place, refusal)).collect())
}

fn at(place: &Place, refusal: Refusal) -> SourceProblem {
    let problem = SourceProblem::new(place.clone(), refusal.what);
    SourceProblem { hint: refusal.hint.map(str::to_owned), ..problem }
}

fn refusal(what: impl Into<String>, hint: impl Into<Option<&'static str>>) -> Refusal {
    Refusal { what: what.into(), hint: hint.into() }
}

fn check_name(name: &str) -> Result<String, Refusal> {
    let name = name.trim_matches(' ');
    if name.is_empty() {
        return Err(refusal("the name is empty", "leave it out to have the URL as the name"));
    }
    if name.chars().any(char::is_control) {
        return Err(refusal("the name holds a control character, such as a line end", "remove it"));
    }
    if name.chars().nth(MAX_NAME_CHARS).is_some() {
        return Err(refusal(format!("the name is longer than {MAX_NAME_CHARS} characters"), None));
    }
    Ok(name.to_owned())
}

fn check_every(every: &str, parse_duration: ParseDuration) -> Result<Duration, Refusal> {
    let duration = parse_duration(every.trim_matches(' ')).map_err(|error| refusal(error, None))?;
    if duration < EVERY_MIN {
        return Err(refusal("\"every\" is shorter than 100ms", "the shortest interval is 100ms"));
    }
    if duration > EVERY_MAX {
        return Err(refusal("\"every\" is longer than a year", "the longest interval is 366 days"));
    }
    Ok(duration)
}

fn check_labels(labels: &[(String, String)], refusals: &mut Vec<Refusal>) {
    if labels.len() > MAX_LABELS {
        refusals.push(refusal(format!("there are more than {MAX_LABELS} labels"), None));
        return;
    }
    for (position, (name, value)) in labels.iter().enumerate() {
        let shown = printable_url(name);
        if !is_label_name(name) {
            refusals.push(refusal(
                format!("\"{shown}\" is not a name of a label"),
                "use letters, digits and _, and do not begin with a digit",
            ));
            continue;
        }
        if labels.iter().take(position).any(|(earlier, _)| earlier == name) {
            refusals.push(refusal(format!("label \"{shown}\" is given twice"), "remove one"));
        }
        if value.chars().any(char::is_control) {
            refusals.push(refusal(format!("label \"{shown}\" holds a control character"), "remove it"));
        }
        if value.chars().nth(MAX_LABEL_CHARS).is_some() {
            let what = format!("label \"{shown}\" is longer than {MAX_LABEL_CHARS} characters");
            refusals.push(refusal(what, None));
        }
    }
}

/// Prometheus' rule: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_label_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
