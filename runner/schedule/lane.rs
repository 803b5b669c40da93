//! The ticks of targets that share their rules: where they lie, and how many have passed.
//!
//! With an interval, a tick is its moment on the target's grid. A window of active time in which the grid
//! has no tick, because the interval is longer than the window, gets one in the place of those that
//! passed while all windows were closed, so that nobody starves. With a cron expression, a tick is the
//! number of a fire (`fires.rs`).

use std::sync::Arc;

use super::fires::Fires;
use super::phase::{self, chance_ns, interval_ns, share};
use super::timing::{Pace, Rules, Timing};
use super::window::{Span, Spans};
use crate::clock::UnixNanos;

/// A tick that never comes.
pub(super) const NEVER: u64 = u64::MAX;

/// Windows that are looked through for a tick.
const WINDOWS: usize = 4_000;

/// Targets that share their rules.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) rules: Arc<Rules>,
    /// The expression's fires, where there is one.
    fires: Option<Fires>,
    /// When targets are probed at all.
    spans: Spans,
    /// How many targets are in it; an empty one is reused.
    pub(super) users: u32,
}

/// What one target's ticks are laid by.
#[derive(Debug, Clone, Copy)]
pub(super) enum Steps {
    /// An interval in nanoseconds. A tick is its moment, in nanoseconds since the base.
    Every(u64),
    /// The lane's cron expression. A tick is the number of a fire.
    Cron,
}

/// A target's steps and its hash, with the two clocks that a lane needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    pub(super) steps: Steps,
    pub(super) hash: u64,
    /// Civil time at the base when the schedule was made, in Unix nanoseconds: grids lie by it.
    pub(super) wall_ns: i64,
    /// Civil time at the base by the clock as it goes now: windows and cron lie by it.
    pub(super) zero_ns: i64,
}

/// Ticks that have passed.
pub(super) struct Passed {
    /// How many.
    pub(super) count: u32,
    /// When the last of them was due, in nanoseconds since the base.
    pub(super) latest_ns: Option<u64>,
    /// The first that has not.
    pub(super) following: u64,
}

impl Lane {
    /// The lane that a timing needs, without users. `unix_ns` is civil time now.
    pub(super) fn new(timing: &Timing, unix_ns: i64) -> Self {
        let rules = Arc::clone(&timing.rules);
        let mut spans = Spans::new(&rules.active);
        let fires = match &timing.pace {
            Pace::Every(_) => None,
            Pace::Cron { cron, spread } => {
                Some(Fires::new(Arc::clone(cron), *spread, rules.jitter, unix_ns, &mut spans))
            }
        };
        Self { rules, fires, spans, users: 0 }
    }

    /// Whether a target of this timing fits in.
    pub(super) fn serves(&self, timing: &Timing) -> bool {
        let same_fires = match (&timing.pace, &self.fires) {
            (Pace::Every(_), None) => true,
            (Pace::Cron { cron, spread }, Some(fires)) => fires.are_of(cron, *spread),
            _ => false,
        };
        same_fires && (Arc::ptr_eq(&self.rules, &timing.rules) || self.rules == timing.rules)
    }

    /// Whether a moment lies in a window.
    pub(super) fn is_open(&mut self, at_ns: u64, zero_ns: i64) -> bool {
        let at = unix(at_ns, zero_ns);
        self.spans.at_or_after(at).is_some_and(|span| span.from <= at)
    }

    /// Whether a step of the civil clock moves its ticks.
    pub(super) fn is_civil(&self) -> bool {
        self.fires.is_some() || !self.spans.is_ever()
    }

    /// The first tick that is due at or after a moment.
    pub(super) fn first(&mut self, walk: Walk, from_ns: u64) -> u64 {
        match (walk.steps, &mut self.fires) {
            (Steps::Every(every_ns), _) => self.first_on_grid(walk, every_ns, from_ns),
            (Steps::Cron, Some(fires)) => fires.first(walk.hash, from_ns, &mut self.spans, walk.zero_ns),
            (Steps::Cron, None) => NEVER,
        }
    }

