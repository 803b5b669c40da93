//! One pipeline: its file, what is built from it, and the data path.
//!
//! A file becomes [`PipelineText`] (what the user wrote), then [`Built`] (checked, compiled, ready),
//! then a running task of a [`Runner`] (`run.rs`, the data path). What was recorded on the way can be judged
//! again ([`Replay`]).

mod config;
mod files;
mod build;
mod ticks;
mod record;
mod stages;
mod secrets;
mod run;
mod stop;
mod writers;
mod summary;
mod runner;

pub use build::{Built, ParquetPlan, SinkPlan, Workshop, build, build_all};
pub use config::{PipelineText, RecordText, RecordWhenText};
pub use files::{PipelineFile, RUNNER_FILE, find};
pub use record::{
    Change, Compared, RecordCounters, RecordFolders, RecordPlan, RecordReader, Recorder, Replay, Replayed,
    Selection, Unreadable, When, records_folder,
};
pub use run::run;
pub use runner::{Runner, RunnerOptions, StartError};
pub use stages::{RunCounters, Stages};
pub use stop::{Stop, StopLevel, StopSwitch};
pub use summary::RunSummary;
pub use ticks::{Once, Ticks};
