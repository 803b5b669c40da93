//! What the check threads promise whatever the checks do: deadlines, bounds, state, an answer for
//! everyone who asks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use probity::check::{
    CheckPool, CheckSet, CheckSpec, ConfiguredCheck, FaultKind, Judgement, Limits, PoolSettings,
    StateEntries, StateKey, StateStore, StateUnreadable,
};
use probity::model::{CheckStatus, ErrorKind, Failure};

use crate::hostile_guests_bench::{Bench, EVER, observed, spec};
use crate::wat_guest::Guest;

/// Passes where it has been committed before, fails where not.
const REMEMBERS: Guest<'static> = Guest {
    run: "(call $get (i32.const 2048) (i32.const 1) (i32.const 2064))
        (local.set $count (i32.load8_u (i32.const 2064)))
        (call $set (i32.const 2048) (i32.const 1) (i32.const 2048) (i32.const 1) (i32.const 2096))
        (if (i32.load8_u (i32.const 2096)) (then unreachable))
        (if (result i32) (local.get $count)
          (then (call $pass (local.get $seen)))
          (else (call $fail (local.get $seen))))",
    configure: "(call $set (i32.const 2048) (i32.const 1) (i32.const 2048) (i32.const 1) (i32.const 2096))
        ;; There is no state here: it has to be refused.
        (if (i32.eqz (i32.load8_u (i32.const 2096))) (then unreachable))
        (call $configured)",
    more: r#"(data (i32.const 2048) "k")"#,
    ..Guest::PLAIN
};

#[tokio::test]
async fn state_is_kept_only_when_it_is_committed() {
    let bench = Bench::new();
    let set = bench.set(&[(REMEMBERS, Limits::default())]);
    let judge = || bench.pool.judge(&set, observed(b""), bench.in_time());
    let first = judge().await;
    assert_eq!(first.verdicts[0].status, CheckStatus::Fail, "{}", first.verdicts[0].message);
    drop(first);
    let second = judge().await;
    assert_eq!(second.verdicts[0].status, CheckStatus::Fail);
    assert_eq!(second.commit_state().len(), 1);
    assert_eq!(judge().await.verdicts[0].status, CheckStatus::Pass);

    // Another pipeline, target or check has its own.
    let elsewhere = bench.set(&[(Guest::default(), Limits::default()), (REMEMBERS, Limits::default())]);
    let judgement = bench.pool.judge(&elsewhere, observed(b""), bench.in_time()).await;
    assert_eq!(judgement.verdicts[1].status, CheckStatus::Fail);
}

#[tokio::test]
async fn state_of_a_call_that_trapped_is_never_kept() {
    let bench = Bench::new();
    let run = "(call $set (i32.const 2048) (i32.const 1) (i32.const 2048) (i32.const 1) (i32.const 2096))
        unreachable";
    let trapping = Guest { run, more: REMEMBERS.more, ..Guest::default() };
    let judge = async |guest| {
        let set = bench.set(&[(guest, Limits::default())]);
        bench.pool.judge(&set, observed(b""), bench.in_time()).await.commit_state()
    };
    assert_eq!(judge(trapping).await[0].status, CheckStatus::Error);
    assert_eq!(judge(REMEMBERS).await[0].status, CheckStatus::Fail);
}

#[tokio::test]
async fn a_failed_exchange_is_judged_only_by_those_who_ask() {
    let bench = Bench::new();
    let mut failed = (*observed(b"")).clone();
    let exchange = Arc::make_mut(&mut failed.exchange);
    exchange.failure = Some(Failure::new(ErrorKind::ConnectRefused, "refused"));
    let failed = Arc::new(failed);
    let plugin = bench.plugin(Guest::default());
    let check = |name: &str, on_error| {
        ConfiguredCheck::new(&plugin, CheckSpec { on_error, name: name.into(), ..spec() }).unwrap()
    };
    let set = |checks| Arc::new(CheckSet::new("p".into(), checks, bench.state.clone()));

    let nobody = set(vec![check("a", false)]);
    let judgement = bench.pool.judge(&nobody, Arc::clone(&failed), bench.in_time()).await;
    assert!(judgement.verdicts.is_empty());
    assert_eq!(bench.pool.stats().calls, 0);

    let one = set(vec![check("a", false), check("b", true)]);
    let judgement = bench.pool.judge(&one, failed, bench.in_time()).await;
    let names: Vec<_> = judgement.verdicts.iter().map(|verdict| &*verdict.check_name).collect();
    assert_eq!(names, ["b"]);
}

