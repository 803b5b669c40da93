//! Check plugins written as text, for behaviour that no honest compiler makes: they loop, eat memory,
//! trap, or return what the contract forbids.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The component whose `configure` and `run` have these bodies, in the text format.
///
/// `configure` returns the address of a `result<_, string>`, `run` that of a
/// `result<verdict, string>`; `$ok` (all zeros) is the good one of either, and the memory from `$free`
/// on is the guest's own. `$leave` gives the borrowed observation back, as a clean return needs.
pub(crate) fn component(configure: &str, run: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
  (import "probity:check/observation@0.1.0" "[resource-drop]observation" (func $leave (param i32)))
  (memory (export "memory") 2)
  ;; The description: a list of pairs of texts, by address and length.
  (data (i32.const 16) "\40\00\00\00\03\00\00\00")
  (data (i32.const 64) "\00\01\00\00\04\00\00\00\10\01\00\00\05\00\00\00")
  (data (i32.const 80) "\20\01\00\00\07\00\00\00\30\01\00\00\05\00\00\00")
  (data (i32.const 96) "\40\01\00\00\0a\00\00\00\50\01\00\00\05\00\00\00")
  (data (i32.const 256) "name")       (data (i32.const 272) "guest")
  (data (i32.const 288) "version")    (data (i32.const 304) "0.1.0")
  (data (i32.const 320) "needs-body") (data (i32.const 336) "false")
  (global $ok i32 (i32.const 512))
  (global $free i32 (i32.const 1024))
  (global $next (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $next))
    (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 15)) (i32.const -16)))
    (local.get $at))
  (func (export "probity:check/manifest@0.1.0#describe") (result i32) (i32.const 16))
  (func (export "probity:check/checker@0.1.0#configure") (param i32 i32) (result i32) {configure})
  (func $run (export "probity:check/checker@0.1.0#run") (param $observation i32) (result i32) {run})
)"#
    );
    let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut resolve = Resolve::default();
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("wit");
    let (package, _) = resolve.push_dir(contract).unwrap();
    let world = resolve.select_world(&[package], Some("check")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let mut encoder = ComponentEncoder::default().module(&module).unwrap().validate(true);
    encoder.encode().unwrap_or_else(|error| panic!("{error:#}\n{text}"))
}

/// A `configure` that takes any configuration.
pub(crate) const TAKES_ANYTHING: &str = "(global.get $ok)";

/// A `run` that passes, without a word.
pub(crate) const PASSES: &str = "(call $leave (local.get $observation)) (global.get $ok)";
