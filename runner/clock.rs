//! The only file that reads time or chance.
//!
//! Everything else is given a [`Clock`], so that a test can run a day in a second on tokio's paused
//! clock and two pipelines in one process can live in two different times.
#![allow(clippy::disallowed_methods, reason = "the one file that reads time")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use tokio::time::Instant;

pub use crate::model::UnixNanos;
use crate::model::nanos;

/// Where time is read. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clock {
    simulated: Option<Simulated>,
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
        Self { simulated: None }
    }

    /// Civil time that begins at `start` and follows tokio's (pausable) clock.
    pub fn simulated(start: UnixNanos) -> Self {
        let base = Instant::now();
        Self { simulated: Some(Simulated { start, base }) }
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
