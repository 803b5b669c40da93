//! The checks of one pipeline, configured, in the order of its file.

use std::borrow::Cow;
use std::hash::Hasher as _;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use twox_hash::XxHash3_64;

use super::breaker::{Breaker, Suspension};
use super::compile::FreezeError;
use super::component::{ConfigureError, Plugin};
use super::fault::{Fault, FaultKind};
use super::gate::Gate;
use super::instances::{Instances, Isolation};
use super::limits::Limits;
use super::observed::Observed;
use super::report::{LogLevel, Report, TEXT_BYTES, one_line};
use super::sandbox::{Answer, Ready, Run};
use super::state::{Staged, StateEntries, StateKey, StateStore};
use super::together::Together;
use crate::clock::Clock;
use crate::config::SecretTexts;
use crate::model::{CheckStatus, Severity, Verdict};

/// One check, as a pipeline file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckSpec {
    /// Its name, unique in its pipeline.
    pub name: Arc<str>,
    /// Its plugin, for people: a bundled one's name, or the path as the pipeline file has it.
    pub plugin: Arc<str>,
    /// What a `fail` does to the outcome.
    pub severity: Severity,
    /// Whether it is called where there is no whole response.
    pub on_error: bool,
    /// What one call may use up.
    pub limits: Limits,
    /// Its configuration.
    pub config: CheckConfig,
    /// How much of a call's instance others have used before.
    pub isolation: Isolation,
}

/// A check's configuration, JSON text. Prints without secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct CheckConfig {
    json: Arc<str>,
    /// The same without its secrets; none where it has none.
    shown: Option<Arc<str>>,
}

impl CheckConfig {
    /// A configuration with secrets in it, and the same without them.
    pub fn with_secrets(json: &str, shown: &str) -> Self {
        Self { json: json.into(), shown: Some(shown.into()) }
    }

    /// The text that the plugin gets.
    pub fn expose(&self) -> &Arc<str> {
        &self.json
    }

    /// The text that may be shown.
    pub fn shown(&self) -> &str {
        self.shown.as_ref().unwrap_or(&self.json)
    }

    /// Whether it has values that nobody should see: then nothing that is made of it is kept.
    pub fn has_secrets(&self) -> bool {
        self.shown.is_some()
    }
}

impl std::fmt::Debug for CheckConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.shown())
    }
}

impl<T: Into<Arc<str>>> From<T> for CheckConfig {
    fn from(json: T) -> Self {
        Self { json: json.into(), shown: None }
    }
}

/// A check whose plugin has taken its configuration.
#[derive(Debug)]
pub struct ConfiguredCheck {
    spec: CheckSpec,
    plugin: Arc<Plugin>,
    instances: Arc<Instances>,
    breaker: Breaker,
}

impl ConfiguredCheck {
    /// Tries the configuration on the plugin. Blocks as [`Plugin::load`] does.
    pub fn new(plugin: &Arc<Plugin>, spec: CheckSpec) -> Result<Self, ConfigureError> {
        let instances = Instances::new(plugin, &spec.config, spec.limits, spec.isolation)?;
        Ok(Self { spec, plugin: Arc::clone(plugin), instances, breaker: Breaker::default() })
    }

    /// Freezes it now instead of when it has been called often enough. Blocks, for seconds where it was
    /// not done before.
    pub fn freeze(&self) -> Result<(), FreezeError> {
        self.instances.freeze()
    }

    /// Whether calls begin from a snapshot.
    pub fn is_frozen(&self) -> bool {
        self.instances.is_frozen()
    }

    /// Where its calls get their instances from.
    pub(super) fn instances(&self) -> &Instances {
        &self.instances
    }

    /// Whether it is left alone at present, since it failed many times in a row by its own fault.
    pub fn suspension(&self, clock: &Clock) -> Option<Suspension> {
        self.breaker.suspension(clock.now())
    }

    /// What the pipeline file says.
    pub fn spec(&self) -> &CheckSpec {
        &self.spec
    }

