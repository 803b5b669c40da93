//! The log, the one way to spawn a task, and whether the I/O threads come to their turn.

mod lag;
mod log;
mod spawn;

pub use lag::{Lag, LagSeen, LagWatch};
pub use log::{LogOptions, start as start_log};
pub use spawn::spawn;
