//! The thread that writes state to its file, looks through the file at the start, and opens it again
//! after a failure.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::super::disk::{self, Disk, DiskError, Place};
use super::super::pending::Changes;
use super::super::{StateKey, lock};
use super::{ENOUGH_BYTES, Home, Shared};
use crate::clock::Instant;

/// How long a change waits for others before all are written together.
const GATHER: Duration = Duration::from_secs(1);
/// How long after a refusal the disk is asked again: doubled each time, up to the longest.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_mins(1);

/// The thread that alone changes what is on the disk.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    place: Place,
    sweep: Sweep,
    failing: Option<Failing>,
}

/// How far the file has been looked through for what is forgotten.
#[derive(Debug, PartialEq, Eq)]
enum Sweep {
    Begin,
    Behind(StateKey),
    Done,
}

/// The disk refuses.
#[derive(Debug, Clone, Copy)]
struct Failing {
    retry_at: Instant,
    /// The wait after the next failure.
    next_wait: Duration,
}

/// What is to be done next.
#[derive(Debug)]
enum Turn {
    Write(Arc<Changes>),
    /// The file could not be read, or it is time to look whether it can be now.
    Mend(Option<DiskError>),
    Sweep,
    End,
}

impl Keeper {
    /// A keeper of the file at `place`, which was opened.
    pub(super) fn new(shared: Arc<Shared>, place: Place) -> Self {
        Self { shared, place, sweep: Sweep::Begin, failing: None }
    }

    /// The life of the thread: until the store is stopped.
    pub(super) fn run(mut self) {
        let mut dirty_since = None;
        loop {
            match self.turn(&mut dirty_since) {
                Turn::Write(changes) => self.write(changes),
                Turn::Mend(error) => self.mend(error.as_ref()),
                Turn::Sweep => self.sweep(),
                Turn::End => break,
            }
        }
        self.end();
    }

