//! The first run of every target: soon, but not all at once.
//!
//! Targets start in the order of the list, a millisecond apart. Whoever watches a few of them sees
//! results at once; ten thousand take ten seconds. A target whose turn would come later than its own
//! interval starts at its first tick instead: ticks are spread by their phases, so a million targets
//! start at the rate at which they will run, and nobody waits longer than an interval.

/// Targets that start in a second during the ramp, those apart that start at their own first tick.
pub const STARTS_PER_SECOND: u32 = 1_000;

const STEP_NS: u64 = 1_000_000_000 / STARTS_PER_SECOND as u64;

/// When the target at `position` of the list starts, in nanoseconds from the begin of the ramp: less
/// than `every_ns`. `tick_ns` is the first tick of its grid.
pub(super) fn start_ns(position: u32, every_ns: u64, tick_ns: u64) -> u64 {
    let turn_ns = u64::from(position) * STEP_NS;
    if turn_ns < every_ns { turn_ns } else { tick_ns }
}