    /// Identifies the plugin by its content, and its configuration but for secrets: the same fingerprint is
    /// the same function of an observation and of what is remembered.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = XxHash3_64::with_seed(self.plugin.content_hash());
        hasher.write(self.spec.config.shown().as_bytes());
        hasher.finish()
    }

    /// The plugin.
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }
}

/// The checks of one pipeline.
#[derive(Debug)]
pub struct CheckSet {
    pipeline: Arc<str>,
    checks: Vec<Arc<ConfiguredCheck>>,
    together: Option<Arc<Together>>,
    state: Arc<dyn StateStore>,
    secrets: SecretTexts,
}

/// What the checks of a pipeline made of an attempt.
#[derive(Debug, Default)]
#[must_use = "a judgement holds the verdicts"]
pub struct Judgement {
    /// Their verdicts, in the order of the pipeline file. A check that was not called has none.
    pub verdicts: Vec<Verdict>,
    /// What is known of the calls besides, where there is anything.
    pub notes: Vec<CallNote>,
    staged: Vec<Staged>,
}

/// What is known of one call besides its verdict: what a [record](super::Record) keeps, so that the call
/// can be made again.
#[derive(Debug, Clone)]
pub struct CallNote {
    /// The check's name.
    pub check: Arc<str>,
    /// Why it gave no judgement.
    pub fault: Option<FaultKind>,
    /// What it remembered before the call; none if it did not look.
    pub remembered: Option<Arc<StateEntries>>,
}

impl Judgement {
    /// Keeps what the checks want to remember. To be called when the attempt turns out to be the
    /// final one of its probe; else the judgement is just dropped.
    pub fn commit_state(self) -> Vec<Verdict> {
        for staged in self.staged {
            staged.commit();
        }
        self.verdicts
    }
}

impl CheckSet {
    /// The checks of `pipeline`, in their order.
    pub fn new<C: Into<Arc<ConfiguredCheck>>>(
        pipeline: Arc<str>,
        checks: Vec<C>,
        state: Arc<dyn StateStore>,
    ) -> Self {
        let checks: Vec<_> = checks.into_iter().map(Into::into).collect();
        let together = Together::of(&checks);
        Self { pipeline, checks, together, state, secrets: SecretTexts::default() }
    }

    /// The same checks, which tell none of these texts, whatever they were configured with or see.
    #[must_use]
    pub fn with_secrets(self, secrets: SecretTexts) -> Self {
        Self { secrets, ..self }
    }

    /// The pipeline's name.
    pub(super) fn pipeline(&self) -> &Arc<str> {
        &self.pipeline
    }

    /// The same checks with another memory.
    #[must_use]
    pub fn with_state(self, state: Arc<dyn StateStore>) -> Self {
        Self { state, ..self }
    }

    /// Only the checks of these names.
    #[must_use]
    pub fn only(mut self, names: &[String]) -> Self {
        self.checks.retain(|check| names.iter().any(|name| **name == *check.spec.name));
        self.together = Together::of(&self.checks);
        self
    }

    /// The checks, in their order.
    pub fn checks(&self) -> &[Arc<ConfiguredCheck>] {
        &self.checks
    }

    /// Has the checks that may share a sandbox do so from now on, instead of when they have been called often enough.
    /// False where fewer than two may, or where it cannot be. Blocks, for seconds where it was not made before.
    pub fn share_sandbox(&self) -> bool {
        self.together.as_ref().is_some_and(|together| together.make_ready())
    }

    /// Whether any check looks at bodies.
    pub fn needs_body(&self) -> bool {
        self.checks.iter().any(|check| check.plugin.manifest().needs_body)
    }

    /// The checks that are called for an attempt: all of them for a whole response, else those that
    /// ask for it.
    pub(super) fn called_for(&self, observed: &Observed) -> impl Iterator<Item = &ConfiguredCheck> {
        let has_failed = observed.exchange.failure.is_some();
        self.checks.iter().map(AsRef::as_ref).filter(move |check| !has_failed || check.spec.on_error)
    }

