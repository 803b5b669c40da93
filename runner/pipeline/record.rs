//! `[record]`: attempts are kept as the checks saw them, so that `probity replay` can have them judged
//! again, by the same checks or by better ones.
//!
//! A record is a convenience, a result is not. So nothing here ever waits in the data path or fails it:
//! one thread of its own writes what a bounded queue holds, and what does not fit is left out and
//! counted. `plan` is what a pipeline file says, `queue` what waits, `files` what lies on the disk; `read`
//! finds records again and `replay` has them judged.

mod plan;
mod queue;
mod files;
mod read;
mod replay;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::{error, info, warn};

use self::files::{NotKept, RecordFiles};
use self::queue::{Next, RecordQueue};
use super::Built;
use crate::check::{CallNote, Record};
use crate::clock::Clock;
use crate::model::ProbeResult;
use crate::sink::Folders;

pub use self::plan::{RecordPlan, When};
pub use self::read::{RecordReader, Selection, Unreadable};
pub use self::replay::{Change, Compared, Replay, Replayed};

/// How often the room on the disk is looked at while nothing is recorded.
const LOOK: Duration = Duration::from_secs(5);

/// Where the records of a pipeline lie: in the state folder that stands beside its results.
pub fn records_folder(pipeline: &Built, data: &Path, runner: &str) -> PathBuf {
    let results = pipeline.sinks.parquet.as_ref().map(|plan| data.join(&plan.path));
    let beside = results.and_then(|results| Folders::new(&results, runner).ok());
    let state = beside.map_or_else(|| data.join("state"), |folders| folders.root);
    state.join(runner).join("records").join(&*pipeline.name)
}

/// What became of attempts that were to be recorded.
#[derive(Debug, Default)]
pub struct RecordCounters {
    /// Records written.
    pub written: AtomicU64,
    /// Attempts left out since the disk was slower than they came.
    pub left_out: AtomicU64,
    /// Attempts that could not be written: the disk is full or fails, or one is longer than all may be.
    pub failed: AtomicU64,
    /// Files removed to keep to `max_size`.
    pub files_removed: AtomicU64,
}

/// An attempt to be recorded.
#[derive(Debug)]
struct Job {
    pipeline: Arc<Built>,
    row: ProbeResult,
    notes: Vec<CallNote>,
}

/// Takes attempts and has them written by a thread of its own.
#[derive(Debug)]
pub struct Recorder {
    folders: RecordFolders,
    clock: Clock,
    counters: Arc<RecordCounters>,
    /// The thread's queue, once anything is to be recorded.
    queue: OnceLock<Arc<RecordQueue<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    has_left_out: AtomicBool,
}

impl Recorder {
    /// A recorder that records nothing so far.
    pub fn new(folders: RecordFolders, clock: &Clock) -> Self {
        Self {
            folders,
            clock: clock.clone(),
            counters: Arc::default(),
            queue: OnceLock::new(),
            thread: Mutex::default(),
            has_left_out: AtomicBool::new(false),
        }
    }

    /// Starts the thread, where any of the pipelines records and it does not run yet. It mends what an
    /// earlier run left torn.
    pub(super) fn start_for<'a>(&self, pipelines: impl Iterator<Item = &'a Built>) -> io::Result<()> {
        let recording: Vec<_> = pipelines.filter(|pipeline| pipeline.record.is_some()).collect();
        if recording.is_empty() || self.queue.get().is_some() {
            return Ok(());
        }
        let queue = Arc::new(RecordQueue::default());
        let mut work = Work {
            queue: Arc::clone(&queue),
            counters: Arc::clone(&self.counters),
            clock: self.clock.clone(),
            folders: self.folders.clone(),
            places: HashMap::new(),
        };
        for pipeline in recording {
            work.place(pipeline);
        }
        let thread = thread::Builder::new().name("record".to_owned()).spawn(move || work.run())?;
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        let _ = self.queue.set(queue);
        Ok(())
    }

    /// Has an attempt recorded, if its pipeline wants that. Never waits.
    pub(super) fn offer(&self, pipeline: &Arc<Built>, row: &ProbeResult, notes: Vec<CallNote>) {
        let Some(plan) = pipeline.record.as_ref().filter(|plan| plan.wants(row.outcome)) else { return };
        let job = || Job { pipeline: Arc::clone(pipeline), row: row.clone(), notes };
        let bytes = row.exchange.body.len().min(plan.max_body);
        if self.queue.get().is_some_and(|queue| queue.push(bytes, job)) {
            return;
        }
        self.counters.left_out.fetch_add(1, Ordering::Relaxed);
        if !self.has_left_out.swap(true, Ordering::Relaxed) {
            warn!("attempts come faster than they can be recorded: records are missing");
        }
    }

    /// What became of the attempts.
    pub fn counters(&self) -> &RecordCounters {
        &self.counters
    }

    /// Writes what waits, and ends. What is not written after `at_most` is left out. Blocks.
    pub(super) fn finish(&self, at_most: Duration) {
        let Some(queue) = self.queue.get() else { return };
        queue.close();
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        if queue.wait_for_end(at_most) {
            if thread.join().is_err() {
                error!("the recorder ended by a fault of the runner: records are missing");
            }
            return;
        }
        // To wait for the thread would be to hang with it in a system call, until the process ends.
        let left = queue.end();
        self.counters.left_out.fetch_add(left, Ordering::Relaxed);
        warn!(records = left, "records could not be written in time: they are missing");
    }
}

