//! Stage 2: when each target is due. Pure: time goes in, due targets come out.
//!
//! One central heap of `(due, target index)`, not a task per target. Civil time is looked at once, to
//! lay the grids; from then on only the monotonic clock counts, so that a step of the civil clock
//! causes neither a burst nor a gap.
//!
//! A target's life: it starts at its turn of the ramp (`ramp.rs`), then runs on the ticks of its own
//! grid (`phase.rs`). A target in flight is never due, so a probe never overlaps itself; the ticks that
//! pass meanwhile are counted as missed and told with the next due. After a stall or a suspend all
//! ticks that passed come out as one, the latest, and the others are counted as missed. Every tick is
//! either handed out or counted, never both.
//!
//! Why a heap and not a timer wheel: popping one due target and putting it back takes about 0.6
//! microseconds with a million targets (optimised, see `measure_a_million_targets` in the tests), so a
//! million targets a minute cost about 1 % of a core. A wheel would save a part of that and cost
//! cascades, slots and an ordering of its own.
//!
//! Room left: a reload adds and removes targets. The anchor (`base`, `wall`) gives an added target the
//! grid that a restart would give it, and the index of a removed one can be reused.

mod config;
mod phase;
mod ramp;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::clock::{Instant, UnixNanos};

pub use config::ScheduleText;
pub use phase::phase_ns;
pub use ramp::STARTS_PER_SECOND;

/// When each target of one pipeline is due.
#[derive(Debug)]
pub struct Schedule {
    /// The moment that all offsets below count from.
    base: Instant,
    /// By target index.
    targets: Vec<Pace>,
    /// Those that wait, by their due time; a target in flight has no entry.
    waiting: BinaryHeap<Reverse<Turn>>,
}

/// A target whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Its index in the list that the schedule was made from.
    pub target: u32,
    /// When it was due: its turn of the ramp or a tick of its grid, never after the moment asked about.
    pub due: Instant,
    /// Ticks of this target that passed without a probe since its last one was handed out.
    pub missed: u32,
}

/// When a target is due, in nanoseconds since `base`, and which one. Ordered by both, so that equal
/// times come out in the order of the list.
type Turn = (u64, u32);

/// The pace of one target.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Its interval in nanoseconds, at least 1.
    every_ns: u64,
    /// The tick after the one that it waits for or that is in flight, in nanoseconds since `base`.
    following_ns: u64,
    /// Missed ticks that are not told yet.
    missed: u32,
    /// Whether a probe of it runs.
    in_flight: bool,
}

// A million idle targets must cost at most 500 bytes each, all in; the schedule's part is 40.
const _: () = assert!(size_of::<Pace>() + size_of::<Reverse<Turn>>() <= 64, "a target's part grew");

impl Schedule {
    /// Lays the grid of every target. `targets` are their names and intervals, in the order of the
    /// pipeline; a target's index is its position, and at most `u32::MAX` are taken. Intervals are
    /// checked where they are read (100 ms to 1 year); here they only have to be above zero, and zero
    /// counts as 1 ns.
    pub fn new<'a, I>(pipeline: &str, targets: I, now: Instant, wall: UnixNanos) -> Self
    where
        I: IntoIterator<Item = (&'a str, Duration)>,
    {
        let targets = targets.into_iter();
        let expected = targets.size_hint().0;
        let mut paces = Vec::with_capacity(expected);
        let mut turns = Vec::with_capacity(expected);
        for (target, (name, every)) in (0..u32::MAX).zip(targets) {
            let every_ns = phase::interval_ns(every);
            let tick_ns = phase::first_tick_ns(phase::phase_ns(pipeline, name, every), every_ns, wall);
            let start_ns = ramp::start_ns(target, every_ns, tick_ns);
            let following_ns = phase::tick_from(start_ns.saturating_add(every_ns / 2), tick_ns, every_ns);
            paces.push(Pace { every_ns, following_ns, missed: 0, in_flight: false });
            turns.push(Reverse((start_ns, target)));
        }
        Self { base: now, targets: paces, waiting: BinaryHeap::from(turns) }
    }

    /// How many targets it holds.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether it holds no target.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// When the next target is due; it may have passed. None while every target is in flight.
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse((due_ns, _))| self.moment(*due_ns))
    }

    /// Takes the target that has been due longest, if any is due at `now`. It counts as in flight until
    /// [`finished`](Self::finished) is told.
    pub fn pop_due(&mut self, now: Instant) -> Option<Due> {
        let now_ns = self.offset(now);
        let Reverse((due_ns, target)) = *self.waiting.peek()?;
        if due_ns > now_ns {
            return None;
        }
        self.waiting.pop();
        let pace = self.targets.get_mut(target as usize)?;
        let passed = pace.skip_passed(now_ns);
        // With ticks passed since, the latest of them is the one handed out, and `due_ns` is missed.
        let due_ns = if passed == 0 { due_ns } else { pace.following_ns - pace.every_ns };
        let missed = pace.missed.saturating_add(passed);
        pace.missed = 0;
        pace.in_flight = true;
        Some(Due { target, due: self.moment(due_ns), missed })
    }

    /// Says that the probe of `target` ended (or was dropped) at `now`. It is due again at the first
    /// tick after `now`; a tick at `now` itself counts as missed. Nothing happens if it was not in flight.
    pub fn finished(&mut self, target: u32, now: Instant) {
        let now_ns = self.offset(now);
        let Some(pace) = self.targets.get_mut(target as usize).filter(|pace| pace.in_flight) else {
            return;
        };
        pace.in_flight = false;
        pace.missed = pace.skip_passed(now_ns);
        let due_ns = pace.following_ns;
        pace.following_ns = due_ns.saturating_add(pace.every_ns);
        self.waiting.push(Reverse((due_ns, target)));
    }

    /// Nanoseconds from `base` to `now`; 0 if it lies before. 64 bits last for 584 years.
    fn offset(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.base).as_nanos()).unwrap_or(u64::MAX)
    }

    fn moment(&self, offset_ns: u64) -> Instant {
        self.base + Duration::from_nanos(offset_ns)
    }
}

impl Pace {
    /// Moves `following_ns` past `now_ns` and tells how many ticks that were.
    fn skip_passed(&mut self, now_ns: u64) -> u32 {
        let Some(late_ns) = now_ns.checked_sub(self.following_ns) else {
            return 0;
        };
        let passed = late_ns / self.every_ns + 1;
        self.following_ns = self.following_ns.saturating_add(passed.saturating_mul(self.every_ns));
        u32::try_from(passed).unwrap_or(u32::MAX)
    }
}