    /// Waits until there is something to do.
    fn turn(&self, dirty_since: &mut Option<Instant>) -> Turn {
        let is_file = matches!(*self.shared.home(), Home::File(_));
        let is_lost = matches!(*self.shared.home(), Home::Lost);
        let mut inbox = lock(&self.shared.inbox);
        loop {
            let now = self.shared.clock.now();
            if inbox.is_stopping {
                return if inbox.pending.is_dirty() {
                    Turn::Write(inbox.pending.take_off())
                } else {
                    Turn::End
                };
            }
            if let Some(error) = inbox.trouble.take() {
                return Turn::Mend(Some(error));
            }
            let since = inbox.pending.is_dirty().then(|| *dirty_since.get_or_insert(now));
            let gathered = since.map(|since| match inbox.pending.bytes() {
                ENOUGH_BYTES.. => now,
                _ => since + GATHER,
            });
            let due = match self.failing {
                None => gathered,
                Some(failing) if is_lost => Some(failing.retry_at),
                Some(failing) => gathered.map(|at| at.max(failing.retry_at)),
            };
            if due.is_some_and(|due| due <= now) {
                if is_lost {
                    return Turn::Mend(None);
                }
                *dirty_since = None;
                return Turn::Write(inbox.pending.take_off());
            }
            if is_file && self.failing.is_none() && self.sweep != Sweep::Done {
                return Turn::Sweep;
            }
            inbox = match due {
                None => self.shared.wake.wait(inbox).unwrap_or_else(PoisonError::into_inner),
                Some(due) => {
                    let waited = self.shared.wake.wait_timeout(inbox, due - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn write(&mut self, changes: Arc<Changes>) {
        if matches!(*self.shared.home(), Home::Lost) {
            // The end has come: this is the last chance.
            self.mend(None);
        }
        let error = match self.try_write(&changes) {
            Ok(bytes) => {
                lock(&self.shared.inbox).pending.landed();
                self.shared.counters.stored_bytes.store(bytes, Ordering::Relaxed);
                self.shared.counters.written.fetch_add(changes.len() as u64, Ordering::Relaxed);
                self.is_well();
                return;
            }
            Err(error) => error,
        };
        // The other reference is in the inbox: what comes back need not be copied then.
        drop(changes);
        let mut inbox = lock(&self.shared.inbox);
        inbox.pending.came_back();
        if !inbox.is_stopping {
            drop(inbox);
            return self.mend(Some(&error));
        }
        // There will be no other time.
        let lost = std::mem::take(&mut inbox.pending).count();
        drop(inbox);
        tracing::error!(
            file = %self.place.file().display(), %error, changes = lost,
            "the state of checks cannot be written: changes are lost"
        );
    }

    fn try_write(&self, changes: &Changes) -> Result<u64, DiskError> {
        let today = self.shared.today();
        let made = match &*self.shared.home() {
            Home::File(disk) if disk.is_in_place() => return disk.write(changes, today),
            Home::File(disk) => {
                tracing::warn!(
                    file = %self.place.file().display(),
                    "the file of the state of checks was removed or replaced while it was in use: it is written \
                     again; to make checks forget, stop the runner first"
                );
                if self.place.file().exists() {
                    self.place.put_aside(self.shared.clock.wall())?;
                }
                Disk::create(&self.place, Some(disk), changes, today)?
            }
            Home::Memory | Home::Empty => Disk::create(&self.place, None, changes, today)?,
            Home::Lost => return Err(DiskError::Io(std::io::ErrorKind::NotConnected.into())),
        };
        let bytes = made.bytes_at_open();
        *self.shared.home_mut() = Home::File(made);
        Ok(bytes)
    }

    /// After a failure, or when it is time to look again: opens the file anew, since the engine does
    /// nothing more with one that failed once.
    fn mend(&mut self, error: Option<&DiskError>) {
        let shared = Arc::clone(&self.shared);
        let now = shared.clock.now();
        if let Some(error) = error {
            shared.counters.failures.fetch_add(1, Ordering::Relaxed);
            if self.failing.is_none() {
                tracing::warn!(
                    file = %self.place.file().display(), %error,
                    "the state of checks cannot be written or read: changes wait in memory, and it is tried again"
                );
            }
        }
        // Held until it is clear what is there: nobody may take a file that was not read for none.
        let mut home = shared.home_mut();
        // Whatever was read until now was read from the file as it was.
        lock(&shared.inbox).trouble = None;
        let is_to_be_opened = match &*home {
            Home::Empty => false,
            // No path leads to it any more: closed, it would be gone.
            Home::File(disk) => disk.is_in_place() || matches!(error, Some(DiskError::Unusable(_))),
            Home::Memory | Home::Lost => true,
        };
        if is_to_be_opened {
            disk::close(std::mem::replace(&mut *home, Home::Lost));
            let opened = match error {
                Some(DiskError::Unusable(reason)) => Err(DiskError::Unusable(reason)),
                // It failed again so soon that opening it, which reads all of it, is no help.
                Some(_) if self.failing.is_some_and(|failing| now < failing.retry_at) => Ok(Home::Lost),
                _ => Disk::open(&self.place, shared.today()).map(|disk| disk.map_or(Home::Empty, Home::File)),
            };
            *home = match opened {
                Ok(found) => found,
                Err(DiskError::Unusable(reason)) if shared.put_aside(&self.place, reason) => Home::Empty,
                Err(_) => Home::Lost,
            };
        }
        let is_open_again = error.is_none() && !matches!(*home, Home::Lost);
        drop(home);
        let wait = self.failing.map_or(RETRY_FIRST, |failing| failing.next_wait);
        self.failing = Some(match self.failing {
            // What waits can be written at once.
            Some(failing) if is_open_again => Failing { retry_at: now, ..failing },
            _ => Failing { retry_at: now + wait, next_wait: (wait * 2).min(RETRY_LONGEST) },
        });
    }

    fn is_well(&mut self) {
        if self.failing.take().is_some() {
            tracing::info!(file = %self.place.file().display(), "the state of checks is written again");
        }
    }

    fn sweep(&mut self) {
        let swept = match &*self.shared.home() {
            Home::File(disk) => disk.sweep(match &self.sweep {
                Sweep::Behind(key) => Some(key),
                Sweep::Begin | Sweep::Done => None,
            }),
            _ => Ok((None, 0)),
        };
        match swept {
            Ok((last, removed)) => {
                self.shared.counters.swept.fetch_add(removed, Ordering::Relaxed);
                self.sweep = last.map_or(Sweep::Done, Sweep::Behind);
            }
            Err(error) => self.mend(Some(&error)),
        }
    }

    fn end(self) {
        let is_gone = matches!(&*self.shared.home(), Home::File(disk) if !disk.is_in_place());
        if is_gone && let Err(error) = self.try_write(&Changes::new()) {
            tracing::error!(
                file = %self.place.file().display(), %error,
                "the state of checks cannot be written again: it is lost"
            );
        }
        disk::close(std::mem::replace(&mut *self.shared.home_mut(), Home::Memory));
        lock(&self.shared.inbox).has_ended = true;
        self.shared.ended.notify_all();
    }
}
