//! Cases that are ready to be judged: checked values instead of what was written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use toml::Spanned;
use toml::de::DeValue;

use super::text::{CaseText, CasesText, ExpectText, StatusText, TargetText};
use crate::check::canned::Canned;
use crate::check::config::checked_limits;
use crate::check::limits::Limits;
use crate::check::observed::Observed;
use crate::clock::UnixNanos;
use crate::config::{
    Advice, Code, Context, Diagnostic, Diagnostics, Document, FromValue as _, Level, Located, Place,
};
use crate::model::{CheckStatus, Target};

/// The cases of one file.
#[derive(Debug)]
pub struct Cases {
    /// In the order of the file.
    pub cases: Vec<Case>,
}

/// One case.
#[derive(Debug)]
pub struct Case {
    /// What it shows, in words.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// The check's configuration, JSON text.
    pub config: String,
    /// The keys of the configuration.
    pub config_keys: BTreeSet<String>,
    /// What one call may use up.
    pub limits: Limits,
    /// What earlier attempts saw, in their order.
    pub before: Vec<Arc<Observed>>,
    /// What the check is shown.
    pub observed: Arc<Observed>,
    /// What it must say.
    pub expected: Expectation,
}

/// What a check must say.
#[derive(Debug, Clone, PartialEq)]
pub enum Expectation {
    /// A verdict; what is none may be anything.
    Verdict {
        /// The status.
        status: CheckStatus,
        /// The whole message.
        message: Option<String>,
        /// All metrics, by name.
        metrics: Option<BTreeMap<String, f64>>,
        /// All annotations, by name.
        annotations: Option<BTreeMap<String, String>>,
    },
    /// It could not judge, for this reason.
    Error(String),
    /// It refuses its configuration, for this reason.
    ConfigError(String),
}

/// What to do about a file of cases that cannot be read.
const ADVICE: Advice = Advice {
    too_large: "put long bodies into files of their own: body_file = \"page.html\"",
    empty: "the shortest case is: [[cases]] and, on the next lines, name = \"…\" and expect = { status = \"pass\" }",
};

impl Cases {
    /// Reads a file of cases, and the bodies that it names. None where anything is wrong, which is told.
    pub fn read(path: &Path, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut found = Diagnostics::default();
        let document = Document::read_with(path, ADVICE, &mut found);
        let cases = document.and_then(|document| Self::of(&document, &mut found));
        let is_whole = !found.has_errors();
        diagnostics.absorb(found);
        cases.filter(|_| is_whole)
    }

    fn of(document: &Document, diagnostics: &mut Diagnostics) -> Option<Self> {
        let table = document.parse(diagnostics)?;
        let value = Spanned::new(table.span(), DeValue::Table(table.into_inner()));
        let text = CasesText::from_value(&value, &mut Context { document, diagnostics, tag: None })?;
        if text.cases.is_empty() && !diagnostics.has_errors() {
            let place = Place::file(document.path());
            let problem = Diagnostic::error(Code::MissingKey, place, "there is no case in the file");
            diagnostics.add(problem.hint(ADVICE.empty));
        }
        let cases = text.cases.iter().filter_map(|case| self::case(case, document, diagnostics));
        Some(Self { cases: cases.collect() })
    }
}

/// Checks one case; tells all that is wrong with it.
fn case(text: &Located<CaseText>, document: &Document, diagnostics: &mut Diagnostics) -> Option<Case> {
    let place = text.place(document);
    let CaseText { name, config, target, started_at, before, error, response, limits, expect } = &text.value;
    let problems = diagnostics.count(Level::Error);
    let limits = checked_limits(&limits.time, &limits.memory, document, diagnostics);
    let method = method(&target.method, document, diagnostics);
    let started_at = moment(started_at, document, diagnostics);
    let expected = expectation(expect, document, diagnostics);
    let mut earlier: Vec<Canned> = Vec::with_capacity(before.len());
    for response in before {
        earlier.extend(response.canned(document, diagnostics));
    }
    let mut last = response.canned(document, diagnostics)?;
    if let Some(error) = error {
        last = last.failed(error.0);
    }
    let (limits, method, started_at, expected) = (limits?, method?, started_at?, expected?);
    let target = self::target(target);
    let observed = |canned: Canned| {
        Arc::new(canned.requested_by(method.clone()).observed(Arc::clone(&target), started_at))
    };
    let config = config.as_ref().map(|config| &config.value);
    let case = Case {
        name: name.clone(),
        place,
        config: config.map_or_else(|| "{}".to_owned(), ToString::to_string),
        config_keys: config.and_then(|config| config.as_object()).into_iter().flat_map(keys).collect(),
        limits,
        before: earlier.into_iter().map(observed).collect(),
        observed: observed(last),
        expected,
    };
    (diagnostics.count(Level::Error) == problems).then_some(case)
}

