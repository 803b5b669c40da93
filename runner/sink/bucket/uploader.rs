//! The thread that uploads: one file after another, with a back-off where the bucket does not take them. It has a
//! runtime of its own, since to sign a file is to hash it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{self, Runtime};
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use super::queue::{Next, UploadQueue};
use super::upload::{Bucket, UploadFault, Uploaded};
use super::{BucketSpec, waiting};
use crate::sink::SinkError;
use crate::sink::counters::{WriterCounters, add, read};
use crate::sink::parquet::Folders;
use crate::sink::parquet::finished::Finished;
use crate::sink::stop::{SinkClock, Stop};

/// The longest pause after the first failure, and after many: each pause is a part of it, by chance, so that runners
/// that failed together do not come back together.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// How often the end is looked for while something else is waited for.
const LOOK: Duration = Duration::from_millis(50);
/// Once nothing more comes, so many failures in a row end the attempts: the next start goes on with them.
const LAST_FAILURES: u32 = 3;

/// What an uploader needs.
pub(crate) struct UploaderParts {
    pub(crate) folders: Arc<Folders>,
    pub(crate) spec: Arc<BucketSpec>,
    pub(crate) queue: Arc<UploadQueue>,
    pub(crate) counters: Arc<WriterCounters>,
    pub(crate) stop: Stop,
    pub(crate) clock: SinkClock,
    /// How long it may go on once nothing more comes, where nobody asks to stop.
    pub(crate) grace: Duration,
}

/// The uploading thread, seen by the writer.
pub(crate) struct Uploader {
    spec: Arc<BucketSpec>,
    queue: Arc<UploadQueue>,
    clock: SinkClock,
    is_given_up: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Uploader {
    /// Starts the thread. It begins with what earlier runs left.
    pub(crate) fn start(parts: UploaderParts) -> Result<Self, SinkError> {
        let spec = Arc::clone(&parts.spec);
        let bucket = Bucket::open(&spec.address, &spec.settings)
            .map_err(|reason| SinkError::Bucket { bucket: spec.address.to_string(), reason })?;
        let runtime =
            runtime::Builder::new_current_thread().enable_all().build().map_err(SinkError::Thread)?;
        let (queue, clock) = (Arc::clone(&parts.queue), parts.clock.clone());
        let is_given_up = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            name: spec.address.to_string(),
            bucket,
            parts,
            is_given_up: Arc::clone(&is_given_up),
            failures: 0,
            reason: None,
        };
        queue.begin();
        let thread = thread::Builder::new()
            .name("sink-upload".to_owned())
            .spawn(move || worker.run(runtime))
            .map_err(SinkError::Thread)?;
        Ok(Self { spec, queue, clock, is_given_up, thread: Some(thread) })
    }

    /// What it uploads to.
    pub(crate) fn spec(&self) -> &BucketSpec {
        &self.spec
    }

    /// Nothing more comes: waits until all is uploaded, or until the end of the grace or the stop's deadline.
    pub(crate) fn finish(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.queue.close(self.clock.now());
        if thread.join().is_err() {
            error!(
                "the thread that uploads has died; what it has not uploaded is uploaded after the next start"
            );
        }
    }
}

/// The thread works under the writer's lock, so it must not outlive it. Whoever wants it to end in order has called
/// [`Uploader::finish`].
impl Drop for Uploader {
    fn drop(&mut self) {
        self.is_given_up.store(true, Ordering::Release);
        self.finish();
    }
}

/// The thread.
struct Worker {
    parts: UploaderParts,
    /// The bucket, for logs.
    name: String,
    bucket: Bucket,
    is_given_up: Arc<AtomicBool>,
    /// Failures in a row.
    failures: u32,
    /// Why it fails at present, as it was told.
    reason: Option<String>,
}

impl Worker {
    fn run(mut self, runtime: Runtime) {
        runtime.block_on(self.work());
        let counters = &self.parts.counters;
        let files = read(&counters.uploads_waiting);
        if files > 0 && !self.is_given_up.load(Ordering::Acquire) {
            warn!(
                bucket = self.name,
                files, "files are left to be uploaded: the next start goes on with them"
            );
        }
        self.parts.queue.end();
        // A name that is being looked up cannot be given up. Nobody needs it any more, so nobody waits for it.
        runtime.shutdown_background();
    }

    async fn work(&mut self) {
        let queue = Arc::clone(&self.parts.queue);
        loop {
            let went_on = match queue.next().await {
                Next::End => return,
                Next::Look => self.look().await,
                Next::File(file) => self.carry(file).await,
            };
            if !went_on {
                return;
            }
        }
    }

    /// Looks through the lists. False at the end.
    async fn look(&mut self) -> bool {
        match waiting::find(&self.parts.folders, &self.parts.spec) {
            Ok(files) => {
                if !files.is_empty() && self.failures == 0 {
                    info!(bucket = self.name, files = files.len(), "files of before wait to be uploaded");
                }
                self.parts.queue.found(&files);
                true
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                self.failed(format!("{error}: {}", cause.unwrap_or_default()));
                self.pause().await
            }
        }
    }

