//! Results as a file of lines: a JSON object a result, with the names of the Parquet contract, as on standard output.
//! For whoever tails files: log shippers, `jq`. A line is written after its row is safe in the journal.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::batch::ResultBatch;
use super::follow::Follower;
use super::json;
use super::lines::{LineFile, Names, Rules};
use super::stop::SinkClock;
use crate::clock::Clock;

/// When a file of lines is put away, and how many of those are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineRotate {
    /// At multiples of this since midnight UTC, when the next line comes.
    pub every: Duration,
    /// Before it becomes longer than this, in bytes.
    pub size: u64,
    /// Files that were put away; older ones go.
    pub keep: usize,
}

/// Writes results to a file of lines.
pub struct JsonLines {
    file: LineFile,
    clock: SinkClock,
    /// The lines of one batch; reused.
    lines: Vec<u8>,
}

impl JsonLines {
    /// Lines in a file, which is made when the first ones come; its folder too.
    pub fn new(path: impl Into<PathBuf>, rotate: LineRotate, clock: Clock) -> Self {
        let LineRotate { every, size, keep } = rotate;
        let rules = Rules { max_bytes: size, every: Some(every), names: Names::Dated(keep) };
        Self { file: LineFile::new(path.into(), rules), clock: SinkClock::here(clock), lines: Vec::new() }
    }
}

impl Follower for JsonLines {
    fn deliver(&mut self, batch: &ResultBatch) -> io::Result<()> {
        self.lines.clear();
        json::write_lines(batch, &mut self.lines)?;
        self.file.append(&self.lines, self.clock.moment().wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{BatchBuilder, samples};

    #[test]
    fn a_line_has_the_columns_of_the_row_and_its_verdicts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs").join("results.jsonl");
        let rotate = LineRotate { every: Duration::from_hours(24), size: 1 << 20, keep: 7 };
        let mut sink = JsonLines::new(&path, rotate, Clock::system());
        let mut builder = BatchBuilder::new("main".into(), samples::RUN.into(), 2);
        for seq in 1..=2 {
            builder.push(&samples::full(seq)).unwrap();
        }
        sink.deliver(&builder.finish().unwrap()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let rows: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.iter().map(|row| &row["seq"]).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(rows[0]["run_id"], samples::RUN);
        assert!(rows[0]["checks"].as_array().is_some_and(|checks| !checks.is_empty()), "{text}");
    }
}
