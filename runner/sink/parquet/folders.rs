//! Where the files of one Parquet sink lie.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::checksums::is_absent;
use super::schema::Table;
use super::segment::{SegmentName, bears_name};
use crate::sink::SinkError;

/// Folders are for the owner and its group: rows hold URLs.
const FOLDER_MODE: u32 = 0o750;

/// The name under which days are compacted: an archive's state is that of a runner of this name.
pub(crate) const COMPACTOR: &str = "compact";

/// Where the files of one Parquet sink and one runner lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// Finished files, and nothing else.
    pub results: PathBuf,
    /// `state` beside the results folder.
    pub root: PathBuf,
    /// The runner's name.
    pub runner: String,
    /// The folder below `root/<runner>`; empty for a results folder named `results`.
    below: PathBuf,
}

impl Folders {
    /// The folders of a results folder, for a runner. Nothing is made.
    pub fn new(results: &Path, runner: &str) -> Result<Self, SinkError> {
        if !valid_runner(runner) {
            return Err(SinkError::RunnerName { runner: runner.to_owned() });
        }
        let refused = || SinkError::ResultsPath { path: results.to_owned() };
        let name = results.file_name().filter(|name| *name != "state").ok_or_else(refused)?;
        let below = if name == "results" { PathBuf::new() } else { Path::new("sinks").join(name) };
        let root = results.parent().unwrap_or(Path::new("")).join("state");
        Ok(Self { results: results.to_owned(), root, runner: runner.to_owned(), below })
    }

    /// The same results folder for another runner of the same state root.
    pub(crate) fn of_runner(&self, runner: &str) -> Self {
        Self { runner: runner.to_owned(), ..self.clone() }
    }

    /// The runner's own folder.
    pub fn state(&self) -> PathBuf {
        // Joining an empty path would add a slash at the end.
        let state = self.root.join(&self.runner);
        if self.below.as_os_str().is_empty() { state } else { state.join(&self.below) }
    }

    /// Journals not converted yet.
    pub fn journal(&self) -> PathBuf {
        self.state().join("journal")
    }

    /// Files on their way.
    pub fn tmp(&self) -> PathBuf {
        self.state().join("tmp")
    }

    /// Journals that could not be read, or not wholly.
    pub fn quarantine(&self) -> PathBuf {
        self.state().join("quarantine")
    }

    /// A line a finished file: XXH3-64, bytes, path below the results folder. The last line of a path
    /// counts.
    pub fn checksums(&self) -> PathBuf {
        self.state().join("checksums")
    }

    /// A line a file that a bucket has: as in [`checksums`](Self::checksums), and the bucket's address.
    pub fn uploaded(&self) -> PathBuf {
        self.state().join("uploaded")
    }

    /// A segment's journal.
    pub fn journal_of(&self, segment: &SegmentName) -> PathBuf {
        self.journal().join(segment.journal())
    }

    /// A segment's finished file, below the results folder.
    pub fn published(segment: &SegmentName, table: Table) -> PathBuf {
        Path::new(table.name()).join(format!("date={}", segment.date())).join(segment.file(table))
    }

    /// Makes the folders that are not there, and refuses a state folder on another file system.
    pub(crate) fn make(&self) -> Result<(), SinkError> {
        for folder in [self.results.clone(), self.journal(), self.tmp(), self.quarantine()] {
            make_folder(&folder).map_err(SinkError::io("create", &folder))?;
            // Also where they were there: whoever made them may have died before their names were on the disk.
            for own in folder.ancestors().take_while(|above| self.is_own(above)) {
                sync_above(own).map_err(SinkError::io("sync the name of", own))?;
            }
        }
        let device =
            |path: &Path| fs::metadata(path).map(|found| found.dev()).map_err(SinkError::io("look at", path));
        let state = self.state();
        if device(&self.results)? != device(&state)? {
            return Err(SinkError::OtherFileSystem { results: self.results.clone(), state });
        }
        Ok(())
    }

    /// Whether a folder is one that this program makes: the results folder, or one in the state folder.
    fn is_own(&self, folder: &Path) -> bool {
        folder == self.results || folder.starts_with(&self.root)
    }

    /// For a run that ends by itself (`<runner>-once-<run_id>`): the folders of the runner whose name it
    /// bears.
    pub(crate) fn heir(&self) -> Option<Self> {
        let (runner, run_id) = self.runner.rsplit_once("-once-")?;
        SegmentName::valid_run_id(run_id).then(|| self.of_runner(runner))
    }

