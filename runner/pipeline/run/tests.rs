//! Probes that go wrong through our own fault still end in a row (S7).

use std::future::pending;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use arrow::array::AsArray as _;

use super::flight::Flight;
use super::probe::Probe;
use super::*;
use crate::check::{CheckPool, PoolSettings};
use crate::clock::Clock;
use crate::config::Diagnostics;
use crate::fetch::{Fetcher, FetcherConfig};
use crate::pipeline::record::Recorder;
use crate::pipeline::roster::Turn;
use crate::pipeline::{
    PipelineFile, Places, RecordFolders, RunCounters, StopLevel, StopSwitch, Workshop, build,
};
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
        run_id: "unused".into(),
        fetcher: Fetcher::new(&FetcherConfig::default()).unwrap(),
        checks: CheckPool::start(PoolSettings::default(), &clock).unwrap(),
        recorder: Recorder::new(
            RecordFolders { data: "unused".into(), runner: "main".into(), run_id: "unused".into() },
            &clock,
        ),
        places: Arc::new(Places::new(4)),
        once: false,
        seen: None,
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
        first_number: 1,
        capacity: 8,
        clock: Clock::system(),
    })
    .unwrap()
}

/// A probe of the only target.
fn probe(built: Arc<Built>, results: &ResultSender) -> Arc<Probe> {
    let target = Arc::clone(&built.targets[0]);
    let live = Arc::new(Live { built, results: results.clone() });
    let turn = Turn { target, slot: Some(0), due: None, missed: 0, next: None, told: None };
    Arc::new(Probe::new(live, turn))
}

/// What is told of a probe whose task is `task`, with a stop of that level.
async fn told(
    grace: Duration,
    level: Option<StopLevel>,
    task: impl Future<Output = Landed> + Send + 'static,
) -> Vec<(String, String, i64)> {
    let folder = tempfile::tempdir().unwrap();
    let (built, stages, seen) = (built(folder.path()), stages(grace), Seen::default());
    let writer = writer(&seen);
    let results = writer.sender();
    let (switch, stop) = StopSwitch::new(&Clock::system());
    let mut flight = Flight::default();
    let probe = probe(built, &results);
    probe.first_attempt(&stages);
    flight.start(probe, task);
    if let Some(level) = level {
        switch.raise(level);
    }
    flight.land(&stages, stop).await;
    drop(results);
    writer.drained().await.unwrap();
    std::mem::take(&mut *seen.0.lock().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_panics_ends_in_a_row() {
    let told = told(Duration::from_secs(5), None, async { panic!("a fault of ours") }).await;
    assert_eq!(told, [("unknown".to_owned(), "internal".to_owned(), 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_outlasts_the_grace_ends_in_a_row_that_says_so() {
    let told = told(Duration::from_millis(50), Some(StopLevel::Drain), pending()).await;
    assert_eq!(told, [("unknown".to_owned(), "local_shutdown".to_owned(), 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_once_means_at_once() {
    let told = told(Duration::from_hours(1), Some(StopLevel::Now), pending()).await;
    assert!(told.is_empty());
}
