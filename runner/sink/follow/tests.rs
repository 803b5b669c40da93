//! Followers that hang, panic or are late, behind a writer.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};

use super::*;
use crate::clock::Clock;
use crate::model::ProbeResult;
use crate::sink::counters::read;
use crate::sink::parquet::{SegmentName, Table};
use crate::sink::{Format, ParquetSpec, SendRefused, SinkError, StdoutSink, Writer, WriterSpec, samples};

const LONG: Duration = Duration::from_mins(1);
const SOON: Duration = Duration::from_millis(300);

fn spec(folder: &Path, parquet: bool, followers: Vec<FollowerSpec>) -> WriterSpec {
    WriterSpec {
        runner: "main".into(),
        run_id: samples::RUN.into(),
        parquet: parquet.then(|| ParquetSpec::new(folder.join("results"))),
        followers,
        first_number: 1,
        capacity: 128,
        clock: Clock::system(),
    }
}

fn named(name: &str, follower: impl Follower + 'static) -> FollowerSpec {
    FollowerSpec {
        name: name.to_owned(),
        pipelines: None,
        on_full: OnFull::Block,
        follower: Box::new(follower),
    }
}

/// Waits for something that another thread does.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        tokio::task::spawn_blocking(|| thread::sleep(Duration::from_millis(5))).await.unwrap();
    }
    panic!("never happened: {what}");
}

/// A pipe that nobody drains until it is opened: a write hangs.
#[derive(Clone, Default)]
struct Pipe(Arc<(Mutex<PipeState>, Condvar)>);

#[derive(Default)]
struct PipeState {
    open: bool,
    hanging: bool,
    text: Vec<u8>,
}

impl Write for Pipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let (state, opened) = &*self.0;
        let mut state = state.lock().unwrap();
        while !state.open {
            state.hanging = true;
            state = opened.wait(state).unwrap();
        }
        state.hanging = false;
        state.text.extend(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Pipe {
    fn follower(&self) -> FollowerSpec {
        named("pipe", StdoutSink::new(self.clone(), Format::Json, false))
    }

    fn open(&self) {
        self.0.0.lock().unwrap().open = true;
        self.0.1.notify_all();
    }

    fn hangs(&self) -> bool {
        self.0.0.lock().unwrap().hanging
    }

    /// The numbers of the rows that came out.
    fn seqs(&self) -> Vec<i64> {
        let state = self.0.0.lock().unwrap();
        let lines = std::str::from_utf8(&state.text).unwrap().lines();
        let seq =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_i64().unwrap();
        lines.map(seq).collect()
    }
}

/// A result of a day of its own, so that it is a batch of its own.
fn of_its_own_day(seq: i64) -> ProbeResult {
    let day = Duration::from_hours(24) * u32::try_from(seq).unwrap();
    ProbeResult { started_at: samples::MORNING.plus(day), ..samples::empty(seq) }
}

#[tokio::test]
async fn a_pipe_that_nobody_drains_holds_up_neither_the_journal_nor_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = Pipe::default();
    let writer = Writer::start(spec(folder.path(), true, vec![pipe.follower()])).unwrap();
    let (sender, counters) = (writer.sender(), Arc::clone(writer.counters()));
    sender.send(samples::full(1)).await.unwrap();
    until("hanging", || pipe.hangs()).await;
    for seq in 2..=1_500 {
        sender.send(samples::full(seq)).await.unwrap();
    }
    until("journalled", || read(&counters.rows_journalled) == 1_500).await;
    assert!(read(&counters.follower_batches_waiting) > 0);
    let (clock, deadline) = (Clock::system(), Clock::system().now() + SOON);
    writer.stop_signal().by(deadline);
    let summary = writer.drained().await.unwrap();
    assert!(clock.now() >= deadline, "it had until the deadline");
    assert_eq!((summary.rows, summary.rows_lost, summary.journals_left), (1_500, 0, 0));
    let all: Vec<_> = (1..=1_500).collect();
    assert_eq!(samples::all_seqs(&folder.path().join("results"), Table::Probes), all);
    assert!(read(&counters.follower_batches_dropped) > 1);
    assert_eq!(read(&counters.follower_batches_waiting), 0);
    assert!(pipe.hangs());
    pipe.open();
}

