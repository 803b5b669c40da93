//! How what a check said differs from what it must say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use super::case::Expectation;
use super::judge::Answer;
use crate::model::Verdict;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Where: `status`, `message`, `metrics.price_gbp`, `config_error`.
    pub what: String,
    /// What must be there; none where nothing must.
    pub expected: Option<String>,
    /// What is there; none where nothing is.
    pub got: Option<String>,
}

impl Mismatch {
    fn new(what: &str, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self { what: what.to_owned(), expected: Some(expected.into()), got: Some(got.into()) }
    }
}

/// All differences; empty where the check said what it must.
pub(super) fn compare(expected: &Expectation, answer: &Answer) -> Vec<Mismatch> {
    match (expected, answer) {
        (Expectation::ConfigError(reason), Answer::Refused(got)) => differ("config_error", reason, got),
        (Expectation::Error(reason), Answer::Error(got)) => differ("error", reason, got),
        (Expectation::Verdict { status, message, metrics, annotations }, Answer::Verdict(verdict)) => {
            let mut all = differ("status", status.as_str(), verdict.status.as_str());
            all.extend(message.iter().flat_map(|message| differ("message", message, &verdict.message)));
            all.extend(metrics.iter().flat_map(|all| differ_by_name("metrics", all, &verdict.metrics)));
            all.extend(
                annotations.iter().flat_map(|all| differ_by_name("annotations", all, &verdict.annotations)),
            );
            // A wrong status is explained by the message, where that is not compared by itself.
            if let (Some(first), None) = (all.first_mut().filter(|first| first.what == "status"), message) {
                first.got = Some(format!("{} ({})", verdict.status.as_str(), verdict.message));
            }
            all
        }
        (expected, answer) => vec![Mismatch::new("answer", in_words(expected), answer_in_words(answer))],
    }
}

fn differ(what: &str, expected: &str, got: &str) -> Vec<Mismatch> {
    if expected == got { Vec::new() } else { vec![Mismatch::new(what, expected, got)] }
}

/// Compares all that was told with all that must be; the last value of a name counts.
fn differ_by_name<V: Display + PartialEq>(
    what: &str,
    expected: &BTreeMap<String, V>,
    got: &[(String, V)],
) -> Vec<Mismatch> {
    let got: BTreeMap<&String, &V> = got.iter().map(|(name, value)| (name, value)).collect();
    let names: BTreeSet<&String> = expected.keys().chain(got.keys().copied()).collect();
    let pairs = names.into_iter().map(|name| (name, expected.get(name), got.get(name).copied()));
    pairs
        .filter(|(_, expected, got)| expected != got)
        .map(|(name, expected, got)| Mismatch {
            what: format!("{what}.{name}"),
            expected: expected.map(V::to_string),
            got: got.map(V::to_string),
        })
        .collect()
}

fn in_words(expected: &Expectation) -> String {
    match expected {
        Expectation::Verdict { status, message: Some(message), .. } => format!("{status}: {message}"),
        Expectation::Verdict { status, .. } => status.to_string(),
        Expectation::Error(reason) => format!("could not judge: {reason}"),
        Expectation::ConfigError(reason) => format!("the configuration is refused: {reason}"),
    }
}

fn answer_in_words(answer: &Answer) -> String {
    match answer {
        Answer::Verdict(Verdict { status, message, .. }) => format!("{status}: {message}"),
        Answer::Error(reason) => format!("could not judge: {reason}"),
        Answer::Refused(reason) => format!("the configuration is refused: {reason}"),
        Answer::NotConfigured(reason) => reason.clone(),
        Answer::EarlierError(at, reason) => format!("before[{at}]: could not judge: {reason}"),
    }
}

/// Holds the schema of a configuration (JSON text) against the keys that cases use: a key that the schema
/// lacks cannot be looked up by those who configure the check, one without a case is not known to work.
pub(super) fn compare_with_schema(schema: &str, used: &BTreeSet<String>) -> Vec<Mismatch> {
    // It was read when the plugin was loaded.
    let schema: serde_json::Value = serde_json::from_str(schema).unwrap_or_default();
    let known: BTreeSet<String> =
        schema["properties"].as_object().into_iter().flat_map(|all| all.keys().cloned()).collect();
    let undescribed = used.difference(&known).map(|key| Mismatch {
        what: format!("config.{key}"),
        expected: Some("a description in the configuration's schema, since cases use it".to_owned()),
        got: None,
    });
    let unused = known.difference(used).map(|key| Mismatch {
        what: format!("config.{key}"),
        expected: Some("a case that uses it, since the configuration's schema has it".to_owned()),
        got: None,
    });
    undescribed.chain(unused).collect()
}