/// Lets the thread end, also where a runner could not be started.
impl Drop for Recorder {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.get() {
            queue.close();
        }
    }
}

/// What names the folders and files of a run's records.
#[derive(Debug, Clone)]
pub struct RecordFolders {
    /// The data folder.
    pub data: PathBuf,
    /// The runner's name. A run that ends by itself uses that of the runner, so that its records outlast it.
    pub runner: String,
    /// The identity of the run.
    pub run_id: Arc<str>,
}

/// The recorder at work, on its own thread.
struct Work {
    queue: Arc<RecordQueue<Job>>,
    counters: Arc<RecordCounters>,
    clock: Clock,
    folders: RecordFolders,
    places: HashMap<Arc<str>, Place>,
}

/// Where the records of one pipeline go.
struct Place {
    files: RecordFiles,
    is_failing: bool,
}

impl Work {
    fn run(mut self) {
        let _ended = EndOnDrop(Arc::clone(&self.queue));
        loop {
            match self.queue.next(LOOK) {
                Next::Job(job) => self.write(&job),
                Next::Idle => self.give_way(),
                Next::End => return,
            }
        }
    }

    /// Records that lie there must not take the place of results, also while nothing is recorded.
    fn give_way(&mut self) {
        for place in self.places.values_mut() {
            // What is wrong with the disk will be told by the next record.
            let removed = place.files.give_way().unwrap_or_default();
            self.counters.files_removed.fetch_add(removed, Ordering::Relaxed);
        }
    }

    fn place(&mut self, pipeline: &Built) -> &mut Place {
        let RecordFolders { data, runner, run_id } = &self.folders;
        self.places.entry(Arc::clone(&pipeline.name)).or_insert_with(|| {
            let files = RecordFiles::new(records_folder(pipeline, data, runner), Arc::clone(run_id));
            files.mend();
            Place { files, is_failing: false }
        })
    }

    fn write(&mut self, job: &Job) {
        let Some(plan) = &job.pipeline.record else { return };
        let mut record = Record::new(&job.row, &job.notes, &job.pipeline.checks, &self.folders.run_id);
        plan.rules.apply(&mut record);
        let line = record.to_line();
        let now = self.clock.wall();
        let place = self.place(&job.pipeline);
        let kept = place.files.append(&line, plan.max_size, now);
        let pipeline = &*job.pipeline.name;
        match &kept {
            Ok(_) if place.is_failing => info!(pipeline, "records are written again"),
            Err(reason) if !place.is_failing => {
                let folder = place.files.folder().display();
                warn!(pipeline, %folder, %reason, "records cannot be written, and are missing");
            }
            _ => {}
        }
        place.is_failing = kept.is_err();
        self.count(&kept);
    }

    fn count(&self, kept: &Result<u64, NotKept>) {
        let counters = &self.counters;
        match kept {
            Ok(removed) => {
                counters.written.fetch_add(1, Ordering::Relaxed);
                counters.files_removed.fetch_add(*removed, Ordering::Relaxed);
            }
            Err(_) => {
                counters.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Tells whoever waits that the thread has ended, however it did.
struct EndOnDrop(Arc<RecordQueue<Job>>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}
