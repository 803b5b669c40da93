//! THE data path: one function, read downwards.
//!
//! ```text
//! sources --targets--> schedule --due--> fetch --exchange--> checks --verdicts--> sinks
//! ```
//!
//! One loop hands out what is due, a permit at a time, so that a full queue below slows it down and
//! nothing piles up: a probe keeps its permit until its row was taken over by the sink. Each probe is
//! a task; check code runs on threads of its own; rows go to the writer's thread.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{sleep_until, timeout_at};

use super::secrets::mask_row;
use super::stages::{Counted, Stages};
use super::ticks::Ticks;
use super::{Built, Stop, StopLevel};
use crate::check::Observed;
use crate::clock::{Instant, UnixNanos};
use crate::model::{ErrorKind, Exchange, Failure, ProbeResult, Verdict, judge};
use crate::schedule::Due;
use crate::sink::ResultSender;

/// How long rows of probes that were given up may take to be told, after the grace.
const TELL: Duration = Duration::from_secs(2);

/// Runs one pipeline: until `stop`, or until `ticks` end. Returns when its last row was handed to
/// the sink.
pub async fn run(
    pipeline: Arc<Built>,
    stages: Arc<Stages>,
    mut ticks: Ticks,
    results: ResultSender,
    mut stop: Stop,
) {
    let mut flight = Flight { tasks: JoinSet::new(), probes: HashMap::new() };
    // 1. source: the targets were read when the pipeline was built. 2. schedule: whose turn is it?
    while let Some(due) = next_due(&mut ticks, &mut flight, &pipeline, &stages, &results, &mut stop).await {
        let Some(permit) = permit(&stages, &mut stop).await else { break };
        let probe = Probe::begin(ticks.begun(due, stages.clock.now()), &stages);
        let (pipeline, stages, results) = (Arc::clone(&pipeline), Arc::clone(&stages), results.clone());
        flight.start(probe.clone(), async move {
            // 3. fetch: one target becomes one exchange, within the attempt's deadline.
            let target = &pipeline.targets[probe.due.target as usize];
            let deadline = probe.started + pipeline.request.timeout();
            let exchange =
                stages.fetcher.fetch(&pipeline.request, &target.url, deadline, &stages.clock).await;
            let exchange = Arc::new(exchange);
            // 4. check: the exchange becomes verdicts, on the check threads, within the same deadline.
            let observed = Observed::new(Arc::clone(target), Arc::clone(&exchange), probe.started_at);
            let mut judgement = stages.checks.judge(&pipeline.checks, Arc::new(observed), deadline).await;
            let notes = std::mem::take(&mut judgement.notes);
            let verdicts = judgement.commit_state();
            // 5. sink: exchange and verdicts become a row; it is recorded where the pipeline wants that, and
            // handed over.
            let row = probe.row(&pipeline, &stages, exchange, verdicts);
            stages.recorder.offer(&pipeline, &row, notes);
            deliver(&stages, &results, row).await;
            drop::<OwnedSemaphorePermit>(permit);
        });
    }
    land(flight, &pipeline, &stages, &results, stop).await;
}

