//! The file: what is written is there, whatever is done to it is noticed, and nothing is deleted.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::StateEntries;
use super::*;

const TODAY: Day = 20_000;

fn place() -> (TempDir, Place) {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::below(&folder.path().join("state/main"));
    (folder, place)
}

fn key(pipeline: u32, target: u32) -> StateKey {
    let (pipeline, target) = (format!("p{pipeline}"), format!("t{target}"));
    StateKey { pipeline: pipeline.into(), target: target.into(), check: "c".into() }
}

fn entries(len: usize, with: u8) -> Arc<StateEntries> {
    Arc::new(StateEntries::from([("k".to_owned(), vec![with; len])]))
}

fn keep(len: usize, with: u8) -> Change {
    Change::Keep(entries(len, with))
}

fn changes(changes: impl IntoIterator<Item = (StateKey, Change)>) -> Changes {
    changes.into_iter().collect()
}

/// A file with `count` records of `len` bytes.
fn made(place: &Place, count: u32, len: usize) -> Disk {
    let all = changes((0..count).map(|number| (key(1, number), keep(len, number as u8))));
    Disk::create(place, None, &all, TODAY).unwrap()
}

fn reopened(place: &Place, today: Day) -> Disk {
    Disk::open(place, today).unwrap().expect("a file")
}

fn read(disk: &Disk, key: &StateKey) -> Option<StateEntries> {
    match disk.read(key).unwrap() {
        Some(Found::Whole(record)) => Some(record.entries),
        Some(Found::Damaged) => panic!("damaged: {key:?}"),
        None => None,
    }
}

