//! Logs, every metric name once, named task spawn.

mod spawn;

pub use spawn::spawn;
