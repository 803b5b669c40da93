//! The name of a segment: one journal and the two files that come of it.
//!
//! Every name derives from it, so that a repeated conversion finds what an earlier one has done. The
//! stamp tells people the hour; what makes the name unique is run and number.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;

use super::schema::Table;
use crate::clock::UnixNanos;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A day of UTC, in days since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i64);

impl Day {
    /// The day of a moment.
    pub fn of(moment: UnixNanos) -> Self {
        Self(moment.micros().div_euclid(MICROS_PER_DAY))
    }

    /// The day that a text like `2026-09-01` names.
    pub fn of_date(date: &str) -> Option<Self> {
        let epoch = jiff::civil::date(1970, 1, 1);
        let days = epoch.until(date.parse::<Date>().ok()?).ok()?.get_days();
        Some(Self(i64::from(days)))
    }

    /// Its first moment.
    pub fn begin(self) -> UnixNanos {
        UnixNanos(self.0.saturating_mul(MICROS_PER_DAY).saturating_mul(1_000))
    }

    /// Its last moment's successor.
    pub fn end(self) -> UnixNanos {
        UnixNanos(self.0.saturating_add(1).saturating_mul(MICROS_PER_DAY).saturating_mul(1_000))
    }
}

/// As in the names of folders: `2026-09-01`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.saturating_mul(MICROS_PER_DAY / 1_000_000);
        let moment = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
        write!(f, "{}", Offset::UTC.to_datetime(moment).date())
    }
}

/// The name of a segment. Its text is `20260901T05Z-<runner>-<run_id>-000042`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SegmentName {
    /// The UTC hour of the segment's first row: `20260901T05Z`.
    stamp: String,
    /// The runner's name.
    pub runner: String,
    /// The run.
    pub run_id: String,
    /// Numbers the segments of the run, from 1.
    pub number: u32,
}

/// Length of `20260901T05Z`.
const STAMP: usize = 12;
/// Length of a hyphenated UUID.
const RUN_ID: usize = 36;
const JOURNAL: &str = ".journal";

impl SegmentName {
    /// The name of a run's segment whose first row began at `first`.
    pub fn new(first: UnixNanos, runner: &str, run_id: &str, number: u32) -> Self {
        // Nanoseconds in 64 bits reach from 1677 to 2262: it cannot fail.
        let moment = Timestamp::from_second(first.seconds()).unwrap_or(Timestamp::UNIX_EPOCH);
        let civil = Offset::UTC.to_datetime(moment);
        let stamp = format!("{:04}{:02}{:02}T{:02}Z", civil.year(), civil.month(), civil.day(), civil.hour());
        Self { stamp, runner: runner.to_owned(), run_id: run_id.to_owned(), number }
    }

    /// Whether a run's identity can stand in a name: it has to be told from the runner's name.
    pub fn valid_run_id(run_id: &str) -> bool {
        run_id.len() == RUN_ID && run_id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
    }

    /// Reads the file name of a journal; none if it is not one.
    pub fn of_journal(file_name: &str) -> Option<Self> {
        Self::parse(file_name.strip_suffix(JOURNAL)?)
    }

    /// Reads the file name of a table's finished file; none if it is not one.
    pub fn of_file(file_name: &str, table: Table) -> Option<Self> {
        let rest = file_name.strip_suffix(".parquet")?.strip_prefix(table.name())?;
        Self::parse(rest.strip_prefix('-')?)
    }

    fn parse(text: &str) -> Option<Self> {
        let (stamp, rest) = text.split_at_checked(STAMP)?;
        let (rest, number) = rest.strip_prefix('-')?.rsplit_once('-')?;
        let (runner, run_id) = rest.split_at_checked(rest.len().checked_sub(RUN_ID)?)?;
        let runner = runner.strip_suffix('-')?;
        let digits = |range: std::ops::Range<usize>| stamp[range].bytes().all(|byte| byte.is_ascii_digit());
        let well_formed = stamp.is_ascii()
            && digits(0..8)
            && digits(9..11)
            && &stamp[8..9] == "T"
            && stamp.ends_with('Z')
            && number.len() >= 6
            && Self::valid_run_id(run_id)
            && !runner.is_empty();
        let number = number.parse().ok().filter(|_| well_formed)?;
        Some(Self { stamp: stamp.to_owned(), runner: runner.to_owned(), run_id: run_id.to_owned(), number })
    }

