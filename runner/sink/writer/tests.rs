//! The writer as its users see it: queue, journal, files, followers, faults.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use super::*;
use crate::clock::UnixNanos;
use crate::model::ProbeResult;
use crate::sink::follow::Follower;
use crate::sink::parquet::lock::{Lock, Locking};
use crate::sink::parquet::recover::JournalReader;
use crate::sink::parquet::{Folders, Fsync, Rotate, Table};
use crate::sink::samples;

const LONG: Duration = Duration::from_mins(1);

fn spec(folder: &Path) -> WriterSpec {
    WriterSpec {
        runner: "main".into(),
        run_id: samples::RUN.into(),
        parquet: Some(ParquetSpec::new(folder.join("results"))),
        followers: Vec::new(),
        first_number: 1,
        capacity: 1_024,
        clock: Clock::system(),
    }
}

/// Waits for something that another thread does.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        // The sink's thread runs in real time, also where this runtime's clock is paused.
        tokio::task::spawn_blocking(|| thread::sleep(Duration::from_millis(5))).await.unwrap();
    }
    panic!("never happened: {what}");
}

async fn stop(writer: Writer) -> WriterSummary {
    writer.stop_signal().by(Clock::system().now() + LONG);
    writer.drained().await.unwrap()
}

/// Notes the numbers that it is given.
struct Noting(Arc<Mutex<Vec<i64>>>);

impl Follower for Noting {
    fn deliver(&mut self, batch: &ResultBatch) -> io::Result<()> {
        use arrow::array::AsArray;
        let seqs = batch.probes["seq"].as_primitive::<arrow::datatypes::Int64Type>();
        self.0.lock().unwrap().extend(seqs.values());
        Ok(())
    }
}

fn follower(name: &str, follower: impl Follower + 'static) -> FollowerSpec {
    FollowerSpec {
        name: name.to_owned(),
        pipelines: None,
        on_full: OnFull::Block,
        follower: Box::new(follower),
    }
}

#[tokio::test]
async fn every_result_is_published_once_and_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let noted = Arc::new(Mutex::new(Vec::new()));
    let mut spec = spec(folder.path());
    spec.followers.push(follower("noting", Noting(Arc::clone(&noted))));
    if let Some(parquet) = &mut spec.parquet {
        parquet.rotate = Rotate { rows: 700, ..Rotate::default() };
    }
    let writer = Writer::start(spec).unwrap();
    let mut sending = tokio::task::JoinSet::new();
    for part in 0..4 {
        let sender = writer.sender();
        sending.spawn(async move {
            for seq in (1..=3_000).filter(|seq| seq % 4 == part) {
                sender.send(samples::full(seq)).await.unwrap();
            }
        });
    }
    sending.join_all().await;
    let counters = Arc::clone(writer.counters());
    let summary = stop(writer).await;
    assert_eq!(
        (summary.rows, summary.check_rows, summary.rows_lost, summary.journals_left),
        (3_000, 3_000, 0, 0)
    );
    let all: Vec<_> = (1..=3_000).collect();
    let results = folder.path().join("results");
    assert_eq!(samples::all_seqs(&results, Table::Probes), all);
    assert_eq!(samples::all_seqs(&results, Table::Checks), all);
    let mut noted = noted.lock().unwrap().clone();
    noted.sort_unstable();
    assert_eq!(noted, all);
    let files = samples::files_below(&results);
    assert!(files.len() >= 4, "{files:?}");
    assert_eq!(summary.files.len(), files.len());
    assert!(summary.files.iter().all(|file| file.exists()));
    assert_eq!(counters.queue_depth(), 0);
    assert_eq!(read(&counters.rows_published), 3_000);
}

/// Asserts that what it is given is in a journal or a file already.
struct Suspicious {
    folders: Folders,
    told: Arc<AtomicU64>,
    unsafe_results: Arc<Mutex<Vec<u64>>>,
}

