//! The table at the end of `run --once`: what is wrong first.

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};

use crate::model::harmless;
use crate::sink::{Follower, ResultBatch};

/// Past so many targets, those that are up are only counted.
const WHOLE_UP_TO: usize = 100;
/// The longest name of a target that is shown whole, in characters.
const NAME_WIDTH: usize = 60;

/// Gathers results, to be shown at the end. Clones share what they gather.
#[derive(Debug, Clone, Default)]
pub(super) struct Table(Arc<Mutex<Gathered>>);

#[derive(Debug, Default)]
struct Gathered {
    rows: Vec<Row>,
    up_unshown: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    outcome: String,
    pipeline: String,
    target: String,
    status: String,
    millis: String,
    reason: String,
}

impl Follower for Table {
    fn deliver(&mut self, batch: &ResultBatch) -> io::Result<()> {
        let mut gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for at in 0..batch.probes.num_rows() {
            let row = row(batch, at);
            if row.outcome == "up" && gathered.rows.len() >= WHOLE_UP_TO {
                gathered.up_unshown += 1;
            } else {
                gathered.rows.push(row);
            }
        }
        Ok(())
    }
}

impl Table {
    /// The table as text.
    pub(super) fn text(&self, colour: bool) -> String {
        let mut gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if gathered.rows.len() > WHOLE_UP_TO {
            let before = gathered.rows.len();
            gathered.rows.retain(|row| row.outcome != "up");
            gathered.up_unshown += before - gathered.rows.len();
        }
        gathered.rows.sort_by(|a, b| {
            let key = |row: &Row| (rank(&row.outcome), row.pipeline.clone(), row.target.clone());
            key(a).cmp(&key(b))
        });
        let mut out = String::new();
        if !gathered.rows.is_empty() {
            lay_out(&gathered.rows, colour, &mut out);
        }
        if gathered.up_unshown > 0 {
            let _ = writeln!(out, "{} more are up", gathered.up_unshown);
        }
        out
    }
}

/// What is wrong comes first.
fn rank(outcome: &str) -> usize {
    ["down", "unknown", "degraded", "up"].iter().position(|known| *known == outcome).unwrap_or(4)
}

fn lay_out(rows: &[Row], colour: bool, out: &mut String) {
    let width = |of: fn(&Row) -> &String, title: &str| {
        rows.iter().map(|row| of(row).chars().count()).chain([title.len()]).max().unwrap_or(0)
    };
    let (pipeline, target) = (width(|row| &row.pipeline, "pipeline"), width(|row| &row.target, "target"));
    let millis = width(|row| &row.millis, "ms");
    let _ = writeln!(
        out,
        "{:8}  {:pipeline$}  {:target$}  status  {:>millis$}  reason",
        "outcome", "pipeline", "target", "ms"
    );
    for row in rows {
        let paint = match row.outcome.as_str() {
            "up" => "32",
            "degraded" => "33",
            "down" => "31",
            _ => "35",
        };
        let outcome = format!("{:8}", row.outcome);
        let outcome = if colour { format!("\u{1b}[{paint}m{outcome}\u{1b}[0m") } else { outcome };
        let line = format!(
            "{outcome}  {:pipeline$}  {:target$}  {:6}  {:>millis$}  {}",
            row.pipeline, row.target, row.status, row.millis, row.reason
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

fn row(batch: &ResultBatch, at: usize) -> Row {
    let probes = &batch.probes;
    let text = |column| text(probes, column, at).unwrap_or_default();
    let status = number32(probes, "http_status", at).map(|status| status.to_string()).unwrap_or_default();
    let millis = number64(probes, "total_us", at).map(|us| format!("{:.1}", us as f64 / 1_000.0));
    let reason = match self::text(probes, "error_kind", at) {
        Some(kind) => format!("{kind}: {}", text("error_message")),
        None => verdicts(batch, number64(probes, "seq", at)),
    };
    let mut target = text("target");
    if target.chars().count() > NAME_WIDTH {
        target = target.chars().take(NAME_WIDTH - 1).chain(['…']).collect();
    }
    Row {
        outcome: text("outcome"),
        pipeline: text("pipeline"),
        target: harmless(&target),
        status,
        millis: millis.unwrap_or_default(),
        reason: harmless(&reason),
    }
}

/// What the checks that did not pass said of a row.
fn verdicts(batch: &ResultBatch, seq: Option<i64>) -> String {
    let checks = &batch.checks;
    let mut told: Vec<String> = Vec::new();
    for at in 0..checks.num_rows() {
        if number64(checks, "seq", at) != seq {
            continue;
        }
        let text = |column| text(checks, column, at).unwrap_or_default();
        if text("status") != "pass" {
            told.push(format!("{}: {}", text("check_name"), text("message")));
        }
    }
    told.join("; ")
}

fn text(batch: &RecordBatch, column: &str, at: usize) -> Option<String> {
    let column = batch.column_by_name(column)?.as_string_opt::<i32>()?;
    column.is_valid(at).then(|| column.value(at).to_owned())
}

fn number32(batch: &RecordBatch, column: &str, at: usize) -> Option<i32> {
    let column = batch.column_by_name(column)?.as_primitive_opt::<Int32Type>()?;
    column.is_valid(at).then(|| column.value(at))
}

fn number64(batch: &RecordBatch, column: &str, at: usize) -> Option<i64> {
    let column = batch.column_by_name(column)?.as_primitive_opt::<Int64Type>()?;
    column.is_valid(at).then(|| column.value(at))
}
