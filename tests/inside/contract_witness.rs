//! Plugins and runners of different ages: a plugin built before a method was added still runs, on the
//! runner of today and on one of tomorrow; a plugin of tomorrow runs on the runner of today, unless it
//! calls what that one lacks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::sync::Arc;

use probity::check::{CheckSet, CheckSpec, ConfiguredCheck, LoadError, Plugin};
use probity::model::CheckStatus;

use crate::contract_grown::{Answer, Tomorrow};
use crate::contract_shape::Shape;
use crate::hostile_guests_bench::{Bench, observed, spec};
use crate::tree::root;
use crate::wat_guest::{Guest, component};

/// What the witness sees, one after the other, and what it says of it: status, begin of the message, its
/// metric `changed_lines`.
const JUDGED: &[(&[u8], CheckStatus, &str, Option<f64>)] = &[
    (b"one\ntwo\n", CheckStatus::Pass, "first seen: sha256 ", None),
    (b"one\ntwo\n", CheckStatus::Pass, "unchanged: sha256 ", Some(0.0)),
    (b"one\n2\n", CheckStatus::Fail, "changed: 1 of 2 lines differ (50.0 %); sha256 ", Some(1.0)),
    (b"one\n2\n", CheckStatus::Pass, "unchanged: sha256 ", Some(0.0)),
];
const CONFIG: &str = r#"{"on_change":"fail"}"#;

fn witness() -> Vec<u8> {
    fs::read(root().join("tests/compat/changed-0.1.0.wasm")).unwrap()
}

fn grown() -> String {
    fs::read_to_string(root().join("tests/compat/grown/check.wit")).unwrap()
}

#[tokio::test]
async fn a_plugin_built_for_0_1_0_judges_on_the_runner_of_today() {
    let bench = Bench::new();
    let plugin = Arc::new(Plugin::load(&bench.engine, &witness()).unwrap());
    assert_eq!(plugin.manifest().name, "changed");
    let check = ConfiguredCheck::new(&plugin, CheckSpec { config: CONFIG.into(), ..spec() }).unwrap();
    let set = Arc::new(CheckSet::new("p".into(), vec![check], bench.state.clone()));
    for (body, status, message, changed_lines) in JUDGED {
        let judgement = bench.pool.judge(&set, observed(body), bench.in_time()).await;
        let verdict = &judgement.commit_state()[0];
        assert_eq!(verdict.status, *status, "{}", verdict.message);
        assert!(verdict.message.starts_with(message), "{:?}, not {message:?}", verdict.message);
        let lines = verdict.metrics.iter().find(|(name, _)| name == "changed_lines");
        assert_eq!(lines.map(|(_, value)| *value), *changed_lines);
    }
}

#[test]
fn a_plugin_built_for_0_1_0_judges_on_a_runner_whose_contract_has_grown() {
    let mut runner = Tomorrow::load(&witness());
    assert!(runner.describe().contains(&("name".to_owned(), "changed".to_owned())));
    for (body, status, message, changed_lines) in JUDGED {
        let Answer { status: judged, message: said, metrics } = runner.judge(CONFIG, body);
        assert_eq!(judged, *status, "{said}");
        assert!(said.starts_with(message), "{said:?}, not {message:?}");
        assert_eq!(metrics.get("changed_lines"), changed_lines.as_ref());
    }
}

#[test]
fn the_contract_of_tomorrow_is_one_that_may_follow_that_of_today() {
    let text = fs::read_to_string(root().join("wit/check.wit")).unwrap();
    let (today, tomorrow) = (Shape::of(&text).unwrap(), Shape::of(&grown()).unwrap());
    assert_eq!(today.broken_by(&tomorrow), [""; 0], "write tests/compat/grown/check.wit anew");
    assert!(tomorrow.version > today.version && tomorrow.items.len() > today.items.len());
}

/// A guest of tomorrow, which knows one thing more: where it stands in the interface text, how a module
/// imports it.
fn of_tomorrow(interface: &str, import: &str) -> Vec<u8> {
    let guest = Guest { version: "0.1.1", ..Guest::default() };
    component(&guest.module().replacen("(module", &format!("(module {import}"), 1), interface)
}

#[tokio::test]
async fn a_plugin_of_tomorrow_that_calls_nothing_new_judges_on_the_runner_of_today() {
    let bench = Bench::new();
    let plugin = Plugin::load(&bench.engine, &of_tomorrow(&grown(), "")).unwrap();
    let check = ConfiguredCheck::new(&Arc::new(plugin), spec()).unwrap();
    let set = Arc::new(CheckSet::new("p".into(), vec![check], bench.state.clone()));
    let judgement = bench.pool.judge(&set, observed(b""), bench.in_time()).await;
    let verdict = &judgement.verdicts[0];
    assert_eq!((verdict.status, &*verdict.message), (CheckStatus::Pass, "as it should be"));
}

#[test]
fn a_plugin_that_calls_what_this_runner_lacks_is_refused_with_its_name() {
    let today = grown().replace("earlier-attempts: func() -> u32;", "");
    let method = r#"(import "probity:check/observation@0.1.1" "[method]observation.earlier-attempts" (func (param i32) (result i32)))"#;
    let function = r#"(import "probity:check/report@0.1.1" "page" (func (param i32)))"#;
    let interface = r#"(import "probity:check/dns@0.1.1" "answers" (func (result i32)))"#;
    let cases = [
        (grown(), method, "[method]observation.earlier-attempts"),
        (today.replace("  log: func(", "  page: func(who: u32);\n  log: func("), function, "page"),
        (
            today
                .replace(
                    "interface manifest {",
                    "interface dns { answers: func() -> u32; }\ninterface manifest {",
                )
                .replace("  import state;", "  import state;\n  import dns;"),
            interface,
            "probity:check/dns@0.1.1",
        ),
    ];
    for (text, import, name) in cases {
        let error = Plugin::load(&Bench::new().engine, &of_tomorrow(&text, import)).expect_err(name);
        assert!(matches!(error, LoadError::Mismatch(_) | LoadError::UnknownInterface(_)), "{error}");
        let said = error.to_string();
        assert!(said.contains(name) && said.contains("newer"), "{said}");
    }
}
