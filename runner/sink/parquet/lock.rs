//! One writer a runner name and results folder: an exclusive flock on `lock` in the state folder.
//!
//! The lock dies with the process, however it ends. The file itself is never removed: a lock on a file
//! that another process has just unlinked would lock nothing. It holds the pid of the last holder.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::publish::FILE_MODE;
use crate::sink::SinkError;

/// A lock that is held as long as this lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// What an attempt to lock came to.
#[derive(Debug)]
pub enum Locking {
    /// It is ours.
    Held(Lock),
    /// Another one holds it.
    Taken {
        /// The lock file.
        path: PathBuf,
        /// Its holder, where the file says so.
        pid: Option<u32>,
    },
}

impl Lock {
    /// Tries to lock `lock` in an existing state folder, without waiting.
    pub fn take(state: &Path) -> Result<Locking, SinkError> {
        let path = state.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(SinkError::io("open", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Ok(Locking::Taken { path, pid });
            }
            Err(error) => return Err(SinkError::io("lock", &path)(error.into())),
        }
        write_pid(&mut file).map_err(SinkError::io("write to", &path))?;
        Ok(Locking::Held(Self { _file: file }))
    }
}

/// Overwrites before it cuts, so that a reader never sees an empty file.
fn write_pid(file: &mut File) -> std::io::Result<()> {
    let text = format!("{}\n", std::process::id());
    file.seek(SeekFrom::Start(0))?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}