fn keys(table: &serde_json::Map<String, serde_json::Value>) -> Vec<String> {
    table.keys().cloned().collect()
}

fn target(text: &TargetText) -> Arc<Target> {
    let TargetText { name, url, method: _, labels } = text;
    let labels = labels.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into()));
    Arc::new(Target {
        name: name.as_ref().unwrap_or(url).as_str().into(),
        url: url.as_str().into(),
        labels: labels.collect(),
        every: None,
    })
}

fn method(
    text: &Located<String>,
    document: &Document,
    diagnostics: &mut Diagnostics,
) -> Option<http::Method> {
    let method = http::Method::from_bytes(text.value.as_bytes()).ok();
    if method.is_none() {
        let message = format!("\"{}\" cannot be a method", text.value);
        let problem = Diagnostic::error(Code::BadValue, text.place(document), message);
        diagnostics.add(problem.hint("a method is a word, such as GET or HEAD"));
    }
    method
}

/// A date of RFC 3339 since 1970, without its fraction of a second, as the kit for Rust reads it.
fn moment(text: &Located<String>, document: &Document, diagnostics: &mut Diagnostics) -> Option<UnixNanos> {
    let seconds = text.value.parse::<Timestamp>().ok().map(Timestamp::as_second);
    let nanos =
        seconds.filter(|seconds| *seconds >= 0).and_then(|seconds| seconds.checked_mul(1_000_000_000));
    if nanos.is_none() {
        let message = "a date since 1970 is wanted here";
        let problem = Diagnostic::error(Code::BadValue, text.place(document), message);
        diagnostics.add(problem.hint("write it as RFC 3339 does: started_at = \"2026-11-22T10:00:00Z\""));
    }
    nanos.map(UnixNanos)
}

/// Exactly one of the three ways in which a check can answer.
fn expectation(
    text: &Located<ExpectText>,
    document: &Document,
    diagnostics: &mut Diagnostics,
) -> Option<Expectation> {
    let ExpectText { status, message, metrics, annotations, error, config_error } = &text.value;
    let mut wrong = |place, message: String, hint: &str| {
        diagnostics.add(Diagnostic::error(Code::Conflict, place, message).hint(hint));
    };
    let beside_status = [
        ("message", message.as_ref().map(|value| value.place(document))),
        ("metrics", metrics.as_ref().map(|value| value.place(document))),
        ("annotations", annotations.as_ref().map(|value| value.place(document))),
    ];
    for (key, place) in beside_status {
        if let (Some(place), None) = (place, status) {
            let message = format!("\"{key}\" goes with \"status\" only");
            wrong(place, message, "only a verdict has a message, metrics and annotations");
        }
    }
    match (status, error, config_error) {
        (Some(StatusText(status)), None, None) => Some(Expectation::Verdict {
            status: (*status)?,
            message: message.as_ref().map(|message| message.value.clone()),
            metrics: metrics
                .as_ref()
                .map(|metrics| metrics.value.iter().map(|(name, value)| (name.clone(), *value)).collect()),
            annotations: annotations.as_ref().map(|annotations| annotations.value.clone()),
        }),
        (None, Some(reason), None) => Some(Expectation::Error(reason.clone())),
        (None, None, Some(reason)) => Some(Expectation::ConfigError(reason.clone())),
        _ => {
            let message =
                "exactly one of \"status\", \"error\" and \"config_error\" is wanted here".to_owned();
            wrong(
                text.place(document),
                message,
                "a verdict, no judgement, or a configuration that is refused",
            );
            None
        }
    }
}

#[cfg(test)]
mod tests;
