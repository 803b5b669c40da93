//! The open segments of one results folder: appends batches to their journals, closes them when due, and
//! hands them to the converting thread. Everything here happens on the sink's thread; time goes in.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::error::ArrowError;
use tracing::{error, warn};

use super::converter::{Converter, Keeping, Published};
use super::folders::{Folders, make_folder};
use super::journal::{FrameEncoder, Journal, Presence};
use super::lock::{Lock, Locking, Renewal};
use super::publish::{self, sync_folder};
use super::rotate::{Age, Rotation};
use super::segment::{Day, SegmentName};
use super::sync::{SyncRequest, Syncer};
use super::{Fsync, ParquetSpec, StoreRules, convert};
use crate::clock::{Instant, UnixNanos};
use crate::sink::SinkError;
use crate::sink::batch::ResultBatch;
use crate::sink::bucket::BucketSpec;
use crate::sink::bucket::queue::UploadQueue;
use crate::sink::bucket::uploader::{Uploader, UploaderParts};
use crate::sink::counters::{WriterCounters, add};
use crate::sink::stop::{Moment, SinkClock, Stop};

/// Closed journals that may wait for their last sync. More wait only behind a disk that hangs, and each holds a
/// file open; their conversion makes their rows durable all the same.
const UNSYNCED: usize = 64;
/// Days that may be open at once. Two are usual around midnight; more mean a broken clock.
const OPEN_DAYS: usize = 4;

/// The open segments of one results folder.
pub(crate) struct Store {
    folders: Arc<Folders>,
    rotation: Rotation,
    fsync: Fsync,
    run_id: Arc<str>,
    frames: FrameEncoder,
    /// The batch at hand, as frames; reused.
    encoded: Vec<u8>,
    open: BTreeMap<Day, Open>,
    next_number: u32,
    converter: Converter,
    uploads: Arc<UploadQueue>,
    uploader: Option<Uploader>,
    upload_grace: Duration,
    stop: Stop,
    clock: SinkClock,
    syncer: Option<Syncer>,
    /// Closed journals whose last rows no sync was asked for yet: their conversion may be far off.
    unsynced: VecDeque<SyncRequest>,
    counters: Arc<WriterCounters>,
    published: Published,
    /// Held as long as this lives.
    lock: Lock,
}

/// One open segment.
struct Open {
    journal: Journal,
    opened: Instant,
    closes_at: UnixNanos,
    rows: u64,
    /// Bytes that a sync was asked for, and when.
    synced: u64,
    synced_at: Instant,
}

impl Open {
    fn age(&self) -> Age {
        let Self { opened, closes_at, rows, .. } = *self;
        Age { opened, closes_at, rows, bytes: self.journal.len() }
    }
}

/// The rows of one batch, all of one UTC day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows {
    pub(crate) day: Day,
    /// When the first of them began.
    pub(crate) first: UnixNanos,
    pub(crate) probes: u64,
    pub(crate) checks: u64,
}

impl Store {
    /// Makes the folders, takes the lock, and starts to convert what earlier runs left.
    pub(crate) fn open(
        spec: &ParquetSpec,
        runner: &str,
        run_id: Arc<str>,
        counters: Arc<WriterCounters>,
        stop: Stop,
        clock: SinkClock,
    ) -> Result<Self, SinkError> {
        if !SegmentName::valid_run_id(&run_id) {
            return Err(SinkError::RunId { run_id: run_id.to_string() });
        }
        let folders = Arc::new(Folders::new(&spec.results, runner)?);
        folders.make()?;
        let lock = match Lock::take(&folders.state())? {
            Locking::Held(lock) => lock,
            Locking::Taken { path, pid } => {
                return Err(SinkError::Locked { runner: runner.to_owned(), lock: path, pid });
            }
        };
        let found = convert::journals(&folders)?;
        let published = Published::default();
        let uploads = Arc::new(UploadQueue::new(Arc::clone(&counters)));
        let converter = Converter::start(
            Arc::clone(&folders),
            found,
            published.clone(),
            Arc::clone(&uploads),
            Arc::clone(&counters),
            stop.clone(),
            Keeping { keep: spec.keep, bucket: spec.bucket.clone() },
        )?;
        let syncer = match spec.fsync {
            Fsync::Every(_) => Some(Syncer::start(Arc::clone(&counters))?),
            Fsync::Each | Fsync::Off => None,
        };
        let mut store = Self {
            folders,
            rotation: Rotation { rotate: spec.rotate, grace: spec.grace },
            fsync: spec.fsync,
            run_id,
            frames: FrameEncoder::new()?,
            encoded: Vec::new(),
            open: BTreeMap::new(),
            next_number: 1,
            converter,
            uploads,
            uploader: None,
            upload_grace: spec.upload_grace,
            stop,
            clock,
            syncer,
            unsynced: VecDeque::new(),
            counters,
            published,
            lock,
        };
        store.uploader = spec.bucket.as_ref().map(|bucket| store.upload_to(bucket)).transpose()?;
        Ok(store)
    }

