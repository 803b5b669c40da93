//! How a file becomes visible: written in the state folder, synced, renamed into the results folder,
//! whose entry is synced too. A reader sees the whole file or none; a path is written once and never
//! changes. The checksum is recorded before the rename, so that no visible file is without one.

use std::fs::{self, File, OpenOptions};
use std::hash::Hasher;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use twox_hash::xxhash3_64::{DEFAULT_SECRET_LENGTH, RawHasher, SecretBuffer};

use super::checksums::note_published;
use super::finished::Finished;
use super::folders::{Folders, make_folder};
use super::lock::LOCK_FILES;
use crate::sink::SinkError;

/// Files are for the owner and its group: rows hold URLs.
pub(crate) const FILE_MODE: u32 = 0o640;

/// A file on its way: counts and hashes what is written to it.
pub(crate) struct Staging {
    file: File,
    path: PathBuf,
    hasher: RawHasher<&'static [u8; DEFAULT_SECRET_LENGTH]>,
    bytes: u64,
}

/// A whole file that is not visible yet.
#[derive(Debug)]
pub(crate) struct Staged {
    path: PathBuf,
    /// XXH3-64 of the whole file.
    pub(crate) checksum: u64,
    /// Its length.
    pub(crate) bytes: u64,
}

impl Staging {
    /// Begins a file in the folder for files on their way; a stray of the same name is overwritten.
    pub(crate) fn begin(folders: &Folders, file_name: &str) -> Result<Self, SinkError> {
        let folder = folders.tmp();
        make_folder(&folder).map_err(SinkError::io("create", &folder))?;
        let path = folder.join(file_name);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(SinkError::io("create", &path))?;
        Ok(Self { file, path, hasher: RawHasher::new(SecretBuffer::default()), bytes: 0 })
    }

    /// The file's path, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs the file. After a failure it is not to be trusted, nor synced again: it is made anew.
    pub(crate) fn finish(self) -> Result<Staged, SinkError> {
        self.file.sync_all().map_err(SinkError::io("sync", &self.path))?;
        Ok(Staged { path: self.path, checksum: self.hasher.finish(), bytes: self.bytes })
    }
}

impl Write for Staging {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buf)?;
        Hasher::write(&mut self.hasher, &buf[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Staged {
    /// Appends the file's checksum to the list. `place` is the path below the results folder.
    pub(crate) fn record(&self, folders: &Folders, place: &Path) -> Result<Finished, SinkError> {
        let (checksum, bytes) = (self.checksum, self.bytes);
        let finished = Finished { place: place.display().to_string(), checksum, bytes };
        note_published(folders, &finished)?;
        Ok(finished)
    }

    /// Makes the file visible at `place` below the results folder.
    pub(crate) fn publish(self, folders: &Folders, place: &Path) -> Result<PathBuf, SinkError> {
        let path = folders.results.join(place);
        let folder = path.parent().unwrap_or(&folders.results);
        let publish = || -> Result<io::Result<()>, SinkError> {
            make_folder(folder).map_err(SinkError::io("create", folder))?;
            Ok(fs::rename(&self.path, &path))
        };
        let published = match publish()? {
            // Whoever has removed the last file of the day has taken the empty folder along in between.
            Err(error) if error.kind() == io::ErrorKind::NotFound => publish()?,
            published => published,
        };
        published.map_err(SinkError::io("publish", &path))?;
        sync_names(folders, place)?;
        Ok(path)
    }
}

/// Forces a folder's entries to the disk.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), SinkError> {
    File::open(folder).and_then(|opened| opened.sync_all()).map_err(SinkError::io("sync", folder))
}

/// Forces to the disk the names that lead to a finished file, at `place` below the results folder: whoever made the
/// folder of a date may have died before its name was there.
pub(crate) fn sync_names(folders: &Folders, place: &Path) -> Result<(), SinkError> {
    let path = folders.results.join(place);
    path.ancestors().skip(1).take_while(|above| above.starts_with(&folders.results)).try_for_each(sync_folder)
}

/// Appends whole lines and syncs, with the file's name where that may be new. A line that a crash has torn is
/// ended first.
pub(crate) fn append_line(path: &Path, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(FILE_MODE).open(path)?;
    let mut text = String::with_capacity(line.len() + 1);
    let is_empty = file.metadata()?.len() == 0;
    if !is_empty {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            text.push('\n');
        }
    }
    text.push_str(line);
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    match path.parent() {
        Some(folder) if is_empty => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// Ends the state of a run that ended by itself and left nothing to do: its lists go to `heir`, its
/// folder goes away, so that a run a minute does not leave a folder a minute. False if something is left.
pub(crate) fn retire(folders: &Folders, heir: &Folders) -> io::Result<bool> {
    for folder in [folders.journal(), folders.tmp(), folders.quarantine()] {
        match fs::remove_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => return Ok(false),
            removed => removed?,
        }
    }
    // What is uploaded first: a kill in between would have it uploaded again otherwise.
    for (own, list) in [(folders.uploaded(), heir.uploaded()), (folders.checksums(), heir.checksums())] {
        if own.exists() {
            make_folder(&heir.state())?;
            append_line(&list, &fs::read_to_string(&own)?)?;
            fs::remove_file(&own)?;
        }
    }
    for file in LOCK_FILES {
        fs::remove_file(folders.state().join(file))?;
    }
    let state = folders.state();
    let own = state.ancestors().take_while(|folder| *folder != folders.root);
    for folder in own {
        match fs::remove_dir(folder) {
            // Another sink of the same run still has its state there, and removes the rest.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => break,
            removed => removed?,
        }
    }
    Ok(true)
}

/// Removes files that a crash left on their way. Only for the holder of the lock, before it converts.
pub(crate) fn sweep(folders: &Folders) -> Result<(), SinkError> {
    let folder = folders.tmp();
    let failed = || SinkError::io("clear", &folder);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed())?,
    };
    for entry in entries {
        fs::remove_file(entry.map_err(failed())?.path()).map_err(failed())?;
    }
    Ok(())
}
