//! One pipeline: its file, what is built from it, and the data path.
//!
//! A file becomes [`PipelineText`] (what the user wrote), then [`Built`] (checked, compiled, ready),
//! then a running task of a [`Runner`] (`run.rs`, the data path). What was recorded on the way can be judged
//! again ([`Replay`]).

mod config;
mod canned_tests;
mod settings;
mod files;
mod build;
mod supply;
mod supplies;
mod roster;
mod places;
mod budgets;
mod record;
mod stages;
mod secrets;
mod run;
mod stop;
mod writers;
mod summary;
mod runner;

pub(crate) use build::compare;
pub use build::{
    Attempt, Built, DeadLetterPlan, JsonlPlan, ParquetPlan, SinkPlan, StdoutPlan, Workshop, attempt, build,
    build_all,
};
pub use canned_tests::{
    AnswerText, CheckExpectText, OutcomeExpectText, OutcomeText, PipelineTest, StatusText, TestReport,
    TestText, VerdictExpectText,
};
pub use config::{PipelineText, RecordText, RecordWhenText};
pub use files::{PipelineFile, RUNNER_FILE, find, same_name};
pub use places::{Limits, Places};
pub use record::{
    Change, Compared, RecordCounters, RecordFolders, RecordPlan, RecordReader, Recorder, Replay, Replayed,
    Selection, Unreadable, When, records_folder,
};
pub use roster::Merged;
pub use run::{Live, Order};
pub use runner::{Changed, Runner, RunnerOptions, StartError};
pub use settings::{DefaultsText, LimitsText, RunnerSettings, RunnerText, settings};
pub use stages::{RunCounters, Stages};
pub use stop::{Stop, StopLevel, StopSwitch};
pub use summary::RunSummary;
pub use supply::{Receipt, Supplied, SupplyContext, SupplyPlan, SupplyUpdate, supply};
