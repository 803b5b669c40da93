//! The disk: never more than allowed, the oldest first, nothing torn left, nothing taken from another run.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::os::unix::fs::PermissionsExt as _;

use super::*;

const MAX: u64 = 64 << 10;

fn files(folder: &Path, run: &str) -> RecordFiles {
    RecordFiles::new(folder.to_owned(), run.into())
}

fn line(number: u32, bytes: usize) -> Vec<u8> {
    let mut line = format!("{number:08}").into_bytes();
    line.resize(bytes - 1, b'x');
    line.push(b'\n');
    line
}

fn at(second: i64) -> UnixNanos {
    UnixNanos(1_800_000_000_000_000_000 + second * 1_000_000_000)
}

fn total(folder: &Path) -> u64 {
    record_files(folder).unwrap().iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

/// The numbers of the lines that are there, in the order of the files.
fn numbers(folder: &Path) -> Vec<u32> {
    let mut numbers = Vec::new();
    for path in record_files(folder).unwrap() {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.ends_with('\n'));
        numbers.extend(text.lines().map(|line| line[..8].parse::<u32>().unwrap()));
    }
    numbers
}

#[test]
fn the_oldest_go_first_and_there_is_never_more_than_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = files(folder.path(), "run");
    let mut removed = 0;
    for number in 0..1_000 {
        // Sizes of all kinds, up to one that alone is more than a part.
        let bytes = 100 + (number as usize * 7_919) % 12_000;
        removed += files.append(&line(number, bytes), MAX, at(i64::from(number))).unwrap();
        assert!(total(folder.path()) <= MAX, "after {number}");
        let there = numbers(folder.path());
        let expected: Vec<u32> = (there[0]..=number).collect();
        assert_eq!(there, expected);
    }
    assert!(removed > 100);
    // What is there is most of what may be there.
    assert!(total(folder.path()) > MAX / 2);
}

#[test]
fn a_line_that_is_longer_than_all_is_refused_and_one_as_long_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = files(folder.path(), "run");
    files.append(&line(1, 100), MAX, at(0)).unwrap();
    assert!(matches!(files.append(&line(2, MAX as usize + 1), MAX, at(1)), Err(NotKept::TooLong(_))));
    assert_eq!(numbers(folder.path()), [1]);
    files.append(&line(3, MAX as usize), MAX, at(2)).unwrap();
    assert_eq!(numbers(folder.path()), [3]);
}

#[test]
fn files_and_folders_are_private() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("state/main/records/shop");
    files(&own, "run").append(&line(1, 100), MAX, at(0)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let file = record_files(&own).unwrap().remove(0);
    assert_eq!(mode(&file), 0o600);
    assert_eq!((mode(&own), mode(own.parent().unwrap())), (0o700, 0o700));
    assert_eq!(mode(&folder.path().join("state")) & 0o027, 0, "as the state folder of results");
}

#[test]
fn a_torn_end_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let long = "x".repeat(3 * BLOCK as usize);
    let cases = [
        ("whole", "one\ntwo\n".to_owned(), Some("one\ntwo\n")),
        ("torn", "one\ntwo".to_owned(), Some("one\n")),
        ("torn-far", format!("one\n{long}"), Some("one\n")),
        ("torn-at-block", format!("one\n{}", &long[..BLOCK as usize - 4]), Some("one\n")),
        ("nothing-whole", "one".to_owned(), None),
        ("empty", String::new(), None),
    ];
    for (name, text, _) in &cases {
        fs::write(folder.path().join(format!("{name}.jsonl")), text).unwrap();
    }
    fs::write(folder.path().join("notes.txt"), "not ours").unwrap();
    files(folder.path(), "run").mend();
    for (name, _, expected) in &cases {
        let found = fs::read_to_string(folder.path().join(format!("{name}.jsonl"))).ok();
        assert_eq!(found.as_deref(), *expected, "{name}");
    }
    assert_eq!(fs::read_to_string(folder.path().join("notes.txt")).unwrap(), "not ours");
}

#[test]
fn what_another_run_writes_is_neither_mended_nor_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = files(folder.path(), "other");
    other.append(&line(0, 5_000), MAX, at(0)).unwrap();
    let first = record_files(folder.path()).unwrap().remove(0);
    let mut torn = OpenOptions::new().append(true).open(&first).unwrap();
    torn.write_all(b"begun").unwrap();

    let mut own = files(folder.path(), "own");
    own.mend();
    assert!(fs::read_to_string(&first).unwrap().ends_with("begun"));
    for number in 1..100 {
        own.append(&line(number, 5_000), MAX, at(i64::from(number))).unwrap();
        assert!(total(folder.path()) <= MAX);
    }
    assert!(first.exists());
    // Its writer has ended: now it is the oldest.
    drop(other);
    for number in 100..200 {
        own.append(&line(number, 5_000), MAX, at(i64::from(number))).unwrap();
    }
    assert!(!first.exists());
}

#[test]
fn a_folder_that_somebody_removes_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("records/shop");
    let mut files = files(&own, "run");
    files.append(&line(1, 100), MAX, at(0)).unwrap();
    fs::remove_dir_all(folder.path().join("records")).unwrap();
    files.append(&line(2, 100), MAX, at(1)).unwrap();
    assert_eq!(numbers(&own), [2]);
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("records/shop");
    fs::write(folder.path().join("records"), "in the way").unwrap();
    let mut files = files(&own, "run");
    assert!(matches!(files.append(&line(1, 100), MAX, at(0)), Err(NotKept::Io(_))));
    fs::remove_file(folder.path().join("records")).unwrap();
    files.append(&line(2, 100), MAX, at(1)).unwrap();
    assert_eq!(numbers(&own), [2]);
}

#[test]
fn where_the_disk_is_nearly_full_records_give_way() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = files(folder.path(), "other");
    other.append(&line(0, 1_000), MAX, at(0)).unwrap();
    let mut files = files(folder.path(), "run");
    files.is_nearly_full = |folder| Ok(total(folder) > 20_000);
    let mut removed = 0;
    for number in 1..100 {
        removed += files.append(&line(number, 5_000), MAX, at(i64::from(number))).unwrap();
        assert!(total(folder.path()) <= 25_000);
        let there = numbers(folder.path());
        assert_eq!(
            (there[0], *there.last().unwrap()),
            (0, number),
            "the newest, and what another run writes"
        );
    }
    assert!(removed > 10);
    // Nothing is recorded, but the disk fills: in the end, all go that are its own.
    files.is_nearly_full = |_| Ok(true);
    files.give_way().unwrap();
    assert_eq!(numbers(folder.path()), [0]);
    assert!(matches!(files.append(&line(100, 100), MAX, at(100)), Err(NotKept::DiskFull)));
    files.is_nearly_full = |_| Ok(false);
    files.append(&line(101, 100), MAX, at(101)).unwrap();
    assert_eq!(numbers(folder.path()), [0, 101]);
}
