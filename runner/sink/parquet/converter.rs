//! The thread that converts journals: first those that earlier runs left, then each one that is sealed.
//! Writing goes on meanwhile. A conversion that fails is tried again; a journal that cannot be read
//! never stands in the way of the others.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::adopt::adopt_all;
use super::convert::{Converted, convert_into, quarantine};
use super::finished::Finished;
use super::folders::Folders;
use super::publish::sweep;
use super::retain::{Keep, Refused, Retained, retain};
use super::segment::{Day, SegmentName};
use crate::sink::SinkError;
use crate::sink::bucket::BucketSpec;
use crate::sink::bucket::queue::UploadQueue;
use crate::sink::bucket::waiting::confirmed;
use crate::sink::counters::{WriterCounters, add};
use crate::sink::stop::Stop;

/// Sealed journals that may wait before writing waits too.
const WAITING_JOURNALS: usize = 1_024;
/// Paths of published files that are kept for the summary; all are counted.
const KEPT_PATHS: usize = 1_000;
/// How much the thread yields to the others of the program (`setpriority(2)`: on Linux, the niceness of one thread): it
/// works for seconds at once, and probes that are due meanwhile come first. Where they want all CPUs, a quarter of one is
/// left to it, several times of what their rows need.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The files published last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Published(Arc<Mutex<VecDeque<PathBuf>>>);

impl Published {
    fn push(&self, files: Vec<PathBuf>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(files);
        let surplus = kept.len().saturating_sub(KEPT_PATHS);
        kept.drain(..surplus);
    }

    /// The last thousand, oldest first.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// The converting thread, seen by the writer.
pub(crate) struct Converter {
    jobs: Option<SyncSender<PathBuf>>,
    thread: Option<JoinHandle<()>>,
    counters: Arc<WriterCounters>,
    keeping: Arc<Mutex<Keeping>>,
}

/// How long results are kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keeping {
    /// For ever without.
    pub(crate) keep: Option<Keep>,
    /// Who has to have a copy of what is removed.
    pub(crate) bucket: Option<Arc<BucketSpec>>,
}

impl Converter {
    /// Starts the thread; `found` are journals that earlier runs of this runner left.
    pub(crate) fn start(
        folders: Arc<Folders>,
        found: Vec<PathBuf>,
        published: Published,
        uploads: Arc<UploadQueue>,
        counters: Arc<WriterCounters>,
        stop: Stop,
        keeping: Keeping,
    ) -> Result<Self, SinkError> {
        let keeping = Arc::new(Mutex::new(keeping));
        let (sender, jobs) = sync_channel(WAITING_JOURNALS);
        add(&counters.journals_waiting, found.len() as u64);
        let ready = found.into_iter().map(Job::left).collect();
        let worker = Worker {
            folders,
            counters: Arc::clone(&counters),
            stop,
            published,
            uploads,
            jobs,
            ready,
            failed: Vec::new(),
            pause: FIRST_PAUSE,
            closed: false,
            retention: Retention { keeping: Arc::clone(&keeping), done: None },
        };
        let thread = thread::Builder::new()
            .name("sink-convert".to_owned())
            .spawn(move || worker.run())
            .map_err(SinkError::Thread)?;
        Ok(Self { jobs: Some(sender), thread: Some(thread), counters, keeping })
    }

    /// Keeps results so long from the next published file on.
    pub(crate) fn keep(&self, keeping: Keeping) {
        *self.keeping.lock().unwrap_or_else(PoisonError::into_inner) = keeping;
    }

    /// Hands over a sealed journal. Waits if a thousand are waiting.
    pub(crate) fn submit(&self, journal: PathBuf) {
        add(&self.counters.journals_waiting, 1);
        if let Some(jobs) = &self.jobs
            && jobs.send(journal).is_err()
        {
            error!("no thread converts journals any more; they are converted at the next start");
        }
    }

