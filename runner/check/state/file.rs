//! State that outlives the process: in memory first, and once a second in a file.
//!
//! Whoever saves never waits for the disk. A thread (`keeper`) writes what has changed in one transaction a second;
//! a clean end writes the rest, a kill loses the last second. While the disk refuses, changes wait in
//! memory, within a bound, and it is tried again.

mod keeper;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use self::keeper::Keeper;
use super::disk::{Disk, DiskError, Found, Place};
use super::pending::{Change, Pending};
use super::record::Day;
use super::{MEMORY_BYTES, Room, StateEntries, StateKey, StateStore, StateUnreadable, lock};
use crate::clock::{Clock, UnixNanos};

/// Changes of so many bytes are written at once.
const ENOUGH_BYTES: usize = 16 << 20;
/// Bytes of names and records that the file may hold.
const FILE_BYTES: u64 = 4 << 30;

/// What a store has done, for gauges and counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateStats {
    /// Whether there is a file, open and in order. There is none before a check remembers anything.
    pub is_on_disk: bool,
    /// Changes that are not on the disk yet.
    pub pending: usize,
    /// The memory that they take, in bytes, about.
    pub pending_bytes: usize,
    /// Bytes of names and records in the file.
    pub stored_bytes: u64,
    /// Changes written.
    pub written: u64,
    /// Changes for which there was no room; they are lost.
    pub refused: u64,
    /// Times that the disk failed to read or write.
    pub failures: u64,
    /// Records that were damaged, and are forgotten.
    pub damaged: u64,
    /// Records that nobody had used for 30 days, or that were damaged, removed at the start.
    pub swept: u64,
}

/// State that outlives the process, once it has been given a place with [`keep_in`](Self::keep_in).
/// Until then, and where there is no such place, it lives in memory, at most 256 MiB of it.
pub struct FileState {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    clock: Clock,
    inbox: Mutex<Inbox>,
    /// Wakes the thread.
    wake: Condvar,
    /// Told when the thread has ended.
    ended: Condvar,
    home: RwLock<Home>,
    room: Room,
    counters: Counters,
}

/// What the thread is told.
#[derive(Debug, Default)]
struct Inbox {
    pending: Pending,
    /// The file could not be read.
    trouble: Option<DiskError>,
    is_stopping: bool,
    has_ended: bool,
}

/// Where state is.
#[derive(Debug)]
enum Home {
    /// In memory alone: there is no place for a file, or not yet.
    Memory,
    /// There is a place, but nothing to keep there so far.
    Empty,
    /// In a file.
    File(Disk),
    /// In a file that cannot be read at present.
    Lost,
}

#[derive(Debug, Default)]
struct Counters {
    stored_bytes: AtomicU64,
    written: AtomicU64,
    failures: AtomicU64,
    damaged: AtomicU64,
    swept: AtomicU64,
}

impl FileState {
    /// A store without a place.
    pub fn new(clock: &Clock) -> Self {
        let shared = Shared {
            clock: clock.clone(),
            inbox: Mutex::default(),
            wake: Condvar::new(),
            ended: Condvar::new(),
            home: RwLock::new(Home::Memory),
            room: Room::default(),
            counters: Counters::default(),
        };
        Self { shared: Arc::new(shared), thread: Mutex::default() }
    }

    /// Keeps state in `checks/` of a runner's state folder from now on, and remembers what is there.
    /// Nothing is made before there is anything to keep. To be called once, by whoever holds the
    /// runner's lock.
    ///
    /// Never fails: a file that cannot be used is moved to `quarantine/`, and where the folder or the
    /// file cannot be opened, state lives in memory; each with a warning. Blocks for as long as it takes
    /// to read the file.
    pub fn keep_in(&self, state: &Path) {
        let mut thread = lock(&self.thread);
        if thread.is_some() {
            return;
        }
        let place = Place::below(state);
        let shared = Arc::clone(&self.shared);
        if !shared.move_in(&place) {
            return;
        }
        let keeper = Keeper::new(shared, place);
        match thread::Builder::new().name("check-state".to_owned()).spawn(move || keeper.run()) {
            Ok(started) => *thread = Some(started),
            Err(error) => {
                *self.shared.home_mut() = Home::Memory;
                tracing::warn!(%error, "no thread to write the state of checks: it ends with this process");
            }
        }
    }

    /// What it has done.
    pub fn stats(&self) -> StateStats {
        let Shared { inbox, room, counters, .. } = &*self.shared;
        let (pending, pending_bytes) = {
            let inbox = lock(inbox);
            (inbox.pending.count(), inbox.pending.bytes())
        };
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StateStats {
            is_on_disk: matches!(*self.shared.home(), Home::File(_)),
            pending,
            pending_bytes,
            stored_bytes: read(&counters.stored_bytes),
            written: read(&counters.written),
            refused: read(&room.refused),
            failures: read(&counters.failures),
            damaged: read(&counters.damaged),
            swept: read(&counters.swept),
        }
    }

