//! What keeps dynamic sources up to date: one task for each of them, beside the data path.
//!
//! Static sources are read when a pipeline is built. A dynamic one becomes a [`SupplyPlan`] then, checked
//! and not started; [`supply`] runs it and tells the data path what there is to probe, over a bounded
//! channel: while nobody takes an update, nothing more is fetched or read.

mod plan;
mod health;
mod document;
mod groups;
mod seen;
mod kept;
mod listing;
mod stdin;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

pub use plan::SupplyPlan;
pub(super) use plan::{DocumentPlan, ListingPlan, OnlyNew, SupplyKind};

use super::{Stop, StopLevel};
use crate::clock::Clock;
use crate::fetch::Fetcher;
use crate::model::Target;
use crate::sink::ResultMark;

/// What a dynamic source gave.
#[derive(Debug)]
pub enum Supplied {
    /// All targets that the source has now; they take the place of what it gave before.
    Replace(Vec<Arc<Target>>),
    /// To be probed once each, as soon as there is room.
    Once(Vec<Arc<Target>>),
    /// Nothing more will come: the pipe has ended, or one look was all that was asked for.
    Ended,
}

/// Something new from a dynamic source.
#[derive(Debug)]
pub struct SupplyUpdate {
    /// The source's number among the file's `[[sources]]`, from 0.
    pub source: u32,
    /// What it gave.
    pub supplied: Supplied,
    /// Where the source wants to know that its targets were probed: to be told once the rows of all targets of
    /// this update are with the sinks. Dropped untold, the source offers them again.
    pub receipt: Option<Receipt>,
}

/// Tells a source that the targets of an update were probed, so that it may remember that on disk.
#[derive(Debug)]
pub struct Receipt(oneshot::Sender<Option<ResultMark>>);

impl Receipt {
    pub(super) fn new() -> (Self, oneshot::Receiver<Option<ResultMark>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    /// The rows of all targets of the update are with the sinks, and finished at the mark; at once without one.
    pub fn probed(self, finished: Option<ResultMark>) {
        // A source that has ended needs to know no more.
        let _ = self.0.send(finished);
    }
}

/// What a dynamic source works with.
#[derive(Debug, Clone)]
pub struct SupplyContext {
    /// The pipeline's name.
    pub pipeline: Arc<str>,
    /// Fetches documents.
    pub fetcher: Fetcher,
    /// Where time is read.
    pub clock: Clock,
    /// The folder `state/<runner>/seen`; none where nothing is remembered on disk.
    pub seen: Option<PathBuf>,
    /// Look once, and end.
    pub once: bool,
}

/// Runs a dynamic source until it ends, the receiver is gone or `stop` says so. Whoever starts it waits for its end
/// after the data path's: what was probed is remembered then.
pub async fn supply(
    plan: Arc<SupplyPlan>,
    context: SupplyContext,
    updates: mpsc::Sender<SupplyUpdate>,
    mut stop: Stop,
) {
    let updates = Updates { source: plan.source, sender: updates };
    match &plan.kind {
        SupplyKind::Groups(document) => {
            let work = groups::follow(document, &context, &updates);
            updates.until_unwanted(work, &mut stop).await;
        }
        SupplyKind::Listing(listing) => {
            let mut follow = listing::Follow::open(listing, &context, &updates).await;
            updates.until_unwanted(follow.run(), &mut stop).await;
            tokio::select! {
                () = follow.settle() => {}
                () = stop.reached(StopLevel::Now) => {}
            }
        }
        SupplyKind::Stdin { labels } => {
            let work = stdin::follow(stdin::standard_input(), labels, &context, &updates);
            updates.until_unwanted(work, &mut stop).await;
        }
    }
}

/// Where a source gives its targets.
struct Updates {
    source: u32,
    sender: mpsc::Sender<SupplyUpdate>,
}

impl Updates {
    /// Gives something, and waits while there is no room; whether anybody listens.
    async fn give(&self, supplied: Supplied, receipt: Option<Receipt>) -> bool {
        self.sender.send(SupplyUpdate { source: self.source, supplied, receipt }).await.is_ok()
    }

    /// Waits for room for one update; none where nobody listens any more.
    async fn room(&self) -> Option<Room<'_>> {
        let permit = self.sender.reserve().await.ok()?;
        Some(Room { source: self.source, permit })
    }

    /// Works until it is done or nobody wants it any more.
    async fn until_unwanted(&self, work: impl Future<Output = ()>, stop: &mut Stop) {
        tokio::select! {
            () = work => {}
            () = self.sender.closed() => {}
            () = stop.reached(StopLevel::Drain) => {}
        }
    }
}

/// Room for one update.
struct Room<'u> {
    source: u32,
    permit: mpsc::Permit<'u, SupplyUpdate>,
}

impl Room<'_> {
    fn give(self, supplied: Supplied, receipt: Option<Receipt>) {
        self.permit.send(SupplyUpdate { source: self.source, supplied, receipt });
    }
}

#[cfg(test)]
mod tests;
