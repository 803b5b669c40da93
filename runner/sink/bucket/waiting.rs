//! What a bucket has not yet: found on the disk, from the two lists in the state folder.
//!
//! Looked through are the own lists and those of runners that are not there: single runs (`--once`) end, and
//! leave what the next one has to upload. A runner that lives uploads its own.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};

use super::BucketSpec;
use crate::sink::SinkError;
use crate::sink::parquet::finished::{Finished, read_list, remove_finished};
use crate::sink::parquet::lock::Adoption;
use crate::sink::parquet::publish::append_line;
use crate::sink::parquet::{Folders, SegmentName, Table};

/// Files that were published and that the bucket has not confirmed, the oldest first. Where files of this machine go
/// once they are uploaded, those go that a kill kept from going.
pub(super) fn find(folders: &Folders, spec: &BucketSpec) -> Result<VecDeque<Finished>, SinkError> {
    let mut published = vec![folders.clone()];
    let confirmed = confirmed(folders, spec)?;
    for runner in lists_of_all(folders)? {
        if runner.runner != folders.runner && is_gone(&runner)? {
            published.push(runner);
        }
    }
    let mut waiting = VecDeque::new();
    let mut seen = HashSet::new();
    for runner in published {
        let path = runner.checksums();
        for file in read_list(&path, "").map_err(SinkError::io("read", &path))? {
            let local = folders.results.join(&file.place);
            if !local.is_file() || !seen.insert(file.place.clone()) {
                continue;
            }
            if confirmed.get(&file.place) != Some(&file) {
                waiting.push_back(file);
            } else if spec.delete_local {
                remove(folders, &file)?;
            }
        }
    }
    Ok(waiting)
}

/// What the bucket has, by path below the results folder, whoever has uploaded it.
pub(crate) fn confirmed(
    folders: &Folders,
    spec: &BucketSpec,
) -> Result<HashMap<String, Finished>, SinkError> {
    let bucket = spec.address.to_string();
    let mut confirmed = HashMap::new();
    for runner in lists_of_all(folders)? {
        let path = runner.uploaded();
        for file in read_list(&path, &bucket).map_err(SinkError::io("read", &path))? {
            confirmed.insert(file.place.clone(), file);
        }
    }
    Ok(confirmed)
}

/// Notes that the bucket has a file, and has it go where that is wanted.
pub(super) fn confirm(folders: &Folders, spec: &BucketSpec, file: &Finished) -> Result<(), SinkError> {
    let path = folders.uploaded();
    let line = format!("{} {}\n", file.line(), spec.address);
    append_line(&path, &line).map_err(SinkError::io("append to", &path))?;
    if spec.delete_local { remove(folders, file) } else { Ok(()) }
}

fn remove(folders: &Folders, file: &Finished) -> Result<(), SinkError> {
    let local = folders.results.join(&file.place);
    if !local.is_file() || has_journal(folders, &local) {
        return Ok(());
    }
    remove_finished(folders, &[(PathBuf::from(&file.place), file.bytes)])
}

/// Whether a file's journal is still there: its conversion would make the file again, if it were gone. It goes at the
/// next start then.
fn has_journal(folders: &Folders, file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut segments = Table::ALL.into_iter().filter_map(|table| SegmentName::of_file(name, table));
    segments.any(|segment| folders.journal_of(&segment).exists())
}

/// Every runner that has a list for this results folder, the own one included.
fn lists_of_all(folders: &Folders) -> Result<Vec<Folders>, SinkError> {
    let mut found = Vec::new();
    for name in folders.runner_names().map_err(SinkError::io("list", &folders.root))? {
        let runner = folders.of_runner(&name);
        if runner.checksums().exists() || runner.uploaded().exists() {
            found.push(runner);
        }
    }
    Ok(found)
}

