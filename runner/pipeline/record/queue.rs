//! What waits to be recorded, with a bound in number and in bytes of bodies.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::check::CallNote;
use crate::model::ProbeResult;
use crate::pipeline::Built;

/// Attempts that may wait: some seconds of a busy runner.
const WAITING: usize = 4_096;
/// Bytes of their bodies that may wait.
const WAITING_BYTES: usize = 64 << 20;

/// An attempt to be recorded.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) pipeline: Arc<Built>,
    pub(super) row: ProbeResult,
    pub(super) notes: Vec<CallNote>,
}

/// What waits, between the tasks of probes and the recorder's thread.
#[derive(Debug, Default)]
pub(super) struct RecordQueue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(usize, Job)>,
    bytes: usize,
    /// Whether nothing more comes.
    is_closed: bool,
    /// Whether nothing more is taken.
    has_ended: bool,
}

impl RecordQueue {
    /// Adds a job whose body has so many bytes. False, and the job is not made, where there is no room.
    pub(super) fn push(&self, bytes: usize, job: impl FnOnce() -> Job) -> bool {
        let mut state = self.state();
        let is_full = state.waiting.len() >= WAITING || state.bytes.saturating_add(bytes) > WAITING_BYTES;
        if state.has_ended || state.is_closed || is_full {
            return false;
        }
        state.bytes += bytes;
        state.waiting.push_back((bytes, job()));
        self.changed.notify_all();
        true
    }

    /// The next job; waits for it. None at the end.
    pub(super) fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            if state.has_ended {
                return None;
            }
            if let Some((bytes, job)) = state.waiting.pop_front() {
                state.bytes -= bytes;
                return Some(job);
            }
            if state.is_closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nothing more comes.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    /// Nothing more is taken. Returns how many jobs waited.
    pub(super) fn end(&self) -> u64 {
        let left = {
            let mut state = self.state();
            state.has_ended = true;
            state.bytes = 0;
            std::mem::take(&mut state.waiting)
        };
        self.changed.notify_all();
        left.len() as u64
    }

    /// Waits until nothing more is taken. False if that is not so after `at_most`.
    pub(super) fn wait_for_end(&self, at_most: Duration) -> bool {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.state(), at_most, |state| !state.has_ended)
            .unwrap_or_else(PoisonError::into_inner);
        state.has_ended
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
