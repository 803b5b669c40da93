//! A finished file as the lists in the state folder know it: `checksums` has a line for each, and so has
//! `uploaded` once a bucket has it.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Component, Path, PathBuf};

use super::checksums::{is_absent, note_removed};
use super::folders::Folders;
use crate::sink::SinkError;

/// A finished file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finished {
    /// The path below the results folder, with `/` between its parts.
    pub(crate) place: String,
    /// XXH3-64 of the whole file.
    pub(crate) checksum: u64,
    /// Its length.
    pub(crate) bytes: u64,
}

impl Finished {
    /// Its line, without the line's end.
    pub(crate) fn line(&self) -> String {
        format!("{:016x} {:>12} {}", self.checksum, self.bytes, self.place)
    }

    /// Reads a line; what stands behind the path comes with it. None for a line that a crash has torn.
    pub(crate) fn of_line(line: &str) -> Option<(Self, &str)> {
        let (checksum, rest) = line.split_once(' ')?;
        let (bytes, rest) = rest.trim_start().split_once(' ')?;
        let (place, more) = rest.split_once(' ').unwrap_or((rest, ""));
        let checksum = u64::from_str_radix(checksum, 16).ok().filter(|_| checksum.len() == 16)?;
        let is_below = Path::new(place).components().all(|part| matches!(part, Component::Normal(_)));
        let whole = is_below && place.ends_with(".parquet");
        whole.then_some((Self { place: place.to_owned(), checksum, bytes: bytes.parse().ok()? }, more))
    }
}

/// The files of a list whose lines end in `more`, in the order of the list; of several lines of one path the
/// last one counts. None if there is no list.
pub(crate) fn read_list(path: &Path, more: &str) -> io::Result<Vec<Finished>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let mut list: Vec<Finished> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for line in BufReader::new(file).split(b'\n') {
        let line = line?;
        let read = str::from_utf8(&line).ok().and_then(Finished::of_line);
        let Some((finished, _)) = read.filter(|(_, found)| *found == more) else { continue };
        match places.get(&finished.place) {
            Some(at) => list[*at] = finished,
            None => {
                places.insert(finished.place.clone(), list.len());
                list.push(finished);
            }
        }
    }
    Ok(list)
}

/// Removes finished files, by their path below the results folder and their bytes, in this order, and the folders of
/// days that are empty then. Before, it is noted that they go.
pub(crate) fn remove_finished(folders: &Folders, files: &[(PathBuf, u64)]) -> Result<(), SinkError> {
    note_removed(folders, files)?;
    for (place, _) in files {
        let path = folders.results.join(place);
        match fs::remove_file(&path) {
            // A run beside this one removes the same.
            Err(error) if is_absent(&error) => {}
            removed => removed.map_err(SinkError::io("remove", &path))?,
        }
    }
    let days: BTreeSet<&Path> = files.iter().filter_map(|(place, _)| day_of(place)).collect();
    for day in days {
        let folder = folders.results.join(day);
        match fs::remove_dir(&folder) {
            // There are other files, or another one has removed it.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty || is_absent(&error) => {}
            removed => removed.map_err(SinkError::io("remove", &folder))?,
        }
    }
    Ok(())
}

/// The folder of a file's day.
fn day_of(place: &Path) -> Option<&Path> {
    let folder = place.parent()?;
    folder.file_name()?.to_str()?.starts_with("date=").then_some(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(place: &str, checksum: u64) -> Finished {
        Finished { place: place.to_owned(), checksum, bytes: 42 }
    }

    #[test]
    fn the_last_line_of_a_path_counts_and_torn_lines_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checksums");
        assert_eq!(read_list(&path, "").unwrap(), []);
        let (first, second) = (finished("probes/a.parquet", 1), finished("checks/a.parquet", 2));
        let torn = &second.line()[..20];
        let text = [&first.line(), torn, &second.line(), &finished("probes/a.parquet", 3).line(), torn];
        std::fs::write(&path, text.map(|line| format!("{line}\n")).concat() + &second.line()[..30]).unwrap();
        assert_eq!(read_list(&path, "").unwrap(), [finished("probes/a.parquet", 3), second]);
    }

    #[test]
    fn a_list_for_several_buckets_is_read_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("uploaded");
        let file = finished("probes/a.parquet", 1);
        std::fs::write(&path, format!("{} s3://one\n{} s3://two\n", file.line(), file.line())).unwrap();
        assert_eq!(read_list(&path, "s3://two").unwrap(), std::slice::from_ref(&file));
        assert_eq!(read_list(&path, "s3://three").unwrap(), []);
    }

    #[test]
    fn a_line_never_leads_out_of_the_folder() {
        for place in ["../a.parquet", "/etc/a.parquet", "probes/../../a.parquet", "lock"] {
            assert_eq!(Finished::of_line(&finished(place, 1).line()), None, "{place}");
        }
    }
}
