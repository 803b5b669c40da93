//! What a check says of an attempt.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Outcome;

/// A check's judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckStatus {
    /// As it should be.
    Pass,
    /// Worth a look.
    Warn,
    /// Wrong.
    Fail,
    /// The check itself could not judge: a trap, a time-out, bad output, or it said so.
    Error,
}

impl CheckStatus {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for CheckStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a `fail` of a check does to the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Severity {
    /// The target is down.
    #[default]
    Fail,
    /// The target is degraded.
    Warn,
}

impl Severity {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Warn => "warn",
        }
    }
}

/// What a check said of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The check's name in its pipeline.
    pub check_name: Arc<str>,
    /// The plugin: a bundled one's name, or the path as the pipeline file has it.
    pub plugin: Arc<str>,
    /// The judgement, the plugin's own whatever the severity.
    pub status: CheckStatus,
    /// What a `fail` does to the outcome.
    pub severity: Severity,
    /// One line for people, at most 1 KiB.
    pub message: String,
    /// How long the check took, its sandbox included.
    pub duration: Duration,
    /// Numbers that the check told, in its order.
    pub metrics: Vec<(String, f64)>,
    /// Texts that the check told, in its order.
    pub annotations: Vec<(String, String)>,
}

impl Verdict {
    /// What this verdict says about the target.
    pub fn outcome(&self) -> Outcome {
        match (self.status, self.severity) {
            (CheckStatus::Pass, _) => Outcome::Up,
            (CheckStatus::Warn, _) | (CheckStatus::Fail, Severity::Warn) => Outcome::Degraded,
            (CheckStatus::Fail, Severity::Fail) => Outcome::Down,
            (CheckStatus::Error, _) => Outcome::Unknown,
        }
    }
}