    /// Waits until all journals are converted, or until the stop's deadline.
    pub(crate) fn finish(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the thread that converts journals has died; they are converted at the next start");
        }
    }
}

/// The thread works under the writer's lock, so it must not outlive it.
impl Drop for Converter {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The day of a journal's results.
fn day_of(journal: &Path) -> Option<Day> {
    let name = journal.file_name()?.to_str()?;
    Day::of_date(&SegmentName::of_journal(name)?.date())
}

/// One journal to convert.
struct Job {
    journal: PathBuf,
    /// Whether an earlier run left it.
    left: bool,
}

impl Job {
    fn left(journal: PathBuf) -> Self {
        Self { journal, left: true }
    }
}

/// The converting thread.
struct Worker {
    folders: Arc<Folders>,
    counters: Arc<WriterCounters>,
    stop: Stop,
    published: Published,
    /// Where files go that a bucket wants as well.
    uploads: Arc<UploadQueue>,
    jobs: Receiver<PathBuf>,
    /// To be tried now.
    ready: VecDeque<Job>,
    /// To be tried again after a pause.
    failed: Vec<Job>,
    pause: Duration,
    /// Whether no more journals come: what fails now is left to the next start.
    closed: bool,
    retention: Retention,
}

/// When old results are looked for.
struct Retention {
    keeping: Arc<Mutex<Keeping>>,
    /// For what it was done last: by data time, nothing more expires before there are results of another day.
    done: Option<(Keep, Option<Day>)>,
}

impl Worker {
    fn run(mut self) {
        // A courtesy: without it, the work is done all the same. Elsewhere it would be the whole program's.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(None, NICENESS);
        if let Err(error) = sweep(&self.folders) {
            warn!(%error, "files that a crash left on their way are still there");
        }
        let adopted = adopt_all(&self.folders);
        add(&self.counters.journals_waiting, adopted.len() as u64);
        self.ready.extend(adopted.into_iter().map(Job::left));
        self.retain(None);
        while let Some(job) = self.next_job() {
            if self.attempt(&job) {
                self.retain(day_of(&job.journal));
                self.counters.journals_waiting.fetch_sub(1, Ordering::AcqRel);
                self.pause = FIRST_PAUSE;
            } else if !self.closed {
                self.failed.push(job);
            }
        }
    }

    /// Removes what has expired, where results of `day` may have made something expire.
    fn retain(&mut self, day: Option<Day>) {
        let Keeping { keep, bucket } =
            self.retention.keeping.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(keep) = keep else { return };
        // The last one and not the newest: a day of a clock that was wrong must not stand for all that follow.
        let newest = day.or(self.retention.done.and_then(|(_, newest)| newest));
        if self.retention.done == Some((keep, newest)) {
            return;
        }
        let removed =
            bucket.map(|bucket| confirmed(&self.folders, &bucket)).transpose().and_then(|confirmed| {
                let is_needed = |place: &Path| {
                    let has_it = |known: &HashMap<String, Finished>| {
                        place.to_str().is_some_and(|place| known.contains_key(place))
                    };
                    !confirmed.as_ref().is_none_or(has_it)
                };
                retain(&self.folders, keep, &is_needed)
            });
        let Retained { files, bytes, is_partial, refused } = match removed {
            Ok(done) => done,
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                warn!(%error, cause, "old results could not be removed; it is tried again after the next file");
                return;
            }
        };
        if !is_partial {
            self.retention.done = Some((keep, newest));
        }
        add(&self.counters.files_removed, files);
        add(&self.counters.bytes_removed, bytes);
        let folder = self.folders.results.display();
        if files > 0 {
            info!(%folder, files, bytes, "removed results that are older than \"keep\" says");
        }
        if let Some(Refused { percent, days: [first, last, stays, newest] }) = refused {
            add(&self.counters.removals_refused, 1);
            error!(%folder, percent, first, last, stays, newest,
                "\"keep\" would remove more of the results than \"keep_max_percent\" allows, and what stays does not reach back \
                 so far as to be kept: was the clock wrong; nothing is removed until you remove the days that are wrong, or raise \
                 \"keep_max_percent\"");
        }
    }

