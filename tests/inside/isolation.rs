//! What the ways to an instance have in common, and what they do not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use probity::check::{
    BUNDLED_NAMES, CheckSet, CheckSpec, ConfigureError, ConfiguredCheck, FaultKind, Isolation, Limits,
    Plugin, bundled,
};
use probity::model::{CheckStatus, Verdict};

use crate::hostile_guests_bench::{Bench, observed, spec};
use crate::wat_guest::Guest;

/// Counts its calls in a global and in memory, tells both, and counts calls of `configure`.
const COUNTING: Guest<'static> = Guest {
    run: r"
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (i32.store (i32.const 2048) (i32.add (i32.load (i32.const 2048)) (i32.const 1)))
        (call $metric (i32.const 4096) (i32.const 5) (f64.convert_i32_s (global.get $calls)))
        (call $metric (i32.const 4101) (i32.const 6) (f64.convert_i32_s (i32.load (i32.const 2048))))
        (call $metric (i32.const 4107) (i32.const 10) (f64.convert_i32_s (global.get $configured_calls)))
        (call $pass (local.get $seen))",
    configure: r"
        (global.set $configured_calls (i32.add (global.get $configured_calls) (i32.const 1)))
        (call $configured)",
    more: r#"
        (global $calls (mut i32) (i32.const 0))
        (global $configured_calls (mut i32) (i32.const 0))
        (data (i32.const 4096) "callsmemoryconfigured")"#,
    ..Guest::PLAIN
};

fn set(bench: &Bench, guest: Guest<'_>, isolation: Isolation) -> Arc<CheckSet> {
    let check = ConfiguredCheck::new(&bench.plugin(guest), CheckSpec { isolation, ..spec() }).unwrap();
    Arc::new(CheckSet::new("p".into(), vec![check], bench.state.clone()))
}

async fn judge(bench: &Bench, set: &Arc<CheckSet>) -> Verdict {
    bench.pool.judge(set, observed(b""), bench.in_time()).await.commit_state().remove(0)
}

/// What the guest counted: calls by global and by memory, and `configure`s.
fn counted(verdict: &Verdict) -> Vec<String> {
    verdict.metrics.iter().map(|(name, value)| format!("{name} {value}")).collect()
}

/// What it counted in its third call.
async fn third(isolation: Isolation) -> Vec<String> {
    let bench = Bench::new();
    let set = set(&bench, COUNTING, isolation);
    judge(&bench, &set).await;
    judge(&bench, &set).await;
    let verdict = judge(&bench, &set).await;
    assert_eq!(verdict.status, CheckStatus::Pass, "{}", verdict.message);
    counted(&verdict)
}

const FRESH: [&str; 3] = ["calls 1", "memory 1", "configured 1"];

#[tokio::test]
async fn every_call_finds_the_plugin_as_configure_left_it() {
    for isolation in [Isolation::Configure, Isolation::Snapshot, Isolation::Auto] {
        assert_eq!(third(isolation).await, FRESH, "{isolation:?}");
    }
}

#[tokio::test]
async fn a_reused_instance_is_as_the_last_call_left_it() {
    assert_eq!(third(Isolation::Reuse).await, ["calls 3", "memory 3", "configured 1"]);
}

#[tokio::test]
async fn a_reused_instance_is_given_up_after_a_trap() {
    let bench = Bench::new();
    let run = r"
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (if (i32.eq (global.get $calls) (i32.const 3)) (then unreachable))
        (call $pass (local.get $seen))";
    let more = "(global $calls (mut i32) (i32.const 0))";
    let set = set(&bench, Guest { run, more, ..Guest::default() }, Isolation::Reuse);
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(judge(&bench, &set).await.status);
    }
    let third_is_an_error = [CheckStatus::Pass, CheckStatus::Pass, CheckStatus::Error];
    assert_eq!(statuses, third_is_an_error.repeat(2));
}

