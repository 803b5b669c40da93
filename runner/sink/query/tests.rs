//! Results in files and journals, counted against a plain loop over the same results.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::parquet::arrow::ArrowWriter;
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::model::{CheckStatus, ErrorKind, Exchange, Failure, Outcome, Phases, ProbeResult, Target};
use crate::sink::parquet::{Folders, convert};
use crate::sink::samples::{self, MORNING};

const ALL: Window = Window { since: UnixNanos(0), until: UnixNanos(i64::MAX) };

fn folders(folder: &Path) -> Folders {
    let folders = Folders::new(&folder.join("results"), "main").unwrap();
    folders.make().unwrap();
    folders
}

fn query(folders: &Folders, window: Window) -> Query {
    Query { folders: vec![folders.results.clone()], window, pipelines: Vec::new() }
}

fn stats(folders: &Folders, by: &By) -> ProbeStats {
    probe_stats(&query(folders, ALL), by, UnixNanos(i64::MAX)).unwrap()
}

/// A probe of one target, `at` milliseconds after the morning began.
fn probe(seq: i64, target: &str, at: u64, outcome: Outcome) -> ProbeResult {
    let micros = |factor: u64| Some(Duration::from_micros((seq as u64 * 7_919 % 90_000) * factor));
    let phases = Phases { connect: micros(1), first_byte: micros(3), total: micros(4), ..Phases::default() };
    let failure =
        (outcome == Outcome::Down).then(|| Failure::new(ErrorKind::ConnectRefused, "nobody listens"));
    let team = if target.ends_with('1') { "one" } else { "other" };
    ProbeResult {
        outcome,
        started_at: MORNING.plus(Duration::from_millis(at)),
        lateness: Duration::from_micros(seq as u64),
        target: Arc::new(Target {
            name: target.into(),
            url: format!("https://{target}.example/").into(),
            labels: [("team".into(), team.into())].into(),
            every: None,
        }),
        pipeline: if target.starts_with('a') { "api".into() } else { "shop".into() },
        exchange: Arc::new(Exchange { failure, phases, ..Exchange::default() }),
        ..samples::empty(seq)
    }
}

/// Ten targets, each probed once a second for as long as there are rows.
fn many(rows: i64) -> Vec<ProbeResult> {
    (0..rows)
        .map(|seq| {
            let name = format!("{}{}", if seq % 2 == 0 { "a" } else { "b" }, seq % 10);
            let outcome = match seq % 13 {
                5 => Outcome::Down,
                7 => Outcome::Degraded,
                _ => Outcome::Up,
            };
            probe(seq, &name, seq as u64 * 100, outcome)
        })
        .collect()
}

/// Segments of so many rows; those from `open` on stay journals.
fn write(folders: &Folders, results: &[ProbeResult], rows: usize, open: usize) {
    for (at, part) in results.chunks(rows).enumerate() {
        let batches: Vec<&[ProbeResult]> = part.chunks(50).collect();
        let journal = samples::left_journal(folders, at as u32 + 1, &batches);
        if at < open {
            convert(folders, &journal).unwrap();
        }
    }
}

fn exact(results: &[&ProbeResult], q: f64) -> u64 {
    let total = |result: &&ProbeResult| result.exchange.phases.total.unwrap().as_micros() as u64;
    let mut sorted: Vec<u64> = results.iter().map(total).collect();
    sorted.sort_unstable();
    sorted[((q * sorted.len() as f64).ceil() as usize).max(1) - 1]
}

#[track_caller]
fn assert_group(group: &GroupStats, results: &[&ProbeResult]) {
    let count = |outcome| results.iter().filter(|result| result.outcome == outcome).count() as u64;
    assert_eq!(group.outcomes, Outcome::ALL.map(count));
    let down = count(Outcome::Down);
    let failures: Vec<(Arc<str>, u64)> =
        if down > 0 { vec![("connect_refused".into(), down)] } else { Vec::new() };
    assert_eq!(group.failures, failures);
    for q in [0.5, 0.95, 0.99] {
        let (wanted, found) = (exact(results, q), group.total.quantile(q).unwrap());
        assert!(wanted.abs_diff(found) as f64 <= wanted as f64 * 0.008, "{q}: {found} for {wanted}");
    }
    let longest = group.longest.as_ref().unwrap();
    assert_eq!(longest.micros as u64, exact(results, 1.0));
    let latest = results.iter().max_by_key(|result| result.lateness).unwrap();
    assert_eq!(group.latest.as_ref().unwrap().target, latest.target.name);
    assert_eq!(group.worst_phase(), Some(("first_byte", 0.75)));
}

/// The names of a row's group.
type Name = fn(&ProbeResult) -> (Option<String>, Option<String>);

