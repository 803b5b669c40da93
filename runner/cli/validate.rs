//! `probity validate`: everything that `run` would refuse, all at once.

use clap::Args;

use super::{Exit, PipelineArgs, output};
use crate::config::{Diagnostics, Level};
use crate::pipeline::{self, Workshop};

/// Arguments of `validate`.
#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    #[command(flatten)]
    pipelines: PipelineArgs,
}

/// Reads and builds every pipeline, starts nothing, writes nothing.
pub(super) fn validate(args: &ValidateArgs) -> anyhow::Result<Exit> {
    let mut diagnostics = Diagnostics::default();
    let workshop = Workshop::new()?;
    let built = pipeline::build_all(&args.pipelines.paths, &workshop, &mut diagnostics);
    tell(&diagnostics);
    if diagnostics.has_errors() {
        return Ok(Exit::Config);
    }
    let targets: usize = built.iter().map(|pipeline| pipeline.targets.len()).sum();
    let lines: String = built
        .iter()
        .map(|pipeline| {
            let (name, targets, checks) =
                (&pipeline.name, pipeline.targets.len(), pipeline.checks.checks().len());
            format!("{name}: {targets} targets, {checks} checks, generation {}\n", pipeline.generation)
        })
        .collect();
    output::data(&format!("{lines}ok: {} pipelines, {targets} targets\n", built.len()))?;
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

fn summary(errors: usize, warnings: usize) -> String {
    let count = |number: usize, word: &str| match number {
        0 => None,
        1 => Some(format!("1 {word}")),
        _ => Some(format!("{number} {word}s")),
    };
    [count(errors, "error"), count(warnings, "warning")].into_iter().flatten().collect::<Vec<_>>().join(", ")
}
