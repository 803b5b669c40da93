//! Whether the I/O threads come to their turn: a watch that wants to be woken every 20 ms, and tells how late it was.
//!
//! It sees the threads as a whole: as long as one of them is free, it wakes there. And it sees a delay from the moment on
//! at which it wants to be woken: one of 40 ms in any case, one of 20 ms where it fell so.
//!
//! Where other programs, or the runner itself, keep the threads from running, what a probe measures is the runner's
//! delay as much as the target's. Rows of such moments say so (`runner_overloaded`), and stalls are counted and logged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep_until;

use super::spawn;
use crate::clock::{Clock, Instant};

/// How often the watch wants to be woken.
const EVERY: Duration = Duration::from_millis(20);
/// From this delay on the runner counts as overloaded: what it measures may be wrong by as much.
const OVERLOADED: Duration = Duration::from_millis(20);
/// From this delay on it is a stall.
const STALL: Duration = Duration::from_millis(100);
/// Stalls are logged no more often than this.
const LOG: Duration = Duration::from_mins(1);

/// How late the I/O threads are. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lag(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    base: Instant,
    /// When the watch wants to be woken next, in nanoseconds since the base; none while nobody watches.
    next_ns: AtomicU64,
    /// When the last delay ended that counts, in nanoseconds since the base; 0 before the first.
    until_ns: AtomicU64,
    stalls: AtomicU64,
    longest_ns: AtomicU64,
}

const NONE: u64 = u64::MAX;

/// What came of a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LagSeen {
    /// Delays of 100 ms and more.
    pub stalls: u64,
    /// The longest delay.
    pub longest: Duration,
}

impl Lag {
    /// Nobody watches yet: nothing is ever late.
    pub fn new(clock: &Clock) -> Self {
        let base = clock.now();
        Self(Arc::new(Shared {
            clock: clock.clone(),
            base,
            next_ns: AtomicU64::new(NONE),
            until_ns: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            longest_ns: AtomicU64::new(0),
        }))
    }

    /// Watches until the handle is dropped.
    pub fn watch(&self) -> LagWatch {
        let shared = Arc::clone(&self.0);
        LagWatch(spawn("lag", async move { shared.watch().await }))
    }

    /// Whether the watch was woken 20 ms late or more at any moment from `since` to now.
    pub fn was_overloaded(&self, since: Instant) -> bool {
        let Shared { clock, next_ns, until_ns, .. } = &*self.0;
        // Before the other: whoever sees the watch gone on sees as well what it has found.
        let next = next_ns.load(Ordering::Acquire);
        if until_ns.load(Ordering::Relaxed) > self.0.offset(since) {
            return true;
        }
        // The watch itself may not have had its turn yet.
        next != NONE && self.0.offset(clock.now()) >= next.saturating_add(OVERLOADED.as_nanos() as u64)
    }

    /// What was seen so far.
    pub fn seen(&self) -> LagSeen {
        LagSeen {
            stalls: self.0.stalls.load(Ordering::Relaxed),
            longest: Duration::from_nanos(self.0.longest_ns.load(Ordering::Relaxed)),
        }
    }
}

impl Shared {
    /// Nanoseconds since the base; at least 1, so that 0 is before everything.
    fn offset(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.base).as_nanos();
        u64::try_from(since).unwrap_or(NONE - 1).max(1)
    }

    async fn watch(&self) {
        let mut logged: Option<Instant> = None;
        loop {
            let wanted = self.clock.now() + EVERY;
            self.next_ns.store(self.offset(wanted), Ordering::Release);
            sleep_until(wanted).await;
            let now = self.clock.now();
            let late = now.saturating_duration_since(wanted);
            if late < OVERLOADED {
                continue;
            }
            self.until_ns.store(self.offset(now), Ordering::Relaxed);
            self.longest_ns.fetch_max(u64::try_from(late.as_nanos()).unwrap_or(NONE), Ordering::Relaxed);
            if late < STALL {
                continue;
            }
            let stalls = self.stalls.fetch_add(1, Ordering::Relaxed) + 1;
            if logged.is_none_or(|at| now.saturating_duration_since(at) >= LOG) {
                logged = Some(now);
                let late_ms = late.as_millis() as u64;
                tracing::warn!(
                    late_ms,
                    stalls,
                    "the runner was held up: latencies of that moment are its own"
                );
            }
        }
    }
}

/// A watch that runs. Ends when it is dropped.
#[derive(Debug)]
pub struct LagWatch(JoinHandle<()>);

impl Drop for LagWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_thread_that_is_blocked_is_seen() {
        let clock = Clock::system();
        let lag = Lag::new(&clock);
        let _watch = lag.watch();
        tokio::time::sleep(EVERY).await;
        let before = clock.now();
        assert!(!lag.was_overloaded(clock.now() + Duration::from_secs(1)));
        // The only thread that there is: the watch does not come to its turn.
        std::thread::sleep(STALL + EVERY + Duration::from_millis(30));
        assert!(lag.was_overloaded(before), "the watch has yet to wake, and it shows already");
        while lag.seen().stalls == 0 {
            tokio::task::yield_now().await;
        }
        assert!(lag.seen().longest >= STALL);
        assert!(lag.was_overloaded(before));
        assert!(!lag.was_overloaded(clock.now()), "what begins now is not concerned");
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_passes_in_peace_is_no_lag() {
        let clock = Clock::system();
        let lag = Lag::new(&clock);
        assert!(!lag.was_overloaded(clock.now()), "nobody watches");
        let _watch = lag.watch();
        let before = clock.now();
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(!lag.was_overloaded(before));
        assert_eq!(lag.seen(), LagSeen::default());
    }
}