    /// The tick after one.
    pub(super) fn after(&mut self, walk: Walk, tick: u64) -> u64 {
        match walk.steps {
            _ if tick == NEVER => NEVER,
            Steps::Every(every_ns) if self.spans.is_ever() => tick.saturating_add(every_ns),
            Steps::Every(every_ns) => self.first_on_grid(walk, every_ns, tick.saturating_add(1)),
            Steps::Cron => tick + 1,
        }
    }

    /// When a tick's probe is due, in nanoseconds since the base.
    pub(super) fn due_ns(&mut self, walk: Walk, tick: u64) -> u64 {
        match (walk.steps, &mut self.fires) {
            _ if tick == NEVER => NEVER,
            (Steps::Cron, None) => NEVER,
            (Steps::Cron, Some(fires)) => fires.due_ns(walk.hash, tick, &mut self.spans, walk.zero_ns),
            (Steps::Every(every_ns), _) => {
                if self.rules.jitter.is_zero() {
                    return tick;
                }
                let mut width = interval_ns(self.rules.jitter).min(every_ns);
                if !self.spans.is_ever() {
                    let span = self.spans.at_or_after(unix(tick, walk.zero_ns));
                    width = span
                        .map_or(width, |span| width.min(offset(span.to, walk.zero_ns).saturating_sub(tick)));
                }
                // By the tick's own moment, so that a restart gives the same.
                let moment = i128::from(walk.wall_ns) + i128::from(tick);
                tick.saturating_add(chance_ns(
                    walk.hash,
                    moment.div_euclid(i128::from(every_ns)) as u64,
                    width,
                ))
            }
        }
    }

    /// The ticks from `tick` on that were due at `now_ns` or before.
    pub(super) fn passed(&mut self, walk: Walk, tick: u64, now_ns: u64) -> Passed {
        let (count, last, following) = match walk.steps {
            Steps::Every(_) if tick > now_ns => (0, None, tick),
            Steps::Every(every_ns) => self.passed_on_grid(walk, every_ns, tick, now_ns),
            Steps::Cron => self.passed_fires(walk, tick, now_ns),
        };
        let latest_ns = last.map(|last| self.due_ns(walk, last));
        Passed { count: u32::try_from(count).unwrap_or(u32::MAX), latest_ns, following }
    }

    /// Lays what is to come anew after civil time moved; tells the first fire that is to come.
    pub(super) fn step(&mut self, old_ns: i64, set_ns: i64, now_ns: u64, zero_ns: i64) -> Option<u64> {
        let fires = self.fires.as_mut()?;
        Some(fires.step(old_ns, set_ns, now_ns, &mut self.spans, zero_ns))
    }

    fn passed_fires(&mut self, walk: Walk, number: u64, now_ns: u64) -> (u64, Option<u64>, u64) {
        let Some(fires) = self.fires.as_mut().filter(|_| number != NEVER) else { return (0, None, NEVER) };
        let count = fires.passed(walk.hash, number, now_ns, &mut self.spans, walk.zero_ns);
        (count, (count > 0).then(|| number + count - 1), number + count)
    }

    fn passed_on_grid(
        &mut self,
        walk: Walk,
        every_ns: u64,
        tick: u64,
        now_ns: u64,
    ) -> (u64, Option<u64>, u64) {
        let (mut count, mut last) = if self.spans.is_ever() {
            let intervals = (now_ns - tick) / every_ns;
            (intervals + 1, tick + intervals * every_ns)
        } else {
            self.count_in_windows(walk, every_ns, tick, now_ns)
        };
        let mut following = self.after(walk, last);
        // The last one may lie before now and yet, by its jitter, be due after it.
        if count > 0 && self.due_ns(walk, last) > now_ns {
            following = last;
            count -= 1;
            last = match count {
                0 => tick,
                _ => self.last_before(walk, every_ns, tick, last),
            };
        }
        (count, (count > 0).then_some(last), following)
    }

    /// The tick before one.
    fn last_before(&mut self, walk: Walk, every_ns: u64, from: u64, tick: u64) -> u64 {
        if self.spans.is_ever() {
            return tick - every_ns;
        }
        self.count_in_windows(walk, every_ns, from, tick - 1).1
    }