/// Whether nobody runs under a name: also where its folder has just gone, with a run that ended by itself.
fn is_gone(runner: &Folders) -> Result<bool, SinkError> {
    Adoption::is_free(&runner.state())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::sink::bucket::{BucketAddress, BucketSettings};
    use crate::sink::parquet::lock::{Lock, Locking};
    use crate::sink::samples;

    fn spec(address: &str, delete_local: bool) -> BucketSpec {
        let address = BucketAddress::parse(address).unwrap();
        BucketSpec { address, settings: BucketSettings::default(), delete_local }
    }

    fn folders(folder: &Path, runner: &str) -> Folders {
        let folders = Folders::new(&folder.join("results"), runner).unwrap();
        folders.make().unwrap();
        folders
    }

    /// A file that a runner has published.
    fn published(folders: &Folders, name: &str) -> Finished {
        let file =
            Finished { place: format!("probes/date=2026-09-01/{name}.parquet"), checksum: 7, bytes: 4 };
        let path = folders.results.join(&file.place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "PAR1").unwrap();
        append_line(&folders.checksums(), &format!("{}\n", file.line())).unwrap();
        file
    }

    #[test]
    fn what_is_published_and_not_confirmed_waits_whoever_left_it() {
        let folder = tempfile::tempdir().unwrap();
        let (own, living) = (folders(folder.path(), "main"), folders(folder.path(), "living"));
        let once = folders(folder.path(), "main-once-0198f0a0-0000-7000-8000-000000000001");
        let _lock = match Lock::take(&living.state()).unwrap() {
            Locking::Held(lock) => lock,
            Locking::Taken { .. } => panic!("nobody else is there"),
        };
        let (first, second, left) = (published(&own, "a"), published(&own, "b"), published(&once, "c"));
        published(&living, "d");
        let (here, two) = (spec("s3://acme/one", false), spec("s3://acme/two", false));
        let all = [first.clone(), second.clone(), left.clone()];
        assert_eq!(find(&own, &here).unwrap(), all);
        confirm(&own, &here, &first).unwrap();
        confirm(&once, &here, &left).unwrap();
        assert_eq!(find(&own, &here).unwrap(), std::slice::from_ref(&second));
        assert_eq!(find(&own, &two).unwrap(), all, "another bucket has nothing yet");
        fs::remove_file(own.results.join(&second.place)).unwrap();
        assert_eq!(find(&own, &here).unwrap(), []);
    }

    #[test]
    fn a_file_goes_once_it_is_confirmed_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let own = folders(folder.path(), "main");
        let spec = spec("gs://acme", true);
        let (first, second) = (published(&own, "a"), published(&own, "b"));
        let is_there = |file: &Finished| own.results.join(&file.place).exists();
        assert_eq!(find(&own, &spec).unwrap().len(), 2);
        confirm(&own, &spec, &first).unwrap();
        assert!(!is_there(&first) && is_there(&second));
        // A kill between the list and the removal.
        confirm(&own, &BucketSpec { delete_local: false, ..spec.clone() }, &second).unwrap();
        assert!(is_there(&second));
        assert_eq!(find(&own, &spec).unwrap(), []);
        assert!(!is_there(&second));
        let day = own.results.join("probes/date=2026-09-01");
        assert!(!day.exists() && own.results.join("probes").exists(), "an empty day goes with its last file");
    }

    #[test]
    fn a_file_stays_while_its_journal_could_make_it_again() {
        let folder = tempfile::tempdir().unwrap();
        let own = folders(folder.path(), "main");
        let journal = samples::left_journal(&own, 1, &[&[samples::full(1)]]);
        let segment = SegmentName::of_journal(journal.file_name().unwrap().to_str().unwrap()).unwrap();
        let place = Folders::published(&segment, Table::Probes);
        let local = own.results.join(&place);
        fs::create_dir_all(local.parent().unwrap()).unwrap();
        fs::write(&local, "rows").unwrap();
        let file = Finished { place: place.display().to_string(), checksum: 7, bytes: 4 };
        let spec = spec("gs://acme", true);
        confirm(&own, &spec, &file).unwrap();
        assert!(local.exists());
        fs::remove_file(journal).unwrap();
        confirm(&own, &spec, &file).unwrap();
        assert!(!local.exists());
    }

    #[test]
    fn a_run_whose_folder_has_gone_is_gone_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let own = folders(folder.path(), "main");
        let once = own.of_runner("main-once-0198f0a0-0000-7000-8000-000000000001");
        assert!(is_gone(&once).unwrap());
        fs::create_dir_all(once.state()).unwrap();
        assert!(is_gone(&once).unwrap());
        fs::remove_dir(once.state()).unwrap();
    }
}
