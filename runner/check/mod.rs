//! Stage 4: one exchange becomes verdicts, in a sandbox.
//!
//! A [`CheckPool`] of threads of its own takes an [`Observed`] exchange and a [`CheckSet`] and gives
//! back a [`Judgement`]. Every call gets a fresh instance of its plugin, with limits on time, memory,
//! stack and output; whatever a plugin does becomes a verdict, never a fault of the runner.
//!
//! In reading order: what a check sees (`observed`), what it may use up (`limits`), what it tells
//! (`report`) and remembers (`state`); the contract that ties these to WebAssembly (`contract`); the
//! engine under it (`engine`, `ticker`); one call (`sandbox`); a plugin and its configuration
//! (`component`, `set`); the threads (`gate`, `queue`, `pool`); what comes with the program (`bundled`) and how an
//! author's module becomes a plugin (`wrap`).

mod config;
mod observed;
mod limits;
mod report;
mod state;
mod contract;
mod ticker;
mod engine;
mod fault;
mod sandbox;
mod component;
mod set;
mod gate;
mod queue;
mod pool;
mod bundled;
mod wrap;

pub use bundled::{BUNDLED_NAMES, bundled};
pub use component::{ConfigureError, LoadError, Manifest, PLUGIN_BYTES_MAX, Plugin};
pub use config::{CheckLimitsText, CheckText, SeverityText};
pub use engine::{CheckEngine, EngineError};
pub use fault::FaultKind;
pub use limits::Limits;
pub use observed::Observed;
pub use pool::{CheckPool, PoolError, PoolSettings, PoolStats};
pub use queue::PipelineLoad;
pub use set::{CheckSet, CheckSpec, ConfiguredCheck, Judgement};
pub use state::{FileState, MemoryState, StateEntries, StateKey, StateStats, StateStore, StateUnreadable};
pub use wrap::{WrapError, component_from_core};
