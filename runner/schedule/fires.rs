//! The fires of a cron expression, each found once for all targets that share it.
//!
//! Fires are numbered in the order in which they come; a target's tick is the number of a fire. All
//! targets of a fire at once would be a burst, so each has a place of its own in the time after it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::cron::{Cron, LARGEST_CHANGE_S};
use super::lane::NEVER;
use super::phase::{chance_ns, share};
use super::window::Spans;

const SECOND_NS: i64 = 1_000_000_000;

/// A clock that is set back by less than this is one that went a little fast: what has run does not run
/// again.
const CORRECTION_NS: i64 = 60 * SECOND_NS;

/// A clock that is set forward by up to this skips no job at all: what cron(8) calls soon.
const SMALL_STEP_NS: i64 = 5 * 60 * SECOND_NS;

/// Fires that are kept; older ones have passed for everybody.
const KEPT: usize = 4_096;

/// Fires that may lie outside of the active windows, one after the other, before the search ends.
const OUTSIDE: usize = 20_000;

/// The fires of one expression.
#[derive(Debug)]
pub(super) struct Fires {
    cron: Arc<Cron>,
    spread_ns: u64,
    jitter_ns: u64,
    /// Those that are known, in order.
    known: VecDeque<Fire>,
    /// The number of the first of them.
    first: u64,
    /// The fire after them, in Unix nanoseconds; none if there is none any more.
    ahead: Option<i64>,
    /// Civil time has been here: what fired until then has fired.
    high_ns: i64,
}

/// One fire.
#[derive(Debug, Clone, Copy)]
struct Fire {
    /// Nanoseconds since the base; negative if before.
    at_ns: i64,
    /// How long it has until the next fire, or until the window closes.
    room_ns: u64,
}

impl Fires {
    /// The fires of an expression, from those on whose targets may not all have had their place yet at
    /// `unix_ns`. `zero_ns` is civil time at the base.
    pub(super) fn new(
        cron: Arc<Cron>,
        spread: Duration,
        jitter: Duration,
        unix_ns: i64,
        spans: &mut Spans,
    ) -> Self {
        let (spread_ns, jitter_ns) = (width_ns(spread), width_ns(jitter));
        let from_ns = unix_ns.saturating_sub_unsigned(spread_ns + jitter_ns);
        let ahead = next_inside(&cron, spans, from_ns);
        Self { cron, spread_ns, jitter_ns, known: VecDeque::new(), first: 0, ahead, high_ns: unix_ns }
    }

    /// Whether these are the fires of an expression.
    pub(super) fn are_of(&self, cron: &Arc<Cron>, spread: Duration) -> bool {
        self.spread_ns == width_ns(spread) && (Arc::ptr_eq(&self.cron, cron) || self.cron == *cron)
    }

    /// When a target's probe of a fire is due, in nanoseconds since the base.
    pub(super) fn due_ns(&mut self, hash: u64, number: u64, spans: &mut Spans, zero_ns: i64) -> u64 {
        if number < self.first {
            return 0;
        }
        match self.fire(number, spans, zero_ns) {
            Some(fire) => self.place_ns(fire, hash, number),
            None => NEVER,
        }
    }

    /// The first fire at which a target is due at or after a moment.
    pub(super) fn first(&mut self, hash: u64, from_ns: u64, spans: &mut Spans, zero_ns: i64) -> u64 {
        // Those behind which every target's place lies before need no look.
        let width = (self.spread_ns + self.jitter_ns) as i64;
        let is_past = |fire: &Fire| fire.at_ns.saturating_add(width) < from_ns as i64;
        let mut number = self.first + self.known.partition_point(is_past) as u64;
        while let Some(fire) = self.fire(number, spans, zero_ns) {
            if self.place_ns(fire, hash, number) >= from_ns {
                return number;
            }
            number += 1;
        }
        NEVER
    }

    /// How many fires from `number` on a target was due at until `now_ns`.
    pub(super) fn passed(
        &mut self,
        hash: u64,
        number: u64,
        now_ns: u64,
        spans: &mut Spans,
        zero_ns: i64,
    ) -> u64 {
        let mut following = number.max(self.first);
        while let Some(fire) = self.fire(following, spans, zero_ns) {
            if self.place_ns(fire, hash, following) > now_ns {
                break;
            }
            following += 1;
        }
        following.saturating_sub(number)
    }

