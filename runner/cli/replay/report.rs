//! What a replay came to: differences first, grouped and counted, then the sum. Memory holds a few cases of
//! each kind, however many records there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use jiff::Timestamp;

use crate::check::Record;
use crate::cli::validate::count;
use crate::clock::UnixNanos;
use crate::model::{CheckStatus, Verdict, harmless};
use crate::pipeline::{Change, Compared, RecordReader, Replayed};

/// What a replay came to so far.
#[derive(Debug)]
pub(super) struct Report {
    limit: usize,
    attempts: u64,
    differing: u64,
    first: UnixNanos,
    last: UnixNanos,
    groups: BTreeMap<GroupKey, Group>,
    checks: BTreeMap<String, Tally>,
    outcomes: BTreeMap<(&'static str, &'static str), u64>,
    blurred: u64,
}

/// One kind of difference of one check, in the order in which they are shown.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct GroupKey {
    change: Change,
    check: String,
    was: Option<&'static str>,
    now: Option<&'static str>,
}

#[derive(Debug, Default)]
struct Group {
    verdicts: u64,
    cases: Vec<Case>,
    /// Where each case stands among them.
    places: HashMap<Told, usize>,
    /// Verdicts that are in no case.
    more: u64,
    /// Verdicts on records of which something is masked, and what.
    masked: u64,
    parts: BTreeSet<String>,
    /// Verdicts on records with a part of the body only.
    cut: u64,
}

/// The same for the same target, once or more often.
#[derive(Debug)]
struct Case {
    told: Told,
    first: UnixNanos,
    last: UnixNanos,
    times: u64,
}

/// What was said, and is, of a target.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Told {
    target: String,
    was: Option<String>,
    now: Option<String>,
}

/// What one check said, and says, in all.
#[derive(Debug, Default)]
struct Tally {
    verdicts: u64,
    differ: u64,
    new: u64,
    by_status: [u64; STATUSES.len()],
}

const STATUSES: [CheckStatus; 4] =
    [CheckStatus::Pass, CheckStatus::Warn, CheckStatus::Fail, CheckStatus::Error];

impl Report {
    /// A report that shows at most `limit` cases of a kind; 0 means all.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: if limit == 0 { usize::MAX } else { limit },
            attempts: 0,
            differing: 0,
            first: UnixNanos(i64::MAX),
            last: UnixNanos(i64::MIN),
            groups: BTreeMap::new(),
            checks: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            blurred: 0,
        }
    }

    /// Adds an attempt.
    pub(super) fn add(&mut self, record: &Record, replayed: Replayed) {
        let at = record.observed.started_at;
        self.attempts += 1;
        self.differing += u64::from(replayed.differs());
        self.first = self.first.min(at);
        self.last = self.last.max(at);
        if replayed.outcome_differs() {
            let outcomes = (replayed.was.as_str(), replayed.now.as_str());
            *self.outcomes.entry(outcomes).or_default() += 1;
        }
        for compared in replayed.checks {
            self.add_check(record, &compared);
        }
    }

    fn add_check(&mut self, record: &Record, compared: &Compared) {
        let Compared { was, now, change } = compared;
        let Some(named) = now.as_ref().or(was.as_ref()) else { return };
        let check = format!("{}/{}", record.pipeline, named.check_name);
        let tally = self.checks.entry(check.clone()).or_default();
        if let Some(now) = now {
            tally.verdicts += 1;
            tally.differ += u64::from(change.is_difference());
            tally.new += u64::from(*change == Change::New);
            self.blurred += u64::from(*change == Change::Blurred);
            if let Some(place) = STATUSES.iter().position(|status| *status == now.status) {
                tally.by_status[place] += 1;
            }
        }
        let is_told = match change {
            Change::Same | Change::Blurred => false,
            Change::New => now.as_ref().is_some_and(|now| now.status != CheckStatus::Pass),
            Change::Status | Change::Words | Change::Gone | Change::Unjudged => true,
        };
        if is_told {
            let status = |verdict: &Option<Verdict>| verdict.as_ref().map(|verdict| verdict.status.as_str());
            let key = GroupKey { change: *change, check, was: status(was), now: status(now) };
            self.groups.entry(key).or_default().add(record, Case::of(record, compared), self.limit);
        }
    }

    /// Whether there was nothing to compare.
    pub(super) fn is_empty(&self) -> bool {
        self.attempts == 0
    }

    /// Whether anything differs.
    pub(super) fn differs(&self) -> bool {
        self.differing > 0
    }

    /// The report for people.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        for (key, group) in &self.groups {
            group.write(key, &mut out);
        }
        for ((was, now), times) in &self.outcomes {
            let _ =
                writeln!(out, "outcome: was {was}, would be {now}: {}", count(*times as usize, "attempt"));
        }
        if !out.is_empty() {
            out.push('\n');
        }
        let (first, last) = (date(self.first), date(self.last));
        let attempts = count(self.attempts as usize, "attempt");
        let _ = match self.differing {
            0 => writeln!(out, "{attempts} from {first} to {last}: no difference"),
            differing => {
                writeln!(out, "{attempts} from {first} to {last}: {differing} would be told otherwise")
            }
        };
        self.write_checks(&mut out);
        if self.blurred > 0 {
            let blurred = count(self.blurred as usize, "verdict");
            let _ = writeln!(
                out,
                "  {blurred} of checks that have not changed stand as they were: what these saw is masked or cut in the record"
            );
        }
        out
    }

    fn write_checks(&self, out: &mut String) {
        let width = self.checks.keys().map(|name| name.chars().count()).max().unwrap_or(0).max(5);
        let _ = write!(out, "  {:width$}  verdicts  differ     new", "check");
        for status in STATUSES {
            let _ = write!(out, "  {:>6}", status.as_str());
        }
        out.push('\n');
        for (name, tally) in &self.checks {
            let Tally { verdicts, differ, new, by_status } = tally;
            let _ = write!(out, "  {name:width$}  {verdicts:>8}  {differ:>6}  {new:>6}");
            for number in by_status {
                let _ = write!(out, "  {number:>6}");
            }
            out.push('\n');
        }
    }
}

