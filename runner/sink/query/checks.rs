//! What the rows of `checks` say of a window: how often each check passed, and what it cost.
//!
//! Verdicts of attempts that a later one replaced do not count. The table does not say which those are, so that they are
//! taken from `probes` first: their numbers are few, since most probes need one attempt only.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::Query;
use super::rows::Wanted;
use super::scan::{LeftOut, Tally, scan};
use super::segments;
use super::sketch::Sketch;
use super::words::{Numbered, Words};
use crate::model::CheckStatus;
use crate::sink::SinkError;
use crate::sink::columns::{column, long};
use crate::sink::parquet::Table;

/// Every status, in the order of [`CheckGroup::statuses`].
pub const STATUSES: [CheckStatus; 4] =
    [CheckStatus::Pass, CheckStatus::Warn, CheckStatus::Fail, CheckStatus::Error];

/// What is known of one check of one pipeline.
#[derive(Debug, Clone)]
pub struct CheckGroup {
    /// The pipeline.
    pub pipeline: Arc<str>,
    /// The check's name.
    pub check_name: Arc<str>,
    /// Verdicts by status, in the order of [`STATUSES`].
    pub statuses: [u64; 4],
    /// `duration_us` of all that have one.
    pub cost: Sketch,
}

impl CheckGroup {
    /// All verdicts.
    pub fn verdicts(&self) -> u64 {
        self.statuses.iter().sum()
    }
}

/// What the checks of a window come to.
#[derive(Debug)]
pub struct CheckStats {
    /// By pipeline and name.
    pub checks: Vec<CheckGroup>,
    /// What could not be read: where this is not empty, the numbers are not whole.
    pub left_out: Vec<LeftOut>,
}

/// Tallies the verdicts of a window.
pub fn check_stats(query: &Query) -> Result<CheckStats, SinkError> {
    let wanted = Wanted::new(Table::Probes, &["started_at", "is_final", "run_id", "seq"], query.window);
    let list = |table| move || segments::list(&query.folders, table, query.window);
    let (replaced, mut left_out) = scan(list(Table::Probes), &wanted, || Replaced::new(query))?;
    let mut columns = vec!["started_at", "pipeline", "check_name", "status", "duration_us"];
    if !replaced.rows.is_empty() {
        columns.extend(["run_id", "seq"]);
    }
    let wanted = Wanted::new(Table::Checks, &columns, query.window);
    let make = || CheckTally { query, replaced: &replaced, words: Words::default(), groups: HashMap::new() };
    let (tally, more) = scan(list(Table::Checks), &wanted, make)?;
    left_out.extend(more);
    Ok(CheckStats { checks: tally.finish(), left_out })
}

/// The attempts that a later one replaced: numbers of rows by run.
struct Replaced<'q> {
    query: &'q Query,
    rows: HashMap<Box<str>, HashSet<i64>>,
}

impl<'q> Replaced<'q> {
    fn new(query: &'q Query) -> Self {
        Self { query, rows: HashMap::new() }
    }
}

impl Tally for Replaced<'_> {
    fn take(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let times =
            column(batch, "started_at", |found| found.as_primitive_opt::<TimestampMicrosecondType>())?;
        let is_final = column(batch, "is_final", |found| found.as_boolean_opt())?;
        let (runs, seqs) = (Numbered::of(batch, "run_id")?, long(batch, "seq")?);
        for row in 0..batch.num_rows() {
            let replaced = is_final.is_valid(row) && !is_final.value(row);
            if !replaced || !self.query.window.covers(times.value(row)) {
                continue;
            }
            let run = runs.text(row).unwrap_or_default();
            match self.rows.get_mut(run) {
                Some(known) => drop(known.insert(seqs.value(row))),
                None => drop(self.rows.insert(run.into(), HashSet::from([seqs.value(row)]))),
            }
        }
        Ok(())
    }

    fn merge(&mut self, other: Self) {
        for (run, rows) in other.rows {
            self.rows.entry(run).or_default().extend(rows);
        }
    }
}

struct CheckTally<'q> {
    query: &'q Query,
    replaced: &'q Replaced<'q>,
    words: Words,
    /// By the numbers of pipeline and check; statuses and costs.
    groups: HashMap<(u32, u32), ([u64; 4], Sketch)>,
}

impl CheckTally<'_> {
    fn finish(self) -> Vec<CheckGroup> {
        let text = |number| self.words.text(number).cloned().unwrap_or_default();
        let mut checks: Vec<_> = self
            .groups
            .iter()
            .map(|((pipeline, check), (statuses, cost))| CheckGroup {
                pipeline: text(*pipeline),
                check_name: text(*check),
                statuses: *statuses,
                cost: cost.clone(),
            })
            .collect();
        checks.sort_by(|a, b| (&a.pipeline, &a.check_name).cmp(&(&b.pipeline, &b.check_name)));
        checks
    }
}

impl Tally for CheckTally<'_> {
    fn take(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let times =
            column(batch, "started_at", |found| found.as_primitive_opt::<TimestampMicrosecondType>())?;
        let mut pipelines = Numbered::of(batch, "pipeline")?;
        let mut names = Numbered::of(batch, "check_name")?;
        let (statuses, costs) = (Numbered::of(batch, "status")?, long(batch, "duration_us")?);
        let keys = if self.replaced.rows.is_empty() {
            None
        } else {
            Some((Numbered::of(batch, "run_id")?, long(batch, "seq")?))
        };
        for row in 0..batch.num_rows() {
            if times.is_null(row) || !self.query.window.covers(times.value(row)) {
                continue;
            }
            if let Some((runs, seqs)) = &keys
                && let Some(rows) = self.replaced.rows.get(runs.text(row).unwrap_or_default())
                && rows.contains(&seqs.value(row))
            {
                continue;
            }
            if !self.query.wants(pipelines.text(row).unwrap_or_default()) {
                continue;
            }
            let status = statuses.text(row);
            let Some(status) = STATUSES.iter().position(|known| Some(known.as_str()) == status) else {
                continue;
            };
            let key = (pipelines.number(row, &mut self.words), names.number(row, &mut self.words));
            let (counts, cost) = self.groups.entry(key).or_default();
            counts[status] += 1;
            if costs.is_valid(row) {
                cost.add(costs.value(row));
            }
        }
        Ok(())
    }

    fn merge(&mut self, other: Self) {
        let words = self.words.learn(&other.words);
        let word = |number: u32| words.get(number as usize).copied().unwrap_or(number);
        for ((pipeline, check), (statuses, cost)) in other.groups {
            let (counts, own) = self.groups.entry((word(pipeline), word(check))).or_default();
            for (sum, more) in counts.iter_mut().zip(statuses) {
                *sum += more;
            }
            own.merge(&cost);
        }
    }
}
