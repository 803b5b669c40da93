//! Plugins that do their worst: each becomes an `error` verdict that says what happened, within its
//! budget, and the next check is unharmed. Most of them are data: `tests/hostile/guests.toml`. The
//! identifiers are those of the list in `tests/hostile/README.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use probity::check::{
    CheckSet, CheckSpec, ConfigureError, ConfiguredCheck, FaultKind, Isolation, Limits, Plugin,
};
use probity::model::{CheckStatus, Verdict};

use crate::guests::{Expect, Hostile, hostile};
use crate::hostile_guests_bench::{Bench, observed, spec};
use crate::wat_guest::{Guest, PASS};

/// What `guests.toml` says of the body.
const BODY: &[u8] = &[b'x'; 64];
/// How much later than its budget a loop may end.
const LATE_MS: u64 = 50;

/// Loads, configures and calls a hostile plugin, then a good one on the same thread.
async fn contain(bench: &Bench, hostile: &Hostile, isolation: Isolation) -> Result<(), String> {
    let (expect, name) = (&hostile.expect, hostile.name());
    let has = |said: &str, part: &str| {
        if said.contains(part) { Ok(()) } else { Err(format!("{name}: {said:?} should have {part:?}")) }
    };
    let plugin = match (Plugin::load(&bench.engine, &hostile.component()), expect) {
        (Err(error), Expect::Refused { refused }) => return has(&error.to_string(), refused),
        (Err(error), _) => return Err(format!("{name}: refused: {error}")),
        (Ok(_), Expect::Refused { refused }) => return Err(format!("{name}: loaded: {refused:?}")),
        (Ok(plugin), _) => Arc::new(plugin),
    };
    let mut wanted = CheckSpec { isolation, ..spec() };
    if matches!(expect, Expect::Judged { judged, .. } if judged == "stack") {
        // Its stack is to end it, also where an unoptimised host takes its time to come to the end of it.
        wanted.limits.time = Duration::from_secs(1);
    }
    let check = match (ConfiguredCheck::new(&plugin, wanted), expect) {
        (Err(error), Expect::Configured { configured }) => return has(&error.to_string(), configured),
        // A table that is written, or a vector among its globals: these are configured each time.
        (Err(ConfigureError::NotFrozen(_)), _) => return Ok(()),
        (Err(error), _) => return Err(format!("{name}: not configured: {error}")),
        (Ok(check), _) => check,
    };
    let Expect::Judged { judged, says } = expect else {
        return Err(format!("{name}: took its configuration"));
    };
    let good = ConfiguredCheck::new(&bench.plugin(Guest::default()), spec()).unwrap();
    let set = Arc::new(CheckSet::new("p".into(), vec![check, good], bench.state.clone()));
    // Twice: the second call finds what the first one left.
    for _ in 0..2 {
        let before = bench.pool.stats().errors;
        let verdicts = bench.pool.judge(&set, observed(BODY), bench.in_time()).await.verdicts;
        let after = bench.pool.stats().errors;
        let kinds = after.iter().zip(&before).filter(|(after, before)| after.1 > before.1);
        let kinds: Vec<_> = kinds.map(|((kind, _), _)| kind.as_str()).collect();
        let expected: &[&str] = if judged == "pass" { &[] } else { &[judged] };
        let message = &verdicts[0].message;
        if kinds != expected || (verdicts[0].status == CheckStatus::Pass) != expected.is_empty() {
            return Err(format!("{name}: {kinds:?} instead of {expected:?}: {message}"));
        }
        has(message, says)?;
        // On a machine under load the wall ends it, ten times as late; that has its own test.
        let is_cpu = message.starts_with("time limit: used");
        if is_cpu && cpu_millis(message) >= 50 + LATE_MS {
            return Err(format!("{name}: {message}"));
        }
        if (verdicts[1].status, &*verdicts[1].message) != (CheckStatus::Pass, "as it should be") {
            return Err(format!("{name}: the next check was harmed: {}", verdicts[1].message));
        }
    }
    Ok(())
}

