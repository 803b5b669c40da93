//! Has cases judged by a plugin, in the sandbox.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::case::{Case, Cases, Expectation};
use super::compare::{Mismatch, compare, compare_with_schema};
use crate::check::component::{ConfigureError, Plugin};
use crate::check::instances::Isolation;
use crate::check::observed::Observed;
use crate::check::set::{CheckSet, CheckSpec, ConfiguredCheck};
use crate::check::state::MemoryState;
use crate::clock::Clock;
use crate::model::{CheckStatus, Severity, Verdict};

/// What a check made of a case.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A verdict of its own.
    Verdict(Verdict),
    /// It could not judge, or was stopped: the reason.
    Error(String),
    /// It refuses the configuration: the reason.
    Refused(String),
    /// It failed while it looked at the configuration: the reason.
    NotConfigured(String),
    /// It could not judge an earlier attempt: which, from 0, and the reason.
    EarlierError(usize, String),
}

/// A case, judged.
#[derive(Debug, Clone)]
pub struct CaseReport {
    /// What the check made of it.
    pub answer: Answer,
    /// How that differs from what it must say; empty where it does not.
    pub mismatches: Vec<Mismatch>,
    /// How long it took, the configuration and what came before included.
    pub duration: Duration,
}

impl Case {
    /// Has a plugin judge the case: it takes the configuration, begins with nothing remembered, and sees
    /// what came before. Blocks for as long as the limits of the case allow.
    pub fn judge(&self, plugin: &Arc<Plugin>, isolation: Isolation, clock: &Clock) -> CaseReport {
        let began = clock.now();
        let answer = answer(plugin, self, isolation, clock);
        let mismatches = compare(&self.expected, &answer);
        CaseReport { answer, mismatches, duration: clock.now().saturating_duration_since(began) }
    }
}

impl Cases {
    /// How the plugin's schema of its configuration differs from the keys that cases use; none where the
    /// plugin has no schema.
    pub fn compare_with_schema(&self, plugin: &Plugin) -> Option<Vec<Mismatch>> {
        let accepted = self.cases.iter().filter(|case| !matches!(case.expected, Expectation::ConfigError(_)));
        let used: BTreeSet<String> = accepted.flat_map(|case| case.config_keys.iter().cloned()).collect();
        plugin.manifest().config_schema.as_deref().map(|schema| compare_with_schema(schema, &used))
    }
}

fn answer(plugin: &Arc<Plugin>, case: &Case, isolation: Isolation, clock: &Clock) -> Answer {
    let spec = CheckSpec {
        name: plugin.manifest().name.as_str().into(),
        plugin: plugin.manifest().name.as_str().into(),
        severity: Severity::Fail,
        // A case shows failures to every check.
        on_error: true,
        limits: case.limits,
        config: case.config.as_str().into(),
        isolation,
    };
    let check = match ConfiguredCheck::new(plugin, spec) {
        Ok(check) => check,
        Err(ConfigureError::Refused(reason)) => return Answer::Refused(reason),
        Err(other) => return Answer::NotConfigured(other.to_string()),
    };
    let set = CheckSet::new("cases".into(), vec![check], Arc::new(MemoryState::default()));
    for (at, observed) in case.before.iter().enumerate() {
        if let Answer::Error(reason) = call(&set, observed, clock) {
            return Answer::EarlierError(at, reason);
        }
    }
    call(&set, &case.observed, clock)
}

/// Calls the one check of the set; what it wants to remember is kept.
fn call(set: &CheckSet, observed: &Arc<Observed>, clock: &Clock) -> Answer {
    match set.judge_here(observed, clock).commit_state().pop() {
        Some(verdict) if verdict.status == CheckStatus::Error => Answer::Error(verdict.message),
        Some(verdict) => Answer::Verdict(verdict),
        None => Answer::Error("it was not called".to_owned()),
    }
}
