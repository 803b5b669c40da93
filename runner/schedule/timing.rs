//! What `[schedule]` says, checked.

use std::sync::Arc;
use std::time::Duration;

use super::cron::Cron;
use super::fires::next_inside;
use super::phase::interval_ns;
use super::window::{Spans, Window};
use crate::clock::UnixNanos;

/// The shortest interval that is allowed.
pub(super) const EVERY_MIN: Duration = Duration::from_millis(100);

/// The longest interval that is allowed: a year, leap years included.
pub(super) const EVERY_MAX: Duration = Duration::from_hours(366 * 24);

/// The longest time that targets of one cron time are spread over.
pub(super) const SPREAD_MAX: Duration = Duration::from_hours(1);

/// When targets are due: what `[schedule]` says, checked. Cheap to clone; equal if it says the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    pub(super) pace: Pace,
    pub(super) rules: Arc<Rules>,
}

/// What ticks are laid by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pace {
    /// An interval.
    Every(Duration),
    /// A cron expression, and how long after a fire its targets are spread over.
    Cron { cron: Arc<Cron>, spread: Duration },
}

/// What else a schedule says, for all targets of a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// How much later than its tick a probe may be due.
    pub(super) jitter: Duration,
    /// The interval while the last probe failed, in place of the own one.
    pub(super) every_on_failure: Option<Duration>,
    /// When targets are probed at all; always where it is empty.
    pub(super) active: Arc<[Window]>,
}

impl Timing {
    /// An interval, and nothing else.
    pub fn every(every: Duration) -> Self {
        Self { pace: Pace::Every(every), rules: Arc::default() }
    }

    /// The same for a target with an interval of its own: it stands in the place of `every` or `cron`,
    /// the rest is kept.
    #[must_use]
    pub fn with_every(&self, every: Duration) -> Self {
        Self { pace: Pace::Every(every), rules: Arc::clone(&self.rules) }
    }

    /// The interval in nanoseconds, at least 1; 0 where a cron expression rules.
    pub(super) fn own_every_ns(&self) -> u64 {
        match self.pace {
            Pace::Every(every) => interval_ns(every),
            Pace::Cron { .. } => 0,
        }
    }

    /// The interval; none where a cron expression rules.
    pub fn interval(&self) -> Option<Duration> {
        match self.pace {
            Pace::Every(every) => Some(every),
            Pace::Cron { .. } => None,
        }
    }

    /// When its cron expression fires next after a moment, inside of the active windows; none where an
    /// interval rules, or if it never does.
    pub fn next_fire(&self, after: UnixNanos) -> Option<UnixNanos> {
        match &self.pace {
            Pace::Every(_) => None,
            Pace::Cron { cron, .. } => {
                next_inside(cron, &mut Spans::new(&self.rules.active), after.0).map(UnixNanos)
            }
        }
    }
}
