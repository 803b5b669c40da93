//! What waits to be recorded, with a bound in number and in bytes of bodies.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Attempts that may wait: some seconds of a busy runner.
const WAITING: usize = 4_096;
/// Bytes of their bodies that may wait.
const WAITING_BYTES: usize = 64 << 20;

/// What waits, between the tasks of probes and the recorder's thread.
#[derive(Debug)]
pub(super) struct RecordQueue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

/// What came next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    /// A job.
    Job(T),
    /// Nothing so far.
    Idle,
    /// Nothing, and nothing will.
    End,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<(usize, T)>,
    bytes: usize,
    /// Whether nothing more comes.
    is_closed: bool,
    /// Whether nothing more is taken.
    has_ended: bool,
}

impl<T> Default for RecordQueue<T> {
    fn default() -> Self {
        let state = State { waiting: VecDeque::new(), bytes: 0, is_closed: false, has_ended: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl<T> RecordQueue<T> {
    /// Adds a job whose body has so many bytes. False, and the job is not made, where there is no room.
    pub(super) fn push(&self, bytes: usize, job: impl FnOnce() -> T) -> bool {
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

    /// The next job; waits for it, but not longer than `at_most`.
    pub(super) fn next(&self, at_most: Duration) -> Next<T> {
        let is_idle = |state: &mut State<T>| !state.has_ended && !state.is_closed && state.waiting.is_empty();
        let (mut state, _) = self
            .changed
            .wait_timeout_while(self.state(), at_most, is_idle)
            .unwrap_or_else(PoisonError::into_inner);
        match state.waiting.pop_front() {
            Some((bytes, job)) => {
                state.bytes -= bytes;
                Next::Job(job)
            }
            None if state.has_ended || state.is_closed => Next::End,
            None => Next::Idle,
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

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn what_does_not_fit_is_not_even_made() {
        let queue = RecordQueue::default();
        assert!((0..WAITING).all(|number| queue.push(0, || number)));
        assert!(!queue.push(0, || panic!("there is no room")));
        assert_eq!(queue.next(Duration::ZERO), Next::Job(0));
        assert!(queue.push(0, || 7));

        let queue = RecordQueue::default();
        assert!(queue.push(WAITING_BYTES - 1, || 0));
        assert!(!queue.push(2, || 1) && queue.push(1, || 2));
        assert_eq!(queue.next(Duration::ZERO), Next::Job(0));
        assert!(queue.push(2, || 3));
    }

    #[test]
    fn a_closed_queue_gives_what_it_has_and_takes_nothing() {
        let queue = RecordQueue::default();
        assert_eq!(queue.next(Duration::ZERO), Next::Idle);
        queue.push(1, || 1);
        queue.close();
        assert!(!queue.push(1, || 2));
        assert_eq!((queue.next(Duration::ZERO), queue.next(Duration::MAX)), (Next::Job(1), Next::End));
    }

    #[test]
    fn an_ended_queue_has_nothing_and_says_what_it_had() {
        let queue = Arc::new(RecordQueue::default());
        assert!(!queue.wait_for_end(Duration::ZERO));
        queue.push(1, || 1);
        queue.push(1, || 2);
        let waiting = Arc::clone(&queue);
        let waiting = thread::spawn(move || waiting.wait_for_end(Duration::from_mins(1)));
        assert_eq!(queue.end(), 2);
        assert!(waiting.join().unwrap());
        assert_eq!((queue.next(Duration::MAX), queue.end()), (Next::End, 0));
    }
}