#[test]
fn every_grouping_counts_what_a_plain_loop_counts() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(folder.path());
    let results = many(3_000);
    // The last of four segments is a journal still.
    write(&folders, &results, 800, 3);
    let all = stats(&folders, &By::All);
    assert_group(&all.groups[0], &results.iter().collect::<Vec<_>>());
    assert_eq!((all.groups.len(), all.targets, all.left_out.len()), (1, 10, 0));
    let up = all.groups[0].up_percent().unwrap();
    assert!((92.2..92.4).contains(&up), "{up}");
    let groupings: [(By, usize, Name); 3] = [
        (By::Pipeline, 2, |result| (Some(result.pipeline.to_string()), None)),
        (By::Target, 10, |result| (Some(result.pipeline.to_string()), Some(result.target.name.to_string()))),
        (By::Label("team".to_owned()), 2, |result| (None, Some(result.target.labels[0].1.to_string()))),
    ];
    for (by, groups, name) in groupings {
        let found = stats(&folders, &by);
        assert_eq!(found.groups.len(), groups, "{by:?}");
        for group in &found.groups {
            let text = |name: &Option<Arc<str>>| name.as_ref().map(ToString::to_string);
            let key = (text(&group.pipeline), text(&group.name));
            let own: Vec<_> = results.iter().filter(|result| name(result) == key).collect();
            assert_group(group, &own);
        }
    }
    let nobody = stats(&folders, &By::Label("floor".to_owned()));
    assert_eq!((nobody.groups.len(), nobody.groups[0].name.clone()), (1, None), "targets without the label");
}

#[test]
fn only_the_window_and_the_pipelines_that_are_asked_for_count() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(folder.path());
    write(&folders, &many(1_000), 400, 2);
    let at = |millis| MORNING.plus(Duration::from_millis(millis));
    let window = Window { since: at(10_000), until: at(90_000) };
    let asked = Query { pipelines: vec!["api".to_owned()], ..query(&folders, window) };
    let found = probe_stats(&asked, &By::All, MORNING).unwrap();
    assert_eq!((found.groups[0].probes(), found.targets), (400, 5));
    let nowhere = Query { pipelines: vec!["nobody".to_owned()], ..query(&folders, window) };
    assert!(probe_stats(&nowhere, &By::All, MORNING).unwrap().groups.is_empty());
    let later = query(&folders, Window { since: at(200_000), until: at(86_400_000 * 9) });
    assert!(probe_stats(&later, &By::Target, MORNING).unwrap().groups.is_empty());
    assert_eq!(last_result(&later).unwrap().map(UnixNanos::micros), Some(at(99_900).micros()));
    assert_eq!(last_result(&Query { folders: Vec::new(), ..later }).unwrap(), None);
    assert_eq!(last_result(&nowhere).unwrap(), None);
}

/// A journal is read while it is written, and counts once however far its conversion has come.
#[test]
fn a_segment_counts_once_whatever_has_become_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(folder.path());
    let results = many(100);
    let journal = samples::left_journal(&folders, 1, &[&results[..60], &results[60..]]);
    let whole = fs::read(&journal).unwrap();
    let probes = |folders| stats(folders, &By::All).groups.first().map_or(0, GroupStats::probes);
    assert_eq!(probes(&folders), 100);
    fs::write(&journal, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(probes(&folders), 60, "a torn tail");
    assert!(stats(&folders, &By::All).left_out.is_empty(), "which is no damage");
    fs::write(&journal, &whole).unwrap();
    convert(&folders, &journal).unwrap();
    fs::write(&journal, &whole).unwrap();
    assert_eq!(probes(&folders), 100, "published, and the journal is still there");
    fs::remove_dir_all(folders.results.join("probes")).unwrap();
    assert_eq!(probes(&folders), 100, "verdicts published only");
    assert_eq!(check_stats(&query(&folders, ALL)).unwrap().checks[0].verdicts(), 50);
}

/// Counts rows.
struct Rows(usize);
impl scan::Tally for Rows {
    fn take(&mut self, batch: &arrow::record_batch::RecordBatch) -> Result<(), arrow::error::ArrowError> {
        self.0 += batch.num_rows();
        Ok(())
    }
    fn merge(&mut self, other: Self) {
        self.0 += other.0;
    }
}

#[test]
fn what_is_gone_when_it_is_opened_is_looked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(folder.path());
    let results = many(100);
    write(&folders, &results[..50], 50, 1);
    let journal = samples::left_journal(&folders, 2, &[&results[50..]]);
    let wanted = rows::Wanted::new(Table::Probes, &["started_at", "pipeline"], ALL);
    let asked = query(&folders, ALL);
    let rounds = Cell::new(0);
    let list = || {
        rounds.set(rounds.get() + 1);
        let listed = segments::list(&asked.folders, Table::Probes, ALL)?;
        if rounds.get() == 1 {
            convert(&folders, &journal)?;
        }
        Ok(listed)
    };
    let (found, left_out) = scan::scan(list, &wanted, || Rows(0)).unwrap();
    assert_eq!((found.0, left_out.len(), rounds.get()), (100, 0, 2));
}

