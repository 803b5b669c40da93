//! What the schedule keeps of one target.

use super::lane::{Lane, NEVER, Steps};
use super::phase::interval_ns;

/// One target.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// What its place is made from.
    pub(super) hash: u64,
    /// Its interval in nanoseconds, at least 1; 0 where the lane's cron expression rules.
    pub(super) every_ns: u64,
    /// When it is due, in nanoseconds since the base; of use while it waits.
    pub(super) due_ns: u64,
    /// The tick after the one that it waits for or that is in flight.
    pub(super) following: u64,
    /// What it shares with others.
    pub(super) lane: u32,
    /// Missed ticks that are not told yet.
    pub(super) missed: u32,
    pub(super) state: State,
    /// Whether its last probe failed.
    pub(super) failing: bool,
}

/// Where a target is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// There is no target.
    Free,
    /// It waits for its due time.
    Waiting,
    /// A probe of it runs.
    InFlight,
    /// A probe of it runs, and it was removed.
    Leaving,
}

impl Slot {
    pub(super) fn new(hash: u64, every_ns: u64, lane: u32) -> Self {
        Self {
            hash,
            every_ns,
            due_ns: NEVER,
            following: NEVER,
            lane,
            missed: 0,
            state: State::Waiting,
            failing: false,
        }
    }

    /// Whether there is a target that was not removed.
    pub(super) fn is_used(&self) -> bool {
        matches!(self.state, State::Waiting | State::InFlight)
    }

    /// What its ticks are laid by now.
    pub(super) fn steps(&self, lane: &Lane) -> Steps {
        match lane.rules.every_on_failure {
            Some(every) if self.failing => Steps::Every(interval_ns(every)),
            _ if self.every_ns == 0 => Steps::Cron,
            _ => Steps::Every(self.every_ns),
        }
    }
}
