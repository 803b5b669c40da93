//! Rows of `probes`, tallied.
//!
//! A series is what one runner sees of one target; its rows come in the order of time, within a file and from file to
//! file, since a probe never overlaps itself. So changes are counted as they come, and two tallies join where one series
//! ends and goes on.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, AsArray, BooleanArray, Int64Array, MapArray, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::super::Query;
use super::super::scan::{LeftOut, Tally};
use super::super::sketch::Sketch;
use super::super::words::{NONE, Numbered, Words};
use super::{By, Expiring, Extreme, FLAPPING, Flapping, GroupStats, PHASES, ProbeStats};
use crate::clock::UnixNanos;
use crate::model::Outcome;
use crate::sink::columns::{column, long};

/// The tally of one thread, or of all.
pub(super) struct ProbeTally<'q> {
    query: &'q Query,
    by: &'q By,
    words: Words,
    groups: Vec<Group>,
    /// By the numbers of pipeline and name, [`NONE`] where groups are not by it.
    group_numbers: HashMap<(u32, u32), usize>,
    series: Vec<Series>,
    /// By the numbers of pipeline, target and runner.
    series_numbers: HashMap<(u32, u32, u32), usize>,
}

struct Group {
    key: (u32, u32),
    outcomes: [u64; 5],
    /// By the number of an error kind, or of a check.
    failures: Vec<((Failed, u32), u64)>,
    total: Sketch,
    phases: [u64; 5],
    longest: Option<Peak>,
    latest: Option<Peak>,
}

/// Which of two columns says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failed {
    Kind,
    Check,
}

/// The longest of something, when, and whose.
#[derive(Clone, Copy)]
struct Peak {
    micros: i64,
    started_at: i64,
    series: usize,
}

struct Series {
    key: (u32, u32, u32),
    is_wanted: bool,
    /// Its group, where all its rows are in one.
    group: usize,
    seen: Option<Seen>,
    changes: u64,
    /// When the last certificate was seen, and when it ends.
    certificate: Option<(i64, i64)>,
}

/// The ends of a series as far as it was seen.
#[derive(Clone, Copy)]
struct Seen {
    first_at: i64,
    first: usize,
    last_at: i64,
    last: usize,
}

/// Changes of one target, and when its last certificate was seen and ends, over all runners.
type OfTarget = (u64, Option<(i64, i64)>);

/// Where [`Outcome::ALL`] has the outcome that does not count as a change.
const SKIPPED: usize = 4;

impl<'q> ProbeTally<'q> {
    pub(super) fn new(query: &'q Query, by: &'q By) -> Self {
        Self {
            query,
            by,
            words: Words::default(),
            groups: Vec::new(),
            group_numbers: HashMap::new(),
            series: Vec::new(),
            series_numbers: HashMap::new(),
        }
    }

    fn group(&mut self, key: (u32, u32)) -> usize {
        *self.group_numbers.entry(key).or_insert_with(|| {
            self.groups.push(Group::new(key));
            self.groups.len() - 1
        })
    }

    fn series(&mut self, key: (u32, u32, u32)) -> usize {
        if let Some(number) = self.series_numbers.get(&key) {
            return *number;
        }
        let pipeline = self.words.text(key.0).map_or("", |text| text);
        let is_wanted = self.query.wants(pipeline);
        let group = match self.by {
            By::All if is_wanted => self.group((NONE, NONE)),
            By::Pipeline if is_wanted => self.group((key.0, NONE)),
            By::Target if is_wanted => self.group((key.0, key.1)),
            // By label: each row has its own.
            _ => 0,
        };
        self.series.push(Series { key, is_wanted, group, seen: None, changes: 0, certificate: None });
        self.series_numbers.insert(key, self.series.len() - 1);
        self.series.len() - 1
    }

