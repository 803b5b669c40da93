//! The ticks of targets that share their rules: where they lie, and how many have passed.

use std::sync::Arc;

use super::phase::{self, chance_ns};
use super::timing::{Rules, Timing};
use crate::clock::UnixNanos;

/// A tick that never comes.
pub(super) const NEVER: u64 = u64::MAX;

/// Targets that share their rules.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) rules: Arc<Rules>,
    /// How many targets are in it; an empty one is reused.
    pub(super) users: u32,
}

/// What one target's ticks are laid by.
#[derive(Debug, Clone, Copy)]
pub(super) enum Steps {
    /// An interval in nanoseconds. A tick is its moment on the grid, in nanoseconds since the base.
    Every(u64),
}

/// Ticks that have passed.
pub(super) struct Passed {
    /// How many.
    pub(super) count: u32,
    /// The last of them.
    pub(super) latest: Option<u64>,
    /// The first that has not.
    pub(super) following: u64,
}

impl Lane {
    /// The lane that a timing needs, without users.
    pub(super) fn new(timing: &Timing) -> Self {
        Self { rules: Arc::clone(&timing.rules), users: 0 }
    }

    /// Whether a target of this timing fits in.
    pub(super) fn serves(&self, timing: &Timing) -> bool {
        Arc::ptr_eq(&self.rules, &timing.rules) || self.rules == timing.rules
    }

    /// The first tick at or after a moment.
    pub(super) fn first(&mut self, steps: Steps, hash: u64, from_ns: u64, wall: UnixNanos) -> u64 {
        match steps {
            Steps::Every(every_ns) => {
                let first_ns = phase::first_tick_ns(hash % every_ns, every_ns, wall);
                phase::tick_from(from_ns, first_ns, every_ns)
            }
        }
    }

    /// The tick after one.
    pub(super) fn after(&mut self, steps: Steps, tick: u64) -> u64 {
        match steps {
            Steps::Every(every_ns) => tick.saturating_add(every_ns),
        }
    }

    /// When a tick's probe is due, in nanoseconds since the base.
    pub(super) fn due_ns(&mut self, steps: Steps, hash: u64, tick: u64, wall: UnixNanos) -> u64 {
        match steps {
            Steps::Every(every_ns) => {
                let jitter = phase::interval_ns(self.rules.jitter).min(every_ns);
                if self.rules.jitter.is_zero() {
                    return tick;
                }
                // By the tick's own moment, so that a restart gives the same.
                let number = (i128::from(wall.0) + i128::from(tick)).div_euclid(i128::from(every_ns));
                tick.saturating_add(chance_ns(hash, number as u64, jitter))
            }
        }
    }

    /// The ticks from `tick` on that are due at `now_ns` or before.
    pub(super) fn passed(
        &mut self,
        steps: Steps,
        hash: u64,
        tick: u64,
        now_ns: u64,
        wall: UnixNanos,
    ) -> Passed {
        let Steps::Every(every_ns) = steps;
        let Some(late_ns) = now_ns.checked_sub(tick) else {
            return Passed { count: 0, latest: None, following: tick };
        };
        let intervals = late_ns / every_ns;
        let last = tick.saturating_add(intervals.saturating_mul(every_ns));
        // The last one may lie before now and yet, by its jitter, be due after it.
        if self.due_ns(steps, hash, last, wall) > now_ns {
            let latest = (intervals > 0).then(|| last - every_ns);
            return Passed { count: u32::try_from(intervals).unwrap_or(u32::MAX), latest, following: last };
        }
        let count = u32::try_from(intervals.saturating_add(1)).unwrap_or(u32::MAX);
        Passed { count, latest: Some(last), following: last.saturating_add(every_ns) }
    }
}
