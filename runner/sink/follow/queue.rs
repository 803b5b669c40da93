//! The queue between the sink's thread and the thread of one follower.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::sink::batch::ResultBatch;
use crate::sink::counters::{Missing, WriterCounters, add};

/// Batches that may wait for a follower before the sink waits too.
const WAITING_BATCHES: usize = 64;

/// Batches on their way to one follower.
pub(super) struct BatchQueue {
    state: Mutex<State>,
    changed: Condvar,
    counters: Arc<WriterCounters>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Arc<ResultBatch>>,
    /// The batch that the follower is at work on.
    at_hand: Option<Arc<ResultBatch>>,
    /// Whether nothing more comes.
    closed: bool,
    /// Why nothing more is taken, once that is so.
    ended: Option<Missing>,
}

impl BatchQueue {
    pub(super) fn new(counters: Arc<WriterCounters>) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), counters }
    }

    /// Adds a batch, never waits; tells whether none was waiting before. It keeps no bound: that is kept
    /// by whoever waits [for room](Self::wait_for_room) before the next one. An ended follower gets
    /// nothing more, for the reason that is returned.
    pub(super) fn push(&self, batch: Arc<ResultBatch>) -> Result<bool, Missing> {
        let mut state = self.state();
        if let Some(reason) = state.ended {
            return Err(reason);
        }
        let kept_up = state.waiting.is_empty();
        state.waiting.push_back(batch);
        add(&self.counters.follower_batches_waiting, 1);
        self.changed.notify_all();
        Ok(kept_up)
    }

    /// The next batch, for the follower's thread; waits for it. None at the end.
    pub(super) fn next(&self) -> Option<Arc<ResultBatch>> {
        let mut state = self.state();
        state.at_hand = None;
        loop {
            if state.ended.is_some() {
                return None;
            }
            if let Some(batch) = state.waiting.pop_front() {
                state.at_hand = Some(Arc::clone(&batch));
                self.counters.follower_batches_waiting.fetch_sub(1, Ordering::AcqRel);
                self.changed.notify_all();
                return Some(batch);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nothing more comes: the follower ends once it has taken what waits.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Nothing more is taken, for a reason. Returns the batches that were not: the one that the follower is at
    /// work on, and those that waited.
    pub(super) fn end(&self, reason: Missing) -> Vec<Arc<ResultBatch>> {
        let mut state = self.state();
        if state.ended.is_some() {
            return Vec::new();
        }
        state.ended = Some(reason);
        let waiting = std::mem::take(&mut state.waiting);
        self.counters.follower_batches_waiting.fetch_sub(waiting.len() as u64, Ordering::AcqRel);
        self.changed.notify_all();
        state.at_hand.take().into_iter().chain(waiting).collect()
    }

    /// Waits until another batch may be added. False if it may not after `at_most`.
    pub(super) fn wait_for_room(&self, at_most: Duration) -> bool {
        self.wait(at_most, |state| state.ended.is_some() || state.waiting.len() < WAITING_BATCHES)
    }

    /// Waits until nothing more is taken. False if that is not so after `at_most`.
    pub(super) fn wait_for_end(&self, at_most: Duration) -> bool {
        self.wait(at_most, |state| state.ended.is_some())
    }

    fn wait(&self, at_most: Duration, holds: impl Fn(&State) -> bool) -> bool {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.state(), at_most, |state| !holds(state))
            .unwrap_or_else(PoisonError::into_inner);
        holds(&state)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
