//! Statistics for people.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::clock::UnixNanos;
use crate::model::{Outcome, harmless};
use crate::sink::query::{By, CheckStats, Extreme, GroupStats, ProbeStats, Window};

/// Certificates and flapping targets that are shown.
const LISTED: usize = 10;
/// The longest name that is shown whole, in characters.
const NAME_WIDTH: usize = 60;

/// A moment in UTC, to the second.
pub(super) fn moment(at: UnixNanos) -> String {
    match jiff::Timestamp::from_second(at.seconds()) {
        Ok(at) => at.to_string(),
        Err(_) => "the end of time".to_owned(),
    }
}

/// All probes of a window.
pub(super) fn whole(stats: &ProbeStats, window: Window, end: UnixNanos) -> String {
    let mut out =
        format!("{} to {}, {} targets\n", moment(window.since), moment(window.until), stats.targets);
    let Some(group) = stats.groups.first() else { return out };
    let told = Outcome::ALL.into_iter().filter(|outcome| group.of(*outcome) > 0);
    let told: Vec<_> = told.map(|outcome| format!("{} {outcome}", group.of(outcome))).collect();
    let _ = writeln!(out, "probes    {}: {}", group.probes(), told.join(", "));
    let _ = writeln!(out, "up        {}", percent(group.up_percent()));
    let [p50, p95, p99] = quantiles(group).map(|micros| micros.map_or_else(|| "-".to_owned(), millis));
    let _ = writeln!(out, "total     p50 {p50}, p95 {p95}, p99 {p99} ms");
    if let Some((phase, share)) = group.worst_phase() {
        let _ = writeln!(out, "phases    most time goes into {phase}: {:.0} %", share * 100.0);
    }
    for (word, extreme) in [("longest", &group.longest), ("latest", &group.latest)] {
        if let Some(extreme) = extreme {
            let _ = writeln!(out, "{word:9} {}", extreme_text(extreme, word));
        }
    }
    if !group.failures.is_empty() {
        out.push_str("\nfailures\n");
        for (why, times) in &group.failures {
            let _ = writeln!(out, "{times:>9}  {}", shown(why));
        }
    }
    certificates(stats, end, &mut out);
    flapping(stats, &mut out);
    out
}

fn extreme_text(extreme: &Extreme, word: &str) -> String {
    let Extreme { micros, started_at, pipeline, target } = extreme;
    let took = millis(u64::try_from(*micros).unwrap_or(0));
    let took = if word == "latest" { format!("{took} ms after it was due") } else { format!("{took} ms") };
    format!("{took}: {}, at {}", whose(pipeline, target), moment(*started_at))
}

fn certificates(stats: &ProbeStats, end: UnixNanos, out: &mut String) {
    if stats.expiring.is_empty() {
        return;
    }
    out.push_str("\ncertificates that end within 30 days\n");
    for expiring in stats.expiring.iter().take(LISTED) {
        let days = (expiring.not_after.seconds() - end.seconds()).div_euclid(86_400);
        let left = if expiring.not_after < end { "ended".to_owned() } else { format!("{days} d") };
        let whose = whose(&expiring.pipeline, &expiring.target);
        let _ = writeln!(out, "{left:>9}  {}  {whose}", moment(expiring.not_after));
    }
    more(stats.expiring.len(), out);
}

fn flapping(stats: &ProbeStats, out: &mut String) {
    if stats.flapping.is_empty() {
        return;
    }
    out.push_str("\nflapping: changes of the outcome\n");
    for flapping in stats.flapping.iter().take(LISTED) {
        let _ = writeln!(out, "{:>9}  {}", flapping.changes, whose(&flapping.pipeline, &flapping.target));
    }
    more(stats.flapping.len(), out);
}

fn more(all: usize, out: &mut String) {
    if all > LISTED {
        let _ = writeln!(out, "{:>9}  {} more; --format json has them all", "", all - LISTED);
    }
}

