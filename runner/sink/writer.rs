//! The sink's thread: gathers results, writes them to the journal, then tells the followers.
//!
//! One thread a results folder, fed by a bounded queue. A panic in it ends the process: a sink that limps
//! on would lose results silently, while the next start recovers every journalled one. Followers have
//! threads of their own, which are given up at a stop's deadline.

mod sender;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use tokio::runtime::{self, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tracing::{error, info, warn};

pub use self::sender::{OnFull, ResultSender, SendRefused};
use self::sender::{Queued, Waiting};
use super::SinkError;
use super::batch::{BatchBuilder, ResultBatch};
use super::counters::{WriterCounters, add, read};
use super::follow::{FollowerSpec, Followers};
use super::parquet::segment::Day;
use super::parquet::store::{Rows, Store};
use super::parquet::{ParquetSpec, StoreRules};
use super::stop::{SinkClock, Stop, StopSignal};
use crate::clock::Clock;

/// Results of one batch at most.
const BATCH_ROWS: usize = 1_024;
/// How long the first result of a batch waits for others, in steps: a thread that woke for each result
/// would spend more on waking than on writing.
const LINGER_STEP: Duration = Duration::from_millis(10);
const LINGER_STEPS: usize = 10;
/// How often rotation and syncs are looked after while segments are open, and while none is.
const TICK: Duration = Duration::from_millis(100);
const IDLE_TICK: Duration = Duration::from_secs(1);
/// Pauses between attempts to write to a full or failing disk.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long a stop waits for the thread beyond its deadline: a conversion is not interrupted in a file.
const STOP_SLACK: Duration = Duration::from_secs(5);
/// How long a fault may take to be logged before the process ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A writer to be started.
pub struct WriterSpec {
    /// The runner's name.
    pub runner: Arc<str>,
    /// The identity of this run, a UUID.
    pub run_id: Arc<str>,
    /// Where results are kept; none if only followers get them.
    pub parquet: Option<ParquetSpec>,
    /// Who else gets results.
    pub followers: Vec<FollowerSpec>,
    /// The number of its first file in this run, from 1: one that writes where another one of the run did goes
    /// on counting.
    pub first_number: u32,
    /// Results that may wait in the queue, at least 1.
    pub capacity: usize,
    /// The clock.
    pub clock: Clock,
}

/// A writer at work. Dropping it does not stop it: the thread ends once all senders are gone too.
#[derive(Debug)]
pub struct Writer {
    sender: ResultSender,
    stop: StopSignal,
    counters: Arc<WriterCounters>,
    done: oneshot::Receiver<WriterSummary>,
}

/// How a writer that is at work shall go on: from a point in the order of its results.
pub struct WriterChange {
    /// How files are written; nothing changes for a writer without files.
    pub rules: Option<StoreRules>,
    /// Who else gets results: those of a known name go on as they are.
    pub followers: Vec<FollowerSpec>,
}

/// What a writer has done, at its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriterSummary {
    /// Results that are in a journal or in files.
    pub rows: u64,
    /// Verdicts that are in a journal or in files.
    pub check_rows: u64,
    /// Results of earlier runs that were found in journals and published.
    pub rows_recovered: u64,
    /// Results that could not be written.
    pub rows_lost: u64,
    /// Files published, recovered ones included.
    pub files_published: u64,
    /// The last thousand of them.
    pub files: Vec<PathBuf>,
    /// Journals that are left for the next start.
    pub journals_left: u64,
}

impl Writer {
    /// Opens the sink and starts its thread. Makes folders and takes the lock, so it may block for a
    /// moment; journals of earlier runs are converted by another thread while results come in already.
    pub fn start(spec: WriterSpec) -> Result<Self, SinkError> {
        let WriterSpec { runner, run_id, parquet, followers, first_number, capacity, clock } = spec;
        let clock = SinkClock::here(clock);
        let counters = Arc::new(WriterCounters::default());
        let (stop_signal, stop) = StopSignal::new(clock.clone());
        let store = parquet
            .map(|spec| {
                Store::open(
                    &spec,
                    &runner,
                    Arc::clone(&run_id),
                    Arc::clone(&counters),
                    stop.clone(),
                    clock.clone(),
                )
            })
            .transpose()?
            .map(|store| store.numbered_from(first_number));
        let (queue, received) = mpsc::channel(capacity.max(1));
        let (report, done) = oneshot::channel();
        let thread = SinkThread {
            queue: received,
            stop,
            clock,
            // Timers of its own: they keep pace whatever the reactor does, and outlive it.
            runtime: runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .map_err(SinkError::Thread)?,
            store,
            followers: Followers::start(followers, Arc::clone(&counters)).map_err(SinkError::Thread)?,
            builder: BatchBuilder::new(runner, run_id, BATCH_ROWS),
            gathered: Vec::with_capacity(BATCH_ROWS),
            counters: Arc::clone(&counters),
        };
        thread::Builder::new()
            .name("sink-write".to_owned())
            .spawn(move || run_or_abort(thread, report))
            .map_err(SinkError::Thread)?;
        let sender = ResultSender { queue, counters: Arc::clone(&counters) };
        Ok(Self { sender, stop: stop_signal, counters, done })
    }

