//! A journal becomes finished files: one function, at rotation and at start alike.
//!
//! Each step can be repeated after a crash: names derive from the journal's, a file that is there is not
//! made again, and the journal goes last.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::encode::encode;
use super::finished::Finished;
use super::folders::{Folders, make_folder};
use super::publish::{Staged, Staging, sync_folder, sync_names};
use super::recover::{Contents, JournalReader, Scan};
use super::schema::Table;
use super::segment::SegmentName;
use super::sort::{Sorted, Sorter};
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
    /// The same, as the lists know them.
    pub(crate) finished: Vec<Finished>,
    /// Their bytes.
    pub file_bytes: u64,
    /// Damaged stretches that it skipped.
    pub skipped_frames: u64,
    /// Rows that it dropped, since they stood in the journal twice.
    pub doubled_rows: u64,
    /// Whether it cut a torn tail.
    pub torn_tail: bool,
    /// Whether there was no such journal: it was converted before, or somebody has removed it.
    pub was_gone: bool,
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
        Err(SinkError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            done.was_gone = true;
            return Ok(());
        }
        reader => reader?,
    };
    let scan = reader.scan()?;
    done.skipped_frames = scan.contents.skipped;
    done.torn_tail = scan.contents.torn_bytes > 0;
    for table in Table::ALL {
        let place = Folders::published(&segment, table);
        if rows_of(&scan.contents, table) == 0 {
            continue;
        }
        if folders.results.join(&place).exists() {
            // Whoever made it may have died, or failed, before its name was on the disk; the journal goes next.
            sync_names(folders, &place)?;
            continue;
        }
        let Some((staged, rows)) = stage(folders, &segment, table, (&reader, &scan), done)? else { continue };
        let finished = staged.record(folders, &place)?;
        let bytes = staged.bytes;
        done.files.push(staged.publish(folders, &place)?);
        done.finished.push(finished);
        done.file_bytes += bytes;
        match table {
            Table::Probes => done.rows += rows,
            Table::Checks => done.check_rows += rows,
        }
    }
    if done.skipped_frames > 0 || done.doubled_rows > 0 {
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
    (reader, scan): (&JournalReader, &Scan),
    done: &mut Converted,
) -> Result<Option<(Staged, u64)>, SinkError> {
    let new_sorter = || Sorter::new(table, folders, &segment.file(table), scan.bytes(table));
    let collected = match collect(new_sorter(), table, reader, scan) {
        // A file that frees ten times its size must not wait for room to be sorted in.
        Err(error) if error.is_disk_full() => {
            collect(new_sorter().with_chunk_limit(u64::MAX), table, reader, scan)?
        }
        collected => collected?,
    };
    let (sorted, undecodable) = collected;
    done.skipped_frames += undecodable;
    let Some(mut sorted) = sorted else { return Ok(None) };
    let mut staging = Staging::begin(folders, &segment.file(table))?;
    let path = staging.path().to_owned();
    let staged = encode(table, segment, &mut sorted, &mut staging)
        .map_err(|source| SinkError::Encode { path: path.clone(), source })
        .and_then(|rows| Ok((staging.finish()?, rows)));
    done.doubled_rows += sorted.doubled;
    if staged.is_err() {
        // Half a file on a full disk would keep the journal from being written. The error matters more
        // than whether this works.
        let _ = fs::remove_file(&path);
    }
    staged.map(Some)
}

/// The rows of a table in their order, if there are any, and how many frames could not be decoded.
fn collect(
    mut sorter: Sorter<'_>,
    table: Table,
    reader: &JournalReader,
    scan: &Scan,
) -> Result<(Option<Sorted>, u64), SinkError> {
    let mut rows = reader.rows(scan, table)?;
    while let Some((batch, bytes)) = rows.next_batch()? {
        sorter.push(batch, bytes)?;
    }
    let undecodable = rows.undecodable;
    Ok((sorter.finish()?, undecodable))
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
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries.map_err(SinkError::io("list", &folder))?,
    };
    for entry in entries {
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
