//! The store as checks and the runner see it: it is there at once, it is there after a restart, and the
//! disk may do what it wants.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::{QUOTA_BYTES, Staged};
use super::*;
use crate::clock::UnixNanos;

const LONG: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

fn key(target: u32) -> StateKey {
    StateKey { pipeline: "p".into(), target: format!("t{target}").into(), check: "c".into() }
}

fn entries(value: &[u8]) -> StateEntries {
    StateEntries::from([("k".to_owned(), value.to_vec())])
}

fn long(byte: u8) -> Vec<u8> {
    vec![byte; 60_000]
}

/// A store in a folder, on a day.
fn store_on(state: &Path, day: u32) -> FileState {
    let store = FileState::new(&Clock::simulated(UnixNanos(0).plus(DAY * (20_000 + day))));
    store.keep_in(state);
    store
}

fn store(state: &Path) -> FileState {
    store_on(state, 0)
}

fn file(state: &Path) -> PathBuf {
    state.join("checks/state.redb")
}

fn quarantined(state: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(state.join("quarantine")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[track_caller]
fn stop(store: FileState) {
    assert!(store.stop(LONG));
    drop(store);
}

#[track_caller]
fn assert_has(store: &FileState, target: u32, value: &[u8]) {
    let loaded = store.load(&key(target)).unwrap();
    assert_eq!(loaded.get("k").map(Vec::as_slice), Some(value), "target {target}");
}

/// Waits for something that the store's thread does.
#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("never happened: {what}");
}

fn is_written(store: &FileState) -> bool {
    store.stats().pending == 0
}

#[derive(Debug, Clone)]
enum Step {
    Save(u32, Option<u8>),
    Restart,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_was_saved_last_is_loaded_also_after_a_restart(
        steps in prop::collection::vec(
            prop_oneof![
                6 => (0..6_u32, prop::option::of(any::<u8>())).prop_map(|(target, value)| Step::Save(target, value)),
                1 => Just(Step::Restart),
            ],
            1..40,
        ),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut now = store(folder.path());
        let mut model: HashMap<u32, u8> = HashMap::new();
        for step in steps {
            match step {
                Step::Save(target, Some(value)) => {
                    prop_assert!(now.save(&key(target), entries(&[value])));
                    model.insert(target, value);
                }
                Step::Save(target, None) => {
                    prop_assert!(now.save(&key(target), StateEntries::new()));
                    model.remove(&target);
                }
                Step::Restart => {
                    stop(now);
                    now = store(folder.path());
                }
            }
            for target in 0..6 {
                let expected = model.get(&target).map(|value| entries(&[*value])).unwrap_or_default();
                prop_assert_eq!(&*now.load(&key(target)).unwrap(), &expected);
            }
        }
    }
}

#[test]
fn nothing_is_made_before_there_is_anything_to_keep() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state/main");
    let idle = store(&state);
    assert!(idle.load(&key(1)).unwrap().is_empty());
    stop(idle);
    assert!(!state.exists());
}

#[test]
fn without_a_place_it_lives_in_memory_and_moves_in_with_what_it_has() {
    let folder = TempDir::new().unwrap();
    let clock = Clock::system();
    let first = FileState::new(&clock);
    assert!(first.save(&key(1), entries(b"early")));
    assert_has(&first, 1, b"early");
    assert!(first.stop(LONG));

    let second = FileState::new(&clock);
    assert!(second.save(&key(1), entries(b"early")));
    second.keep_in(folder.path());
    stop(second);
    assert_has(&store(folder.path()), 1, b"early");
}

#[test]
fn it_is_written_without_being_asked() {
    let folder = TempDir::new().unwrap();
    let store = store(folder.path());
    assert!(store.save(&key(1), entries(b"v")));
    assert!(!store.stats().is_on_disk, "it waits for others");
    until("it is written", || is_written(&store));
    let stats = store.stats();
    assert!(stats.is_on_disk && stats.stored_bytes > 0);
    assert_eq!((stats.written, stats.pending_bytes, stats.failures), (1, 0, 0));
    assert_has(&store, 1, b"v");
}

