//! Files that are no plugin (W3, W6, W7, W14, W17): each is refused at load, with what is wrong and what
//! to do about it. What `contract_witness.rs` has of versions is W6 as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use probity::check::{CheckEngine, LoadError, Plugin};

use crate::core_module::{number, section, with_module};
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

/// Interfaces that a check might want: a clock, chance, the network, files, the environment; what each
/// has, as interface text, and how a module imports it.
const FOREIGN: &[(&str, &str, &str)] = &[
    ("wasi:clocks/monotonic-clock@0.2.0", "now: func() -> u64;", r#""now" (func (result i64))"#),
    ("wasi:clocks/wall-clock@0.2.3", "seconds: func() -> u64;", r#""seconds" (func (result i64))"#),
    ("wasi:random/random@0.2.0", "get-random-u64: func() -> u64;", r#""get-random-u64" (func (result i64))"#),
    ("wasi:random/insecure-seed@0.3.0", "seed: func() -> u64;", r#""seed" (func (result i64))"#),
    (
        "wasi:sockets/tcp@0.2.0",
        "connect: func(port: u16) -> u32;",
        r#""connect" (func (param i32) (result i32))"#,
    ),
    ("wasi:filesystem/preopens@0.2.0", "open: func() -> u32;", r#""open" (func (result i32))"#),
    ("wasi:cli/environment@0.2.0", "count: func() -> u32;", r#""count" (func (result i32))"#),
    ("shop:basket/prices@1.0.0", "vat: func() -> u32;", r#""vat" (func (result i32))"#),
];

#[test]
fn w7_w14_an_import_that_is_not_ours_is_named() {
    let engine = engine();
    for (name, function, import) in FOREIGN {
        let (package, rest) = name.split_once('/').unwrap();
        let (interface, version) = rest.split_once('@').unwrap();
        let package = format!("package {package}@{version} {{ interface {interface} {{ {function} }} }}");
        let text = wit().replace("world check {", &format!("world check {{ import {name};"));
        let import = format!("(module (import \"{name}\" {import})");
        let module = Guest::default().module().replacen("(module", &import, 1);
        let bytes = component(&module, &format!("{text}\n{package}"));
        let error = Plugin::load(&engine, &bytes).expect_err(name);
        assert!(matches!(&error, LoadError::ForeignImport { import, .. } if import == name), "{error}");
        let said = error.to_string();
        assert!(said.contains(&format!("imports \"{name}\"")), "{said}");
        let is_wasi = name.starts_with("wasi:");
        assert_eq!(
            said.contains("wasm32-unknown-unknown") && said.contains("--stub-wasi"),
            is_wasi,
            "{said}"
        );
    }
}

#[test]
fn w7_a_module_that_imports_from_its_compiler_is_not_wrapped() {
    for import in [
        r#""env" "clock" (func)"#,
        r#""env" "__indirect_function_table" (table 1 funcref)"#,
        r#""env" "__stack_pointer" (global i32)"#,
        r#""wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32))"#,
    ] {
        let module = Guest::default().module().replacen("(module", &format!("(module (import {import})"), 1);
        let error = refusal(&core_module(&module, &wit()));
        assert!(matches!(error, LoadError::CoreModule(_)), "{error}");
        let name = import.split('"').nth(1).unwrap();
        assert!(error.to_string().contains(name), "{name}: {error}");
    }
}

#[test]
fn w3_a_module_of_many_memories_tables_or_instances_is_refused() {
    let many = |id: u8, one: &[u8], count: u64| {
        let mut content = Vec::new();
        number(&mut content, count);
        content.extend(one.repeat(usize::try_from(count).unwrap()));
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        section(&mut module, id, &content);
        module
    };
    // A table of no elements; a memory of no pages.
    let cases = [
        (many(4, &[0x70, 0, 0], 1_000_000), "tables"),
        (many(4, &[0x70, 0, 0], 20), "tables"),
        (many(5, &[0, 0], 10_000), "memories"),
        (many(5, &[1, 0, 0xff, 0xff, 0x03], 1), ""),
    ];
    let engine = engine();
    for (module, what) in cases {
        let loaded = Plugin::load(&engine, &with_module(Guest::default().component(), &module));
        match loaded {
            Err(error) => assert!(!what.is_empty() && error.to_string().contains(what), "{what}: {error}"),
            Ok(_) => assert_eq!(what, ""),
        }
    }
    // An instance of it thousands of times.
    let mut component = with_module(Guest::default().component(), b"\0asm\x01\0\0\0");
    let mut instances = Vec::new();
    number(&mut instances, 5_000);
    // Module number 3, after the guest and the two modules that the encoder makes.
    instances.extend([0, 3, 0].repeat(5_000));
    section(&mut component, 2, &instances);
    let error = Plugin::load(&engine, &component).expect_err("it was loaded");
    assert!(error.to_string().contains("instances"), "{error}");
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
