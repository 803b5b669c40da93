//! The tables of `[[tests]]`: what the user wrote, with positions and no work done.

use std::collections::BTreeMap;

use serde_json::json;
use toml::Spanned;
use toml::de::DeValue;

use crate::check::{FailureText, HeaderText, ResponseText, TimingText};
use crate::config::table::word;
use crate::config::{Context, Duration, FromValue, Located, TableDoc, config_enum, config_table};
use crate::model::{CheckStatus, Outcome};

config_table! {
    /// A test of the pipeline's checks, on a response that is written down here. `probity test` runs it,
    /// without network. Each test begins with nothing remembered.
    pub struct TestText, "[[tests]]" {
        /// What the test shows, in words.
        name: String,
        /// The name of the pipeline's target that is probed; a made-up one where it is left out.
        target: Option<Located<String>>,
        /// When the attempt began, a date of RFC 3339 since 1970: the only clock of a check.
        started_at: Located<String> = r#""2026-01-01T00:00:00Z""#,
        /// What earlier attempts saw, in their order, for checks that remember.
        before: Vec<Located<AnswerText>>,
        /// What was seen; beside `failure`, what was seen before it.
        response: Option<Located<AnswerText>>,
        /// The error kind of an attempt that failed, such as `"connect_refused"`.
        failure: Option<FailureText>,
        /// What must come of it.
        expect: Located<OutcomeExpectText>,
    }
}

config_table! {
    /// What was seen.
    pub struct AnswerText, "response of [[tests]]" {
        /// The status code, 100 to 999. Where it is left out there was no response, or none up to its
        /// status.
        status: Option<Located<u64>>,
        /// Headers by name, each a text, or a list of texts where a header was sent as often.
        headers: BTreeMap<String, HeaderText>,
        /// The body, as text; its bytes are those of UTF-8.
        body: Option<Located<String>>,
        /// A file with the body, relative to the pipeline file; at most 64 MiB. It is not watched.
        body_file: Option<Located<String>>,
        /// Whether the body went on beyond the body limit, and was cut there.
        body_truncated: bool = "false",
        /// How long the whole attempt took; `timing` has its phases.
        latency: Option<Duration>,
        /// Lengths of phases.
        timing: TimingText,
        /// Facts by name, such as those of the certificate; the table is in `wit/README.md`.
        facts: BTreeMap<String, String>,
    }
}

impl AnswerText {
    /// The same with the keys that tests of plugins have. `with_files`: also what stands in files.
    pub(super) fn response(&self, with_files: bool) -> ResponseText {
        let Self { status, headers, body, body_file, body_truncated, latency, timing, facts } = self.clone();
        let body_file = body_file.filter(|_| with_files || body.is_some());
        let timing = TimingText { total: latency.or(timing.total), ..timing };
        ResponseText { status, headers, body, body_file, body_truncated, timing, facts }
    }
}

config_table! {
    /// What must come of a test: the outcome, what checks say, or both.
    pub struct OutcomeExpectText, "expect of [[tests]]" {
        /// The outcome of the attempt.
        outcome: Option<OutcomeText>,
        /// What checks must say, by their names: a status, or a table with `status`, `message` and `metrics`.
        /// `"not_called"`: the check is not called, as most are not where there is no response.
        checks: BTreeMap<String, Located<CheckExpectText>>,
    }
}

config_enum! {
    /// The outcome of an attempt.
    pub enum OutcomeText {
        /// All is well.
        Up = "up",
        /// A check warns.
        Degraded = "degraded",
        /// It could not be told.
        Unknown = "unknown",
        /// The target is wrong.
        Down = "down",
    }
}

impl From<OutcomeText> for Outcome {
    fn from(text: OutcomeText) -> Self {
        match text {
            OutcomeText::Up => Self::Up,
            OutcomeText::Degraded => Self::Degraded,
            OutcomeText::Unknown => Self::Unknown,
            OutcomeText::Down => Self::Down,
        }
    }
}

/// What one check must say.
#[derive(Debug, Clone)]
pub enum CheckExpectText {
    /// Its status.
    Status(StatusText),
    /// More than that.
    Table(VerdictExpectText),
}

config_table! {
    /// What one check must say.
    pub struct VerdictExpectText, "checks in expect of [[tests]]" {
        /// Its status: `"pass"`, `"warn"`, `"fail"`, `"error"` or `"not_called"`.
        status: Option<StatusText>,
        /// Its whole message.
        message: Option<String>,
        /// Some of its metrics, by name.
        metrics: BTreeMap<String, f64>,
    }
}

/// The words for what a check can say.
const STATUS_WORDS: [&str; 5] = ["pass", "warn", "fail", "error", "not_called"];

/// A check's status; none for one that was not called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusText(pub Option<CheckStatus>);

impl FromValue for StatusText {
    fn type_text() -> String {
        STATUS_WORDS.map(|word| format!("\"{word}\"")).join(" or ")
    }

    fn schema() -> serde_json::Value {
        json!({ "enum": STATUS_WORDS })
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        Some(Self(match word(value, &STATUS_WORDS, context)? {
            "pass" => Some(CheckStatus::Pass),
            "warn" => Some(CheckStatus::Warn),
            "fail" => Some(CheckStatus::Fail),
            "error" => Some(CheckStatus::Error),
            _ => None,
        }))
    }
}

impl FromValue for CheckExpectText {
    fn type_text() -> String {
        format!("{}, or table", StatusText::type_text())
    }

    fn schema() -> serde_json::Value {
        json!({ "anyOf": [StatusText::schema(), VerdictExpectText::schema()] })
    }

    fn tables(out: &mut Vec<TableDoc>) {
        VerdictExpectText::tables(out);
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(_) => VerdictExpectText::from_value(value, context).map(Self::Table),
            _ => StatusText::from_value(value, context).map(Self::Status),
        }
    }
}