/// Contains every hostile plugin that is told apart by `wanted`.
async fn contain_all(isolation: Isolation, wanted: impl Fn(&Hostile) -> bool) {
    let bench = Bench::new();
    let mut wrong = Vec::new();
    let (mut count, begin) = (0, bench.pool.stats().calls);
    for hostile in hostile().iter().filter(|hostile| wanted(hostile)) {
        count += 1;
        wrong.extend(contain(&bench, hostile, isolation).await.err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 40 && bench.pool.stats().calls - begin > count, "{count} of them");
}

#[tokio::test]
async fn every_hostile_guest_is_contained_in_a_fresh_instance() {
    contain_all(Isolation::Configure, |_| true).await;
}

fn comes_to_judge(hostile: &Hostile) -> bool {
    matches!(hostile.expect, Expect::Judged { .. })
}

#[tokio::test]
async fn every_hostile_guest_is_contained_in_a_snapshot() {
    contain_all(Isolation::Snapshot, comes_to_judge).await;
}

#[tokio::test]
async fn every_hostile_guest_is_contained_in_an_instance_that_is_used_again() {
    contain_all(Isolation::Reuse, comes_to_judge).await;
}

/// The guest's `run` leads to an error of this kind with this in its message; a good check after it
/// passes.
async fn assert_contained(run: &str, more: &str, kind: FaultKind, message: &str) -> Verdict {
    let bench = Bench::new();
    let guest = Guest { run, more, ..Guest::default() };
    let (hostile, good) = bench.judge(guest, Limits::default()).await;
    assert_eq!(hostile.status, CheckStatus::Error, "{}", hostile.message);
    assert!(hostile.message.contains(message), "{:?} should have {message:?}", hostile.message);
    assert_eq!(bench.errors(kind), 1, "{:?}", bench.pool.stats());
    assert_eq!((good.status, &*good.message), (CheckStatus::Pass, "as it should be"));
    hostile
}

/// The number before "ms of CPU".
fn cpu_millis(message: &str) -> u64 {
    let words: Vec<_> = message.split(' ').collect();
    let at = words.iter().position(|word| *word == "ms").expect("milliseconds");
    words[at - 1].parse().expect("a number")
}

#[tokio::test]
async fn a_good_guest_passes() {
    let bench = Bench::new();
    let (first, second) = bench.judge(Guest::default(), Limits::default()).await;
    assert_eq!((first.status, second.status), (CheckStatus::Pass, CheckStatus::Pass));
    assert_eq!((&*first.check_name, &*first.plugin), ("c0", "guest.wasm"));
    let stats = bench.pool.stats();
    assert_eq!((stats.calls, stats.queued), (2, 0));
    assert!(stats.busy_nanos > 0);
}

#[tokio::test]
async fn w1_a_loop_ends_with_a_smaller_time_of_its_own() {
    let bench = Bench::new();
    let run = "(loop $ever (br $ever)) unreachable";
    let limits = Limits { time: Duration::from_millis(3), ..Limits::default() };
    let (hostile, _) = bench.judge(Guest { run, ..Guest::default() }, limits).await;
    assert!((3..53).contains(&cpu_millis(&hostile.message)), "{}", hostile.message);
}

#[tokio::test]
async fn w3_a_check_can_be_given_more_or_less_memory() {
    let bench = Bench::new();
    // 100 MiB more.
    let run = "(if (i32.eq (memory.grow (i32.const 1600)) (i32.const -1)) (then unreachable))
        (call $pass (local.get $seen))";
    for (mebibytes, status) in [(200, CheckStatus::Pass), (100, CheckStatus::Error)] {
        let limits = Limits { memory_bytes: mebibytes << 20, ..Limits::default() };
        let (verdict, _) = bench.judge(Guest { run, ..Guest::default() }, limits).await;
        assert_eq!(verdict.status, status, "{mebibytes} MiB: {}", verdict.message);
    }
    let plugin = bench.plugin(Guest::default());
    let limits = Limits { memory_bytes: 257 << 20, ..Limits::default() };
    let refused = ConfiguredCheck::new(&plugin, CheckSpec { limits, ..spec() });
    assert_eq!(refused.err(), Some(ConfigureError::TooMuchMemory));
}

#[tokio::test]
async fn w9_messages_are_made_harmless() {
    let bench = Bench::new();
    let run = "(call $drop (local.get $seen)) (call $judge (i32.const 1) (i32.const 2048) (i32.const 9))";
    let more = r#"(data (i32.const 2048) "\1b[31ma\0ab\00")"#;
    let (verdict, _) = bench.judge(Guest { run, more, ..Guest::default() }, Limits::default()).await;
    assert_eq!(verdict.status, CheckStatus::Warn);
    assert_eq!(verdict.message, "\u{fffd}[31ma b\u{fffd}");
}

#[tokio::test]
async fn long_messages_are_cut_and_huge_ones_refused() {
    let bench = Bench::new();
    let fill = "(memory.fill (i32.const 65536) (i32.const 120) (i32.const 3000000))
        (call $drop (local.get $seen))";
    let run = format!("{fill} (call $judge (i32.const 0) (i32.const 65536) (i32.const 100000))");
    let guest = Guest { run: &run, pages: 100, ..Guest::default() };
    let (verdict, _) = bench.judge(guest, Limits::default()).await;
    assert_eq!(verdict.status, CheckStatus::Pass);
    assert!(verdict.message.len() <= 1_024 && verdict.message.ends_with("xx…"), "{}", verdict.message.len());

    let run = format!("{fill} (call $judge (i32.const 0) (i32.const 65536) (i32.const 3000000))");
    let guest = Guest { run: &run, pages: 100, ..Guest::default() };
    let (verdict, good) = bench.judge(guest, Limits::default()).await;
    assert_eq!(verdict.status, CheckStatus::Error);
    assert!(verdict.message.contains("passed more than 1 MiB at once"), "{}", verdict.message);
    assert_eq!(good.status, CheckStatus::Pass);
}

#[tokio::test]
async fn endless_reports_end_and_keep_their_bounds() {
    let run = "(loop $ever
          (call $metric (i32.const 2048) (i32.const 1) (f64.const 1))
          (call $annotate (i32.const 2048) (i32.const 1) (i32.const 2048) (i32.const 1))
          (call $log (i32.const 0) (i32.const 2048) (i32.const 1))
          (br $ever))
        unreachable";
    let more = r#"(data (i32.const 2048) "a")"#;
    let bench = Bench::new();
    let (hostile, good) = bench.judge(Guest { run, more, ..Guest::default() }, Limits::default()).await;
    assert_eq!(hostile.status, CheckStatus::Error);
    // Whichever comes first on this machine.
    assert_eq!(bench.errors(FaultKind::HostCalls) + bench.errors(FaultKind::Time), 1, "{}", hostile.message);
    assert_eq!(hostile.metrics, [("a".to_owned(), 1.0)]);
    assert_eq!(hostile.annotations, [("a".to_owned(), "a".to_owned())]);
    assert_eq!(good.status, CheckStatus::Pass);
}

