//! The glue, changed: still valid, and the handle is dropped once.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

/// A module with the glue's outline: what it imports, exports and puts into the table.
const GLUE: &str = r#"(module
    (import "env" "wit_dylib_export_start" (func (param i32) (result i32)))
    (import "probity:check/observation@0.1.0" "[resource-drop]observation" (func $drop (param i32)))
    (import "env" "__table_base" (global $base i32))
    (import "env" "memory" (memory 0))
    (import "env" "table" (table 0 funcref))
    (export "probity:check/checker@0.1.0#run" (func $run))
    (export "probity:check/checker@0.1.0#configure" (func $run))
    (elem (global.get $base) func $drop $run)
    (func $run (param i32) (result i32) (local.get 0)))"#;

fn printed(component: &[u8]) -> Vec<(u8, usize)> {
    sections(component).unwrap().iter().map(|section| (section.id, section.content.len())).collect()
}

#[test]
fn the_glue_is_found_in_a_nested_component_and_stays_valid() {
    let text =
        format!("(component (component {} (core module)))", GLUE.replacen("(module", "(core module", 1));
    let component = wat::parse_str(text).unwrap();
    let changed = give_back_in_time(&component).unwrap().unwrap();
    wasmtime::Module::new(
        &wasmtime::Engine::default(),
        glue(&wat::parse_str(GLUE).unwrap()).unwrap().unwrap(),
    )
    .unwrap();
    assert_eq!(printed(&changed).len(), printed(&component).len());
    assert!(changed.len() > component.len());
    // What is called `configure` is the same function, and stays it.
    assert_eq!(changed.windows(4).filter(|bytes| *bytes == b"#run").count(), 1);
}

#[test]
fn what_is_not_of_that_tool_stays() {
    for text in ["(component)", "(component (core module (func)))"] {
        assert_eq!(give_back_in_time(&wat::parse_str(text).unwrap()), Ok(None), "{text}");
    }
}

#[test]
fn a_segment_may_name_its_table() {
    let text =
        GLUE.replace("(elem (global.get $base) func", "(elem (table 0) (offset (global.get $base)) func");
    assert_eq!(drops(&glue(&wat::parse_str(text).unwrap()).unwrap().unwrap()), [7]);
    // (table 0), (i32.const 0), functions 0 and 1.
    assert_eq!(
        turned_element(&[1, 2, 0, 0x41, 0, 0x0b, 0, 2, 0, 1], 1, 300),
        Ok(vec![1, 2, 0, 0x41, 0, 0x0b, 0, 2, 0, 0xac, 2])
    );
}

#[test]
fn glue_of_another_shape_is_refused() {
    for (what, instead) in [
        ("func $drop $run)", "func $run)"),
        ("checker@0.1.0#run", "other#run"),
        ("[resource-drop]", "[drop]"),
    ] {
        let module = wat::parse_str(GLUE.replace(what, instead)).unwrap();
        assert!(glue(&module).is_err(), "{what}");
    }
    assert!(give_back_in_time(b"\0asm\x0d\0\x01\0\x01\x7f").is_err());
}

/// Runs the changed glue with a host that counts drops; `early` is a runtime that drops by itself, in time.
#[test]
fn a_handle_is_dropped_once_whoever_comes_first() {
    for early in [false, true] {
        let text = if early {
            GLUE.replace(
                "(func $run (param i32) (result i32)",
                "(func $run (param i32) (result i32) (call_indirect (param i32) (local.get 0) (i32.const 0))",
            )
        } else {
            GLUE.to_owned()
        };
        let module = glue(&wat::parse_str(text).unwrap()).unwrap().unwrap();
        assert_eq!(drops(&module), [7], "early: {early}");
    }
}

fn drops(module: &[u8]) -> Vec<i32> {
    use wasmtime::{
        Caller, Engine, Global, GlobalType, Linker, Memory, MemoryType, Module, Mutability, Ref, Store,
        Table, TableType, Val, ValType,
    };
    let engine = Engine::default();
    let module = Module::new(&engine, module).unwrap();
    let mut store = Store::new(&engine, Vec::new());
    let mut linker = Linker::new(&engine);
    let base =
        Global::new(&mut store, GlobalType::new(ValType::I32, Mutability::Const), Val::I32(0)).unwrap();
    let memory = Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
    let table =
        Table::new(&mut store, TableType::new(wasmtime::RefType::FUNCREF, 4, None), Ref::Func(None)).unwrap();
    linker.define(&store, "env", "__table_base", base).unwrap();
    linker.define(&store, "env", "memory", memory).unwrap();
    linker.define(&store, "env", "table", table).unwrap();
    linker.func_wrap("env", "wit_dylib_export_start", |given: i32| given).unwrap();
    let dropped = |mut caller: Caller<'_, Vec<i32>>, handle: i32| caller.data_mut().push(handle);
    linker.func_wrap("probity:check/observation@0.1.0", "[resource-drop]observation", dropped).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance.get_typed_func::<i32, i32>(&mut store, "probity:check/checker@0.1.0#run").unwrap();
    assert_eq!(run.call(&mut store, 7).unwrap(), 7);
    // The runtime's own drop, after the return.
    let Some(Ref::Func(Some(late))) = table.get(&mut store, 0) else { panic!("the table is empty") };
    late.typed::<i32, ()>(&store).unwrap().call(&mut store, 7).unwrap();
    store.into_data()
}
