//! Damage of every kind, and files that are none of ours.

use super::*;
use crate::sink::parquet::convert;
use crate::sink::samples;

fn published(folder: &Path) -> Folders {
    let folders = Folders::new(&folder.join("results"), "main").unwrap();
    folders.make().unwrap();
    let results: Vec<_> = (1..=40).map(samples::full).collect();
    let journal = samples::left_journal(&folders, 1, &[&results]);
    convert(&folders, &journal).unwrap();
    folders
}

fn findings(results: &Path, runner: Option<&str>) -> Vec<Verified> {
    let mut found = Vec::new();
    Verification::of(results, runner).unwrap().run(|file| found.push(file)).unwrap();
    found
}

fn names(found: &[Verified]) -> Vec<&'static str> {
    found.iter().map(|file| file.finding.name()).collect()
}

#[test]
fn d16_every_flipped_byte_is_found_by_the_checksum() {
    let folder = tempfile::tempdir().unwrap();
    let folders = published(folder.path());
    assert_eq!(names(&findings(&folders.results, None)), ["whole", "whole"]);
    let file = folders.results.join(&samples::files_below(&folders.results)[1]);
    let bytes = fs::read(&file).unwrap();
    for at in (0..bytes.len()).step_by(997).chain([bytes.len() - 1]) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&file, &damaged).unwrap();
        assert_eq!(names(&findings(&folders.results, None)), ["whole", "changed"], "byte {at}");
    }
}

/// Without a checksum only what cannot be read can be told; but it is told, whatever the damage is.
#[test]
fn d16_damaged_files_without_a_checksum_end_in_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let folders = published(folder.path());
    fs::remove_file(folders.checksums()).unwrap();
    let file = folders.results.join(&samples::files_below(&folders.results)[0]);
    let bytes = fs::read(&file).unwrap();
    let mut unreadable = 0;
    for at in (0..bytes.len()).step_by(41).chain((bytes.len() - 400..bytes.len()).step_by(3)) {
        for damage in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= damage;
            fs::write(&file, &damaged).unwrap();
            let found = findings(&folders.results, None);
            assert!(matches!(names(&found)[0], "unlisted" | "unreadable"), "byte {at}: {found:?}");
            unreadable += usize::from(found[0].finding.is_damage());
        }
    }
    assert!(unreadable > 50, "{unreadable}");
    for end in (0..bytes.len()).step_by(1_009) {
        fs::write(&file, &bytes[..end]).unwrap();
        assert_eq!(names(&findings(&folders.results, None))[0], "unreadable", "cut to {end}");
    }
}

#[test]
fn journals_and_what_is_in_quarantine_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let folders = published(folder.path());
    let waiting = samples::left_journal(&folders, 2, &[]);
    fs::write(folders.quarantine().join("20260901T05Z-x.journal"), "damaged").unwrap();
    let found = findings(&folders.results, None);
    assert_eq!(names(&found), ["whole", "whole", "waiting", "quarantined"]);
    assert_eq!(found[2].path, waiting);
    assert!(!found[2].finding.is_damage() && found[3].finding.is_damage());
}

#[test]
fn one_runner_can_be_looked_at_alone() {
    let folder = tempfile::tempdir().unwrap();
    let folders = published(folder.path());
    let other = folders.of_runner("other");
    other.make().unwrap();
    let journal = samples::left_journal(&other, 1, &[&[samples::full(99)]]);
    convert(&other, &journal).unwrap();
    samples::left_journal(&other, 2, &[]);
    fs::remove_file(folders.results.join(&samples::files_below(&folders.results)[0])).unwrap();
    assert_eq!(names(&findings(&folders.results, Some("other"))), ["whole", "whole", "waiting"]);
    assert_eq!(names(&findings(&folders.results, Some("main"))), ["whole", "missing"]);
    assert_eq!(findings(&folders.results, None).len(), 5);
}

#[test]
fn what_was_removed_on_purpose_is_not_missed() {
    let folder = tempfile::tempdir().unwrap();
    let folders = published(folder.path());
    let place = samples::files_below(&folders.results)[0].clone();
    super::super::checksums::note_removed(&folders, &[(place.clone(), 1)]).unwrap();
    assert_eq!(names(&findings(&folders.results, None)), ["whole", "whole"], "it was about to be");
    fs::remove_file(folders.results.join(place)).unwrap();
    assert_eq!(names(&findings(&folders.results, None)), ["whole"]);
}

#[test]
fn what_is_removed_on_purpose_while_others_are_read_is_not_missed() {
    let folder = tempfile::tempdir().unwrap();
    let folders = published(folder.path());
    let begun = Verification::of(&folders.results, None).unwrap();
    let place = samples::files_below(&folders.results)[0].clone();
    super::super::checksums::note_removed(&folders, &[(place.clone(), 1)]).unwrap();
    fs::remove_file(folders.results.join(place)).unwrap();
    let mut found = Vec::new();
    begun.run(|file| found.push(file)).unwrap();
    assert_eq!(names(&found), ["whole"]);
}

/// A kill between the line in the list and the file leaves the journal.
#[test]
fn what_a_journal_still_has_is_not_missed() {
    let folder = tempfile::tempdir().unwrap();
    let folders = published(folder.path());
    fs::remove_file(folders.results.join(&samples::files_below(&folders.results)[0])).unwrap();
    assert_eq!(names(&findings(&folders.results, None)), ["whole", "missing"]);
    samples::left_journal(&folders, 1, &[]);
    assert_eq!(names(&findings(&folders.results, None)), ["whole", "waiting"]);
}

#[test]
fn answers_come_in_order_and_none_is_lost() {
    let mut told = Vec::new();
    in_order([(1, 'b'), (0, 'a'), (4, 'e'), (2, 'c')].into_iter(), |answer| told.push(answer));
    assert_eq!(told, ['a', 'b', 'c', 'e']);
}
