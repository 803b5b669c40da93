//! Targets in a file of their own: `.csv`, `.json`, `.jsonl`, `.txt`.

use std::path::Path;
use std::sync::Arc;

use super::collect::Collector;
use super::problem::{Place, SourceProblem};
use super::{csv, json, text};
use crate::config::open_input;

/// The `[[sources]]` table as a user would write it.
pub const FILE_SAMPLE: &str = include_str!("file.toml");

/// A source of type `file`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSource {
    /// The file, resolved; its ending says what is in it.
    pub path: Arc<Path>,
    /// Where the pipeline file names it.
    pub place: Place,
}

/// What is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Json,
    JsonLines,
    Text,
}

impl Format {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "txt" => Some(Self::Text),
            _ => None,
        }
    }
}

impl FileSource {
    pub(super) fn read(&self, collector: &mut Collector) {
        let shown = self.path.display();
        collector.input(&self.path);
        let Some(format) = Format::of(&self.path) else {
            let what = format!("the ending of \"{shown}\" does not say what is in it");
            let hint = "targets are read from .csv, .json, .jsonl and .txt files";
            collector.problem(SourceProblem::new(self.place.clone(), what).hint(hint));
            return;
        };
        let file = match open_input(&self.path) {
            Ok(file) => file,
            Err(why) => {
                let what = format!("the file \"{shown}\" cannot be read: {why}");
                let hint = "the path is relative to the pipeline file";
                collector.problem(SourceProblem::new(self.place.clone(), what).hint(hint));
                return;
            }
        };
        let before = collector.items();
        match format {
            Format::Csv => csv::read(file, &self.path, collector),
            Format::Json => json::read(file, &self.path, collector),
            Format::JsonLines => json::read_lines(file, &self.path, collector),
            Format::Text => text::read(file, &self.path, collector),
        }
        // A file that was emptied by accident must not silence the monitoring.
        if collector.items() == before {
            let place = Place { file: Arc::clone(&self.path), line: 1, column: None };
            let hint = "an empty file is refused, since it is more often an accident than a wish";
            collector.problem(SourceProblem::new(place, "no targets").hint(hint));
        }
    }
}
