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

use super::binary::{
    IMPORTS, ImportKind, Reader, Section, Unreadable, imports, number, put_section, put_sized, sections,
};

/// Sections of a component that hold a core module, or a component.
const CORE_MODULE: u8 = 1;
const COMPONENT: u8 = 4;
/// Sections of a core module.
const FUNCTIONS: u8 = 3;
const GLOBALS: u8 = 6;
const EXPORTS: u8 = 7;
const ELEMENTS: u8 = 9;
const CODE: u8 = 10;

/// The glue's own mark: an import that only it has.
const MARK: &str = "wit_dylib_export_start";
const DROP: &str = "[resource-drop]observation";

/// What something became; none where it stays as it is.
type Changed = Result<Option<Vec<u8>>, Unreadable>;

/// The component with its glue module changed; none where it has no such module.
pub(super) fn give_back_in_time(component: &[u8]) -> Changed {
    rewrite(component, &|id, content| match id {
        CORE_MODULE => glue(content),
        COMPONENT => give_back_in_time(content),
        _ => Ok(None),
    })
}

/// Replaces the sections that `change` changes; none where there is none.
fn rewrite(binary: &[u8], change: &dyn Fn(u8, &[u8]) -> Changed) -> Changed {
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
fn glue(module: &[u8]) -> Result<Option<Vec<u8>>, Unreadable> {
    let all = sections(module)?;
    let content = |id| all.iter().find(|section| section.id == id).map(|section| section.content);
    let glue = content(IMPORTS).map(look_at_imports).transpose()?.unwrap_or_default();
    if !glue.is_marked {
        return Ok(None);
    }
    let (drop, drop_type) = glue.drop.ok_or(Unreadable("it does not import the drop of an observation"))?;
    let functions = content(FUNCTIONS).ok_or(Unreadable("it has no functions"))?;
    let exports = content(EXPORTS).ok_or(Unreadable("it has no exports"))?;
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
fn look_at_imports(content: &[u8]) -> Result<Glue, Unreadable> {
    let mut glue = Glue::default();
    for import in imports(content)? {
        match import.kind {
            ImportKind::Function(kind) => {
                if import.name == DROP.as_bytes() {
                    glue.drop = Some((glue.functions_imported, kind));
                }
                glue.is_marked |= import.name == MARK.as_bytes();
                glue.functions_imported += 1;
            }
            ImportKind::Global => glue.globals_imported += 1,
            ImportKind::Other => {}
        }
    }
    Ok(glue)
}

/// The function that is exported as the contract's `run`.
fn find_run(content: &[u8]) -> Result<u32, Unreadable> {
    let mut read = Reader::new(content);
    for _ in 0..read.number()? {
        let name = read.sized()?;
        let kind = read.byte()?;
        let index = read.number()?;
        if kind == 0 && is_run(name) {
            return Ok(index);
        }
    }
    Err(Unreadable("it does not export \"run\" of the contract"))
}

fn is_run(name: &[u8]) -> bool {
    name.starts_with(b"probity:check/checker@") && name.ends_with(b"#run")
}

/// The type of a function that the module defines.
fn type_of(functions: &[u8], index: u32) -> Result<u32, Unreadable> {
    let mut read = Reader::new(functions);
    let mut kind = Err(Unreadable("\"run\" is not a function of its own"));
    for at in 0..read.number()? {
        let next = read.number()?;
        if at == index {
            kind = Ok(next);
        }
    }
    kind
}

fn turned_export(content: &[u8], from: u32, to: u32) -> Result<Vec<u8>, Unreadable> {
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
fn turned_element(content: &[u8], from: u32, to: u32) -> Result<Vec<u8>, Unreadable> {
    const OTHERWISE: Unreadable = Unreadable("its table is filled in another way");
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
    if turned { Ok(out) } else { Err(Unreadable("its table does not hold the drop of an observation")) }
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
fn appended(content: &[u8], more: &[&[u8]]) -> Result<Vec<u8>, Unreadable> {
    let mut read = Reader::new(content);
    let count = read.number()?;
    let mut out = number(count + more.len() as u32);
    out.extend_from_slice(&content[read.at..]);
    out.extend(more.concat());
    Ok(out)
}

#[cfg(test)]
mod tests;