#[tokio::test]
async fn the_deadline_of_the_attempt_ends_what_runs_and_what_waits() {
    let bench = Bench::new();
    let patient = Limits { time: Duration::from_mins(1), ..Limits::default() };
    let set = bench.set(&[(EVER, patient), (Guest::default(), Limits::default())]);
    let soon = bench.clock.now() + Duration::from_millis(300);
    let sooner = bench.clock.now() + Duration::from_millis(100);
    let (running, waiting) = tokio::join!(bench.pool.judge(&set, observed(b""), soon), async {
        let judgement = bench.pool.judge(&set, observed(b""), sooner).await;
        assert!(bench.clock.now() < soon, "it was answered for at its own deadline");
        judgement
    });
    let messages = |judgement: &Judgement| -> Vec<String> {
        judgement.verdicts.iter().map(|verdict| verdict.message.clone()).collect()
    };
    let running = messages(&running);
    assert!(running[0].contains("no time left") && running[0].contains("while the check ran"), "{running:?}");
    assert!(
        running[1].contains("no time left") && running[1].contains("before the check began"),
        "{running:?}"
    );
    assert_eq!(messages(&waiting), [running[1].clone(), running[1].clone()]);
    assert_eq!(bench.errors(FaultKind::NoTimeLeft), 4);
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn stopping_answers_for_what_waits() {
    let bench = Bench::new();
    let limits = Limits { time: Duration::from_millis(200), ..Limits::default() };
    let set = bench.set(&[(EVER, limits)]);
    let ask = || probity::telemetry::spawn("judge", bench.pool.judge(&set, observed(b""), bench.in_time()));
    let running = ask();
    until(|| bench.pool.stats().running == 1).await;
    let waiting = ask();
    until(|| bench.pool.stats().queued == 1).await;
    bench.pool.stop();
    let judgement = waiting.await.unwrap();
    assert!(judgement.verdicts[0].message.contains("stopped"), "{}", judgement.verdicts[0].message);
    assert!(running.await.unwrap().verdicts[0].message.contains("time limit"));
    let late = bench.pool.judge(&set, observed(b""), bench.in_time()).await;
    assert!(late.verdicts[0].message.contains("stopped"));
}

/// A store with a fault of its own.
#[derive(Debug)]
struct Broken;

impl StateStore for Broken {
    fn load(&self, _: &StateKey) -> Result<Arc<StateEntries>, StateUnreadable> {
        panic!("the store is broken")
    }

    fn save(&self, _: &StateKey, _: StateEntries) -> bool {
        false
    }
}

#[tokio::test]
async fn a_panic_of_the_host_costs_one_verdict_and_no_thread() {
    let bench = Bench::new();
    let check = |guest, name: &str| {
        let spec = CheckSpec { name: name.into(), ..spec() };
        ConfiguredCheck::new(&bench.plugin(guest), spec).unwrap()
    };
    let checks = vec![check(REMEMBERS, "a"), check(Guest::default(), "b")];
    let set = Arc::new(CheckSet::new("p".into(), checks, Arc::new(Broken)));
    for _ in 0..3 {
        let verdicts = bench.pool.judge(&set, observed(b""), bench.in_time()).await.verdicts;
        assert_eq!(verdicts[0].status, CheckStatus::Error);
        assert!(verdicts[0].message.contains("a fault of the runner: the store is broken"), "{verdicts:?}");
        assert_eq!(verdicts[1].status, CheckStatus::Pass);
    }
    assert_eq!(bench.errors(FaultKind::Internal), 3);
}

/// A store on a disk that refuses.
#[derive(Debug)]
struct Unreadable;

impl StateStore for Unreadable {
    fn load(&self, _: &StateKey) -> Result<Arc<StateEntries>, StateUnreadable> {
        Err(StateUnreadable)
    }

    fn save(&self, _: &StateKey, _: StateEntries) -> bool {
        panic!("nothing may be kept by one who saw nothing")
    }
}

#[tokio::test]
async fn a_check_whose_state_cannot_be_read_is_not_believed() {
    let bench = Bench::new();
    let check = ConfiguredCheck::new(&bench.plugin(REMEMBERS), spec()).unwrap();
    let set = Arc::new(CheckSet::new("p".into(), vec![check], Arc::new(Unreadable)));
    let verdicts = bench.pool.judge(&set, observed(b""), bench.in_time()).await.commit_state();
    assert_eq!(verdicts[0].status, CheckStatus::Error);
    assert!(verdicts[0].message.contains("what the check remembers of this target cannot be read"));
    assert_eq!(bench.errors(FaultKind::Internal), 1);
}

#[tokio::test]
async fn the_queue_has_a_bound_and_the_wait_for_a_place_counts() {
    let bench = Bench::new();
    let pool = CheckPool::start(PoolSettings { threads: 1, queue: 1 }, &bench.clock).unwrap();
    let patient = Limits { time: Duration::from_mins(1), ..Limits::default() };
    let set = bench.set(&[(EVER, patient)]);
    let later = bench.clock.now() + Duration::from_millis(200);
    let ask = || probity::telemetry::spawn("judge", pool.judge(&set, observed(b""), later));
    let running = ask();
    until(|| pool.stats().running == 1).await;
    let waiting = ask();
    until(|| pool.stats().queued == 1).await;
    let outside = ask();
    for task in [outside, waiting] {
        let verdicts = task.await.unwrap().verdicts;
        assert!(verdicts[0].message.contains("before the check began"), "{}", verdicts[0].message);
    }
    assert!(running.await.unwrap().verdicts[0].message.contains("while the check ran"));
    assert_eq!(pool.stats().calls, 1);
}

#[tokio::test]
async fn nothing_is_judged_for_one_who_went_away() {
    let bench = Bench::new();
    let limits = Limits { time: Duration::from_millis(100), ..Limits::default() };
    let (slow, quick) = (bench.set(&[(EVER, limits)]), bench.set(&[(Guest::default(), limits)]));
    let ask = |set| probity::telemetry::spawn("judge", bench.pool.judge(set, observed(b""), bench.in_time()));
    let running = ask(&slow);
    until(|| bench.pool.stats().running == 1).await;
    let gone = ask(&quick);
    until(|| bench.pool.stats().queued == 1).await;
    gone.abort();
    assert!(gone.await.is_err());
    let _ = running.await.unwrap();
    let _ = ask(&quick).await.unwrap();
    assert_eq!(bench.pool.stats().calls, 2);
}

#[tokio::test]
async fn two_engines_in_one_process_do_not_meet() {
    let (one, other) = (Bench::new(), Bench::new());
    let stuck = one.set(&[(EVER, Limits::default())]);
    let fine = other.set(&[(Guest::default(), Limits::default())]);
    let (stuck, fine) = tokio::join!(
        one.pool.judge(&stuck, observed(b""), one.in_time()),
        other.pool.judge(&fine, observed(b""), other.in_time())
    );
    assert_eq!(stuck.verdicts[0].status, CheckStatus::Error);
    assert_eq!(fine.verdicts[0].status, CheckStatus::Pass);
    assert_eq!(other.errors(FaultKind::Time), 0);
}

#[tokio::test]
async fn w21_who_goes_away_at_the_deadline_leaves_nothing_behind() {
    let bench = Bench::new();
    let patient = Limits { time: Duration::from_mins(1), ..Limits::default() };
    let stuck = bench.set(&[(EVER, patient)]);
    // More often than the engine has memories.
    let times = 150;
    for number in 0..times {
        let calls = bench.pool.stats().calls;
        if number % 2 == 0 {
            // The one who asks is dropped in the midst of the call.
            let ask = bench.pool.judge(&stuck, observed(b""), bench.in_time());
            let ask = probity::telemetry::spawn("judge", ask);
            until(|| bench.pool.stats().running == 1).await;
            ask.abort();
            assert!(ask.await.is_err());
        } else {
            let soon = bench.clock.now() + Duration::from_millis(5);
            let verdicts = bench.pool.judge(&stuck, observed(b""), soon).await.verdicts;
            assert!(verdicts[0].message.contains("no time left"), "{}", verdicts[0].message);
        }
        until(|| bench.pool.stats().running == 0).await;
        assert!(bench.pool.stats().calls <= calls + 1);
    }
    // One whose deadline passed while it waited is taken out of the line by the thread.
    until(|| bench.pool.stats().queued == 0).await;
    assert_eq!(bench.pool.stats().running, 0);
    assert_eq!((bench.errors(FaultKind::Time), bench.errors(FaultKind::Internal)), (0, 0));
    assert_eq!(bench.errors(FaultKind::NoTimeLeft), times);
    let (good, _) = bench.judge(Guest::default(), Limits::default()).await;
    assert_eq!((good.status, &*good.message), (CheckStatus::Pass, "as it should be"));
}
