//! The engine's heartbeat: a thread that advances the epoch once a millisecond while calls run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use wasmtime::Engine;

/// The length of a tick: the grain of every time limit.
pub(super) const TICK: Duration = Duration::from_millis(1);
/// The same while no call was seen: most calls are over within microseconds, and a quiet runner should not wake the
/// machine a thousand times a second. A long call is seen so much later.
const IDLE_TICK: Duration = Duration::from_millis(4);
/// Idle ticks before the thread sleeps.
const IDLE_TICKS: u32 = 64;

/// A thread that advances an engine's epoch, until it is dropped.
#[derive(Debug)]
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    waker: Thread,
}

#[derive(Debug, Default)]
struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
    stopping: AtomicBool,
}

/// Keeps the ticker awake as long as it lives.
#[derive(Debug)]
pub(super) struct Ticking<'a>(&'a Shared);

impl Ticker {
    /// Starts the thread.
    pub(super) fn start(engine: Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("check-ticker".into())
            .stack_size(64 << 10)
            .spawn(move || tick(&engine, &for_thread))?;
        let waker = thread.thread().clone();
        Ok(Self { shared, thread: Some(thread), waker })
    }

    /// To be held while a call runs.
    pub(super) fn keep_ticking(&self) -> Ticking<'_> {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.waker.unpark();
        }
        Ticking(&self.shared)
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.waker.unpark();
        if let Some(thread) = self.thread.take() {
            // It has nothing that could panic, and nobody to tell.
            let _ = thread.join();
        }
    }
}

fn tick(engine: &Engine, shared: &Shared) {
    let mut idle = 0;
    while !shared.stopping.load(Ordering::SeqCst) {
        if shared.running.load(Ordering::SeqCst) > 0 {
            idle = 0;
        } else {
            idle += 1;
        }
        if idle > IDLE_TICKS {
            // First say so, then look again: a call that begins in between sees it and unparks.
            shared.asleep.store(true, Ordering::SeqCst);
            if shared.running.load(Ordering::SeqCst) == 0 && !shared.stopping.load(Ordering::SeqCst) {
                thread::park();
            }
            shared.asleep.store(false, Ordering::SeqCst);
            idle = 0;
        }
        thread::sleep(if idle == 0 { TICK } else { IDLE_TICK });
        engine.increment_epoch();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(is_so: impl Fn() -> bool) {
        while !is_so() {
            thread::yield_now();
        }
    }

    #[test]
    fn it_sleeps_while_nothing_runs_and_wakes_for_a_call() {
        let ticker = Ticker::start(Engine::default()).unwrap();
        let asleep = || ticker.shared.asleep.load(Ordering::SeqCst);
        for _ in 0..2 {
            until(asleep);
            let ticking = ticker.keep_ticking();
            until(|| !asleep());
            drop(ticking);
        }
        // Also a sleeping one ends.
        until(asleep);
        drop(ticker);
    }
}