    /// Writes what is not on the disk yet and closes the file. False if that was not done within
    /// `patience`: the disk hangs. Blocks. A second call does nothing.
    pub fn stop(&self, patience: Duration) -> bool {
        let Some(thread) = lock(&self.thread).take() else { return true };
        let mut inbox = lock(&self.shared.inbox);
        inbox.is_stopping = true;
        self.shared.wake.notify_all();
        let (inbox, waited) = self
            .shared
            .ended
            .wait_timeout_while(inbox, patience, |inbox| !inbox.has_ended)
            .unwrap_or_else(PoisonError::into_inner);
        drop(inbox);
        if waited.timed_out() {
            tracing::error!(
                "the state of checks is not written in time: the changes of the last seconds are lost"
            );
            return false;
        }
        if thread.join().is_err() {
            tracing::error!("the thread that writes the state of checks ended by a fault of the runner");
        }
        true
    }
}

impl fmt::Debug for FileState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileState").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Drop for FileState {
    fn drop(&mut self) {
        self.stop(Duration::from_secs(5));
    }
}

impl StateStore for FileState {
    fn load(&self, key: &StateKey) -> Result<Arc<StateEntries>, StateUnreadable> {
        let shared = &*self.shared;
        if let Some(entries) = lock(&shared.inbox).pending.find(key) {
            return Ok(entries);
        }
        match shared.read(key)? {
            None => Ok(Arc::default()),
            Some(Found::Whole(record)) => {
                if Disk::is_to_be_touched(&record, shared.today()) {
                    // Where there is no room for it, the next read tries again.
                    shared.put(key, Change::Touch);
                }
                Ok(Arc::new(record.entries))
            }
            Some(Found::Damaged) => {
                let StateKey { pipeline, target, check } = key;
                tracing::warn!(%pipeline, %target, %check, "what a check remembered is damaged, and forgotten");
                shared.counters.damaged.fetch_add(1, Ordering::Relaxed);
                shared.put(key, Change::Touch);
                Ok(Arc::default())
            }
        }
    }

    fn save(&self, key: &StateKey, entries: StateEntries) -> bool {
        let change = if entries.is_empty() { Change::Forget } else { Change::Keep(Arc::new(entries)) };
        let stored = self.shared.counters.stored_bytes.load(Ordering::Relaxed);
        let fits = stored <= FILE_BYTES || change == Change::Forget;
        let pending_bytes = if fits { self.shared.put(key, change) } else { None };
        match pending_bytes {
            None => self.shared.room.refused(key),
            Some(bytes) if bytes < MEMORY_BYTES / 2 && stored < FILE_BYTES / 2 => {
                self.shared.room.is_there_again();
            }
            Some(_) => {}
        }
        pending_bytes.is_some()
    }
}

impl Shared {
    /// Opens what is there. False if state has to live in memory.
    fn move_in(&self, place: &Place) -> bool {
        let home = match Disk::open(place, self.today()) {
            Ok(Some(disk)) => {
                self.counters.stored_bytes.store(disk.bytes_at_open(), Ordering::Relaxed);
                Home::File(disk)
            }
            Ok(None) => Home::Empty,
            Err(DiskError::Unusable(reason)) if self.put_aside(place, reason) => Home::Empty,
            Err(DiskError::Unusable(_)) => return false,
            Err(error) => {
                let file = place.file();
                tracing::warn!(
                    file = %file.display(), %error,
                    "the state of checks cannot be opened: they begin anew, and what they remember ends with \
                     this process; the file is left as it is"
                );
                return false;
            }
        };
        *self.home_mut() = home;
        true
    }

    /// Moves the file to quarantine; false where that fails.
    fn put_aside(&self, place: &Place, reason: &str) -> bool {
        let file = place.file();
        match place.put_aside(self.clock.wall()) {
            Ok(kept) => {
                self.counters.stored_bytes.store(0, Ordering::Relaxed);
                tracing::warn!(
                    file = %file.display(), reason, kept = %kept.display(),
                    "the state of checks cannot be read: it is kept in quarantine, and checks begin anew"
                );
                true
            }
            Err(error) => {
                tracing::warn!(
                    file = %file.display(), reason, %error,
                    "the state of checks cannot be read, nor moved to quarantine: what checks remember ends \
                     with this process"
                );
                false
            }
        }
    }

    /// What the file says of a check's target.
    fn read(&self, key: &StateKey) -> Result<Option<Found>, StateUnreadable> {
        let home = self.home();
        match &*home {
            Home::File(disk) => disk.read(key).map_err(|error| {
                // Told while the file is held: once it has been opened anew, this would be old news.
                lock(&self.inbox).trouble.get_or_insert(error);
                self.wake.notify_all();
                StateUnreadable
            }),
            Home::Memory | Home::Empty => Ok(None),
            Home::Lost => Err(StateUnreadable),
        }
    }

    /// Takes a change, to be written. The bytes of all such changes; none where there is no room.
    fn put(&self, key: &StateKey, change: Change) -> Option<usize> {
        let mut inbox = lock(&self.inbox);
        let (was_dirty, before) = (inbox.pending.is_dirty(), inbox.pending.bytes());
        if !inbox.pending.put(key, change) {
            return None;
        }
        let bytes = inbox.pending.bytes();
        if !was_dirty || (before < ENOUGH_BYTES && bytes >= ENOUGH_BYTES) {
            self.wake.notify_all();
        }
        Some(bytes)
    }

    fn today(&self) -> Day {
        const DAY: i64 = 86_400 * 1_000_000_000;
        let UnixNanos(now) = self.clock.wall();
        Day::try_from(now.div_euclid(DAY)).unwrap_or_default()
    }

    fn home(&self) -> RwLockReadGuard<'_, Home> {
        self.home.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn home_mut(&self) -> RwLockWriteGuard<'_, Home> {
        self.home.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
