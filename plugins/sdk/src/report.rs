//! What a check tells besides its verdict. The host bounds it: what is too long is cut, what is too
//! much is dropped and counted.
//!
//! On native targets everything is recorded for the current thread; a test reads it with `take`.

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the plugin's author.
    Debug,
    /// Worth knowing.
    Info,
    /// Unexpected, and coped with.
    Warn,
    /// Somebody must act.
    Error,
}

#[cfg(target_arch = "wasm32")]
pub use crate::guest::{annotate, log, metric};

#[cfg(not(target_arch = "wasm32"))]
pub use recorded::{Recorded, annotate, log, metric, take};

#[cfg(not(target_arch = "wasm32"))]
mod recorded {
    use std::cell::RefCell;

    use super::Level;

    /// What was reported on this thread.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub struct Recorded {
        /// Names and values of metrics, in their order.
        pub metrics: Vec<(String, f64)>,
        /// Names and texts of annotations, in their order.
        pub annotations: Vec<(String, String)>,
        /// Log lines, in their order.
        pub logs: Vec<(Level, String)>,
    }

    thread_local! {
        static RECORDED: RefCell<Recorded> = RefCell::default();
    }

    /// A number, stored with the verdict. The unit is in the name: `price_gbp`, `age_seconds`.
    pub fn metric(name: &str, value: f64) {
        RECORDED.with_borrow_mut(|all| all.metrics.push((name.to_owned(), value)));
    }

    /// A short text, stored with the verdict.
    pub fn annotate(name: &str, value: &str) {
        RECORDED.with_borrow_mut(|all| all.annotations.push((name.to_owned(), value.to_owned())));
    }

    /// A line in the runner's log.
    pub fn log(level: Level, message: &str) {
        RECORDED.with_borrow_mut(|all| all.logs.push((level, message.to_owned())));
    }

    /// Everything reported on this thread since the last call.
    pub fn take() -> Recorded {
        RECORDED.take()
    }
}
