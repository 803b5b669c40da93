//! The tables of a `cases.toml`: what an author writes, with positions, before anything is done with it.

use std::collections::BTreeMap;

use serde_json::json;
use toml::Spanned;
use toml::de::DeValue;

use crate::check::canned::{FailureText, ResponseText};
use crate::config::table::word;
use crate::config::{ByteSize, Context, Duration, FromValue, Located, config_table};
use crate::model::CheckStatus;

config_table! {
    /// A whole file: what a check says of what it is shown.
    pub struct CasesText, "the file" {
        /// The cases, in the order in which they are judged. Each begins with nothing remembered.
        cases: Vec<Located<CaseText>>,
    }
}

config_table! {
    /// One case: an observation in, a verdict expected.
    pub struct CaseText, "[[cases]]" {
        /// What the case shows, in words.
        name: String,
        /// The check's configuration, as in a pipeline file.
        config: Option<Located<serde_json::Value>>,
        /// What was probed.
        target: TargetText,
        /// When the attempt began, a date of RFC 3339 since 1970: the only clock of a check.
        started_at: Located<String> = r#""1970-01-01T00:00:00Z""#,
        /// What earlier attempts saw, in their order: the check remembers what it made of them.
        before: Vec<ResponseText>,
        /// The error kind of a failed attempt; the response has what was seen before the failure.
        error: Option<FailureText>,
        /// What was seen.
        response: ResponseText,
        /// Limits of one call.
        limits: LimitsText,
        /// What the check must say.
        expect: Located<ExpectText>,
    }
}

config_table! {
    /// What was probed.
    pub struct TargetText, "target" {
        /// The target's name; its URL where it is left out.
        name: Option<String>,
        /// The URL of the last request.
        url: String = r#""https://example.test/""#,
        /// The method of the last request.
        method: Located<String> = r#""GET""#,
        /// Labels by name.
        labels: BTreeMap<String, String>,
    }
}

config_table! {
    /// Limits of one call, as in a pipeline file. Only the sandbox knows them: tests without WebAssembly do not.
    pub struct LimitsText, "limits" {
        /// CPU time of one call; at least 1 ms, at most 10 s.
        time: Located<Duration> = r#""50ms""#,
        /// Memory of one call; at least 1 MiB, at most 256 MiB.
        memory: Located<ByteSize> = r#""64MiB""#,
    }
}

config_table! {
    /// What the check must say: exactly one of `status`, `error` and `config_error`.
    pub struct ExpectText, "expect" {
        /// Its verdict.
        status: Option<StatusText>,
        /// The whole message of the verdict.
        message: Option<Located<String>>,
        /// All metrics, by name.
        metrics: Option<Located<BTreeMap<String, f64>>>,
        /// All annotations, by name.
        annotations: Option<Located<BTreeMap<String, String>>>,
        /// It could not judge, for this reason.
        error: Option<String>,
        /// It refuses its configuration, for this reason.
        config_error: Option<String>,
    }
}

/// What a check can say of an attempt.
const STATUSES: [CheckStatus; 3] = [CheckStatus::Pass, CheckStatus::Warn, CheckStatus::Fail];
/// The words for it.
const STATUS_WORDS: [&str; 3] = ["pass", "warn", "fail"];

/// A verdict's status; none for a word that is none, which was told.
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
        let word = word(value, &STATUS_WORDS, context);
        let known = STATUSES.iter().find(|status| Some(status.as_str()) == word);
        Some(Self(known.copied()))
    }
}
