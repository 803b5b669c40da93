//! Dead letters: probes that failed in every attempt, a JSON object a line, for whoever works them off.
//!
//! A line is written after its rows are safe in the journal, and has the names of the Parquet contract, as
//! lines on standard output have; where the history is wanted, the attempts before the last one stand in
//! `history`. The file has a bound: at `max_bytes` it becomes `<name>.1`, and the one before goes.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use arrow::array::AsArray as _;

use super::batch::ResultBatch;
use super::columns::{column, long, text};
use super::follow::Follower;
use super::json;
use super::lines::{LineFile, Names, Rules};
use crate::clock::UnixNanos;
use crate::model::Outcome;

/// Probes whose last attempt is waited for at most. More are in flight only where rows were lost.
const WAITING_PROBES: usize = 10_000;

/// Writes dead letters of one pipeline.
pub struct DeadLetters {
    file: LineFile,
    /// Whether attempts before the last one are kept.
    history: bool,
    /// The attempts so far, by the number of the probe.
    attempts: BTreeMap<i64, Vec<Vec<u8>>>,
    lines: Vec<u8>,
}

impl DeadLetters {
    /// Dead letters in a file, which is made when the first one comes; its folder too.
    pub fn new(path: impl Into<PathBuf>, max_bytes: u64, history: bool) -> Self {
        let rules = Rules { max_bytes, every: None, names: Names::One };
        let file = LineFile::new(path.into(), rules);
        Self { file, history, attempts: BTreeMap::new(), lines: Vec::new() }
    }

    /// Follows one attempt. A line is added where it is the last of a probe that failed.
    fn take(&mut self, line: &[u8], probe: i64, is_final: bool, has_failed: bool, letters: &mut Vec<u8>) {
        if !is_final {
            if self.history {
                self.attempts.entry(probe).or_default().push(line.to_vec());
                while self.attempts.len() > WAITING_PROBES {
                    self.attempts.pop_first();
                }
            }
            return;
        }
        let before = self.attempts.remove(&probe).unwrap_or_default();
        if !has_failed {
            return;
        }
        // The object of the row, with one key more.
        letters.extend_from_slice(line.strip_suffix(b"}").unwrap_or(line));
        if self.history {
            letters.extend_from_slice(b",\"history\":[");
            letters.extend_from_slice(&before.join(&b','));
            letters.push(b']');
        }
        letters.extend_from_slice(b"}\n");
    }
}

impl Follower for DeadLetters {
    fn deliver(&mut self, batch: &ResultBatch) -> io::Result<()> {
        let outcomes = text(&batch.probes, "outcome")?;
        let finals = column(&batch.probes, "is_final", |column| column.as_boolean_opt())?;
        let probes = long(&batch.probes, "probe_seq")?;
        let mut lines = std::mem::take(&mut self.lines);
        lines.clear();
        json::write_lines(batch, &mut lines)?;
        let failed = [Outcome::Down, Outcome::Unknown].map(Outcome::as_str);
        let mut letters = Vec::new();
        for (row, line) in lines.split(|byte| *byte == b'\n').take(batch.probes.num_rows()).enumerate() {
            let has_failed = failed.contains(&outcomes.value(row));
            self.take(line, probes.value(row), finals.value(row), has_failed, &mut letters);
        }
        self.lines = lines;
        // No rule of theirs asks for the time.
        if letters.is_empty() { Ok(()) } else { self.file.append(&letters, UnixNanos(0)) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::model::ProbeResult;
    use crate::sink::{BatchBuilder, samples};

    fn batch(rows: &[(i64, bool, Outcome)]) -> ResultBatch {
        let mut builder = BatchBuilder::new("main".into(), crate::clock::new_run_id().into(), rows.len());
        for (seq, (probe_seq, is_final, outcome)) in rows.iter().enumerate() {
            let row = ProbeResult {
                seq: seq as i64,
                probe_seq: *probe_seq,
                is_final: *is_final,
                outcome: *outcome,
                ..samples::full(1)
            };
            builder.push(&row).unwrap();
        }
        builder.finish().unwrap()
    }

    fn letters(path: &Path) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn only_probes_that_failed_in_the_end_are_written_with_their_history() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dead").join("letters.jsonl");
        let mut sink = DeadLetters::new(&path, 1 << 20, true);
        sink.deliver(&batch(&[
            (1, false, Outcome::Down),
            (2, false, Outcome::Down),
            (1, false, Outcome::Unknown),
            (3, true, Outcome::Degraded),
        ]))
        .unwrap();
        assert!(!path.exists(), "nothing failed in the end so far");
        sink.deliver(&batch(&[(1, true, Outcome::Down), (2, true, Outcome::Up)])).unwrap();
        let found = letters(&path);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0]["probe_seq"], 1);
        let history = found[0]["history"].as_array().unwrap();
        assert_eq!(history.iter().map(|row| &row["outcome"]).collect::<Vec<_>>(), ["down", "unknown"]);
        assert!(sink.attempts.is_empty());
    }

    #[test]
    fn the_file_has_a_bound_and_may_be_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letters.jsonl");
        let one = batch(&[(1, true, Outcome::Down)]);
        let mut sink = DeadLetters::new(&path, 1, false);
        sink.deliver(&one).unwrap();
        sink.deliver(&one).unwrap();
        assert_eq!((letters(&path).len(), letters(&folder.path().join("letters.jsonl.1")).len()), (1, 1));
        assert!(letters(&path)[0].get("history").is_none());
        fs::rename(&path, folder.path().join("taken")).unwrap();
        sink.deliver(&one).unwrap();
        assert_eq!(letters(&path).len(), 1);
    }
}