    /// How many ticks lie in windows from a tick up to a moment, and the last of them.
    fn count_in_windows(&mut self, walk: Walk, every_ns: u64, tick: u64, until_ns: u64) -> (u64, u64) {
        let (mut count, mut last, mut from) = (0, tick, tick);
        while from <= until_ns {
            let Some(span) = self.spans.at_or_after(unix(from, walk.zero_ns)) else { break };
            let end = offset(span.to, walk.zero_ns).min(until_ns.saturating_add(1));
            let first = ticks_in(walk, every_ns, span).map(|first| step_to(first, every_ns, from));
            if let Some(first) = first.filter(|first| *first < end) {
                let more = (end - 1 - first) / every_ns;
                count += more + 1;
                last = first + more * every_ns;
            }
            from = offset(span.to, walk.zero_ns);
        }
        (count, last)
    }

    /// The first tick at or after a moment that lies in a window.
    fn first_on_grid(&mut self, walk: Walk, every_ns: u64, from_ns: u64) -> u64 {
        if self.spans.is_ever() {
            return step_to(grid_from(walk, every_ns, 0), every_ns, from_ns);
        }
        let mut from = from_ns;
        for _ in 0..WINDOWS {
            let Some(span) = self.spans.at_or_after(unix(from, walk.zero_ns)) else { return NEVER };
            let end = offset(span.to, walk.zero_ns);
            let tick = ticks_in(walk, every_ns, span).map(|first| step_to(first, every_ns, from));
            if let Some(tick) = tick.filter(|tick| *tick < end) {
                return tick;
            }
            from = end;
        }
        NEVER
    }
}

/// The first tick that a window has: of the grid, else the one that stands for those which passed while
/// all windows were closed. In nanoseconds since the base, before which it may lie.
fn ticks_in(walk: Walk, every_ns: u64, span: Span) -> Option<i64> {
    let from_zero = |unix_ns: i64| unix_ns.saturating_sub(walk.zero_ns);
    let (begin, end) = (from_zero(span.from), from_zero(span.to));
    let first = grid_from(walk, every_ns, begin);
    if first < end {
        return Some(first);
    }
    let is_due = grid_from(walk, every_ns, from_zero(span.before)) < begin;
    // No tick after it can fall into the window, for the interval is longer.
    is_due.then(|| begin.saturating_add_unsigned(share(walk.hash, begin.abs_diff(end))))
}

/// The first moment of the grid at or after another, both in nanoseconds since the base.
fn grid_from(walk: Walk, every_ns: u64, from: i64) -> i64 {
    let first = phase::first_tick_ns(phase::place_ns(walk.hash, every_ns), every_ns, UnixNanos(walk.wall_ns));
    let (first, every, from) = (i128::from(first), i128::from(every_ns), i128::from(from));
    let moment = from + (first - from).rem_euclid(every);
    i64::try_from(moment).unwrap_or(i64::MAX)
}

/// The first tick at or after a moment on the grid that `first` lies on.
fn step_to(first: i64, every_ns: u64, from_ns: u64) -> u64 {
    match u64::try_from(first) {
        Ok(first) => phase::tick_from(from_ns, first, every_ns),
        Err(_) => {
            let ahead = i128::from(first) - i128::from(from_ns);
            from_ns.saturating_add(ahead.rem_euclid(i128::from(every_ns)) as u64)
        }
    }
}

/// The Unix nanoseconds of a moment that is given in nanoseconds since the base.
pub(super) fn unix(offset_ns: u64, zero_ns: i64) -> i64 {
    zero_ns.saturating_add_unsigned(offset_ns)
}

/// Nanoseconds since the base of a moment; 0 if it lies before.
fn offset(unix_ns: i64, zero_ns: i64) -> u64 {
    match unix_ns {
        i64::MAX => NEVER,
        _ => u64::try_from(i128::from(unix_ns) - i128::from(zero_ns)).unwrap_or_default(),
    }
}
