//! `probity probe`: one attempt, every step shown, so that a person sees at one glance what is to blame. It takes no
//! lock, writes nothing, and what checks remember of earlier attempts is not known to it.

mod attempt;
mod blame;
mod body;
mod json;
mod subject;
mod text;

use std::path::PathBuf;

use clap::Args;

use super::{Exit, OutputFormat, output, run};
use crate::clock::Clock;
use crate::model::Outcome;
use attempt::Attempt;
use subject::{Refused, Subject};

/// Arguments of `probe`.
#[derive(Debug, Args)]
pub(super) struct ProbeArgs {
    /// What to probe: a URL, or with --pipeline the name of one of its targets
    #[arg(value_name = "URL")]
    url: String,
    /// As this pipeline does it: its request and its checks; without it a GET and the status check
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// Pipeline files, or folders of them, that the pipeline is looked for in [default: pipelines]
    #[arg(value_name = "PATH", requires = "pipeline")]
    paths: Vec<PathBuf>,
    /// How it is told; JSON is one object, with the names of the Parquet columns
    #[arg(long, value_enum, default_value = "table")]
    format: OutputFormat,
}

/// Makes one attempt and tells all of it.
pub(super) fn probe(args: &ProbeArgs) -> anyhow::Result<Exit> {
    let found = match &args.pipeline {
        None => Subject::plain(&args.url)?,
        Some(name) => Subject::of_pipeline(name, &args.url, &args.paths)?,
    };
    let subject = match found {
        Ok(subject) => subject,
        Err(Refused { reason, exit }) => {
            if let Some(reason) = reason {
                output::error(&reason);
            }
            return Ok(exit);
        }
    };
    let clock = Clock::system();
    let fetched = run::block_on(attempt::fetch(&subject, &clock))??;
    let attempt = Attempt::judge(&subject, fetched, &clock);
    match args.format {
        OutputFormat::Table => output::data(&text::text(&attempt, output::stdout_has_colour()))?,
        OutputFormat::Json => output::data(&json::line(&attempt)?)?,
    }
    Ok(match attempt.row.outcome {
        Outcome::Down | Outcome::Unknown => Exit::Negative,
        Outcome::Up | Outcome::Degraded | Outcome::Skipped => Exit::Success,
    })
}
