//! Journals that runners of other names left, since they were killed and did not come back: they are
//! moved to the own folder, and converted there like the own ones.
//!
//! To move rather than to convert them in place keeps the other runner's [lock](super::lock) for
//! milliseconds, and gives each journal one owner at any time. A move is one rename, so that a crash
//! leaves a journal in one folder or in the other.

use std::fs;
use std::path::PathBuf;

use tracing::{info, warn};

use super::convert::journals;
use super::folders::Folders;
use super::lock::Adoption;
use super::publish::sweep;
use super::recover::JournalReader;
use crate::sink::SinkError;

/// Takes over the journals of all runners that are not there; tells where they are now. A run that ends
/// by itself (`--once`) adopts none: it would not end before all are converted.
pub(crate) fn adopt_all(own: &Folders) -> Vec<PathBuf> {
    let mut adopted = Vec::new();
    if own.heir().is_some() {
        return adopted;
    }
    let others = own.other_runners().unwrap_or_else(|error| {
        warn!(%error, "could not look for journals of other runners");
        Vec::new()
    });
    for other in others {
        let before = adopted.len();
        if let Err(error) = adopt(own, &other, &mut adopted) {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            warn!(runner = other.runner, %error, cause, "could not take over the journals of another runner");
        }
        let journals = adopted.len() - before;
        if journals > 0 {
            info!(runner = other.runner, journals, "took over what a runner that is gone has left");
        }
    }
    adopted
}

fn adopt(own: &Folders, other: &Folders, adopted: &mut Vec<PathBuf>) -> Result<(), SinkError> {
    // Most have left nothing: then nothing of theirs is touched.
    if journals(other)?.is_empty() && !has_strays(other) {
        return Ok(());
    }
    let Some(_adoption) = Adoption::take(&other.state())? else { return Ok(()) };
    sweep(other)?;
    // Again: only now nobody else moves, converts or writes them.
    for journal in journals(other)? {
        let place = own.journal().join(journal.file_name().unwrap_or_default());
        if place.exists() {
            // Names are unique, unless somebody has copied files about.
            warn!(journal = %journal.display(), "a journal of this name is there already; it is left where it is");
            continue;
        }
        if let Err(error @ SinkError::NewerJournal { .. }) = JournalReader::open(&journal) {
            warn!(%error, "a journal of another runner is left where it is");
            continue;
        }
        fs::rename(&journal, &place).map_err(SinkError::io("take over", &journal))?;
        adopted.push(place);
    }
    Ok(())
}

