//! Gives the observation back in time, in components that componentize-qjs made.
//!
//! A component must drop a borrowed handle before its function returns. The runtime of componentize-qjs
//! (0.4.3 to 0.4.5 were looked at) drops it when the function's result is cleaned up, which is after the
//! return: every call of `run` would trap. The glue module between that runtime and the contract gets two small
//! functions: one around `run` that drops the handle at the end, and one in the place of the runtime's own
//! drop that does nothing for a handle that is gone. A runtime that drops in time works with them as well.
//!
//! Nothing that is there is moved: functions, a global and their code are appended, one export and one entry
//! of a table are turned to them.

/// Why the glue module could not be changed: it does not look as it did.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("its glue module is not built as that of componentize-qjs 0.4.5: {0}")]
pub(super) struct UnknownShape(&'static str);

/// Sections of a component that hold a core module, or a component.
const CORE_MODULE: u8 = 1;
const COMPONENT: u8 = 4;
/// Sections of a core module.
const IMPORTS: u8 = 2;
const FUNCTIONS: u8 = 3;
const GLOBALS: u8 = 6;
const EXPORTS: u8 = 7;
const ELEMENTS: u8 = 9;
const CODE: u8 = 10;

/// The glue's own mark: an import that only it has.
const MARK: &str = "wit_dylib_export_start";
const DROP: &str = "[resource-drop]observation";

/// The component with its glue module changed; none where it has no such module.
pub(super) fn give_back_in_time(component: &[u8]) -> Result<Option<Vec<u8>>, UnknownShape> {
    rewrite(component, &|id, content| match id {
        CORE_MODULE => glue(content),
        COMPONENT => give_back_in_time(content),
        _ => Ok(None),
    })
}

/// Replaces the sections that `change` changes; none where there is none.
fn rewrite(
    binary: &[u8],
    change: &dyn Fn(u8, &[u8]) -> Result<Option<Vec<u8>>, UnknownShape>,
) -> Result<Option<Vec<u8>>, UnknownShape> {
    let mut changed = None;
    for Section { id, content, from, to } in sections(binary)? {
        let new = change(id, content)?;
        if let Some(new) = new {
            let out: &mut Vec<u8> = changed.get_or_insert_with(|| binary[..from].to_vec());
            put_section(out, id, &new);
        } else if let Some(out) = &mut changed {
            out.extend_from_slice(&binary[from..to]);
        }
    }
    Ok(changed)
}

/// One section, and where it stands.
struct Section<'a> {
    id: u8,
    content: &'a [u8],
    from: usize,
    to: usize,
}

fn sections(binary: &[u8]) -> Result<Vec<Section<'_>>, UnknownShape> {
    let mut read = Reader { bytes: binary, at: 8 };
    let mut found = Vec::new();
    while read.at < binary.len() {
        let from = read.at;
        let id = read.byte()?;
        let content = read.sized()?;
        found.push(Section { id, content, from, to: read.at });
    }
    Ok(found)
}

/// What the changes need to know of the glue module.
#[derive(Default)]
struct Glue {
    functions_imported: u32,
    globals_imported: u32,
    drop: Option<(u32, u32)>,
    is_marked: bool,
}

/// The indices of what is appended.
struct Added {
    /// The handle that is still to be dropped, 0 where there is none.
    global: u32,
    /// In the place of the runtime's drop.
    drop: u32,
    /// In the place of `run`.
    run: u32,
}