#[tokio::test]
async fn each_call_of_a_reused_instance_has_limits_of_its_own() {
    let bench = Bench::new();
    let run = r"
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (if (i32.eq (global.get $calls) (i32.const 2)) (then (loop $ever (br $ever))))
        (call $pass (local.get $seen))";
    let more = "(global $calls (mut i32) (i32.const 0))";
    let set = set(&bench, Guest { run, more, ..Guest::default() }, Isolation::Reuse);
    assert_eq!(judge(&bench, &set).await.status, CheckStatus::Pass);
    let looping = judge(&bench, &set).await;
    assert!(looping.message.contains("time limit"), "{}", looping.message);
    assert_eq!(bench.errors(FaultKind::Time), 1);
    assert_eq!(judge(&bench, &set).await.status, CheckStatus::Pass);
}

#[tokio::test]
async fn a_check_that_is_called_often_is_frozen_while_it_goes_on() {
    let bench = Bench::new();
    let set = set(&bench, COUNTING, Isolation::Auto);
    let check = &set.checks()[0];
    assert!(!check.is_frozen());
    let mut calls = 0;
    while !check.is_frozen() {
        let verdict = judge(&bench, &set).await;
        assert_eq!(counted(&verdict), FRESH);
        calls += 1;
    }
    assert!(calls > 100, "{calls}");
    assert_eq!(counted(&judge(&bench, &set).await), FRESH);
}

#[test]
fn every_bundled_check_can_be_frozen() {
    let bench = Bench::new();
    for name in BUNDLED_NAMES {
        let plugin = Arc::new(Plugin::load_bundled(&bench.engine, name).unwrap().unwrap());
        let config = match *name {
            "header" => r#"{"require":[{"name":"etag"}]}"#,
            "latency" => r#"{"max":"1s"}"#,
            "body" => r#"{"matches":["a+b"]}"#,
            "json" => r#"{"assert":[{"path":"/a","equals":1}]}"#,
            "cel" => r#"{"conditions":["status == 200"]}"#,
            "html" => r#"{"title":{"contains":"x"}}"#,
            _ => "{}",
        };
        let spec = CheckSpec { isolation: Isolation::Snapshot, config: config.into(), ..spec() };
        let check = ConfiguredCheck::new(&plugin, spec).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(check.is_frozen(), "{name}");
    }
}

