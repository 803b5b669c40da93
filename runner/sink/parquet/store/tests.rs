//! Segments over time.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::*;
use crate::clock::Clock;
use crate::model::ProbeResult;
use crate::sink::counters::read;
use crate::sink::parquet::{Rotate, Table};
use crate::sink::samples;
use crate::sink::stop::{SinkClock, StopSignal};

/// 2026-09-01 23:59:00 UTC.
const EVENING: UnixNanos = UnixNanos(1_788_307_140_000_000_000);

/// A store with its clock, in a folder of its own.
struct Fixture {
    folder: tempfile::TempDir,
    clock: SinkClock,
    counters: Arc<WriterCounters>,
    _stop: StopSignal,
    store: Store,
}

impl Fixture {
    fn new(change: impl FnOnce(&mut ParquetSpec)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut spec = ParquetSpec::new(folder.path().join("results"));
        change(&mut spec);
        let clock = SinkClock::here(Clock::simulated(EVENING));
        let (stop_signal, stop) = StopSignal::new(clock.clone());
        let counters = Arc::new(WriterCounters::default());
        let store =
            Store::open(&spec, "main", samples::RUN.into(), Arc::clone(&counters), stop, clock.clone())
                .unwrap();
        Self { folder, clock, counters, _stop: stop_signal, store }
    }

    /// Writes one result that began `after` the evening.
    fn write(&mut self, seq: i64, after: Duration) {
        let result = ProbeResult { started_at: EVENING.plus(after), ..samples::empty(seq) };
        self.store.encode(&samples::batch(std::slice::from_ref(&result))).unwrap();
        let rows = Rows { day: Day::of(result.started_at), first: result.started_at, probes: 1, checks: 1 };
        self.store.write(rows, self.clock.moment()).unwrap();
    }

    async fn advance(&mut self, by: Duration) {
        tokio::time::advance(by).await;
        self.store.tick(self.clock.moment());
    }

    fn open_days(&self) -> usize {
        self.store.open.len()
    }

    /// What is published once everything is.
    fn finish(mut self) -> Vec<(String, Vec<i64>)> {
        self.store.finish();
        let results = self.folder.path().join("results");
        assert_eq!(read(&self.counters.journals_waiting), 0);
        assert_eq!(
            samples::files_below(&self.folder.path().join("state/main/journal")),
            Vec::<PathBuf>::new()
        );
        assert_eq!(samples::all_seqs(&results, Table::Checks), samples::all_seqs(&results, Table::Probes));
        samples::published(&results, Table::Probes)
    }
}

fn dates(published: &[(String, Vec<i64>)]) -> Vec<(&str, &[i64])> {
    published.iter().map(|(date, seqs)| (date.as_str(), seqs.as_slice())).collect()
}

const FIRST: &str = "date=2026-09-01";
const SECOND: &str = "date=2026-09-02";

