//! What there is to read: the segments of results folders, each once, in the order of time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::Window;
use crate::sink::SinkError;
use crate::sink::parquet::checksums::{is_absent, is_finished};
use crate::sink::parquet::folders::names;
use crate::sink::parquet::segment::Day;
use crate::sink::parquet::{Folders, SegmentName, Table};

/// A segment's rows of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// What tells it from all others: the results folder, and the segment's name.
    pub(crate) key: (PathBuf, String),
    /// The file.
    pub(crate) path: PathBuf,
    /// Its bytes.
    pub(crate) bytes: u64,
    /// Whether it is a journal that has no file yet.
    pub(crate) is_journal: bool,
}

impl Source {
    /// Day and hour of its first row, where its name says so.
    pub(crate) fn stamp(&self) -> &str {
        let name = &self.key.1;
        name.split_once('-').map_or(name, |(stamp, _)| stamp)
    }
}

/// The segments with rows of a table that may lie in the window, by their names.
pub(crate) fn list(folders: &[PathBuf], table: Table, window: Window) -> Result<Vec<Source>, SinkError> {
    let mut found = BTreeMap::new();
    for results in folders {
        // Journals first: one that becomes a file now is seen as either.
        for runner in Folders::every(results)? {
            journals(&runner, table, window, &mut found)?;
        }
        files(results, table, window, &mut found)?;
    }
    let mut sources: Vec<Source> = found.into_values().collect();
    sources.sort_by(|a, b| a.key.1.cmp(&b.key.1));
    Ok(sources)
}

type Found = BTreeMap<(PathBuf, String), Source>;

fn journals(runner: &Folders, table: Table, window: Window, found: &mut Found) -> Result<(), SinkError> {
    let folder = runner.journal();
    for name in names(&folder)? {
        let path = folder.join(&name);
        let Some(segment) = SegmentName::of_journal(&name) else { continue };
        let is_published = runner.results.join(Folders::published(&segment, table)).exists();
        if is_published || !may_hold(&segment.date(), window) {
            continue;
        }
        let Some(bytes) = length(&path)? else { continue };
        let key = (runner.results.clone(), segment.to_string());
        found.insert(key.clone(), Source { key, path, bytes, is_journal: true });
    }
    Ok(())
}

fn files(results: &Path, table: Table, window: Window, found: &mut Found) -> Result<(), SinkError> {
    for day in names(&results.join(table.name()))? {
        let folder = results.join(table.name()).join(&day);
        if !day.strip_prefix("date=").is_some_and(|date| may_hold(date, window)) {
            continue;
        }
        for name in names(&folder)? {
            let path = folder.join(&name);
            if !is_finished(&Path::new(table.name()).join(&day).join(&name)) {
                continue;
            }
            let Some(bytes) = length(&path)? else { continue };
            let plain = name.trim_end_matches(".parquet");
            let plain = plain.strip_prefix(table.name()).map_or(plain, |rest| rest.trim_start_matches('-'));
            let key = (results.to_owned(), plain.to_owned());
            found.insert(key.clone(), Source { key, path, bytes, is_journal: false });
        }
    }
    Ok(())
}

/// Whether a day may have rows in the window: a segment belongs to one UTC day. A folder whose name is no day is read.
fn may_hold(date: &str, window: Window) -> bool {
    let Some(day) = Day::of_date(date) else { return true };
    Day::of(window.since) <= day && day <= Day::of(window.until)
}

/// The bytes of a file; none if it has gone meanwhile.
fn length(path: &Path) -> Result<Option<u64>, SinkError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(SinkError::io("look at", path)(error)),
    }
}
