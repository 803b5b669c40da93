//! `probity stats`: what the results of the last day, or of any other time, come to.

mod lines;
mod text;

use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::results::ResultsArgs;
use super::{Exit, output, when};
use crate::clock::{Clock, UnixNanos};
use crate::sink::query::{
    By, CheckStats, GroupStats, LeftOut, ProbeStats, Query, Window, check_stats, last_result, probe_stats,
};

/// Certificates are told that end within this time from the window's end.
const EXPIRING: Duration = Duration::from_hours(30 * 24);
/// What a table shows at most, unless it is told otherwise.
const SHOWN: usize = 50;

/// What the help ends with.
const EXAMPLES: &str = "\
What is read: finished files, and what stands in journals only, also those of a runner at work. Only the attempts that
decided a probe count. Up is the share of up and degraded among all probes that were not skipped. p50, p95 and p99 are
of total_us, counted in buckets: off by less than 1 %. A target flaps whose outcome has changed three times or more.

Examples:
  probity stats                                    the last 24 hours, of everything
  probity stats --since 7d --by pipeline
  probity stats --by target --pipeline shop        the worst target first
  probity stats --by label.team --format csv       for a spreadsheet
  probity stats --by check                         how often each check failed, and what it cost
  probity stats --since 2026-11-22T03:00:00Z --until 2026-11-22T04:00:00Z --format json";

/// Arguments of `stats`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StatsArgs {
    #[command(flatten)]
    results: ResultsArgs,
    /// From a moment on (2026-11-22T03:00:00Z, 2026-11-22), or for so long until now (90m, 24h, 7d)
    #[arg(long, value_name = "WHEN", value_parser = when::parse, default_value = "24h")]
    since: UnixNanos,
    /// Before a moment, or an age [default: now]
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    until: Option<UnixNanos>,
    /// Only the pipeline of this name
    #[arg(long, value_name = "NAME")]
    pipeline: Vec<String>,
    /// A line for each target, pipeline, check, or value of a label (label.NAME), the worst first
    #[arg(long, value_name = "WHAT", value_parser = grouping)]
    by: Option<Grouping>,
    /// For people, a JSON object for each line, or CSV
    #[arg(long, value_enum, default_value = "table")]
    format: StatsFormat,
    /// At most so many lines; 0 is all [default: 50 in a table, else all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// How statistics are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StatsFormat {
    /// For people.
    Table,
    /// A JSON object for each line.
    Json,
    /// Comma-separated values, with a header.
    Csv,
}

/// What there is a line for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Grouping {
    Probes(By),
    Checks,
}

fn grouping(text: &str) -> Result<Grouping, &'static str> {
    Ok(match text {
        "target" => Grouping::Probes(By::Target),
        "pipeline" => Grouping::Probes(By::Pipeline),
        "check" => Grouping::Checks,
        _ => match text.strip_prefix("label.") {
            Some(name) if !name.is_empty() => Grouping::Probes(By::Label(name.to_owned())),
            _ => return Err("there are target, pipeline, check, and label.NAME with the name of a label"),
        },
    })
}

/// Tells what the results of a window come to.
pub(super) fn stats(args: &StatsArgs) -> anyhow::Result<Exit> {
    let now = Clock::system().wall();
    let window = Window { since: args.since, until: args.until.unwrap_or(now) };
    if window.since >= window.until {
        output::error("the window is empty: --since has to be before --until");
        return Ok(Exit::Usage);
    }
    let folders = args.results.folders()?;
    let query = Query { folders, window, pipelines: args.pipeline.clone() };
    let failed = || "cannot read the results";
    let (text, left_out) = match &args.by {
        Some(Grouping::Checks) => {
            let mut found = check_stats(&query).with_context(failed)?;
            let all = found.checks.len();
            worst_check_first(&mut found);
            found.checks.truncate(args.most());
            let told = match args.format {
                _ if all == 0 => None,
                StatsFormat::Table => Some(text::checks(&found, all)),
                StatsFormat::Json => Some(lines::checks_json(&found)),
                StatsFormat::Csv => Some(lines::checks_csv(&found)),
            };
            (told, found.left_out)
        }
        grouping => {
            let by = match grouping {
                Some(Grouping::Probes(by)) => by,
                _ => &By::All,
            };
            // Of an earlier window it is told what was about to end then.
            let end = window.until.min(now);
            let mut found = probe_stats(&query, by, end.plus(EXPIRING)).with_context(failed)?;
            (probes(args, by, &mut found, window, end), found.left_out)
        }
    };
    match text {
        Some(text) => output::data(&text)?,
        None => nothing(args, &query)?,
    }
    Ok(told_left_out(&left_out))
}

