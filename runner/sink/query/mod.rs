//! Reading results: what `probity stats` tells, from finished files and from journals that are being written.
//!
//! **What is read.** Of each results folder the finished files of the window's days, and every journal that has no file
//! yet, also that of a runner at work: read-only, without its lock, as far as it was written when it was opened; a torn
//! tail is passed over. A segment counts once: a journal is left out as soon as its file is there. Days are chosen by
//! the `date=` folder, row groups by their statistics, columns by what is asked; rows by their time.
//!
//! **While the folder changes.** Journals are listed before files, so that a segment that is published meanwhile is seen
//! at least once. What is gone when it is opened is looked for again under its other name.
//!
//! **Columns.** Those that an older file does not have are null; unknown ones are not read. Texts come as Arrow
//! dictionaries, as Parquet stores them: a text is looked up once a batch, not once a row.
//!
//! **Memory.** Files are read in batches, by a few threads, each its share of the bytes in the order of time. What is
//! kept grows with targets and groups and not with rows: quantiles come from [`sketch`].

pub mod checks;
pub mod probes;
pub(crate) mod rows;
pub(crate) mod scan;
pub(crate) mod segments;
pub mod sketch;
pub(crate) mod words;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use checks::{CheckStats, check_stats};
pub use probes::{By, Expiring, Extreme, Flapping, GroupStats, ProbeStats, probe_stats};
pub use scan::LeftOut;

use crate::clock::UnixNanos;
use crate::sink::SinkError;
use crate::sink::parquet::Table;

/// A stretch of time, by when attempts began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// From here on.
    pub since: UnixNanos,
    /// Up to here, exclusively.
    pub until: UnixNanos,
}

impl Window {
    /// All of time.
    pub const ALWAYS: Self = Self { since: UnixNanos(i64::MIN), until: UnixNanos(i64::MAX) };

    /// Whether a time in microseconds lies within.
    pub(crate) fn covers(&self, micros: i64) -> bool {
        self.since.micros() <= micros && micros < self.until.micros()
    }
}

/// Which results.
#[derive(Debug, Clone)]
pub struct Query {
    /// Results folders.
    pub folders: Vec<PathBuf>,
    /// Only attempts that began within.
    pub window: Window,
    /// Only these pipelines; none means all.
    pub pipelines: Vec<String>,
}

impl Query {
    /// Whether a pipeline's rows are wanted.
    pub(crate) fn wants(&self, pipeline: &str) -> bool {
        self.pipelines.is_empty() || self.pipelines.iter().any(|wanted| wanted == pipeline)
    }
}

/// When the last result of these pipelines began, whatever the window; none where there is none at all.
pub fn last_result(query: &Query) -> Result<Option<UnixNanos>, SinkError> {
    let mut sources = segments::list(&query.folders, Table::Probes, Window::ALWAYS)?;
    let mut last: Option<(String, i64)> = None;
    while let Some(source) = sources.pop() {
        let stamp = source.stamp().to_owned();
        // Runners side by side have segments of the same hour.
        if last.as_ref().is_some_and(|(hour, _)| *hour != stamp) {
            break;
        }
        let anywhen = Query { window: Window::ALWAYS, ..query.clone() };
        let found = probes::last_of(&anywhen, source);
        if let Some(found) = found {
            let known = last.map_or(i64::MIN, |(_, known)| known);
            last = Some((stamp, known.max(found)));
        }
    }
    Ok(last.map(|(_, micros)| UnixNanos(micros.saturating_mul(1_000))))
}
