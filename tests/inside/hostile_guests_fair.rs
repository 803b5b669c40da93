//! Fairness between pipelines on the check threads: a pipeline whose checks are slow on all of its targets
//! does not hold up another one's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use probity::check::{
    CheckPool, CheckSet, CheckSpec, ConfiguredCheck, Judgement, Limits, PipelineLoad, PoolSettings,
};
use probity::model::CheckStatus;

use crate::hostile_guests_bench::{Bench, observed, spec};
use crate::wat_guest::Guest;

/// How long a call of the slow plugin takes, of the 50 ms that it may.
const SLOW: Duration = Duration::from_millis(45);
/// It is not stopped where this machine is slower than it was when the loop was measured.
const PATIENT: Limits = Limits { time: Duration::from_secs(10), memory_bytes: 64 << 20 };

/// Works for as many rounds, and passes.
fn working(rounds: u64) -> String {
    format!(
        "(local.set $count (i32.const {rounds}))
         (loop $more
           (local.set $count (i32.sub (local.get $count) (i32.const 1)))
           (br_if $more (local.get $count)))
         (call $pass (local.get $seen))"
    )
}

fn set(bench: &Bench, pipeline: &str, guest: Guest<'_>) -> Arc<CheckSet> {
    let check = ConfiguredCheck::new(&bench.plugin(guest), CheckSpec { limits: PATIENT, ..spec() }).unwrap();
    Arc::new(CheckSet::new(pipeline.into(), vec![check], bench.state.clone()))
}

fn load(pool: &CheckPool, pipeline: &str) -> PipelineLoad {
    let loads = pool.stats().pipelines;
    loads.into_iter().find(|load| &*load.pipeline == pipeline).expect("a pipeline that has brought something")
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

/// A pipeline whose only check takes about 45 ms of CPU time.
async fn slow(bench: &Bench) -> Arc<CheckSet> {
    // So many that what a call costs besides does not count.
    let rounds = 20_000_000;
    let run = working(rounds);
    let measured = set(bench, "measured", Guest { run: &run, ..Guest::default() });
    let judgement = bench.pool.judge(&measured, observed(b""), bench.in_time()).await;
    assert_passed(&judgement);
    until(|| load(&bench.pool, "measured").cpu_nanos > 0).await;
    let nanos = load(&bench.pool, "measured").cpu_nanos;
    let rounds = rounds * SLOW.as_nanos() as u64 / nanos;
    let run = working(rounds.clamp(1, i32::MAX as u64));
    set(bench, "slow", Guest { run: &run, ..Guest::default() })
}

#[track_caller]
fn assert_passed(judgement: &Judgement) {
    let verdict = &judgement.verdicts[0];
    assert_eq!(verdict.status, CheckStatus::Pass, "{}", verdict.message);
}

#[tokio::test]
async fn w20_a_slow_plugin_on_all_targets_does_not_hold_up_another_pipeline() {
    let bench = Bench::new();
    let (slow, quick) = (slow(&bench).await, set(&bench, "quick", Guest::default()));
    for threads in [1, 2] {
        let pool = CheckPool::start(PoolSettings { threads, queue: 1_000 }, &bench.clock).unwrap();
        let flood: Vec<_> = (0..60)
            .map(|_| probity::telemetry::spawn("judge", pool.judge(&slow, observed(b""), bench.in_time())))
            .collect();
        until(|| pool.stats().running == threads && pool.stats().queued == 60 - threads).await;
        let before = load(&pool, "slow").waiting;
        let burst: Vec<_> = (0..50)
            .map(|_| probity::telemetry::spawn("judge", pool.judge(&quick, observed(b""), bench.in_time())))
            .collect();
        for answer in burst {
            assert_passed(&answer.await.unwrap());
        }
        let begun = before - load(&pool, "slow").waiting;
        // Each thread may begin one before the burst is there and one after it; in between, the slow
        // pipeline gets as much time as the quick one takes.
        let shared = Duration::from_nanos(load(&pool, "quick").cpu_nanos).div_duration_f64(SLOW);
        let most = 3 * threads + shared.ceil() as usize;
        assert!(begun <= most, "{threads} threads: {begun} slow ones, at most {most}");
        assert!(load(&pool, "slow").waiting > 30, "there was no overload");
        flood.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

#[tokio::test]
async fn what_comes_while_a_thread_naps_does_not_wait_behind_what_is_slow() {
    let bench = Bench::new();
    let (slow, quick) = (slow(&bench).await, set(&bench, "quick", Guest::default()));
    let pool = CheckPool::start(PoolSettings { threads: 2, queue: 8 }, &bench.clock).unwrap();
    // From now on one thread naps, and finds what comes by itself; the other one sleeps until it is called.
    assert_passed(&pool.judge(&quick, observed(b""), bench.in_time()).await);
    let both: Vec<_> = (0..2)
        .map(|_| probity::telemetry::spawn("judge", pool.judge(&slow, observed(b""), bench.in_time())))
        .collect();
    let are_both_at_work = || pool.stats().running == 2;
    until(|| are_both_at_work() || both.iter().any(tokio::task::JoinHandle::is_finished)).await;
    assert!(are_both_at_work(), "one thread did both");
    for answer in both {
        assert_passed(&answer.await.unwrap());
    }
}

#[tokio::test]
async fn w20_a_pipeline_that_is_full_takes_no_places_of_another() {
    let bench = Bench::new();
    let (slow, quick) = (slow(&bench).await, set(&bench, "quick", Guest::default()));
    let pool = CheckPool::start(PoolSettings { threads: 1, queue: 2 }, &bench.clock).unwrap();
    let flood: Vec<_> = (0..30)
        .map(|_| probity::telemetry::spawn("judge", pool.judge(&slow, observed(b""), bench.in_time())))
        .collect();
    until(|| pool.stats().running == 1 && load(&pool, "slow").waiting == 2).await;
    assert_passed(&pool.judge(&quick, observed(b""), bench.in_time()).await);
    // All but a few still wait for a place.
    let begun = flood.iter().filter(|task| task.is_finished()).count();
    assert!(begun <= 5, "{begun} of 30 came first");
    flood.iter().for_each(tokio::task::JoinHandle::abort);
}
