//! The one way to start a task: with a name, into a handle that somebody owns.

use std::future::Future;

use tokio::task::JoinHandle;
use tracing::Instrument;

/// Starts a task under a name that its log lines carry. Whoever drains the part that it belongs to
/// keeps the handle.
#[allow(clippy::disallowed_methods, reason = "the one place that spawns")]
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future.instrument(tracing::debug_span!("task", name)))
}
