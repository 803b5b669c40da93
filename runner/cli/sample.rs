//! `probity sample`: annotated samples of what a pipeline file is made of, to copy from.

use std::fmt::Write as _;

use clap::{Args, ValueEnum};

use super::{Exit, output};
use crate::config::{did_you_mean, json_schema_with_elsewhere};
use crate::pipeline::PipelineText;

/// Arguments of `sample`.
#[derive(Debug, Args)]
pub(super) struct SampleArgs {
    /// Of what
    #[arg(value_enum)]
    what: What,
    /// Which kind; all kinds where it is left out
    #[arg(value_name = "KIND")]
    kind: Option<String>,
}

/// What there are samples of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Where targets come from
    Source,
    /// Where results go
    Sink,
    /// A bundled check
    Check,
    /// A whole pipeline
    Pipeline,
    /// The JSON Schema of pipeline files, for editors: save it as schema.json beside them
    Schema,
}

/// A kind and its sample.
type Sample = (&'static str, &'static str);

const SOURCES: &[Sample] = &[
    ("list", include_str!("../source/list.toml")),
    ("file", include_str!("../source/file.toml")),
    ("listing", include_str!("../source/listing.toml")),
    ("http_sd", include_str!("../source/http_sd.toml")),
    ("file_sd", include_str!("../source/file_sd.toml")),
    ("stdin", include_str!("../source/stdin.toml")),
];

const SINKS: &[Sample] = &[
    ("parquet", include_str!("../sink/parquet.toml")),
    ("stdout", include_str!("../sink/stdout.toml")),
    ("jsonl", include_str!("../sink/jsonl.toml")),
];

/// In the order of the bundled checks.
const CHECKS: &[Sample] = &[
    ("status", include_str!("../../plugins/status/sample.toml")),
    ("latency", include_str!("../../plugins/latency/sample.toml")),
    ("header", include_str!("../../plugins/header/sample.toml")),
    ("body", include_str!("../../plugins/body/sample.toml")),
    ("json", include_str!("../../plugins/json/sample.toml")),
    ("cel", include_str!("../../plugins/cel/sample.toml")),
    ("certificate", include_str!("../../plugins/certificate/sample.toml")),
    ("changed", include_str!("../../plugins/changed/sample.toml")),
    ("html", include_str!("../../plugins/html/sample.toml")),
];

const PIPELINES: &[Sample] = &[("pipeline", include_str!("../pipeline/sample.toml"))];

/// Prints a sample.
pub(super) fn sample(args: &SampleArgs) -> anyhow::Result<Exit> {
    let samples = match args.what {
        What::Source => SOURCES,
        What::Sink => SINKS,
        What::Check => CHECKS,
        What::Pipeline => PIPELINES,
        What::Schema => {
            let schema = json_schema_with_elsewhere("A pipeline of Probity", &PipelineText::table_doc());
            output::data(&schema)?;
            return Ok(Exit::Success);
        }
    };
    let Some(kind) = &args.kind else {
        let mut all = String::new();
        for (at, (_, text)) in samples.iter().enumerate() {
            let _ = write!(all, "{}{text}", if at == 0 { "" } else { "\n" });
        }
        output::data(&all)?;
        return Ok(Exit::Success);
    };
    if let Some((_, text)) = samples.iter().find(|(known, _)| known == kind) {
        output::data(text)?;
        return Ok(Exit::Success);
    }
    let kinds: Vec<_> = samples.iter().map(|(kind, _)| *kind).collect();
    let hint = match did_you_mean(kind, kinds.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("there are: {}", kinds.join(", ")),
    };
    output::error(&format!("there is no sample \"{kind}\"; {hint}"));
    Ok(Exit::Usage)
}
