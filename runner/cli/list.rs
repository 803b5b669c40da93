//! `probity list`: pipelines and their targets, and when each is due next. Nothing is started, nothing is asked.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::compile::{Keep, workshop};
use super::shown::{shown_name, shown_url};
use super::validate::{count, tell};
use super::{Exit, OutputFormat, PipelineArgs, output};
use crate::check::{ConfiguredCheck, write_line};
use crate::clock::{Clock, UnixNanos};
use crate::config::{Diagnostics, format_duration};
use crate::model::{Severity, Target, harmless};
use crate::pipeline::{self, Built};
use crate::schedule::{Forecast, timezone_data};
use crate::sink::Format;

/// So much text is gathered before it is printed: a list may be long.
const PAGE: usize = 64 << 10;
/// Names are aligned up to this width, in characters.
const NAME_WIDTH: usize = 48;

/// Arguments of `list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    pipelines: PipelineArgs,
    /// Each target too, and when a runner that runs now probes it next
    #[arg(long)]
    targets: bool,
    /// How they are told; JSON has an object a pipeline, or with --targets an object a target
    #[arg(long, value_enum, default_value = "table")]
    format: OutputFormat,
}

/// Builds the pipelines and tells of each.
pub(super) fn list(args: &ListArgs) -> anyhow::Result<Exit> {
    let mut diagnostics = Diagnostics::default();
    let settings = pipeline::settings(&args.pipelines.paths, &mut diagnostics);
    let data = settings.data.unwrap_or_else(|| PathBuf::from("."));
    let runner = settings.runner.as_deref().unwrap_or("main");
    let workshop = workshop(Keep::ReadState(&data, runner), None)?;
    let built = pipeline::build_all(&args.pipelines.paths, &workshop, &mut diagnostics);
    tell(&diagnostics);
    let mut page = Page::default();
    let now = Clock::system().wall();
    for pipeline in &built {
        match (args.format, args.targets) {
            (OutputFormat::Json, true) => targets_as_json(pipeline, now, &mut page)?,
            (OutputFormat::Json, false) => page.add_json(&object(pipeline, now))?,
            (OutputFormat::Table, with_targets) => {
                page.add(&text(pipeline, now))?;
                if with_targets {
                    targets_as_text(pipeline, now, &mut page)?;
                }
            }
        }
    }
    if args.format == OutputFormat::Table && !built.is_empty() {
        let targets: usize = built.iter().map(|pipeline| pipeline.targets.len()).sum();
        let (pipelines, targets) = (count(built.len(), "pipeline"), count(targets, "target"));
        page.add(&format!("{pipelines}, {targets}; time zones: {}\n", timezone_data()))?;
    }
    page.print()?;
    Ok(if diagnostics.has_errors() { Exit::Config } else { Exit::Success })
}

/// Text on its way to standard output, printed when there is enough of it.
#[derive(Default)]
struct Page(String);

impl Page {
    fn add(&mut self, text: &str) -> std::io::Result<()> {
        self.0.push_str(text);
        if self.0.len() >= PAGE { self.print() } else { Ok(()) }
    }

    fn add_json(&mut self, value: &Value) -> std::io::Result<()> {
        let mut line = Vec::new();
        write_line(value, &mut line);
        self.add(&String::from_utf8_lossy(&line))
    }

    fn print(&mut self) -> std::io::Result<()> {
        let printed = output::data(&self.0);
        self.0.clear();
        printed
    }
}

/// A pipeline as a few lines.
fn text(pipeline: &Built, now: UnixNanos) -> String {
    let Built { name, generation, targets, timing, secrets, .. } = pipeline;
    let mut out = format!("{name}: generation {generation}\n");
    let mut line = |word: &str, told: &str| {
        let _ = writeln!(out, "  {word:9} {}", harmless(&secrets.mask(told)));
    };
    line("schedule", &timing.to_string());
    let mut told = targets.len().to_string();
    let own = targets.iter().filter(|target| target.every.is_some()).count();
    if own > 0 {
        let _ = write!(told, ", {own} with an interval of {} own", if own == 1 { "its" } else { "their" });
    }
    match in_maintenance(pipeline, now) {
        0 => {}
        number => {
            let _ = write!(told, ", {number} in maintenance now");
        }
    }
    line("targets", &told);
    for supply in &pipeline.supplies {
        let followed = supply.document().map(|(url, every)| {
            format!(": {}, every {}", shown_url(url.as_str(), secrets), format_duration(every))
        });
        let followed = followed.unwrap_or_default();
        line("source", &format!("{}{followed}; its targets come while it runs", supply.source_type()));
    }
    let checks: Vec<_> = pipeline.checks.checks().iter().map(|check| check_words(check)).collect();
    line("checks", &if checks.is_empty() { "none".to_owned() } else { checks.join(", ") });
    let sinks: Vec<_> = sinks(pipeline).into_iter().map(|(kind, place)| format!("{kind} {place}")).collect();
    line("sinks", &sinks.join(", "));
    out
}

fn check_words(check: &ConfiguredCheck) -> String {
    let spec = check.spec();
    let mut notes = Vec::new();
    if spec.plugin != spec.name {
        notes.push(spec.plugin.to_string());
    }
    if spec.severity == Severity::Warn {
        notes.push("a fail only degrades".to_owned());
    }
    if notes.is_empty() { spec.name.to_string() } else { format!("{} ({})", spec.name, notes.join("; ")) }
}

