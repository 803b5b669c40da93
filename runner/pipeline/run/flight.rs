//! The probes in flight of one pipeline: each is a task, and each ends in a row.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{sleep_until, timeout_at};

use super::super::stages::Stages;
use super::super::{Stop, StopLevel};
use super::deliver;
use super::probe::Probe;
use crate::model::{ErrorKind, Failure, Outcome, ProbeResult};

/// How long rows of probes that were given up may take to be told, after the grace.
const TELL: std::time::Duration = std::time::Duration::from_secs(2);

/// The probes in flight of one pipeline.
#[derive(Default)]
pub(super) struct Flight {
    tasks: JoinSet<Landed>,
    probes: HashMap<Id, Arc<Probe>>,
}

/// How a probe ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Landed {
    /// Whether its last row is down or unknown.
    has_failed: bool,
    /// Whether the sink has its last row, where it has one.
    pub(super) is_kept: bool,
}

impl Landed {
    /// By this row.
    pub(super) fn with_row(row: &ProbeResult) -> Self {
        Self { has_failed: matches!(row.outcome, Outcome::Down | Outcome::Unknown), is_kept: true }
    }

    /// Before it began.
    pub(super) fn without_row() -> Self {
        Self { has_failed: false, is_kept: true }
    }

    /// The same, but no sink has the row.
    pub(super) fn lost(self) -> Self {
        Self { is_kept: false, ..self }
    }
}

/// A task that has ended.
pub(super) type Joined = Result<(Id, Landed), JoinError>;

/// The slot of a probe that has landed, and whether it failed.
pub(super) type Freed = (Option<u32>, bool);

impl Flight {
    /// Starts a probe.
    pub(super) fn start(&mut self, probe: Arc<Probe>, task: impl Future<Output = Landed> + Send + 'static) {
        // Boxed: it is thousands of bytes, which a task of its own size would have moved several times.
        let handle = self.tasks.spawn(Box::pin(task));
        self.probes.insert(handle.id(), probe);
    }

    /// One that has landed already.
    pub(super) fn try_join(&mut self) -> Option<Joined> {
        self.tasks.try_join_next_with_id()
    }

    /// Waits for one to land; none if none flies.
    pub(super) async fn join(&mut self) -> Option<Joined> {
        self.tasks.join_next_with_id().await
    }

    /// Notes that a probe has landed. A probe that panicked gets its row all the same: it is our fault,
    /// and the outcome is `unknown`.
    pub(super) async fn landed(&mut self, joined: Joined, stages: &Stages) -> Option<Freed> {
        let id = joined.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let probe = self.probes.remove(&id)?;
        let Ok((_, landed)) = joined else {
            tracing::error!(pipeline = %probe.live.built.name, "a probe ended by a fault of the runner");
            let failure = Failure::new(ErrorKind::Internal, "the runner has a fault: the probe panicked");
            if let Some(row) = probe.broken_off(stages, failure) {
                deliver(stages, &probe, row).await;
            }
            return Some((probe.turn.slot, true));
        };
        Some((probe.turn.slot, landed.has_failed))
    }

    /// Lets probes in flight finish within the grace of a stop; for as long as they take without one.
    /// Those that do not are given up, with a row that says so; at [`StopLevel::Now`] without one.
    pub(super) async fn land(mut self, stages: &Stages, mut stop: Stop) {
        while !self.tasks.is_empty() {
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
                Some(joined) = self.tasks.join_next_with_id() => {
                    let landing = self.landed(joined, stages);
                    match grace {
                        // The row of one that panicked must not hold up the end.
                        Some(at) => if timeout_at(at + TELL, landing).await.is_err() {
                            stages.counters.lose(1);
                        },
                        None => { landing.await; }
                    }
                }
                told = given_up => if grace.is_some() {
                    self.give_up(told, stages, &stop).await;
                    return;
                }
            }
        }
    }

    /// Ends what still flies; with a row for each if told so.
    async fn give_up(mut self, told: bool, stages: &Stages, stop: &Stop) {
        self.tasks.abort_all();
        while let Some(joined) = self.tasks.join_next_with_id().await {
            if joined.is_ok() {
                self.landed(joined, stages).await;
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
            let Some(row) = probe.broken_off(stages, failure) else {
                left -= 1;
                continue;
            };
            // A sink that does not take rows any more must not hold up the end.
            if timeout_at(until, deliver(stages, &probe, row)).await.is_err() {
                let pipeline = &*probe.live.built.name;
                tracing::error!(rows = left, pipeline, "results are lost: the sink took no more");
                stages.counters.lose(left);
                return;
            }
            left -= 1;
        }
    }
}
