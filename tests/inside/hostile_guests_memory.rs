//! W13: no byte of one call is seen by another: of another target, of another plugin, after a trap,
//! after a time-out; in memory, in globals, in tables; whatever way an instance is made.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use probity::check::{CheckSet, CheckSpec, ConfiguredCheck, Isolation, Limits, Observed};
use probity::model::{CheckStatus, Exchange, Target, Verdict};

use crate::hostile_guests_bench::{Bench, observed, spec};
use crate::wat_guest::Guest;

/// Looks for a mark wherever a call could have left it, and fails if it is there. Then it asks for the
/// body, eight bytes of a mark and one byte that says how to end, and leaves the mark everywhere.
const SPY: Guest<'static> = Guest {
    run: "
        ;; What is there before it has been told anything.
        (drop (memory.grow (global.get $pages)))
        (if (i64.eq (global.get $kept) (i64.const 0x5ec2e75ec2e75ec2)) (then (return (call $fail (local.get $seen)))))
        (loop $scan
          (if (i64.eq (i64.load (local.get $at)) (i64.const 0x5ec2e75ec2e75ec2))
            (then (return (call $fail (local.get $seen)))))
          (local.set $at (i32.add (local.get $at) (i32.const 8)))
          (br_if $scan (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536)))))
        ;; Everywhere behind what it needs itself.
        (call $body (local.get $seen) (i32.const 2064))
        (global.set $kept (i64.load (i32.load (i32.const 2064))))
        (local.set $count (i32.load8_u offset=8 (i32.load (i32.const 2064))))
        (local.set $at (i32.const 20480))
        (loop $fill
          (i64.store (local.get $at) (global.get $kept))
          (local.set $at (i32.add (local.get $at) (i32.const 8)))
          (br_if $fill (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536)))))
        (if (i32.eq (local.get $count) (i32.const 1)) (then unreachable))
        (if (i32.eq (local.get $count) (i32.const 2)) (then (loop $ever (br $ever))))
        (call $pass (local.get $seen))",
    more: "(global $kept (mut i64) (i64.const 0)) (global $pages i32 (i32.const 40))",
    ..Guest::PLAIN
};

/// The mark of the spies.
const MARK: [u8; 8] = 0x5ec2_e75e_c2e7_5ec2_u64.to_le_bytes();

/// How a call ends after it has left its mark.
const ENDS: [u8; 3] = [PASSES, TRAPS, LOOPS];
const PASSES: u8 = 0;
const TRAPS: u8 = 1;
const LOOPS: u8 = 2;

/// Long enough to look through all memory on a slow machine; a loop costs all of it.
const LIMITS: Limits = Limits { time: Duration::from_millis(300), memory_bytes: 64 << 20 };

/// A response of a target of its own, whose body is a mark.
fn marked(target: usize, end: u8) -> Arc<Observed> {
    let plain = observed(b"");
    let body: Vec<u8> = MARK.into_iter().chain([end]).collect();
    let exchange = Exchange { body: Bytes::from(body), ..(*plain.exchange).clone() };
    let target = Target { name: format!("t{target}").into(), ..(*plain.target).clone() };
    Arc::new(Observed::new(target.into(), exchange.into(), plain.started_at))
}

fn set(bench: &Bench, guest: Guest<'_>, isolation: Isolation) -> Arc<CheckSet> {
    let check = CheckSpec { isolation, limits: LIMITS, ..spec() };
    let check = ConfiguredCheck::new(&bench.plugin(guest), check).unwrap();
    Arc::new(CheckSet::new("p".into(), vec![check], bench.state.clone()))
}

async fn judge(bench: &Bench, set: &Arc<CheckSet>, target: usize, end: u8) -> Verdict {
    bench.pool.judge(set, marked(target, end), bench.in_time()).await.verdicts.remove(0)
}

/// The call found nothing, and ended as it was told to.
#[track_caller]
fn assert_saw_nothing(verdict: &Verdict, end: u8, what: &str) {
    let expected = if end == PASSES { CheckStatus::Pass } else { CheckStatus::Error };
    assert_eq!(verdict.status, expected, "{what}: {}", verdict.message);
}

