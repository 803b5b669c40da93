//! Plugins that do their worst: each becomes an `error` verdict that says what happened, within its
//! budget, and the next check is unharmed. The identifiers are those of the list of hostile plugins
//! (W1 to W25).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use probity::check::{CheckSpec, ConfigureError, ConfiguredCheck, FaultKind, Limits};
use probity::model::{CheckStatus, Verdict};

use crate::hostile_guests_bench::{Bench, observed, spec};
use crate::wat_guest::{Guest, PASS};

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
async fn w1_a_loop_ends_with_its_cpu_time() {
    let hostile =
        assert_contained("(loop $ever (br $ever)) unreachable", "", FaultKind::Time, "time limit: used")
            .await;
    assert!((50..100).contains(&cpu_millis(&hostile.message)), "{}", hostile.message);
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
async fn w1_a_loop_in_configure_ends_at_load() {
    let bench = Bench::new();
    let configure = "(loop $ever (br $ever)) unreachable";
    let plugin = bench.plugin(Guest { configure, ..Guest::default() });
    let Err(ConfigureError::Failed(message)) = ConfiguredCheck::new(&plugin, spec()) else {
        panic!("it was configured")
    };
    assert!(message.contains("time limit: used 2"), "{message}");
}

#[tokio::test]
async fn w2_filling_all_memory_again_and_again_ends_with_its_cpu_time() {
    let run = "(drop (memory.grow (i32.const 1000)))
        (loop $ever
          (memory.fill (i32.const 65536) (i32.const 1) (i32.const 65536000))
          (br $ever))
        unreachable";
    let hostile = assert_contained(run, "", FaultKind::Time, "time limit: used").await;
    assert!(cpu_millis(&hostile.message) < 100, "{}", hostile.message);
}

#[tokio::test]
async fn w3_memory_ends_at_its_limit() {
    // What a language's allocator does when it gets no memory.
    let run = "(loop $more
          (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
          (br $more))
        unreachable";
    assert_contained(run, "", FaultKind::Memory, "memory limit: wanted more than 64 MiB").await;
}

#[tokio::test]
async fn w3_a_guest_may_cope_with_less_memory() {
    let bench = Bench::new();
    let run = "(if (i32.ne (memory.grow (i32.const 65535)) (i32.const -1)) (then unreachable))
        (call $pass (local.get $seen))";
    let (verdict, _) = bench.judge(Guest { run, ..Guest::default() }, Limits::default()).await;
    assert_eq!(verdict.status, CheckStatus::Pass, "{}", verdict.message);
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
async fn w4_deep_recursion_ends_at_the_stack() {
    let more = "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))";
    assert_contained("(call $deep (i32.const 0))", more, FaultKind::Stack, "stack overflow").await;
}

#[tokio::test]
async fn w11_a_trap_is_named() {
    assert_contained("unreachable", "", FaultKind::Trap, "trapped: unreachable").await;
    let divide = "(i32.div_u (i32.const 1) (i32.const 0))";
    assert_contained(divide, "", FaultKind::Trap, "trapped: integer divide by zero").await;
    let wild = "(i32.load (i32.const -4))";
    assert_contained(wild, "", FaultKind::Trap, "trapped: out of bounds memory access").await;
}

#[tokio::test]
async fn w11_a_trap_comes_with_the_last_words() {
    let run = "(call $log (i32.const 3) (i32.const 2048) (i32.const 8)) unreachable";
    let more = r#"(data (i32.const 2048) "no money")"#;
    assert_contained(run, more, FaultKind::Trap, "trapped: unreachable; it said: no money").await;
}

#[tokio::test]
async fn w9_output_that_breaks_the_contract_is_an_error() {
    let judge = |status: &str, text: &str, len: &str| {
        format!(
            "(call $drop (local.get $seen)) (call $judge (i32.const {status}) (i32.const {text}) (i32.const {len}))"
        )
    };
    let cases = [
        ("(call $drop (local.get $seen)) (i32.const -16)".to_owned(), "a wild pointer"),
        ("(call $drop (local.get $seen)) (i32.const 1201)".to_owned(), "an odd pointer"),
        (judge("9", "1024", "2"), "no such status"),
        (judge("0", "-16", "15"), "a message out of bounds"),
        (judge("0", "1024", "65536"), "a message past the end"),
        (judge("0", "2048", "2"), "a message that is not UTF-8"),
        ("(call $judge (i32.const 0) (i32.const 1024) (i32.const 2))".to_owned(), "a kept observation"),
    ];
    for (run, what) in cases {
        let more = r#"(data (i32.const 2048) "\ff\fe")"#;
        let hostile = assert_contained(&run, more, FaultKind::Output, "bad output").await;
        assert!(hostile.message.len() > "bad output: ".len() + 5, "{what}: {}", hostile.message);
    }
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
async fn w13_no_byte_of_one_call_is_seen_by_the_next() {
    // Looks for anything above its own data, then fills its memory.
    let run = "(drop (memory.grow (i32.const 40)))
        (local.set $at (i32.const 65536))
        (loop $scan
          (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (return (call $fail (local.get $seen)))))
          (local.set $at (i32.add (local.get $at) (i32.const 8)))
          (br_if $scan (i32.lt_u (local.get $at) (i32.const 2600000))))
        (memory.fill (i32.const 65536) (i32.const 165) (i32.const 2534464))
        (call $pass (local.get $seen))";
    let bench = Bench::new();
    let limits = Limits { time: Duration::from_millis(500), ..Limits::default() };
    // The scan finds what is there.
    let dirty =
        format!("(drop (memory.grow (i32.const 40))) (i32.store (i32.const 2000000) (i32.const 1)) {run}");
    let (found, _) = bench.judge(Guest { run: &dirty, ..Guest::default() }, limits).await;
    assert_eq!(found.status, CheckStatus::Fail, "{}", found.message);
    // Two plugins of one kind: the pool gives them each other's slots.
    let other = Guest { run, more: "(func)", ..Guest::default() };
    let set = bench.set(&[(Guest { run, ..Guest::default() }, limits), (other, limits)]);
    for round in 0..20 {
        let judgement = bench.pool.judge(&set, observed(b""), bench.in_time()).await;
        for verdict in judgement.verdicts {
            assert_eq!(verdict.status, CheckStatus::Pass, "round {round}: {}", verdict.message);
        }
    }
}

/// Passes if the state has the key "k" already, fails if not, and sets it.
/// Lets the other tasks go on until it is so.
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
