//! What hands out targets: the schedule, or each one once.

use crate::clock::Instant;
use crate::schedule::{Due, Schedule};

/// What hands out targets.
#[derive(Debug)]
pub enum Ticks {
    /// Again and again, each in its interval.
    Every(Schedule),
    /// Each one once, as fast as there is room.
    Once(Once),
}

/// Each target once, in order.
#[derive(Debug)]
pub struct Once {
    next: u32,
    count: u32,
    begin: Instant,
}

impl Once {
    /// The targets `0..count`, all due at `begin`.
    pub fn new(count: u32, begin: Instant) -> Self {
        Self { next: 0, count, begin }
    }
}

impl Ticks {
    /// When the next one is due; none while all are in flight, or at the end.
    pub fn next_due(&self) -> Option<Instant> {
        match self {
            Self::Every(schedule) => schedule.next_due(),
            Self::Once(once) => (once.next < once.count).then_some(once.begin),
        }
    }

    /// The next one that is due at `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<Due> {
        match self {
            Self::Every(schedule) => schedule.pop_due(now),
            Self::Once(once) => {
                let target = (once.next < once.count).then_some(once.next)?;
                once.next += 1;
                Some(Due { target, due: now, missed: 0, next: None })
            }
        }
    }

    /// The target with the moment that its lateness counts from. Where each comes once, waiting for
    /// room is no lateness: it is due when it begins.
    pub fn begun(&self, due: Due, now: Instant) -> Due {
        match self {
            Self::Every(_) => due,
            Self::Once(_) => Due { due: now, ..due },
        }
    }

    /// Tells that the probe of a target has ended, and whether its outcome is down or unknown.
    pub fn finished(&mut self, target: u32, now: Instant, failed: bool) {
        if let Self::Every(schedule) = self {
            schedule.finished(target, now, failed);
        }
    }

    /// Whether nothing will be due any more.
    pub fn ended(&self) -> bool {
        matches!(self, Self::Once(once) if once.next >= once.count)
    }
}