/// The kinds of sinks, and where each writes to.
fn sinks(pipeline: &Built) -> Vec<(&'static str, String)> {
    let shown = |path: &PathBuf| harmless(&pipeline.secrets.mask(&path.display().to_string()));
    let parquet = pipeline.sinks.parquet.as_ref().map(|plan| match &plan.bucket {
        Some(bucket) => ("parquet", harmless(&pipeline.secrets.mask(&bucket.address.to_string()))),
        None => ("parquet", shown(&plan.path)),
    });
    let jsonl = pipeline.sinks.jsonl.as_ref().map(|plan| ("jsonl", shown(&plan.path)));
    let stdout = pipeline.sinks.stdout.map(|stdout| {
        let format = match stdout.format {
            Format::Lines => "line",
            Format::Json => "json",
        };
        ("stdout", format.to_owned())
    });
    let dead = pipeline.dead_letter.as_ref().map(|plan| ("dead_letter", shown(&plan.path)));
    parquet.into_iter().chain(stdout).chain(jsonl).chain(dead).collect()
}

fn in_maintenance(pipeline: &Built, now: UnixNanos) -> usize {
    pipeline.targets.iter().filter(|target| pipeline.maintenance.covers(now, target)).count()
}

/// A pipeline as an object.
fn object(pipeline: &Built, now: UnixNanos) -> Value {
    let shown = |text: &str| Value::from(pipeline.secrets.mask(text));
    let check = |check: &Arc<ConfiguredCheck>| {
        let spec = check.spec();
        let severity = spec.severity.as_str();
        json!({ "check_name": shown(&spec.name), "plugin": shown(&spec.plugin), "severity": severity })
    };
    let sources = pipeline.supplies.iter().map(|supply| {
        let (url, every) = supply.document().unzip();
        json!({
            "type": supply.source_type(),
            "url": url.map(|url| shown_url(url.as_str(), &pipeline.secrets)),
            "every": every.map(format_duration),
        })
    });
    let sinks = sinks(pipeline).into_iter().map(|(kind, place)| match kind {
        "stdout" => json!({ "type": kind, "format": place }),
        _ => json!({ "type": kind, "path": place }),
    });
    json!({
        "pipeline": &*pipeline.name,
        "generation": &*pipeline.generation,
        "schedule": shown(&pipeline.timing.to_string()),
        "targets": pipeline.targets.len(),
        "in_maintenance": in_maintenance(pipeline, now),
        "dynamic_sources": sources.collect::<Vec<_>>(),
        "checks": pipeline.checks.checks().iter().map(check).collect::<Vec<_>>(),
        "sinks": sinks.collect::<Vec<_>>(),
        "timezone_data": timezone_data(),
    })
}

fn targets_as_json(pipeline: &Built, now: UnixNanos, page: &mut Page) -> std::io::Result<()> {
    let mut forecast = Forecast::new(&pipeline.name, &pipeline.timing, now);
    for target in &pipeline.targets {
        let Target { name, url, labels, every } = &**target;
        let secrets = &pipeline.secrets;
        let labels = labels.iter().map(|(name, value)| (name.to_string(), secrets.mask(value).into()));
        page.add_json(&json!({
            "pipeline": &*pipeline.name,
            "target": shown_name(name, secrets),
            "url": shown_url(url, secrets),
            "labels": labels.collect::<serde_json::Map<_, _>>(),
            "every": every.or(pipeline.timing.interval()).map(format_duration),
            "due_at": forecast.next_due(name, *every).and_then(civil),
            "in_maintenance": pipeline.maintenance.covers(now, target),
        }))?;
    }
    Ok(())
}

fn targets_as_text(pipeline: &Built, now: UnixNanos, page: &mut Page) -> std::io::Result<()> {
    let secrets = &pipeline.secrets;
    let width = |target: &Arc<Target>| target.name.chars().count().min(NAME_WIDTH);
    let width = pipeline.targets.iter().map(width).max().unwrap_or_default().max("target".len());
    if !pipeline.targets.is_empty() {
        page.add(&format!("  {:24}  {:8}  {:width$}  url, labels\n", "due at", "every", "target"))?;
    }
    let mut forecast = Forecast::new(&pipeline.name, &pipeline.timing, now);
    for target in &pipeline.targets {
        let Target { name, url, labels, every } = &**target;
        let due = forecast.next_due(name, *every).and_then(civil).unwrap_or_else(|| "never".to_owned());
        let every = every.or(pipeline.timing.interval()).map_or_else(|| "cron".to_owned(), format_duration);
        let mut line = format!("  {due:24}  {every:8}  {:width$}", shown_name(name, secrets));
        if url != name {
            let _ = write!(line, "  {}", shown_url(url, secrets));
        }
        for (name, value) in labels.iter() {
            let _ = write!(line, "  {}={}", harmless(name), harmless(&secrets.mask(value)));
        }
        if pipeline.maintenance.covers(now, target) {
            match pipeline.maintenance.reason(now, target) {
                Some(reason) => line.extend(["  in maintenance: ", &harmless(&secrets.mask(reason))]),
                None => line.push_str("  in maintenance"),
            }
        }
        page.add(line.trim_end())?;
        page.add("\n")?;
    }
    Ok(())
}

/// A moment in UTC with milliseconds (RFC 3339); none beyond the year 9999.
fn civil(moment: UnixNanos) -> Option<String> {
    let moment = jiff::Timestamp::from_nanosecond(i128::from(moment.0)).ok()?;
    Some(format!("{moment:.3}"))
}
