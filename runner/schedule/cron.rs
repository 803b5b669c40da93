//! Cron expressions: when they fire, by the rules of Vixie's cron.
//!
//! The library reads the fields and walks the civil calendar. What happens when a clock is changed is
//! decided here, by what cron(8) says:
//!
//! - A fixed-time job (no `*` in minute or hour) that would have run in the time which a clock skips runs
//!   once, right after the skip. In time that comes again it runs the first time only.
//! - A wildcard job runs by the new time at once: nothing is made up for, nothing is left out.
//! - A change of more than three hours is a correction of the clock, and the new time simply counts.
//!
//! With six fields the first one is the second. A `*` there makes a wildcard job too.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::cron_fields::{CronProblem, read_fields};
use super::zone::Zone;

/// A change of the clock beyond this is a correction: cron(8).
pub(super) const LARGEST_CHANGE_S: i64 = 3 * 3_600;

/// Clock changes that are looked through for the next fire; a zone has a few in a year.
const CHANGES: usize = 2_000;

/// A cron expression in a time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cron {
    pattern: croner::Cron,
    zone: Zone,
    /// Whether it is a fixed-time job.
    is_fixed: bool,
}

impl Cron {
    /// Reads an expression of 5 or 6 fields, or a name such as `@daily`.
    pub(super) fn read(text: &str, zone: Zone) -> Result<Self, CronProblem> {
        let fields = read_fields(text)?;
        let parser = croner::parser::CronParser::builder().dom_and_dow(fields.both_days).build();
        let refused = |_| CronProblem::new("this is no cron expression", None);
        let pattern = parser.parse(&fields.text).map_err(refused)?;
        let cron = Self { pattern, zone, is_fixed: fields.is_fixed };
        let begin = jiff::civil::date(2000, 1, 1).at(0, 0, 0, 0);
        if cron.civil_from(begin).is_none() {
            let hint = "there is no such day in any month that it names";
            return Err(CronProblem::new("the expression never fires", Some(hint.to_owned())));
        }
        Ok(cron)
    }

    pub(super) fn is_fixed(&self) -> bool {
        self.is_fixed
    }

    /// When it fires next after a moment, in Unix seconds.
    pub(super) fn next_after(&self, unix_s: i64) -> Option<i64> {
        let mut from_s = unix_s.checked_add(1)?;
        let mut offset_s = self.zone.offset_s(from_s);
        // The clock may have been changed at this very moment.
        if let Some(before_s) = self.changed_at(from_s, offset_s)
            && let Some(found) = self.fire_at_change(from_s, before_s, offset_s)
        {
            return Some(found);
        }
        let mut civil_from = from_s + offset_s;
        if self.is_fixed {
            civil_from = civil_from.max(self.repeated_until(from_s, offset_s));
        }
        for _ in 0..CHANGES {
            let change = self.zone.change_after(from_s);
            let found = civil_s(self.civil_from(civil(civil_from)?)?)? - offset_s;
            let Some(change_s) = change else { return Some(found) };
            if found < change_s {
                return Some(found);
            }
            let before_s = offset_s;
            (from_s, offset_s) = (change_s, self.zone.offset_s(change_s));
            if let Some(found) = self.fire_at_change(change_s, before_s, offset_s) {
                return Some(found);
            }
            civil_from = change_s + offset_s;
            if self.is_fixed && is_repeated(before_s, offset_s) {
                civil_from = change_s + before_s;
            }
        }
        None
    }

    /// The offset before a change at a moment; none if there is no change.
    fn changed_at(&self, unix_s: i64, offset_s: i64) -> Option<i64> {
        let before_s = self.zone.offset_s(unix_s - 1);
        (before_s != offset_s).then_some(before_s)
    }

    /// A job that is made up for right after the clock skipped its time.
    fn fire_at_change(&self, change_s: i64, before_s: i64, after_s: i64) -> Option<i64> {
        let is_skipped = after_s > before_s && after_s - before_s <= LARGEST_CHANGE_S;
        if !self.is_fixed || !is_skipped {
            return None;
        }
        let first = civil_s(self.civil_from(civil(change_s + before_s)?)?)?;
        (first <= change_s + after_s).then_some(change_s)
    }

    /// The end of the civil time that came before already, if a moment lies in such.
    fn repeated_until(&self, unix_s: i64, offset_s: i64) -> i64 {
        let mut at_s = unix_s - LARGEST_CHANGE_S - 1;
        let mut before_s = self.zone.offset_s(at_s);
        let mut until = i64::MIN;
        while let Some(change_s) = self.zone.change_after(at_s).filter(|change_s| *change_s <= unix_s) {
            let after_s = self.zone.offset_s(change_s);
            if is_repeated(before_s, after_s) {
                until = until.max(change_s + before_s);
            }
            (at_s, before_s) = (change_s, after_s);
        }
        if before_s == offset_s { until } else { i64::MIN }
    }

    /// The first civil time at or after one that fits.
    fn civil_from(&self, from: DateTime) -> Option<DateTime> {
        self.pattern.find_next_occurrence(&from, true).ok()
    }
}

/// Whether a change repeats civil time, as at the end of summer time.
fn is_repeated(before_s: i64, after_s: i64) -> bool {
    before_s > after_s && before_s - after_s <= LARGEST_CHANGE_S
}

/// Civil time by its seconds, counted as if it were UTC.
fn civil(seconds: i64) -> Option<DateTime> {
    Some(Offset::UTC.to_datetime(Timestamp::from_second(seconds).ok()?))
}

fn civil_s(civil: DateTime) -> Option<i64> {
    Some(Offset::UTC.to_timestamp(civil).ok()?.as_second())
}
