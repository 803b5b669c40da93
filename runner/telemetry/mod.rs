//! The log, and the one way to spawn a task.

mod log;
mod spawn;

pub use log::{LogOptions, start as start_log};
pub use spawn::spawn;
