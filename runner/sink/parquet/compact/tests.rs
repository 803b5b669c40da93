//! Days compacted, killed, repeated, refused.

use std::time::Duration;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;

use super::*;
use crate::model::ProbeResult;
use crate::sink::parquet::convert;
use crate::sink::parquet::verify::Verification;
use crate::sink::samples::{self, MORNING};

const DAY: Duration = Duration::from_hours(24);

fn folders(folder: &Path) -> Folders {
    let folders = Folders::new(&folder.join("results"), "main").unwrap();
    folders.make().unwrap();
    folders
}

/// A segment of a day, of these rows.
fn put(folders: &Folders, days: u32, number: u32, seqs: impl IntoIterator<Item = i64>) {
    let moved = |seq| {
        let full: ProbeResult = samples::full(seq);
        ProbeResult { started_at: full.started_at.plus(DAY * days), ..full }
    };
    let results: Vec<ProbeResult> = seqs.into_iter().map(moved).collect();
    let journal = samples::left_journal(folders, number, &[&results]);
    let name = SegmentName::new(MORNING.plus(DAY * days), "main", samples::RUN, number);
    let place = folders.journal_of(&name);
    fs::rename(journal, &place).unwrap();
    convert(folders, &place).unwrap();
}

fn run(folders: &Folders, to: &Path) -> Vec<Compacted> {
    let now = MORNING.plus(DAY * 3);
    let mut done = Vec::new();
    let compaction = Compaction::open(&folders.results, to).unwrap();
    compaction.run(now.minus(DAY), now, |day| done.push(day)).unwrap();
    done
}

/// All rows of a table of a day, in the files' order.
fn rows(results: &Path, table: Table, day: &str) -> RecordBatch {
    let folder = results.join(table.name()).join(format!("date={day}"));
    let files = names(&folder).unwrap();
    let batches = files.iter().flat_map(|file| {
        let file = fs::File::open(folder.join(file)).unwrap();
        ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().map(Result::unwrap)
    });
    concat_batches(&table.schema(), &batches.collect::<Vec<_>>()).unwrap()
}

fn sorted(batch: &RecordBatch) -> Vec<(String, i64, i64)> {
    let targets = batch["target"].as_string::<i32>();
    let times = batch["started_at"].as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    let seqs = batch["seq"].as_primitive::<arrow::datatypes::Int64Type>();
    let row = |at| (targets.value(at).to_owned(), times.value(at), seqs.value(at));
    (0..batch.num_rows()).map(row).collect()
}

fn findings(results: &Path) -> Vec<&'static str> {
    let mut found = Vec::new();
    Verification::of(results, None).unwrap().run(|file| found.push(file.finding.name())).unwrap();
    found
}

#[test]
fn a_day_becomes_one_sorted_file_a_table_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(folder.path());
    // More rows than are read, and written, at once; the files lie within one another in time.
    for number in 0..4 {
        put(&folders, 0, number as u32 + 1, (0..2_500).map(|row| row * 4 + number));
    }
    put(&folders, 1, 9, 20_000..20_010);
    put(&folders, 2, 10, 30_000..30_010);
    let to = folder.path().join("archive");
    let done = run(&folders, &to);
    let told: Vec<_> = done.iter().map(|day| (day.day.as_str(), day.table, day.files_in)).collect();
    assert_eq!(
        told,
        [
            ("2026-09-01", Table::Checks, 4),
            ("2026-09-01", Table::Probes, 4),
            ("2026-09-02", Table::Checks, 1),
            ("2026-09-02", Table::Probes, 1),
        ],
        "not the day that ended too late"
    );
    for (day, wanted) in done.iter().zip([10_000, 10_000, 10, 10]) {
        assert!(matches!(day.what, What::Done { files: 1, rows, .. } if rows == wanted), "{day:?}");
        let (before, after) = (rows(&folders.results, day.table, &day.day), rows(&to, day.table, &day.day));
        let (mut wanted, found) = (sorted(&before), sorted(&after));
        wanted.sort();
        assert_eq!(found, wanted, "the same rows, sorted");
        // And every column of them: by the order of the key the batches are the same.
        let order = |batch: &RecordBatch| {
            let mut keys: Vec<_> =
                sorted(batch).into_iter().zip(0_usize..).map(|(key, at)| (key, (0, at))).collect();
            keys.sort();
            let picks: Vec<_> = keys.into_iter().map(|(_, pick)| pick).collect();
            arrow::compute::interleave_record_batch(&[batch], &picks).unwrap()
        };
        assert_eq!(order(&before), order(&after));
    }
    assert_eq!(findings(&to), ["whole"; 4]);
    assert_eq!(samples::files_below(&folders.results).len(), 12, "no file of the results is touched");
    let again = run(&folders, &to);
    assert!(again.iter().all(|day| matches!(day.what, What::There { .. })), "{again:?}");
}

