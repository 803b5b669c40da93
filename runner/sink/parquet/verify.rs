//! Whether finished files are still what was written: their length and checksum, and every page of theirs.
//!
//! The checksum is the proof. Parquet's own page checksums are not written by parquet-rs, and a reader that counts rows
//! reads no page at all: a flipped byte passes it. The pages are read all the same, since a checksum says nothing of a
//! file that no list has, as one that was copied here from another machine, nor of what was wrong from the beginning.
//!
//! A file whose checksum is wrong is not decoded: nothing of it is to be trusted, and decoders of damaged files have
//! been seen to panic and to ask for absurd amounts of memory. For the others the footer is held against the file's
//! length first, and a panic is an answer like any other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::hash::Hasher as _;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use ::parquet::file::metadata::ParquetMetaData;
use twox_hash::xxhash3_64::{RawHasher, SecretBuffer};

use super::checksums::{Listed, Lists, is_absent, is_finished};
use super::folders::{COMPACTOR, Folders, names};
use super::schema::Table;
use super::segment::SegmentName;
use crate::sink::SinkError;

/// What is read at once.
const PIECE: usize = 1 << 20;
/// Files looked at side by side: one is hashed from the disk while another is decoded.
const THREADS: usize = 2;
/// Answers that may wait for the teller.
const ANSWERS: usize = 64;
/// The name of the threads that decode. Their panics are answers.
pub const THREAD: &str = "verify";

/// A file and what was found of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The file.
    pub path: PathBuf,
    /// Its length now, in bytes; 0 where it is gone.
    pub bytes: u64,
    /// Its rows, where they could be read.
    pub rows: Option<u64>,
    /// What is wrong with it, or to be known of it.
    pub finding: Finding,
}

/// What was found of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It is as it was written, and can be read to its end.
    Whole,
    /// It can be read to its end, and no list has it: whether it is as it was written cannot be told.
    Unlisted,
    /// A journal whose results are safe, and in no file yet: a runner writes it, or its next start makes files of it.
    Waiting,
    /// A list has it, and it is not there, though nothing removed it on purpose.
    Missing,
    /// It is not as it was written.
    Changed {
        /// In what way.
        how: String,
    },
    /// It cannot be read to its end.
    Unreadable {
        /// Why.
        reason: String,
    },
    /// It is no finished file of ours: readers of the folder fail at it, or take it for one.
    Foreign,
    /// A journal of which something could not be read. Rows in it may not be published.
    Quarantined,
}

impl Finding {
    /// Its name in output for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Unlisted => "unlisted",
            Self::Waiting => "waiting",
            Self::Missing => "missing",
            Self::Changed { .. } => "changed",
            Self::Unreadable { .. } => "unreadable",
            Self::Foreign => "foreign",
            Self::Quarantined => "quarantined",
        }
    }

    /// Whether something is lost or in the way.
    pub fn is_damage(&self) -> bool {
        !matches!(self, Self::Whole | Self::Unlisted | Self::Waiting)
    }
}

/// A results folder that is about to be looked at.
#[derive(Debug)]
pub struct Verification {
    results: PathBuf,
    /// By the path below the results folder, with their lengths.
    files: Vec<(PathBuf, u64)>,
    lists: Lists,
    beside: Vec<Verified>,
}

impl Verification {
    /// Finds every file below a results folder, and the lists of all runners beside it; with `runner`, only the files
    /// of that runner and what belongs to none. Takes no lock: what a runner publishes meanwhile is looked at or not.
    pub fn of(results: &Path, runner: Option<&str>) -> Result<Self, SinkError> {
        // Files first: a file is listed before it is visible, so that each of these has its line by now.
        let mut files = BTreeMap::new();
        match collect(results, Path::new(""), &mut files) {
            // All of them may be gone, which the lists know.
            Err(error) if is_absent(&error) => {}
            collected => collected.map_err(SinkError::io("look through", results))?,
        }
        let runners = Folders::every(results)?;
        if files.is_empty() && runners.is_empty() {
            return Err(SinkError::io("look through", results)(io::ErrorKind::NotFound.into()));
        }
        let mut lists = Lists::read(&runners)?;
        let mut beside = Vec::new();
        for folders in runners.iter().filter(|folders| runner.is_none_or(|runner| folders.is_of(runner))) {
            journals(&folders.journal(), &Finding::Waiting, &mut beside)?;
            journals(&folders.quarantine(), &Finding::Quarantined, &mut beside)?;
        }
        if let Some(runner) = runner {
            let is_wanted = |place: &Path| name_of(place).is_none_or(|name| name.is_of(runner));
            files.retain(|place, _| is_wanted(place));
            lists.published.retain(|place, _| is_wanted(place));
        }
        Ok(Self { results: results.to_owned(), files: files.into_iter().collect(), lists, beside })
    }

