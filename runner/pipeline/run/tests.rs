//! Probes that go wrong through our own fault still end in a row (S7).

use std::io;
use std::sync::Mutex;
use std::sync::atomic::AtomicI64;

use arrow::array::AsArray as _;
use tokio::sync::Semaphore;

use super::*;
use crate::check::{CheckPool, PoolSettings};
use crate::clock::Clock;
use crate::config::Diagnostics;
use crate::fetch::{Fetcher, FetcherConfig};
use crate::pipeline::record::Recorder;
use crate::pipeline::{PipelineFile, RunCounters, StopSwitch, Workshop, build};
use crate::sink::{Follower, FollowerSpec, ResultBatch, Writer, WriterSpec};

/// Keeps the outcome, kind and target of each row.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(String, String, i64)>>>);

impl Follower for Seen {
    fn deliver(&mut self, batch: &ResultBatch) -> io::Result<()> {
        let text = |column: &str, at| {
            batch.probes.column_by_name(column).unwrap().as_string::<i32>().value(at).to_owned()
        };
        let seq = batch.probes.column_by_name("seq").unwrap();
        for at in 0..batch.probes.num_rows() {
            let seq = seq.as_primitive::<arrow::datatypes::Int64Type>().value(at);
            self.0.lock().unwrap().push((text("outcome", at), text("error_kind", at), seq));
        }
        Ok(())
    }
}

fn built(folder: &std::path::Path) -> Arc<Built> {
    let path = folder.join("p.toml");
    std::fs::write(&path, "default_checks = false\n[[sources]]\ntargets = [\"http://127.0.0.1:9/\"]\n")
        .unwrap();
    let mut diagnostics = Diagnostics::default();
    let file = PipelineFile { name: "p".into(), path };
    let built = build(&file, &Workshop::new().unwrap(), &mut diagnostics);
    Arc::new(built.unwrap_or_else(|| panic!("{}", diagnostics.render(false))))
}

fn stages(grace: Duration) -> Arc<Stages> {
    let clock = Clock::system();
    Arc::new(Stages {
        fetcher: Fetcher::new(&FetcherConfig::default()).unwrap(),
        checks: CheckPool::start(PoolSettings::default(), &clock).unwrap(),
        recorder: Recorder::off(),
        permits: Arc::new(Semaphore::new(4)),
        grace,
        counters: RunCounters::default(),
        seq: AtomicI64::new(0),
        probe_seq: AtomicI64::new(0),
        clock,
    })
}

fn writer(seen: &Seen) -> Writer {
    let follower = FollowerSpec { name: "seen".into(), pipelines: None, follower: Box::new(seen.clone()) };
    Writer::start(WriterSpec {
        runner: "main".into(),
        run_id: crate::clock::new_run_id().into(),
        parquet: None,
        followers: vec![follower],
        capacity: 8,
        clock: Clock::system(),
    })
    .unwrap()
}

fn due(stages: &Stages) -> Due {
    Due { target: 0, due: stages.clock.now(), missed: 0, next: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_panics_ends_in_a_row() {
    let folder = tempfile::tempdir().unwrap();
    let (built, stages, seen) = (built(folder.path()), stages(Duration::from_secs(5)), Seen::default());
    let writer = writer(&seen);
    let results = writer.sender();
    let (_switch, stop) = StopSwitch::new(&Clock::system());
    let mut flight = Flight { tasks: JoinSet::new(), probes: HashMap::new() };
    flight.start(Probe::begin(due(&stages), &stages), async { panic!("a fault of ours") });
    land(flight, &built, &stages, &results, stop).await;
    drop(results);
    writer.drained().await.unwrap();
    assert_eq!(*seen.0.lock().unwrap(), [("unknown".to_owned(), "internal".to_owned(), 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_outlasts_the_grace_ends_in_a_row_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (built, stages, seen) = (built(folder.path()), stages(Duration::from_millis(50)), Seen::default());
    let writer = writer(&seen);
    let results = writer.sender();
    let (switch, stop) = StopSwitch::new(&Clock::system());
    let mut flight = Flight { tasks: JoinSet::new(), probes: HashMap::new() };
    flight.start(Probe::begin(due(&stages), &stages), pending());
    switch.raise(StopLevel::Drain);
    land(flight, &built, &stages, &results, stop).await;
    drop(results);
    writer.drained().await.unwrap();
    assert_eq!(*seen.0.lock().unwrap(), [("unknown".to_owned(), "local_shutdown".to_owned(), 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_once_means_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (built, stages, seen) = (built(folder.path()), stages(Duration::from_hours(1)), Seen::default());
    let writer = writer(&seen);
    let results = writer.sender();
    let (switch, stop) = StopSwitch::new(&Clock::system());
    let mut flight = Flight { tasks: JoinSet::new(), probes: HashMap::new() };
    flight.start(Probe::begin(due(&stages), &stages), pending());
    switch.raise(StopLevel::Now);
    land(flight, &built, &stages, &results, stop).await;
    drop(results);
    writer.drained().await.unwrap();
    assert!(seen.0.lock().unwrap().is_empty());
}
