//! The record files of one pipeline: lines appended, never more bytes than allowed, the oldest go first.
//!
//! A file is locked (flock) as long as it is written, so that two runs of one pipeline can stand side by
//! side and neither takes away, or mends, what the other one writes.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock, statvfs};
use tracing::warn;

use crate::clock::UnixNanos;

/// Records are for the owner alone: they hold whole responses.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// Folders above them are as the results' state has them.
const STATE_MODE: u32 = 0o750;
/// Into how many files the size of all is divided: that much of the past goes at once.
const PARTS: u64 = 8;
/// What is left free of the disk, for results: a twentieth of it, but no more than this.
const FREE_BYTES: u64 = 256 << 20;
const FREE_PART: u64 = 20;
/// Read at once while the end of the last whole line is looked for.
const BLOCK: u64 = 64 << 10;
/// What the name of a record file ends in.
pub(super) const ENDING: &str = "jsonl";

/// Why a record was not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotKept {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the disk is nearly full, and what is left is for results")]
    DiskFull,
    #[error("a record of {0} bytes is longer than max_size")]
    TooLong(u64),
}

/// The record files of one pipeline, as one run sees them.
#[derive(Debug)]
pub(super) struct RecordFiles {
    folder: PathBuf,
    run_id: Arc<str>,
    number: u32,
    current: Option<Current>,
    /// Whether the disk under a folder has no more room than results may need.
    is_nearly_full: fn(&Path) -> io::Result<bool>,
}

/// The file that is written.
#[derive(Debug)]
struct Current {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl RecordFiles {
    /// The files in a folder, which is made when it is needed.
    pub(super) fn new(folder: PathBuf, run_id: Arc<str>) -> Self {
        Self { folder, run_id, number: 0, current: None, is_nearly_full }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Appends a line. Returns how many old files were removed for it.
    pub(super) fn append(&mut self, line: &[u8], max_size: u64, now: UnixNanos) -> Result<u64, NotKept> {
        let length = line.len() as u64;
        if length > max_size {
            return Err(NotKept::TooLong(length));
        }
        let part = max_size / PARTS;
        let is_done = |current: &Current| {
            current.bytes > 0 && current.bytes + length > part || current.is_gone().unwrap_or(true)
        };
        if self.current.as_ref().is_some_and(is_done) {
            self.current = None;
        }
        let mut removed = 0;
        if self.current.is_none() {
            make_folders(&self.folder)?;
        }
        removed += self.give_way()?;
        if (self.is_nearly_full)(&self.folder)? {
            return Err(NotKept::DiskFull);
        }
        let mut current = match self.current.take() {
            Some(current) => current,
            None => {
                removed += self.make_room(max_size - part.max(length))?;
                self.begin(now)?
            }
        };
        let written = current.file.write_all(line);
        match written {
            Ok(()) => current.bytes += length,
            // What of the line is there would be in the way of the next one.
            Err(error) => {
                self.current = current.file.set_len(current.bytes).is_ok().then_some(current);
                return Err(error.into());
            }
        }
        self.current = Some(current);
        Ok(removed)
    }

    /// Leaves the last of the disk to results: where there is no more, the oldest files go, the one that is
    /// written at last. Returns how many.
    pub(super) fn give_way(&mut self) -> io::Result<u64> {
        let mut removed = 0;
        for path in record_files(&self.folder)? {
            if !(self.is_nearly_full)(&self.folder)? {
                break;
            }
            if self.current.as_ref().is_some_and(|current| current.path == path) {
                self.current = None;
            }
            if !is_being_written(&path)? {
                fs::remove_file(&path)?;
                removed += 1;
            }
        }
        if removed > 0 {
            let folder = self.folder.display();
            warn!(files = removed, %folder, "the disk is nearly full: old records give way to results");
        }
        Ok(removed)
    }

    /// Begins a file; its name sorts by its age.
    fn begin(&mut self, now: UnixNanos) -> io::Result<Current> {
        let at = Timestamp::from_nanosecond(i128::from(now.0)).unwrap_or_default();
        self.number += 1;
        let name = format!("{}-{}-{:06}.{ENDING}", at.strftime("%Y%m%dT%H%M%SZ"), self.run_id, self.number);
        let path = self.folder.join(name);
        let file = OpenOptions::new().append(true).create_new(true).mode(FILE_MODE).open(&path)?;
        // Another run may look at it just now; that is over at once.
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(Current { path, file, bytes: 0 })
    }

    /// Removes the oldest files until all together have at most `bytes`. Returns how many.
    fn make_room(&self, bytes: u64) -> io::Result<u64> {
        let files = record_files(&self.folder)?;
        let mut sizes = Vec::with_capacity(files.len());
        for path in files {
            // One that another run has just removed takes no room.
            if let Ok(found) = fs::metadata(&path) {
                sizes.push((path, found.len()));
            }
        }
        let mut total: u64 = sizes.iter().map(|(_, size)| size).sum();
        let mut removed = 0;
        for (path, size) in sizes {
            if total <= bytes {
                break;
            }
            if is_being_written(&path)? {
                continue;
            }
            fs::remove_file(&path)?;
            total -= size;
            removed += 1;
        }
        Ok(removed)
    }

    /// Cuts off lines that a kill has torn.
    pub(super) fn mend(&self) {
        let files = record_files(&self.folder).unwrap_or_default();
        for path in files {
            if let Err(error) = mend(&path) {
                warn!(path = %path.display(), %error, "the end of a record file cannot be mended");
            }
        }
    }
}

impl Current {
    /// Whether somebody has removed the file.
    fn is_gone(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.nlink() == 0)
    }
}

/// The record files in a folder, the oldest first; none where there is no such folder.
pub(super) fn record_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new(ENDING)) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn make_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut above = DirBuilder::new();
    above.recursive(true).mode(STATE_MODE);
    let mut own = DirBuilder::new();
    own.recursive(true).mode(FOLDER_MODE);
    // `records` and the pipeline's own folder in it are private, the state folder above is not.
    if let Some(state) = folder.parent().and_then(Path::parent).filter(|state| !state.as_os_str().is_empty())
    {
        above.create(state)?;
    }
    own.create(folder)
}

/// Whether another run has the file open for writing, or it is gone.
fn is_being_written(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        file => file?,
    };
    Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).is_err())
}

fn mend(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(());
    }
    let length = file.metadata()?.len();
    match end_of_lines(&mut file, length)? {
        end if end == length && end > 0 => Ok(()),
        0 => fs::remove_file(path),
        end => file.set_len(end),
    }
}

/// Where the last whole line ends.
fn end_of_lines(file: &mut File, length: u64) -> io::Result<u64> {
    let mut end = length;
    let mut block = Vec::new();
    while end > 0 {
        let begin = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(begin))?;
        block.clear();
        file.take(end - begin).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(begin + at as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

fn is_nearly_full(folder: &Path) -> io::Result<bool> {
    let disk = statvfs(folder)?;
    let (free, whole) =
        (disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize));
    Ok(free < FREE_BYTES.min(whole / FREE_PART))
}

#[cfg(test)]
mod tests;
