//! Logs, every metric name once, named task spawn.

mod log;
mod spawn;

pub use log::{LogOptions, start as start_log};
pub use spawn::spawn;