#[test]
fn changes_are_counted_over_segments_and_skipped_probes_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(folder.path());
    let (up, down, skipped) = (Outcome::Up, Outcome::Down, Outcome::Skipped);
    let story = [up, up, down, skipped, down, up, down, down, up, skipped, up];
    let results: Vec<_> =
        (0..).zip(story).map(|(seq, how)| probe(seq, "b1", seq as u64 * 1_000, how)).collect();
    for rows in [1, 2, 3, 11] {
        let _ = fs::remove_dir_all(&folders.results);
        write(&folders, &results, rows, results.len() / rows);
        let found = stats(&folders, &By::All);
        assert_eq!(found.flapping.len(), 1, "{rows}");
        assert_eq!((found.flapping[0].changes, &*found.flapping[0].target), (4, "b1"), "{rows}");
        assert_eq!(found.groups[0].up_percent(), Some(500.0 / 9.0));
        fs::remove_dir_all(folders.journal()).unwrap();
        fs::create_dir(folders.journal()).unwrap();
    }
    write(&folders, &results[..6], 2, 3);
    let _ = fs::remove_dir_all(&folders.results);
    write(&folders, &results[..5], 2, 3);
    assert!(stats(&folders, &By::All).flapping.is_empty(), "one outage is no flapping");
}

#[test]
fn the_last_certificate_of_a_target_counts() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(folder.path());
    let with = |seq: i64, leaf: i64, chain: i64| {
        let mut result = probe(seq, "b1", seq as u64 * 1_000, Outcome::Up);
        let tls = crate::model::TlsFacts {
            cert_not_after: Some(leaf),
            cert_chain_not_after: Some(chain),
            ..crate::model::TlsFacts::default()
        };
        result.exchange = Arc::new(Exchange { tls: Some(tls), ..Exchange::default() });
        result
    };
    write(&folders, &[with(1, 1_800_000_000, 1_700_000_000), with(2, 1_900_000_000, 1_850_000_000)], 1, 2);
    let found = |before: i64| {
        let ends = UnixNanos(before * 1_000_000_000);
        probe_stats(&query(&folders, ALL), &By::All, ends).unwrap().expiring
    };
    assert!(found(1_850_000_000).is_empty());
    assert_eq!(found(1_850_000_001)[0].not_after, UnixNanos(1_850_000_000_000_000_000));
}

#[test]
fn verdicts_of_attempts_that_were_replaced_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(folder.path());
    let verdict = |status| samples::verdict("price", status);
    let first = ProbeResult {
        is_final: false,
        verdicts: vec![verdict(CheckStatus::Fail)],
        ..probe(1, "b1", 1_000, Outcome::Down)
    };
    let second =
        ProbeResult { verdicts: vec![verdict(CheckStatus::Warn)], ..probe(2, "b1", 2_000, Outcome::Up) };
    let third =
        ProbeResult { verdicts: vec![verdict(CheckStatus::Error)], ..probe(3, "b1", 3_000, Outcome::Up) };
    write(&folders, &[first, second, third], 2, 1);
    let found = check_stats(&query(&folders, ALL)).unwrap();
    assert_eq!(found.checks.len(), 1);
    assert_eq!((found.checks[0].statuses, found.checks[0].cost.quantile(0.5)), ([0, 1, 0, 1], Some(251)));
    assert_eq!(stats(&folders, &By::All).groups[0].probes(), 2);
}

/// D17: a file of an older version, and one of a newer one.
#[test]
fn d17_columns_that_are_missing_are_null_and_unknown_ones_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(folder.path());
    write(&folders, &many(20), 20, 1);
    let place = samples::files_below(&folders.results.join("probes"))[0].clone();
    let path = folders.results.join("probes").join(place);
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&path).unwrap()).unwrap();
    let batch = reader.build().unwrap().next().unwrap().unwrap();
    let schema = batch.schema();
    let dropped = ["tls_us", "cert_not_after", "cert_chain_not_after", "failed_check", "labels"];
    let kept: Vec<_> = (0..schema.fields().len())
        .filter(|at| !dropped.contains(&schema.field(*at).name().as_str()))
        .collect();
    let mut older = batch.project(&kept).unwrap();
    let mut fields = older.schema().fields().to_vec();
    let mut columns = older.columns().to_vec();
    fields.push(Arc::new(arrow::datatypes::Field::new("mood", arrow::datatypes::DataType::Int64, true)));
    columns.push(arrow::array::new_null_array(&arrow::datatypes::DataType::Int64, older.num_rows()));
    older =
        arrow::record_batch::RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns)
            .unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, older.schema(), None).unwrap();
    writer.write(&older).unwrap();
    writer.close().unwrap();
    fs::write(
        path.with_file_name(path.file_name().unwrap().to_str().unwrap().replace("-000001", "-000002")),
        bytes,
    )
    .unwrap();
    for by in [By::All, By::Label("team".to_owned())] {
        let found = stats(&folders, &by);
        assert_eq!(found.groups.iter().map(GroupStats::probes).sum::<u64>(), 40, "{by:?}");
        assert!(found.left_out.is_empty(), "{:?}", found.left_out);
    }
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_counts() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(folder.path());
    write(&folders, &many(100), 50, 2);
    let place = samples::files_below(&folders.results.join("probes"))[0].clone();
    let path = folders.results.join("probes").join(place);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
    let found = stats(&folders, &By::All);
    assert_eq!(found.groups[0].probes(), 50);
    assert_eq!(found.left_out.iter().map(|left| left.path.clone()).collect::<Vec<_>>(), [path]);
}