/// The module changed, where it is the glue.
fn glue(module: &[u8]) -> Result<Option<Vec<u8>>, UnknownShape> {
    let all = sections(module)?;
    let content = |id| all.iter().find(|section| section.id == id).map(|section| section.content);
    let glue = content(IMPORTS).map(imports).transpose()?.unwrap_or_default();
    if !glue.is_marked {
        return Ok(None);
    }
    let (drop, drop_type) = glue.drop.ok_or(UnknownShape("it does not import the drop of an observation"))?;
    let functions = content(FUNCTIONS).ok_or(UnknownShape("it has no functions"))?;
    let exports = content(EXPORTS).ok_or(UnknownShape("it has no exports"))?;
    let run = find_run(exports)?;
    let run_type = type_of(functions, run.wrapping_sub(glue.functions_imported))?;
    let globals = content(GLOBALS).map_or(Ok(0), |globals| Reader::new(globals).number())?;
    let defined = Reader::new(functions).number()?;
    let added = Added {
        global: glue.globals_imported + globals,
        drop: glue.functions_imported + defined,
        run: glue.functions_imported + defined + 1,
    };
    let mut out = module[..8].to_vec();
    let mut has_global = false;
    for Section { id, content, .. } in &all {
        if !has_global && *id != 0 && *id >= GLOBALS {
            let before = if *id == GLOBALS { content } else { &[0][..] };
            // (mut i32) (i32.const 0)
            put_section(&mut out, GLOBALS, &appended(before, &[&[0x7f, 1, 0x41, 0, 0x0b]])?);
            has_global = true;
            if *id == GLOBALS {
                continue;
            }
        }
        let new = match *id {
            FUNCTIONS => appended(content, &[&number(drop_type), &number(run_type)])?,
            EXPORTS => turned_export(content, run, added.run)?,
            ELEMENTS => turned_element(content, drop, added.drop)?,
            CODE => appended(content, &[&drop_body(&added, drop), &run_body(&added, drop, run)])?,
            _ => content.to_vec(),
        };
        put_section(&mut out, *id, &new);
    }
    Ok(Some(out))
}

/// Counts imports, and finds the drop (its index and type).
fn imports(content: &[u8]) -> Result<Glue, UnknownShape> {
    let mut read = Reader::new(content);
    let mut glue = Glue::default();
    for _ in 0..read.number()? {
        read.sized()?;
        let name = read.sized()?;
        match read.byte()? {
            0 => {
                let kind = read.number()?;
                if name == DROP.as_bytes() {
                    glue.drop = Some((glue.functions_imported, kind));
                }
                glue.is_marked |= name == MARK.as_bytes();
                glue.functions_imported += 1;
            }
            1 => {
                read.byte()?;
                read.limits()?;
            }
            2 => read.limits()?,
            3 => {
                read.byte()?;
                read.byte()?;
                glue.globals_imported += 1;
            }
            _ => return Err(UnknownShape("an import of a kind that is not known")),
        }
    }
    Ok(glue)
}

/// The function that is exported as the contract's `run`.
fn find_run(content: &[u8]) -> Result<u32, UnknownShape> {
    let mut read = Reader::new(content);
    for _ in 0..read.number()? {
        let name = read.sized()?;
        let kind = read.byte()?;
        let index = read.number()?;
        if kind == 0 && is_run(name) {
            return Ok(index);
        }
    }
    Err(UnknownShape("it does not export \"run\" of the contract"))
}

fn is_run(name: &[u8]) -> bool {
    name.starts_with(b"probity:check/checker@") && name.ends_with(b"#run")
}

/// The type of a function that the module defines.
fn type_of(functions: &[u8], index: u32) -> Result<u32, UnknownShape> {
    let mut read = Reader::new(functions);
    let mut kind = Err(UnknownShape("\"run\" is not a function of its own"));
    for at in 0..read.number()? {
        let next = read.number()?;
        if at == index {
            kind = Ok(next);
        }
    }
    kind
}

fn turned_export(content: &[u8], from: u32, to: u32) -> Result<Vec<u8>, UnknownShape> {
    let mut read = Reader::new(content);
    let count = read.number()?;
    let mut out = number(count);
    for _ in 0..count {
        let name = read.sized()?;
        let kind = read.byte()?;
        let index = read.number()?;
        put_sized(&mut out, name);
        out.push(kind);
        out.extend(number(if kind == 0 && index == from && is_run(name) { to } else { index }));
    }
    Ok(out)
}

