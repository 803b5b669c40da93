//! Whether finished files are still what was written: their length and checksum, and every page of theirs.
//!
//! The checksum is the proof. Parquet's own page checksums are not written by parquet-rs, and a reader that counts rows
//! reads no page at all: a flipped byte passes it. The pages are read all the same, since a checksum says nothing of a
//! file that no list has, as one that was copied here from another machine.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::Hasher as _;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use twox_hash::xxhash3_64::{RawHasher, SecretBuffer};

use super::folders::Folders;
use super::schema::Table;
use crate::sink::SinkError;

/// What is read at once.
const PIECE: usize = 1 << 20;

/// What a list of checksums says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listed {
    checksum: u64,
    bytes: u64,
}

/// A file and what was found of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The path below the results folder.
    pub place: PathBuf,
    /// Its length now; 0 where it is gone.
    pub bytes: u64,
    /// Its rows, where they could be read.
    pub rows: Option<u64>,
    /// What is wrong with it, or to be known of it.
    pub finding: Finding,
}

/// What was found of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It is as it was written, and can be read to its end.
    Whole,
    /// It can be read to its end, and no list has it: whether it is as it was written cannot be told.
    Unlisted,
    /// A list has it, and it is not there.
    Missing,
    /// It is not as it was written.
    Changed {
        /// In what way.
        how: String,
    },
    /// It cannot be read to its end.
    Unreadable {
        /// Why.
        reason: String,
    },
    /// It is no finished file of ours: readers of the folder fail at it, or take it for one.
    Foreign,
}

impl Finding {
    /// Its name in output for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Unlisted => "unlisted",
            Self::Missing => "missing",
            Self::Changed { .. } => "changed",
            Self::Unreadable { .. } => "unreadable",
            Self::Foreign => "foreign",
        }
    }

    /// Whether something is lost or in the way.
    pub fn is_damage(&self) -> bool {
        !matches!(self, Self::Whole | Self::Unlisted)
    }
}

/// Looks at every file below a results folder, in the order of their paths, and at the lists of checksums of all runners
/// beside it. Reads only, and takes no lock: what a runner publishes meanwhile is looked at or not.
pub fn verify(results: &Path, mut tell: impl FnMut(Verified)) -> Result<(), SinkError> {
    // Files first: a file is listed before it is visible, so that each of these has its line by now.
    let mut files = BTreeMap::new();
    collect(results, Path::new(""), &mut files).map_err(SinkError::io("look through", results))?;
    let mut lists = lists(results)?;
    for (place, bytes) in files {
        let path = results.join(&place);
        let listed = lists.remove(&place);
        if !is_finished(&place) {
            tell(Verified { place, bytes, rows: None, finding: Finding::Foreign });
            continue;
        }
        let (rows, finding) = match look(&path, bytes, listed) {
            Ok(found) => found,
            // A compaction or a person may have taken it away meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => (None, Finding::Unreadable { reason: error.to_string() }),
        };
        tell(Verified { place, bytes, rows, finding });
    }
    for (place, _) in lists {
        if !results.join(&place).exists() {
            tell(Verified { place, bytes: 0, rows: None, finding: Finding::Missing });
        }
    }
    Ok(())
}

fn look(path: &Path, bytes: u64, listed: Option<Listed>) -> io::Result<(Option<u64>, Finding)> {
    if let Some(Listed { checksum, bytes: were }) = listed {
        if bytes != were {
            let how = format!("it has {bytes} bytes, and was published with {were}");
            return Ok((None, Finding::Changed { how }));
        }
        let found = checksum_of(path)?;
        if found != checksum {
            let how = format!("its checksum is {found:016x}, and was {checksum:016x}");
            return Ok((None, Finding::Changed { how }));
        }
    }
    Ok(match rows_of(path) {
        Ok(rows) if listed.is_some() => (Some(rows), Finding::Whole),
        Ok(rows) => (Some(rows), Finding::Unlisted),
        Err(reason) => (None, Finding::Unreadable { reason }),
    })
}

/// XXH3-64 of a whole file.
fn checksum_of(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut hasher = RawHasher::new(SecretBuffer::default());
    let mut piece = vec![0; PIECE];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.write(&piece[..read]);
    }
}

/// Reads every page of every column.
fn rows_of(path: &Path) -> Result<u64, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| error.to_string())?;
    let announced = reader.metadata().file_metadata().num_rows();
    let mut rows = 0;
    for batch in reader.build().map_err(|error| error.to_string())? {
        rows += batch.map_err(|error| error.to_string())?.num_rows() as u64;
    }
    if i64::try_from(rows) == Ok(announced) {
        Ok(rows)
    } else {
        Err(format!("it has {rows} rows, and says that it has {announced}"))
    }
}

/// Every file below `folder`, with its length.
fn collect(results: &Path, below: &Path, files: &mut BTreeMap<PathBuf, u64>) -> io::Result<()> {
    for entry in fs::read_dir(results.join(below))? {
        let entry = entry?;
        let place = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(results, &place, files)?;
        } else {
            files.insert(place, entry.metadata()?.len());
        }
    }
    Ok(())
}

/// Whether a path is one of a finished file: `<table>/date=<day>/<name>.parquet`.
fn is_finished(place: &Path) -> bool {
    let parts: Vec<_> = place.iter().filter_map(|part| part.to_str()).collect();
    let [table, day, file] = parts[..] else { return false };
    Table::ALL.iter().any(|known| known.name() == table && file.starts_with(&format!("{table}-")))
        && day.starts_with("date=")
        && Path::new(file).extension().is_some_and(|extension| extension == "parquet")
}

/// The lists of all runners that have one; the last line of a path counts.
fn lists(results: &Path) -> Result<BTreeMap<PathBuf, Listed>, SinkError> {
    let mut all = BTreeMap::new();
    let any = Folders::new(results, "main")?;
    let entries = match fs::read_dir(&any.root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(all),
        entries => entries.map_err(SinkError::io("look through", &any.root))?,
    };
    for entry in entries {
        let name = entry.map_err(SinkError::io("look through", &any.root))?.file_name();
        let Some(Ok(folders)) = name.to_str().map(|runner| Folders::new(results, runner)) else { continue };
        let path = folders.checksums();
        let text = match fs::read_to_string(&path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            text => text.map_err(SinkError::io("read", &path))?,
        };
        all.extend(text.lines().filter_map(line));
    }
    Ok(all)
}

/// A line of a list; none if a crash has torn it.
fn line(text: &str) -> Option<(PathBuf, Listed)> {
    let (checksum, rest) = text.split_once(' ')?;
    let (bytes, place) = rest.trim_start().split_once(' ')?;
    let whole = checksum.len() == 16 && is_finished(Path::new(place));
    let listed = Listed { checksum: u64::from_str_radix(checksum, 16).ok()?, bytes: bytes.parse().ok()? };
    whole.then(|| (PathBuf::from(place), listed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_list_are_read_and_torn_ones_passed_over() {
        let place = "probes/date=2026-09-01/probes-20260901T05Z-main-x-000001.parquet";
        let read = line(&format!("00000000000000ff {:>12} {place}", 1_234)).unwrap();
        assert_eq!(read, (PathBuf::from(place), Listed { checksum: 255, bytes: 1_234 }));
        for torn in ["", "00000000000000ff", "00000000000000ff 12", "ff 12 probes/x", "00000000000000ff 12 probes/date=2026"]
        {
            assert_eq!(line(torn), None, "{torn}");
        }
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