#[tokio::test]
async fn a_body_is_passed_whole_and_cheaply_enough() {
    let bench = Bench::new();
    let body: &'static [u8] = Box::leak(vec![b'x'; 1 << 20].into_boxed_slice());
    let run = "(call $body (local.get $seen) (i32.const 2064))
        (if (i32.ne (i32.load (i32.const 2068)) (i32.const 1048576)) (then unreachable))
        (if (i32.ne (i32.load8_u (i32.add (i32.load (i32.const 2064)) (i32.const 1048575))) (i32.const 120))
          (then unreachable))
        (call $pass (local.get $seen))";
    let set = bench.set(&[(Guest { run, ..Guest::default() }, Limits::default())]);
    let judgement = bench.pool.judge(&set, observed(body), bench.in_time()).await;
    assert_eq!(judgement.verdicts[0].status, CheckStatus::Pass, "{}", judgement.verdicts[0].message);
}

#[tokio::test]
async fn a_plugin_says_that_it_could_not_judge_or_refuses_its_configuration() {
    let more = r#"(data (i32.const 2048) "no such thing")
      (func $refused (result i32)
        (i32.store (i32.const 1200) (i32.const 1))
        (i32.store (i32.const 1204) (i32.const 2048))
        (i32.store (i32.const 1208) (i32.const 13))
        (i32.const 1200))"#;
    let run = "(call $drop (local.get $seen)) (call $refused)";
    assert_contained(run, more, FaultKind::Refused, "no such thing").await;
    let bench = Bench::new();
    let plugin = bench.plugin(Guest { configure: "(call $refused)", more, run: PASS, ..Guest::default() });
    let refused = ConfiguredCheck::new(&plugin, spec()).err();
    assert_eq!(refused, Some(ConfigureError::Refused("no such thing".into())));
}
