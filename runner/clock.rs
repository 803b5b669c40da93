//! The only file that reads time or chance.
//!
//! Everything else is given a [`Clock`], so that a test can run a day in a second on tokio's paused
//! clock and two pipelines in one process can live in two different times.
#![allow(clippy::disallowed_methods, reason = "the one file that reads time")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use tokio::time::Instant;

pub use crate::model::UnixNanos;
use crate::model::nanos;

/// Where time is read. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clock {
    simulated: Option<Simulated>,
    chance: Arc<AtomicU64>,
}

/// Civil time that follows tokio's clock, from a chosen start.
#[derive(Debug, Clone, Copy)]
struct Simulated {
    start: UnixNanos,
    base: Instant,
}

impl Clock {
    /// The machine's clocks: monotonic for pace, civil for what is written down.
    pub fn system() -> Self {
        // The standard library's hash keys are random.
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0_u8);
        Self { simulated: None, chance: Arc::new(AtomicU64::new(seed)) }
    }

    /// Civil time that begins at `start` and follows tokio's (pausable) clock.
    pub fn simulated(start: UnixNanos) -> Self {
        let base = Instant::now();
        Self { simulated: Some(Simulated { start, base }), chance: Arc::default() }
    }

    /// A number between 0 and 1, by chance: for spreading load, not for secrets. A simulated clock gives
    /// the same numbers each time.
    pub fn chance(&self) -> f64 {
        // SplitMix64 (Steele, Lea and Flood, 2014): a counter, well mixed.
        let mut mixed = self.chance.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether civil time follows tokio's clock.
    pub fn is_simulated(&self) -> bool {
        self.simulated.is_some()
    }

    /// Monotonic time: for pace, deadlines and lengths.
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// Civil time: for what is written down. It may step in either direction.
    pub fn wall(&self) -> UnixNanos {
        if let Some(simulated) = self.simulated {
            return simulated.start.plus(Instant::now().duration_since(simulated.base));
        }
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => UnixNanos(nanos(since)),
            Err(before) => UnixNanos(-nanos(before.duration())),
        }
    }
}

/// CPU time that the calling thread has used since its start: what a check is charged by.
pub fn thread_cpu_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(used.tv_sec).unwrap_or(0), u32::try_from(used.tv_nsec).unwrap_or(0))
}

/// A new run identity: a UUIDv7 (RFC 9562 section 5.7), so that identities sort by their start.
pub fn new_run_id() -> String {
    uuid::Uuid::now_v7().hyphenated().to_string()
}

/// 32 bytes that nobody can guess, from the operating system.
pub fn new_secret() -> std::io::Result<[u8; 32]> {
    use ring::rand::SecureRandom as _;
    let mut secret = [0; 32];
    let filled = ring::rand::SystemRandom::new().fill(&mut secret);
    filled.map(|()| secret).map_err(|_| std::io::Error::other("the system gives no random bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn simulated_civil_time_follows_the_paused_clock() {
        let clock = Clock::simulated(UnixNanos(1_000));
        tokio::time::advance(Duration::from_hours(24)).await;
        assert_eq!(clock.wall(), UnixNanos(1_000 + 86_400_000_000_000));
    }
}
