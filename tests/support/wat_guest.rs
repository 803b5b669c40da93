//! Check plugins written as WebAssembly text, for tests that need a plugin which does one odd thing.
//!
//! A guest is a core module with the contract's canonical ABI spelled out; it gets the types of `wit/`
//! and becomes a component as any author's module does.
#![allow(dead_code, clippy::expect_used, reason = "tests; each uses some of it")]

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The parts of a guest that differ from test to test, as WebAssembly text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guest<'a> {
    /// Body of `run`: local `$seen` is the observation. It has to end with a pointer to the result;
    /// `(call $pass (local.get $seen))` gives one.
    pub(crate) run: &'a str,
    /// Body of `configure`: locals `$config` and `$len`. It has to end with a pointer to the result.
    pub(crate) configure: &'a str,
    /// Functions, globals and data of its own. Memory from 2,048 to 8,191 is theirs.
    pub(crate) more: &'a str,
    /// What comes before anything else in `cabi_realloc`: how the host gets memory of the guest. May
    /// return a pointer.
    pub(crate) realloc: &'a str,
    /// Pages of memory at the start.
    pub(crate) pages: u32,
    /// How strings pass: the host transcodes all but UTF-8.
    pub(crate) encoding: StringEncoding,
    /// The contract's version.
    pub(crate) version: &'a str,
}

impl Default for Guest<'_> {
    fn default() -> Self {
        Self::PLAIN
    }
}

/// A `run` that passes.
pub(crate) const PASS: &str = "(call $pass (local.get $seen))";

impl Guest<'_> {
    /// Takes any configuration, and passes.
    pub(crate) const PLAIN: Guest<'static> = Guest {
        run: PASS,
        configure: "(call $configured)",
        more: "",
        realloc: "",
        pages: 1,
        encoding: StringEncoding::UTF8,
        version: "0.1.0",
    };

    /// The guest as a component.
    pub(crate) fn component(&self) -> Vec<u8> {
        let wit = wit().replace("@0.1.0", &format!("@{}", self.version));
        wrapped(&core_module_of(&self.module(), &wit, self.encoding))
    }

    /// The guest as text.
    pub(crate) fn module(&self) -> String {
        let Self { run, configure, more, realloc, pages, .. } = self;
        let text = format!(
            r#"(module
  (import "probity:check/observation@VERSION" "[resource-drop]observation" (func $drop (param i32)))
  (import "probity:check/observation@VERSION" "[method]observation.status" (func $status (param i32 i32)))
  (import "probity:check/observation@VERSION" "[method]observation.body" (func $body (param i32 i32)))
  (import "probity:check/report@VERSION" "metric" (func $metric (param i32 i32 f64)))
  (import "probity:check/report@VERSION" "annotate" (func $annotate (param i32 i32 i32 i32)))
  (import "probity:check/report@VERSION" "log" (func $log (param i32 i32 i32)))
  (import "probity:check/state@VERSION" "get" (func $get (param i32 i32 i32)))
  (import "probity:check/state@VERSION" "set" (func $set (param i32 i32 i32 i32 i32)))
  (memory (export "memory") {pages})
  (global $free (mut i32) (i32.const 16384))
  (data (i32.const 1024) "as it should be")
  (data (i32.const 1100) "namewat-guest")
  ;; Lays out results: configure's at 1200, run's at 1232, describe's at 1264 and 1280.
  (func $configured (result i32) (i32.store (i32.const 1200) (i32.const 0)) (i32.const 1200))
  (func $judge (param $status i32) (param $text i32) (param $len i32) (result i32)
    (i32.store (i32.const 1232) (i32.const 0))
    (i32.store (i32.const 1236) (local.get $status))
    (i32.store (i32.const 1240) (local.get $text))
    (i32.store (i32.const 1244) (local.get $len))
    (i32.const 1232))
  (func $pass (param $seen i32) (result i32)
    (call $drop (local.get $seen))
    (call $judge (i32.const 0) (i32.const 1024) (i32.const 15)))
  (func $fail (param $seen i32) (result i32)
    (call $drop (local.get $seen))
    (call $judge (i32.const 2) (i32.const 1024) (i32.const 15)))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    {realloc}
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
    (global.set $free (i32.add (local.get $at) (local.get 3)))
    (block $enough
      (loop $more
        (br_if $enough (i32.le_u (global.get $free) (i32.mul (memory.size) (i32.const 65536))))
        (br_if $enough (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))
        (br $more)))
    (local.get $at))
  (func (export "probity:check/manifest@VERSION#describe") (result i32)
    (i32.store (i32.const 1264) (i32.const 1280))
    (i32.store (i32.const 1268) (i32.const 1))
    (i32.store (i32.const 1280) (i32.const 1100))
    (i32.store (i32.const 1284) (i32.const 4))
    (i32.store (i32.const 1288) (i32.const 1104))
    (i32.store (i32.const 1292) (i32.const 9))
    (i32.const 1264))
  (func (export "probity:check/checker@VERSION#configure") (param $config i32) (param $len i32) (result i32)
    {configure})
  (func $run (export "probity:check/checker@VERSION#run") (param $seen i32) (result i32)
    (local $at i32) (local $count i32)
    {run})
  {more})"#
        );
        text.replace("VERSION", self.version)
    }
}

/// The text of `wit/check.wit`.
pub(crate) fn wit() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("wit/check.wit"))
        .expect("wit/check.wit")
}

/// Makes a component of a core module's text, by the world `check` of the interface text.
pub(crate) fn component(module: &str, wit: &str) -> Vec<u8> {
    wrapped(&core_module(module, wit))
}

fn wrapped(core: &[u8]) -> Vec<u8> {
    let mut encoder = ComponentEncoder::default().module(core).expect("a module for the contract");
    encoder.encode().expect("a component")
}

/// The core module of a text, with its component types inside.
pub(crate) fn core_module(module: &str, wit: &str) -> Vec<u8> {
    core_module_of(module, wit, StringEncoding::UTF8)
}

fn core_module_of(module: &str, wit: &str, encoding: StringEncoding) -> Vec<u8> {
    let mut bytes = wat::parse_str(module).expect("a guest's text");
    let mut resolve = Resolve::default();
    let package = resolve.push_source("check.wit", wit).expect("interface text");
    let world = resolve.select_world(&[package], Some("check")).expect("the world check");
    embed_component_metadata(&mut bytes, &resolve, world, encoding).expect("component types");
    bytes
}