#[tokio::test]
async fn w13_a_spy_finds_what_is_there() {
    let bench = Bench::new();
    // In a data segment, in a global: so that the others would be seen to find something.
    let in_memory = r#"(data (i32.const 4096) "\c2\5e\e7\c2\5e\e7\c2\5e")"#;
    let memory = format!("{} {in_memory}", SPY.more);
    let global = SPY.more.replace("(i64.const 0)", "(i64.const 0x5ec2e75ec2e75ec2)");
    for more in [&memory, &global] {
        let set = set(&bench, Guest { more, ..SPY }, Isolation::Configure);
        assert_eq!(judge(&bench, &set, 0, PASSES).await.status, CheckStatus::Fail, "{more}");
    }
}

#[tokio::test]
async fn w13_no_byte_of_one_target_is_seen_by_another() {
    for isolation in [Isolation::Configure, Isolation::Snapshot, Isolation::Auto] {
        let bench = Bench::new();
        let set = set(&bench, SPY, isolation);
        for round in 0..12 {
            let end = ENDS[round % ENDS.len()];
            let verdict = judge(&bench, &set, round, end).await;
            assert_saw_nothing(&verdict, end, &format!("{isolation:?}, round {round}"));
        }
    }
}

#[tokio::test]
async fn w13_nothing_is_seen_while_a_check_becomes_a_frozen_one() {
    let bench = Bench::new();
    let set = set(&bench, SPY, Isolation::Auto);
    let (mut calls, mut frozen_calls) = (0, 0);
    while frozen_calls < 20 {
        let end = ENDS[usize::from(calls % 100 == 0)];
        assert_saw_nothing(&judge(&bench, &set, calls, end).await, end, &format!("call {calls}"));
        calls += 1;
        frozen_calls += usize::from(set.checks()[0].is_frozen());
    }
}

#[tokio::test]
async fn w13_no_byte_of_one_plugin_is_seen_by_another() {
    let bench = Bench::new();
    // More plugins than the engine has memories, so that each is given one that others have used.
    let mut sets = Vec::new();
    for number in 0..150 {
        let more = format!("{} (global i32 (i32.const {number}))", SPY.more);
        // Some want much more of a memory than others.
        let more = if number % 10 == 0 { more.replace("(i32.const 40)", "(i32.const 300)") } else { more };
        let isolation = if number % 50 == 7 { Isolation::Snapshot } else { Isolation::Configure };
        sets.push(set(&bench, Guest { more: &more, ..SPY }, isolation));
    }
    for end in ENDS {
        for (number, set) in sets.iter().enumerate() {
            let end = if number % 30 == 3 { end } else { PASSES };
            let verdict = judge(&bench, set, number, end).await;
            assert_saw_nothing(&verdict, end, &format!("plugin {number}"));
        }
    }
}

#[tokio::test]
async fn w13_no_table_is_as_another_call_left_it() {
    let bench = Bench::new();
    let run = "
        (if (i32.ne (table.size $t) (i32.const 2)) (then (return (call $fail (local.get $seen)))))
        (if (i32.eqz (ref.is_null (table.get $t (i32.const 1)))) (then (return (call $fail (local.get $seen)))))
        (table.set $t (i32.const 1) (ref.func $idle))
        (drop (table.grow $t (ref.func $idle) (i32.const 1000)))
        (call $pass (local.get $seen))";
    let more = "(table $t 2 funcref) (func $idle) (elem declare func $idle)";
    let set = set(&bench, Guest { run, more, ..Guest::PLAIN }, Isolation::Auto);
    for round in 0..20 {
        assert_saw_nothing(&judge(&bench, &set, round, PASSES).await, PASSES, &format!("round {round}"));
    }
}

#[tokio::test]
async fn w13_reuse_shares_a_memory_between_calls_of_one_check_and_no_others() {
    let bench = Bench::new();
    let (one, other) = (set(&bench, SPY, Isolation::Reuse), set(&bench, SPY, Isolation::Reuse));
    assert_eq!(judge(&bench, &one, 0, PASSES).await.status, CheckStatus::Pass);
    // As it is documented: the same check finds what it has left itself.
    assert_eq!(judge(&bench, &one, 1, PASSES).await.status, CheckStatus::Fail);
    // Another check of the same plugin finds nothing of it.
    assert_eq!(judge(&bench, &other, 1, PASSES).await.status, CheckStatus::Pass);
}
