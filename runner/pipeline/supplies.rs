//! The dynamic sources of one pipeline at work: a task each, and what each gave last.
//!
//! A source whose configuration stays the same goes on through reloads, with all that it gave; the others
//! end and begin anew.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Stop;
use super::stages::Stages;
use super::supply::{SupplyContext, SupplyPlan, SupplyUpdate, supply};
use crate::model::Target;
use crate::telemetry::spawn;

/// Updates that wait for the data path; while they do, a source fetches and reads nothing more.
const UPDATES: usize = 2;

/// How long a source may take at the end to write what was probed: milliseconds, unless the disk hangs.
const REMEMBER: Duration = Duration::from_secs(2);

/// The dynamic sources of one pipeline.
pub(super) struct Supplies {
    stages: Arc<Stages>,
    pipeline: Arc<str>,
    stop: Stop,
    all: Vec<Supplying>,
}

/// One of them.
struct Supplying {
    plan: Arc<SupplyPlan>,
    updates: mpsc::Receiver<SupplyUpdate>,
    task: JoinHandle<()>,
    targets: Vec<Arc<Target>>,
    has_ended: bool,
}

/// It ends with its pipeline, also in the middle of a fetch.
impl Drop for Supplying {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Supplies {
    /// None so far.
    pub(super) fn new(stages: Arc<Stages>, pipeline: Arc<str>, stop: Stop) -> Self {
        Self { stages, pipeline, stop, all: Vec::new() }
    }

    /// Brings them to what is wanted now.
    pub(super) fn change(&mut self, plans: &[Arc<SupplyPlan>]) {
        let mut known: VecDeque<_> = std::mem::take(&mut self.all).into();
        for plan in plans {
            let same = known.iter().position(|supply| supply.plan.identity == plan.identity);
            let supply = match same.and_then(|at| known.remove(at)) {
                Some(supply) => supply,
                None => self.start(plan),
            };
            self.all.push(supply);
        }
    }

    fn start(&self, plan: &Arc<SupplyPlan>) -> Supplying {
        let (sender, updates) = mpsc::channel(UPDATES);
        let context = SupplyContext {
            pipeline: Arc::clone(&self.pipeline),
            fetcher: self.stages.fetcher.clone(),
            clock: self.stages.clock.clone(),
            seen: self.stages.seen.clone(),
            once: self.stages.once,
        };
        let task = spawn("source", supply(Arc::clone(plan), context, sender, self.stop.clone()));
        Supplying { plan: Arc::clone(plan), updates, task, targets: Vec::new(), has_ended: false }
    }

    /// Nothing more is wanted of them.
    pub(super) fn close(&mut self) {
        for supply in &mut self.all {
            supply.updates.close();
            while supply.updates.try_recv().is_ok() {}
        }
    }

    /// Waits for their ends, after they were closed and the last row of their targets was handed over: what was
    /// probed is remembered then.
    pub(super) async fn ended(mut self) {
        for supply in &mut self.all {
            // One that hangs is aborted as it is dropped; what it has not written is probed again.
            let _ = timeout(REMEMBER, &mut supply.task).await;
        }
    }

    /// What they gave, in the order of the file.
    pub(super) fn targets(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.all.iter().flat_map(|supply| &supply.targets)
    }

    /// Puts what one of them gave in the place of what it gave before.
    pub(super) fn replace(&mut self, supply: usize, targets: Vec<Arc<Target>>) {
        if let Some(supply) = self.all.get_mut(supply) {
            supply.targets = targets;
        }
    }

    /// Notes that nothing more will come from one of them.
    pub(super) fn end(&mut self, supply: usize) {
        if let Some(supply) = self.all.get_mut(supply) {
            supply.has_ended = true;
        }
    }

    /// Whether nothing more will come.
    pub(super) fn have_ended(&self) -> bool {
        self.all.iter().all(|supply| supply.has_ended)
    }

    /// Waits for the next update, and tells whose it is; for ever if no more will come.
    pub(super) async fn next(&mut self) -> Option<(usize, SupplyUpdate)> {
        if self.have_ended() {
            return pending().await;
        }
        poll_fn(|context| self.poll_next(context)).await
    }

    /// An update that is there already.
    pub(super) fn try_next(&mut self) -> Option<(usize, SupplyUpdate)> {
        match self.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(update) => update,
            Poll::Pending => None,
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<(usize, SupplyUpdate)>> {
        for (at, supply) in self.all.iter_mut().enumerate().filter(|(_, supply)| !supply.has_ended) {
            match supply.updates.poll_recv(context) {
                Poll::Ready(Some(update)) => return Poll::Ready(Some((at, update))),
                // Its task has ended, by a fault if it did not say so.
                Poll::Ready(None) => {
                    supply.has_ended = true;
                    return Poll::Ready(None);
                }
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }
}