    /// A sender for results.
    pub fn sender(&self) -> ResultSender {
        self.sender.clone()
    }

    /// What the writer counts.
    pub fn counters(&self) -> &Arc<WriterCounters> {
        &self.counters
    }

    /// Stops the writer, or brings forward a stop that is under way.
    pub fn stop_signal(&self) -> StopSignal {
        self.stop.clone()
    }

    /// Waits until all senders are gone (or a stop was asked for), their results are written, all files
    /// are sealed and the followers have taken everything, and tells what was done. A stop bounds all of
    /// that by its deadline: what is not sealed then stays in its journal, for the next start. Fails with
    /// [`SinkError::StillWriting`] some seconds later, if the thread hangs in a system call.
    pub async fn drained(self) -> Result<WriterSummary, SinkError> {
        let Self { sender, stop, done, .. } = self;
        drop(sender);
        tokio::select! {
            biased;
            summary = done => summary.map_err(|_| SinkError::StillWriting),
            () = stop.overdue(STOP_SLACK) => Err(SinkError::StillWriting),
        }
    }
}

/// Runs the thread; a fault in it ends the process.
fn run_or_abort(thread: SinkThread, report: oneshot::Sender<WriterSummary>) {
    // Nobody waits for the summary if the writer was dropped.
    let run = || thread.run().map(|summary| drop(report.send(summary)));
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => abort_after(move || {
            error!(%error, "the sink cannot go on; the process ends, and the next start recovers what was written");
        }),
        Err(_panic) => abort_after(|| {
            error!("the sink has failed; the process ends, and the next start recovers what was written");
        }),
    }
}

/// Logs on a thread of its own, then ends the process: a log that panics or hangs must not prevent that.
fn abort_after(log: impl FnOnce() + Send + 'static) -> ! {
    let (logging, logged) = sync_channel::<()>(0);
    let log = move || {
        let _until_the_end = logging;
        log();
    };
    // Where no thread can be had, nothing is logged.
    let _ = thread::Builder::new().name("sink-abort".to_owned()).spawn(log);
    let _ = logged.recv_timeout(LAST_WORDS);
    process::abort()
}

/// The sink's thread.
struct SinkThread {
    queue: mpsc::Receiver<Queued>,
    stop: Stop,
    clock: SinkClock,
    runtime: Runtime,
    store: Option<Store>,
    followers: Followers,
    builder: BatchBuilder,
    gathered: Vec<Queued>,
    counters: Arc<WriterCounters>,
}

impl SinkThread {
    fn run(mut self) -> Result<WriterSummary, SinkError> {
        let mut open = true;
        while open {
            open = self.gather();
            self.write_gathered()?;
            self.tick();
            self.wait_for_followers();
        }
        // They go on while files are sealed.
        self.followers.close();
        if let Some(store) = &mut self.store {
            store.finish();
        }
        while !self.followers.have_ended(TICK) {
            if self.stop.expired() {
                self.followers.abandon();
            }
        }
        Ok(self.summary())
    }

    fn tick(&mut self) {
        if let Some(store) = &mut self.store {
            store.tick(self.clock.moment());
        }
    }

    /// Waits while a follower is too far behind: then results wait in the queue, and probing slows down.
    /// Not once a stop was asked for: no more can come then than the queue holds, and that has to become
    /// safe and sealed before the deadline, whatever a follower does.
    fn wait_for_followers(&mut self) {
        while !self.stop.requested() && !self.followers.have_room(TICK) {
            self.tick();
        }
    }

