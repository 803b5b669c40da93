//! Who answers for a job whose deadline passes: the one who asked, while the job waits in the queue;
//! the check thread, once it has begun. Never both.

use std::sync::atomic::{AtomicU8, Ordering};

const WAITING: u8 = 0;
const RUNNING: u8 = 1;
/// Gave up while it waited.
const ABANDONED: u8 = 2;
/// The deadline passed while it ran.
const OVERDUE: u8 = 3;

/// The state of one job with regard to its deadline.
#[derive(Debug, Default)]
pub(super) struct Gate(AtomicU8);

impl Gate {
    /// A check thread takes the job. False when nobody waits for it any more.
    pub(super) fn begin(&self) -> bool {
        self.0.compare_exchange(WAITING, RUNNING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The deadline has passed. True when the job still waited, so that the caller answers for it;
    /// false when it runs: its thread is told to stop and will answer at once.
    pub(super) fn expire(&self) -> bool {
        if self.0.compare_exchange(WAITING, ABANDONED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return true;
        }
        self.0.store(OVERDUE, Ordering::Release);
        false
    }

    /// Whether the deadline has passed.
    pub(super) fn is_past(&self) -> bool {
        self.0.load(Ordering::Acquire) >= ABANDONED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_side_answers() {
        let waiting = Gate::default();
        assert!(waiting.expire());
        assert!(!waiting.begin());

        let running = Gate::default();
        assert!(running.begin());
        assert!(!running.is_past());
        assert!(!running.expire());
        assert!(running.is_past());
    }
}
