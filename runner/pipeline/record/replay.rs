//! Checks called again on what was recorded: what they say now beside what was said then. No network, no
//! results, and nothing that is remembered outlasts it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::check::{
    CallNote, CheckSet, ConfiguredCheck, FaultKind, MASK, MemoryState, Record, RecordedVerdict, StateKey,
    StateStore, as_recorded,
};
use crate::clock::Clock;
use crate::model::{Outcome, Verdict, judge};

/// Errors that come from the machine at that moment or from earlier calls, and say nothing of check and
/// response.
const CIRCUMSTANCES: [FaultKind; 4] =
    [FaultKind::NoTimeLeft, FaultKind::Stopping, FaultKind::Suspended, FaultKind::Internal];
/// The error that tells how much time was used, which is never the same.
const TIMED: FaultKind = FaultKind::Time;

/// How a verdict of today stands to the one of then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Another status.
    Status,
    /// The same status; another message, or other metrics or annotations.
    Words,
    /// There was none then.
    New,
    /// There is none now.
    Gone,
    /// The check could not judge then for a reason of the machine's.
    Unjudged,
    /// The same check would say otherwise of the record, since a part of what it saw is masked or cut
    /// there: so it would say what it said.
    Blurred,
    /// The same.
    Same,
}

impl Change {
    /// Its name in lines for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Words => "words",
            Self::New => "new",
            Self::Gone => "gone",
            Self::Unjudged => "unjudged",
            Self::Blurred => "blurred",
            Self::Same => "same",
        }
    }

    /// Whether verdicts differ.
    pub fn is_difference(self) -> bool {
        matches!(self, Self::Status | Self::Words)
    }
}

/// What one check said, and says.
#[derive(Debug, Clone)]
pub struct Compared {
    /// What was said; none if the check was not called.
    pub was: Option<Verdict>,
    /// What is said; none if the check is not called.
    pub now: Option<Verdict>,
    /// How they stand to each other.
    pub change: Change,
}

/// What an attempt came to, and would come to.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// The checks, those of today first.
    pub checks: Vec<Compared>,
    /// What it came to.
    pub was: Outcome,
    /// What it would come to.
    pub now: Outcome,
}

impl Replayed {
    /// Whether anything differs.
    pub fn differs(&self) -> bool {
        self.outcome_differs() || self.checks.iter().any(|compared| compared.change.is_difference())
    }

    /// Whether the attempt would have come to something else. One whose checks could not judge is not
    /// compared.
    pub fn outcome_differs(&self) -> bool {
        self.was != self.now && self.checks.iter().all(|compared| compared.change != Change::Unjudged)
    }
}

/// Checks at work on records.
#[derive(Debug)]
pub struct Replay {
    checks: HashMap<String, Arc<CheckSet>>,
    is_whole: bool,
    state: Arc<MemoryState>,
    /// Whose state has begun with what was recorded.
    begun: HashSet<StateKey>,
    clock: Clock,
}

impl Replay {
    /// Checks by pipeline. `is_whole` says that these are all checks of their pipelines; else other
    /// checks' verdicts stay as they were.
    pub fn new(checks: HashMap<String, CheckSet>, is_whole: bool, clock: &Clock) -> Self {
        let state = Arc::new(MemoryState::default());
        let remember = |set: CheckSet| Arc::new(set.with_state(Arc::clone(&state) as Arc<dyn StateStore>));
        Self {
            checks: checks.into_iter().map(|(pipeline, set)| (pipeline, remember(set))).collect(),
            is_whole,
            begun: HashSet::new(),
            clock: clock.clone(),
            state,
        }
    }

    /// Has the checks of a record's pipeline judge it; none if they are not known. Records are to come in
    /// the order of their attempts, since checks remember. An attempt's deadline is long over: a check has
    /// all the time that its own limits leave it. Blocks.
    pub fn judge(&mut self, record: &Record) -> Option<Replayed> {
        let set = Arc::clone(self.checks.get(&*record.pipeline)?);
        for check in set.checks() {
            self.remind(check, record);
        }
        let mut judgement = set.judge_here(&record.seen(), &self.clock);
        let notes = std::mem::take(&mut judgement.notes);
        let verdicts = if record.is_final { judgement.commit_state() } else { judgement.verdicts };
        Some(self.compare(record, &set, verdicts, &notes))
    }

