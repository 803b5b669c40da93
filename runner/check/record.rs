//! A record: one attempt as checks saw it, with what they made of it, as a line of JSON. So that a check,
//! the same or another, can be called again on what was seen last night.
//!
//! `RECORDS.md` beside this file documents the format. `line` and `exchange` have its shape, `bytes` and
//! `pairs` what JSON has no form for, `mask` what never gets into one.

mod bytes;
mod pairs;
mod exchange;
mod line;
mod mask;

use std::sync::Arc;

use super::fault::FaultKind;
use super::observed::Observed;
use super::set::{CallNote, CheckSet};
use super::state::StateEntries;
use crate::model::{Outcome, ProbeResult, UnixNanos, Verdict};

pub use line::write_line;
pub use mask::{MASK, RecordRules};

/// The version of the format that is written. A reader of this version reads no higher one; keys that
/// it does not know it passes over.
pub const RECORD_FORMAT: u32 = 1;

/// One attempt: what was seen, and what was made of it then.
#[derive(Debug, Clone)]
pub struct Record {
    /// The pipeline's name.
    pub pipeline: Arc<str>,
    /// The pipeline's generation, 16 hex digits.
    pub generation: Arc<str>,
    /// The run that it belongs to, a UUID.
    pub run_id: Arc<str>,
    /// The number of its row in that run.
    pub seq: i64,
    /// Which attempt of its probe, from 1.
    pub attempt: u32,
    /// Whether it decided its probe. State was kept only if so.
    pub is_final: bool,
    /// What it came to.
    pub outcome: Outcome,
    /// What the checks saw; masked, and cut.
    pub observed: Arc<Observed>,
    /// How many bytes the body had that the checks saw, where fewer are in the record.
    pub body_cut_from: Option<u64>,
    /// What of it was masked: names of response headers, `body`, and so on; sorted.
    pub masked: Vec<String>,
    /// What the checks said, in the order of the pipeline file.
    pub verdicts: Vec<RecordedVerdict>,
}

/// What one check said, and what it knew.
#[derive(Debug, Clone)]
pub struct RecordedVerdict {
    /// What it said.
    pub verdict: Verdict,
    /// Identifies plugin and configuration: the same fingerprint is the same function.
    pub fingerprint: u64,
    /// Why it gave no judgement.
    pub fault: Option<FaultKind>,
    /// What it remembered before the call; none if it did not look.
    pub remembered: Option<Arc<StateEntries>>,
}

/// What a record is found and ordered by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordKey {
    /// The pipeline's name.
    pub pipeline: String,
    /// The target's name.
    pub target: String,
    /// When the attempt began.
    pub started_at: UnixNanos,
    /// The number of its row in its run.
    pub seq: i64,
}

/// Why a line is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not JSON, or cut off.
    #[error("not JSON (column {column})")]
    NotJson {
        /// Where it ceases to be, from 1.
        column: usize,
    },
    /// JSON, but something is missing or of another type.
    #[error("not a record: something is missing, or of another type (column {column})")]
    Shape {
        /// Where, from 1.
        column: usize,
    },
    /// A text that must be one of a list.
    #[error("not a record: \"{text}\" is no {what}")]
    Unknown {
        /// What it should be.
        what: &'static str,
        /// The text as it stands there.
        text: String,
    },
    /// Written by a newer version.
    #[error("format {format}, but this version reads up to {RECORD_FORMAT}: read it with a newer version")]
    Newer {
        /// Its format.
        format: u32,
    },
}

impl Record {
    /// The record of an attempt, whole and not masked. `notes` are what the calls of `checks` left.
    pub fn new(row: &ProbeResult, notes: &[CallNote], checks: &CheckSet, run_id: &Arc<str>) -> Self {
        let verdicts = row.verdicts.iter().map(|verdict| {
            let note = notes.iter().find(|note| note.check == verdict.check_name);
            let check = checks.checks().iter().find(|check| check.spec().name == verdict.check_name);
            RecordedVerdict {
                verdict: verdict.clone(),
                fingerprint: check.map_or(0, |check| check.fingerprint()),
                fault: note.and_then(|note| note.fault),
                remembered: note.and_then(|note| note.remembered.clone()),
            }
        });
        Self {
            pipeline: Arc::clone(&row.pipeline),
            generation: Arc::clone(&row.generation),
            run_id: Arc::clone(run_id),
            seq: row.seq,
            attempt: row.attempt,
            is_final: row.is_final,
            outcome: row.outcome,
            observed: Arc::new(Observed::new(
                Arc::clone(&row.target),
                Arc::clone(&row.exchange),
                row.started_at,
            )),
            body_cut_from: None,
            masked: Vec::new(),
            verdicts: verdicts.collect(),
        }
    }

    /// The record as a line, its end included. Characters that could steer a terminal are escaped.
    pub fn to_line(&self) -> Vec<u8> {
        line::write(self)
    }

    /// Reads a line, with or without its end.
    pub fn from_line(line: &[u8]) -> Result<Self, RecordError> {
        line::read(line)
    }

    /// The attempt as a check is to see it. A body that is not whole in the record is one that was cut.
    pub fn seen(&self) -> Arc<Observed> {
        if self.body_cut_from.is_none() {
            return Arc::clone(&self.observed);
        }
        let mut seen = Observed::clone(&self.observed);
        Arc::make_mut(&mut seen.exchange).body_truncated = Some(true);
        Arc::new(seen)
    }

    /// What was said by the check of this name.
    pub fn verdict(&self, check: &str) -> Option<&RecordedVerdict> {
        self.verdicts.iter().find(|recorded| *recorded.verdict.check_name == *check)
    }
}

impl RecordKey {
    /// Reads the key of a line, and nothing else of it.
    pub fn from_line(line: &[u8]) -> Result<Self, RecordError> {
        line::read_key(line)
    }
}

/// A number as it is after it was written and read: the reader of JSON may be off by the last bit, so
/// numbers are compared after they went the same way.
pub fn as_recorded(number: f64) -> f64 {
    serde_json::to_string(&number).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(number)
}
