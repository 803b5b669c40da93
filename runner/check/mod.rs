//! Stage 4: one exchange becomes verdicts, in a sandbox.
//!
//! A [`CheckPool`] of threads of its own takes an [`Observed`] exchange and a [`CheckSet`] and gives
//! back a [`Judgement`]. Every call gets a fresh instance of its plugin, with limits on time, memory,
//! stack and output; whatever a plugin does becomes a verdict, never a fault of the runner.
//!
//! In reading order: what a check sees (`observed`), what it may use up (`limits`), what it tells
//! (`report`) and remembers (`state`); the contract that ties these to WebAssembly (`contract`); the
//! engine under it (`engine`, `ticker`); from bytes to machine code (`preflight`, `compile`); one call
//! (`sandbox`); a plugin (`component`), the instances of its configuration (`instances`, `trial`,
//! `freezer`), when it is not called at all (`breaker`), the checks of a pipeline (`set`) and those that share a sandbox (`together`); the threads
//! (`gate`, `queue`, `pool`); an attempt as a line of JSON, to be judged again (`record`); what comes with
//! the program (`bundled`), how an author's module becomes a plugin (`wrap`) and how it is tested
//! (`canned`, `cases`) and measured (`measure`).

mod config;
mod observed;
mod limits;
mod report;
mod state;
mod contract;
mod ticker;
mod engine;
mod fault;
mod preflight;
mod compile;
mod sandbox;
mod component;
mod instances;
mod trial;
mod freezer;
mod breaker;
mod set;
mod together;
mod gate;
mod queue;
mod pool;
mod record;
mod bundled;
mod wrap;
mod canned;
mod cases;
mod measure;

pub use breaker::Suspension;
pub use bundled::{BUNDLED_NAMES, bundled};
pub use canned::{Canned, FailureText, HeaderText, ResponseText, TimingText};
pub use cases::{Answer, Case, CaseReport, Cases, CasesText, Expectation, Mismatch};
pub use compile::{
    COMPILE_COMMAND, CacheError, CompileCache, CompileLimits, CompilePlace, FreezeError, serve_compilation,
};
pub use component::{ConfigureError, Manifest, Plugin};
pub use config::{CheckLimitsText, CheckText, IsolationText, SeverityText, checked_limits};
pub use engine::{CheckEngine, EngineError, EngineSettings, MemoryReset};
pub use fault::FaultKind;
pub use instances::Isolation;
pub use limits::Limits;
pub use measure::{BareStart, Effort, Timing, time_in_turn};
pub use observed::Observed;
pub use pool::{CheckPool, PoolError, PoolSettings, PoolStats};
pub use preflight::{LoadError, PLUGIN_BYTES_MAX};
pub use queue::PipelineLoad;
pub use record::{
    MASK, RECORD_FORMAT, Record, RecordError, RecordKey, RecordRules, RecordedVerdict, as_recorded,
    is_plain_header, is_secret, write_line,
};
pub use set::{CallNote, CheckConfig, CheckSet, CheckSpec, ConfiguredCheck, Judgement};
pub use state::{FileState, MemoryState, StateEntries, StateKey, StateStats, StateStore, StateUnreadable};
pub use wrap::{WrapError, component_from_core, finish_component};