    /// Gives a check what it remembered then, if it is the same check: what was not recorded in between
    /// makes no difference to it. Another one remembers what it has seen since the first record, and
    /// begins with what its namesake knew.
    fn remind(&mut self, check: &ConfiguredCheck, record: &Record) {
        let Some(then) = record.verdict(&check.spec().name) else { return };
        let Some(remembered) = &then.remembered else { return };
        let key = StateKey {
            pipeline: Arc::clone(&record.pipeline),
            target: Arc::clone(&record.observed.target.name),
            check: Arc::clone(&check.spec().name),
        };
        let is_same = then.fingerprint == check.fingerprint();
        let is_first = self.begun.insert(key.clone());
        if is_same || (is_first && then.verdict.plugin == check.spec().plugin) {
            // No room for it means that the check finds nothing, as it does in a run.
            self.state.save(&key, remembered.as_ref().clone());
        }
    }

    fn compare(
        &self,
        record: &Record,
        set: &CheckSet,
        verdicts: Vec<Verdict>,
        notes: &[CallNote],
    ) -> Replayed {
        let is_masked = !record.masked.is_empty();
        let is_blurred = is_masked || record.body_cut_from.is_some();
        let fault = |verdict: &Verdict| notes.iter().find(|note| note.check == verdict.check_name)?.fault;
        let mut checks: Vec<_> = verdicts
            .into_iter()
            .map(|now| {
                let Some(was) = record.verdict(&now.check_name) else {
                    return Compared { was: None, now: Some(now), change: Change::New };
                };
                let change = change(was, &now, fault(&now), is_masked);
                let was_then = Some(was.verdict.clone());
                if change.is_difference() && is_blurred && is_same(set, was) {
                    return Compared { was: was_then.clone(), now: was_then, change: Change::Blurred };
                }
                Compared { was: was_then, now: Some(now), change }
            })
            .collect();
        let is_known = |name: &str| set.checks().iter().any(|check| *check.spec().name == *name);
        let mut standing: Vec<_> = checks.iter().filter_map(|compared| compared.now.clone()).collect();
        for RecordedVerdict { verdict, .. } in &record.verdicts {
            if checks.iter().any(|compared| has_name(compared, &verdict.check_name)) {
                continue;
            }
            if self.is_whole || is_known(&verdict.check_name) {
                checks.push(Compared { was: Some(verdict.clone()), now: None, change: Change::Gone });
            } else {
                standing.push(verdict.clone());
            }
        }
        let now = judge(&record.observed.exchange, &standing);
        Replayed { checks, was: record.outcome, now }
    }
}

/// Whether the check that said it is the one of that name in the set.
fn is_same(set: &CheckSet, was: &RecordedVerdict) -> bool {
    let of_name = |check: &&Arc<ConfiguredCheck>| check.spec().name == was.verdict.check_name;
    set.checks().iter().find(of_name).is_some_and(|check| check.fingerprint() == was.fingerprint)
}

fn has_name(compared: &Compared, name: &str) -> bool {
    compared.now.as_ref().is_some_and(|now| *now.check_name == *name)
}

fn change(was: &RecordedVerdict, now: &Verdict, fault: Option<FaultKind>, is_masked: bool) -> Change {
    let RecordedVerdict { verdict: then, fault: then_fault, .. } = was;
    if fault == Some(TIMED) && *then_fault == Some(TIMED) {
        return Change::Same;
    }
    if then_fault.is_some_and(|fault| CIRCUMSTANCES.contains(&fault)) {
        return Change::Unjudged;
    }
    if then.status != now.status {
        return Change::Status;
    }
    // A message that quotes what is masked in the record quotes it as far as the record has it.
    let is_hidden = is_masked && [then, now].into_iter().any(quotes_mask);
    if is_hidden || has_same_words(then, now) { Change::Same } else { Change::Words }
}

fn quotes_mask(verdict: &Verdict) -> bool {
    verdict.message.contains(MASK) || verdict.annotations.iter().any(|(_, text)| text.contains(MASK))
}

fn has_same_words(then: &Verdict, now: &Verdict) -> bool {
    let is_same = |(a, b): (&(String, f64), &(String, f64))| {
        a.0 == b.0 && (a.1.to_bits() == as_recorded(b.1).to_bits())
    };
    then.message == now.message
        && then.annotations == now.annotations
        && then.metrics.len() == now.metrics.len()
        && then.metrics.iter().zip(&now.metrics).all(is_same)
}
