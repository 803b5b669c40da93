//! Retention: days that are older than a sink keeps are removed, file by file.
//!
//! **Age is data's age.** A day is as old as the newest day that this runner has results of says, not as the clock says:
//! a runner that was switched off for a year loses nothing at its start, and one whose clock is wrong removes nothing
//! because of the clock alone. But results that a wrong clock dates into the future are new data. So:
//!
//! - What has expired may go at once if it is at most a set share of all bytes (20 %).
//! - If it is more, and what stays reaches back over the whole time that is to be kept, then it goes in portions of that
//!   share, a pass after each file published: somebody has asked for less than there was.
//! - If it is more, and what stays does not reach back so far, or has more gaps than days, then nothing goes: that is
//!   how a clock that has jumped looks, until it has been wrong for as long as results are kept, and a long gap in the data. A person decides.
//!
//! **Whose.** Each runner removes the files that bear its own name, and those of its runs that end by themselves: several
//! runners on one folder may keep different times.
//!
//! **Buckets.** Where files are copied to a bucket, none goes before the bucket has confirmed it.
//!
//! **Readers.** Files are unlinked: who has one open reads it to its end. Probes go before their verdicts. What is about
//! to go is noted in the list of checksums first, so that nobody misses it; a crash in between leaves files that the next
//! pass finds again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checksums::is_absent;
use super::finished::remove_finished;
use super::folders::{Folders, names};
use super::schema::Table;
use super::segment::{Day, SegmentName};
use crate::sink::SinkError;

/// How long results are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// What is older than this, by the newest results, is removed; whole UTC days. At least 1 day.
    pub age: Duration,
    /// At most this share of all bytes goes in one pass, in percent, 1 to 100. Default 20.
    pub max_percent: u64,
}

impl Keep {
    /// Days that are kept besides the newest one.
    fn days(self) -> i64 {
        let day = 86_400;
        let seconds = self.age.as_secs() + u64::from(self.age.subsec_nanos() > 0);
        i64::try_from(seconds.div_ceil(day)).unwrap_or(i64::MAX).max(1)
    }
}

/// What a pass has done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Retained {
    /// Files removed.
    pub(crate) files: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Whether more has expired than may go at once: the next pass goes on.
    pub(crate) is_partial: bool,
    /// Why nothing was removed, though something has expired.
    pub(crate) refused: Option<Refused>,
}

/// More would have to go than may, and what stays would not reach back far enough.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The share of all bytes, in percent.
    pub(crate) percent: u64,
    /// The first and the last day that would go, and the first and the last that would stay.
    pub(crate) days: [String; 4],
}

/// A file: its path below the results folder, and its bytes.
type Files = Vec<(PathBuf, u64)>;

/// Removes what has expired of this runner's files, except for those, by their path below the results folder, that are
/// still needed: they go in a later pass.
pub(crate) fn retain(
    folders: &Folders,
    keep: Keep,
    is_needed: &dyn Fn(&Path) -> bool,
) -> Result<Retained, SinkError> {
    let days = own_files(folders)?;
    let mut done = Retained::default();
    let Some((newest, _)) = days.last_key_value() else { return Ok(done) };
    let first_kept = Day(newest.0.saturating_sub(keep.days()));
    let sum = |files: &Files| files.iter().map(|(_, bytes)| bytes).sum::<u64>();
    let all: u64 = days.values().map(sum).sum();
    let expired: u64 = days.range(..first_kept).map(|(_, files)| sum(files)).sum();
    let is_too_much = |bytes: u64| u128::from(bytes) * 100 > u128::from(all) * u128::from(keep.max_percent);
    let stays = days.range(first_kept..).next().map_or(*newest, |(day, _)| *day);
    // Days between, of which there are hardly any, are a clock that has jumped by less than is kept.
    let days_kept = days.range(first_kept..).count() as i64;
    let is_dense = days_kept * 2 > newest.0 - stays.0;
    let reaches_back = stays.0 <= newest.0 - (keep.days() - 1).max(1) && is_dense;
    if is_too_much(expired) && !reaches_back {
        let gone: Vec<_> = days.range(..first_kept).map(|(day, _)| *day).collect();
        let ends = [gone.first(), gone.last(), Some(&stays), Some(newest)];
        let days = ends.map(|day| day.map_or_else(String::new, ToString::to_string));
        let percent = (u128::from(expired) * 100 / u128::from(all.max(1))) as u64;
        done.refused = Some(Refused { percent, days });
        return Ok(done);
    }
    for files in days.range(..first_kept).map(|(_, files)| files) {
        if done.files > 0 && is_too_much(done.bytes + sum(files)) {
            done.is_partial = true;
            break;
        }
        let free: Files = files.iter().filter(|(place, _)| !is_needed(place)).cloned().collect();
        done.is_partial |= free.len() < files.len();
        if free.is_empty() {
            continue;
        }
        remove_finished(folders, &free)?;
        done.files += free.len() as u64;
        done.bytes += sum(&free);
    }
    Ok(done)
}