impl Follower for Suspicious {
    fn deliver(&mut self, batch: &ResultBatch) -> io::Result<()> {
        let told = self.told.load(Ordering::Acquire) + batch.probes.num_rows() as u64;
        let journals = fs::read_dir(self.folders.journal())?.map(|entry| entry.unwrap().path());
        let rows = |path: std::path::PathBuf| JournalReader::open(&path).unwrap().contents().unwrap().probes;
        let safe: u64 = journals.map(rows).sum();
        if safe < told {
            self.unsafe_results.lock().unwrap().push(told);
        }
        self.told.store(told, Ordering::Release);
        Ok(())
    }
}

#[tokio::test]
async fn followers_are_told_only_what_is_in_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let unsafe_results = Arc::new(Mutex::new(Vec::new()));
    for fsync in [Fsync::default(), Fsync::Each, Fsync::Off] {
        let mut spec = spec(folder.path());
        let folders = Folders::new(&folder.path().join("results"), "main").unwrap();
        let told = Arc::new(AtomicU64::new(0));
        let suspicious =
            Suspicious { folders, told: Arc::clone(&told), unsafe_results: Arc::clone(&unsafe_results) };
        spec.run_id = crate::clock::new_run_id().into();
        spec.followers.push(follower("suspicious", suspicious));
        if let Some(parquet) = &mut spec.parquet {
            parquet.fsync = fsync;
        }
        let writer = Writer::start(spec).unwrap();
        let sender = writer.sender();
        for seq in 1..=2_500 {
            sender.send(samples::empty(seq)).await.unwrap();
        }
        // Before the journal becomes files.
        until("told", || told.load(Ordering::Acquire) == 2_500).await;
        assert_eq!(stop(writer).await.rows, 2_500);
    }
    assert_eq!(*unsafe_results.lock().unwrap(), Vec::<u64>::new());
    assert_eq!(samples::all_seqs(&folder.path().join("results"), Table::Probes).len(), 7_500);
}