    /// How many bytes there are to be read.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Looks at every file and tells of each, in the order of their paths. Fails if no thread can be started.
    pub fn run(self, mut tell: impl FnMut(Verified)) -> Result<(), SinkError> {
        let Self { results, files, lists, beside } = self;
        let next = AtomicUsize::new(0);
        let (sender, answers) = sync_channel(ANSWERS);
        let work = |sender: SyncSender<(usize, Option<Verified>)>| {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some((place, bytes)) = files.get(at) else { return };
                let found = one(&results, place, *bytes, lists.published.get(place).copied());
                if sender.send((at, found)).is_err() {
                    return;
                }
            }
        };
        let work = &work;
        thread::scope(|scope| {
            let start = |sender| {
                thread::Builder::new().name(THREAD.to_owned()).spawn_scoped(scope, move || work(sender))
            };
            for number in 0..THREADS.min(files.len()) {
                match start(sender.clone()) {
                    // One is enough.
                    Err(_) if number > 0 => {}
                    started => drop(started.map_err(SinkError::Thread)?),
                }
            }
            drop(sender);
            in_order(answers.iter(), |found| found.into_iter().for_each(&mut tell));
            Ok::<_, SinkError>(())
        })?;
        for path in missing(&results, lists.published.keys())? {
            tell(Verified { path, bytes: 0, rows: None, finding: Finding::Missing });
        }
        beside.into_iter().for_each(tell);
        Ok(())
    }
}

/// Those of the places that were published, are gone, and were not removed on purpose.
fn missing<'a>(
    results: &Path,
    published: impl Iterator<Item = &'a PathBuf>,
) -> Result<Vec<PathBuf>, SinkError> {
    let is_gone = |place: &&PathBuf| !results.join(place).exists();
    let gone: Vec<_> = published.filter(is_gone).collect();
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    // Only now: whatever removed one of them, perhaps while others were read, has noted that before.
    let runners = Folders::every(results)?;
    let removed = Lists::read(&runners)?.removed;
    // A line comes before its file is visible. A kill between the two leaves a line alone, and what the file is made
    // of: the journal, or for an archive the file on its way.
    let mut journals = BTreeSet::new();
    for runner in &runners {
        journals.extend(
            names(&runner.journal())?
                .iter()
                .filter_map(|name| SegmentName::of_journal(name).map(|segment| segment.to_string())),
        );
    }
    let is_on_its_way = |place: &Path| {
        let compactors = || runners.iter().filter(|runner| runner.runner == COMPACTOR);
        name_of(place).is_some_and(|segment| journals.contains(&segment.to_string()))
            || place.file_name().is_some_and(|file| compactors().any(|own| own.tmp().join(file).exists()))
    };
    let wanted = gone.into_iter().filter(|place| !removed.contains(*place) && !is_on_its_way(place));
    // A file may have come while its journal went.
    Ok(wanted.filter(is_gone).map(|place| results.join(place)).collect())
}

/// Gives numbered answers on in the order of their numbers.
fn in_order<T>(answers: impl Iterator<Item = (usize, T)>, mut tell: impl FnMut(T)) {
    let mut early = BTreeMap::new();
    let mut next = 0;
    for (at, answer) in answers {
        early.insert(at, answer);
        while let Some(answer) = early.remove(&next) {
            tell(answer);
            next += 1;
        }
    }
    // A thread that died has left a gap: what comes after it is told all the same.
    early.into_values().for_each(tell);
}

/// Looks at one file; none if it has gone meanwhile, by retention or by a person.
fn one(results: &Path, place: &Path, bytes: u64, listed: Option<Listed>) -> Option<Verified> {
    let path = results.join(place);
    let (rows, finding) = if is_finished(place) {
        match look(&path, bytes, listed) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => (None, Finding::Unreadable { reason: error.to_string() }),
        }
    } else {
        (None, Finding::Foreign)
    };
    Some(Verified { path, bytes, rows, finding })
}

