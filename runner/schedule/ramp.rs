//! The first run of every newcomer: soon, but not all at once.
//!
//! Newcomers start in the order in which they are added, a millisecond apart: at the start of a
//! pipeline, after a reload, when a listing has grown. Whoever watches a few of them sees results at
//! once; ten thousand take ten seconds. A target whose turn would come later than its own interval
//! starts at its first tick instead: ticks are spread by their phases, so a million targets start at the
//! rate at which they will run, and nobody waits longer than an interval. Those that are there already
//! are not touched.

/// Targets that start in a second during the ramp, those apart that start at their own first tick.
pub const STARTS_PER_SECOND: u32 = 1_000;

const STEP_NS: u64 = 1_000_000_000 / STARTS_PER_SECOND as u64;

/// Hands out the turns of newcomers.
#[derive(Debug, Default)]
pub(super) struct Ramp {
    /// The first turn that is free, in nanoseconds since the schedule's base.
    free_ns: u64,
}

impl Ramp {
    /// When a newcomer starts, in nanoseconds since the schedule's base; none if it would wait for its
    /// whole interval or longer, or if its turn is not `open`.
    pub(super) fn turn_ns(
        &mut self,
        now_ns: u64,
        every_ns: u64,
        open: impl FnOnce(u64) -> bool,
    ) -> Option<u64> {
        let turn_ns = self.free_ns.max(now_ns);
        if turn_ns - now_ns >= every_ns || !open(turn_ns) {
            return None;
        }
        self.free_ns = turn_ns.saturating_add(STEP_NS);
        Some(turn_ns)
    }
}
