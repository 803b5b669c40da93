//! Probity: a runner of web health checks. `ARCHITECTURE.md` beside this file is the map.
//!
//! Modules stand in the order of the data path and may use only those above them;
//! `tests/inside/layers.rs` says so.

pub mod clock;
pub mod model;

pub mod config;
pub mod telemetry;

pub mod source;
pub mod schedule;
pub mod fetch;
pub mod check;
pub mod sink;

pub mod pipeline;

pub mod reload;

pub mod cli;
