//! The table at the end of `run --once`: what is wrong first.

use std::fmt::Write as _;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::Array as _;

use crate::model::harmless;
use crate::sink::columns::{int, long, text, verdicts};
use crate::sink::stdout::colour_of;
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
        for row in rows(batch)? {
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
        let outcome = format!("{:8}", row.outcome);
        let outcome = match colour.then(|| colour_of(&row.outcome)) {
            Some(code) => format!("\u{1b}[{code}m{outcome}\u{1b}[0m"),
            None => outcome,
        };
        let line = format!(
            "{outcome}  {:pipeline$}  {:target$}  {:6}  {:>millis$}  {}",
            row.pipeline, row.target, row.status, row.millis, row.reason
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

fn rows(batch: &ResultBatch) -> io::Result<Vec<Row>> {
    let probes = &batch.probes;
    let (outcome, pipeline, target) =
        (text(probes, "outcome")?, text(probes, "pipeline")?, text(probes, "target")?);
    let (status, total) = (int(probes, "http_status")?, long(probes, "total_us")?);
    let (kind, message) = (text(probes, "error_kind")?, text(probes, "error_message")?);
    let mut rows = Vec::with_capacity(probes.num_rows());
    for (at, verdicts) in verdicts(batch)?.into_iter().enumerate() {
        let reason = if kind.is_valid(at) {
            format!("{}: {}", kind.value(at), message.value(at))
        } else {
            reason(batch, verdicts)?
        };
        let status = status.is_valid(at).then(|| status.value(at).to_string());
        let millis = total.is_valid(at).then(|| format!("{:.1}", total.value(at) as f64 / 1_000.0));
        rows.push(Row {
            outcome: outcome.value(at).to_owned(),
            pipeline: pipeline.value(at).to_owned(),
            target: harmless(&shortened(target.value(at))),
            status: status.unwrap_or_default(),
            millis: millis.unwrap_or_default(),
            reason: harmless(&reason),
        });
    }
    Ok(rows)
}

/// What the checks that did not pass said of a row.
fn reason(batch: &ResultBatch, verdicts: Range<usize>) -> io::Result<String> {
    let checks = &batch.checks;
    let (name, status, message) =
        (text(checks, "check_name")?, text(checks, "status")?, text(checks, "message")?);
    let told = verdicts.filter(|at| status.value(*at) != "pass");
    Ok(told.map(|at| format!("{}: {}", name.value(at), message.value(at))).collect::<Vec<_>>().join("; "))
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME_WIDTH {
        return name.to_owned();
    }
    name.chars().take(NAME_WIDTH - 1).chain(['…']).collect()
}
