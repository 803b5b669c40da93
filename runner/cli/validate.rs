//! `probity validate`: everything that `run` would refuse, all at once.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::compile::{Keep, workshop};
use super::{Exit, PipelineArgs, output};
use crate::config::{Diagnostics, Level};
use crate::pipeline::{self, Built};

/// Arguments of `validate`.
#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    #[command(flatten)]
    pipelines: PipelineArgs,
    /// How problems are told
    #[arg(long, value_enum, default_value_t = ProblemFormat::Text)]
    format: ProblemFormat,
}

/// How problems are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ProblemFormat {
    /// For people, on standard error.
    Text,
    /// For programs, on standard output: a JSON object a problem, and a last one with the numbers of errors
    /// and warnings, and the pipelines.
    Json,
}

/// Reads and builds every pipeline, starts nothing, writes nothing.
pub(super) fn validate(args: &ValidateArgs) -> anyhow::Result<Exit> {
    let mut diagnostics = Diagnostics::default();
    let workshop = workshop(Keep::ReadState(Path::new("."), "main"), None)?.with_tests();
    let built = pipeline::build_all(&args.pipelines.paths, &workshop, &mut diagnostics);
    let exit = if diagnostics.has_errors() { Exit::Config } else { Exit::Success };
    if args.format == ProblemFormat::Json {
        let lines = json_lines(&diagnostics);
        let last = json!({
            "errors": diagnostics.count(Level::Error),
            "warnings": diagnostics.count(Level::Warning),
            "pipelines": built.iter().map(object).collect::<Vec<_>>(),
        });
        output::data(&format!("{lines}{last}\n"))?;
        return Ok(exit);
    }
    tell(&diagnostics);
    if exit != Exit::Success {
        return Ok(exit);
    }
    let targets: usize = built.iter().map(|pipeline| pipeline.targets.len()).sum();
    let lines: String = built.iter().map(line).collect();
    output::data(&format!("{lines}ok: {}, {}\n", count(built.len(), "pipeline"), count(targets, "target")))?;
    Ok(Exit::Success)
}

/// Problems as JSON, a line each.
pub(super) fn json_lines(diagnostics: &Diagnostics) -> String {
    diagnostics.iter().fold(String::new(), |mut lines, problem| {
        let _ = writeln!(lines, "{}", problem.to_json());
        lines
    })
}

fn object(pipeline: &Built) -> Value {
    json!({
        "pipeline": &*pipeline.name,
        "targets": pipeline.targets.len(),
        "checks": pipeline.checks.checks().len(),
        "generation": &*pipeline.generation,
    })
}

/// Prints the problems, and how many there are.
pub(super) fn tell(diagnostics: &Diagnostics) {
    let (errors, warnings) = (diagnostics.count(Level::Error), diagnostics.count(Level::Warning));
    if errors + warnings == 0 {
        return;
    }
    let text = diagnostics.render(output::stderr_has_colour());
    output::note(&format!("{text}{}", summary(errors, warnings)));
}

fn line(pipeline: &Built) -> String {
    let (name, generation) = (&pipeline.name, &pipeline.generation);
    let targets = count(pipeline.targets.len(), "target");
    let checks = count(pipeline.checks.checks().len(), "check");
    format!("{name}: {targets}, {checks}, generation {generation}\n")
}

fn summary(errors: usize, warnings: usize) -> String {
    let told = [(errors, "error"), (warnings, "warning")];
    let told = told.into_iter().filter(|(number, _)| *number > 0).map(|(number, word)| count(number, word));
    told.collect::<Vec<_>>().join(", ")
}

/// A number and its word: "1 error", "2 errors".
pub(super) fn count(number: usize, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}
