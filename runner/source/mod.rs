//! Stage 1: where targets come from.
//!
//! A source reads what the user wrote ([`TargetText`], with its place) and hands every item to one
//! collector, which checks it, shares what is equal, and drops what is listed twice. All problems of
//! all sources are told at once. A new source is one file here, its sample, and one line in [`Source`].
//!
//! Nothing here knows the pipeline file: whoever reads it gives the items of a list, the path of a file
//! and the function that reads durations.

mod config;
mod collect;
mod csv;
mod file;
mod intern;
mod json;
mod lines;
mod list;
mod problem;
mod target;
mod text;
mod url;

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::model::Target;

pub use self::config::{FileText, ListText, SourceText, TargetEntry, TargetTable};
pub use self::file::{FILE_SAMPLE, FileSource};
pub use self::list::{LIST_SAMPLE, ListSource};
pub use self::problem::{MAX_PROBLEMS, Place, Problems, SourceProblem, UnknownWord};
pub use self::target::{EVERY_MAX, EVERY_MIN, TARGET_KEYS, TargetText};
pub use self::url::printable_url;

use self::collect::Collector;

/// Reads a duration as users write it, `"30s"`; the error is a message for people.
pub type ParseDuration = fn(&str) -> Result<Duration, String>;

/// One `[[sources]]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Targets listed in the pipeline file itself.
    List(ListSource),
    /// Targets in a file of their own.
    File(FileSource),
}

/// What all sources of a pipeline gave.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The targets in the order of the sources and of the items in them, each name once.
    pub targets: Vec<Target>,
    /// What must be mended before the pipeline can run.
    pub problems: Problems,
    /// What the user should know and may leave: targets listed twice.
    pub warnings: Problems,
}

/// Reads all sources of one pipeline, in their order. Blocks on files: not for a reactor thread.
pub fn load(sources: &[Source], parse_duration: ParseDuration) -> Loaded {
    let mut collector = Collector::new(parse_duration);
    for source in sources {
        match source {
            Source::List(list) => list.read(&mut collector),
            Source::File(file) => file.read(&mut collector),
        }
    }
    collector.finish()
}