    /// The answer where no check could be called, for one and the same reason.
    pub(super) fn all_faulty(&self, observed: &Observed, fault: &Fault) -> Judgement {
        let verdicts = self.called_for(observed).map(|check| error_verdict(&check.spec, fault)).collect();
        let note = |check: &ConfiguredCheck| CallNote {
            check: Arc::clone(&check.spec.name),
            fault: Some(fault.kind),
            remembered: None,
        };
        let notes = self.called_for(observed).map(note).collect();
        Judgement { verdicts, notes, staged: Vec::new() }
    }

    /// Calls the checks one after the other on this thread, without a deadline but their own limits, and
    /// however often they fail: for commands that judge what was recorded or made up. A pipeline's
    /// attempts go through a [`CheckPool`](super::CheckPool).
    pub fn judge_here(&self, observed: &Arc<Observed>, clock: &Clock) -> Judgement {
        self.judge_with(observed, clock, &self.state)
    }

    /// The same with another memory than the set's own.
    pub fn judge_with(
        &self,
        observed: &Arc<Observed>,
        clock: &Clock,
        state: &Arc<dyn StateStore>,
    ) -> Judgement {
        let gate = Arc::default();
        let call = |check: &_, shared: &mut _| self.call(check, observed, &gate, (clock, state), shared);
        self.judge_by(call, observed, clock, |_, _| {})
    }

    /// Calls the checks one after the other, but those that are suspended. `count` is told of every
    /// verdict.
    pub(super) fn judge(
        &self,
        observed: &Arc<Observed>,
        gate: &Arc<Gate>,
        clock: &Clock,
        count: impl FnMut(&Verdict, Option<&Fault>),
    ) -> Judgement {
        self.judge_by(
            |check, shared| self.call_unless_suspended(check, observed, gate, clock, shared),
            observed,
            clock,
            count,
        )
    }

    fn judge_by(
        &self,
        call: impl Fn(&ConfiguredCheck, &mut Option<Ready>) -> Answer,
        observed: &Observed,
        clock: &Clock,
        mut count: impl FnMut(&Verdict, Option<&Fault>),
    ) -> Judgement {
        let mut judgement = Judgement::default();
        let mut shared = None;
        for check in self.called_for(observed) {
            let began = clock.now();
            let mut answer = call(check, &mut shared);
            self.log(check, observed, &answer.report);
            judgement.staged.extend(answer.staged.take());
            let fault = answer.judged.as_ref().err().cloned();
            let remembered = answer.remembered.take();
            if fault.is_some() || remembered.is_some() {
                let (check, fault) = (Arc::clone(&check.spec.name), fault.as_ref().map(|fault| fault.kind));
                judgement.notes.push(CallNote { check, fault, remembered });
            }
            let mut verdict = verdict(&check.spec, answer);
            verdict.duration = clock.now().saturating_duration_since(began);
            count(&verdict, fault.as_ref());
            judgement.verdicts.push(verdict);
        }
        judgement
    }

    fn call_unless_suspended(
        &self,
        check: &ConfiguredCheck,
        observed: &Arc<Observed>,
        gate: &Arc<Gate>,
        clock: &Clock,
        shared: &mut Option<Ready>,
    ) -> Answer {
        let pass = match check.breaker.enter(clock.now()) {
            Ok(pass) => pass,
            Err(fault) => return faulty(fault),
        };
        let answer = self.call(check, observed, gate, (clock, &self.state), shared);
        if let Some(event) = pass.done(answer.judged.as_ref().err(), clock.now()) {
            event.tell(&self.pipeline, &check.spec);
        }
        answer
    }

