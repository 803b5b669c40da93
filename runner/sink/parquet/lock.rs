//! One writer a runner name and results folder, by two exclusive flocks in the state folder.
//!
//! `lock` is the runner's name: only a runner of that name takes it, at once or not at all, and it holds
//! the pid of the last one. `adopt` guards the journals: the runner holds it too, as long as it lives;
//! while there is none, a runner of another name may hold it for the moment that it takes to move the
//! journals away. So whoever holds `lock` waits for `adopt`, and an adopter can neither take a name nor
//! get at the journals of a living runner.
//!
//! The locks die with the process, however it ends. The files themselves are never removed while the
//! name may come again: a lock on a file that another process has just unlinked would lock nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::checksums::is_absent;
use super::publish::FILE_MODE;
use crate::sink::SinkError;

/// The lock files, in the state folder.
pub(crate) const LOCK_FILES: [&str; 2] = [NAME, JOURNALS];
const NAME: &str = "lock";
const JOURNALS: &str = "adopt";
/// How often, and how many times, a runner looks whether an adopter is done: for 10 s. Moving files is a
/// matter of milliseconds, unless the adopter was stopped or its disk hangs.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const LOOKS: u32 = 1_000;

/// The lock of a runner, held as long as this lives.
#[derive(Debug)]
pub struct Lock {
    name: File,
    journals: File,
}

/// What an attempt to lock came to.
#[derive(Debug)]
pub enum Locking {
    /// It is ours.
    Held(Lock),
    /// Another runner of this name holds it.
    Taken {
        /// The lock file.
        path: PathBuf,
        /// Its holder, where the file says so.
        pid: Option<u32>,
    },
}

impl Lock {
    /// Tries to lock an existing state folder. Does not wait for another runner of this name, but up to
    /// 10 s for one of another name that moves journals away; fails after that.
    pub fn take(state: &Path) -> Result<Locking, SinkError> {
        let path = state.join(NAME);
        let mut name = open(&path)?;
        if !try_lock(&name, &path)? {
            let pid = read_pid(&mut name);
            return Ok(Locking::Taken { path, pid });
        }
        write_pid(&mut name).map_err(SinkError::io("write to", &path))?;
        let journals = lock_journals(&state.join(JOURNALS))?;
        Ok(Locking::Held(Self { name, journals }))
    }
}

/// Whether a lock is ours again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// It was there all the time.
    There,
    /// A file of it was gone, and is locked anew.
    Anew,
    /// Another runner has taken the name meanwhile.
    Taken {
        /// Its process, where the file says so.
        pid: Option<u32>,
    },
}

impl Lock {
    /// Takes anew what of the lock is not in its place any more: a state folder may be removed while a runner runs.
    pub(crate) fn renew(&mut self, state: &Path) -> Result<Renewal, SinkError> {
        let mut renewal = Renewal::There;
        let path = state.join(NAME);
        if !is_at(&self.name, &path)? {
            let mut name = open(&path)?;
            if !try_lock(&name, &path)? {
                return Ok(Renewal::Taken { pid: read_pid(&mut name) });
            }
            write_pid(&mut name).map_err(SinkError::io("write to", &path))?;
            self.name = name;
            renewal = Renewal::Anew;
        }
        let path = state.join(JOURNALS);
        if !is_at(&self.journals, &path)? {
            self.journals = lock_journals(&path)?;
            renewal = Renewal::Anew;
        }
        Ok(renewal)
    }
}

/// Whether a path leads to a file that is open.
fn is_at(file: &File, path: &Path) -> Result<bool, SinkError> {
    let look = || {
        let (ours, there) = (file.metadata()?, fs::metadata(path)?);
        Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino()))
    };
    match look() {
        Err(error) if is_absent(&error) => Ok(false),
        found => found.map_err(SinkError::io("look at", path)),
    }
}

fn read_pid(name: &mut File) -> Option<u32> {
    let mut text = String::new();
    name.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok())
}

/// Waits for an adopter to be done, for 10 s.
fn lock_journals(path: &Path) -> Result<File, SinkError> {
    let journals = open(path)?;
    for _ in 0..LOOKS {
        if try_lock(&journals, path)? {
            return Ok(journals);
        }
        thread::sleep(LOOK_EVERY);
    }
    Err(SinkError::io("lock", path)(io::ErrorKind::TimedOut.into()))
}

/// The right to move journals away from a runner that is not there. To be held for a moment only: a
/// runner that starts waits for it.
#[derive(Debug)]
pub(crate) struct Adoption {
    _journals: File,
}

impl Adoption {
    /// None if the runner is there, or another adopter is at work.
    pub(crate) fn take(state: &Path) -> Result<Option<Self>, SinkError> {
        let path = state.join(JOURNALS);
        let journals = open(&path)?;
        Ok(try_lock(&journals, &path)?.then_some(Self { _journals: journals }))
    }

    /// Whether a runner is not there, and nobody takes over its journals. Makes nothing: a run that ends by itself
    /// takes its folder along.
    pub(crate) fn is_free(state: &Path) -> Result<bool, SinkError> {
        let path = state.join(JOURNALS);
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            opened => try_lock(&opened.map_err(SinkError::io("open", &path))?, &path),
        }
    }
}

fn open(path: &Path) -> Result<File, SinkError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(path)
        .map_err(SinkError::io("open", path))
}

/// False if it is locked by another one.
fn try_lock(file: &File, path: &Path) -> Result<bool, SinkError> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(SinkError::io("lock", path)(error.into())),
    }
}

/// Overwrites before it cuts, so that a reader never sees an empty file.
fn write_pid(file: &mut File) -> io::Result<()> {
    let text = format!("{}\n", std::process::id());
    file.seek(SeekFrom::Start(0))?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(state: &Path) -> Lock {
        match Lock::take(state).unwrap() {
            Locking::Held(lock) => lock,
            Locking::Taken { pid, .. } => panic!("held by {pid:?}"),
        }
    }

    #[test]
    fn d11_what_is_gone_of_a_lock_is_taken_anew_and_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        let mut lock = held(state);
        assert_eq!(lock.renew(state).unwrap(), Renewal::There);
        for gone in [&LOCK_FILES[..], &LOCK_FILES[..1], &LOCK_FILES[1..]] {
            for file in gone {
                fs::remove_file(state.join(file)).unwrap();
            }
            assert_eq!(lock.renew(state).unwrap(), Renewal::Anew, "{gone:?}");
            assert!(matches!(Lock::take(state).unwrap(), Locking::Taken { .. }), "{gone:?}");
            assert!(Adoption::take(state).unwrap().is_none(), "{gone:?}");
        }
    }

    #[test]
    fn d11_a_name_that_another_runner_has_taken_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut lock = held(folder.path());
        for file in LOCK_FILES {
            fs::remove_file(folder.path().join(file)).unwrap();
        }
        let _other = held(folder.path());
        assert_eq!(lock.renew(folder.path()).unwrap(), Renewal::Taken { pid: Some(std::process::id()) });
    }
}