/// The next target that is due; none when the run is over.
async fn next_due(
    ticks: &mut Ticks,
    flight: &mut Flight,
    pipeline: &Built,
    stages: &Stages,
    results: &ResultSender,
    stop: &mut Stop,
) -> Option<Due> {
    loop {
        if stop.level() > StopLevel::Run {
            return None;
        }
        while let Some(landed) = flight.tasks.try_join_next_with_id() {
            let target = flight.landed(landed, pipeline, stages, results).await;
            ticks.finished(target, stages.clock.now());
        }
        if let Some(due) = ticks.pop_due(stages.clock.now()) {
            return Some(due);
        }
        if ticks.ended() {
            return None;
        }
        let turn = async {
            match ticks.next_due() {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = stop.reached(StopLevel::Drain) => return None,
            () = turn => {}
            Some(landed) = flight.tasks.join_next_with_id() => {
                let target = flight.landed(landed, pipeline, stages, results).await;
                ticks.finished(target, stages.clock.now());
            }
        }
    }
}

/// Hands a row to the sink, and waits while it is full. It counts once the sink has it. A sink that
/// takes no rows any more has been told to seal what it has: then the row is lost, and counted as that.
async fn deliver(stages: &Stages, results: &ResultSender, row: ProbeResult) {
    let counted = Counted::of(&row);
    match results.send(row).await {
        Ok(()) => stages.counters.count(counted),
        Err(_refused) => stages.counters.lose(1),
    }
}

/// Waits for a place among the probes in flight; none when the run is over.
async fn permit(stages: &Stages, stop: &mut Stop) -> Option<OwnedSemaphorePermit> {
    tokio::select! {
        permit = Arc::clone(&stages.permits).acquire_owned() => permit.ok(),
        () = stop.reached(StopLevel::Drain) => None,
    }
}

/// Lets probes in flight finish within the grace. Those that do not are given up, with a row that
/// says so; at [`StopLevel::Now`] without one.
async fn land(mut flight: Flight, pipeline: &Built, stages: &Stages, results: &ResultSender, mut stop: Stop) {
    while !flight.tasks.is_empty() {
        let grace = match stop.level() {
            StopLevel::Run => None,
            _ => Some(stop.since().unwrap_or_else(|| stages.clock.now()) + stages.grace),
        };
        let given_up = async {
            match grace {
                Some(at) => tokio::select! {
                    () = sleep_until(at) => true,
                    () = stop.reached(StopLevel::Now) => false,
                },
                None => {
                    stop.reached(StopLevel::Drain).await;
                    true
                }
            }
        };
        tokio::select! {
            Some(landed) = flight.tasks.join_next_with_id() => {
                let landing = flight.landed(landed, pipeline, stages, results);
                match grace {
                    // The row of one that panicked must not hold up the end.
                    Some(at) => if timeout_at(at + TELL, landing).await.is_err() {
                        stages.counters.lose(1);
                    },
                    None => { landing.await; }
                }
            }
            told = given_up => if grace.is_some() {
                flight.give_up(told, pipeline, stages, results, &stop).await;
                return;
            }
        }
    }
}

/// A probe in flight.
#[derive(Debug, Clone)]
struct Probe {
    due: Due,
    number: i64,
    started: Instant,
    started_at: UnixNanos,
    lateness: Duration,
}

impl Probe {
    fn begin(due: Due, stages: &Stages) -> Self {
        let started = stages.clock.now();
        let lateness = started.saturating_duration_since(due.due);
        Self { due, number: stages.next_probe_seq(), started, started_at: stages.clock.wall(), lateness }
    }

    fn row(
        &self,
        pipeline: &Built,
        stages: &Stages,
        exchange: Arc<Exchange>,
        verdicts: Vec<Verdict>,
    ) -> ProbeResult {
        let mut row = ProbeResult {
            seq: stages.next_seq(),
            probe_seq: self.number,
            pipeline: Arc::clone(&pipeline.name),
            generation: Arc::clone(&pipeline.generation),
            target: Arc::clone(&pipeline.targets[self.due.target as usize]),
            scheduled_at: self.started_at.minus(self.lateness),
            started_at: self.started_at,
            lateness: self.lateness,
            missed: self.due.missed,
            attempt: 1,
            is_final: true,
            method: pipeline.request.method().clone(),
            outcome: judge(&exchange, &verdicts),
            exchange,
            verdicts,
        };
        mask_row(&mut row, &pipeline.secrets);
        row
    }

    /// The row of a probe that has no exchange to show, through no fault of the target.
    fn row_without_exchange(&self, pipeline: &Built, stages: &Stages, failure: Failure) -> ProbeResult {
        let exchange = Exchange { failure: Some(failure), ..Exchange::default() };
        self.row(pipeline, stages, Arc::new(exchange), Vec::new())
    }
}

/// The probes in flight of one pipeline.
struct Flight {
    tasks: JoinSet<()>,
    probes: HashMap<Id, Probe>,
}

impl Flight {
    fn start(&mut self, probe: Probe, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.tasks.spawn(task);
        self.probes.insert(handle.id(), probe);
    }

    /// Notes that a probe has landed and returns its target. A probe that panicked gets its row all
    /// the same: it is our fault, and the outcome is `unknown`.
    async fn landed(
        &mut self,
        landed: Result<(Id, ()), JoinError>,
        pipeline: &Built,
        stages: &Stages,
        results: &ResultSender,
    ) -> u32 {
        let id = landed.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
        let Some(probe) = self.probes.remove(&id) else { return u32::MAX };
        if landed.is_err() {
            tracing::error!(pipeline = %pipeline.name, "a probe ended by a fault of the runner");
            let failure = Failure::new(ErrorKind::Internal, "the runner has a fault: the probe panicked");
            let row = probe.row_without_exchange(pipeline, stages, failure);
            deliver(stages, results, row).await;
        }
        probe.due.target
    }

    /// Ends what still flies; with a row for each if told so.
    async fn give_up(
        mut self,
        told: bool,
        pipeline: &Built,
        stages: &Stages,
        results: &ResultSender,
        stop: &Stop,
    ) {
        self.tasks.abort_all();
        while let Some(landed) = self.tasks.join_next_with_id().await {
            if landed.is_ok() {
                self.landed(landed, pipeline, stages, results).await;
            }
        }
        if !told {
            return;
        }
        let until = stop.since().unwrap_or_else(|| stages.clock.now()) + stages.grace + TELL;
        let mut left = self.probes.len() as u64;
        for probe in self.probes.into_values() {
            let failure =
                Failure::new(ErrorKind::LocalShutdown, "the runner was stopped before the attempt ended");
            let row = probe.row_without_exchange(pipeline, stages, failure);
            // A sink that does not take rows any more must not hold up the end.
            if timeout_at(until, deliver(stages, results, row)).await.is_err() {
                tracing::error!(rows = left, pipeline = %pipeline.name, "results are lost: the sink took no more");
                stages.counters.lose(left);
                return;
            }
            left -= 1;
        }
    }
}

#[cfg(test)]
mod tests;