fn look(path: &Path, bytes: u64, listed: Option<Listed>) -> io::Result<(Option<u64>, Finding)> {
    // Opened once: a file that goes meanwhile is read to its end all the same.
    let mut file = File::open(path)?;
    if let Some(Listed { checksum, bytes: were }) = listed {
        if bytes != were {
            let how = format!("it has {bytes} bytes, and was published with {were}");
            return Ok((None, Finding::Changed { how }));
        }
        let found = checksum_of(&mut file)?;
        if found != checksum {
            let how = format!("its checksum is {found:016x}, and was {checksum:016x}");
            return Ok((None, Finding::Changed { how }));
        }
    }
    let read = catch_unwind(AssertUnwindSafe(|| rows_of(file, bytes)))
        .unwrap_or_else(|_| Err("decoding it failed in an unforeseen way".to_owned()));
    Ok(match read {
        Ok(rows) if listed.is_some() => (Some(rows), Finding::Whole),
        Ok(rows) => (Some(rows), Finding::Unlisted),
        Err(reason) => (None, Finding::Unreadable { reason }),
    })
}

/// XXH3-64 of a whole file.
fn checksum_of(file: &mut File) -> io::Result<u64> {
    let mut hasher = RawHasher::new(SecretBuffer::default());
    let mut piece = vec![0; PIECE];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.write(&piece[..read]);
    }
}

/// Reads every page of every column.
fn rows_of(file: File, bytes: u64) -> Result<u64, String> {
    let metadata =
        ArrowReaderMetadata::load(&file, ArrowReaderOptions::default()).map_err(|error| error.to_string())?;
    let announced = hold_against(metadata.metadata(), bytes)?;
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
    let mut rows = 0;
    for batch in reader.build().map_err(|error| error.to_string())? {
        rows += batch.map_err(|error| error.to_string())?.num_rows() as u64;
    }
    if rows == announced {
        Ok(rows)
    } else {
        Err(format!("it has {rows} rows, and says that it has {announced}"))
    }
}

/// What a footer says has to fit into the file, before anybody asks for memory by it. Returns the rows.
fn hold_against(footer: &ParquetMetaData, bytes: u64) -> Result<u64, String> {
    let mut rows = 0_i64;
    for group in footer.row_groups() {
        rows = rows.saturating_add(group.num_rows());
        for column in group.columns() {
            let (offset, length) = (column.data_page_offset(), column.compressed_size());
            let start = column.dictionary_page_offset().unwrap_or(offset).min(offset);
            let fits = start >= 4 && length >= 0 && start.saturating_add(length) as u64 <= bytes;
            if !fits || group.num_rows() < 0 || column.num_values() < 0 {
                return Err(format!("its footer has column \"{}\" where it cannot be", column.column_path()));
            }
        }
    }
    let announced = footer.file_metadata().num_rows();
    match u64::try_from(announced) {
        Ok(announced) if i64::try_from(announced) == Ok(rows) => Ok(announced),
        _ => Err(format!("its row groups have {rows} rows, and it says that it has {announced}")),
    }
}

/// Every file below `folder`, with its length.
fn collect(results: &Path, below: &Path, files: &mut BTreeMap<PathBuf, u64>) -> io::Result<()> {
    for entry in fs::read_dir(results.join(below))? {
        let entry = entry?;
        let place = below.join(entry.file_name());
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        if entry.file_type()?.is_dir() {
            match collect(results, &place, files) {
                // Retention removes empty folders.
                Err(error) if gone(&error) => {}
                collected => collected?,
            }
        } else {
            match entry.metadata() {
                Ok(metadata) => drop(files.insert(place, metadata.len())),
                Err(error) if gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// The segment that a finished file came of, where its name says so.
fn name_of(place: &Path) -> Option<SegmentName> {
    let file = place.file_name()?.to_str()?;
    Table::ALL.into_iter().find_map(|table| SegmentName::of_file(file, table))
}

/// The journals in a folder, each with the same finding.
fn journals(folder: &Path, finding: &Finding, found: &mut Vec<Verified>) -> Result<(), SinkError> {
    let mut files = BTreeMap::new();
    match collect(folder, Path::new(""), &mut files) {
        Err(error) if is_absent(&error) => return Ok(()),
        collected => collected.map_err(SinkError::io("look through", folder))?,
    }
    found.extend(files.into_iter().map(|(place, bytes)| Verified {
        path: folder.join(place),
        bytes,
        rows: None,
        finding: finding.clone(),
    }));
    Ok(())
}

#[cfg(test)]
mod tests;
