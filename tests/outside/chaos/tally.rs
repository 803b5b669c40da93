//! What kills came to, in numbers.

use std::fmt;

/// What it came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) kills: u64,
    /// Kills within 100 ms after a start had its lock.
    pub(super) in_recovery: u64,
    pub(super) rows: u64,
    pub(super) told: u64,
    pub(super) holes: u64,
    pub(super) requests: u64,
    pub(super) reads: u64,
    pub(super) slowest_start_ms: u64,
    pub(super) slowest_recovery_ms: u64,
}

impl Tally {
    pub(super) const NAMES: [&str; 9] = [
        "kills",
        "in_recovery",
        "rows",
        "told",
        "holes",
        "requests",
        "reads",
        "slowest_start_ms",
        "slowest_recovery_ms",
    ];

    pub(super) fn numbers(&self) -> [u64; 9] {
        let Self {
            kills,
            in_recovery,
            rows,
            told,
            holes,
            requests,
            reads,
            slowest_start_ms,
            slowest_recovery_ms,
        } = *self;
        [kills, in_recovery, rows, told, holes, requests, reads, slowest_start_ms, slowest_recovery_ms]
    }

    pub(super) fn of_numbers(mut numbers: impl Iterator<Item = u64>) -> Self {
        let mut next = || numbers.next().unwrap_or(0);
        Self {
            kills: next(),
            in_recovery: next(),
            rows: next(),
            told: next(),
            holes: next(),
            requests: next(),
            reads: next(),
            slowest_start_ms: next(),
            slowest_recovery_ms: next(),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.in_recovery += other.in_recovery;
        self.rows += other.rows;
        self.told += other.told;
        self.holes += other.holes;
        self.requests += other.requests;
        self.reads += other.reads;
        self.slowest_start_ms = self.slowest_start_ms.max(other.slowest_start_ms);
        self.slowest_recovery_ms = self.slowest_recovery_ms.max(other.slowest_recovery_ms);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kills,
            in_recovery,
            rows,
            told,
            holes,
            requests,
            reads,
            slowest_start_ms,
            slowest_recovery_ms,
        } = self;
        write!(
            f,
            "{kills} kills ({in_recovery} in recovery), {rows} rows of {requests} requests, {told} told, {holes} in \
             flight at a kill, {reads} readings, slowest start {slowest_start_ms} ms, recovery {slowest_recovery_ms} ms"
        )
    }
}