    fn call(
        &self,
        check: &ConfiguredCheck,
        observed: &Arc<Observed>,
        gate: &Arc<Gate>,
        (clock, state): (&Clock, &Arc<dyn StateStore>),
        shared: &mut Option<Ready>,
    ) -> Answer {
        if gate.is_past() {
            return faulty(Fault::no_time_left());
        }
        let key = StateKey {
            pipeline: Arc::clone(&self.pipeline),
            target: self.remembered_as(&observed.target.name),
            check: Arc::clone(&check.spec.name),
        };
        let run = |key, member| Run {
            clock,
            limits: check.spec.limits,
            gate: Arc::clone(gate),
            observed: Arc::clone(observed),
            staged: Staged::new(state, key),
            member,
        };
        // Only for a whole response: else few are called.
        let sharing = self.together.as_ref().filter(|_| observed.exchange.failure.is_none());
        let sharing = sharing.and_then(|sharing| {
            let member = sharing.member(check)?;
            Some((sharing.instances()?, member))
        });
        let call = || {
            if let Some((instances, member)) = sharing {
                let answer = instances.run_shared(run(key.clone(), Some(member)), shared);
                // Whatever went wrong may be another's doing; what a check says itself is not.
                if answer.judged.as_ref().err().is_none_or(|fault| fault.kind == FaultKind::Refused) {
                    return answer;
                }
            }
            check.instances.run(run(key, None))
        };
        // A fault of ours in one call must not cost the thread: nothing of the call outlives it.
        let mut answer = panic::catch_unwind(AssertUnwindSafe(call))
            .unwrap_or_else(|panicked| faulty(Fault::internal(panic_message(panicked.as_ref()))));
        if !self.secrets.is_empty() {
            mask(&self.secrets, &mut answer);
        }
        if let Some(token) = &observed.exchange.sent_token {
            mask(&SecretTexts::new([token.expose()]), &mut answer);
        }
        answer
    }

    /// The name under which a target is remembered: its own, unless a secret is in it. What is remembered
    /// is on the disk.
    fn remembered_as(&self, target: &Arc<str>) -> Arc<str> {
        match self.secrets.mask(target) {
            Cow::Borrowed(_) => Arc::clone(target),
            Cow::Owned(masked) => format!("{masked} {:016x}", XxHash3_64::oneshot(target.as_bytes())).into(),
        }
    }

    fn log(&self, check: &ConfiguredCheck, observed: &Observed, report: &Report) {
        let (pipeline, name) = (&*self.pipeline, &*check.spec.name);
        let target = &*self.secrets.mask(&observed.target.name);
        for (level, line) in &report.log {
            match level {
                LogLevel::Debug => tracing::debug!(pipeline, check = name, target, "check says: {line}"),
                LogLevel::Info => tracing::info!(pipeline, check = name, target, "check says: {line}"),
                // An error of a check is not an error of the runner: no data is lost.
                LogLevel::Warn | LogLevel::Error => {
                    tracing::warn!(pipeline, check = name, target, "check says: {line}");
                }
            }
        }
        if report.dropped > 0 {
            tracing::debug!(pipeline, check = name, target, dropped = report.dropped, "check told too much");
        }
    }
}

/// Takes secrets out of all that a check told.
fn mask(secrets: &SecretTexts, answer: &mut Answer) {
    match &mut answer.judged {
        Ok((_, message)) => secrets.mask_in(message),
        Err(fault) => secrets.mask_in(&mut fault.message),
    };
    for (_, text) in &mut answer.report.annotations {
        secrets.mask_in(text);
    }
    for (_, line) in &mut answer.report.log {
        secrets.mask_in(line);
    }
}

fn verdict(spec: &CheckSpec, answer: Answer) -> Verdict {
    let mut verdict = match answer.judged {
        Ok((status, message)) => plain_verdict(spec, status, one_line(&message, TEXT_BYTES)),
        Err(fault) => error_verdict(spec, &fault),
    };
    verdict.metrics = answer.report.metrics;
    verdict.annotations = answer.report.annotations;
    verdict
}

fn error_verdict(spec: &CheckSpec, fault: &Fault) -> Verdict {
    plain_verdict(spec, CheckStatus::Error, fault.message.clone())
}

fn plain_verdict(spec: &CheckSpec, status: CheckStatus, message: String) -> Verdict {
    Verdict {
        check_name: Arc::clone(&spec.name),
        plugin: Arc::clone(&spec.plugin),
        status,
        severity: spec.severity,
        message,
        duration: std::time::Duration::ZERO,
        metrics: Vec::new(),
        annotations: Vec::new(),
    }
}

fn faulty(fault: Fault) -> Answer {
    Answer { judged: Err(fault), report: Report::default(), remembered: None, staged: None }
}

fn panic_message(panicked: &(dyn std::any::Any + Send)) -> &str {
    let text = panicked.downcast_ref::<&str>().copied();
    text.or_else(|| panicked.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic")
}
