//! The tables of one pipeline file: what the user wrote, with positions and no work done.

use super::canned_tests::TestText;
use super::settings::LimitsText;
use crate::check::CheckText;
use crate::config::{ByteSize, Located, config_enum, config_table};
use crate::fetch::RequestText;
use crate::schedule::{MaintenanceText, ScheduleText};
use crate::sink::{DeadLetterText, SinkText};
use crate::source::SourceText;

config_table! {
    /// A pipeline: one TOML file. Its name is the file's, without `.toml`.
    pub struct PipelineText, "a pipeline file" {
        /// What the pipeline is for.
        description: Option<String>,
        /// When targets are due.
        schedule: ScheduleText,
        /// When targets may be wrong on purpose.
        maintenance: Vec<Located<MaintenanceText>>,
        /// Where targets come from; at least one.
        sources: Vec<Located<SourceText>>,
        /// How many probes may be in flight.
        limits: LimitsText,
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
        /// Where probes that failed in every attempt go as well; nowhere where it is left out.
        dead_letter: Option<DeadLetterText>,
        /// What is recorded, to be judged again by `probity replay`; nothing where it is left out.
        record: Option<RecordText>,
        /// Tests of the checks, run by `probity test` without network.
        tests: Vec<Located<TestText>>,
    }
}

config_table! {
    /// Keeps attempts as the checks saw them, whole responses included, in the state folder beside the
    /// results (`state/<runner>/records/<pipeline>/`). So that a check, changed or new, can be tried on
    /// them: `probity replay`. Secrets are masked; results never wait for a record.
    pub struct RecordText, "[record]" {
        /// Which attempts.
        when: RecordWhenText,
        /// How much all records of the pipeline may take; at least 1 MiB. The oldest go first.
        max_size: Located<ByteSize> = r#""256MiB""#,
        /// How much of a body is kept; what is longer is cut and marked. At most a quarter of `max_size`;
        /// `"0B"` keeps none.
        max_body: Located<ByteSize> = r#""256KiB""#,
        /// Response headers whose values are masked, besides those that are known to hold secrets.
        mask_headers: Vec<Located<String>>,
    }
}

config_enum! {
    /// Which attempts are recorded.
    pub enum RecordWhenText {
        /// Those that are not `up`.
        NotUp = "not_up",
        /// All of them.
        Always = "always",
    }
}
