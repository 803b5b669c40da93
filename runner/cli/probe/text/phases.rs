//! Where the time went: a bar for each phase and for the checks, with their sum.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Page, time_of};
use crate::cli::probe::attempt::Attempt;
use crate::cli::probe::blame::Phase;

/// The longest bar, in characters.
const WIDTH: usize = 32;

/// One line of the table.
struct Bar {
    name: &'static str,
    time: Option<Duration>,
    note: &'static str,
}

/// Adds the table.
pub(super) fn add(attempt: &Attempt, page: &mut Page) {
    let bars = bars(attempt);
    let longest = bars.iter().filter_map(|bar| bar.time).max().unwrap_or_default();
    for (index, Bar { name, time, note }) in bars.iter().enumerate() {
        let label = if index == 0 { "time" } else { "" };
        let shown = time.map_or_else(|| "-".to_owned(), number);
        let bar = "█".repeat(time.map_or(0, |time| length(time, longest)));
        let space = if bar.is_empty() || note.is_empty() { "" } else { " " };
        let note = if note.starts_with("failed") { page.paint("down", note) } else { (*note).to_owned() };
        let line = format!("{label:10} {name:10} {shown:>9}  {bar}{space}{note}");
        let _ = writeln!(page.out, "{}", line.trim_end());
    }
    let sum: Duration = bars.iter().filter_map(|bar| bar.time).sum();
    let _ = writeln!(page.out, "{:10} {:10} {:>9}  ms", "", "sum", number(sum));
    page.out.push('\n');
}

fn bars(attempt: &Attempt) -> Vec<Bar> {
    let exchange = &attempt.row.exchange;
    let total = exchange.phases.total.unwrap_or_default();
    let measured: Duration = Phase::ALL.into_iter().filter_map(|phase| time_of(exchange, phase)).sum();
    let rest = total.saturating_sub(measured);
    let failed = attempt.blame.as_ref().and_then(|blame| blame.phase);
    let mut is_rest_told = false;
    let mut bars: Vec<Bar> = Phase::ALL
        .into_iter()
        .map(|phase| {
            let time = time_of(exchange, phase);
            match failed {
                // The phase that did not end has what none of the others took.
                Some(failed) if failed == phase && time.is_none() => {
                    is_rest_told = true;
                    Bar { name: phase.as_str(), time: Some(rest), note: "failed here" }
                }
                Some(failed) if failed == phase => Bar { name: phase.as_str(), time, note: "failed here" },
                _ => Bar { name: phase.as_str(), time, note: "" },
            }
        })
        .collect();
    if !is_rest_told {
        bars.push(Bar { name: "between", time: Some(rest), note: "" });
    }
    let checks = &attempt.row.verdicts;
    let spent = (!checks.is_empty()).then(|| checks.iter().map(|verdict| verdict.duration).sum());
    let decided = attempt.blame.as_ref().is_some_and(|blame| blame.check.is_some());
    bars.push(Bar { name: "checks", time: spent, note: if decided { "decided here" } else { "" } });
    mark_slowest(&mut bars, total);
    bars
}

/// Marks the phase that took most of the time, where the attempt took long enough for that to matter.
fn mark_slowest(bars: &mut [Bar], total: Duration) {
    let slowest = bars.iter_mut().filter(|bar| bar.note.is_empty()).max_by_key(|bar| bar.time);
    if let Some(bar) = slowest.filter(|bar| bar.time.is_some_and(|time| time * 2 > total))
        && total >= Duration::from_millis(100)
    {
        bar.note = "most of the time";
    }
}

/// Milliseconds, without their unit.
fn number(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1_000.0)
}

/// A bar's length: what took any time has one.
fn length(time: Duration, longest: Duration) -> usize {
    if time.is_zero() || longest.is_zero() {
        return 0;
    }
    ((time.as_secs_f64() / longest.as_secs_f64() * WIDTH as f64).round() as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion() {
        let ms = Duration::from_millis;
        assert_eq!(length(ms(100), ms(100)), WIDTH);
        assert_eq!(length(ms(50), ms(100)), WIDTH / 2);
        assert_eq!(length(Duration::from_nanos(1), ms(100)), 1);
        assert_eq!(length(Duration::ZERO, ms(100)), 0);
        assert_eq!(length(Duration::ZERO, Duration::ZERO), 0);
    }
}