    /// Starts to upload what the bucket has not.
    fn upload_to(&self, bucket: &Arc<BucketSpec>) -> Result<Uploader, SinkError> {
        Uploader::start(UploaderParts {
            folders: Arc::clone(&self.folders),
            spec: Arc::clone(bucket),
            queue: Arc::clone(&self.uploads),
            counters: Arc::clone(&self.counters),
            stop: self.stop.clone(),
            clock: self.clock.clone(),
            grace: self.upload_grace,
        })
    }

    /// Goes on counting files from a number: a folder may be opened again in one run, and no name comes
    /// twice.
    #[must_use]
    pub(crate) fn numbered_from(self, first_number: u32) -> Self {
        Self { next_number: first_number, ..self }
    }

    /// Closes files, and forces them to the disk, by other rules from now on; files that are open are
    /// closed by them too.
    pub(crate) fn change(&mut self, rules: &StoreRules, moment: Moment) {
        let StoreRules { rotate, fsync, grace, keep, ref bucket } = *rules;
        self.converter.keep(Keeping { keep, bucket: bucket.clone() });
        self.rotation = Rotation { rotate, grace };
        for (day, open) in &mut self.open {
            open.closes_at = self.rotation.closes_at(*day, moment.wall);
        }
        if matches!(fsync, Fsync::Every(_)) && self.syncer.is_none() {
            match Syncer::start(Arc::clone(&self.counters)) {
                Ok(syncer) => self.syncer = Some(syncer),
                Err(error) => warn!(%error, "no thread can be started to force files to the disk"),
            }
        }
        self.fsync = fsync;
        if self.uploader.as_ref().map(Uploader::spec) != bucket.as_deref() {
            // Its thread ends first: what it has in hand is found again in the lists.
            self.uploader = None;
            match bucket.as_ref().map(|bucket| self.upload_to(bucket)).transpose() {
                Ok(uploader) => self.uploader = uploader,
                Err(error) => warn!(%error, "files are not uploaded until the next start"),
            }
        }
    }

    /// The files published last.
    pub(crate) fn published(&self) -> Published {
        self.published.clone()
    }

    /// Makes frames of a batch, for [`write`](Self::write).
    pub(crate) fn encode(&mut self, batch: &ResultBatch) -> Result<(), ArrowError> {
        self.encoded.clear();
        self.frames.encode(batch, &mut self.encoded)
    }

    /// Appends the encoded batch to its day's journal. After an error nothing of it is there, and it can
    /// be written again.
    pub(crate) fn write(&mut self, rows: Rows, moment: Moment) -> Result<(), SinkError> {
        self.seal_poisoned(rows.day)?;
        if !self.open.contains_key(&rows.day) {
            self.make_room();
            let open = self.begin(rows, moment)?;
            self.open.insert(rows.day, open);
        }
        let Some(open) = self.open.get_mut(&rows.day) else { return Ok(()) };
        let written = append(&mut open.journal, self.frames.preamble(), &self.encoded);
        match written {
            Ok(bytes) => {
                open.rows += rows.probes;
                add(&self.counters.journal_bytes, bytes);
            }
            Err(source) => {
                let error = SinkError::io("write to", open.journal.path())(source);
                self.abandon_unless_full(rows.day, &error);
                return Err(error);
            }
        }
        if self.fsync == Fsync::Each {
            self.sync_now(rows.day)?;
        }
        add(&self.counters.rows_journalled, rows.probes);
        add(&self.counters.check_rows_journalled, rows.checks);
        if self.open.get(&rows.day).is_some_and(|open| self.rotation.is_full(&open.age())) {
            self.seal(rows.day);
        }
        Ok(())
    }