    /// Waits for the next journal; none once no more can come or the deadline is over.
    fn next_job(&mut self) -> Option<Job> {
        loop {
            if self.stop.expired() {
                return None;
            }
            if let Some(job) = self.ready.pop_front() {
                return Some(job);
            }
            let received = if self.failed.is_empty() {
                self.jobs.recv().map_err(RecvTimeoutError::from)
            } else {
                self.jobs.recv_timeout(self.pause)
            };
            match received {
                Ok(journal) => return Some(Job { journal, left: false }),
                Err(RecvTimeoutError::Timeout) => self.pause = (self.pause * 2).min(LONGEST_PAUSE),
                Err(RecvTimeoutError::Disconnected) if self.failed.is_empty() => return None,
                Err(RecvTimeoutError::Disconnected) => self.closed = true,
            }
            self.ready.extend(self.failed.drain(..));
        }
    }

    /// Converts one journal; false if it has to be tried again.
    fn attempt(&self, job: &Job) -> bool {
        let journal = job.journal.as_path();
        let mut done = Converted::default();
        // A fault in a decoder, met by a damaged file, must not keep the others from being converted.
        let outcome = catch_unwind(AssertUnwindSafe(|| convert_into(&self.folders, journal, &mut done)));
        let first_failure = self.failed.is_empty();
        self.note(job, done);
        match outcome {
            Ok(Ok(())) => true,
            Ok(Err(error @ SinkError::NewerJournal { .. })) => {
                error!(%error, "the journal is left as it is");
                true
            }
            Ok(Err(error @ (SinkError::UnreadableJournal { .. } | SinkError::Columns(_)))) => {
                self.put_away(job, &error.to_string())
            }
            Ok(Err(error)) => {
                add(&self.counters.convert_errors, 1);
                if first_failure {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    warn!(%error, cause, journal = %journal.display(), "could not convert a journal; it is tried again");
                }
                false
            }
            Err(_panic) => self.put_away(job, "decoding it failed in an unforeseen way"),
        }
    }

    fn put_away(&self, job: &Job, reason: &str) -> bool {
        add(&self.counters.quarantined, 1);
        let journal = job.journal.display();
        error!(%journal, reason, "a journal cannot be read; it is kept in quarantine");
        match quarantine(&self.folders, &job.journal) {
            Ok(()) => true,
            Err(error) => {
                error!(%error, "the journal stays where it is");
                // Nothing else would come of another attempt.
                true
            }
        }
    }

    fn note(&self, job: &Job, done: Converted) {
        let Converted {
            rows,
            check_rows,
            files,
            finished,
            file_bytes,
            skipped_frames,
            doubled_rows,
            torn_tail,
            was_gone,
            quarantined,
        } = done;
        let counters = &self.counters;
        add(&counters.rows_published, rows);
        add(&counters.check_rows_published, check_rows);
        add(&counters.files, files.len() as u64);
        add(&counters.file_bytes, file_bytes);
        add(&counters.skipped_frames, skipped_frames);
        add(&counters.doubled_rows, doubled_rows);
        add(&counters.torn_tails, u64::from(torn_tail));
        add(&counters.quarantined, u64::from(quarantined));
        let journal = job.journal.display();
        if was_gone {
            error!(%journal, "a journal was removed before it was converted");
        }
        if quarantined {
            error!(%journal, skipped_frames, doubled_rows, "parts of a journal are damaged; the rest is published, the journal is kept in quarantine");
        }
        if job.left {
            add(&counters.rows_recovered, rows);
            if !files.is_empty() {
                info!(%journal, rows, torn_tail, "recovered the results of an earlier run");
            }
        }
        debug!(%journal, rows, check_rows, file_bytes, "converted a journal");
        self.published.push(files);
        self.uploads.push(finished);
    }
}
