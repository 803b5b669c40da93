//! Freezes plugins in the background: a thread that takes one after the other, so that checks go on
//! while theirs is on its way.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

/// What can be frozen in the background.
pub(super) trait Freezable: Send + Sync {
    /// Freezes it; tells by the log where that cannot be done.
    fn freeze_for_auto(&self);
}

/// Calls that are configured one by one before it is worth seconds of compilation to freeze.
const CALLS_BEFORE_FREEZING: u32 = 100;

/// Counts calls until it is worth to freeze, and asks then.
#[derive(Debug, Default)]
pub(super) struct Patience {
    calls: AtomicU32,
    /// Whether the freezer was asked.
    is_asked: AtomicBool,
}

impl Patience {
    /// Counts a call of what is not frozen; asks the freezer once that was often enough, again where it has no room.
    pub(super) fn call<T: Freezable + 'static>(&self, freezer: &Freezer, what: &Arc<T>) {
        if self.is_asked.load(Ordering::Relaxed) {
            return;
        }
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        if calls >= CALLS_BEFORE_FREEZING && !self.is_asked.swap(true, Ordering::Relaxed) {
            let what: Arc<dyn Freezable> = Arc::<T>::clone(what);
            self.is_asked.store(freezer.ask(Arc::downgrade(&what)), Ordering::Relaxed);
        }
    }
}

/// Checks that may wait. Who finds no room asks again later.
const QUEUE: usize = 256;

/// The thread, started when it is first asked.
#[derive(Default)]
pub(super) struct Freezer {
    queue: Mutex<Option<SyncSender<Weak<dyn Freezable>>>>,
}

impl Freezer {
    /// Has a check frozen; false when there is no room for it now.
    ///
    /// The thread is not joined at the end: it may be in the midst of a compilation of seconds, and
    /// owns nothing that has to be finished.
    fn ask(&self, check: Weak<dyn Freezable>) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.is_none() {
            let (sender, receiver) = sync_channel(QUEUE);
            let thread = thread::Builder::new().name("check-freezer".into()).spawn(move || work(&receiver));
            if thread.is_err() {
                return false;
            }
            *queue = Some(sender);
        }
        queue.as_ref().is_some_and(|queue| queue.try_send(check).is_ok())
    }
}

/// Goes on until the engine that it belongs to is gone.
fn work(queue: &Receiver<Weak<dyn Freezable>>) {
    while let Ok(check) = queue.recv() {
        // A check that was dropped in the meantime (its pipeline was changed) needs no snapshot.
        if let Some(check) = check.upgrade() {
            check.freeze_for_auto();
        }
    }
}