    /// Closes segments that are due and asks for syncs that are due.
    pub(crate) fn tick(&mut self, moment: Moment) {
        let Moment { now, wall } = moment;
        for day in self.open.keys().copied().collect::<Vec<_>>() {
            self.look_after(day);
        }
        let due = |open: &Open| open.journal.is_poisoned() || self.rotation.is_due(&open.age(), now, wall);
        let closing: Vec<Day> = self.open.iter().filter(|(_, open)| due(open)).map(|(day, _)| *day).collect();
        for day in closing {
            if self.open.get_mut(&day).is_some_and(|open| open.journal.cut_rest().is_ok()) {
                self.seal(day);
            }
        }
        self.sync_sealed();
        if let (Fsync::Every(every), Some(syncer)) = (self.fsync, &self.syncer) {
            for open in self.open.values_mut() {
                request_sync(open, syncer, every, now);
            }
        }
    }

    /// Whether a tick has anything to look after.
    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// Closes every segment and waits until all are converted and uploaded, or until the stop's deadline.
    pub(crate) fn finish(&mut self) {
        while let Some(day) = self.open.keys().next().copied() {
            self.look_after(day);
            if let Some(open) = self.open.get_mut(&day) {
                // Where it fails, rows that were given up are in the files: better than none.
                let _ = open.journal.cut_rest();
            }
            self.seal(day);
        }
        self.converter.finish();
        if let Some(uploader) = &mut self.uploader {
            uploader.finish();
        }
        let Some(heir) = self.folders.heir() else { return };
        if let Err(error) = publish::retire(&self.folders, &heir) {
            warn!(%error, folder = %self.folders.state().display(), "the state of this run could not be removed");
        }
    }

    fn begin(&mut self, rows: Rows, moment: Moment) -> Result<Open, SinkError> {
        // Also where no journal was open that could have been missed: a second runner must not take this one for
        // a dead one's.
        self.lock_anew();
        let name = SegmentName::new(rows.first, &self.folders.runner, &self.run_id, self.next_number);
        let folder = self.folders.journal();
        make_folder(&folder).map_err(SinkError::io("create", &folder))?;
        let path = self.folders.journal_of(&name);
        let journal = Journal::create(path.clone()).map_err(SinkError::io("create", &path))?;
        self.next_number += 1;
        add(&self.counters.segments, 1);
        Ok(Open {
            journal,
            opened: moment.now,
            closes_at: self.rotation.closes_at(rows.day, moment.wall),
            rows: 0,
            synced: 0,
            synced_at: moment.now,
        })
    }

    /// Makes good what became of a segment's journal while it was written: the data folder may be removed or
    /// replaced at any time.
    fn look_after(&mut self, day: Day) {
        let Some(open) = self.open.get_mut(&day) else { return };
        let path = open.journal.path().to_owned();
        let journal = path.display();
        match open.journal.presence() {
            Ok(Presence::There) => return,
            Err(error) => {
                warn!(%error, %journal, "could not look after a journal");
                return;
            }
            Ok(Presence::Moved) => {
                warn!(%journal, "the open journal was moved away with its results; another one is begun");
                self.open.remove(&day);
            }
            Ok(Presence::Removed) => {
                let anew = self
                    .folders
                    .make()
                    .and_then(|()| open.journal.written_anew().map_err(SinkError::io("write anew", &path)));
                match anew {
                    Ok(anew) => {
                        warn!(%journal, rows = open.rows, "the open journal was removed; its rows are written anew");
                        (open.journal, open.synced) = (anew, 0);
                    }
                    Err(error) => {
                        error!(%error, rows = open.rows, "the open journal was removed, and cannot be written anew yet");
                        return;
                    }
                }
            }
        }
        self.lock_anew();
    }

