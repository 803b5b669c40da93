//! Memory for the bodies in flight, over all probes.
//!
//! The first [`FREE`] bytes of a body are free: most bodies are no longer, and the limit on probes in flight bounds
//! them. Whoever wants to keep more takes all that it may need at once, waits for it if it must, and gives it back
//! with the body. So nobody waits while it holds a part of what others wait for.

use std::sync::Arc;

use hyper::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a body that are kept without asking.
pub(super) const FREE: usize = 64 * 1024;
/// What memory is counted in, in bytes.
const UNIT: usize = 64 * 1024;

/// What all bodies in flight may take together.
#[derive(Debug)]
pub(super) struct BodyMemory {
    units: Arc<Semaphore>,
    in_all: u32,
}

impl BodyMemory {
    /// So many bytes in all, at least one unit.
    pub(super) fn new(bytes: u64) -> Self {
        let in_all = (bytes / UNIT as u64).clamp(1, u64::from(u32::MAX >> 4)) as u32;
        Self { units: Arc::new(Semaphore::new(in_all as usize)), in_all }
    }

    /// Room for a body of `bytes` at most; waits until there is. A body that may be longer than all there is takes
    /// all there is.
    pub(super) async fn room_for(&self, bytes: usize) -> Option<Room> {
        let units = units_of(bytes).min(self.in_all);
        // Only a closed semaphore fails, and nobody closes this one.
        let permit = Arc::clone(&self.units).acquire_many_owned(units).await.ok();
        permit.map(|permit| Room { permit })
    }

    /// Whether no body has any of it.
    #[cfg(any(test, fuzzing))]
    pub(super) fn is_free(&self) -> bool {
        self.units.available_permits() == self.in_all as usize
    }
}

/// Room that a body has; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    permit: OwnedSemaphorePermit,
}

impl Room {
    /// The body, which gives the room back when its last user drops it. What it does not need goes back at once.
    pub(super) fn hold(mut self, body: Bytes) -> Bytes {
        let needed = units_of(body.len()) as usize;
        drop(self.permit.split(self.permit.num_permits().saturating_sub(needed)));
        Bytes::from_owner(Held { body, _room: self })
    }
}

struct Held {
    body: Bytes,
    _room: Room,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

fn units_of(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_goes_back_with_the_last_user_of_a_body() {
        let memory = BodyMemory::new(10 * UNIT as u64);
        let free = || memory.units.available_permits();
        let room = memory.room_for(4 * UNIT).await.unwrap();
        assert_eq!(free(), 6);
        let body = room.hold(Bytes::from(vec![1; UNIT + 1]));
        assert_eq!((free(), body.len()), (8, UNIT + 1), "two units are needed");
        let part = body.slice(..3);
        drop(body);
        assert_eq!(free(), 8);
        drop(part);
        assert_eq!(free(), 10);
        drop(memory.room_for(usize::MAX).await.unwrap());
        assert_eq!(free(), 10, "the longest body gets all there is");
    }

    #[tokio::test]
    async fn who_finds_no_room_waits_for_it() {
        let memory = BodyMemory::new(2 * UNIT as u64);
        let first = memory.room_for(2 * UNIT).await.unwrap();
        let mut second = std::pin::pin!(memory.room_for(1));
        assert!(asked_once(second.as_mut()).is_none());
        drop(first);
        assert!(asked_once(second.as_mut()).is_some());
    }

    /// What a future gives if it is asked once.
    fn asked_once<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }
}