    /// Civil time moved from `old_ns` to `set_ns` (Unix nanoseconds) at the moment `now_ns`; `zero_ns` is
    /// civil time at the base by the old clock. Tells the first fire that has not come yet: those from it
    /// on are laid anew.
    pub(super) fn step(
        &mut self,
        old_ns: i64,
        set_ns: i64,
        now_ns: u64,
        spans: &mut Spans,
        zero_ns: i64,
    ) -> u64 {
        let now = now_ns as i64;
        let mut coming = self.first;
        while self.fire(coming, spans, zero_ns).is_some_and(|fire| fire.at_ns <= now) {
            coming += 1;
        }
        self.known.truncate((coming - self.first) as usize);
        self.high_ns = self.high_ns.max(old_ns);
        let step_ns = set_ns.saturating_sub(self.high_ns);
        let is_fixed = self.cron.is_fixed();
        let largest_ns = LARGEST_CHANGE_S * SECOND_NS;
        // What was skipped is made up for, once; what has run does not run again.
        let from_ns = if step_ns > 0 {
            let makes_up = step_ns <= SMALL_STEP_NS || (is_fixed && step_ns <= largest_ns);
            let skipped = makes_up && self.next_until(self.high_ns, set_ns);
            if skipped && spans.at_or_after(set_ns).is_some_and(|span| span.from <= set_ns) {
                self.known.push_back(Fire { at_ns: now, room_ns: 0 });
            }
            set_ns
        } else if step_ns > -CORRECTION_NS || (is_fixed && step_ns >= -largest_ns) {
            self.high_ns
        } else {
            set_ns
        };
        if step_ns > 0 || step_ns < -largest_ns {
            self.high_ns = set_ns;
        }
        self.ahead = next_inside(&self.cron, spans, from_ns);
        // The one made up for has the time until the next, as any other.
        let ahead = self.ahead;
        if let Some(last) = self.known.back_mut().filter(|fire| fire.at_ns == now && fire.room_ns == 0) {
            last.room_ns = ahead.map_or(u64::MAX / 4, |ahead| ahead.saturating_sub(set_ns) as u64);
        }
        coming
    }

    fn next_until(&self, from_ns: i64, to_ns: i64) -> bool {
        let next = self.cron.next_after(from_ns.div_euclid(SECOND_NS));
        next.is_some_and(|next| next.saturating_mul(SECOND_NS) <= to_ns)
    }

    /// Where a target has its place after a fire: nobody waits for more than half of the time until the
    /// next, and jitter takes no more than the other half.
    fn place_ns(&self, fire: Fire, hash: u64, number: u64) -> u64 {
        let half_ns = fire.room_ns / 2;
        let spread_ns = share(hash, self.spread_ns.min(half_ns));
        // By the fire's own moment it would change with the clock; its number is as good.
        let jitter_ns = chance_ns(hash, number, self.jitter_ns.min(half_ns));
        u64::try_from(fire.at_ns.saturating_add_unsigned(spread_ns + jitter_ns)).unwrap_or_default()
    }

    fn fire(&mut self, number: u64, spans: &mut Spans, zero_ns: i64) -> Option<Fire> {
        while number >= self.first + self.known.len() as u64 {
            let at = self.ahead?;
            self.ahead = next_inside(&self.cron, spans, at);
            let closes = spans.at_or_after(at).map_or(i64::MAX, |span| span.to);
            let room_ns = self.ahead.unwrap_or(i64::MAX).min(closes).saturating_sub(at) as u64;
            self.known.push_back(Fire { at_ns: at.saturating_sub(zero_ns), room_ns });
            if self.known.len() > KEPT {
                self.known.pop_front();
                self.first += 1;
            }
        }
        self.known.get((number.checked_sub(self.first)?) as usize).copied()
    }
}

/// A length in nanoseconds, far from where sums would overflow.
fn width_ns(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX / 8)
}

/// The first fire after a moment, both in Unix nanoseconds, that lies inside of the windows.
pub(super) fn next_inside(cron: &Cron, spans: &mut Spans, unix_ns: i64) -> Option<i64> {
    let mut from_s = unix_ns.div_euclid(SECOND_NS);
    for _ in 0..OUTSIDE {
        let next_ns = cron.next_after(from_s)?.checked_mul(SECOND_NS)?;
        let span = spans.at_or_after(next_ns)?;
        if span.from <= next_ns {
            return Some(next_ns);
        }
        // A fire at the very begin of the window is in it.
        from_s = span.from.div_euclid(SECOND_NS) - 1;
    }
    None
}
