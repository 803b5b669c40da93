//! The fetcher and what it stands on, compiled for libFuzzer; and an allocator that counts, so that what an input
//! leaves behind is seen.
#![allow(dead_code, unused_imports, unused_macros, reason = "the runner's other stages use the rest")]

#[path = "../../runner/clock.rs"]
pub mod clock;
#[path = "../../runner/config/mod.rs"]
pub mod config;
#[path = "../../runner/fetch/mod.rs"]
pub mod fetch;
#[path = "../../runner/model/mod.rs"]
pub mod model;

mod counting;

pub use counting::without_leak;