#[tokio::test]
async fn what_earlier_runs_left_is_published_but_not_what_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("results");
    let folders_of = |runner: &str| {
        let folders = Folders::new(&results, runner).unwrap();
        folders.make().unwrap();
        folders
    };
    let (own, dead, alive) = (folders_of("main"), folders_of("dead"), folders_of("alive"));
    samples::left_journal(&own, 1, &[&[samples::full(1)]]);
    samples::left_journal(&dead, 1, &[&[samples::full(2)]]);
    let kept = samples::left_journal(&alive, 1, &[&[samples::full(3)]]);
    let unreadable = samples::left_journal(&own, 2, &[]);
    fs::write(&unreadable, [7; 5_000]).unwrap();
    fs::write(own.tmp().join("stray.parquet"), "PAR1").unwrap();
    let Locking::Held(_lock) = Lock::take(&alive.state()).unwrap() else { panic!("nobody holds it") };
    let spec = WriterSpec { run_id: crate::clock::new_run_id().into(), ..spec(folder.path()) };
    let writer = Writer::start(spec).unwrap();
    writer.sender().send(samples::full(4)).await.unwrap();
    let counters = Arc::clone(writer.counters());
    let summary = stop(writer).await;
    assert_eq!((summary.rows, summary.rows_recovered), (1, 2));
    assert_eq!(samples::all_seqs(&results, Table::Probes), [1, 2, 4]);
    assert!(kept.exists());
    assert!(own.quarantine().join(unreadable.file_name().unwrap()).exists());
    assert_eq!(read(&counters.quarantined), 1);
    assert_eq!(samples::files_below(&own.tmp()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_holds_results_back_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let noted = Arc::new(Mutex::new(Vec::new()));
    let mut spec = WriterSpec { capacity: 8, ..spec(folder.path()) };
    spec.followers.push(follower("noting", Noting(Arc::clone(&noted))));
    let writer = Writer::start(spec).unwrap();
    let journals = folder.path().join("state/main/journal");
    fs::remove_dir(&journals).unwrap();
    fs::write(&journals, "in the way").unwrap();
    let sender = writer.sender();
    sender.send(samples::full(1)).await.unwrap();
    until("blocked", || sender.counters().blocked.load(Ordering::Acquire)).await;
    let mut accepted = 1;
    while sender.try_send(samples::full(accepted + 1)).is_ok() {
        accepted += 1;
    }
    assert_eq!(accepted, 9, "one at hand and eight in the queue");
    assert_eq!(sender.counters().queue_depth(), 8);
    assert_eq!(read(&sender.counters().rows_dropped), 1);
    assert!(noted.lock().unwrap().is_empty());
    fs::remove_file(&journals).unwrap();
    until("written again", || read(&sender.counters().rows_journalled) == 9).await;
    assert!(!sender.counters().blocked.load(Ordering::Acquire));
    let summary = stop(writer).await;
    assert_eq!((summary.rows, summary.rows_lost), (9, 0));
    assert_eq!(samples::all_seqs(&folder.path().join("results"), Table::Probes), (1..=9).collect::<Vec<_>>());
    assert_eq!(*noted.lock().unwrap(), (1..=9).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stop_ends_at_its_deadline_though_the_journal_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let writer = Writer::start(spec(folder.path())).unwrap();
    let journals = folder.path().join("state/main/journal");
    fs::remove_dir(&journals).unwrap();
    fs::write(&journals, "in the way").unwrap();
    let sender = writer.sender();
    for seq in 1..=3 {
        sender.send(samples::full(seq)).await.unwrap();
    }
    let stop_signal = writer.stop_signal();
    let clock = Clock::system();
    stop_signal.by(clock.now() + LONG);
    let stopping = crate::telemetry::spawn("stop", writer.drained());
    until("blocked", || sender.counters().blocked.load(Ordering::Acquire)).await;
    let refused = || matches!(sender.try_send(samples::full(9)), Err(SendRefused::Stopped));
    until("the queue is closed", refused).await;
    // The second signal.
    stop_signal.by(clock.now());
    let summary = stopping.await.unwrap().unwrap();
    let accepted = read(&sender.counters().rows_accepted);
    assert_eq!((summary.rows, summary.rows_lost), (0, accepted));
}

#[tokio::test]
async fn conversions_that_fail_are_tried_again_and_left_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("results");
    let mut spec = spec(folder.path());
    if let Some(parquet) = &mut spec.parquet {
        parquet.rotate = Rotate { rows: 1, ..Rotate::default() };
    }
    let writer = Writer::start(spec).unwrap();
    fs::write(results.join("probes"), "in the way").unwrap();
    writer.sender().send(samples::full(1)).await.unwrap();
    let counters = Arc::clone(writer.counters());
    until("a failure", || read(&counters.convert_errors) > 0).await;
    fs::remove_file(results.join("probes")).unwrap();
    until("success", || read(&counters.rows_published) == 1).await;
    assert_eq!(samples::all_seqs(&results, Table::Checks), [1], "published before the failure, and once");
    fs::remove_dir_all(results.join("probes")).unwrap();
    fs::write(results.join("probes"), "in the way").unwrap();
    writer.sender().send(samples::full(2)).await.unwrap();
    assert_eq!(stop(writer).await.journals_left, 1);
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_rotates_a_quiet_stream() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::simulated(UnixNanos(samples::MORNING.0));
    let writer = Writer::start(WriterSpec { clock, ..spec(folder.path()) }).unwrap();
    writer.sender().send(samples::full(1)).await.unwrap();
    let counters = Arc::clone(writer.counters());
    until("journalled", || read(&counters.rows_journalled) == 1).await;
    assert_eq!(read(&counters.files), 0);
    tokio::time::advance(Duration::from_hours(1)).await;
    until("published", || read(&counters.files) == 2).await;
}

#[tokio::test]
async fn results_of_two_days_go_to_two_files() {
    let folder = tempfile::tempdir().unwrap();
    let writer = Writer::start(spec(folder.path())).unwrap();
    let sender = writer.sender();
    for seq in 1..=6 {
        let day = Duration::from_hours(24) * u32::from(seq % 2 == 0);
        let started_at = samples::MORNING.plus(day);
        sender.send(ProbeResult { started_at, ..samples::full(seq) }).await.unwrap();
    }
    stop(writer).await;
    let days: HashSet<_> = samples::published(&folder.path().join("results"), Table::Probes)
        .into_iter()
        .map(|(date, mut seqs)| {
            seqs.sort_unstable();
            (date, seqs)
        })
        .collect();
    let expected =
        [("date=2026-09-01".to_owned(), vec![1, 3, 5]), ("date=2026-09-02".to_owned(), vec![2, 4, 6])];
    assert_eq!(days, HashSet::from(expected));
}

/// Fails as it is told.
struct Failing(io::ErrorKind, Arc<Mutex<u32>>);

impl Follower for Failing {
    fn deliver(&mut self, _: &ResultBatch) -> io::Result<()> {
        *self.1.lock().unwrap() += 1;
        Err(self.0.into())
    }
}

#[tokio::test]
async fn followers_fail_alone_and_get_only_their_pipelines() {
    let calls = [Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0))];
    let noted = Arc::new(Mutex::new(Vec::new()));
    let wanted = HashSet::from([Arc::from("shop")]);
    let noting: Box<dyn Follower> = Box::new(Noting(Arc::clone(&noted)));
    let followers = vec![
        follower("gone", Failing(io::ErrorKind::BrokenPipe, Arc::clone(&calls[0]))),
        follower("full", Failing(io::ErrorKind::StorageFull, Arc::clone(&calls[1]))),
        FollowerSpec {
            name: "noting".to_owned(),
            pipelines: Some(wanted),
            on_full: OnFull::Block,
            follower: noting,
        },
    ];
    let folder = tempfile::tempdir().unwrap();
    let spec = WriterSpec { parquet: None, followers, ..spec(folder.path()) };
    let writer = Writer::start(spec).unwrap();
    let counters = Arc::clone(writer.counters());
    let sender = writer.sender();
    for (seq, pipeline) in [(1, "shop"), (2, "other"), (3, "shop")] {
        sender.send(ProbeResult { pipeline: pipeline.into(), ..samples::full(seq) }).await.unwrap();
        // A batch each.
        let told = || *calls[1].lock().unwrap() == u32::try_from(seq).unwrap();
        until("told", told).await;
    }
    let summary = stop(writer).await;
    assert_eq!(summary.rows, 3);
    assert_eq!(*noted.lock().unwrap(), [1, 3]);
    assert_eq!((*calls[0].lock().unwrap(), *calls[1].lock().unwrap()), (1, 3));
    assert_eq!((read(&counters.followers_ended), read(&counters.follower_errors)), (1, 3));
    assert_eq!(samples::files_below(folder.path()), Vec::<PathBuf>::new(), "nothing is kept");
}

