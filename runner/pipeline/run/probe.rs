//! One probe: its attempts, and the rows that they become.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::super::roster::Turn;
use super::super::secrets::mask_row;
use super::super::stages::Stages;
use super::Live;
use super::flight::Landed;
use crate::check::{CallNote, Judgement, Observed};
use crate::clock::{Clock, Instant, UnixNanos};
use crate::model::{Exchange, Failure, Outcome, ProbeResult, Verdict};

/// A probe that was handed out.
#[derive(Debug)]
pub(super) struct Probe {
    /// The generation that it belongs to.
    pub(super) live: Arc<Live>,
    /// Whose turn it is, and since when.
    pub(super) turn: Turn,
    /// The attempt at hand; none before the first.
    at_hand: Mutex<Option<Attempt>>,
}

/// One attempt of a probe.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    /// The number of the probe in its run.
    probe_seq: i64,
    /// From 1.
    number: u32,
    /// When it began, for its deadline.
    pub(super) started: Instant,
    started_at: UnixNanos,
    /// When the probe was due.
    scheduled_at: UnixNanos,
    /// From due to the first attempt's begin.
    lateness: Duration,
    in_maintenance: bool,
}

/// An exchange and what the checks say of it.
pub(super) struct Judged {
    pub(super) exchange: Arc<Exchange>,
    judgement: Judgement,
    pub(super) outcome: Outcome,
}

impl Judged {
    pub(super) fn new(exchange: Arc<Exchange>, judgement: Judgement) -> Self {
        let outcome = crate::model::judge(&exchange, &judgement.verdicts);
        Self { exchange, judgement, outcome }
    }

    /// The worst of an attempt's exchanges decides it, the first among equals; it goes to the end. None if there is
    /// none.
    pub(super) fn put_deciding_last(judged: &mut Vec<Self>) -> Option<&Self> {
        let worst = judged.iter().map(|one| one.outcome).max()?;
        let deciding = judged.iter().position(|one| one.outcome == worst)?;
        let deciding = judged.remove(deciding);
        judged.push(deciding);
        judged.last()
    }
}

impl Attempt {
    /// What tells it from all others; the row has the parts of it.
    pub(super) fn id(&self, stages: &Stages) -> String {
        format!("{}-{}-{}", stages.run_id, self.probe_seq, self.number)
    }
}

impl Probe {
    pub(super) fn new(live: Arc<Live>, turn: Turn) -> Self {
        Self { live, turn, at_hand: Mutex::new(None) }
    }

    /// The row of a probe that begins too late, where the pipeline wants it to be dropped then.
    pub(super) fn skipped(&self, stages: &Stages) -> Option<ProbeResult> {
        let expires = self.live.built.expires?;
        let late = stages.clock.now().saturating_duration_since(self.turn.due?);
        if late <= expires {
            return None;
        }
        let attempt = self.first_attempt(stages);
        Some(self.row(stages, &attempt, true, Outcome::Skipped, Arc::default(), Vec::new()))
    }

    /// Begins the first attempt.
    pub(super) fn first_attempt(&self, stages: &Stages) -> Attempt {
        let attempt = self.begin(stages);
        self.put(attempt.clone());
        attempt
    }

    /// Waits, and begins the attempt after one.
    pub(super) async fn next_attempt(&self, before: &Attempt, pause: Duration, clock: &Clock) -> Attempt {
        let begin = || Attempt {
            number: before.number + 1,
            started: clock.now(),
            started_at: clock.wall(),
            ..before.clone()
        };
        // It counts as begun while it waits: whatever ends the probe now, ends this attempt.
        self.put(begin());
        tokio::time::sleep(pause).await;
        let attempt = begin();
        self.put(attempt.clone());
        attempt
    }

