//! Progress bars, only on a terminal: of `run --once` past a hundred targets, and of what reads many bytes.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;

use crate::pipeline::Stages;
use crate::telemetry::spawn;

/// Below this many targets the end is near enough.
const WORTH_A_BAR: u64 = 100;

/// A bar that follows the counters of a run.
pub(super) struct Progress {
    bar: ProgressBar,
    follower: JoinHandle<()>,
}

impl Progress {
    /// Shows a bar, where it is worth one.
    pub(super) fn show(stages: Arc<Stages>) -> Option<Self> {
        if !io::stderr().is_terminal() {
            return None;
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} probes, {per_sec}, {eta} left")
        {
            bar.set_style(style);
        }
        let shown = bar.clone();
        let follower = spawn("progress", async move {
            loop {
                let targets = stages.counters.targets();
                if shown.is_hidden() && targets > WORTH_A_BAR {
                    shown.set_draw_target(ProgressDrawTarget::stderr());
                }
                // Sources may find more of them while the run goes on.
                shown.set_length(targets);
                shown.set_position(stages.counters.probes());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Some(Self { bar, follower })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.follower.abort();
        self.bar.finish_and_clear();
    }
}

/// Below so many bytes to read the end is near enough.
const WORTH_A_BAR_BYTES: u64 = 256 << 20;

/// A bar of bytes read; on a terminal, and where there is much to read. Gone when dropped.
pub(super) struct ByteBar(ProgressBar);

impl ByteBar {
    /// A bar up to `total` bytes.
    pub(super) fn show(total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        if let Ok(style) =
            ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left")
        {
            bar.set_style(style);
        }
        if total > WORTH_A_BAR_BYTES && io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        Self(bar)
    }

    /// So many more bytes are read.
    pub(super) fn add(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// Does something that prints, out of the bar's way.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }
}

impl Drop for ByteBar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