    /// Waits for results, or for the next tick. False once no more can come.
    fn gather(&mut self) -> bool {
        let idle = self.store.as_ref().is_none_or(Store::is_idle);
        let Self { queue, stop, gathered, runtime, .. } = self;
        runtime.block_on(async {
            if stop.requested() {
                queue.close();
            }
            let received = tokio::select! {
                received = queue.recv_many(gathered, BATCH_ROWS) => received,
                () = stop.changed() => return true,
                () = sleep(if idle { IDLE_TICK } else { TICK }) => return true,
            };
            if received == 0 {
                return false;
            }
            for _ in 0..LINGER_STEPS {
                if gathered.len() + queue.len() >= BATCH_ROWS || queue.is_closed() || stop.requested() {
                    break;
                }
                sleep(LINGER_STEP).await;
            }
            while gathered.len() < BATCH_ROWS
                && let Ok(queued) = queue.try_recv()
            {
                gathered.push(queued);
            }
            true
        })
    }

    /// Writes what was gathered, and changes what is to be changed where it came.
    fn write_gathered(&mut self) -> Result<(), SinkError> {
        let mut results = Vec::with_capacity(self.gathered.len());
        for queued in std::mem::take(&mut self.gathered) {
            match queued {
                Queued::Result(waiting) => results.push(*waiting),
                Queued::Change(change) => {
                    self.write(std::mem::take(&mut results))?;
                    self.change(*change);
                }
            }
        }
        self.write(results)
    }

    fn change(&mut self, change: WriterChange) {
        if let (Some(store), Some(rules)) = (&mut self.store, &change.rules) {
            store.change(rules, self.clock.moment());
        }
        self.followers.change(change.followers);
    }

    /// Writes results: a batch a UTC day.
    fn write(&mut self, mut gathered: Vec<Waiting>) -> Result<(), SinkError> {
        add(&self.counters.rows_taken, gathered.len() as u64);
        let mut finished = 0;
        while let Some(first) = gathered.first() {
            let first = first.result.started_at;
            let day = Day::of(first);
            let mut checks = 0;
            for queued in gathered.iter().filter(|queued| Day::of(queued.result.started_at) == day) {
                self.builder.push_hashed(&queued.result, queued.body_hash)?;
                checks += queued.result.verdicts.len() as u64;
            }
            let rows = Rows { day, first, probes: self.builder.len() as u64, checks };
            gathered.retain(|queued| Day::of(queued.result.started_at) != day);
            let batch = self.builder.finish()?;
            if self.keep(&batch, rows)? {
                finished += rows.probes;
                self.followers.hand_over(batch);
            }
        }
        // Of all days at once: whoever waits for one row counts those before it.
        add(&self.counters.rows_finished, finished);
        Ok(())
    }

    /// Writes a batch to the journal, as often as it takes. False if a stop's deadline came first: then
    /// its rows are lost, counted and logged.
    fn keep(&mut self, batch: &ResultBatch, rows: Rows) -> Result<bool, SinkError> {
        let Some(store) = &mut self.store else { return Ok(true) };
        store.encode(batch)?;
        let mut pause = FIRST_PAUSE;
        let mut blocked = false;
        while let Err(error) = store.write(rows, self.clock.moment()) {
            add(&self.counters.journal_errors, 1);
            if !blocked {
                blocked = true;
                self.counters.blocked.store(true, Ordering::Release);
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                warn!(%error, cause, "the journal cannot be written; results wait, and probing slows down");
            }
            if self.stop.expired() {
                add(&self.counters.rows_lost, rows.probes);
                error!(rows = rows.probes, %error, "results are lost: the journal could not be written until the end");
                return Ok(false);
            }
            let Self { runtime, stop, queue, .. } = self;
            if stop.requested() {
                queue.close();
            }
            runtime.block_on(async {
                tokio::select! {
                    () = stop.changed() => {}
                    () = sleep(pause) => {}
                }
            });
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        if blocked {
            self.counters.blocked.store(false, Ordering::Release);
            info!("the journal is written again");
        }
        Ok(true)
    }

    fn summary(&self) -> WriterSummary {
        let counters = &self.counters;
        WriterSummary {
            rows: match self.store {
                Some(_) => read(&counters.rows_journalled),
                None => read(&counters.rows_taken),
            },
            check_rows: read(&counters.check_rows_journalled),
            rows_recovered: read(&counters.rows_recovered),
            rows_lost: read(&counters.rows_lost),
            files_published: read(&counters.files),
            files: self.store.as_ref().map(|store| store.published().paths()).unwrap_or_default(),
            journals_left: read(&counters.journals_waiting),
        }
    }
}

#[cfg(test)]
mod tests;