#[test]
fn what_cannot_be_frozen_is_refused_for_snapshot_and_configured_for_auto() {
    let bench = Bench::new();
    // A table that the guest may change is beyond a snapshot.
    let more = "(table $t 2 funcref) (func $touch (table.set $t (i32.const 0) (ref.null func)))
        (export \"touch\" (func $touch))";
    let plugin = bench.plugin(Guest { more, ..Guest::default() });
    let configured = |isolation| ConfiguredCheck::new(&plugin, CheckSpec { isolation, ..spec() });
    let refused = configured(Isolation::Snapshot).expect_err("it was frozen");
    assert!(matches!(refused, ConfigureError::NotFrozen(_)));
    assert!(refused.to_string().contains("table.set"), "{refused}");
    let auto = configured(Isolation::Auto).unwrap();
    assert!(auto.freeze().is_err() && !auto.is_frozen());
}

#[tokio::test]
async fn a_snapshot_of_other_behaviour_is_not_taken() {
    let bench = Bench::new();
    // The first call of all behaves otherwise: it starts a table element that a snapshot cannot hold,
    // as a start function that runs again after the thaw would.
    let run = "(if (i32.load (i32.const 2048)) (then unreachable)) (call $pass (local.get $seen))";
    let more = r"(func $start (i32.store (i32.const 2048) (global.get $ready))) (start $start)
        (global $ready (mut i32) (i32.const 0))";
    let configure = "(global.set $ready (i32.const 1)) (call $configured)";
    let plugin = bench.plugin(Guest { run, configure, more, ..Guest::default() });
    let check = ConfiguredCheck::new(&plugin, spec()).unwrap();
    // Either the start function is not run again, or the difference is seen.
    let frozen = check.freeze();
    assert_eq!(frozen.is_ok(), check.is_frozen());
    let set = Arc::new(CheckSet::new("p".into(), vec![check], bench.state.clone()));
    assert_eq!(judge(&bench, &set).await.status, CheckStatus::Pass);
}

/// Checks of one set, by plugin and configuration.
fn bundled_set(bench: &Bench, checks: &[(&str, &str)]) -> Arc<CheckSet> {
    let configured = checks.iter().enumerate().map(|(number, (plugin, config))| {
        let plugin = Plugin::load_bundled(&bench.engine, plugin).unwrap().unwrap();
        let name = format!("{number}").into();
        ConfiguredCheck::new(&Arc::new(plugin), CheckSpec { name, config: (*config).into(), ..spec() })
            .unwrap()
    });
    Arc::new(CheckSet::new("p".into(), configured.collect::<Vec<_>>(), bench.state.clone()))
}

#[tokio::test]
async fn bundled_checks_in_one_sandbox_say_what_each_says_alone() {
    // With a memory of its own each, since `changed` remembers.
    let (bench, other_bench) = (Bench::new(), Bench::new());
    let checks = [
        ("status", "{}"),
        ("status", r#"{"expect": 404}"#),
        ("changed", "{}"),
        ("latency", r#"{"max": "2s", "warn": "1ns"}"#),
        ("header", r#"{"require": [{"name": "x-none"}]}"#),
        ("body", r#"{"contains": ["well", "not there"]}"#),
        ("body", r#"{"matches": "^all .s"}"#),
    ];
    let said = async |bench: &Bench, set: &Arc<CheckSet>, body| {
        let verdicts = bench.pool.judge(set, observed(body), bench.in_time()).await.commit_state();
        let said = |one: Verdict| {
            format!("{:?} {} {:?} {:?}", one.status, one.message, one.metrics, one.annotations)
        };
        verdicts.into_iter().map(said).collect::<Vec<_>>()
    };
    let (alone, shared) = (bundled_set(&bench, &checks), bundled_set(&other_bench, &checks));
    assert!(shared.share_sandbox());
    for body in [b"all is well".as_slice(), b"", b"\xff\xfe", b"all is well, and not there"] {
        let (one, other) = (said(&bench, &alone, body).await, said(&other_bench, &shared, body).await);
        assert_eq!(one, other);
        assert_eq!(one.len(), checks.len());
    }
    // Whether they share shows in nothing but the time.
    assert!(!bundled_set(&bench, &checks[..1]).share_sandbox(), "one alone has nobody to share with");
}

#[tokio::test]
async fn checks_with_other_limits_or_of_others_do_not_share_a_sandbox() {
    let bench = Bench::new();
    let plugin = Arc::new(Plugin::load_bundled(&bench.engine, "status").unwrap().unwrap());
    let check = |name: &str, limits: Limits, isolation: Isolation| {
        ConfiguredCheck::new(&plugin, CheckSpec { name: name.into(), limits, isolation, ..spec() }).unwrap()
    };
    let shares =
        |checks: Vec<ConfiguredCheck>| CheckSet::new("p".into(), checks, bench.state.clone()).share_sandbox();
    let (plain, less) = (Limits::default(), Limits { memory_bytes: 8 << 20, ..Limits::default() });
    assert!(shares(vec![check("a", plain, Isolation::Auto), check("b", plain, Isolation::Auto)]));
    assert!(!shares(vec![check("a", plain, Isolation::Auto), check("b", less, Isolation::Auto)]));
    for odd in 0..3 {
        let of = |place: usize| if place == odd { less } else { plain };
        let three = ["a", "b", "c"].iter().enumerate();
        let three = three.map(|(place, name)| check(name, of(place), Isolation::Auto)).collect();
        assert!(shares(three), "two are alike, whichever is not ({odd})");
    }
    assert!(!shares(vec![check("a", plain, Isolation::Auto), check("b", plain, Isolation::Configure)]));
    let theirs = Arc::new(Plugin::load(&bench.engine, bundled("status").unwrap()).unwrap());
    let theirs = ConfiguredCheck::new(&theirs, CheckSpec { name: "b".into(), ..spec() }).unwrap();
    assert!(
        !shares(vec![check("a", plain, Isolation::Auto), theirs]),
        "whose it is counts, not what it says"
    );
}
