//! The grid of a target: ticks at a stable phase of its interval.
//!
//! The phase is `XXH3-64(pipeline, 0x00, target name) mod every`, both in nanoseconds, and for intervals from a second
//! on the last whole 5 ms of it; a tick is a moment whose Unix time in nanoseconds is congruent to it. So a target keeps
//! its place in the minute through restarts, reloads and moves to another machine, whatever other targets there are, and
//! ten thousand targets spread evenly by themselves. The formula is a promise: people read gaps between rows, and two
//! runners of one pipeline probe at the same moments. It never changes.
//!
//! Why whole 5 ms: at a thousand probes a second five are due at once, instead of each for itself, and what the machine
//! has to be woken for is shared by them. The longer a slot, the more wait for each other.

use std::time::Duration;

use twox_hash::XxHash3_64;

use crate::clock::UnixNanos;

/// Beyond this an interval counts as this: far above the year that a file may say, and far below
/// where adding two of them would overflow.
const LONGEST_NS: u64 = u64::MAX / 8;

/// What places are whole multiples of.
const SLOT_NS: u64 = 5_000_000;
/// From this width on.
const SLOTTED_FROM_NS: u64 = 1_000_000_000;

/// Where in its interval a target runs, in nanoseconds: 0 up to, not including, `every`.
pub fn phase_ns(pipeline: &str, target: &str, every: Duration) -> u64 {
    place_ns(hash(pipeline, target), interval_ns(every))
}

/// The place in an interval that a hash stands for: 0 up to, not including, `every_ns`.
pub(super) fn place_ns(hash: u64, every_ns: u64) -> u64 {
    slotted(hash % every_ns, every_ns)
}

fn slotted(place_ns: u64, width_ns: u64) -> u64 {
    if width_ns < SLOTTED_FROM_NS {
        return place_ns;
    }
    place_ns - place_ns % SLOT_NS
}

/// What a target's place is made from.
pub(super) fn hash(pipeline: &str, target: &str) -> u64 {
    let mut key = Vec::with_capacity(pipeline.len() + 1 + target.len());
    key.extend_from_slice(pipeline.as_bytes());
    // A pipeline's name can't hold this byte, so no two pairs have one key.
    key.push(0);
    key.extend_from_slice(target.as_bytes());
    XxHash3_64::oneshot(&key)
}

/// Chance without chance: from 0 up to, not including, `width`, evenly over targets and ticks, and the
/// same for one tick of a target whenever it is asked for; 0 where there is no width.
pub(super) fn chance_ns(hash: u64, number: u64, width: u64) -> u64 {
    if width == 0 {
        return 0;
    }
    let mut key = [0; 16];
    key[..8].copy_from_slice(&hash.to_le_bytes());
    key[8..].copy_from_slice(&number.to_le_bytes());
    share(XxHash3_64::oneshot(&key), width)
}

/// The part of `width` that a hash stands for: 0 up to, not including, `width`.
pub(super) fn share(hash: u64, width: u64) -> u64 {
    slotted(((u128::from(hash) * u128::from(width)) >> 64) as u64, width)
}

/// An interval in nanoseconds, at least 1.
pub(super) fn interval_ns(every: Duration) -> u64 {
    u64::try_from(every.as_nanos()).unwrap_or(LONGEST_NS).clamp(1, LONGEST_NS)
}

/// Nanoseconds from `wall` to the first tick at or after it; less than `every_ns`.
pub(super) fn first_tick_ns(phase_ns: u64, every_ns: u64, wall: UnixNanos) -> u64 {
    let ahead = i128::from(phase_ns) - i128::from(wall.0);
    u64::try_from(ahead.rem_euclid(i128::from(every_ns))).unwrap_or_default()
}

/// The first tick at or after `earliest_ns` on the grid that `tick_ns` lies on as its first.
pub(super) fn tick_from(earliest_ns: u64, tick_ns: u64, every_ns: u64) -> u64 {
    let intervals = earliest_ns.saturating_sub(tick_ns).div_ceil(every_ns);
    tick_ns.saturating_add(intervals.saturating_mul(every_ns))
}