#[tokio::test]
async fn a_follower_too_far_behind_slows_down_and_gets_everything_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = Pipe::default();
    let writer = Writer::start(spec(folder.path(), false, vec![pipe.follower()])).unwrap();
    let (sender, counters) = (writer.sender(), Arc::clone(writer.counters()));
    for seq in 1..=100 {
        sender.send(of_its_own_day(seq)).await.unwrap();
    }
    let waiting = || read(&counters.follower_batches_waiting);
    until("a full queue", || pipe.hangs() && waiting() >= 64).await;
    let mut accepted = 100;
    while sender.try_send(of_its_own_day(accepted + 1)).is_ok() {
        accepted += 1;
    }
    let waits = || counters.queue_depth() == 128 && waiting() + 1 + 128 == accepted as u64;
    until("one is at hand, the others wait", waits).await;
    assert!(matches!(sender.try_send(of_its_own_day(1)), Err(SendRefused::Full)), "nobody takes from it");
    pipe.open();
    drop(sender);
    writer.drained().await.unwrap();
    assert_eq!(pipe.seqs(), (1..=accepted).collect::<Vec<_>>());
    assert_eq!(read(&counters.follower_batches_dropped), 0);
}

#[tokio::test]
async fn a_stop_makes_safe_what_waits_behind_a_full_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = Pipe::default();
    let writer = Writer::start(spec(folder.path(), false, vec![pipe.follower()])).unwrap();
    let (sender, counters) = (writer.sender(), Arc::clone(writer.counters()));
    for seq in 1..=100 {
        sender.send(of_its_own_day(seq)).await.unwrap();
    }
    until("a full queue", || pipe.hangs() && read(&counters.follower_batches_waiting) >= 64).await;
    for seq in 101..=160 {
        sender.send(of_its_own_day(seq)).await.unwrap();
    }
    // The second signal, and senders that are still there.
    writer.stop_signal().by(Clock::system().now() + LONG);
    writer.stop_signal().by(Clock::system().now() + SOON);
    assert_eq!(writer.drained().await.unwrap().rows, 160);
    assert!(matches!(sender.try_send(samples::full(1)), Err(SendRefused::Stopped)));
    assert_eq!(read(&counters.follower_batches_dropped), 160, "the one at hand included");
    pipe.open();
}

#[tokio::test]
async fn what_a_slow_follower_has_no_room_for_is_left_out_there_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = Pipe::default();
    let follower = FollowerSpec { on_full: OnFull::DropNewest, ..pipe.follower() };
    let writer = Writer::start(spec(folder.path(), false, vec![follower])).unwrap();
    let (sender, counters) = (writer.sender(), Arc::clone(writer.counters()));
    sender.send(of_its_own_day(1)).await.unwrap();
    until("hanging", || pipe.hangs()).await;
    for seq in 2..=300 {
        sender.send(of_its_own_day(seq)).await.unwrap();
    }
    until("all are taken", || read(&counters.rows_finished) == 300).await;
    let counted = counters.of_sink("pipe");
    // One is at hand, and 64 wait.
    assert_eq!(counted.missing(Missing::Full), 300 - 65);
    pipe.open();
    until("it catches up", || read(&counted.rows) == 65).await;
    sender.send(of_its_own_day(301)).await.unwrap();
    drop(sender);
    writer.drained().await.unwrap();
    assert_eq!(pipe.seqs(), (1..=65).chain([301]).collect::<Vec<_>>());
    assert_eq!((read(&counted.rows), counted.missing(Missing::Late)), (66, 0));
}

