//! When a segment is closed. Pure: time goes in.
//!
//! Boundaries are multiples of `every` since midnight UTC, by the clock and not by the arrival of
//! results. A segment belongs to one UTC day; at the day's end it stays open for the grace, since probes
//! that began before midnight may still end.

use std::time::Duration;

use super::Rotate;
use super::segment::Day;
use crate::clock::{Instant, UnixNanos};

const DAY: Duration = Duration::from_hours(24);

/// What decides when a segment is closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rotation {
    pub(crate) rotate: Rotate,
    pub(crate) grace: Duration,
}

/// One segment's life so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Age {
    /// When it was opened.
    pub(crate) opened: Instant,
    /// When it is closed at the latest.
    pub(crate) closes_at: UnixNanos,
    /// Results in it.
    pub(crate) rows: u64,
    /// Bytes of its journal.
    pub(crate) bytes: u64,
}

impl Rotation {
    /// When a segment of `day` that is opened at `wall` is closed by the clock.
    pub(crate) fn closes_at(&self, day: Day, wall: UnixNanos) -> UnixNanos {
        let boundary = self.next_boundary(wall);
        let last = day.end().plus(self.grace);
        // Late results of a day that is long over wait for the next boundary, as all others do.
        if boundary < day.end() || wall >= last { boundary } else { last }
    }

    /// Whether a segment has to be closed. `now` guards against a civil clock that was set back.
    pub(crate) fn is_due(&self, age: &Age, now: Instant, wall: UnixNanos) -> bool {
        let longest = self.rotate.every.min(DAY) + self.grace;
        self.is_full(age) || wall >= age.closes_at || now.saturating_duration_since(age.opened) >= longest
    }

    /// Whether a segment has as much as it may hold.
    pub(crate) fn is_full(&self, age: &Age) -> bool {
        age.rows >= self.rotate.rows || age.bytes >= self.rotate.size
    }

    /// The next multiple of `every` since midnight, midnight included.
    fn next_boundary(&self, wall: UnixNanos) -> UnixNanos {
        let midnight = Day::of(wall).end().minus(DAY);
        let every = self.rotate.every.clamp(Duration::from_secs(1), DAY).as_nanos() as i64;
        let passed = wall.0.saturating_sub(midnight.0);
        let next = UnixNanos(midnight.0.saturating_add((passed / every + 1).saturating_mul(every)));
        next.min(Day::of(wall).end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-09-01 00:00:00 UTC.
    const MIDNIGHT: UnixNanos = UnixNanos(1_788_220_800_000_000_000);

    fn rotation(every: Duration) -> Rotation {
        Rotation { rotate: Rotate { every, ..Rotate::default() }, grace: Duration::from_secs(30) }
    }

    fn at(hours: u64, minutes: u64) -> UnixNanos {
        MIDNIGHT.plus(Duration::from_mins(hours * 60 + minutes))
    }

    #[test]
    fn boundaries_are_aligned_to_midnight() {
        let hourly = rotation(Duration::from_hours(1));
        assert_eq!(hourly.closes_at(Day::of(MIDNIGHT), at(5, 17)), at(6, 0));
        assert_eq!(hourly.closes_at(Day::of(MIDNIGHT), at(5, 0)), at(6, 0));
        let seven = rotation(Duration::from_hours(7));
        assert_eq!(seven.closes_at(Day::of(MIDNIGHT), at(15, 0)), at(21, 0));
    }

    #[test]
    fn a_day_stays_open_for_its_grace() {
        let grace = Duration::from_secs(30);
        let hourly = rotation(Duration::from_hours(1));
        let today = Day::of(MIDNIGHT);
        assert_eq!(hourly.closes_at(today, at(23, 59)), at(24, 0).plus(grace), "opened before midnight");
        assert_eq!(hourly.closes_at(today, at(24, 0)), at(24, 0).plus(grace), "opened within the grace");
        assert_eq!(hourly.closes_at(today, at(24, 1)), at(25, 0), "late results");
        for every in [Duration::from_hours(48), Duration::from_hours(7)] {
            assert_eq!(rotation(every).closes_at(today, at(22, 0)), at(24, 0).plus(grace), "{every:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_set_back_does_not_keep_a_segment_open() {
        let clock = crate::clock::Clock::simulated(at(5, 59));
        let hourly = rotation(Duration::from_hours(1));
        let age = Age { opened: clock.now(), closes_at: at(6, 0), rows: 1, bytes: 1 };
        assert!(!hourly.is_due(&age, clock.now(), clock.wall()));
        tokio::time::advance(Duration::from_mins(1)).await;
        assert!(hourly.is_due(&age, clock.now(), clock.wall()));
        assert!(!hourly.is_due(&age, clock.now(), at(3, 0)));
        tokio::time::advance(Duration::from_hours(1)).await;
        assert!(hourly.is_due(&age, clock.now(), at(3, 0)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_segment_is_full_by_rows_or_by_bytes() {
        let clock = crate::clock::Clock::simulated(MIDNIGHT);
        let rotation = Rotation { rotate: Rotate { every: DAY, size: 100, rows: 10 }, grace: Duration::ZERO };
        let age = |rows, bytes| Age { opened: clock.now(), closes_at: at(24, 0), rows, bytes };
        assert!(!rotation.is_due(&age(9, 99), clock.now(), MIDNIGHT));
        assert!(rotation.is_due(&age(10, 0), clock.now(), MIDNIGHT));
        assert!(rotation.is_due(&age(0, 100), clock.now(), MIDNIGHT));
    }
}