    /// What the tally comes to.
    pub(super) fn finish(self, expiring_before: UnixNanos, left_out: Vec<LeftOut>) -> ProbeStats {
        let text = |number: u32| self.words.text(number).cloned();
        let name = |number: u32| text(number).unwrap_or_default();
        let extreme = |peak: Peak| {
            let (pipeline, target, _) = self.series[peak.series].key;
            let started_at = UnixNanos(peak.started_at.saturating_mul(1_000));
            Extreme { micros: peak.micros, started_at, pipeline: name(pipeline), target: name(target) }
        };
        // What a target is over all runners.
        let mut targets: HashMap<(u32, u32), OfTarget> = HashMap::new();
        for series in self.series.iter().filter(|series| series.is_wanted && series.seen.is_some()) {
            let (changes, certificate) = targets.entry((series.key.0, series.key.1)).or_default();
            *changes += series.changes;
            *certificate = (*certificate).max(series.certificate);
        }
        let limit = expiring_before.micros();
        let mut expiring: Vec<_> = targets
            .iter()
            .filter_map(|(key, (_, certificate))| Some((key, certificate.map(|(_, ends)| ends)?)))
            .filter(|(_, ends)| *ends < limit)
            .map(|((pipeline, target), ends)| Expiring {
                pipeline: name(*pipeline),
                target: name(*target),
                not_after: UnixNanos(ends.saturating_mul(1_000)),
            })
            .collect();
        expiring.sort_by(|a, b| {
            (a.not_after, &a.pipeline, &a.target).cmp(&(b.not_after, &b.pipeline, &b.target))
        });
        let mut flapping: Vec<_> = targets
            .iter()
            .filter(|(_, (changes, _))| *changes >= FLAPPING)
            .map(|((pipeline, target), (changes, _))| Flapping {
                pipeline: name(*pipeline),
                target: name(*target),
                changes: *changes,
            })
            .collect();
        flapping
            .sort_by(|a, b| (b.changes, &a.pipeline, &a.target).cmp(&(a.changes, &b.pipeline, &b.target)));
        let groups = self.groups.iter().map(|group| {
            let mut failures: Vec<(Arc<str>, u64)> = group
                .failures
                .iter()
                .map(|((failed, number), times)| (failed.text(&name(*number)), *times))
                .collect();
            failures.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
            GroupStats {
                pipeline: text(group.key.0),
                name: text(group.key.1),
                outcomes: group.outcomes,
                failures,
                total: group.total.clone(),
                phases: group.phases,
                longest: group.longest.map(extreme),
                latest: group.latest.map(extreme),
            }
        });
        let groups = groups.collect();
        ProbeStats { groups, targets: targets.len(), expiring, flapping, left_out }
    }
}

impl Failed {
    fn text(self, name: &Arc<str>) -> Arc<str> {
        match self {
            Self::Kind => Arc::clone(name),
            Self::Check => format!("check {name}").into(),
        }
    }
}

impl Group {
    fn new(key: (u32, u32)) -> Self {
        Self {
            key,
            outcomes: [0; 5],
            failures: Vec::new(),
            total: Sketch::default(),
            phases: [0; 5],
            longest: None,
            latest: None,
        }
    }

    fn failed(&mut self, why: (Failed, u32), times: u64) {
        match self.failures.iter_mut().find(|(known, _)| *known == why) {
            Some((_, known)) => *known += times,
            None => self.failures.push((why, times)),
        }
    }
}

fn rise(peak: &mut Option<Peak>, other: Peak) {
    if peak.is_none_or(|peak| other.micros > peak.micros) {
        *peak = Some(other);
    }
}

impl Series {
    fn add(&mut self, at: i64, outcome: usize) {
        if outcome == SKIPPED {
            self.seen.get_or_insert(Seen { first_at: at, first: SKIPPED, last_at: at, last: SKIPPED });
            return;
        }
        let one = Seen { first_at: at, first: outcome, last_at: at, last: outcome };
        let before = self.seen.replace(one);
        self.seen = before.map_or(Some(one), |before| Some(self.joined(before, one)));
    }

