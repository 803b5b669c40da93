//! `probity validate`: everything that `run` would refuse, all at once.

use std::path::Path;

use clap::Args;

use super::compile::{Keep, workshop};
use super::{Exit, PipelineArgs, output};
use crate::config::{Diagnostics, Level};
use crate::pipeline::{self, Built};

/// Arguments of `validate`.
#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    #[command(flatten)]
    pipelines: PipelineArgs,
}

/// Reads and builds every pipeline, starts nothing, writes nothing.
pub(super) fn validate(args: &ValidateArgs) -> anyhow::Result<Exit> {
    let mut diagnostics = Diagnostics::default();
    let workshop = workshop(Keep::ReadState(Path::new("."), "main"), None)?;
    let built = pipeline::build_all(&args.pipelines.paths, &workshop, &mut diagnostics);
    tell(&diagnostics);
    if diagnostics.has_errors() {
        return Ok(Exit::Config);
    }
    let targets: usize = built.iter().map(|pipeline| pipeline.targets.len()).sum();
    let lines: String = built.iter().map(line).collect();
    output::data(&format!("{lines}ok: {}, {}\n", count(built.len(), "pipeline"), count(targets, "target")))?;
    Ok(Exit::Success)
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
