//! Files on their way from the converting thread to the one that uploads. What does not fit is not lost: it is
//! looked for on the disk.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::clock::Instant;
use crate::sink::counters::WriterCounters;
use crate::sink::parquet::finished::Finished;

/// Files that are known by name; the rest is known by the lists on the disk.
const WAITING: usize = 1_024;
/// Files that were uploaded last: they may be told of twice, by the lists and by whoever published them.
const RECENT: usize = 1_024;

/// Files that wait for their upload.
#[derive(Debug)]
pub(crate) struct UploadQueue {
    state: Mutex<State>,
    changed: Notify,
    counters: Arc<WriterCounters>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Finished>,
    /// Files that only the lists on the disk know: the queue was full.
    more: u64,
    /// Whether somebody has a file in hand.
    in_hand: bool,
    recent: VecDeque<String>,
    /// Files that will not be uploaded in this run.
    set_aside: BTreeSet<String>,
    /// Whether anybody uploads.
    is_wanted: bool,
    /// Whether the lists have to be looked through.
    is_partial: bool,
    /// Since when nothing more comes.
    closed: Option<Instant>,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A file; [`UploadQueue::done`] is told of it.
    File(Finished),
    /// The lists have to be looked through.
    Look,
    /// Nothing more comes.
    End,
}

impl UploadQueue {
    /// A queue that nobody takes from, and that keeps nothing, until [`begin`](Self::begin).
    pub(crate) fn new(counters: Arc<WriterCounters>) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), counters }
    }

    /// Somebody takes from now on, beginning with the lists.
    pub(super) fn begin(&self) {
        self.change(|state| *state = State { is_wanted: true, is_partial: true, ..State::default() });
    }

    /// Nobody takes any more.
    pub(super) fn end(&self) {
        self.change(|state| state.is_wanted = false);
    }

    /// Adds files that were published. Never waits.
    pub(crate) fn push(&self, files: Vec<Finished>) {
        self.change(|state| {
            for file in files.into_iter().take_while(|_| state.is_wanted) {
                if state.waiting.len() < WAITING {
                    state.waiting.push_back(file);
                } else {
                    state.more += 1;
                    state.is_partial = true;
                }
            }
        });
        self.changed.notify_one();
    }

    /// Nothing more comes from now on.
    pub(super) fn close(&self, now: Instant) {
        self.change(|state| state.closed = Some(now));
        self.changed.notify_one();
    }

    /// Whether nothing more comes.
    pub(super) fn is_closed(&self) -> bool {
        self.closed().is_some()
    }

    /// Since when nothing more comes.
    pub(super) fn closed(&self) -> Option<Instant> {
        self.state().closed
    }

    /// Waits until something was added, or until the end.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits for what comes next.
    pub(super) async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.change(State::next) {
                return next;
            }
            self.changed().await;
        }
    }

    /// Takes over what was found in the lists.
    pub(super) fn found(&self, files: &VecDeque<Finished>) {
        self.change(|state| {
            let told = std::mem::take(&mut state.waiting);
            let fresh = files.iter().filter(|file| state.is_fresh(file)).cloned();
            let all: Vec<_> = fresh.chain(told.into_iter().filter(|file| !files.contains(file))).collect();
            state.more = all.len().saturating_sub(WAITING) as u64;
            state.is_partial = state.more > 0;
            state.waiting = all.into_iter().take(WAITING).collect();
        });
    }

    /// The file in hand is uploaded.
    pub(super) fn done(&self, file: Finished) {
        self.change(|state| {
            state.in_hand = false;
            state.recent.push_back(file.place);
            if state.recent.len() > RECENT {
                state.recent.pop_front();
            }
        });
    }

    /// The file in hand will not be uploaded in this run.
    pub(super) fn set_aside(&self, file: Finished) {
        self.change(|state| {
            state.in_hand = false;
            state.set_aside.insert(file.place);
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let changed = change(&mut state);
        let waiting = state.waiting.len() as u64 + state.more + u64::from(state.in_hand);
        self.counters.uploads_waiting.store(waiting, Ordering::Release);
        changed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&mut self) -> Option<Next> {
        while let Some(file) = self.waiting.pop_front() {
            if self.is_fresh(&file) {
                self.in_hand = true;
                return Some(Next::File(file));
            }
        }
        if self.is_partial {
            return Some(Next::Look);
        }
        self.closed.map(|_| Next::End)
    }

    fn is_fresh(&self, file: &Finished) -> bool {
        !self.recent.contains(&file.place) && !self.set_aside.contains(&file.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::counters::read;

    fn file(number: usize) -> Finished {
        Finished { place: format!("probes/{number}.parquet"), checksum: 1, bytes: 1 }
    }

    async fn take(queue: &UploadQueue) -> Finished {
        match queue.next().await {
            Next::File(file) => file,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_is_told_twice_is_taken_once_and_what_does_not_fit_is_looked_for() {
        let counters = Arc::<WriterCounters>::default();
        let queue = UploadQueue::new(Arc::clone(&counters));
        let waiting = || read(&counters.uploads_waiting);
        queue.push(vec![file(0)]);
        assert_eq!(waiting(), 0, "nobody uploads");
        queue.begin();
        assert_eq!(queue.next().await, Next::Look);
        queue.push((0..WAITING + 6).map(file).collect());
        assert_eq!(waiting(), WAITING as u64 + 6);
        queue.found(&(2..WAITING + 6).map(file).collect());
        assert_eq!(waiting(), WAITING as u64 + 6, "the queue knows two that the lists do not");
        for number in 2..WAITING + 2 {
            let taken = take(&queue).await;
            assert_eq!(taken, file(number));
            assert_eq!(waiting(), (2 * WAITING + 8 - WAITING - number) as u64);
            queue.done(taken);
        }
        assert_eq!(queue.next().await, Next::Look);
        queue.found(&(0..WAITING + 6).map(file).collect());
        let rest: Vec<_> = (0..2).chain(WAITING + 2..WAITING + 6).collect();
        for number in rest {
            assert_eq!(take(&queue).await, file(number));
            queue.set_aside(file(number));
        }
        queue.push(vec![file(0), file(WAITING)]);
        queue.close(crate::clock::Clock::system().now());
        assert_eq!((queue.next().await, waiting()), (Next::End, 0));
    }
}
