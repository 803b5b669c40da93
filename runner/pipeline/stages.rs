//! What all pipelines of a runner share: the parts of the stages, the numbers of rows, the counters.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use super::places::Places;
use super::record::Recorder;
use crate::check::CheckPool;
use crate::clock::Clock;
use crate::fetch::Fetcher;
use crate::model::{Outcome, ProbeResult};
use crate::telemetry::Lag;

/// What all pipelines of a runner share.
#[derive(Debug)]
pub struct Stages {
    /// Where time is read.
    pub clock: Clock,
    /// The identity of this run.
    pub run_id: Arc<str>,
    /// Stage 3.
    pub fetcher: Fetcher,
    /// Stage 4.
    pub checks: CheckPool,
    /// Keeps attempts to be judged again, for the pipelines that want that.
    pub recorder: Recorder,
    /// Places for probes in flight, over all pipelines.
    pub places: Arc<Places>,
    /// Each target once instead of again and again.
    pub once: bool,
    /// Where sources remember what they have seen; none where they remember nothing on disk.
    pub seen: Option<PathBuf>,
    /// How long probes in flight may go on when the end has come.
    pub grace: Duration,
    /// Whether the I/O threads come to their turn.
    pub lag: Lag,
    /// What happened so far.
    pub counters: RunCounters,
    /// The last row number given.
    pub seq: AtomicI64,
    /// The last probe number given.
    pub probe_seq: AtomicI64,
}

impl Stages {
    /// The next row's number, from 1.
    pub(super) fn next_seq(&self) -> i64 {
        self.seq.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The next probe's number, from 1.
    pub(super) fn next_probe_seq(&self) -> i64 {
        self.probe_seq.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// What happened so far, over all pipelines.
#[derive(Debug, Default)]
pub struct RunCounters {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    missed: AtomicU64,
    lost: AtomicU64,
    targets: AtomicU64,
}

/// What is counted of a row, once the sink has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    outcome: Outcome,
    is_final: bool,
    missed: u32,
}

impl Counted {
    pub(super) fn of(row: &ProbeResult) -> Self {
        Self { outcome: row.outcome, is_final: row.is_final, missed: row.missed }
    }
}

impl RunCounters {
    /// Counts the row of a probe.
    pub(super) fn count(&self, row: Counted) {
        let at = Outcome::ALL.iter().position(|outcome| *outcome == row.outcome).unwrap_or_default();
        if row.is_final {
            self.outcomes[at].fetch_add(1, Ordering::Relaxed);
        }
        self.missed.fetch_add(u64::from(row.missed), Ordering::Relaxed);
    }

    /// Notes that a pipeline has another number of targets.
    pub(super) fn targets_are(&self, before: usize, now: usize) {
        self.targets.fetch_add(now as u64, Ordering::Relaxed);
        self.targets.fetch_sub(before as u64, Ordering::Relaxed);
    }

    /// Notes a target that is probed once.
    pub(super) fn one_target(&self) {
        self.targets.fetch_add(1, Ordering::Relaxed);
    }

    /// Targets at present, over all pipelines, those that were probed once included.
    pub fn targets(&self) -> u64 {
        self.targets.load(Ordering::Relaxed)
    }

    /// Counts rows that no sink took.
    pub(super) fn lose(&self, rows: u64) {
        self.lost.fetch_add(rows, Ordering::Relaxed);
    }

    /// Rows that no sink took.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Probes that came to this outcome.
    pub fn of(&self, outcome: Outcome) -> u64 {
        let at = Outcome::ALL.iter().position(|known| *known == outcome).unwrap_or_default();
        self.outcomes[at].load(Ordering::Relaxed)
    }

    /// All probes.
    pub fn probes(&self) -> u64 {
        Outcome::ALL.iter().map(|outcome| self.of(*outcome)).sum()
    }

    /// Ticks that passed without a probe.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}