/// The files of this runner by day, probes before verdicts.
fn own_files(folders: &Folders) -> Result<BTreeMap<Day, Files>, SinkError> {
    let heir = folders.heir();
    let owner = heir.as_ref().unwrap_or(folders).runner.as_str();
    let mut days: BTreeMap<Day, Files> = BTreeMap::new();
    for table in [Table::Probes, Table::Checks] {
        let below = Path::new(table.name());
        for date in names(&folders.results.join(below))? {
            let Some(day) = date.strip_prefix("date=").and_then(Day::of_date) else { continue };
            let place = below.join(&date);
            for name in names(&folders.results.join(&place))? {
                let segment = SegmentName::of_file(&name, table);
                let is_own = segment.is_some_and(|segment| {
                    segment.is_of(owner) && Day::of_date(&segment.date()) == Some(day)
                });
                let path = folders.results.join(&place).join(&name);
                match fs::metadata(&path) {
                    Ok(found) if is_own => days.entry(day).or_default().push((place.join(name), found.len())),
                    Ok(_) => {}
                    Err(error) if is_absent(&error) => {}
                    Err(error) => return Err(SinkError::io("look at", &path)(error)),
                }
            }
        }
    }
    Ok(days)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::{retain as retain_unless, *};
    use crate::sink::parquet::verify::Verification;
    use crate::sink::samples;

    const KEEP: Keep = Keep { age: Duration::from_hours(24 * 5), max_percent: 20 };
    /// 2026-09-01.
    const TODAY: i64 = 20_697;

    fn folders(folder: &Path, runner: &str) -> Folders {
        let folders = Folders::new(&folder.join("results"), runner).unwrap();
        folders.make().unwrap();
        folders
    }

    fn retain(folders: &Folders, keep: Keep) -> Result<Retained, SinkError> {
        retain_unless(folders, keep, &|_| false)
    }

    #[test]
    fn d25_a_clock_that_jumps_by_less_than_is_kept_removes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let folders = folders(folder.path(), "main");
        let keep = Keep { age: Duration::from_hours(24 * 30), max_percent: 20 };
        (0..30).for_each(|days_ago| put(&folders, days_ago));
        put(&folders, -25);
        let done = retain(&folders, keep).unwrap();
        assert_eq!(done.files, 0, "{done:?}");
        assert!(done.refused.is_some());
    }

    #[test]
    fn what_a_bucket_has_not_confirmed_stays() {
        let folder = tempfile::tempdir().unwrap();
        let folders = folders(folder.path(), "main");
        (0..10).for_each(|days_ago| put(&folders, days_ago));
        let is_needed = |place: &Path| place.starts_with("checks");
        let done = retain_unless(&folders, Keep { max_percent: 100, ..KEEP }, &is_needed).unwrap();
        assert_eq!((done.files, done.is_partial), (4, true), "only probes, and it is not done yet");
        let done = retain(&folders, Keep { max_percent: 100, ..KEEP }).unwrap();
        assert_eq!((done.files, done.is_partial), (4, false));
    }

    /// A file of each table on a day, of 100 bytes together, as the converter would note them.
    fn put(folders: &Folders, days_ago: i64) {
        let noon = crate::clock::UnixNanos((TODAY - days_ago) * 86_400_000_000_000 + 43_200_000_000_000);
        let segment = SegmentName::new(noon, &folders.runner, samples::RUN, 1);
        for table in Table::ALL {
            let place = Folders::published(&segment, table);
            let path = folders.results.join(&place);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, [b'x'; 50]).unwrap();
            let place = place.display().to_string();
            let file = super::super::finished::Finished { place, checksum: 0, bytes: 50 };
            super::super::checksums::note_published(folders, &file).unwrap();
        }
    }

    /// The ages of the days that are there, in days.
    fn days(folders: &Folders) -> Vec<i64> {
        let days = own_files(folders).unwrap();
        days.into_iter()
            .map(|(day, files)| (files.len(), TODAY - day.0))
            .inspect(|(files, _)| assert_eq!(*files, 2))
            .map(|(_, age)| age)
            .collect()
    }

    fn missing(folders: &Folders) -> usize {
        let mut missing = 0;
        let verification = Verification::of(&folders.results, None).unwrap();
        verification.run(|file| missing += usize::from(file.finding.name() == "missing")).unwrap();
        missing
    }

    #[test]
    fn d14_a_day_that_has_expired_goes_and_its_readers_read_on() {
        let folder = tempfile::tempdir().unwrap();
        let folders = folders(folder.path(), "main");
        (0..=6).for_each(|age| put(&folders, age));
        let oldest = samples::files_below(&folders.results)[0].clone();
        let mut open = fs::File::open(folders.results.join(&oldest)).unwrap();
        let done = retain(&folders, KEEP).unwrap();
        assert_eq!(done, Retained { files: 2, bytes: 100, ..Retained::default() });
        assert_eq!(days(&folders), [5, 4, 3, 2, 1, 0]);
        assert!(!folders.results.join(oldest).parent().unwrap().exists(), "the empty folder");
        let mut read = Vec::new();
        open.read_to_end(&mut read).unwrap();
        assert_eq!(read, [b'x'; 50]);
        assert_eq!(missing(&folders), 0);
        assert_eq!(retain(&folders, KEEP).unwrap(), Retained::default());
        fs::remove_file(folders.results.join(&samples::files_below(&folders.results)[0])).unwrap();
        assert_eq!(missing(&folders), 1, "but what somebody else removes is missed");
    }

    #[test]
    fn d25_a_clock_that_has_jumped_removes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let folders = folders(folder.path(), "main");
        (0..=5).for_each(|age| put(&folders, age));
        put(&folders, -400);
        let done = retain(&folders, KEEP).unwrap();
        let refused = done.refused.unwrap();
        assert_eq!((done.files, refused.percent), (0, 85));
        assert_eq!(refused.days, ["2026-08-27", "2026-09-01", "2027-10-06", "2027-10-06"]);
        // An hour, or some days, later.
        (0..3).for_each(|day| put(&folders, -401 - day));
        assert!(retain(&folders, KEEP).unwrap().refused.is_some());
        assert_eq!(days(&folders).len(), 10);
        // Whoever wants it all the same says so.
        assert_eq!(retain(&folders, Keep { max_percent: 100, ..KEEP }).unwrap().files, 12);
    }

    #[test]
    fn a_runner_that_was_off_for_long_loses_nothing_at_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let folders = folders(folder.path(), "main");
        (400..=405).for_each(|age| put(&folders, age));
        assert_eq!(retain(&folders, KEEP).unwrap(), Retained::default());
    }

    #[test]
    fn more_than_a_share_goes_in_portions() {
        let folder = tempfile::tempdir().unwrap();
        let folders = folders(folder.path(), "main");
        (0..30).for_each(|age| put(&folders, age));
        let mut left = Vec::new();
        while days(&folders).len() > 6 {
            let before = days(&folders).len();
            let done = retain(&folders, KEEP).unwrap();
            let after = days(&folders).len();
            assert!(after < before && (before - after) * 5 <= before.max(5), "{before} {after}");
            assert_eq!(done.is_partial, after > 6);
            left.push(after);
        }
        assert_eq!(left, [24, 20, 16, 13, 11, 9, 8, 7, 6]);
        assert_eq!(missing(&folders), 0);
    }

    #[test]
    fn every_runner_removes_its_own_and_those_of_its_single_runs() {
        let folder = tempfile::tempdir().unwrap();
        let main = folders(folder.path(), "main");
        let once = folders(folder.path(), &format!("main-once-{}", samples::RUN));
        let other = folders(folder.path(), "main-2");
        for folders in [&main, &once, &other] {
            (0..=6).for_each(|age| put(folders, age));
        }
        assert_eq!(retain(&once, KEEP).unwrap().files, 4);
        assert_eq!(days(&other).len(), 7);
        assert_eq!(retain(&main, KEEP).unwrap().files, 0);
        assert_eq!(missing(&main), 0);
    }

    #[test]
    fn what_is_not_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        let folders = folders(folder.path(), "main");
        (0..=6).for_each(|age| put(&folders, age));
        let own = samples::files_below(&folders.results)[0].clone();
        let foreign = folders.results.join(own.parent().unwrap()).join("checks-mine.parquet");
        fs::write(&foreign, "mine").unwrap();
        assert_eq!(retain(&folders, KEEP).unwrap().files, 2);
        assert!(foreign.exists());
    }
}