    /// Every runner that has, or had, its state for this results folder.
    pub(crate) fn every(results: &Path) -> Result<Vec<Self>, SinkError> {
        let any = Self::new(results, "any")?;
        let runners = names(&any.root)?.into_iter().filter(|name| valid_runner(name));
        let found = runners.map(|runner| any.of_runner(&runner));
        Ok(found.filter(|runner| runner.journal().is_dir() || runner.checksums().exists()).collect())
    }

    /// Whether this is the state of a runner, or of a run of its that ends by itself.
    pub(crate) fn is_of(&self, runner: &str) -> bool {
        bears_name(&self.runner, runner)
    }

    /// The results folders of a data folder: `results`, and those that a runner's state there knows of. Archives are
    /// none: they have the same results once more.
    pub fn results_in(data: &Path) -> io::Result<Vec<PathBuf>> {
        let root = data.join("state");
        let mut names = BTreeSet::new();
        let runners = match fs::read_dir(&root) {
            Err(error) if is_absent(&error) => Vec::new(),
            entries => entries?.collect::<io::Result<Vec<_>>>()?,
        };
        for runner in runners {
            let state = runner.path();
            if runner.file_name() == COMPACTOR {
                continue;
            }
            if state.join("journal").is_dir() || state.join("checksums").exists() {
                names.insert(OsString::from("results"));
            }
            match fs::read_dir(state.join("sinks")) {
                Err(error) if is_absent(&error) => {}
                sinks => {
                    for sink in sinks? {
                        names.insert(sink?.file_name());
                    }
                }
            }
        }
        if data.join("results").is_dir() {
            names.insert(OsString::from("results"));
        }
        Ok(names.into_iter().map(|name| data.join(name)).collect())
    }

    /// Other runners that left something under the same state root for the same results folder.
    pub(crate) fn other_runners(&self) -> io::Result<Vec<Self>> {
        let names = self.runner_names()?.into_iter().filter(|name| *name != self.runner);
        let others = names.map(|name| self.of_runner(&name));
        // A loss of power may leave either one.
        Ok(others.filter(|other| other.journal().is_dir() || other.tmp().is_dir()).collect())
    }

    /// The names of all runners under the same state root, in no order.
    pub(crate) fn runner_names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            names.extend(entry?.file_name().into_string().ok().filter(|name| valid_runner(name)));
        }
        Ok(names)
    }
}

/// Makes a folder and those above it, readable by owner and group, and forces to the disk that they are
/// there: whatever is synced in a folder is lost with the folder's own name.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = folder
        .ancestors()
        .take_while(|above| !above.as_os_str().is_empty() && fs::symlink_metadata(above).is_err())
        .collect();
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    for made in missing.into_iter().rev() {
        sync_above(made)?;
    }
    Ok(())
}

/// Forces a folder's own name to the disk. A folder that may be written but not read cannot be synced, and is
/// none of ours.
fn sync_above(folder: &Path) -> io::Result<()> {
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(above).and_then(|opened| opened.sync_all()) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

/// What stands in a folder, sorted; nothing where it is not there.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, SinkError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>),
    };
    let entries = entries.map_err(SinkError::io("list", folder))?;
    let mut names: Vec<_> =
        entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    Ok(names)
}

/// Whether a name can stand in a file name, and is no path.
fn valid_runner(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    (1..=128).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_stands_beside_the_results() {
        let folders = Folders::new(Path::new("/data/results"), "main").unwrap();
        assert_eq!(folders.journal(), Path::new("/data/state/main/journal"));
        let folders = Folders::new(Path::new("/data/shop"), "main").unwrap();
        assert_eq!(folders.journal(), Path::new("/data/state/main/sinks/shop/journal"));
        let folders = Folders::new(Path::new("results"), "main").unwrap();
        assert_eq!(folders.state(), Path::new("state/main"));
    }

    #[test]
    fn names_that_are_no_names_are_refused() {
        for runner in ["", ".", "..", ".hidden", "a/b", "Main", "a b", &"x".repeat(129)] {
            assert!(
                matches!(Folders::new(Path::new("results"), runner), Err(SinkError::RunnerName { .. })),
                "{runner}"
            );
        }
        for results in ["/", "..", "state", "/data/state"] {
            assert!(
                matches!(Folders::new(Path::new(results), "main"), Err(SinkError::ResultsPath { .. })),
                "{results}"
            );
        }
    }
}
