//! Whoever gets results once they are in the journal: stdout, later others.
//!
//! Each has a thread of its own and a bounded queue of batches, so that one that hangs in a system call
//! (a pipe that nobody drains) never holds up the journal, nor the end. One that fails is counted and
//! logged, and never stops the rest. One that is too slow slows probing down until a stop is asked for.

mod queue;

use std::collections::HashSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arrow::array::{AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use tracing::{error, info, warn};

use self::queue::BatchQueue;
use super::batch::ResultBatch;
use super::counters::{Missing, SinkCounters, WriterCounters, add};
use super::writer::OnFull;

/// Takes results that are safe already.
pub trait Follower: Send {
    /// Takes one batch, on the follower's own thread; batches come in the order of the journal. While it
    /// blocks, batches wait for it; when its queue is full the sink waits too. `BrokenPipe` means that
    /// nobody reads any more: the follower is not called again. Nor is it after a panic.
    fn deliver(&mut self, batch: &ResultBatch) -> io::Result<()>;
}

/// A follower with its name and the pipelines that it wants.
pub struct FollowerSpec {
    /// For logs. Two followers of one name are the same one: it goes on where a writer is changed.
    pub name: String,
    /// Only results of these pipelines; none means all.
    pub pipelines: Option<HashSet<Arc<str>>>,
    /// What happens once it is 64 batches behind.
    pub on_full: OnFull,
    /// The follower.
    pub follower: Box<dyn Follower>,
}

/// All followers of one writer, seen by its thread.
pub(crate) struct Followers {
    all: Vec<Following>,
    /// Those that are not wanted any more, and take what waits for them.
    ending: Vec<Following>,
    counters: Arc<WriterCounters>,
}

/// A follower, seen by the writer's thread.
struct Following {
    name: String,
    wanted: Wanted,
    on_full: OnFull,
    queue: Arc<BatchQueue>,
    counted: Arc<SinkCounters>,
    thread: Option<JoinHandle<()>>,
    /// Whether its queue was full and has not been empty since.
    behind: bool,
}

impl Followers {
    /// Starts a thread for each.
    pub(crate) fn start(specs: Vec<FollowerSpec>, counters: Arc<WriterCounters>) -> io::Result<Self> {
        let mut followers = Self { all: Vec::with_capacity(specs.len()), ending: Vec::new(), counters };
        for spec in specs {
            followers.all.push(Following::start(spec, &followers.counters)?);
        }
        Ok(followers)
    }

    /// Brings the followers to what is wanted from now on: those of a known name go on as they are, the
    /// others take what waits for them and end, new ones start. One that cannot start is counted and told.
    pub(crate) fn change(&mut self, specs: Vec<FollowerSpec>) {
        let (stay, go): (Vec<_>, Vec<_>) = std::mem::take(&mut self.all)
            .into_iter()
            .partition(|following| specs.iter().any(|spec| spec.name == following.name));
        self.all = stay;
        for following in &go {
            following.queue.close();
        }
        self.ending.extend(go);
        self.ending.retain_mut(|following| !following.has_ended(Duration::ZERO));
        for spec in specs {
            if let Some(same) = self.all.iter_mut().find(|following| following.name == spec.name) {
                same.on_full = spec.on_full;
                continue;
            }
            let name = spec.name.clone();
            match Following::start(spec, &self.counters) {
                Ok(following) => self.all.push(following),
                Err(error) => {
                    add(&self.counters.follower_errors, 1);
                    // Nobody counts its rows: none of them get anywhere.
                    error!(sink = name, %error, "no thread can be started for the sink: results are missing there");
                }
            }
        }
    }

    /// Hands a batch to each of them, without waiting.
    pub(crate) fn hand_over(&mut self, batch: ResultBatch) {
        let batch = Arc::new(batch);
        for following in &mut self.all {
            following.hand_over(&batch);
        }
    }

    /// Waits until each has room for another batch. False if one has none after `at_most`.
    pub(crate) fn have_room(&mut self, at_most: Duration) -> bool {
        self.all.iter_mut().all(|following| following.has_room(at_most))
    }

    /// Nothing more comes: each ends once it has taken what waits for it.
    pub(crate) fn close(&self) {
        for following in &self.all {
            following.queue.close();
        }
    }

    /// Waits until each has ended. False if one has not after `at_most`.
    pub(crate) fn have_ended(&mut self, at_most: Duration) -> bool {
        self.all.iter_mut().chain(&mut self.ending).all(|following| following.has_ended(at_most))
    }

    /// Gives up those that have not ended: what they have not taken they will not get. Their threads
    /// hang in a system call, until the process ends.
    pub(crate) fn abandon(&mut self) {
        for following in self.all.iter_mut().chain(&mut self.ending) {
            // To wait for the thread would be to hang with it.
            following.thread = None;
            let batches = following.queue.end(Missing::Late);
            if !batches.is_empty() {
                add(&self.counters.follower_batches_dropped, batches.len() as u64);
                let rows = following.wanted.miss(&batches, &following.counted, Missing::Late);
                let sink = following.name.as_str();
                warn!(sink, rows, "the sink did not take its results in time: they are missing there");
            }
        }
    }
}

/// Lets the threads end, also where a writer could not be started.
impl Drop for Followers {
    fn drop(&mut self) {
        self.close();
    }
}

impl Following {
    fn start(spec: FollowerSpec, counters: &Arc<WriterCounters>) -> io::Result<Self> {
        let FollowerSpec { name, pipelines, on_full, follower } = spec;
        let queue = Arc::new(BatchQueue::new(Arc::clone(counters)));
        let counted = counters.of_sink(&name);
        let wanted = Wanted(pipelines);
        let work = Work {
            name: name.clone(),
            wanted: wanted.clone(),
            follower,
            failing: false,
            queue: Arc::clone(&queue),
            counted: Arc::clone(&counted),
            counters: Arc::clone(counters),
        };
        let thread = thread::Builder::new().name(format!("follow-{name}")).spawn(move || run(work))?;
        Ok(Self { name, wanted, on_full, queue, counted, thread: Some(thread), behind: false })
    }

    /// Hands it a batch, without waiting. What it does not get is counted.
    fn hand_over(&mut self, batch: &Arc<ResultBatch>) {
        let missed = std::slice::from_ref(batch);
        if self.on_full == OnFull::DropNewest && !self.queue.wait_for_room(Duration::ZERO) {
            self.wanted.miss(missed, &self.counted, Missing::Full);
            if !std::mem::replace(&mut self.behind, true) {
                warn!(
                    sink = self.name,
                    "the sink does not keep up: what it has no room for is left out there"
                );
            }
            return;
        }
        match self.queue.push(Arc::clone(batch)) {
            Ok(true) if std::mem::take(&mut self.behind) => {
                let rows = self.counted.missing(Missing::Full);
                info!(sink = self.name, left_out = rows, "the sink keeps up again");
            }
            Ok(_) => {}
            Err(reason) => {
                self.wanted.miss(missed, &self.counted, reason);
            }
        }
    }

    fn has_room(&mut self, at_most: Duration) -> bool {
        if self.on_full == OnFull::DropNewest {
            return true;
        }
        let room = self.queue.wait_for_room(at_most);
        if !room && !self.behind {
            self.behind = true;
            warn!(sink = self.name, "the sink does not keep up: results wait for it, and probing slows down");
        }
        room
    }

    fn has_ended(&mut self, at_most: Duration) -> bool {
        let ended = self.queue.wait_for_end(at_most);
        if ended && let Some(thread) = self.thread.take() {
            // Nothing of it is left to do; a panic was caught and told before.
            let _ = thread.join();
        }
        ended
    }
}

/// The pipelines whose results a follower wants; all where there are none.
#[derive(Clone)]
struct Wanted(Option<HashSet<Arc<str>>>);

impl Wanted {
    /// The part of a batch that is wanted; none if that is nothing.
    fn part(&self, batch: &Arc<ResultBatch>) -> Result<Option<Arc<ResultBatch>>, ArrowError> {
        match &self.0 {
            None => Ok(Some(Arc::clone(batch))),
            Some(wanted) => Ok(only_pipelines(batch, wanted)?.map(Arc::new)),
        }
    }

    /// Counts rows that a follower does not get. Returns how many they are.
    fn miss(&self, batches: &[Arc<ResultBatch>], counted: &SinkCounters, reason: Missing) -> u64 {
        let rows = |batch| self.part(batch).ok().flatten().map_or(0, |part| part.probes.num_rows() as u64);
        let rows = batches.iter().map(rows).sum();
        counted.miss(reason, rows);
        rows
    }
}

/// A follower at work, on its own thread.
struct Work {
    name: String,
    wanted: Wanted,
    follower: Box<dyn Follower>,
    /// Whether the last batch failed.
    failing: bool,
    queue: Arc<BatchQueue>,
    counted: Arc<SinkCounters>,
    counters: Arc<WriterCounters>,
}

/// Runs a follower's thread. A fault in it ends that follower only.
fn run(work: Work) {
    let (sink, wanted, counted) = (work.name.clone(), work.wanted.clone(), Arc::clone(&work.counted));
    let (queue, counters) = (Arc::clone(&work.queue), Arc::clone(&work.counters));
    let outcome = catch_unwind(AssertUnwindSafe(|| work.follow()));
    // Before anything is logged: that may fail too, and the sink must not wait for what is gone.
    let reason = if outcome.is_ok() { Missing::Unread } else { Missing::Failed };
    let batches = queue.end(reason);
    let rows = wanted.miss(&batches, &counted, reason);
    if outcome.is_err() {
        add(&counters.follower_batches_dropped, batches.len() as u64);
        add(&counters.followers_ended, 1);
        error!(sink, rows, "the sink has failed and gets nothing more: results are missing there");
    }
}

impl Work {
    fn follow(mut self) {
        while let Some(batch) = self.queue.next() {
            let part = match self.wanted.part(&batch) {
                Ok(None) => continue,
                Ok(Some(part)) => part,
                Err(error) => {
                    self.note(Err(io::Error::other(error)), &batch);
                    continue;
                }
            };
            let delivered = self.follower.deliver(&part);
            if !self.note(delivered, &batch) {
                return;
            }
        }
    }

    /// Counts a failure, and logs each change of state once. False if nobody reads any more.
    fn note(&mut self, delivered: io::Result<()>, batch: &Arc<ResultBatch>) -> bool {
        let sink = self.name.as_str();
        let rows = || self.wanted.part(batch).ok().flatten().map_or(0, |part| part.probes.num_rows() as u64);
        match delivered {
            Ok(()) => {
                add(&self.counted.rows, rows());
                if std::mem::take(&mut self.failing) {
                    let missing = self.counted.missing(Missing::Failed);
                    info!(sink, missing, "the sink takes results again");
                }
            }
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                add(&self.counters.followers_ended, 1);
                info!(sink, "nobody reads the sink any more");
                return false;
            }
            Err(error) => {
                add(&self.counters.follower_errors, 1);
                self.wanted.miss(std::slice::from_ref(batch), &self.counted, Missing::Failed);
                if !self.failing {
                    warn!(sink, %error, "the sink fails: results are missing there");
                    self.failing = true;
                }
            }
        }
        true
    }
}

/// The rows of some pipelines; none if there are none.
fn only_pipelines(
    batch: &ResultBatch,
    wanted: &HashSet<Arc<str>>,
) -> Result<Option<ResultBatch>, ArrowError> {
    let probes = only_rows(&batch.probes, wanted)?;
    if probes.num_rows() == 0 {
        return Ok(None);
    }
    Ok(Some(ResultBatch { probes, checks: only_rows(&batch.checks, wanted)? }))
}

fn only_rows(rows: &RecordBatch, wanted: &HashSet<Arc<str>>) -> Result<RecordBatch, ArrowError> {
    let Some(pipelines) = rows.column_by_name("pipeline") else { return Ok(rows.clone()) };
    let mask: BooleanArray = pipelines
        .as_string::<i32>()
        .iter()
        .map(|name| Some(name.is_some_and(|name| wanted.contains(name))))
        .collect();
    if mask.true_count() == rows.num_rows() {
        return Ok(rows.clone());
    }
    filter_record_batch(rows, &mask)
}

#[cfg(test)]
mod tests;
