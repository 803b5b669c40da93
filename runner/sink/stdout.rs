//! Results for people and for pipes: a line a result, to whatever is given to write to.
//!
//! A line for people has, in columns: time (UTC), outcome, status or error kind, milliseconds, pipeline
//! and target, and why it is not up. Characters that could steer a terminal are escaped.

use std::fmt::Write as _;
use std::io::{self, Write};

use arrow::array::{
    Array, AsArray, BooleanArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::TimestampMicrosecondType;

use super::batch::ResultBatch;
use super::columns::{column, int, long, text, verdicts};
use super::follow::Follower;
use super::json;
use crate::model::steers_a_terminal;

/// The form of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One aligned line a result, for people.
    #[default]
    Lines,
    /// One JSON object a result, with the names of the Parquet contract.
    Json,
}

/// Prints results. Once nobody reads any more (`BrokenPipe`) its writer calls it no longer, and counts
/// that in `followers_ended`.
pub struct StdoutSink<W> {
    out: W,
    format: Format,
    /// Whether lines for people have colours.
    colour: bool,
    /// The lines of one batch; reused.
    text: Vec<u8>,
}

impl<W: Write + Send> StdoutSink<W> {
    /// A sink that prints to `out`. Only lines for people have colours, and only if `colour` says so.
    pub fn new(out: W, format: Format, colour: bool) -> Self {
        Self { out, format, colour, text: Vec::new() }
    }
}

impl<W: Write + Send> Follower for StdoutSink<W> {
    fn deliver(&mut self, batch: &ResultBatch) -> io::Result<()> {
        self.text.clear();
        match self.format {
            Format::Lines => write_lines(batch, self.colour, &mut self.text)?,
            Format::Json => json::write_lines(batch, &mut self.text)?,
        }
        self.out.write_all(&self.text)?;
        self.out.flush()
    }
}

/// The columns that lines for people need.
struct Lines<'a> {
    started_at: &'a TimestampMicrosecondArray,
    outcome: &'a StringArray,
    http_status: &'a Int32Array,
    error_kind: &'a StringArray,
    error_message: &'a StringArray,
    failed_check: &'a StringArray,
    total_us: &'a Int64Array,
    pipeline: &'a StringArray,
    target: &'a StringArray,
    attempt: &'a Int32Array,
    is_final: &'a BooleanArray,
}

/// The columns of the verdicts that they need.
struct Reasons<'a> {
    check_name: &'a StringArray,
    status: &'a StringArray,
    message: &'a StringArray,
}

fn write_lines(batch: &ResultBatch, colour: bool, out: &mut Vec<u8>) -> io::Result<()> {
    let lines = Lines {
        started_at: column(&batch.probes, "started_at", |column| {
            column.as_primitive_opt::<TimestampMicrosecondType>()
        })?,
        outcome: text(&batch.probes, "outcome")?,
        http_status: int(&batch.probes, "http_status")?,
        error_kind: text(&batch.probes, "error_kind")?,
        error_message: text(&batch.probes, "error_message")?,
        failed_check: text(&batch.probes, "failed_check")?,
        total_us: long(&batch.probes, "total_us")?,
        pipeline: text(&batch.probes, "pipeline")?,
        target: text(&batch.probes, "target")?,
        attempt: int(&batch.probes, "attempt")?,
        is_final: column(&batch.probes, "is_final", |column| column.as_boolean_opt())?,
    };
    let reasons = Reasons {
        check_name: text(&batch.checks, "check_name")?,
        status: text(&batch.checks, "status")?,
        message: text(&batch.checks, "message")?,
    };
    let mut line = String::new();
    for (row, verdicts) in verdicts(batch)?.into_iter().enumerate() {
        line.clear();
        // Writing into a string cannot fail.
        let _ = lines.write(row, &reasons, verdicts, colour, &mut line);
        out.extend_from_slice(line.trim_end().as_bytes());
        out.push(b'\n');
    }
    Ok(())
}

impl Lines<'_> {
    fn write(
        &self,
        row: usize,
        reasons: &Reasons<'_>,
        verdicts: std::ops::Range<usize>,
        colour: bool,
        line: &mut String,
    ) -> std::fmt::Result {
        let seconds = self.started_at.value(row).div_euclid(1_000_000).rem_euclid(86_400);
        write!(line, "{:02}:{:02}:{:02}Z  ", seconds / 3_600, seconds / 60 % 60, seconds % 60)?;
        let outcome = self.outcome.value(row);
        match colour.then(|| colour_of(outcome)) {
            Some(code) => write!(line, "\x1b[{code}m{outcome:<8}\x1b[0m  ")?,
            None => write!(line, "{outcome:<8}  ")?,
        }
        if self.error_kind.is_valid(row) {
            write!(line, "{:<18}  ", self.error_kind.value(row))?;
        } else if self.http_status.is_valid(row) {
            write!(line, "{:<18}  ", self.http_status.value(row))?;
        } else {
            write!(line, "{:<18}  ", "-")?;
        }
        if self.total_us.is_valid(row) {
            write!(line, "{:>9.1} ms  ", self.total_us.value(row) as f64 / 1_000.0)?;
        } else {
            write!(line, "{:>12}  ", "-")?;
        }
        let start = line.len();
        write_plain(self.pipeline.value(row), line)?;
        line.push('/');
        write_plain(self.target.value(row), line)?;
        let width = line[start..].chars().count();
        write!(line, "{:1$}  ", "", 32_usize.saturating_sub(width))?;
        if !self.is_final.value(row) {
            write!(line, "(attempt {}, tried again) ", self.attempt.value(row))?;
        }
        self.write_reason(row, reasons, verdicts, line)
    }

    /// Why it is not up: the verdict that decided, else the first that did not pass, else the failure.
    fn write_reason(
        &self,
        row: usize,
        reasons: &Reasons<'_>,
        verdicts: std::ops::Range<usize>,
        line: &mut String,
    ) -> std::fmt::Result {
        let failed = self.failed_check.is_valid(row).then(|| self.failed_check.value(row));
        let decides = |check: &usize| match failed {
            Some(name) => reasons.check_name.value(*check) == name,
            None => self.outcome.value(row) == "degraded" && reasons.status.value(*check) != "pass",
        };
        if let Some(check) = verdicts.clone().find(decides) {
            write_plain(reasons.check_name.value(check), line)?;
            line.push_str(": ");
            return write_plain(reasons.message.value(check), line);
        }
        if self.error_message.is_valid(row) {
            write_plain(self.error_message.value(row), line)?;
        }
        Ok(())
    }
}

/// Green, yellow, magenta, red; grey for what did not happen.
pub(crate) fn colour_of(outcome: &str) -> u8 {
    match outcome {
        "up" => 32,
        "degraded" => 33,
        "unknown" => 35,
        "down" => 31,
        _ => 90,
    }
}

fn write_plain(text: &str, line: &mut String) -> std::fmt::Result {
    for c in text.chars() {
        if steers_a_terminal(c) {
            write!(line, "{}", c.escape_default())?;
        } else {
            line.push(c);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
