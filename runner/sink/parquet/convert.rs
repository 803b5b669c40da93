//! A journal becomes finished files: one function, at rotation and at start alike.
//!
//! Each step can be repeated after a crash: names derive from the journal's, a file that is there is not
//! made again, and the journal goes last.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::encode::encode;
use super::folders::{Folders, make_folder};
use super::publish::{Staged, Staging, sync_folder, sync_names};
use super::recover::{Contents, JournalReader};
use super::schema::Table;
use super::segment::SegmentName;
use crate::sink::SinkError;

/// What a conversion has done.
#[derive(Debug, Default)]
pub struct Converted {
    /// Rows of `probes` in files that it published.
    pub rows: u64,
    /// Rows of `checks` in files that it published.
    pub check_rows: u64,
    /// The files that it published.
    pub files: Vec<PathBuf>,
    /// Their bytes.
    pub file_bytes: u64,
    /// Damaged stretches that it skipped.
    pub skipped_frames: u64,
    /// Whether it cut a torn tail.
    pub torn_tail: bool,
    /// Whether the journal went to quarantine, since parts of it are damaged.
    pub quarantined: bool,
}

/// Makes the finished files of a sealed journal, and removes it. Repeatable after any crash.
pub fn convert(folders: &Folders, journal: &Path) -> Result<Converted, SinkError> {
    let mut done = Converted::default();
    convert_into(folders, journal, &mut done).map(|()| done)
}

/// As [`convert`]; tells what was done also if a later step failed.
pub(crate) fn convert_into(folders: &Folders, journal: &Path, done: &mut Converted) -> Result<(), SinkError> {
    let segment = segment_of(journal)?;
    let reader = match JournalReader::open(journal) {
        Err(SinkError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        reader => reader?,
    };
    let contents = reader.contents()?;
    done.skipped_frames = contents.skipped;
    done.torn_tail = contents.torn_bytes > 0;
    for table in Table::ALL {
        let place = Folders::published(&segment, table);
        if rows_of(&contents, table) == 0 {
            continue;
        }
        if folders.results.join(&place).exists() {
            // Whoever made it may have died, or failed, before its name was on the disk; the journal goes next.
            sync_names(folders, &place)?;
            continue;
        }
        let Some((staged, rows)) = stage(folders, &segment, table, &reader, done)? else { continue };
        staged.record(folders, &place)?;
        let bytes = staged.bytes;
        done.files.push(staged.publish(folders, &place)?);
        done.file_bytes += bytes;
        match table {
            Table::Probes => done.rows += rows,
            Table::Checks => done.check_rows += rows,
        }
    }
    if done.skipped_frames > 0 {
        quarantine(folders, journal)?;
        done.quarantined = true;
    } else {
        remove(journal)?;
    }
    Ok(())
}

fn segment_of(journal: &Path) -> Result<SegmentName, SinkError> {
    let name = journal.file_name().and_then(|name| name.to_str()).and_then(SegmentName::of_journal);
    name.ok_or_else(|| SinkError::UnreadableJournal {
        path: journal.to_owned(),
        reason: "its name is not one of a journal".to_owned(),
    })
}

fn rows_of(contents: &Contents, table: Table) -> u64 {
    match table {
        Table::Probes => contents.probes,
        Table::Checks => contents.checks,
    }
}

/// Encodes one table into the folder for files on their way; none if none of its rows can be decoded.
fn stage(
    folders: &Folders,
    segment: &SegmentName,
    table: Table,
    reader: &JournalReader,
    done: &mut Converted,
) -> Result<Option<(Staged, u64)>, SinkError> {
    let (batches, undecodable) = reader.read(table)?;
    done.skipped_frames += undecodable;
    if batches.is_empty() {
        return Ok(None);
    }
    let mut staging = Staging::begin(folders, &segment.file(table))?;
    let path = staging.path().to_owned();
    let staged = encode(table, segment, &batches, &mut staging)
        .map_err(|source| SinkError::Encode { path: path.clone(), source })
        .and_then(|rows| Ok((staging.finish()?, rows)));
    if staged.is_err() {
        // Half a file on a full disk would keep the journal from being written. The error matters more
        // than whether this works.
        let _ = fs::remove_file(&path);
    }
    staged.map(Some)
}

fn remove(journal: &Path) -> Result<(), SinkError> {
    match fs::remove_file(journal) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(SinkError::io("remove", journal)),
    }
}

/// Moves a journal where it stays for a person to look at.
pub(crate) fn quarantine(folders: &Folders, journal: &Path) -> Result<(), SinkError> {
    let folder = folders.quarantine();
    make_folder(&folder).map_err(SinkError::io("create", &folder))?;
    let place = folder.join(journal.file_name().unwrap_or_default());
    fs::rename(journal, &place).map_err(SinkError::io("move to quarantine", journal))?;
    sync_folder(&folder)
}

/// The journals in a folder, oldest name first.
pub(crate) fn journals(folders: &Folders) -> Result<Vec<PathBuf>, SinkError> {
    let folder = folders.journal();
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(SinkError::io("list", &folder))? {
        let path = entry.map_err(SinkError::io("list", &folder))?.path();
        if path.extension().is_some_and(|extension| extension == "journal") {
            found.push(path);
        }
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests;