fn reason(opened: Result<Option<Disk>, DiskError>) -> &'static str {
    match opened {
        Err(DiskError::Unusable(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<(u32, Option<usize>)>),
    Reopen,
    /// Writes the file anew from itself.
    Rescue,
}

fn step() -> impl Strategy<Value = Step> {
    let change = (0..12_u32, prop::option::of(0..9_000_usize));
    prop_oneof![
        3 => prop::collection::vec(change, 1..8).prop_map(Step::Write),
        1 => Just(Step::Reopen),
        1 => Just(Step::Rescue),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_file_is_what_was_written(steps in prop::collection::vec(step(), 1..12)) {
        let (_folder, place) = place();
        let mut disk = made(&place, 0, 0);
        let mut model: BTreeMap<StateKey, StateEntries> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Write(list) => {
                    let mut batch = Changes::new();
                    for (target, len) in list {
                        let key = key(target % 3, target);
                        match len {
                            Some(len) => {
                                model.insert(key.clone(), (*entries(len, target as u8)).clone());
                                batch.insert(key, keep(len, target as u8));
                            }
                            None => {
                                model.remove(&key);
                                batch.insert(key, Change::Forget);
                            }
                        }
                    }
                    let bytes = disk.write(&batch, TODAY).unwrap();
                    let expected: usize = model
                        .iter()
                        .map(|(key, entries)| names_len(of(key)) + record::encode(key, TODAY, entries).len())
                        .sum();
                    prop_assert_eq!(bytes, expected as u64);
                }
                Step::Reopen => {
                    drop(disk);
                    disk = reopened(&place, TODAY);
                }
                Step::Rescue => {
                    fs::remove_file(place.file()).unwrap();
                    prop_assert!(!disk.is_in_place());
                    disk = Disk::create(&place, Some(&disk), &Changes::new(), TODAY).unwrap();
                    prop_assert!(disk.is_in_place());
                }
            }
            for target in 0..12 {
                let key = key(target % 3, target);
                prop_assert_eq!(read(&disk, &key), model.get(&key).cloned());
            }
        }
    }

    /// Whatever byte is flipped: the file is refused, or everything in it is as it was.
    #[test]
    fn damage_is_noticed(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let (_folder, place) = place();
        drop(made(&place, 40, 600));
        let mut bytes = fs::read(place.file()).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        fs::write(place.file(), bytes).unwrap();
        match Disk::open(&place, TODAY) {
            Err(DiskError::Unusable(_)) => {}
            Ok(Some(disk)) => {
                for number in 0..40 {
                    prop_assert_eq!(read(&disk, &key(1, number)), Some((*entries(600, number as u8)).clone()));
                }
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn a_file_cut_short_is_refused(len in any::<prop::sample::Index>()) {
        let (_folder, place) = place();
        drop(made(&place, 40, 600));
        let bytes = fs::read(place.file()).unwrap();
        fs::write(place.file(), &bytes[..len.index(bytes.len())]).unwrap();
        let opened = Disk::open(&place, TODAY);
        prop_assert!(matches!(opened, Err(DiskError::Unusable(_))), "{:?}", opened);
    }
}

#[test]
fn what_is_no_state_of_checks_is_refused_and_says_why() {
    let (_folder, place) = place();
    drop(made(&place, 1, 1));
    fs::write(place.file(), "").unwrap();
    assert_eq!(reason(Disk::open(&place, TODAY)), "it is empty");
    fs::write(place.file(), "some notes of somebody\n".repeat(400)).unwrap();
    assert_eq!(reason(Disk::open(&place, TODAY)), "it is no state of checks");

    fs::remove_file(place.file()).unwrap();
    let of_another_program = Database::create(place.file()).unwrap();
    let transaction = of_another_program.begin_write().unwrap();
    transaction.open_table(TableDefinition::<u64, u64>::new("numbers")).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    drop(of_another_program);
    assert_eq!(reason(Disk::open(&place, TODAY)), "it is no state of checks");
}

#[test]
fn a_file_of_a_newer_version_is_refused() {
    let (_folder, place) = place();
    let disk = made(&place, 1, 1);
    let transaction = disk.database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert(FORMAT, FORMAT_VERSION + 1).unwrap();
    transaction.commit().unwrap();
    drop(disk);
    assert_eq!(reason(Disk::open(&place, TODAY)), "a newer version of the program wrote it");
}

#[test]
fn a_file_has_one_owner_at_a_time() {
    let (_folder, place) = place();
    assert!(Disk::open(&place, TODAY).unwrap().is_none());
    let first = made(&place, 1, 1);
    assert!(matches!(Disk::open(&place, TODAY), Err(DiskError::Busy)));
    drop(first);
    reopened(&place, TODAY);
}

#[test]
fn the_owner_alone_may_read_it() {
    let (_folder, place) = place();
    drop(made(&place, 1, 1));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.file()), 0o600);
    assert_eq!(mode(&place.folder), 0o700);
}

#[test]
fn what_nobody_used_for_30_days_of_work_is_forgotten() {
    let (_folder, place) = place();
    let disk = made(&place, 3, 10);
    let touch =
        |disk: &Disk, target, today| disk.write(&changes([(key(1, target), Change::Touch)]), today).unwrap();
    // One is used until the end, one until the 10th day, one never.
    touch(&disk, 1, TODAY + 10);
    touch(&disk, 0, TODAY + 40);
    drop(disk);

    // The runner rested for years.
    let mut disk = reopened(&place, TODAY + 2_000);
    assert!(read(&disk, &key(1, 0)).is_some());
    assert!(read(&disk, &key(1, 1)).is_some());
    assert_eq!(read(&disk, &key(1, 2)), None, "also before it is swept");
    let before = disk.bytes_at_open();
    assert_eq!(disk.sweep(None).unwrap(), (None, 1));
    assert_eq!(disk.sweep(None).unwrap(), (None, 0));

    // A clock that was wrong for a while makes nothing be forgotten.
    let bytes = touch(&disk, 0, TODAY + 90_000);
    assert!(bytes < before);
    drop(disk);
    disk = reopened(&place, TODAY + 41);
    assert_eq!(disk.sweep(None).unwrap(), (None, 1), "the one of the 10th day");
    assert!(read(&disk, &key(1, 0)).is_some());
}

#[test]
fn a_sweep_sees_every_record_once() {
    let (_folder, place) = place();
    let count = SWEEP_RECORDS as u32 * 2 + 10;
    let mut disk = made(&place, count, 1);
    let (kept, day) = (count / 2, TODAY + FORGOTTEN_AFTER_DAYS + 1);
    let touched = changes((0..kept).map(|number| (key(1, number), Change::Touch)));
    let bytes = disk.write(&touched, day).unwrap();
    drop(disk);
    disk = reopened(&place, day);
    let (mut after, mut removed, mut turns) = (None, 0, 0);
    loop {
        let (last, stale) = disk.sweep(after.as_ref()).unwrap();
        removed += stale;
        turns += 1;
        if last.is_none() {
            break;
        }
        after = last;
    }
    assert_eq!((removed, turns), (u64::from(count - kept), 3));
    let left = disk.write(&Changes::new(), day).unwrap();
    assert!(left < bytes / 2 + 20 * u64::from(kept), "{left} of {bytes}");
    assert!((0..kept).all(|number| read(&disk, &key(1, number)).is_some()));
}

#[test]
fn a_touch_revives_nothing_and_mends_what_is_damaged() {
    let (_folder, place) = place();
    let disk = made(&place, 1, 1);
    let transaction = disk.database.begin_write().unwrap();
    transaction.open_table(RECORDS).unwrap().insert(of(&key(1, 0)), b"rubbish".as_slice()).unwrap();
    transaction.commit().unwrap();
    assert!(matches!(disk.read(&key(1, 0)), Ok(Some(Found::Damaged))));
    disk.write(&changes([(key(1, 0), Change::Touch), (key(1, 7), Change::Touch)]), TODAY).unwrap();
    assert_eq!(read(&disk, &key(1, 0)), None);
    assert_eq!(read(&disk, &key(1, 7)), None);
}

#[test]
fn files_put_aside_do_not_meet() {
    let (_folder, place) = place();
    let moment = UnixNanos(1_763_821_561_000_000_000);
    let kept: Vec<_> = (0..3_u8)
        .map(|number| {
            fs::create_dir_all(&place.folder).unwrap();
            fs::write(place.file(), [number]).unwrap();
            place.put_aside(moment).unwrap()
        })
        .collect();
    let names: Vec<_> = kept.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(
        names,
        ["checks-20251122T142601Z.redb", "checks-20251122T142601Z-2.redb", "checks-20251122T142601Z-3.redb"]
    );
    for (number, path) in (0..).zip(kept) {
        assert_eq!(fs::read(path).unwrap(), [number]);
    }
}

#[test]
fn what_a_kill_left_half_made_is_removed() {
    let (_folder, place) = place();
    fs::create_dir_all(&place.folder).unwrap();
    fs::write(place.new_file(), "half").unwrap();
    assert!(Disk::open(&place, TODAY).unwrap().is_none());
    assert!(!place.new_file().exists());
}
