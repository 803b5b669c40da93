//! The lists of checksums: what each finished file was when it was published, and which ones were removed since.
//!
//! ```text
//! 9f86d081884c7d65      1234567 probes/date=2026-09-01/probes-20260901T05Z-main-<run_id>-000042.parquet
//! ----------------      1234567 probes/date=2026-09-01/probes-20260901T05Z-main-<run_id>-000042.parquet
//! ```
//!
//! A line is XXH3-64 of the whole file, its bytes and its path below the results folder. A line with dashes instead of a
//! checksum says that the file was removed, by retention or once a bucket had it: it is not missed. Lists are only ever appended to, a line before
//! what it speaks of happens: a file that is visible has its line, and one that was removed on purpose has two. Each
//! runner has a list of its own, beside its journals; whoever wants to know about a folder reads them all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::finished::Finished;
use super::folders::Folders;
use super::publish::append_line;
use super::schema::Table;
use crate::sink::SinkError;

/// Stands where the checksum of a file that was removed would.
const REMOVED: &str = "----------------";

/// What a file was when it was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listed {
    /// XXH3-64 of the whole file.
    pub(crate) checksum: u64,
    /// Its length.
    pub(crate) bytes: u64,
}

/// What all lists of a results folder say, by the path below it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lists {
    /// Every file that was published; the last line of a path counts.
    pub(crate) published: BTreeMap<PathBuf, Listed>,
    /// Those that were removed on purpose, or were about to be.
    pub(crate) removed: BTreeSet<PathBuf>,
}

impl Lists {
    /// Reads the lists of these runners, those that are there.
    pub(crate) fn read(runners: &[Folders]) -> Result<Self, SinkError> {
        let mut lists = Self::default();
        for folders in runners {
            let path = folders.checksums();
            match fs::read(&path) {
                Ok(bytes) => {
                    let mut one = Self::default();
                    one.add(&String::from_utf8_lossy(&bytes));
                    lists.published.append(&mut one.published);
                    // Also where another runner's list has the file: whoever removes one notes it in a list of its own.
                    lists.removed.append(&mut one.removed);
                }
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(SinkError::io("read", &path)(error)),
            }
        }
        Ok(lists)
    }

    fn add(&mut self, text: &str) {
        for (place, listed) in text.lines().filter_map(line) {
            match listed {
                Some(listed) => {
                    // A folder of old days may be made anew under the same names.
                    self.removed.remove(&place);
                    self.published.insert(place, listed);
                }
                None => {
                    self.removed.insert(place);
                }
            }
        }
    }
}

/// Notes a file that is about to become visible.
pub(crate) fn note_published(folders: &Folders, file: &Finished) -> Result<(), SinkError> {
    append(folders, &format!("{}\n", file.line()))
}

/// Notes files that are about to be removed: places below the results folder, and their bytes.
pub(crate) fn note_removed(folders: &Folders, files: &[(PathBuf, u64)]) -> Result<(), SinkError> {
    let mut lines = String::new();
    for (place, bytes) in files {
        let _ = writeln!(lines, "{REMOVED} {bytes:>12} {}", place.display());
    }
    append(folders, &lines)
}

fn append(folders: &Folders, lines: &str) -> Result<(), SinkError> {
    let path = folders.checksums();
    append_line(&path, lines).map_err(SinkError::io("append to", &path))
}

/// A line of a list, without checksum where the file was removed; none if a crash has torn it.
fn line(text: &str) -> Option<(PathBuf, Option<Listed>)> {
    if let Some(rest) = text.strip_prefix(REMOVED) {
        let (_bytes, place) = rest.trim_start().split_once(' ')?;
        return is_finished(Path::new(place)).then(|| (PathBuf::from(place), None));
    }
    let (Finished { place, checksum, bytes }, _) = Finished::of_line(text)?;
    is_finished(Path::new(&place)).then(|| (PathBuf::from(place), Some(Listed { checksum, bytes })))
}

/// Whether a path below the results folder is one of a finished file: `<table>/date=<day>/<table>-….parquet`.
pub(crate) fn is_finished(place: &Path) -> bool {
    let parts: Vec<_> = place.iter().filter_map(|part| part.to_str()).collect();
    let [table, day, file] = parts[..] else { return false };
    let known = |known: &Table| known.name() == table && file.starts_with(&format!("{table}-"));
    Table::ALL.iter().any(known)
        && day.starts_with("date=")
        && Path::new(file).extension().is_some_and(|extension| extension == "parquet")
}

/// Whether there is no such file: something on the way to it may be another kind of thing.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: &str = "probes/date=2026-09-01/probes-20260901T05Z-main-x-000001.parquet";

    #[test]
    fn lines_are_read_and_torn_ones_passed_over() {
        let listed = Listed { checksum: 255, bytes: 1_234 };
        let published = format!("00000000000000ff {:>12} {PLACE}", 1_234);
        assert_eq!(line(&published), Some((PathBuf::from(PLACE), Some(listed))));
        assert_eq!(line(&format!("{REMOVED} 1234 {PLACE}")), Some((PathBuf::from(PLACE), None)));
        for torn in [
            "",
            "00000000000000ff",
            "00000000000000ff 12",
            "ff 12 probes/x",
            "00000000000000ff 12 probes/date=2026",
            "---- 12 probes/date=2026-09-01/probes-x.parquet",
        ] {
            assert_eq!(line(torn), None, "{torn}");
        }
    }

    #[test]
    fn what_was_removed_and_came_again_is_there() {
        let published = format!("00000000000000ff 1 {PLACE}\n");
        let removed = format!("{REMOVED} 1 {PLACE}\n");
        let mut lists = Lists::default();
        lists.add(&format!("{published}{removed}"));
        assert!(lists.removed.contains(Path::new(PLACE)));
        assert_eq!(lists.published[Path::new(PLACE)].checksum, 255, "it may still be there");
        lists.add(&published);
        assert!(lists.removed.is_empty());
    }

    #[test]
    fn only_finished_files_belong_below_the_results() {
        for (place, is) in [
            ("probes/date=2026-09-01/probes-x.parquet", true),
            ("checks/date=2026-09-01/checks-x.parquet", true),
            ("checks/date=2026-09-01/probes-x.parquet", false),
            ("probes/date=2026-09-01/probes-x.parquet.tmp", false),
            ("probes/date=2026-09-01/.probes-x.parquet", false),
            ("probes/probes-x.parquet", false),
            ("other/date=2026-09-01/other-x.parquet", false),
            ("notes.txt", false),
        ] {
            assert_eq!(is_finished(Path::new(place)), is, "{place}");
        }
    }
}