    fn begin(&self, stages: &Stages) -> Attempt {
        let started = stages.clock.now();
        let started_at = stages.clock.wall();
        let lateness = started.saturating_duration_since(self.turn.due.unwrap_or(started));
        let scheduled_at = started_at.minus(lateness);
        let in_maintenance = self.live.built.maintenance.covers(scheduled_at, &self.turn.target);
        let probe_seq = stages.next_probe_seq();
        Attempt { probe_seq, number: 1, started, started_at, scheduled_at, lateness, in_maintenance }
    }

    fn put(&self, attempt: Attempt) {
        *self.at_hand.lock().unwrap_or_else(PoisonError::into_inner) = Some(attempt);
    }

    /// What the checks see of an attempt.
    pub(super) fn observed(&self, attempt: &Attempt, exchange: &Arc<Exchange>) -> Arc<Observed> {
        let target = Arc::clone(&self.turn.target);
        Arc::new(Observed::new(target, Arc::clone(exchange), attempt.started_at))
    }

    /// How long to wait after an attempt before another one; none if it decides. Nothing begins that could
    /// not end before the target is due again.
    pub(super) fn pause_after(
        &self,
        attempt: &Attempt,
        exchange: &Exchange,
        outcome: Outcome,
        clock: &Clock,
    ) -> Option<Duration> {
        let built = &self.live.built;
        let pause = built.retry.pause(attempt.number, exchange, outcome, clock.chance())?;
        let end = clock.now() + pause + built.request.timeout();
        self.turn.next.is_none_or(|next| end <= next).then_some(pause)
    }

    /// The row of an exchange that was judged, and what its checks noted; what they remember is kept of the final one.
    pub(super) fn judged_row(
        &self,
        stages: &Stages,
        attempt: &Attempt,
        is_final: bool,
        judged: Judged,
    ) -> (ProbeResult, Vec<CallNote>) {
        let Judged { exchange, mut judgement, outcome } = judged;
        let notes = std::mem::take(&mut judgement.notes);
        let verdicts = if is_final { judgement.commit_state() } else { judgement.verdicts };
        (self.row(stages, attempt, is_final, outcome, exchange, verdicts), notes)
    }

    /// The row of an attempt.
    pub(super) fn row(
        &self,
        stages: &Stages,
        attempt: &Attempt,
        is_final: bool,
        outcome: Outcome,
        exchange: Arc<Exchange>,
        verdicts: Vec<Verdict>,
    ) -> ProbeResult {
        let built = &self.live.built;
        let mut row = ProbeResult {
            seq: stages.next_seq(),
            probe_seq: attempt.probe_seq,
            pipeline: Arc::clone(&built.name),
            generation: Arc::clone(&built.generation),
            target: Arc::clone(&self.turn.target),
            scheduled_at: attempt.scheduled_at,
            started_at: attempt.started_at,
            lateness: attempt.lateness,
            missed: if attempt.number == 1 { self.turn.missed } else { 0 },
            attempt: attempt.number,
            is_final,
            in_maintenance: attempt.in_maintenance,
            runner_overloaded: stages.lag.was_overloaded(attempt.started),
            method: built.request.method().clone(),
            outcome,
            exchange,
            verdicts,
        };
        mask_row(&mut row, &built.secrets);
        row
    }

    /// Tells the source that the target was probed, where it wants to know that and a sink has the row. Without
    /// one the target stays untold, and is new again.
    pub(super) fn told(&self, landed: Landed) -> Landed {
        if landed.is_kept
            && let Some(told) = &self.turn.told
        {
            told.one(Some(self.live.results.counters().mark()));
        }
        landed
    }

    /// The last row of a probe whose attempt at hand has no exchange to show, through no fault of the
    /// target; none if no attempt has begun.
    pub(super) fn broken_off(&self, stages: &Stages, failure: Failure) -> Option<ProbeResult> {
        let attempt = self.at_hand.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let outcome = failure.kind.outcome();
        let exchange = Exchange { failure: Some(failure), ..Exchange::default() };
        Some(self.row(stages, &attempt, true, outcome, Arc::new(exchange), Vec::new()))
    }
}