/// Whether files that a crash left on their way are there: a loss of power may have taken the journal, and
/// not them.
fn has_strays(other: &Folders) -> bool {
    fs::read_dir(other.tmp()).is_ok_and(|mut entries| entries.next().is_some())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Barrier;
    use std::thread;

    use super::*;
    use crate::sink::parquet::lock::{Lock, Locking};
    use crate::sink::samples;

    fn folders(folder: &Path, runner: &str) -> Folders {
        let folders = Folders::new(&folder.join("results"), runner).unwrap();
        folders.make().unwrap();
        folders
    }

    fn held(folders: &Folders) -> Lock {
        match Lock::take(&folders.state()).unwrap() {
            Locking::Held(lock) => lock,
            Locking::Taken { pid, .. } => panic!("held by {pid:?}"),
        }
    }

    #[test]
    fn what_a_dead_runner_left_is_moved_and_its_lock_file_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let (own, dead) = (folders(folder.path(), "other"), folders(folder.path(), "main"));
        let left: Vec<_> = (1..=3).map(|number| samples::left_journal(&dead, number, &[])).collect();
        fs::write(dead.state().join("lock"), "4711\n").unwrap();
        fs::write(dead.tmp().join("stray.parquet"), "PAR1").unwrap();
        let adopted = adopt_all(&own);
        assert_eq!(adopted, journals(&own).unwrap());
        assert_eq!(adopted.len(), 3);
        assert!(left.iter().all(|journal| !journal.exists()));
        assert_eq!(samples::files_below(&dead.tmp()), Vec::<PathBuf>::new());
        assert_eq!(fs::read_to_string(dead.state().join("lock")).unwrap(), "4711\n");
        assert_eq!(adopt_all(&own), Vec::<PathBuf>::new(), "the own ones are not adopted");
    }

    #[test]
    fn d23_a_newer_journal_of_another_runner_is_left_and_d12_its_strays_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let (own, main) = (folders(folder.path(), "other"), folders(folder.path(), "main"));
        let newer = samples::left_journal(&main, 1, &[]);
        let mut bytes = fs::read(&newer).unwrap();
        bytes[10] += 1;
        let sum = crc32c::crc32c(&bytes[0..12]);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        fs::write(&newer, &bytes).unwrap();
        assert_eq!(adopt_all(&own), Vec::<PathBuf>::new());
        assert_eq!(fs::read(&newer).unwrap(), bytes);
        fs::remove_file(&newer).unwrap();
        // No journal any more, but a file on its way: a loss of power can leave that.
        fs::write(main.tmp().join("probes-x.parquet"), "PAR1").unwrap();
        assert_eq!(adopt_all(&own), Vec::<PathBuf>::new());
        assert_eq!(samples::files_below(&main.tmp()), Vec::<PathBuf>::new());
    }

    #[test]
    fn nothing_is_taken_from_the_living_nor_by_a_single_run() {
        let folder = tempfile::tempdir().unwrap();
        let (own, main) = (folders(folder.path(), "other"), folders(folder.path(), "main"));
        let once = folders(folder.path(), &format!("main-once-{}", samples::RUN));
        let journal = samples::left_journal(&main, 1, &[]);
        assert_eq!(adopt_all(&once), Vec::<PathBuf>::new());
        let lock = held(&main);
        assert_eq!(adopt_all(&own), Vec::<PathBuf>::new());
        assert!(journal.exists());
        drop(lock);
        samples::left_journal(&once, 1, &[]);
        assert_eq!(adopt_all(&own).len(), 2, "a single run that was killed has left one too");
    }

    #[test]
    fn a_runner_that_starts_waits_for_an_adopter_and_a_second_adopter_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (own, main) = (folders(folder.path(), "other"), folders(folder.path(), "main"));
        samples::left_journal(&main, 1, &[]);
        let adoption = Adoption::take(&main.state()).unwrap().unwrap();
        assert_eq!(adopt_all(&own), Vec::<PathBuf>::new());
        thread::scope(|scope| {
            let starting = scope.spawn(|| held(&main));
            while !fs::read_to_string(main.state().join("lock")).is_ok_and(|pid| pid.ends_with('\n')) {
                thread::yield_now();
            }
            assert!(!starting.is_finished());
            assert!(matches!(Lock::take(&main.state()).unwrap(), Locking::Taken { .. }), "the name is taken");
            drop(adoption);
            starting.join().unwrap();
        });
    }

    #[test]
    fn each_journal_has_one_owner_whoever_comes_first() {
        for _ in 0..50 {
            let folder = tempfile::tempdir().unwrap();
            let main = folders(folder.path(), "main");
            let adopters = [folders(folder.path(), "one"), folders(folder.path(), "two")];
            (1..=5).for_each(|number| drop(samples::left_journal(&main, number, &[])));
            let _locks = adopters.each_ref().map(held);
            let start = Barrier::new(3);
            let (owned, adopted) = thread::scope(|scope| {
                let adopting = adopters.each_ref().map(|own| {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        adopt_all(own)
                    })
                });
                start.wait();
                let lock = held(&main);
                let owned = journals(&main).unwrap();
                // A journal that it begins now is never taken away.
                samples::left_journal(&main, 6, &[]);
                let adopted = adopting.map(|adopter| adopter.join().unwrap());
                drop(lock);
                (owned, adopted)
            });
            let mut all: Vec<_> = adopted.iter().flatten().chain(&owned).collect();
            assert!(all.iter().all(|journal| journal.exists()), "{all:?}");
            all.sort_by_key(|journal| journal.file_name());
            all.dedup_by_key(|journal| journal.file_name());
            assert_eq!(all.len(), 5, "{all:?}");
            assert_eq!(adopted.iter().map(Vec::len).sum::<usize>() + owned.len(), 5);
            assert_eq!(journals(&main).unwrap().len(), owned.len() + 1);
        }
    }
}
