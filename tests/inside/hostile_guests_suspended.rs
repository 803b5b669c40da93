//! W11, a check that fails every time: each attempt has its verdict, and after 20 failures in a row the
//! check is left alone for a while.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use probity::check::{CheckSet, FaultKind, Limits};
use probity::model::{CheckStatus, Verdict};

use crate::hostile_guests_bench::{Bench, observed};
use crate::wat_guest::Guest;

/// Traps where there is no body, passes where there is one.
const WANTS_A_BODY: Guest<'static> = Guest {
    run: "(call $body (local.get $seen) (i32.const 2064))
        (if (i32.eqz (i32.load (i32.const 2068))) (then unreachable))
        (call $pass (local.get $seen))",
    ..Guest::PLAIN
};

/// The trapping check, and a good one after it.
fn set(bench: &Bench) -> Arc<CheckSet> {
    bench.set(&[(WANTS_A_BODY, Limits::default()), (Guest::default(), Limits::default())])
}

/// The verdict of the first check; the second one always passes.
async fn judge(bench: &Bench, set: &Arc<CheckSet>, body: &'static [u8]) -> Verdict {
    let mut verdicts = bench.pool.judge(set, observed(body), bench.in_time()).await.verdicts;
    assert_eq!(verdicts.len(), 2, "a verdict of each");
    assert_eq!(verdicts.pop().unwrap().status, CheckStatus::Pass);
    verdicts.pop().unwrap()
}

fn is_suspended(verdict: &Verdict) -> bool {
    verdict.message.starts_with("suspended")
}

/// Has it fail until it is left alone.
async fn suspend(bench: &Bench, set: &Arc<CheckSet>) {
    for number in 1..=20 {
        assert_eq!(set.checks()[0].suspension(&bench.clock), None);
        let verdict = judge(bench, set, b"").await;
        assert_eq!(verdict.status, CheckStatus::Error);
        assert!(verdict.message.starts_with("trapped: unreachable"), "{number}: {}", verdict.message);
    }
}

#[tokio::test]
async fn w11_a_check_that_always_traps_is_suspended_and_tried_again() {
    let bench = Bench::new();
    let set = set(&bench);
    suspend(&bench, &set).await;
    let verdict = judge(&bench, &set, b"").await;
    assert_eq!(verdict.status, CheckStatus::Error);
    let expected =
        "suspended after 20 faults in a row, tried again in 1 s; the last one: trapped: unreachable";
    assert_eq!(verdict.message, expected);
    assert_eq!((bench.errors(FaultKind::Trap), bench.errors(FaultKind::Suspended)), (20, 1));
    // 20 calls of it and 21 of the good one: it was not called.
    assert_eq!(bench.pool.stats().calls, 41);
    let suspension = set.checks()[0].suspension(&bench.clock).expect("it is suspended");
    assert_eq!((suspension.faults, suspension.last_kind), (20, FaultKind::Trap));
    assert_eq!(set.checks()[1].suspension(&bench.clock), None, "its neighbour is not");

    // The trial traps as well.
    while is_suspended(&judge(&bench, &set, b"").await) {}
    assert_eq!(bench.errors(FaultKind::Trap), 21);
    let verdict = judge(&bench, &set, b"").await;
    assert!(verdict.message.starts_with("suspended after 21 faults in a row"), "{}", verdict.message);
}

#[tokio::test]
async fn w11_a_check_that_judges_again_is_called_again() {
    let bench = Bench::new();
    let set = set(&bench);
    suspend(&bench, &set).await;
    let verdict = loop {
        let verdict = judge(&bench, &set, b"a body").await;
        if !is_suspended(&verdict) {
            break verdict;
        }
    };
    assert_eq!(verdict.status, CheckStatus::Pass);
    assert_eq!(set.checks()[0].suspension(&bench.clock), None);
    // The row begins anew.
    suspend(&bench, &set).await;
    assert!(is_suspended(&judge(&bench, &set, b"").await));
}

#[tokio::test]
async fn w11_failures_with_a_success_between_them_suspend_nothing() {
    let bench = Bench::new();
    let set = set(&bench);
    for number in 0..60 {
        let verdict = judge(&bench, &set, if number % 20 == 19 { b"a body" } else { b"" }).await;
        assert!(!is_suspended(&verdict), "{number}");
    }
    assert_eq!(bench.errors(FaultKind::Trap), 57);
}

#[tokio::test]
async fn a_command_that_compares_verdicts_gets_each_of_them() {
    let bench = Bench::new();
    let set = set(&bench);
    for number in 0..30 {
        let judgement = set.judge_here(&observed(b""), &bench.clock);
        assert!(judgement.verdicts[0].message.starts_with("trapped"), "{number}");
    }
    assert_eq!(set.checks()[0].suspension(&bench.clock), None, "it costs the pipeline nothing");
}