#[tokio::test]
async fn a_writer_ends_once_its_senders_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let writer = Writer::start(spec(folder.path())).unwrap();
    let sender = writer.sender();
    sender.send(samples::full(1)).await.unwrap();
    drop(sender);
    assert_eq!(writer.drained().await.unwrap().rows, 1);
    let again = WriterSpec { run_id: crate::clock::new_run_id().into(), ..spec(folder.path()) };
    assert_eq!(
        stop(Writer::start(again).unwrap()).await,
        WriterSummary::default(),
        "nothing written, no files"
    );
}

#[test]
fn bodies_do_not_wait_in_the_queue() {
    let shared = samples::full(1);
    let other_owner = Arc::clone(&shared.exchange);
    for result in [samples::full(1), shared] {
        let queued = Waiting::of(result);
        assert!(queued.result.exchange.body.is_empty());
        assert_eq!(queued.body_hash, other_owner.body_xxh3());
    }
    assert!(!other_owner.body.is_empty());
}

/// Says to the test below, run as a process of its own, how its log shall fail.
const LOG: &str = "PROBITY_TEST_LOG";

#[test]
fn a_fault_ends_the_process_whatever_becomes_of_the_log() {
    match std::env::var(LOG).as_deref() {
        Ok("panics") => abort_after(|| panic!("standard error is gone")),
        Ok(_hangs) => abort_after(|| thread::sleep(LONG)),
        Err(_) => {}
    }
    let folder = tempfile::tempdir().unwrap();
    for log in ["panics", "hangs"] {
        let this = "sink::writer::tests::a_fault_ends_the_process_whatever_becomes_of_the_log";
        let status = process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", this, "--nocapture"])
            .env(LOG, log)
            .current_dir(folder.path())
            .stdout(process::Stdio::null())
            .stderr(process::Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(rustix::process::Signal::ABORT.as_raw()), "{log}");
    }
}
