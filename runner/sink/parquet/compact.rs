//! Compaction: the many files of a day that is over become one, in another folder. Readers of the results see nothing of
//! it: no file of theirs is touched, and theirs is the choice when to read the archive instead.
//!
//! A day is over when it has ended before the moment that was asked for and no journal has results of it. Its files are
//! merged (`merge`) into one of the same schema, order and encodings; each 32 of them into one of their
//! own, since each costs memory while it is read. A file is written beside the archive and synced, its rows are counted
//! and their keys summed against what went in, and only then it is renamed into place, with a line in the archive's own
//! list of checksums.
//!
//! Names derive from the day: what is there is not made again, after a kill as after a run that ended. If a day has come
//! to have other rows since, it is told and left as it is: nothing that a reader may have open is replaced.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::checksums::{is_absent, is_finished};
use super::encode::writer;
use super::folders::{COMPACTOR, Folders, names};
use super::lock::{Lock, Locking};
use super::merge::{Keys, MergeError, merge};
use super::publish::{Staging, sweep};
use super::schema::Table;
use super::segment::{Day, SegmentName};
use crate::clock::UnixNanos;
use crate::sink::SinkError;

/// Files that are merged into one.
const MERGED_AT_ONCE: usize = 32;
/// The run of every file: what is compacted comes of many.
const NO_RUN: &str = "00000000-0000-8000-8000-000000000000";

/// An archive that days are compacted into, locked as long as this lives.
#[derive(Debug)]
pub struct Compaction {
    from: PathBuf,
    to: Folders,
    _lock: Lock,
}

/// Finished files by day and table, with their bytes.
type Days = BTreeMap<Day, BTreeMap<&'static str, Vec<(PathBuf, u64)>>>;

/// What became of one table of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compacted {
    /// The day, as in the names of folders.
    pub day: String,
    /// The table.
    pub table: Table,
    /// Files of the results folder.
    pub files_in: usize,
    /// Their bytes.
    pub bytes_in: u64,
    /// What became of them.
    pub what: What,
}

/// What became of one table of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It is in the archive now.
    Done {
        /// Files of the archive.
        files: usize,
        /// Their bytes.
        bytes: u64,
        /// Their rows.
        rows: u64,
    },
    /// It was there already, with as many rows.
    There {
        /// Its rows.
        rows: u64,
    },
    /// It is there, and has more than the results, whose files were removed since: it may be the only copy.
    Fewer {
        /// The rows of the archive's file.
        rows: u64,
        /// The rows that the results still have of it.
        left: u64,
    },
    /// Journals have results of the day: a runner that starts makes files of them.
    Waiting {
        /// How many.
        journals: usize,
    },
    /// It cannot be made, or what is there is not what it should be.
    Wrong {
        /// Why.
        reason: String,
    },
}

impl What {
    /// Its name in output for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Done { .. } => "compacted",
            Self::There { .. } | Self::Fewer { .. } => "there",
            Self::Waiting { .. } => "waiting",
            Self::Wrong { .. } => "wrong",
        }
    }
}

impl Compaction {
    /// Makes and locks an archive for a results folder.
    pub fn open(from: &Path, to: &Path) -> Result<Self, SinkError> {
        let folders = Folders::new(to, COMPACTOR)?;
        let other = Folders::every(to)?.into_iter().find(|other| other.runner != COMPACTOR);
        if let Some(other) = other {
            return Err(SinkError::ArchiveInUse { path: to.to_owned(), runner: other.runner });
        }
        fs::metadata(from).map_err(SinkError::io("look at", from))?;
        // Before anything is made: a folder of ours in the results would stay there.
        let (source, archive) = (real(from), real(to));
        if source.starts_with(&archive) || archive.starts_with(&source) {
            return Err(SinkError::ArchiveInResults { archive: to.to_owned(), results: from.to_owned() });
        }
        folders.make()?;
        match Lock::take(&folders.state())? {
            Locking::Held(lock) => {
                sweep(&folders)?;
                Ok(Self { from: from.to_owned(), to: folders, _lock: lock })
            }
            Locking::Taken { path, pid } => {
                Err(SinkError::Locked { runner: COMPACTOR.to_owned(), lock: path, pid })
            }
        }
    }

    /// Compacts every day that had ended at `before`, oldest first, and tells what became of each. The day of `now` is
    /// never over.
    pub fn run(
        &self,
        before: UnixNanos,
        now: UnixNanos,
        mut tell: impl FnMut(Compacted),
    ) -> Result<(), SinkError> {
        // Looked for before and after the files: a journal that becomes one meanwhile, or goes from one runner to
        // another, is seen at least once.
        let mut waiting = self.waiting()?;
        let days = self.days()?;
        waiting.extend(self.waiting()?);
        let end = Day::of(before).min(Day::of(now));
        for (day, tables) in days.range(..end) {
            for table in Table::ALL {
                let Some(files) = tables.get(table.name()) else { continue };
                let bytes_in = files.iter().map(|(_, bytes)| bytes).sum();
                let what = match waiting.get(day) {
                    Some(journals) => What::Waiting { journals: *journals },
                    None => self
                        .day(*day, table, files)
                        .unwrap_or_else(|error| What::Wrong { reason: error.to_string() }),
                };
                tell(Compacted { day: day.to_string(), table, files_in: files.len(), bytes_in, what });
            }
        }
        Ok(())
    }

