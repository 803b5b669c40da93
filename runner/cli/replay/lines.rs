//! What a replay says, for programs: a JSON object for each verdict, in the order of the attempts.

use std::io;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::output;
use crate::check::{Record, write_line};
use crate::model::Verdict;
use crate::pipeline::{Compared, Replayed};

/// Lines are printed when so many bytes of them are there.
const CHUNK: usize = 64 << 10;

/// Verdicts as lines of JSON, in the order of the attempts.
#[derive(Debug, Default)]
pub(super) struct Lines {
    waiting: Vec<u8>,
}

impl Lines {
    /// Adds the verdicts of an attempt.
    pub(super) fn add(&mut self, record: &Record, replayed: &Replayed) -> io::Result<()> {
        for compared in &replayed.checks {
            write_line(&Line::of(record, replayed, compared), &mut self.waiting);
        }
        if self.waiting.len() < CHUNK { Ok(()) } else { self.print() }
    }

    /// Prints what is left.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.print()
    }

    fn print(&mut self) -> io::Result<()> {
        let text = String::from_utf8_lossy(&self.waiting).into_owned();
        self.waiting.clear();
        output::data(&text)
    }
}

/// One line: a verdict then and now.
#[derive(Serialize)]
struct Line<'a> {
    started_at: String,
    pipeline: &'a str,
    target: &'a str,
    run_id: &'a str,
    seq: i64,
    check_name: &'a str,
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    was: Option<Said<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<Said<'a>>,
    outcome_was: &'static str,
    outcome_now: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_cut_from: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    masked: &'a [String],
}

/// What a check says, in a line.
#[derive(Serialize)]
struct Said<'a> {
    plugin: &'a str,
    status: &'static str,
    message: &'a str,
    metrics: Map<String, Value>,
    annotations: Map<String, Value>,
}

impl<'a> Line<'a> {
    fn of(record: &'a Record, replayed: &Replayed, compared: &'a Compared) -> Self {
        let Compared { was, now, change } = compared;
        let at = Timestamp::from_nanosecond(i128::from(record.observed.started_at.0)).unwrap_or_default();
        Self {
            started_at: format!("{at:.6}"),
            pipeline: &record.pipeline,
            target: &record.observed.target.name,
            run_id: &record.run_id,
            seq: record.seq,
            check_name: now.as_ref().or(was.as_ref()).map_or("", |verdict| &verdict.check_name),
            change: change.as_str(),
            was: was.as_ref().map(Said::of),
            now: now.as_ref().map(Said::of),
            outcome_was: replayed.was.as_str(),
            outcome_now: replayed.now.as_str(),
            body_cut_from: record.body_cut_from,
            masked: &record.masked,
        }
    }
}

impl<'a> Said<'a> {
    fn of(verdict: &'a Verdict) -> Self {
        Self {
            plugin: &verdict.plugin,
            status: verdict.status.as_str(),
            message: &verdict.message,
            metrics: verdict.metrics.iter().map(|(name, value)| (name.clone(), json!(value))).collect(),
            annotations: verdict.annotations.iter().map(|(name, text)| (name.clone(), json!(text))).collect(),
        }
    }
}
