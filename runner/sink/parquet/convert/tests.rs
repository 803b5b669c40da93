//! Conversions, whole and crashed.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use twox_hash::XxHash3_64;

use super::*;
use crate::sink::parquet::publish::sweep;
use crate::sink::samples;

fn folders(folder: &tempfile::TempDir) -> Folders {
    let folders = Folders::new(&folder.path().join("results"), "main").unwrap();
    folders.make().unwrap();
    folders
}

fn journal(folders: &Folders) -> PathBuf {
    samples::left_journal(folders, 1, &[&[samples::full(1), samples::refused(2)], &[samples::empty(3)]])
}

/// What must be true once a journal is converted, whatever happened before.
fn assert_published(folders: &Folders, journal: &Path, why: &str) {
    let expected = [(Table::Probes, vec![1, 2, 3]), (Table::Checks, vec![1, 3])];
    for (table, seqs) in expected {
        assert_eq!(samples::all_seqs(&folders.results, table), seqs, "{why}");
    }
    assert!(!journal.exists(), "{why}");
    assert_eq!(samples::files_below(&folders.tmp()), Vec::<PathBuf>::new(), "{why}");
    let files = samples::files_below(&folders.results);
    assert_eq!(files.len(), 2, "{why}");
    let checksums = fs::read_to_string(folders.checksums()).unwrap();
    for file in files {
        let bytes = fs::read(folders.results.join(&file)).unwrap();
        let line = checksums.lines().rfind(|line| line.ends_with(file.to_str().unwrap())).expect(why);
        let mut parts = line.split_whitespace();
        assert_eq!(parts.next().unwrap(), format!("{:016x}", XxHash3_64::oneshot(&bytes)), "{why}");
        assert_eq!(parts.next().unwrap(), bytes.len().to_string(), "{why}");
    }
}

#[test]
fn a_journal_becomes_two_files_and_goes() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(&folder);
    let journal = journal(&folders);
    let done = convert(&folders, &journal).unwrap();
    assert_eq!((done.rows, done.check_rows, done.files.len()), (3, 2, 2));
    assert!(!done.torn_tail && !done.quarantined);
    assert_published(&folders, &journal, "once");
    let names: Vec<_> = samples::files_below(&folders.results);
    let file = |table: &str| {
        format!("{table}/date=2026-09-01/{table}-20260901T05Z-main-{}-000001.parquet", samples::RUN)
    };
    assert_eq!(names, [PathBuf::from(file("checks")), PathBuf::from(file("probes"))]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folders.results.join(&names[0])), 0o640);
    assert_eq!(mode(folders.results.join(&names[0]).parent().unwrap()), 0o750);
    assert_eq!(mode(&folders.state()), 0o750);
    // What is gone is done.
    assert!(convert(&folders, &journal).unwrap().files.is_empty());
    assert_published(&folders, &journal, "again");
}

/// The steps of a conversion, one by one, with a crash after each.
#[test]
fn d24_a_conversion_can_be_repeated_after_a_crash_at_any_step() {
    for crash_after in 0..=8 {
        let folder = tempfile::tempdir().unwrap();
        let folders = folders(&folder);
        let journal = journal(&folders);
        let segment = segment_of(&journal).unwrap();
        let mut step = 0;
        let mut crashed = || {
            step += 1;
            step > crash_after
        };
        let mut steps = || {
            for table in Table::ALL {
                let place = Folders::published(&segment, table);
                if crashed() {
                    return;
                }
                let mut torn = Staging::begin(&folders, &segment.file(table)).unwrap();
                torn.write_all(b"PAR1 and no more").unwrap();
                if crashed() {
                    return;
                }
                let reader = JournalReader::open(&journal).unwrap();
                let scan = reader.scan().unwrap();
                let mut done = Converted::default();
                let staged = stage(&folders, &segment, table, (&reader, &scan), &mut done);
                let (staged, _) = staged.unwrap().unwrap();
                if crashed() {
                    return;
                }
                staged.record(&folders, &place).unwrap();
                if crashed() {
                    return;
                }
                staged.publish(&folders, &place).unwrap();
            }
        };
        steps();
        sweep(&folders).unwrap();
        convert(&folders, &journal).unwrap();
        assert_published(&folders, &journal, &format!("crash after step {crash_after}"));
        convert(&folders, &journal).unwrap();
        assert_published(&folders, &journal, &format!("crash after step {crash_after}, and again"));
    }
}

#[test]
fn a_torn_line_of_checksums_spoils_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(&folder);
    let journal = journal(&folders);
    fs::write(folders.checksums(), "0123456789abcdef      1").unwrap();
    convert(&folders, &journal).unwrap();
    assert_published(&folders, &journal, "torn line");
}

#[test]
fn a_table_without_rows_gets_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(&folder);
    let only_failures = samples::left_journal(&folders, 1, &[&[samples::refused(1)]]);
    let nothing = samples::left_journal(&folders, 2, &[]);
    let torn_at_birth = samples::left_journal(&folders, 3, &[]);
    fs::write(&torn_at_birth, b"\xF5PROB").unwrap();
    for journal in [only_failures, nothing, torn_at_birth] {
        convert(&folders, &journal).unwrap();
        assert!(!journal.exists());
    }
    assert_eq!(samples::all_seqs(&folders.results, Table::Probes), [1]);
    assert_eq!(samples::files_below(&folders.results).len(), 1);
}

#[test]
fn a_torn_journal_gives_what_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(&folder);
    let journal = journal(&folders);
    let bytes = fs::read(&journal).unwrap();
    fs::write(&journal, &bytes[..bytes.len() - 1]).unwrap();
    let done = convert(&folders, &journal).unwrap();
    assert!(done.torn_tail && !done.quarantined && !journal.exists());
    assert_eq!(samples::all_seqs(&folders.results, Table::Probes), [1, 2]);
    assert_eq!(samples::all_seqs(&folders.results, Table::Checks), [1]);
}

#[test]
fn a_damaged_journal_gives_the_rest_and_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(&folder);
    let journal = journal(&folders);
    let mut bytes = fs::read(&journal).unwrap();
    // In the probes of the first batch, which a second one follows.
    let at = bytes.windows(15).position(|text| text == b"connect_refused").unwrap();
    bytes[at] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    let done = convert(&folders, &journal).unwrap();
    assert!(done.quarantined && done.skipped_frames == 1);
    assert_eq!(samples::all_seqs(&folders.results, Table::Probes), [3]);
    assert_eq!(fs::read(folders.quarantine().join(journal.file_name().unwrap())).unwrap(), bytes);
}

#[test]
fn d23_a_newer_journal_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(&folder);
    let journal = journal(&folders);
    let mut bytes = fs::read(&journal).unwrap();
    bytes[8] += 1;
    let sum = crc32c::crc32c(&bytes[0..12]);
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    fs::write(&journal, &bytes).unwrap();
    assert!(matches!(convert(&folders, &journal), Err(SinkError::NewerJournal { format: 2, .. })));
    assert_eq!(fs::read(&journal).unwrap(), bytes);
    assert!(samples::files_below(&folders.results).is_empty());
}