#[tokio::test(start_paused = true)]
async fn a_day_stays_open_until_its_last_probes_have_ended() {
    let mut fixture = Fixture::new(|spec| spec.grace = Duration::from_secs(30));
    fixture.write(1, Duration::ZERO);
    fixture.advance(Duration::from_secs(70)).await;
    fixture.write(2, Duration::from_secs(65));
    fixture.write(3, Duration::from_secs(59));
    assert_eq!(fixture.open_days(), 2, "ten seconds past midnight");
    fixture.advance(Duration::from_secs(20)).await;
    assert_eq!(fixture.open_days(), 1, "the grace is over");
    fixture.write(4, Duration::from_secs(58));
    assert_eq!(fixture.open_days(), 2, "a late one still goes to its own day");
    assert_eq!(dates(&fixture.finish()), [(FIRST, &[1, 3][..]), (FIRST, &[4]), (SECOND, &[2])]);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_segment_is_closed_by_the_clock() {
    let mut fixture = Fixture::new(|spec| spec.rotate.every = Duration::from_secs(10));
    fixture.write(1, Duration::ZERO);
    fixture.advance(Duration::from_secs(9)).await;
    assert_eq!(fixture.open_days(), 1);
    fixture.advance(Duration::from_secs(1)).await;
    assert_eq!(fixture.open_days(), 0, "no result came since");
    fixture.advance(Duration::from_mins(1)).await;
    assert_eq!(dates(&fixture.finish()), [(FIRST, &[1][..])], "no empty files");
}

#[tokio::test(start_paused = true)]
async fn a_segment_is_closed_by_rows_and_by_bytes() {
    let mut fixture = Fixture::new(|spec| spec.rotate = Rotate { rows: 2, ..Rotate::default() });
    (1..=5).for_each(|seq| fixture.write(seq, Duration::ZERO));
    assert_eq!(dates(&fixture.finish()).iter().map(|(_, seqs)| seqs.len()).collect::<Vec<_>>(), [2, 2, 1]);
    let mut fixture = Fixture::new(|spec| spec.rotate = Rotate { size: 1, ..Rotate::default() });
    (1..=3).for_each(|seq| fixture.write(seq, Duration::ZERO));
    assert_eq!(dates(&fixture.finish()).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_broken_clock_does_not_open_days_without_end() {
    let mut fixture = Fixture::new(|_| ());
    for day in 0..20_u32 {
        fixture.write(i64::from(day) + 1, Duration::from_hours(24) * day);
        assert!(fixture.open_days() <= OPEN_DAYS);
    }
    assert_eq!(fixture.finish().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_the_disk_refused_to_keep_gets_nothing_more() {
    let mut fixture = Fixture::new(|_| ());
    fixture.write(1, Duration::ZERO);
    for open in fixture.store.open.values() {
        open.journal.poison().store(true, Ordering::Release);
    }
    fixture.write(2, Duration::ZERO);
    assert_eq!(dates(&fixture.finish()), [(FIRST, &[1][..]), (FIRST, &[2])]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_taken_back_and_written_elsewhere() {
    let mut fixture = Fixture::new(|spec| spec.fsync = Fsync::Each);
    fixture.write(1, Duration::ZERO);
    fixture.write(2, Duration::ZERO);
    // As after a failed sync of the second batch.
    let bytes = fixture.store.encoded.len() as u64;
    let day = Day::of(EVENING);
    fixture.store.open.get_mut(&day).unwrap().journal.take_back(bytes);
    fixture.store.seal(day);
    fixture.write(2, Duration::ZERO);
    assert_eq!(dates(&fixture.finish()), [(FIRST, &[1][..]), (FIRST, &[2])]);
}

#[tokio::test(start_paused = true)]
async fn journals_are_synced_by_the_clock() {
    let mut fixture = Fixture::new(|_| ());
    fixture.write(1, Duration::ZERO);
    let synced = |fixture: &Fixture| fixture.store.open[&Day::of(EVENING)].synced;
    fixture.advance(Duration::from_millis(500)).await;
    assert_eq!(synced(&fixture), 0);
    fixture.advance(Duration::from_millis(500)).await;
    assert!(synced(&fixture) > 0);
    assert_eq!(fixture.finish().len(), 1);
}

#[tokio::test]
async fn one_results_folder_has_one_writer_a_runner() {
    let first = Fixture::new(|_| ());
    let spec = ParquetSpec::new(first.folder.path().join("results"));
    let again = |runner: &str, path: &Path| {
        let (_signal, stop) = StopSignal::new(first.clock.clone());
        let spec = ParquetSpec { results: path.to_owned(), ..spec.clone() };
        Store::open(
            &spec,
            runner,
            samples::RUN.into(),
            Arc::default(),
            stop,
            SinkClock::here(Clock::system()),
        )
        .map(|_| ())
    };
    match again("main", &spec.results) {
        Err(SinkError::Locked { runner, pid, .. }) => {
            assert_eq!((runner.as_str(), pid), ("main", Some(std::process::id())));
        }
        other => panic!("{other:?}"),
    }
    again("other", &spec.results).unwrap();
    again("main", &first.folder.path().join("elsewhere")).unwrap();
    let results = spec.results.clone();
    let Fixture { folder, store, .. } = first;
    drop(store);
    let (_signal, stop) = StopSignal::new(SinkClock::here(Clock::system()));
    Store::open(
        &ParquetSpec::new(results),
        "main",
        samples::RUN.into(),
        Arc::default(),
        stop,
        SinkClock::here(Clock::system()),
    )
    .unwrap();
    assert!(fs::read_to_string(folder.path().join("state/main/lock")).unwrap().ends_with('\n'));
}

#[tokio::test]
async fn a_run_without_an_identity_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_signal, stop) = StopSignal::new(SinkClock::here(Clock::system()));
    let spec = ParquetSpec::new(folder.path().join("results"));
    let refused =
        Store::open(&spec, "main", "run".into(), Arc::default(), stop, SinkClock::here(Clock::system()))
            .map(|_| ());
    assert!(matches!(refused, Err(SinkError::RunId { .. })));
}

#[tokio::test(start_paused = true)]
async fn d11_rows_of_a_removed_journal_are_written_anew() {
    let mut fixture = Fixture::new(|spec| spec.fsync = Fsync::Each);
    fixture.write(1, Duration::ZERO);
    fixture.write(2, Duration::ZERO);
    for folder in ["state", "results"] {
        fs::remove_dir_all(fixture.folder.path().join(folder)).unwrap();
    }
    // Before anybody has noticed.
    fixture.write(3, Duration::ZERO);
    fixture.advance(Duration::from_millis(100)).await;
    fixture.write(4, Duration::ZERO);
    let spec = ParquetSpec::new(fixture.folder.path().join("results"));
    let (_signal, stop) = StopSignal::new(fixture.clock.clone());
    let clock = fixture.clock.clone();
    let second = Store::open(&spec, "main", samples::RUN.into(), Arc::default(), stop, clock).map(|_| ());
    assert!(matches!(second, Err(SinkError::Locked { .. })), "the name is locked anew");
    assert_eq!(dates(&fixture.finish()), [(FIRST, &[1, 4, 2, 3][..])], "by target");
}

#[tokio::test(start_paused = true)]
async fn d11_rows_of_a_journal_that_was_moved_stay_with_it() {
    let mut fixture = Fixture::new(|_| ());
    fixture.write(1, Duration::ZERO);
    let moved = fixture.folder.path().join("moved");
    fs::rename(fixture.folder.path().join("state"), &moved).unwrap();
    fixture.advance(Duration::from_millis(100)).await;
    fixture.write(2, Duration::ZERO);
    let journals = samples::files_below(&moved.join("main/journal"));
    assert_eq!(journals.len(), 1);
    let kept = moved.join("main/journal").join(&journals[0]);
    let contents = crate::sink::parquet::recover::JournalReader::open(&kept).unwrap().contents().unwrap();
    assert_eq!(contents.probes, 1);
    assert_eq!(dates(&fixture.finish()), [(FIRST, &[2][..])]);
}

/// What was written between the last sync and the close of a journal is synced too, however long its conversion
/// may take.
#[tokio::test(start_paused = true)]
async fn a_closed_journal_gets_a_last_sync() {
    let mut fixture = Fixture::new(|spec| spec.rotate = Rotate { rows: 2, ..Rotate::default() });
    let busy = fixture.store.syncer.take();
    fixture.write(1, Duration::ZERO);
    fixture.write(2, Duration::ZERO);
    assert_eq!((fixture.open_days(), fixture.store.unsynced.len()), (0, 1), "nobody syncs at present");
    fixture.store.syncer = busy;
    fixture.advance(Duration::from_millis(100)).await;
    assert_eq!(fixture.store.unsynced.len(), 0);
    assert_eq!(fixture.finish().len(), 1);
}
