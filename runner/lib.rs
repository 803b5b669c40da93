//! Probity: a runner of web health checks. `ARCHITECTURE.md` beside this file is the map.
//!
//! Modules stand in the order of the data path and may use only those above them;
//! `tests/inside/layers.rs` says so.

pub mod clock;
pub mod model;
