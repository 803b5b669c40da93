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
use crate::model::{ErrorKind, Failure};
use crate::pipeline::record::Recorder;
use crate::pipeline::roster::{Told, Turn};
use crate::pipeline::supply::Receipt;
use crate::pipeline::{
    PipelineFile, Places, RecordFolders, RunCounters, StopLevel, StopSwitch, Workshop, build,
};
use crate::sink::{Follower, FollowerSpec, OnFull, ResultBatch, Writer, WriterSpec};
use crate::telemetry::Lag;

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

fn built(folder: &std::path::Path, sink: &str) -> Arc<Built> {
    let path = folder.join("p.toml");
    let source = "[[sources]]\ntargets = [\"http://127.0.0.1:9/\"]\n";
    std::fs::write(&path, format!("default_checks = false\n{source}{sink}")).unwrap();
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
        lag: Lag::new(&clock),
        counters: RunCounters::default(),
        seq: AtomicI64::new(0),
        probe_seq: AtomicI64::new(0),
        clock,
    })
}

fn writer(follower: impl Follower + 'static) -> Writer {
    let follower = FollowerSpec {
        name: "seen".into(),
        pipelines: None,
        on_full: OnFull::Block,
        follower: Box::new(follower),
    };
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
    probe_told(built, results, None)
}

fn probe_told(built: Arc<Built>, results: &ResultSender, told: Option<Arc<Told>>) -> Arc<Probe> {
    let target = Arc::clone(&built.targets[0]);
    let live = Arc::new(Live { built, results: results.clone() });
    let turn = Turn { target, slot: Some(0), due: None, missed: 0, next: None, told };
    Arc::new(Probe::new(live, turn))
}

/// What is told of a probe whose task is `task`, with a stop of that level.
async fn told(
    grace: Duration,
    level: Option<StopLevel>,
    task: impl Future<Output = Landed> + Send + 'static,
) -> Vec<(String, String, i64)> {
    let folder = tempfile::tempdir().unwrap();
    let (built, stages, seen) = (built(folder.path(), ""), stages(grace), Seen::default());
    let writer = writer(seen.clone());
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

/// Takes nothing until it may.
struct Held(std::sync::mpsc::Receiver<()>);

impl Follower for Held {
    fn deliver(&mut self, _: &ResultBatch) -> io::Result<()> {
        let _ = self.0.recv();
        Ok(())
    }
}

fn row(probe: &Probe, stages: &Stages) -> ProbeResult {
    probe.first_attempt(stages);
    probe.broken_off(stages, Failure::new(ErrorKind::Internal, "a row")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_remembers_is_told_of_rows_that_are_kept_and_of_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let stages = stages(Duration::from_secs(5));
    let built = built(folder.path(), "[[sinks]]\ntype = \"parquet\"\non_full = \"drop_newest\"\n");
    let (release, held) = std::sync::mpsc::sync_channel(1);
    let writer = writer(Held(held));
    let results = writer.sender();
    let plain = probe(Arc::clone(&built), &results);
    // Until there is no room, also not after a moment.
    let mut refused = 0;
    while refused < 20 {
        let landed = deliver(&stages, &plain, row(&plain, &stages)).await;
        refused = if landed.is_kept { 0 } else { refused + 1 };
        if refused > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let told = |probe: Arc<Probe>| {
        let stages = Arc::clone(&stages);
        async move {
            let row = row(&probe, &stages);
            probe.told(deliver(&stages, &probe, row).await)
        }
    };
    let (receipt, mut told_of) = Receipt::new();
    let waits = crate::telemetry::spawn(
        "waits",
        told(probe_told(Arc::clone(&built), &results, Some(Told::new(receipt)))),
    );
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(told_of.try_recv().is_err() && !waits.is_finished(), "it waits for room");
    drop(release);
    assert!(waits.await.unwrap().is_kept);
    assert!(told_of.await.unwrap().is_some());
    writer.stop_signal().by(stages.clock.now() + Duration::from_secs(5));
    writer.drained().await.unwrap();
    // The sink takes nothing more: the row is lost, and the target is new again.
    let (receipt, told_of) = Receipt::new();
    assert!(!told(probe_told(built, &results, Some(Told::new(receipt)))).await.is_kept);
    assert!(told_of.await.is_err());
}