    /// The lock's files may have gone the same way.
    fn lock_anew(&mut self) {
        let runner = &self.folders.runner;
        match self.folders.make().and_then(|()| self.lock.renew(&self.folders.state())) {
            Ok(Renewal::There) => {}
            Ok(Renewal::Anew) => warn!(runner, "the lock of the runner's name was gone; it is taken anew"),
            Ok(Renewal::Taken { pid }) => {
                error!(pid, runner, "another runner has taken this one's name; stop one of them");
            }
            Err(error) => warn!(%error, "could not lock the data folder again"),
        }
    }

    /// Closes a day's segment and hands it over. A segment without rows leaves no file.
    fn seal(&mut self, day: Day) {
        let Some(open) = self.open.remove(&day) else { return };
        if matches!(self.fsync, Fsync::Every(_)) && open.journal.len() > open.synced {
            self.unsynced.truncate(UNSYNCED - 1);
            self.unsynced.push_back(sync_request(&open));
            self.sync_sealed();
        }
        self.converter.submit(open.journal.path().to_owned());
    }

    /// Asks for the syncs of closed journals.
    fn sync_sealed(&mut self) {
        let Some(syncer) = &self.syncer else { return };
        while let Some(request) = self.unsynced.pop_front() {
            if let Err(request) = syncer.request(request) {
                self.unsynced.push_front(request);
                return;
            }
        }
    }

    /// Fails as long as rows are in the journal that have to go to another one.
    fn seal_poisoned(&mut self, day: Day) -> Result<(), SinkError> {
        let Some(open) = self.open.get_mut(&day).filter(|open| open.journal.is_poisoned()) else {
            return Ok(());
        };
        open.journal.cut_rest().map_err(SinkError::io("cut", open.journal.path()))?;
        self.seal(day);
        Ok(())
    }

    /// Closes the oldest days until there is room for another one.
    fn make_room(&mut self) {
        while self.open.len() >= OPEN_DAYS {
            let Some(oldest) = self.open.keys().next().copied() else { return };
            warn!(days = self.open.len(), "results of many different days come at once; is the clock right");
            self.seal(oldest);
        }
    }

    /// A full disk has taken nothing and the journal is good; after any other error it is closed, and
    /// the batch goes to a new one.
    fn abandon_unless_full(&mut self, day: Day, error: &SinkError) {
        if !error.is_disk_full() {
            self.seal(day);
        }
    }

    /// Syncs on the sink's thread. If the disk refuses, the batch has to go to another journal, and must
    /// not be in this one as well.
    fn sync_now(&mut self, day: Day) -> Result<(), SinkError> {
        let Some(open) = self.open.get_mut(&day) else { return Ok(()) };
        let synced = open.journal.sync().map_err(SinkError::io("sync", open.journal.path()));
        let folder = open.journal.path().parent().filter(|_| open.synced == 0);
        let Err(error) = synced.and_then(|()| folder.map_or(Ok(()), sync_folder)) else {
            open.synced = open.journal.len();
            return Ok(());
        };
        add(&self.counters.fsync_errors, 1);
        open.journal.poison().store(true, Ordering::Release);
        open.journal.take_back(self.encoded.len() as u64);
        // Where it could not be cut, the next attempt does that first.
        self.seal_poisoned(day)?;
        Err(error)
    }
}

/// Appends frames in one write, with what a journal begins with if it is empty. Returns the bytes.
fn append(journal: &mut Journal, preamble: &[u8], frames: &[u8]) -> io::Result<u64> {
    if journal.len() > 0 {
        return journal.append(frames).map(|()| frames.len() as u64);
    }
    let whole = [preamble, frames].concat();
    journal.append(&whole).map(|()| whole.len() as u64)
}

fn sync_request(open: &Open) -> SyncRequest {
    let Open { journal, synced, .. } = open;
    let (file, path, poisoned) = (journal.file(), journal.path().to_owned(), journal.poison());
    SyncRequest { file, path, is_new: *synced == 0, poisoned }
}

fn request_sync(open: &mut Open, syncer: &Syncer, every: Duration, now: Instant) {
    let due = open.journal.len() > open.synced && now.saturating_duration_since(open.synced_at) >= every;
    if !due {
        return;
    }
    if syncer.request(sync_request(open)).is_ok() {
        open.synced = open.journal.len();
        open.synced_at = now;
    }
}

#[cfg(test)]
mod tests;