#[test]
fn much_is_written_at_once() {
    let folder = TempDir::new().unwrap();
    let store = store(folder.path());
    let value = vec![7; QUOTA_BYTES - 1];
    let many = (ENOUGH_BYTES / QUOTA_BYTES) as u32 + 9;
    for target in 0..many {
        assert!(store.save(&key(target), entries(&value)));
    }
    until("all is written", || is_written(&store));
    assert_eq!(store.stats().written, u64::from(many));
    stop(store);
    let store = self::store(folder.path());
    for target in 0..many {
        assert_has(&store, target, &value);
    }
}

#[test]
fn the_quota_counts_what_an_earlier_process_kept() {
    let folder = TempDir::new().unwrap();
    let first = store(folder.path());
    assert!(first.save(&key(1), entries(&vec![0; QUOTA_BYTES - 1])));
    stop(first);
    let second: Arc<dyn StateStore> = Arc::new(store(folder.path()));
    let mut staged = Staged::new(&second, key(1));
    assert!(staged.set("another".into(), Vec::new()).is_err());
    staged.delete("k");
    staged.set("another".into(), b"v".to_vec()).unwrap();
    staged.commit();
    assert_eq!(second.load(&key(1)).unwrap().keys().collect::<Vec<_>>(), ["another"]);
}

#[test]
fn two_processes_do_not_fight() {
    let folder = TempDir::new().unwrap();
    let first = store(folder.path());
    assert!(first.save(&key(1), entries(b"first")));
    until("it is written", || is_written(&first));
    let second = store(folder.path());
    assert!(second.load(&key(1)).unwrap().is_empty());
    assert!(second.save(&key(1), entries(b"second")));
    assert_has(&second, 1, b"second");
    stop(second);
    stop(first);
    assert_has(&store(folder.path()), 1, b"first");
}

#[test]
fn a_file_that_cannot_be_read_goes_to_quarantine() {
    let folder = TempDir::new().unwrap();
    fs::create_dir_all(folder.path().join("checks")).unwrap();
    fs::write(file(folder.path()), b"not a database at all").unwrap();
    let store = store(folder.path());
    assert!(store.load(&key(1)).unwrap().is_empty());
    assert!(store.save(&key(1), entries(b"v")));
    stop(store);
    assert_has(&self::store(folder.path()), 1, b"v");
    let kept = quarantined(folder.path());
    assert_eq!(kept.len(), 1);
    assert_eq!(fs::read(&kept[0]).unwrap(), b"not a database at all");
}

#[test]
fn a_folder_that_cannot_be_opened_means_memory() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("checks"), "a file").unwrap();
    let store = store(folder.path());
    assert!(store.save(&key(1), entries(b"v")));
    assert_has(&store, 1, b"v");
    assert!(!store.stats().is_on_disk);
    stop(store);
    assert_eq!(fs::read(folder.path().join("checks")).unwrap(), b"a file");
}

#[test]
fn while_the_disk_refuses_changes_wait_and_are_written_when_it_does_not() {
    let folder = TempDir::new().unwrap();
    let store = store(folder.path());
    // It was no obstacle when the place was looked at.
    let obstacle = folder.path().join("checks");
    fs::write(&obstacle, "").unwrap();
    assert!(store.save(&key(1), entries(b"one")));
    until("it was tried", || store.stats().failures > 0);
    assert_has(&store, 1, b"one");
    assert!(store.save(&key(1), entries(b"two")));
    assert!(store.save(&key(2), entries(b"three")));
    fs::remove_file(&obstacle).unwrap();
    until("it is written", || is_written(&store));
    assert!(store.stats().is_on_disk);
    stop(store);
    let store = self::store(folder.path());
    assert_has(&store, 1, b"two");
    assert_has(&store, 2, b"three");
}

#[test]
fn what_cannot_be_written_at_the_end_holds_nothing_up() {
    let folder = TempDir::new().unwrap();
    let store = store(folder.path());
    fs::write(folder.path().join("checks"), "").unwrap();
    assert!(store.save(&key(1), entries(b"one")));
    stop(store);
}

