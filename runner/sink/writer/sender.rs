//! The sending end of a writer's queue, and what becomes of a result for which there is no room.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::body::Bytes;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tracing::{info, warn};

use super::WriterChange;
use crate::model::{Exchange, ProbeResult};
use crate::sink::counters::{WriterCounters, add, read};

/// Hands results to a writer. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ResultSender {
    pub(super) queue: mpsc::Sender<Queued>,
    pub(super) counters: Arc<WriterCounters>,
}

/// What is in the queue.
pub(super) enum Queued {
    Result(Box<Waiting>),
    Change(Box<WriterChange>),
}

/// A result in the queue. Its body stays behind: a queue of bodies would have no bound in bytes.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) result: ProbeResult,
    pub(super) body_hash: Option<u64>,
}

/// What becomes of a result for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFull {
    /// It waits.
    #[default]
    Block,
    /// It is dropped and counted.
    DropNewest,
}

/// Why a result was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendRefused {
    /// The queue is full.
    #[error("the sink's queue is full")]
    Full,
    /// The writer has been stopped.
    #[error("the sink has been stopped")]
    Stopped,
}

impl ResultSender {
    /// Hands over a result; waits while the queue is full. Fails once the writer has been stopped.
    pub async fn send(&self, result: ProbeResult) -> Result<(), SendRefused> {
        let place = self.queue.reserve().await.map_err(|_| SendRefused::Stopped)?;
        add(&self.counters.rows_accepted, 1);
        place.send(Queued::Result(Box::new(Waiting::of(result))));
        Ok(())
    }

    /// Hands over a result, or drops and counts it where the queue is full.
    pub fn try_send(&self, result: ProbeResult) -> Result<(), SendRefused> {
        let place = match self.queue.try_reserve() {
            Ok(place) => place,
            Err(TrySendError::Full(())) => {
                add(&self.counters.rows_dropped, 1);
                return Err(SendRefused::Full);
            }
            Err(TrySendError::Closed(())) => return Err(SendRefused::Stopped),
        };
        add(&self.counters.rows_accepted, 1);
        place.send(Queued::Result(Box::new(Waiting::of(result))));
        Ok(())
    }

    /// Hands over a result by a rule for a full queue. That results are dropped is told when it begins, and when
    /// there is room again.
    pub async fn offer(&self, result: ProbeResult, on_full: OnFull) -> Result<(), SendRefused> {
        if on_full == OnFull::Block {
            return self.send(result).await;
        }
        let sent = self.try_send(result);
        let dropping = &self.counters.dropping;
        let has_room = self.queue.capacity() * 2 >= self.queue.max_capacity();
        if matches!(sent, Err(SendRefused::Full)) {
            if !dropping.swap(true, Ordering::AcqRel) {
                warn!("the queue of results is full: results are dropped, as on_full says");
            }
        } else if has_room && dropping.load(Ordering::Acquire) && dropping.swap(false, Ordering::AcqRel) {
            let dropped = read(&self.counters.rows_dropped);
            info!(dropped, "the queue of results has room again");
        }
        sent
    }

    /// Has the writer go on in another way, once it has written what came before. Fails once it has been
    /// stopped.
    pub async fn change(&self, change: WriterChange) -> Result<(), SendRefused> {
        self.queue.send(Queued::Change(Box::new(change))).await.map_err(|_| SendRefused::Stopped)
    }

    /// What the writer counts.
    pub fn counters(&self) -> &Arc<WriterCounters> {
        &self.counters
    }
}

impl Waiting {
    /// Hashes the body here, on the many threads that send, rather than on the one that writes.
    pub(super) fn of(mut result: ProbeResult) -> Self {
        let body_hash = result.exchange.body_xxh3();
        if !result.exchange.body.is_empty() {
            if let Some(exchange) = Arc::get_mut(&mut result.exchange) {
                exchange.body = Bytes::new();
            } else {
                let exchange = Exchange::clone(&result.exchange);
                result.exchange = Arc::new(Exchange { body: Bytes::new(), ..exchange });
            }
        }
        Self { result, body_hash }
    }
}