    /// Whether a runner wrote it, or a run of its that ended by itself (`--once`).
    pub fn is_of(&self, runner: &str) -> bool {
        bears_name(&self.runner, runner)
    }

    /// The journal's file name.
    pub fn journal(&self) -> String {
        format!("{self}{JOURNAL}")
    }

    /// A finished file's name.
    pub fn file(&self, table: Table) -> String {
        format!("{}-{self}.parquet", table.name())
    }

    /// The UTC day, `2026-09-01`.
    pub fn date(&self) -> String {
        format!("{}-{}-{}", &self.stamp[0..4], &self.stamp[4..6], &self.stamp[6..8])
    }
}

/// Whether `name` is a runner's own, or that of a run of its that ends by itself: `<runner>-once-<run_id>`.
pub(crate) fn bears_name(name: &str, runner: &str) -> bool {
    let rest = name.strip_prefix(runner);
    rest.is_some_and(|rest| {
        rest.is_empty() || rest.strip_prefix("-once-").is_some_and(SegmentName::valid_run_id)
    })
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}-{:06}", self.stamp, self.runner, self.run_id, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "0198f0a0-0000-7000-8000-000000000001";

    #[test]
    fn a_name_is_read_back_from_its_journal() {
        let first = UnixNanos(1_788_238_799_999_999_999);
        for runner in ["main", "a-b-c", "main-once-0198f0a0-0000-7000-8000-000000000002"] {
            let name = SegmentName::new(first, runner, RUN, 42);
            assert_eq!(SegmentName::of_journal(&name.journal()), Some(name.clone()));
            for table in Table::ALL {
                assert_eq!(SegmentName::of_file(&name.file(table), table), Some(name.clone()));
            }
            assert_eq!(SegmentName::of_file(&name.file(Table::Checks), Table::Probes), None);
        }
        let name = SegmentName::new(first, "main", RUN, 42);
        assert_eq!(name.to_string(), format!("20260901T04Z-main-{RUN}-000042"));
        assert_eq!(name.date(), "2026-09-01");
        assert_eq!(name.file(Table::Probes), format!("probes-20260901T04Z-main-{RUN}-000042.parquet"));
    }

    #[test]
    fn days_are_read_back_from_their_dates() {
        for day in [0, -1, 20_697, 11_016] {
            assert_eq!(Day::of_date(&Day(day).to_string()), Some(Day(day)));
        }
        assert_eq!(Day::of_date("2026-09-01"), Some(Day(20_697)));
        assert_eq!(Day::of_date("2026-09-31"), None);
    }

    #[test]
    fn runs_that_end_by_themselves_bear_their_runners_name() {
        for (name, runner, does) in [
            ("main", "main", true),
            (&format!("main-once-{RUN}"), "main", true),
            ("main-2", "main", false),
            (&format!("main-{RUN}"), "main", false),
            ("main-once-x", "main", false),
            ("main", "main-2", false),
        ] {
            assert_eq!(bears_name(name, runner), does, "{name} {runner}");
        }
    }

    #[test]
    fn other_files_are_no_journals() {
        for name in
            ["", ".journal", "x.journal", "lock", "20260901T05Z--000042.journal", "ä20260901T05-main.journal"]
        {
            assert_eq!(SegmentName::of_journal(name), None, "{name}");
        }
    }

    #[test]
    fn broken_clocks_still_have_names() {
        for moment in [i64::MIN, -1, 0, i64::MAX] {
            let name = SegmentName::new(UnixNanos(moment), "main", RUN, 1);
            assert_eq!(SegmentName::of_journal(&name.journal()), Some(name));
            let day = Day::of(UnixNanos(moment));
            assert!(day.end() >= UnixNanos(moment));
        }
    }
}
