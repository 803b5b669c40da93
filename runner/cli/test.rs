//! `probity test`: the tests that stand in pipeline files, run without network.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::compile::{Keep, workshop};
use super::plugin::test::difference;
use super::validate::{count, json_lines, tell};
use super::{Exit, PipelineArgs, output};
use crate::check::Mismatch;
use crate::clock::Clock;
use crate::config::Diagnostics;
use crate::model::{Verdict, harmless};
use crate::pipeline::{self, Built, PipelineTest, TestReport};

/// Arguments of `test`.
#[derive(Debug, Args)]
pub(super) struct TestArgs {
    #[command(flatten)]
    pipelines: PipelineArgs,
    /// How results are told
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How results are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs: one JSON object a test; problems of a configuration as `validate` tells them.
    Json,
}

/// Has every test of every pipeline judged, and tells of each.
pub(super) fn test(args: &TestArgs) -> anyhow::Result<Exit> {
    let mut diagnostics = Diagnostics::default();
    let workshop = workshop(Keep::ReadState(Path::new("."), "main"), None)?.with_tests();
    let built = pipeline::build_all(&args.pipelines.paths, &workshop, &mut diagnostics);
    if args.format == Format::Json {
        output::data(&json_lines(&diagnostics))?;
    } else {
        tell(&diagnostics);
    }
    if diagnostics.has_errors() {
        return Ok(Exit::Config);
    }
    let clock = Clock::system();
    let began = clock.now();
    let (mut all, mut failed) = (0, 0);
    for pipeline in &built {
        for test in &pipeline.tests {
            let report = test.judge(&pipeline.checks, &clock);
            all += 1;
            failed += usize::from(!report.mismatches.is_empty());
            output::data(&match args.format {
                Format::Text => text(pipeline, test, &report, output::stdout_has_colour()),
                Format::Json => format!("{}\n", object(pipeline, test, &report)),
            })?;
        }
    }
    if args.format == Format::Text {
        let ended = match (all, failed) {
            (0, _) => "there is none: a pipeline file has its tests under [[tests]]".to_owned(),
            (_, 0) => "all ok".to_owned(),
            (all, failed) => format!("{} ok, {failed} FAILED", all - failed),
        };
        let took = clock.now().saturating_duration_since(began).as_secs_f64();
        output::data(&format!("{} in {took:.2} s: {ended}\n", count(all, "test")))?;
    }
    Ok(if failed == 0 { Exit::Success } else { Exit::Negative })
}

/// A test as text: a line, and below it every difference.
fn text(pipeline: &Built, test: &PipelineTest, report: &TestReport, colour: bool) -> String {
    let (word, code) = if report.mismatches.is_empty() { ("ok", 32) } else { ("FAILED", 31) };
    let word = format!("{word:6}");
    let word = if colour { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word };
    let mut out = format!("{word}  {}: {}\n", pipeline.name, harmless(&test.name));
    if !report.mismatches.is_empty() {
        let _ = writeln!(out, "        --> {}", test.place);
    }
    report.mismatches.iter().for_each(|mismatch| out.push_str(&difference(mismatch)));
    out
}

/// A test as a JSON object.
fn object(pipeline: &Built, test: &PipelineTest, report: &TestReport) -> Value {
    let TestReport { outcome, verdicts, mismatches, duration } = report;
    let mismatch = |Mismatch { what, expected, got }: &Mismatch| json!({ "what": what, "expected": expected, "got": got });
    let verdict = |verdict: &Verdict| {
        json!({
            "check_name": &*verdict.check_name,
            "status": verdict.status.as_str(),
            "message": verdict.message,
        })
    };
    json!({
        "pipeline": &*pipeline.name,
        "test": test.name,
        "place": test.place.to_string(),
        "ok": mismatches.is_empty(),
        "outcome": outcome.as_str(),
        "checks": verdicts.iter().map(verdict).collect::<Vec<_>>(),
        "mismatches": mismatches.iter().map(mismatch).collect::<Vec<_>>(),
        "duration_us": duration.as_micros() as u64,
    })
}