/// Fails, is read by nobody, or panics.
struct Broken(Option<io::ErrorKind>);

impl Follower for Broken {
    fn deliver(&mut self, _: &ResultBatch) -> io::Result<()> {
        Err(self.0.expect("a fault").into())
    }
}

#[tokio::test]
async fn what_is_missing_is_counted_by_sink_and_reason_and_nobody_else_misses_it() {
    let folder = tempfile::tempdir().unwrap();
    let well = Pipe::default();
    well.open();
    let followers = vec![
        named("full disk", Broken(Some(io::ErrorKind::StorageFull))),
        named("closed", Broken(Some(io::ErrorKind::BrokenPipe))),
        named("faulty", Broken(None)),
        well.follower(),
    ];
    let writer = Writer::start(spec(folder.path(), true, followers)).unwrap();
    let (sender, counters) = (writer.sender(), Arc::clone(writer.counters()));
    for seq in 1..=50 {
        sender.send(of_its_own_day(seq)).await.unwrap();
    }
    drop(sender);
    let summary = writer.drained().await.unwrap();
    let missing = |name: &str| Missing::ALL.map(|reason| counters.of_sink(name).missing(reason));
    assert_eq!(missing("full disk"), [0, 50, 0, 0]);
    assert_eq!(missing("closed"), [0, 0, 50, 0]);
    assert_eq!(missing("faulty"), [0, 50, 0, 0]);
    assert_eq!(missing("pipe"), [0; 4]);
    assert_eq!((summary.rows, summary.rows_lost, well.seqs().len()), (50, 0, 50));
}

/// Notes how many results it was given; panics from some number on.
struct Fragile(Arc<AtomicU64>, u64);

impl Follower for Fragile {
    fn deliver(&mut self, batch: &ResultBatch) -> io::Result<()> {
        let told = self.0.fetch_add(batch.probes.num_rows() as u64, Ordering::AcqRel);
        assert!(told < self.1, "a fault");
        Ok(())
    }
}

#[tokio::test]
async fn a_panic_ends_one_follower_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let told = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
    let followers = vec![
        named("fragile", Fragile(Arc::clone(&told[0]), 1)),
        named("sound", Fragile(Arc::clone(&told[1]), u64::MAX)),
    ];
    let writer = Writer::start(spec(folder.path(), false, followers)).unwrap();
    let (sender, counters) = (writer.sender(), Arc::clone(writer.counters()));
    for seq in 1..=5 {
        sender.send(of_its_own_day(seq)).await.unwrap();
    }
    until("a panic", || read(&counters.followers_ended) == 1).await;
    let before = read(&counters.follower_batches_dropped);
    assert!((1..=4).contains(&before), "the batch that it failed at, and those that waited: {before}");
    sender.send(of_its_own_day(6)).await.unwrap();
    drop(sender);
    assert_eq!(writer.drained().await.unwrap().rows, 6);
    assert_eq!((told[0].load(Ordering::Acquire), told[1].load(Ordering::Acquire)), (2, 6));
    assert_eq!((read(&counters.followers_ended), read(&counters.follower_errors)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_hangs_does_not_hold_up_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let journals = folder.path().join("state/main/journal");
    std::fs::create_dir_all(&journals).unwrap();
    // To open it is to hang, until somebody opens the other end.
    let hole = journals.join(SegmentName::new(samples::MORNING, "main", samples::RUN, 1).journal());
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &hole, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let writer = Writer::start(spec(folder.path(), true, Vec::new())).unwrap();
    let clock = Clock::system();
    let start = clock.now();
    writer.stop_signal().by(start + LONG);
    writer.stop_signal().by(start + SOON);
    assert!(matches!(writer.drained().await, Err(SinkError::StillWriting)));
    let took = clock.now() - start;
    assert!(took > SOON && took < LONG, "{took:?}");
    // Both ends at once, which never hangs.
    std::fs::OpenOptions::new().read(true).write(true).open(&hole).unwrap();
}