impl StatsArgs {
    /// How many lines are told.
    fn most(&self) -> usize {
        match self.limit {
            Some(0) => usize::MAX,
            Some(limit) => limit,
            None if self.format == StatsFormat::Table => SHOWN,
            None => usize::MAX,
        }
    }
}

/// What the probes come to as text; none where there are none.
fn probes(
    args: &StatsArgs,
    by: &By,
    found: &mut ProbeStats,
    window: Window,
    end: UnixNanos,
) -> Option<String> {
    let all = found.groups.len();
    if all == 0 {
        return None;
    }
    worst_first(&mut found.groups);
    found.groups.truncate(args.most());
    Some(match (args.format, by) {
        (StatsFormat::Table, By::All) => text::whole(found, window, end),
        (StatsFormat::Table, _) => text::groups(found, by, all),
        (StatsFormat::Json, By::All) => lines::whole_json(found, window),
        (StatsFormat::Json, _) => lines::groups_json(found, by),
        (StatsFormat::Csv, _) => lines::groups_csv(found, by),
    })
}

/// Least up first, then slowest, then by name.
fn worst_first(groups: &mut [GroupStats]) {
    let key = |group: &GroupStats| {
        let up = group.up_percent().map_or(u64::MAX, |percent| (percent * 1e6) as u64);
        (up, std::cmp::Reverse(group.total.quantile(0.99)))
    };
    groups.sort_by_cached_key(|group| (key(group), group.pipeline.clone(), group.name.clone()));
}

/// Most failed and in error first, then dearest, then by name.
fn worst_check_first(found: &mut CheckStats) {
    found.checks.sort_by_cached_key(|check| {
        let [_, _, fail, error] = check.statuses;
        let share = (fail + error) * 1_000_000 / check.verdicts().max(1);
        let worst = (std::cmp::Reverse(share), std::cmp::Reverse(check.cost.quantile(0.99)));
        (worst, check.pipeline.clone(), check.check_name.clone())
    });
}

/// A window without results says so: on standard error where programs read the output.
fn nothing(args: &StatsArgs, query: &Query) -> anyhow::Result<()> {
    let Window { since, until } = query.window;
    let mut said = format!("no results between {} and {}", text::moment(since), text::moment(until));
    match last_result(query).context("cannot read the results")? {
        Some(last) => {
            said.push_str("; the last one is of ");
            said.push_str(&text::moment(last));
        }
        None if query.pipelines.is_empty() => said.push_str("; there is none at any other time either"),
        None => {
            let names: Vec<_> = query.pipelines.iter().map(|name| format!("\"{name}\"")).collect();
            said.push_str("; there is none of ");
            said.push_str(&names.join(", "));
            said.push_str(" at any other time either");
        }
    }
    if args.format == StatsFormat::Table {
        output::data(&format!("{said}\n"))?;
    } else {
        output::note(&said);
    }
    Ok(())
}

/// Numbers that are not whole are never told as if they were.
fn told_left_out(left_out: &[LeftOut]) -> Exit {
    for LeftOut { path, reason } in left_out {
        output::error(&format!("left out \"{}\": {reason}; `probity verify` looks closer", path.display()));
    }
    if left_out.is_empty() { Exit::Success } else { Exit::Failed }
}
