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
    /// A difference between two texts.
    pub fn new(what: &str, expected: impl Into<String>, got: impl Into<String>) -> Self {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::model::{CheckStatus, Severity};

    fn verdict(status: CheckStatus, message: &str) -> Answer {
        Answer::Verdict(Verdict {
            check_name: Arc::from("c"),
            plugin: Arc::from("c"),
            status,
            severity: Severity::Fail,
            message: message.to_owned(),
            duration: Duration::ZERO,
            metrics: vec![("a".to_owned(), 1.0), ("b".to_owned(), 2.5)],
            annotations: vec![("x".to_owned(), "y".to_owned())],
        })
    }

    fn expected(status: CheckStatus, message: Option<&str>) -> Expectation {
        let message = message.map(str::to_owned);
        Expectation::Verdict { status, message, metrics: None, annotations: None }
    }

    fn told(expected: &Expectation, answer: &Answer) -> Vec<String> {
        let shown = |text: Option<String>| text.unwrap_or_else(|| "nothing".to_owned());
        compare(expected, answer)
            .into_iter()
            .map(|Mismatch { what, expected, got }| format!("{what}: {} / {}", shown(expected), shown(got)))
            .collect()
    }

    #[test]
    fn what_is_not_expected_may_be_anything() {
        let answer = verdict(CheckStatus::Pass, "fine");
        assert_eq!(told(&expected(CheckStatus::Pass, None), &answer), [""; 0]);
        assert_eq!(told(&expected(CheckStatus::Pass, Some("fine")), &answer), [""; 0]);
    }

    #[test]
    fn every_difference_is_told() {
        let answer = verdict(CheckStatus::Fail, "bad");
        let Expectation::Verdict { status, message, .. } = expected(CheckStatus::Pass, Some("fine")) else {
            unreachable!("made so");
        };
        let wanted = Expectation::Verdict {
            status,
            message,
            metrics: Some([("a", 1.0), ("b", 2.0), ("c", 3.0)].map(|(n, v)| (n.to_owned(), v)).into()),
            annotations: Some(BTreeMap::new()),
        };
        assert_eq!(
            told(&wanted, &answer),
            [
                "status: pass / fail",
                "message: fine / bad",
                "metrics.b: 2 / 2.5",
                "metrics.c: 3 / nothing",
                "annotations.x: nothing / y"
            ]
        );
    }

    #[test]
    fn a_wrong_status_is_explained() {
        let answer = verdict(CheckStatus::Fail, "bad");
        assert_eq!(told(&expected(CheckStatus::Pass, None), &answer), ["status: pass / fail (bad)"]);
    }

    #[test]
    fn answers_of_another_kind_are_told_in_words() {
        let refused = Answer::Refused("no key".to_owned());
        let config_error = Expectation::ConfigError("no key".to_owned());
        assert_eq!(told(&config_error, &refused), [""; 0]);
        assert_eq!(
            told(&expected(CheckStatus::Pass, None), &refused),
            ["answer: pass / the configuration is refused: no key"]
        );
        assert_eq!(
            told(&config_error, &Answer::Error("time limit".to_owned())),
            ["answer: the configuration is refused: no key / could not judge: time limit"]
        );
        assert_eq!(
            told(&Expectation::Error("a".to_owned()), &Answer::Error("b".to_owned())),
            ["error: a / b"]
        );
        assert_eq!(
            told(&Expectation::Error("a".to_owned()), &Answer::EarlierError(1, "b".to_owned())),
            ["answer: could not judge: a / before[1]: could not judge: b"]
        );
    }

    #[test]
    fn schema_and_cases_have_the_same_keys() {
        let schema = r#"{ "properties": { "a": {}, "b": {} } }"#;
        let used = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(compare_with_schema(schema, &used(&["a", "b"])), []);
        assert_eq!(compare_with_schema("{}", &used(&[])), []);
        let differ: Vec<_> =
            compare_with_schema(schema, &used(&["a", "c"])).into_iter().map(|found| found.what).collect();
        assert_eq!(differ, ["config.c", "config.b"]);
    }
}
