//! Stage 1: where targets come from.
//!
//! A source reads what the user wrote ([`TargetText`], with its place) and hands every item to one
//! collector, which checks it, shares what is equal, and drops what is listed twice. All problems of
//! all sources are told at once. A new source is one file here, its sample, and one line in [`Source`].
//!
//! That is how static sources work, which are read when a pipeline is built. For the others, the shape of their
//! documents and lines is read here; fetching them, again and again, is the pipeline's work.
//!
//! Nothing here knows the pipeline file: whoever reads it gives the items of a list, the path of a file
//! and the function that reads durations.

mod config;
mod collect;
mod csv;
mod dynamic;
mod file;
mod file_sd;
mod http_sd;
mod intern;
mod json;
mod lines;
mod list;
mod listing;
mod problem;
mod prometheus;
mod stdin;
mod target;
mod text;
mod url;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use crate::model::Target;

pub use self::config::{FileSdText, FileText, ListText, SourceText, TargetEntry, TargetTable};
pub use self::dynamic::{FirstText, HttpSdText, ItemText, ListingText, SourceTlsText, StdinText};
pub use self::file::{FILE_SAMPLE, FileSource};
pub use self::file_sd::{FILE_SD_SAMPLE, FileSdSource};
pub use self::http_sd::{HTTP_SD_SAMPLE, read_groups};
pub use self::list::{LIST_SAMPLE, ListSource};
pub use self::listing::{
    LISTING_SAMPLE, ListedItem, Listing, ListingShape, Locator, MAX_ITEMS, next_of_links, with_parameter,
};
pub use self::problem::{MAX_PROBLEMS, Place, Problems, SourceProblem, UnknownWord};
pub use self::stdin::{LineReader, RawLine, STDIN_SAMPLE, TargetLines};
pub use self::target::{EVERY_MAX, EVERY_MIN, TARGET_KEYS, TargetText, is_label_name};
pub use self::url::{document_url, printable_url};

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
    /// Targets in files in Prometheus' format.
    FileSd(FileSdSource),
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
    /// Every file that was read and every folder that was looked through.
    pub inputs: Vec<PathBuf>,
}

/// Reads all sources of one pipeline, in their order. Blocks on files: not for a reactor thread.
pub fn load(sources: &[Source], parse_duration: ParseDuration) -> Loaded {
    let mut collector = Collector::new(parse_duration);
    for source in sources {
        match source {
            Source::List(list) => list.read(&mut collector),
            Source::File(file) => file.read(&mut collector),
            Source::FileSd(files) => files.read(&mut collector),
        }
    }
    collector.finish()
}