#[test]
fn a_file_that_was_removed_while_in_use_is_written_again() {
    let folder = TempDir::new().unwrap();
    let store = store(folder.path());
    assert!(store.save(&key(1), entries(b"one")));
    until("it is written", || is_written(&store));
    fs::remove_dir_all(folder.path().join("checks")).unwrap();
    assert_has(&store, 1, b"one");
    assert!(store.save(&key(2), entries(b"two")));
    until("it is written again", || is_written(&store));

    // Another file in its place is kept.
    fs::remove_file(file(folder.path())).unwrap();
    fs::write(file(folder.path()), "of somebody").unwrap();
    assert!(store.save(&key(3), entries(b"three")));
    until("it is written once more", || is_written(&store));
    stop(store);
    let store = self::store(folder.path());
    for (target, value) in [(1, b"one".as_slice()), (2, b"two"), (3, b"three")] {
        assert_has(&store, target, value);
    }
    assert_eq!(fs::read(&quarantined(folder.path())[0]).unwrap(), b"of somebody");
}

#[test]
fn a_file_that_is_cut_while_in_use_costs_no_more_than_what_was_in_it() {
    let folder = TempDir::new().unwrap();
    let store = store(folder.path());
    assert!(store.save(&key(1), entries(&long(1))));
    until("it is written", || is_written(&store));
    fs::OpenOptions::new().write(true).open(file(folder.path())).unwrap().set_len(100).unwrap();
    // It may be in the cache, or not; nothing may be made up.
    if let Ok(found) = store.load(&key(1)) {
        assert!(found.is_empty() || *found == entries(&long(1)));
    }
    assert!(store.save(&key(2), entries(b"two")));
    assert_has(&store, 2, b"two");
    stop(store);
    let store = self::store(folder.path());
    assert!(store.save(&key(3), entries(b"three")));
    assert_has(&store, 3, b"three");
    stop(store);
    assert_has(&self::store(folder.path()), 3, b"three");
}

#[test]
fn what_is_read_is_kept_and_what_is_not_goes() {
    let folder = TempDir::new().unwrap();
    let first = store_on(folder.path(), 0);
    for target in [1, 2] {
        assert!(first.save(&key(target), entries(b"v")));
    }
    stop(first);
    // The check of one target reads, and has nothing new to remember.
    for day in [10, 20, 30, 40] {
        let later = store_on(folder.path(), day);
        assert_has(&later, 1, b"v");
        assert_eq!(later.stats().pending, 1, "its day is noted");
        stop(later);
    }
    let last = store_on(folder.path(), 41);
    until("the other one is removed", || last.stats().swept == 1);
    assert_has(&last, 1, b"v");
    assert_eq!(last.stats().pending, 0, "its day was noted yesterday");
    assert!(last.load(&key(2)).unwrap().is_empty());
}

/// Set in the process that meets a full disk.
const FULL: &str = "PROBITY_TEST_FULL_DISK";

#[test]
fn a_full_disk_loses_nothing_that_it_holds_and_takes_the_rest_when_there_is_room() {
    if std::env::var_os(FULL).is_some() {
        return on_a_full_disk();
    }
    // Files may have 512 KiB there, until the process lifts the limit: writing then fails as on a full
    // disk. Every file of the process is meant, so that it has to be one of its own.
    let this = "check::state::file::tests::\
                a_full_disk_loses_nothing_that_it_holds_and_takes_the_rest_when_there_is_room";
    let script = "trap '' XFSZ; ulimit -S -f 1024 || exit 9; exec \"$0\" --exact \"$1\" --nocapture";
    let output = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg(this)
        .env(FULL, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

fn on_a_full_disk() {
    let folder = TempDir::new().unwrap();
    let store = store(folder.path());
    assert!(store.save(&key(0), entries(&long(1))));
    until("the first is written", || is_written(&store));
    let value = long(2);
    for target in 1..40 {
        assert!(store.save(&key(target), entries(&value)));
    }
    until("the disk refused", || store.stats().failures > 0);
    until("it is open again", || store.stats().is_on_disk);
    // Both what is on the disk and what waits can be read.
    assert_has(&store, 0, &long(1));
    assert_has(&store, 39, &value);
    until("it was tried again", || store.stats().failures > 1);
    assert_eq!((store.stats().written, store.stats().refused), (1, 0));
    assert_has(&store, 0, &long(1));

    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Fsize);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
    until("all is written", || is_written(&store));
    stop(store);
    let store = self::store(folder.path());
    assert_has(&store, 0, &long(1));
    for target in 1..40 {
        assert_has(&store, target, &value);
    }
}