/// A kill may leave a file on its way, and one table without the other.
#[test]
fn a_killed_compaction_is_brought_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(folder.path());
    put(&folders, 0, 1, 0..10);
    put(&folders, 0, 2, 10..20);
    let to = folder.path().join("archive");
    run(&folders, &to);
    let state = Folders::new(&to, COMPACTOR).unwrap();
    let probes = samples::files_below(&to)[1].clone();
    fs::rename(to.join(&probes), state.tmp().join(probes.file_name().unwrap())).unwrap();
    assert_eq!(findings(&to), ["whole"], "what is on its way is not missed");
    let again = run(&folders, &to);
    assert!(matches!(again[0].what, What::There { rows: 20 }), "{again:?}");
    assert!(matches!(again[1].what, What::Done { rows: 20, .. }), "{again:?}");
    assert!(samples::files_below(&state.tmp()).is_empty());
    assert_eq!(findings(&to), ["whole", "whole"]);
}

#[test]
fn a_day_that_is_not_whole_yet_and_one_that_has_changed_are_left() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(folder.path());
    put(&folders, 0, 1, 0..10);
    put(&folders, 1, 2, 10..20);
    // Another runner was killed in the first night.
    samples::left_journal(&folders.of_runner("other"), 7, &[&[samples::full(99)]]);
    let to = folder.path().join("archive");
    let done = run(&folders, &to);
    let what: Vec<_> = done.iter().map(|day| day.what.name()).collect();
    assert_eq!(what, ["waiting", "waiting", "compacted", "compacted"]);
    // Its results come later, to a day that is compacted already.
    put(&folders, 1, 3, 20..25);
    let done = run(&folders, &to);
    let What::Wrong { reason } = &done[3].what else { panic!("{done:?}") };
    assert!(reason.contains("has 10 rows, and the results have 15"), "{reason}");
    assert!(!reason.contains("remove"), "{reason}");
    assert_eq!(findings(&to), ["whole", "whole"], "readers keep what they have");
}

#[test]
fn an_archive_with_more_than_the_results_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(folder.path());
    (0..40).for_each(|number| put(&folders, 0, number + 1, [i64::from(number)]));
    let to = folder.path().join("archive");
    run(&folders, &to);
    for place in samples::files_below(&folders.results).iter().step_by(2) {
        fs::remove_file(folders.results.join(place)).unwrap();
    }
    let again = run(&folders, &to);
    assert!(again.iter().all(|day| matches!(day.what, What::Fewer { rows: 32, left: 20 })), "{again:?}");
}

#[test]
fn a_file_that_comes_late_doubles_none_that_was_compacted() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(folder.path());
    (2..34).for_each(|number| put(&folders, 0, number, [i64::from(number)]));
    let to = folder.path().join("archive");
    run(&folders, &to);
    // It sorts before the others: the first part would be of as many rows, and the second of what is in the first.
    put(&folders, 0, 1, [1]);
    let again = run(&folders, &to);
    assert!(again.iter().all(|day| matches!(day.what, What::Wrong { .. })), "{again:?}");
    assert_eq!(samples::files_below(&to).len(), 2, "no other part was made");
}

#[test]
fn many_files_become_a_few() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(folder.path());
    (0..70).for_each(|number| put(&folders, 0, number + 1, [i64::from(number)]));
    let done = run(&folders, &folder.path().join("archive"));
    assert!(done.iter().all(|day| matches!(day.what, What::Done { files: 3, rows: 70, .. })), "{done:?}");
}

#[test]
fn folders_that_cannot_be_an_archive_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(folder.path());
    put(&folders, 0, 1, 0..10);
    let open = |to: &Path| Compaction::open(&folders.results, to);
    assert!(matches!(open(&folders.results), Err(SinkError::ArchiveInUse { .. })));
    let inside = folders.results.join("archive");
    assert!(matches!(open(&inside), Err(SinkError::ArchiveInResults { .. })));
    assert!(!inside.exists() && !folders.results.join("state").exists(), "nothing was made");
    let to = folder.path().join("archive");
    let _one = open(&to).unwrap();
    assert!(matches!(open(&to), Err(SinkError::Locked { .. })));
    assert!(Compaction::open(&folder.path().join("nothing"), &to).is_err());
}

#[test]
fn a_damaged_file_is_told_and_the_other_days_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(folder.path());
    put(&folders, 0, 1, 0..10);
    put(&folders, 1, 2, 10..20);
    let checks = folders.results.join(&samples::files_below(&folders.results)[0]);
    let bytes = fs::read(&checks).unwrap();
    fs::write(&checks, &bytes[..bytes.len() - 3]).unwrap();
    let to = folder.path().join("archive");
    let what: Vec<_> = run(&folders, &to).iter().map(|day| day.what.name()).collect();
    assert_eq!(what, ["wrong", "compacted", "compacted", "compacted"]);
    assert_eq!(findings(&to), ["whole"; 3]);
}