    /// The finished files by day and table.
    fn days(&self) -> Result<Days, SinkError> {
        let mut days = Days::new();
        for table in Table::ALL {
            let below = Path::new(table.name());
            for date in names(&self.from.join(below))? {
                let Some(day) = date.strip_prefix("date=").and_then(Day::of_date) else { continue };
                for name in names(&self.from.join(below).join(&date))? {
                    let place = below.join(&date).join(name);
                    let path = self.from.join(&place);
                    if !is_finished(&place) {
                        continue;
                    }
                    let bytes = match fs::metadata(&path) {
                        Ok(metadata) => metadata.len(),
                        // Gone meanwhile: its day is told as one that cannot be read, and the others go on.
                        Err(error) if is_absent(&error) => 0,
                        Err(error) => return Err(SinkError::io("look at", &path)(error)),
                    };
                    days.entry(day).or_default().entry(table.name()).or_default().push((path, bytes));
                }
            }
        }
        Ok(days)
    }

    /// How many journals there are of each day, of all runners.
    fn waiting(&self) -> Result<BTreeMap<Day, usize>, SinkError> {
        let mut waiting = BTreeMap::new();
        for runner in Folders::every(&self.from)? {
            for name in names(&runner.journal())? {
                let day = SegmentName::of_journal(&name).and_then(|segment| Day::of_date(&segment.date()));
                if let Some(day) = day {
                    *waiting.entry(day).or_default() += 1;
                }
            }
        }
        Ok(waiting)
    }

    fn day(&self, day: Day, table: Table, files: &[(PathBuf, u64)]) -> Result<What, CompactError> {
        let (mut made, mut bytes, mut rows, mut there) = (0, 0, 0, 0);
        let wanted: Vec<_> = files.chunks(MERGED_AT_ONCE).collect();
        let name = |part: usize| SegmentName::new(day.begin(), COMPACTOR, NO_RUN, part as u32 + 1);
        let (mut own, mut absent) = (Vec::new(), Vec::new());
        for (part, files) in wanted.iter().enumerate() {
            let files: Vec<_> = files.iter().map(|(path, _)| path.clone()).collect();
            let place = Folders::published(&name(part), table);
            let path = self.to.results.join(&place);
            own.push(name(part).file(table));
            if !path.exists() {
                absent.push((part, files, place));
                continue;
            }
            // By their keys: at a constant rate, all files have equally many rows.
            let has = Keys::of_file(&path)?;
            let mut should = Keys::default();
            for file in &files {
                should = should.and(Keys::of_file(file)?);
            }
            if has.rows > should.rows {
                // Files of the day were removed from the results since: this may be the only copy of their rows.
                return Ok(What::Fewer { rows: has.rows, left: should.rows });
            }
            if has != should {
                return Err(CompactError::OtherRows { path, has: has.rows, should: should.rows });
            }
            there += has.rows;
        }
        // Only now: where a part that is there is of other files, none is made of what it may have already.
        for (part, files, place) in absent {
            let made_of = self.part(&name(part), table, &files, &place)?;
            made += 1;
            rows += made_of.0;
            bytes += made_of.1;
        }
        let folder = self.to.results.join(table.name()).join(format!("date={day}"));
        if let Some(foreign) = names(&folder)?.into_iter().find(|name| !own.contains(name)) {
            return Err(CompactError::Foreign { path: folder.join(foreign) });
        }
        Ok(if made == 0 { What::There { rows: there } } else { What::Done { files: made, bytes, rows } })
    }

    /// Makes one file. Returns its rows and bytes.
    fn part(
        &self,
        segment: &SegmentName,
        table: Table,
        files: &[PathBuf],
        place: &Path,
    ) -> Result<(u64, u64), CompactError> {
        let mut staging = Staging::begin(&self.to, &segment.file(table))?;
        let path = staging.path().to_owned();
        let made = (|| {
            let mut out = writer(table, segment, &mut staging).map_err(MergeError::from)?;
            let keys = merge(table, files, &mut out)?;
            out.close().map_err(MergeError::from)?;
            let staged = staging.finish()?;
            let found = Keys::of_file(&path)?;
            if found != keys {
                return Err(CompactError::OtherRows {
                    path: path.clone(),
                    has: found.rows,
                    should: keys.rows,
                });
            }
            staged.record(&self.to, place)?;
            let bytes = staged.bytes;
            staged.publish(&self.to, place)?;
            Ok((keys.rows, bytes))
        })();
        if made.is_err() {
            // The error matters more than whether this works; the next start sweeps.
            let _ = fs::remove_file(&path);
        }
        made
    }
}

/// Where a path leads, as far as it is there already.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let known = path.ancestors().find_map(|above| Some((fs::canonicalize(above).ok()?, above)));
    let whole = known.and_then(|(real, above)| Some(real.join(path.strip_prefix(above).ok()?)));
    whole.unwrap_or(path)
}

/// Why a table of a day could not be compacted.
#[derive(Debug, thiserror::Error)]
enum CompactError {
    /// What is there is not what should be there.
    #[error("\"{}\" has {has} rows, and the results have {should}: it is left as it is, since it may have rows that the results have no more", .path.display())]
    OtherRows {
        /// The file of the archive.
        path: PathBuf,
        /// Its rows.
        has: u64,
        /// The rows of the files that it should be made of.
        should: u64,
    },
    /// Something else is in the archive's folder of the day.
    #[error("\"{}\" is not of this compaction: an archive is for one results folder alone", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Files could not be merged.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// A file could not be written.
    #[error("{}{}", .0, cause(.0))]
    Sink(#[from] SinkError),
}

fn cause(error: &SinkError) -> String {
    std::error::Error::source(error).map_or_else(String::new, |source| format!(": {source}"))
}

#[cfg(test)]
mod tests;
