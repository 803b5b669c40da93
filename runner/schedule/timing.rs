//! What `[schedule]` says, checked.

use std::sync::Arc;
use std::time::Duration;

use super::phase::interval_ns;

/// The shortest interval that is allowed.
pub(super) const EVERY_MIN: Duration = Duration::from_millis(100);

/// The longest interval that is allowed: a year, leap years included.
pub(super) const EVERY_MAX: Duration = Duration::from_hours(366 * 24);

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
}

/// What else a schedule says, for all targets of a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// How much later than its tick a probe may be due.
    pub(super) jitter: Duration,
    /// The interval while the last probe failed, in place of the own one.
    pub(super) every_on_failure: Option<Duration>,
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
        }
    }

    /// The interval; none where a cron expression rules.
    pub fn interval(&self) -> Option<Duration> {
        match self.pace {
            Pace::Every(every) => Some(every),
        }
    }
}
