//! The open segments of one results folder: appends batches to their journals, closes them when due, and
//! hands them to the converting thread. Everything here happens on the sink's thread; time goes in.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::error::ArrowError;
use tracing::warn;

use super::converter::{Converter, Published};
use super::folders::{Folders, make_folder};
use super::journal::{FrameEncoder, Journal};
use super::lock::{Lock, Locking};
use super::publish::{self, sync_folder};
use super::rotate::{Age, Rotation};
use super::segment::{Day, SegmentName};
use super::sync::{SyncRequest, Syncer};
use super::{Fsync, ParquetSpec, StoreRules, convert};
use crate::clock::{Instant, UnixNanos};
use crate::sink::SinkError;
use crate::sink::batch::ResultBatch;
use crate::sink::counters::{WriterCounters, add};
use crate::sink::stop::{Moment, Stop};

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
    syncer: Option<Syncer>,
    counters: Arc<WriterCounters>,
    published: Published,
    _lock: Lock,
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
        let converter = Converter::start(
            Arc::clone(&folders),
            found,
            published.clone(),
            Arc::clone(&counters),
            stop,
            spec.keep,
        )?;
        let syncer = match spec.fsync {
            Fsync::Every(_) => Some(Syncer::start(Arc::clone(&counters))?),
            Fsync::Each | Fsync::Off => None,
        };
        Ok(Self {
            folders,
            rotation: Rotation { rotate: spec.rotate, grace: spec.grace },
            fsync: spec.fsync,
            run_id,
            frames: FrameEncoder::new()?,
            encoded: Vec::new(),
            open: BTreeMap::new(),
            next_number: 1,
            converter,
            syncer,
            counters,
            published,
            _lock: lock,
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
        let StoreRules { rotate, fsync, grace, keep } = *rules;
        self.converter.keep(keep);
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
        self.seal_poisoned(rows.day);
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
        let due = |open: &Open| open.journal.is_poisoned() || self.rotation.is_due(&open.age(), now, wall);
        let closing: Vec<Day> = self.open.iter().filter(|(_, open)| due(open)).map(|(day, _)| *day).collect();
        for day in closing {
            self.seal(day);
        }
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

    /// Closes every segment and waits until all are converted, or until the stop's deadline.
    pub(crate) fn finish(&mut self) {
        while let Some(day) = self.open.keys().next().copied() {
            self.seal(day);
        }
        self.converter.finish();
        let Some(heir) = self.folders.heir() else { return };
        if let Err(error) = publish::retire(&self.folders, &heir) {
            warn!(%error, folder = %self.folders.state().display(), "the state of this run could not be removed");
        }
    }

    fn begin(&mut self, rows: Rows, moment: Moment) -> Result<Open, SinkError> {
        let name = SegmentName::new(rows.first, &self.folders.runner, &self.run_id, self.next_number);
        let folder = self.folders.journal();
        make_folder(&folder).map_err(SinkError::io("create", &folder))?;
        let path = self.folders.journal_of(&name);
        let journal = Journal::create(path.clone()).map_err(SinkError::io("create", &path))?;
        self.next_number += 1;
        add(&self.counters.segments, 1);
        if self.fsync == Fsync::Each {
            sync_folder(&folder)?;
        }
        Ok(Open {
            journal,
            opened: moment.now,
            closes_at: self.rotation.closes_at(rows.day, moment.wall),
            rows: 0,
            synced: 0,
            synced_at: moment.now,
        })
    }

    /// Closes a day's segment and hands it over. A segment without rows leaves no file.
    fn seal(&mut self, day: Day) {
        if let Some(open) = self.open.remove(&day) {
            self.converter.submit(open.journal.path().to_owned());
        }
    }

    fn seal_poisoned(&mut self, day: Day) {
        if self.open.get(&day).is_some_and(|open| open.journal.is_poisoned()) {
            self.seal(day);
        }
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
        let SinkError::Io { source, .. } = error else { return };
        if !matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            self.seal(day);
        }
    }

    /// Syncs on the sink's thread. If the disk refuses, the batch has to go to another journal, and must
    /// not be in this one as well.
    fn sync_now(&mut self, day: Day) -> Result<(), SinkError> {
        let Some(open) = self.open.get_mut(&day) else { return Ok(()) };
        let Err(source) = open.journal.sync() else { return Ok(()) };
        add(&self.counters.fsync_errors, 1);
        let error = SinkError::io("sync", open.journal.path())(source);
        open.journal.take_back(self.encoded.len() as u64);
        self.seal(day);
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

fn request_sync(open: &mut Open, syncer: &Syncer, every: Duration, now: Instant) {
    let due = open.journal.len() > open.synced && now.saturating_duration_since(open.synced_at) >= every;
    if !due {
        return;
    }
    let folder = (open.synced == 0).then(|| open.journal.path().parent().map(PathBuf::from)).flatten();
    let request = SyncRequest { file: open.journal.file(), folder, poisoned: open.journal.poison() };
    if syncer.request(request) {
        open.synced = open.journal.len();
        open.synced_at = now;
    }
}

#[cfg(test)]
mod tests;