    /// Uploads a file, as often as it takes. False if the end came first.
    async fn carry(&mut self, file: Finished) -> bool {
        loop {
            let parts = &self.parts;
            let over = async || self.over().await;
            match self.bucket.upload(&parts.folders.results, &file, over).await {
                Ok(uploaded) => {
                    self.went_well(&file, &uploaded);
                    note(&self.parts, file);
                    return true;
                }
                Err(UploadFault::Over) => return false,
                Err(UploadFault::Gone) => {
                    debug!(file = file.place, "a file went before it was uploaded");
                    self.parts.queue.done(file);
                    return true;
                }
                Err(fault) if fault.may_pass() => {
                    self.failed(fault.to_string());
                    if !self.pause().await {
                        return false;
                    }
                }
                Err(fault) => {
                    add(&self.parts.counters.uploads_refused, 1);
                    error!(bucket = self.name, file = file.place, reason = %fault, "a file is not uploaded");
                    self.parts.queue.set_aside(file);
                    return true;
                }
            }
        }
    }

    fn went_well(&mut self, file: &Finished, uploaded: &Uploaded) {
        let counters = &self.parts.counters;
        if *uploaded == Uploaded::New {
            add(&counters.uploads, 1);
            add(&counters.upload_bytes, file.bytes);
        }
        debug!(bucket = self.name, file = file.place, ?uploaded, "uploaded a file");
        self.failures = 0;
        if self.reason.take().is_some() {
            info!(bucket = self.name, "the bucket takes files again");
        }
    }

    /// Counts a failure, and tells of it once, and again when its reason changes.
    fn failed(&mut self, reason: String) {
        add(&self.parts.counters.upload_failures, 1);
        self.failures = self.failures.saturating_add(1);
        if self.reason.as_ref() != Some(&reason) {
            let files = read(&self.parts.counters.uploads_waiting);
            let bucket = self.name.as_str();
            warn!(
                bucket,
                reason, files, "the bucket takes no files: they wait on this machine, and are tried again"
            );
            self.reason = Some(reason);
        }
    }

    /// Waits before another attempt; less at the end. False if there shall be none.
    async fn pause(&self) -> bool {
        let queue = &self.parts.queue;
        if queue.is_closed() && self.failures >= LAST_FAILURES {
            return false;
        }
        let longest =
            FIRST_PAUSE.saturating_mul(1 << self.failures.saturating_sub(1).min(6)).min(LONGEST_PAUSE);
        let pause = longest.mul_f64(self.parts.clock.chance());
        let over = async {
            if queue.is_closed() {
                sleep(pause.min(FIRST_PAUSE)).await;
            } else {
                let closed = async {
                    while !queue.is_closed() {
                        queue.changed().await;
                    }
                };
                tokio::select! {
                    () = sleep(pause) => {}
                    () = closed => {}
                }
            }
        };
        tokio::select! {
            biased;
            () = self.over() => false,
            () = over => true,
        }
    }

    /// Waits until nothing shall be tried any more.
    async fn over(&self) {
        loop {
            let UploaderParts { queue, stop, clock, grace, .. } = &self.parts;
            let is_late =
                !stop.requested() && queue.closed().is_some_and(|since| clock.now() >= since + *grace);
            if is_late || stop.expired() || self.is_given_up.load(Ordering::Acquire) {
                return;
            }
            sleep(LOOK).await;
        }
    }
}

/// Notes on the disk that the bucket has a file.
fn note(parts: &UploaderParts, file: Finished) {
    if let Err(error) = waiting::confirm(&parts.folders, &parts.spec, &file) {
        // The next start asks the bucket, which has it.
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        warn!(%error, cause, "a file is uploaded, but this could not be noted");
    }
    parts.queue.done(file);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::sink::bucket::{BucketAddress, BucketSettings};
    use crate::sink::stop::StopSignal;

    #[test]
    fn the_end_does_not_wait_for_a_name_that_is_looked_up() {
        let folder = tempfile::tempdir().unwrap();
        let address = BucketAddress::parse("s3://acme").unwrap();
        let spec = BucketSpec { address, settings: BucketSettings::default(), delete_local: false };
        let bucket = Bucket::open(&spec.address, &spec.settings).unwrap();
        let counters = Arc::<WriterCounters>::default();
        let queue = Arc::new(UploadQueue::new(Arc::clone(&counters)));
        queue.begin();
        queue.close(Clock::system().now());
        let folders = Folders::new(&folder.path().join("results"), "main").unwrap();
        folders.make().unwrap();
        let clock = SinkClock::here(Clock::system());
        let (_signal, stop) = StopSignal::new(clock.clone());
        let parts = UploaderParts {
            folders: Arc::new(folders),
            spec: Arc::new(spec),
            queue,
            counters,
            stop,
            clock,
            grace: Duration::from_secs(1),
        };
        let is_given_up = Arc::<AtomicBool>::default();
        let worker = Worker { parts, name: String::new(), bucket, is_given_up, failures: 0, reason: None };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (release, wait) = std::sync::mpsc::sync_channel::<()>(1);
        runtime.spawn_blocking(move || wait.recv_timeout(Duration::from_secs(20)));
        let begun = Clock::system().now();
        worker.run(runtime);
        assert!(Clock::system().now() < begun + Duration::from_secs(10));
        drop(release);
    }
}