/// Turns the entry of the one table segment, whose functions the runtime calls.
fn turned_element(content: &[u8], from: u32, to: u32) -> Result<Vec<u8>, UnknownShape> {
    const OTHERWISE: UnknownShape = UnknownShape("its table is filled in another way");
    let mut read = Reader::new(content);
    // One segment of function indices, at an offset that is a global or a number.
    if read.number()? != 1 {
        return Err(OTHERWISE);
    }
    let names_its_table = match read.number()? {
        0 => false,
        2 => true,
        _ => return Err(OTHERWISE),
    };
    if names_its_table {
        read.number()?;
    }
    if !matches!(read.byte()?, 0x23 | 0x41) {
        return Err(OTHERWISE);
    }
    read.number()?;
    if read.byte()? != 0x0b || (names_its_table && read.byte()? != 0) {
        return Err(OTHERWISE);
    }
    let mut out = content[..read.at].to_vec();
    let count = read.number()?;
    out.extend(number(count));
    let mut turned = false;
    for _ in 0..count {
        let index = read.number()?;
        turned |= index == from;
        out.extend(number(if index == from { to } else { index }));
    }
    if turned { Ok(out) } else { Err(UnknownShape("its table does not hold the drop of an observation")) }
}

/// Drops the handle if it is still to be dropped.
fn drop_body(added: &Added, drop: u32) -> Vec<u8> {
    let (global, drop) = (number(added.global), number(drop));
    // local.get 0, global.get, i32.eq, if: i32.const 0, global.set, local.get 0, call
    body(&[
        &[0x20, 0, 0x23],
        &global,
        &[0x46, 0x04, 0x40, 0x41, 0, 0x24],
        &global,
        &[0x20, 0, 0x10],
        &drop,
        &[0x0b],
    ])
}

/// Calls `run` and then drops the handle, unless that was done.
fn run_body(added: &Added, drop: u32, run: u32) -> Vec<u8> {
    let (global, drop, run) = (number(added.global), number(drop), number(run));
    body(&[
        // The handle is to be dropped: local.get 0, global.set; local.get 0, call.
        &[0x20, 0, 0x24],
        &global,
        &[0x20, 0, 0x10],
        &run,
        // global.get, if: local.get 0, call, i32.const 0, global.set
        &[0x23],
        &global,
        &[0x04, 0x40, 0x20, 0, 0x10],
        &drop,
        &[0x41, 0, 0x24],
        &global,
        &[0x0b],
    ])
}

/// A function's body without locals, with its size.
fn body(instructions: &[&[u8]]) -> Vec<u8> {
    let mut code = vec![0];
    code.extend(instructions.concat());
    code.push(0x0b);
    let mut out = Vec::new();
    put_sized(&mut out, &code);
    out
}

/// A vector with more entries at its end.
fn appended(content: &[u8], more: &[&[u8]]) -> Result<Vec<u8>, UnknownShape> {
    let mut read = Reader::new(content);
    let count = read.number()?;
    let mut out = number(count + more.len() as u32);
    out.extend_from_slice(&content[read.at..]);
    out.extend(more.concat());
    Ok(out)
}

fn put_section(out: &mut Vec<u8>, id: u8, content: &[u8]) {
    out.push(id);
    put_sized(out, content);
}

fn put_sized(out: &mut Vec<u8>, content: &[u8]) {
    out.extend(number(content.len() as u32));
    out.extend_from_slice(content);
}

/// An unsigned number as WebAssembly writes it: seven bits a byte, the lowest first.
fn number(mut value: u32) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// Reads a binary from its begin to its end.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

const CUT_OFF: UnknownShape = UnknownShape("it ends too early");

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn byte(&mut self) -> Result<u8, UnknownShape> {
        let byte = *self.bytes.get(self.at).ok_or(CUT_OFF)?;
        self.at += 1;
        Ok(byte)
    }

    fn number(&mut self) -> Result<u32, UnknownShape> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(UnknownShape("a number is too long"))
    }

    /// Bytes behind their count.
    fn sized(&mut self) -> Result<&'a [u8], UnknownShape> {
        let length = self.number()? as usize;
        let bytes = self.bytes.get(self.at..).and_then(|rest| rest.get(..length)).ok_or(CUT_OFF)?;
        self.at += length;
        Ok(bytes)
    }

    /// The limits of a table or of a memory.
    fn limits(&mut self) -> Result<(), UnknownShape> {
        let has_most = self.byte()? & 1 == 1;
        self.number()?;
        if has_most {
            self.number()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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
                GLUE.replace("(func $run (param i32) (result i32)", "(func $run (param i32) (result i32) (call_indirect (param i32) (local.get 0) (i32.const 0))")
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
            Table::new(&mut store, TableType::new(wasmtime::RefType::FUNCREF, 4, None), Ref::Func(None))
                .unwrap();
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
}
