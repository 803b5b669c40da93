//! Targets that come down a pipe: a URL or a JSON object a line.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::collect::Collector;
use super::lines::{Line, Lines};
use super::problem::{Place, SourceProblem};
use super::target::TargetText;
use super::{Loaded, ParseDuration, json, text};

/// The `[[sources]]` table as a user would write it.
pub const STDIN_SAMPLE: &str = include_str!("stdin.toml");

/// A line as it came.
#[derive(Debug)]
pub struct RawLine {
    /// Its number, from 1.
    pub number: u32,
    /// Its text, or why it has none.
    pub text: Result<String, &'static str>,
}

/// Reads lines within a bound. Blocks.
pub struct LineReader<R> {
    lines: Option<Lines<R>>,
    reader: Option<R>,
}

impl<R: Read> LineReader<R> {
    /// Nothing is read yet.
    pub fn new(reader: R) -> Self {
        Self { lines: None, reader: Some(reader) }
    }

    /// The next line; none at the end.
    pub fn next_line(&mut self) -> std::io::Result<Option<RawLine>> {
        // The first byte is waited for here already, to pass over a byte order mark.
        if let Some(reader) = self.reader.take() {
            self.lines = Some(Lines::new(reader)?);
        }
        let Some(lines) = &mut self.lines else { return Ok(None) };
        let number = lines.number().saturating_add(1);
        let text = match lines.next()? {
            None => return Ok(None),
            Some(Line::Text(text)) => Ok(text.to_owned()),
            Some(Line::Unreadable(why)) => Err(why),
        };
        Ok(Some(RawLine { number, text }))
    }
}

/// Makes targets of lines.
pub struct TargetLines {
    file: Arc<Path>,
    labels: Vec<(String, String)>,
    parse_duration: ParseDuration,
}

impl TargetLines {
    /// With labels that every target gets.
    pub fn new(labels: Vec<(String, String)>, parse_duration: ParseDuration) -> Self {
        Self { file: Arc::from(Path::new("standard input")), labels, parse_duration }
    }

    /// The targets of some lines; the problems are lines that were left out.
    pub fn read(&self, lines: impl IntoIterator<Item = RawLine>) -> Loaded {
        let mut collector = Collector::with_labels(self.parse_duration, &self.labels);
        for line in lines {
            let place = Place { file: Arc::clone(&self.file), line: line.number, column: None };
            match line.text {
                Err(why) => collector.problem(SourceProblem::new(place, why)),
                Ok(text) => Self::add(&text, place, &mut collector),
            }
        }
        collector.finish()
    }

    fn add(line: &str, place: Place, collector: &mut Collector) {
        // What begins like JSON is an object that is wrong rather than a URL that is.
        if line.trim_start().starts_with(['{', '[', '"']) {
            json::read_line(line, &place, collector);
        } else if let Some((url, _)) = text::url_of(line) {
            let url = url.to_owned();
            collector.add(TargetText { url, name: None, every: None, labels: Vec::new(), place });
        }
    }
}
