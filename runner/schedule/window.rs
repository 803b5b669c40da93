//! Windows of civil time that come again every week.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::{Timestamp, ToSpan as _};

use super::zone::Zone;

/// Seconds of a day without a change of the clock.
pub(super) const DAY_S: i64 = 86_400;
const SECOND_NS: i64 = 1_000_000_000;

/// Beyond this many weeks of windows that touch, a span is taken to end.
const LONGEST_WEEKS: i64 = 8;

/// A span of moments, in Unix nanoseconds: from, up to, not including, to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: i64,
    pub(super) to: i64,
    /// When the span before it ended.
    pub(super) before: i64,
}

impl Span {
    /// All time.
    pub(super) const EVER: Self = Self { from: i64::MIN, to: i64::MAX, before: i64::MIN };
}

/// Some hours of some days of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    /// The days on which it begins.
    pub(super) days: Days,
    /// When it begins, in seconds since midnight on the clock: 0 to 86,399.
    pub(super) from_s: i64,
    /// When it ends, counted from the same midnight: above `from_s`; above 86,400 if it ends on the next
    /// day.
    pub(super) to_s: i64,
    pub(super) zone: Zone,
}

/// Days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Days(pub(super) u8);

impl Days {
    pub(super) const ALL: Self = Self(0b111_1111);

    fn contains(self, day: Weekday) -> bool {
        self.0 & (1 << day.to_monday_zero_offset()) != 0
    }
}

impl Window {
    /// Its moments, in Unix seconds, if it begins on a date.
    fn on(&self, date: Date) -> Option<(i64, i64)> {
        if !self.days.contains(date.weekday()) {
            return None;
        }
        let from = self.zone.moment(civil(date, self.from_s)?, false)?;
        let to = self.zone.moment(civil(date, self.to_s)?, true)?;
        (from < to).then_some((from, to))
    }

    /// Whether a moment lies in it, and until when that stays so, in Unix seconds.
    pub(super) fn state(&self, unix_s: i64) -> (bool, i64) {
        let Some(today) = date_of(unix_s.div_euclid(DAY_S)) else { return (false, i64::MAX) };
        // The local date differs from that of UTC by one at most, and a window lasts into the next day.
        let near = (-3..=8).filter_map(|days: i64| self.on(today.checked_add(days.days()).ok()?));
        let mut until = i64::MAX;
        for (from, to) in near {
            if (from..to).contains(&unix_s) {
                return (true, to);
            }
            if from > unix_s {
                until = until.min(from);
            }
        }
        (false, until)
    }
}

fn civil(date: Date, seconds: i64) -> Option<DateTime> {
    let date = date.checked_add((seconds / DAY_S).days()).ok()?;
    let rest = seconds % DAY_S;
    Some(date.at((rest / 3_600) as i8, (rest / 60 % 60) as i8, (rest % 60) as i8, 0))
}

/// A date of UTC by its days since the Unix epoch.
fn date_of(unix_days: i64) -> Option<Date> {
    let moment = Timestamp::from_second(unix_days.checked_mul(DAY_S)?).ok()?;
    Some(jiff::tz::Offset::UTC.to_datetime(moment).date())
}

/// The spans of several windows together, found as they are asked for.
#[derive(Debug)]
pub(super) struct Spans {
    windows: Arc<[Window]>,
    /// Those found, in order, none touching another.
    known: VecDeque<Span>,
    /// The dates that are looked through: days since the Unix epoch, from and up to, not including, to.
    days: (i64, i64),
}

impl Spans {
    pub(super) fn new(windows: &Arc<[Window]>) -> Self {
        Self { windows: Arc::clone(windows), known: VecDeque::new(), days: (0, 0) }
    }

    /// Whether there are no windows: then all time is inside.
    pub(super) fn is_ever(&self) -> bool {
        self.windows.is_empty()
    }

    /// The span that a moment (Unix nanoseconds) lies in, else the next one; none if there is none any
    /// more.
    pub(super) fn at_or_after(&mut self, unix_ns: i64) -> Option<Span> {
        if self.is_ever() {
            return Some(Span::EVER);
        }
        let day = unix_ns.div_euclid(DAY_S * SECOND_NS);
        // The span before is wanted too, and each window comes within a week.
        if self.known.is_empty() || day - 9 < self.days.0 || day > self.days.1 + 400 {
            self.known.clear();
            self.days = (day - 10, day - 10);
        }
        loop {
            // Dates of other zones differ from those of UTC, so what is near the end is not known yet.
            let certain = self.days.1.saturating_sub(3).saturating_mul(DAY_S * SECOND_NS);
            let at = self.known.partition_point(|span| span.to <= unix_ns);
            if let Some(span) = self.known.get(at)
                && (span.to < certain || self.days.1 - day > LONGEST_WEEKS * 7)
            {
                return Some(*span);
            }
            if self.days.1 - day > LONGEST_WEEKS * 7 {
                return None;
            }
            self.look_further();
        }
    }

    /// Looks through one more week.
    fn look_further(&mut self) {
        let mut found: Vec<(i64, i64)> = Vec::new();
        for day in self.days.1..self.days.1 + 7 {
            let Some(date) = date_of(day) else { continue };
            found.extend(self.windows.iter().filter_map(|window| window.on(date)));
        }
        self.days.1 += 7;
        found.sort_unstable();
        for (from, to) in found {
            let (from, to) = (from.saturating_mul(SECOND_NS), to.saturating_mul(SECOND_NS));
            // Of several zones, one that begins earlier may be found a week later: then it lies near the
            // end, where nothing was told yet.
            let mut to = to;
            let mut from = from;
            while let Some(last) = self.known.back().copied()
                && last.to >= from
            {
                (from, to) = (from.min(last.from), to.max(last.to));
                self.known.pop_back();
            }
            let before = self.known.back().map_or(i64::MIN, |last| last.to);
            self.known.push_back(Span { from, to, before });
        }
        if self.known.len() > 256 {
            let gone = self.known.len() - 128;
            self.known.drain(..gone);
            self.days.0 = self.known.front().map_or(self.days.0, |span| span.from / (DAY_S * SECOND_NS) + 1);
        }
    }
}
