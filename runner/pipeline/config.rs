//! The tables of one pipeline file: what the user wrote, with positions and no work done.

use crate::check::CheckText;
use crate::config::{Located, config_table};
use crate::fetch::RequestText;
use crate::schedule::ScheduleText;
use crate::sink::SinkText;
use crate::source::SourceText;

config_table! {
    /// A pipeline: one TOML file. Its name is the file's, without `.toml`.
    pub struct PipelineText, "a pipeline file" {
        /// What the pipeline is for.
        description: Option<String>,
        /// When targets are due.
        schedule: ScheduleText,
        /// Where targets come from; at least one.
        sources: Vec<Located<SourceText>>,
        /// How each target is asked.
        request: RequestText,
        /// What judges each response, in this order.
        checks: Vec<Located<CheckText>>,
        /// Whether the bundled `status` check (2xx) runs where the file names no `status` check.
        default_checks: bool = "true",
        /// Where results go, besides Parquet under `results/`.
        sinks: Vec<Located<SinkText>>,
        /// Whether results go to Parquet under `results/` where the file names no `parquet` sink.
        default_sink: bool = "true",
    }
}