impl Group {
    fn add(&mut self, record: &Record, case: Case, limit: usize) {
        self.verdicts += 1;
        self.masked += u64::from(!record.masked.is_empty());
        self.parts.extend(record.masked.iter().cloned());
        self.cut += u64::from(record.body_cut_from.is_some());
        if let Some(known) = self.places.get(&case.told).and_then(|place| self.cases.get_mut(*place)) {
            known.times += 1;
            known.last = case.last;
        } else if self.cases.len() < limit {
            self.places.insert(case.told.clone(), self.cases.len());
            self.cases.push(case);
        } else {
            self.more += 1;
        }
    }

    fn write(&self, key: &GroupKey, out: &mut String) {
        let GroupKey { change, check, was, now } = key;
        let (was, now) = (was.unwrap_or_default(), now.unwrap_or_default());
        let what = match change {
            Change::Status => format!("was {was}, now {now}"),
            Change::Words | Change::Blurred | Change::Same => format!("{now} as before, in other words"),
            Change::New => format!("new, {now}"),
            Change::Gone => format!("was {was}, not called now"),
            Change::Unjudged => format!("could not be judged then, now {now}"),
        };
        let _ = writeln!(out, "{check}: {what}: {}", count(self.verdicts as usize, "verdict"));
        for case in &self.cases {
            case.write(out);
        }
        if self.more > 0 {
            let _ = writeln!(out, "  {} more", self.more);
        }
        // What a check sees in a record that it did not see then.
        if self.masked > 0 {
            let parts: Vec<_> = self.parts.iter().map(|part| harmless(part)).collect();
            let _ = writeln!(out, "  ({} of the records are masked: {})", self.masked, parts.join(", "));
        }
        if self.cut > 0 {
            let _ = writeln!(out, "  ({} of the records have a part of the body only)", self.cut);
        }
    }
}

impl Case {
    fn of(record: &Record, compared: &Compared) -> Self {
        let Compared { was, now, change } = compared;
        let only_told = match (was, now) {
            (Some(was), Some(now)) => *change == Change::Words && was.message == now.message,
            _ => false,
        };
        let text =
            |verdict: &Verdict| harmless(&if only_told { told(verdict) } else { verdict.message.clone() });
        let at = record.observed.started_at;
        Self {
            told: Told {
                target: harmless(&record.observed.target.name),
                was: was.as_ref().map(text),
                now: now.as_ref().map(text),
            },
            first: at,
            last: at,
            times: 1,
        }
    }

    fn write(&self, out: &mut String) {
        let Told { target, was, now } = &self.told;
        let _ = write!(out, "  {}  {target}", date(self.first));
        if self.times > 1 {
            let _ = write!(out, " ({} times until {})", self.times, date(self.last));
        }
        out.push('\n');
        for (word, text) in [("was", was), ("now", now)] {
            if let Some(text) = text {
                let _ = writeln!(out, "    {word}: {text}");
            }
        }
    }
}

/// Metrics and annotations, where the message is not what differs.
fn told(verdict: &Verdict) -> String {
    let metrics = verdict.metrics.iter().map(|(name, value)| format!("{name} = {value}"));
    let texts = verdict.annotations.iter().map(|(name, text)| format!("{name} = \"{text}\""));
    metrics.chain(texts).collect::<Vec<_>>().join(", ")
}

fn date(at: UnixNanos) -> String {
    Timestamp::from_nanosecond(i128::from(at.0)).map(|at| format!("{at:.0}")).unwrap_or_default()
}

/// What is to be said of the files beside what the checks say.
pub(super) fn notes(records: &RecordReader) -> Vec<String> {
    let mut notes = Vec::new();
    for unreadable in &records.unreadable {
        notes.push(format!("warning: {}", harmless(&unreadable.to_string())));
    }
    let told = records.unreadable.len() as u64;
    if records.unreadable_lines > told {
        notes.push(format!("warning: {} more lines could not be read", records.unreadable_lines - told));
    }
    for path in &records.torn {
        notes.push(format!(
            "note: the last line of {} has no end, and is left out",
            harmless(&path.display().to_string())
        ));
    }
    for (pipeline, times) in &records.passed_over {
        let records = count(*times as usize, "record");
        notes.push(format!(
            "note: {records} of the pipeline \"{}\", which is not replayed",
            harmless(pipeline)
        ));
    }
    notes
}
