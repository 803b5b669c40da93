//! Files that are no plugin (W3, W6, W7, W17): each is refused at load, with what is wrong and what
//! to do about it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use probity::check::{CheckEngine, LoadError, Plugin};

use crate::wat_guest::{Guest, component, core_module, wit};

fn engine() -> Arc<CheckEngine> {
    Arc::new(CheckEngine::new().expect("an engine"))
}

fn refusal(bytes: &[u8]) -> LoadError {
    Plugin::load(&engine(), bytes).expect_err("it was loaded")
}

/// A guest whose imports or exports differ: the interface text is changed by `edit`, the module gets
/// `more`.
fn edited(more: &str, edit: impl Fn(String) -> String) -> Vec<u8> {
    component(&Guest { more, ..Guest::default() }.module(), &edit(wit()))
}

#[test]
fn w6_what_is_not_a_component_is_told_by_kind() {
    let core = wat::parse_str(Guest::default().module()).unwrap();
    assert!(matches!(refusal(&core), LoadError::CoreModule(_)));
    assert!(refusal(&core).to_string().contains("no component types"), "{}", refusal(&core));
    assert!(matches!(refusal(b""), LoadError::NotWasm(_)));
    assert!(matches!(refusal(b"#!/bin/sh"), LoadError::NotWasm(_)));
}

#[test]
fn w6_a_truncated_file_is_damaged_wherever_it_was_cut() {
    let whole = Guest::default().component();
    let engine = engine();
    for cut in (8..whole.len()).step_by(whole.len() / 60) {
        let error = Plugin::load(&engine, &whole[..cut]).expect_err("it was loaded");
        // Where it is cut between two sections, it is whole in itself, but lacks its exports.
        let is_told = matches!(error, LoadError::Damaged(_) | LoadError::MissingExport(_));
        assert!(is_told, "cut at {cut} of {}: {error}", whole.len());
    }
}

#[test]
fn a_damaged_file_never_harms_the_loader() {
    let whole = Guest::default().component();
    let engine = engine();
    for at in (8..whole.len()).step_by(whole.len() / 150) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        // Some bytes matter to nobody; the others are refused.
        let _ = Plugin::load(&engine, &damaged);
    }
    Plugin::load(&engine, &whole).expect("the engine still works");
}

#[test]
fn w7_an_import_that_is_not_ours_is_named() {
    let package = "package wasi:clocks@0.2.0 { interface monotonic-clock { now: func() -> u64; } }";
    let interface = wit().replace("world check {", "world check { import wasi:clocks/monotonic-clock@0.2.0;");
    let import = r#"(module (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))"#;
    let guest = Guest { more: "(func $unused (drop (call $now)))", ..Guest::default() };
    let bytes = component(&guest.module().replacen("(module", import, 1), &format!("{interface}\n{package}"));
    let error = refusal(&bytes);
    assert!(
        matches!(&error, LoadError::ForeignImport { import, .. } if import == "wasi:clocks/monotonic-clock@0.2.0"),
        "{error}"
    );
    assert!(
        error.to_string().contains("wasm32-unknown-unknown") && error.to_string().contains("--stub-wasi")
    );
}

#[test]
fn w6_a_missing_export_is_named() {
    let module = Guest::default().module().replace("probity:check/manifest@0.1.0#describe", "other");
    let interface = wit().replace("export manifest;", "");
    let error = refusal(&component(&module, &interface));
    assert_eq!(error, LoadError::MissingExport("probity:check/manifest@0.1.0".into()));
}

#[test]
fn w6_versions_are_compared() {
    let engine = engine();
    for (version, fits) in [("0.1.0", true), ("0.1.7", true), ("0.2.0", false), ("1.0.0", false)] {
        let loaded = Plugin::load(&engine, &Guest { version, ..Guest::default() }.component());
        match loaded {
            Ok(_) => assert!(fits, "{version}"),
            Err(error) => {
                assert!(!fits && matches!(error, LoadError::WrongVersion { .. }), "{version}: {error}");
                assert!(
                    error.to_string().contains(version) && error.to_string().contains("0.1.0"),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn w6_a_record_of_another_shape_is_a_mismatch() {
    let bytes = edited("", |text| {
        text.replace("enum status { pass, warn, fail }", "enum status { pass, warn, fail, maybe }")
    });
    let error = refusal(&bytes);
    assert!(matches!(error, LoadError::Mismatch(_)), "{error}");
}

#[test]
fn w6_a_method_of_tomorrow_is_named() {
    let module = Guest::default().module().replacen(
        "(module",
        "(module (import \"probity:check/observation@0.1.0\" \"[method]observation.moon\" (func (param i32) (result i64)))",
        1,
    );
    let interface = wit()
        .replace("    body-len: func() -> u64;", "    body-len: func() -> u64;\n    moon: func() -> u64;");
    let error = refusal(&component(&module, &interface));
    assert!(matches!(&error, LoadError::Mismatch(what) if what.contains("observation.moon")), "{error}");
}

#[test]
fn w3_proposals_that_no_check_needs_are_refused() {
    let cases = [
        ("(table i64 1 funcref)", "memory64"),
        ("(memory 1)", "a second memory"),
        ("(func (result i32) (return_call $run (i32.const 0)))", "tail calls"),
        ("(func (drop (i32x4.relaxed_trunc_f32x4_s (v128.const i32x4 0 0 0 0))))", "relaxed simd"),
    ];
    for (more, what) in cases {
        let error = refusal(&Guest { more, ..Guest::default() }.component());
        assert!(matches!(error, LoadError::Compile(_)), "{what}: {error}");
    }
}

#[test]
fn a_plugin_that_wants_too_much_at_once_cannot_start() {
    // More than the largest memory that a check can be given.
    let error = refusal(&Guest { pages: 5_000, ..Guest::default() }.component());
    assert!(error.to_string().contains("memory"), "{error}");
}

#[test]
fn a_plugin_that_never_ends_its_start_cannot_start() {
    let more = "(func $ever (loop $ever (br $ever))) (start $ever)";
    let error = refusal(&Guest { more, ..Guest::default() }.component());
    assert!(matches!(&error, LoadError::Start(why) if why.contains("time limit")), "{error}");
}

#[test]
fn w17_precompiled_code_is_never_loaded() {
    let error = refusal(b"\x7fELF\x02\x01\x01\0wasmtime");
    assert!(error.to_string().contains("native code"), "{error}");
}

#[test]
fn a_core_module_with_its_types_can_be_wrapped() {
    let core = core_module(&Guest::default().module(), &wit());
    let wrapped = probity::check::component_from_core(&core).unwrap();
    assert_eq!(Plugin::load(&engine(), &wrapped).unwrap().manifest().name, "wat-guest");
}
