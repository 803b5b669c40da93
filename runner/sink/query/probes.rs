//! What the rows of `probes` say of a window: how many, how they ended, how long they took, and what stands out.
//!
//! Only the attempts that decide (`is_final`) count. `up` in percent is the share of `up` and `degraded` among all that
//! were not skipped: what could not be told (`unknown`) is no evidence of being up.

mod tally;

use std::sync::Arc;

use self::tally::{Last, ProbeTally};
use super::rows::Wanted;
use super::scan::{LeftOut, scan};
use super::segments::{self, Source};
use super::sketch::Sketch;
use super::{Query, Window};
use crate::clock::UnixNanos;
use crate::model::Outcome;
use crate::sink::SinkError;
use crate::sink::parquet::Table;

/// What is tallied together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// Everything.
    All,
    /// Each pipeline.
    Pipeline,
    /// Each target of each pipeline.
    Target,
    /// Each value of a label, over all pipelines.
    Label(String),
}

/// The phases of an attempt, by the names of their columns without `_us`, in their order.
pub const PHASES: [&str; 5] = ["dns", "connect", "tls", "first_byte", "transfer"];

/// The columns that are read; by a label, `labels` too.
const COLUMNS: [&str; 17] = [
    "started_at",
    "lateness_us",
    "pipeline",
    "target",
    "runner",
    "is_final",
    "outcome",
    "error_kind",
    "failed_check",
    "total_us",
    "dns_us",
    "connect_us",
    "tls_us",
    "first_byte_us",
    "transfer_us",
    "cert_not_after",
    "cert_chain_not_after",
];

/// One probe that stands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extreme {
    /// How long, in microseconds.
    pub micros: i64,
    /// When its attempt began.
    pub started_at: UnixNanos,
    /// Its pipeline.
    pub pipeline: Arc<str>,
    /// Its target.
    pub target: Arc<str>,
}

/// What is known of one group of probes.
#[derive(Debug, Clone)]
pub struct GroupStats {
    /// The pipeline, where groups are of one.
    pub pipeline: Option<Arc<str>>,
    /// The target, or the label's value; none for a target without the label.
    pub name: Option<Arc<str>>,
    /// Probes by outcome, in the order of [`Outcome::ALL`].
    pub outcomes: [u64; 5],
    /// What probes failed of that were down or unknown, most frequent first: error kinds, and checks as
    /// `check <name>`.
    pub failures: Vec<(Arc<str>, u64)>,
    /// `total_us` of all that have one.
    pub total: Sketch,
    /// What all attempts spent in each phase, in microseconds, in the order of [`PHASES`].
    pub phases: [u64; 5],
    /// The longest probe.
    pub longest: Option<Extreme>,
    /// The one that began the longest after it was due.
    pub latest: Option<Extreme>,
}

impl GroupStats {
    /// All probes.
    pub fn probes(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Probes of an outcome.
    pub fn of(&self, outcome: Outcome) -> u64 {
        let at = Outcome::ALL.iter().position(|known| *known == outcome);
        at.map_or(0, |at| self.outcomes[at])
    }

    /// The share of `up` and `degraded` among all that were not skipped, in percent; none where all were.
    pub fn up_percent(&self) -> Option<f64> {
        let counted = self.probes() - self.of(Outcome::Skipped);
        let up = self.of(Outcome::Up) + self.of(Outcome::Degraded);
        (counted > 0).then(|| up as f64 * 100.0 / counted as f64)
    }

    /// The phase in which most time was spent, and its share of all phases, 0 to 1.
    pub fn worst_phase(&self) -> Option<(&'static str, f64)> {
        let all: u64 = self.phases.iter().sum();
        let (name, most) = PHASES.into_iter().zip(self.phases).max_by_key(|(_, micros)| *micros)?;
        (all > 0).then(|| (name, most as f64 / all as f64))
    }
}

/// A certificate that ends soon, or has ended: the last that a target showed in the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiring {
    /// The pipeline.
    pub pipeline: Arc<str>,
    /// The target.
    pub target: Arc<str>,
    /// The end of its validity, or of one above it in the chain where that is earlier.
    pub not_after: UnixNanos,
}

/// A target whose outcome has changed again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flapping {
    /// The pipeline.
    pub pipeline: Arc<str>,
    /// The target.
    pub target: Arc<str>,
    /// How often an outcome differed from the one before it, summed over the runners that probe the target.
    pub changes: u64,
}

/// An outage that comes and goes is two changes: from the third on, a target flaps.
const FLAPPING: u64 = 3;

/// What the probes of a window come to.
#[derive(Debug)]
pub struct ProbeStats {
    /// The groups, in no order.
    pub groups: Vec<GroupStats>,
    /// Targets that have rows in the window.
    pub targets: usize,
    /// Certificates that end before the moment that was asked for, earliest first.
    pub expiring: Vec<Expiring>,
    /// Most changes first.
    pub flapping: Vec<Flapping>,
    /// What could not be read: where this is not empty, the numbers are not whole.
    pub left_out: Vec<LeftOut>,
}

/// Tallies the probes of a window. Certificates count as expiring that end before `expiring_before`.
pub fn probe_stats(query: &Query, by: &By, expiring_before: UnixNanos) -> Result<ProbeStats, SinkError> {
    let mut columns: Vec<&str> = COLUMNS.to_vec();
    if matches!(by, By::Label(_)) {
        columns.push("labels");
    }
    let wanted = Wanted::new(Table::Probes, &columns, query.window);
    let list = || segments::list(&query.folders, Table::Probes, query.window);
    let (tally, left_out) = scan(list, &wanted, || ProbeTally::new(query, by))?;
    Ok(tally.finish(expiring_before, left_out))
}

/// When the last attempt in one segment began, in microseconds, by any of the wanted pipelines.
pub(super) fn last_of(query: &Query, source: Source) -> Option<i64> {
    let wanted = Wanted::new(Table::Probes, &["started_at", "pipeline"], Window::ALWAYS);
    let mut sources = Some(vec![source]);
    let once = std::cell::RefCell::new(&mut sources);
    let list = || Ok(once.borrow_mut().take().unwrap_or_default());
    // What cannot be read says nothing.
    scan(list, &wanted, || Last::new(query)).ok().and_then(|(last, _)| last.started_at)
}