/// A line a group; `all` is how many groups there are.
pub(super) fn groups(stats: &ProbeStats, by: &By, all: usize) -> String {
    let with_pipeline = matches!(by, By::Pipeline | By::Target);
    let title = match by {
        By::Label(label) => harmless(label),
        _ => "target".to_owned(),
    };
    let mut titles = Vec::new();
    if with_pipeline {
        titles.push("pipeline".to_owned());
    }
    if !matches!(by, By::Pipeline) {
        titles.push(title);
    }
    let named = titles.len();
    let numbers = ["probes", "up %", "down", "unknown", "degraded", "p50 ms", "p95 ms", "p99 ms"];
    titles.extend(numbers.into_iter().chain(["worst phase", "most failures"]).map(str::to_owned));
    let rows = stats.groups.iter().map(|group| {
        let mut row = Vec::new();
        if with_pipeline {
            row.push(group.pipeline.as_ref().map_or_else(|| "-".to_owned(), |name| shown(name)));
        }
        if !matches!(by, By::Pipeline) {
            row.push(group.name.as_ref().map_or_else(|| "-".to_owned(), |name| shown(name)));
        }
        row.push(group.probes().to_string());
        row.push(percent(group.up_percent()).trim_end_matches(" %").to_owned());
        let counted = [Outcome::Down, Outcome::Unknown, Outcome::Degraded];
        row.extend(counted.map(|outcome| group.of(outcome).to_string()));
        row.extend(quantiles(group).map(|micros| micros.map_or_else(|| "-".to_owned(), millis)));
        row.push(
            group
                .worst_phase()
                .map_or_else(String::new, |(phase, share)| format!("{phase} {:.0} %", share * 100.0)),
        );
        row.push(
            group
                .failures
                .first()
                .map_or_else(String::new, |(why, times)| format!("{} ({times})", shown(why))),
        );
        row
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let mut out = lay_out(&titles, &rows, named..named + numbers.len());
    if all > rows.len() {
        let _ = writeln!(out, "{} more; --limit 0 shows all", all - rows.len());
    }
    out
}

/// A line a check; `all` is how many there are.
pub(super) fn checks(stats: &CheckStats, all: usize) -> String {
    let titles = ["pipeline", "check", "verdicts", "pass", "warn", "fail", "error", "p50 us", "p99 us"];
    let titles = titles.map(str::to_owned);
    let rows = stats.checks.iter().map(|check| {
        let mut row = vec![shown(&check.pipeline), shown(&check.check_name), check.verdicts().to_string()];
        row.extend(check.statuses.map(|times| times.to_string()));
        let cost = [0.5, 0.99].map(|q| check.cost.quantile(q));
        row.extend(cost.map(|micros| micros.map_or_else(|| "-".to_owned(), |micros| micros.to_string())));
        row
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let mut out = lay_out(&titles, &rows, 2..titles.len());
    if all > rows.len() {
        let _ = writeln!(out, "{} more; --limit 0 shows all", all - rows.len());
    }
    out
}

/// Aligned columns: numbers to the right.
fn lay_out(titles: &[String], rows: &[Vec<String>], numbers: std::ops::Range<usize>) -> String {
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).chain(titles.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let mut out = String::new();
    for row in std::iter::once(titles).chain(rows.iter().map(Vec::as_slice)) {
        let mut line = String::new();
        for ((at, cell), width) in row.iter().enumerate().zip(&widths) {
            let _ = if numbers.contains(&at) {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:width$}  ")
            };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn quantiles(group: &GroupStats) -> [Option<u64>; 3] {
    [0.5, 0.95, 0.99].map(|q| group.total.quantile(q))
}

/// Two digits after the point, and never 100 where something was not up.
pub(super) fn percent(up: Option<f64>) -> String {
    match up {
        None => "-".to_owned(),
        Some(up) if up < 100.0 => format!("{:.2} %", (up * 100.0).floor() / 100.0),
        Some(up) => format!("{up:.2} %"),
    }
}

fn millis(micros: u64) -> String {
    let millis = micros as f64 / 1_000.0;
    // What quantiles know: three digits.
    if millis >= 100.0 { format!("{millis:.0}") } else { format!("{millis:.1}") }
}

fn whose(pipeline: &Arc<str>, target: &Arc<str>) -> String {
    format!("{} in {}", shown(target), shown(pipeline))
}

fn shown(name: &str) -> String {
    let name = harmless(name);
    if name.chars().count() <= NAME_WIDTH {
        return name;
    }
    name.chars().take(NAME_WIDTH - 1).chain(['…']).collect()
}