    /// Two stretches as one, and what changed between them.
    fn joined(&mut self, a: Seen, b: Seen) -> Seen {
        let (early, late) = if a.first_at <= b.first_at { (a, b) } else { (b, a) };
        if early.first == SKIPPED {
            return late;
        }
        if late.first == SKIPPED {
            return early;
        }
        self.changes += u64::from(early.last != late.first);
        Seen { first_at: early.first_at, first: early.first, last_at: late.last_at, last: late.last }
    }
}

/// The columns of one batch.
struct Columns<'a> {
    started_at: &'a TimestampMicrosecondArray,
    lateness: &'a Int64Array,
    is_final: &'a BooleanArray,
    total: &'a Int64Array,
    phases: [&'a Int64Array; 5],
    certificate: &'a TimestampMicrosecondArray,
    chain: &'a TimestampMicrosecondArray,
    labels: Option<&'a MapArray>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> std::io::Result<Self> {
        let time = |name| column(batch, name, |found| found.as_primitive_opt::<TimestampMicrosecondType>());
        let mut phases = [long(batch, "total_us")?; 5];
        for (phase, name) in phases.iter_mut().zip(PHASES) {
            *phase = long(batch, &format!("{name}_us"))?;
        }
        Ok(Self {
            started_at: time("started_at")?,
            lateness: long(batch, "lateness_us")?,
            is_final: column(batch, "is_final", |found| found.as_boolean_opt())?,
            total: long(batch, "total_us")?,
            phases,
            certificate: time("cert_not_after")?,
            chain: time("cert_chain_not_after")?,
            labels: batch.column_by_name("labels").and_then(|labels| labels.as_map_opt()),
        })
    }

    /// When the certificate of a row ends, or one above it.
    fn certificate_ends(&self, row: usize) -> Option<i64> {
        let leaf = self.certificate.is_valid(row).then(|| self.certificate.value(row));
        let chain = self.chain.is_valid(row).then(|| self.chain.value(row));
        leaf.into_iter().chain(chain).min()
    }
}

