//! Records found again, in the order of their attempts. What is not a record is told and passed over; a
//! last line without its end is what a kill leaves, or still being written.
//!
//! Two passes, so that memory holds no record but one: the first notes where each stands.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::files::record_files;
use crate::check::{Record, RecordError, RecordKey};
use crate::clock::UnixNanos;

/// The longest line that is read, in bytes: the largest body as base64, and state of a hundred checks.
const LINE_BYTES: u64 = 128 << 20;
/// Lines that are no records which are told one by one.
const TOLD: usize = 10;
/// How deep folders are looked into: the state folder, its runners, `records`, pipelines.
const DEPTH: usize = 4;

/// Which records are wanted.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Of these pipelines; none means all.
    pub pipelines: Option<BTreeSet<String>>,
    /// Of these targets; none means all.
    pub targets: Option<BTreeSet<String>>,
    /// Attempts that began at this moment or later.
    pub since: Option<UnixNanos>,
    /// Attempts that began before this moment.
    pub until: Option<UnixNanos>,
}

/// A line that could not be read.
#[derive(Debug)]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: Wrong,
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// It is no record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It is longer than any record.
    #[error("longer than any record")]
    TooLong,
    /// The file went away, or could not be read, in between.
    #[error("could not be read again: {0}")]
    Io(#[from] io::Error),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.reason)
    }
}

/// Reads the records of some files, the oldest attempt first.
#[derive(Debug, Default)]
pub struct RecordReader {
    files: Vec<PathBuf>,
    places: std::vec::IntoIter<Place>,
    open: Option<(usize, File)>,
    /// The first of the lines that are no records.
    pub unreadable: Vec<Unreadable>,
    /// How many lines are no records.
    pub unreadable_lines: u64,
    /// Files whose last line has no end.
    pub torn: Vec<PathBuf>,
    /// Pipelines with wanted records, and how many.
    pub pipelines: BTreeMap<String, u64>,
    /// Pipelines with records that are wanted but for their pipeline, and how many.
    pub passed_over: BTreeMap<String, u64>,
}

/// Where a record stands, and what it is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    started_at: UnixNanos,
    seq: i64,
    file: usize,
    offset: u64,
    line: u64,
    length: usize,
}

impl RecordReader {
    /// Looks through files, and folders of them. Fails, with the path, for one that cannot be read.
    pub fn open(paths: &[PathBuf], selection: &Selection) -> Result<Self, (PathBuf, io::Error)> {
        let mut reader = Self::default();
        for path in paths {
            find(path, DEPTH, &mut reader.files)?;
        }
        // One file under two names is one.
        let mut seen = BTreeSet::new();
        reader.files.retain(|path| fs::canonicalize(path).is_ok_and(|whole| seen.insert(whole)));
        let mut places = Vec::new();
        for (at, path) in reader.files.clone().iter().enumerate() {
            match reader.note_places(at, path, selection, &mut places) {
                // An old file that made room for a new one just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                noted => noted.map_err(|error| (path.clone(), error))?,
            }
        }
        places.sort_unstable();
        reader.places = places.into_iter();
        Ok(reader)
    }

    /// How many files there are.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    fn note_places(
        &mut self,
        file: usize,
        path: &Path,
        selection: &Selection,
        places: &mut Vec<Place>,
    ) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(256 << 10, File::open(path)?);
        let mut bytes = Vec::new();
        let (mut offset, mut line) = (0, 0);
        loop {
            let found = next_line(&mut reader, &mut bytes)?;
            line += 1;
            let length = match found {
                Line::End => return Ok(()),
                Line::Torn => {
                    self.torn.push(path.to_owned());
                    return Ok(());
                }
                Line::TooLong(length) => {
                    self.tell(path, line, Wrong::TooLong);
                    length
                }
                Line::Whole => {
                    match RecordKey::from_line(&bytes) {
                        Ok(key) => {
                            if self.takes(&key, selection) {
                                let RecordKey { started_at, seq, .. } = key;
                                places.push(Place {
                                    started_at,
                                    seq,
                                    file,
                                    offset,
                                    line,
                                    length: bytes.len(),
                                });
                            }
                        }
                        Err(error) => self.tell(path, line, error.into()),
                    }
                    bytes.len() as u64
                }
            };
            offset += length;
        }
    }

    fn tell(&mut self, path: &Path, line: u64, reason: Wrong) {
        self.unreadable_lines += 1;
        if self.unreadable.len() < TOLD {
            self.unreadable.push(Unreadable { path: path.to_owned(), line, reason });
        }
    }

    /// Whether a record is wanted; counts it by its pipeline.
    fn takes(&mut self, key: &RecordKey, selection: &Selection) -> bool {
        let Selection { pipelines, targets, since, until } = selection;
        let is_out = targets.as_ref().is_some_and(|targets| !targets.contains(&key.target))
            || since.is_some_and(|since| key.started_at < since)
            || until.is_some_and(|until| key.started_at >= until);
        if is_out {
            return false;
        }
        let is_wanted = pipelines.as_ref().is_none_or(|pipelines| pipelines.contains(&key.pipeline));
        let counts = if is_wanted { &mut self.pipelines } else { &mut self.passed_over };
        *counts.entry(key.pipeline.clone()).or_default() += 1;
        is_wanted
    }

    fn read(&mut self, place: Place) -> Result<Record, Wrong> {
        let mut bytes = vec![0; place.length];
        let file = match &mut self.open {
            Some((at, file)) if *at == place.file => file,
            open => &mut open.insert((place.file, File::open(&self.files[place.file])?)).1,
        };
        file.seek(SeekFrom::Start(place.offset))?;
        file.read_exact(&mut bytes)?;
        Ok(Record::from_line(&bytes)?)
    }
}

impl Iterator for RecordReader {
    type Item = Record;

    /// The next record; one that cannot be read any more is told like the others, and passed over.
    fn next(&mut self) -> Option<Record> {
        loop {
            let place = self.places.next()?;
            match self.read(place) {
                Ok(record) => return Some(record),
                Err(reason) => {
                    let path = self.files[place.file].clone();
                    self.tell(&path, place.line, reason);
                }
            }
        }
    }
}

fn find(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), (PathBuf, io::Error)> {
    let failed = |error| (path.to_owned(), error);
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    files.extend(record_files(path).map_err(failed)?);
    if depth == 0 {
        return Ok(());
    }
    let mut below = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            below.push(path);
        }
    }
    below.sort();
    below.iter().try_for_each(|folder| find(folder, depth - 1, files))
}

/// What the next line of a file is.
enum Line {
    /// Whole, its end included.
    Whole,
    /// Longer than a line may be, and how long.
    TooLong(u64),
    /// Without its end.
    Torn,
    /// None.
    End,
}

fn next_line(reader: &mut impl BufRead, bytes: &mut Vec<u8>) -> io::Result<Line> {
    bytes.clear();
    let read = reader.by_ref().take(LINE_BYTES).read_until(b'\n', bytes)? as u64;
    if bytes.ends_with(b"\n") {
        return Ok(Line::Whole);
    }
    if read < LINE_BYTES {
        return Ok(if read == 0 { Line::End } else { Line::Torn });
    }
    let skipped = reader.skip_until(b'\n')? as u64;
    Ok(Line::TooLong(read + skipped))
}

#[cfg(test)]
mod tests;