impl Tally for ProbeTally<'_> {
    fn take(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let columns = Columns::of(batch)?;
        let mut pipelines = Numbered::of(batch, "pipeline")?;
        let mut targets = Numbered::of(batch, "target")?;
        let mut runners = Numbered::of(batch, "runner")?;
        let (outcomes, mut kinds) = (Numbered::of(batch, "outcome")?, Numbered::of(batch, "error_kind")?);
        let mut checks = Numbered::of(batch, "failed_check")?;
        let label = match self.by {
            By::Label(name) => columns.labels.map(|labels| (labels, name.as_str())),
            _ => None,
        };
        let mut before = None;
        let mut series = 0;
        let (by_label, window) = (matches!(self.by, By::Label(_)), self.query.window);
        for row in 0..batch.num_rows() {
            let at = columns.started_at.value(row);
            let is_final = columns.is_final.is_null(row) || columns.is_final.value(row);
            if !is_final || columns.started_at.is_null(row) || !window.covers(at) {
                continue;
            }
            // Rows of one target stand together.
            let key = (pipelines.key(row), targets.key(row), runners.key(row));
            if before != Some(key) {
                before = Some(key);
                let (pipeline, target) =
                    (pipelines.number(row, &mut self.words), targets.number(row, &mut self.words));
                let runner = runners.number(row, &mut self.words);
                series = self.series((pipeline, target, runner));
            }
            let Some(outcome) = outcomes.text(row).and_then(outcome_number) else { continue };
            let known = &mut self.series[series];
            if !known.is_wanted {
                continue;
            }
            known.add(at, outcome);
            if let Some(ends) = columns.certificate_ends(row) {
                known.certificate = known.certificate.max(Some((at, ends)));
            }
            let mut group = known.group;
            if by_label {
                let value = label.and_then(|(labels, name)| label_of(labels, row, name));
                let value = value.map_or(NONE, |value| self.words.number(value));
                group = self.group((NONE, value));
            }
            let group = &mut self.groups[group];
            group.outcomes[outcome] += 1;
            if matches!(Outcome::ALL[outcome], Outcome::Down | Outcome::Unknown) {
                let kind = kinds.number(row, &mut self.words);
                let why = if kind == NONE {
                    (Failed::Check, checks.number(row, &mut self.words))
                } else {
                    (Failed::Kind, kind)
                };
                group.failed(why, 1);
            }
            let peak = |micros| Peak { micros, started_at: at, series };
            if columns.total.is_valid(row) {
                let total = columns.total.value(row);
                group.total.add(total);
                rise(&mut group.longest, peak(total));
            }
            if columns.lateness.is_valid(row) {
                rise(&mut group.latest, peak(columns.lateness.value(row)));
            }
            for (sum, phase) in group.phases.iter_mut().zip(columns.phases) {
                if phase.is_valid(row) {
                    *sum += u64::try_from(phase.value(row)).unwrap_or(0);
                }
            }
        }
        Ok(())
    }

    fn merge(&mut self, other: Self) {
        let words = self.words.learn(&other.words);
        let word = |number: u32| words.get(number as usize).copied().unwrap_or(NONE);
        let mut numbers = Vec::with_capacity(other.series.len());
        for theirs in other.series {
            let (pipeline, target, runner) = theirs.key;
            let number = self.series((word(pipeline), word(target), word(runner)));
            numbers.push(number);
            let own = &mut self.series[number];
            own.changes += theirs.changes;
            own.certificate = own.certificate.max(theirs.certificate);
            own.seen = match (own.seen, theirs.seen) {
                (Some(a), Some(b)) => Some(own.joined(a, b)),
                (a, b) => a.or(b),
            };
        }
        let moved = |peak: Peak| Peak { series: numbers[peak.series], ..peak };
        for theirs in other.groups {
            let number = self.group((word(theirs.key.0), word(theirs.key.1)));
            let own = &mut self.groups[number];
            for (sum, more) in own.outcomes.iter_mut().zip(theirs.outcomes) {
                *sum += more;
            }
            for (sum, more) in own.phases.iter_mut().zip(theirs.phases) {
                *sum += more;
            }
            for ((failed, number), times) in theirs.failures {
                own.failed((failed, word(number)), times);
            }
            own.total.merge(&theirs.total);
            theirs.longest.into_iter().for_each(|peak| rise(&mut own.longest, moved(peak)));
            theirs.latest.into_iter().for_each(|peak| rise(&mut own.latest, moved(peak)));
        }
    }
}

fn outcome_number(text: &str) -> Option<usize> {
    Outcome::ALL.iter().position(|outcome| outcome.as_str() == text)
}

/// The value of a label of a row.
fn label_of<'a>(labels: &'a MapArray, row: usize, name: &str) -> Option<&'a str> {
    if labels.is_null(row) {
        return None;
    }
    let keys: &StringArray = labels.keys().as_string_opt::<i32>()?;
    let values: &StringArray = labels.values().as_string_opt::<i32>()?;
    let offsets = labels.value_offsets();
    let at = (offsets[row] as usize..offsets[row + 1] as usize).find(|at| keys.value(*at) == name)?;
    values.is_valid(at).then(|| values.value(at))
}

/// The last moment at which an attempt of a wanted pipeline began.
pub(super) struct Last<'q> {
    query: &'q Query,
    /// In microseconds.
    pub(super) started_at: Option<i64>,
}

impl<'q> Last<'q> {
    pub(super) fn new(query: &'q Query) -> Self {
        Self { query, started_at: None }
    }
}

impl Tally for Last<'_> {
    fn take(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let times =
            column(batch, "started_at", |found| found.as_primitive_opt::<TimestampMicrosecondType>())?;
        let pipelines = Numbered::of(batch, "pipeline")?;
        for row in (0..batch.num_rows()).filter(|row| times.is_valid(*row)) {
            if self.query.wants(pipelines.text(row).unwrap_or_default()) {
                self.started_at = self.started_at.max(Some(times.value(row)));
            }
        }
        Ok(())
    }

    fn merge(&mut self, other: Self) {
        self.started_at = self.started_at.max(other.started_at);
    }
}
