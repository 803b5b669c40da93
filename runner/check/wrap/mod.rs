//! Makes a component of a core module, so that a plugin's author needs no tool but a compiler.
//!
//! A core module built from `wit/check.wit` carries its types in a custom section; the encoder
//! reads them and adds what a component needs around the module. The same bytes in give the same
//! bytes out: the bundled components are compared bit for bit. What one tool makes has to be finished (`borrow`).

mod binary;
mod borrow;

use thiserror::Error;
use wit_component::{ComponentEncoder, metadata};

/// What every WebAssembly file begins with.
const MAGIC: &[u8] = b"\0asm";
/// The four bytes after it, version and layer, of a core module.
const CORE_MODULE: &[u8] = &[1, 0, 0, 0];
/// The layer of a component, the last two of those four bytes.
const COMPONENT_LAYER: &[u8] = &[1, 0];

/// Why a core module did not become a component.
#[derive(Debug, Error)]
pub enum WrapError {
    /// The bytes are no WebAssembly.
    #[error("not a WebAssembly file: it does not begin with \"\\0asm\"")]
    NotWasm,
    /// The bytes are a component already.
    #[error("already a component: there is nothing to wrap")]
    AlreadyComponent,
    /// The bytes are WebAssembly of a version that nobody writes.
    #[error("not a core module: its version is {0:?}")]
    UnknownVersion([u8; 4]),
    /// The bytes are damaged, or the description of the module's types is.
    #[error("the module cannot be read: {0}")]
    Module(String),
    /// The module carries no description of its types: the encoder would make an empty component.
    #[error(
        "the module was built without the bindings of the check contract: there are no component types in it"
    )]
    WithoutContract,
    /// The module imports what no check can have.
    #[error(
        "it imports \"{name}\" of \"{module}\", but a check can import nothing but \"probity:check\"{}",
        hint(module)
    )]
    ForeignImport {
        /// Where the import is looked for.
        module: String,
        /// The import's name.
        name: String,
    },
    /// The component's glue could not be finished.
    #[error("its glue module is not built as that of componentize-qjs 0.4.5: {0}")]
    Glue(&'static str),
    /// The module and its types do not fit.
    #[error("the module does not make a component: {0}")]
    Encode(String),
}

/// Wraps a core module that was built from `wit/check.wit` into a component.
///
/// Fails for anything but a core module, for a module without the contract's types (built without
/// bindings), and for one that imports or lacks functions against its types.
pub fn component_from_core(core: &[u8]) -> Result<Vec<u8>, WrapError> {
    let header = core.strip_prefix(MAGIC).and_then(<[u8]>::first_chunk::<4>).ok_or(WrapError::NotWasm)?;
    if header[2..] == *COMPONENT_LAYER {
        return Err(WrapError::AlreadyComponent);
    }
    if header != CORE_MODULE {
        return Err(WrapError::UnknownVersion(*header));
    }
    // The chain of causes is one line of text: nobody matches on it, people read it.
    let unreadable = |error| WrapError::Module(format!("{error:#}"));
    let (described, _) = metadata::decode(core).map_err(unreadable)?;
    if described.is_none() {
        return Err(WrapError::WithoutContract);
    }
    let mut encoder = ComponentEncoder::default().validate(true).module(core).map_err(unreadable)?;
    encoder
        .encode()
        .map_err(|error| foreign_import(core).unwrap_or_else(|| WrapError::Encode(format!("{error:#}"))))
}

/// Finishes a component that componentize-qjs made; none where nothing is to be done.
///
/// Fails where the component is of that tool, but of another shape than the known one.
pub fn finish_component(component: &[u8]) -> Result<Option<Vec<u8>>, WrapError> {
    borrow::give_back_in_time(component).map_err(|binary::Unreadable(reason)| WrapError::Glue(reason))
}

/// The first import of a module that is not of the contract.
fn foreign_import(core: &[u8]) -> Option<WrapError> {
    let sections = binary::sections(core).ok()?;
    let section = sections.iter().find(|section| section.id == binary::IMPORTS)?;
    let imports = binary::imports(section.content).ok()?;
    let foreign = imports.iter().find(|import| !import.module.starts_with(b"probity:check/"))?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Some(WrapError::ForeignImport { module: text(foreign.module), name: text(foreign.name) })
}

/// Why there is an import of WASI, and what to do.
fn hint(module: &str) -> &'static str {
    if module.starts_with("wasi") {
        ": it has no files, no clock and no network, so what prints, reads a file or asks for the time has to go"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use std::path::Path;

    use wit_component::{StringEncoding, embed_component_metadata};
    use wit_parser::Resolve;

    use super::*;

    /// A core module with these fields and the contract's types.
    fn contract_module(fields: &str) -> Vec<u8> {
        let mut core = wat::parse_str(format!("(module {fields})")).unwrap();
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("wit")).unwrap();
        let world = resolve.select_world(&[package], Some("check")).unwrap();
        embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
        core
    }

    /// Everything a check must have; no function does anything.
    const WHOLE: &str = r#"
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "probity:check/manifest@0.1.0#describe") (result i32) unreachable)
        (func (export "probity:check/checker@0.1.0#configure") (param i32 i32) (result i32) unreachable)
        (func (export "probity:check/checker@0.1.0#run") (param i32) (result i32) unreachable)"#;

    #[test]
    fn a_module_of_the_contract_becomes_a_component_and_always_the_same() {
        let core = contract_module(WHOLE);
        let component = component_from_core(&core).unwrap();
        assert_eq!(component[..8], *b"\0asm\x0d\0\x01\0");
        assert_eq!(component, component_from_core(&core).unwrap());
        assert!(matches!(component_from_core(&component), Err(WrapError::AlreadyComponent)));
    }

    #[test]
    fn a_module_that_lacks_a_function_is_refused_by_its_name() {
        let error = component_from_core(&contract_module(&WHOLE.replace("#run", "#walk"))).unwrap_err();
        assert!(matches!(error, WrapError::Encode(_)), "{error}");
        assert!(error.to_string().contains("run") && !error.to_string().contains('\n'), "{error}");
    }

    #[test]
    fn a_module_that_imports_another_is_refused_by_the_name_of_that() {
        for (import, expected) in [
            (
                r#"(import "env" "now" (func (result i64)))"#,
                r#"it imports "now" of "env", but a check can import nothing but "probity:check""#,
            ),
            (
                r#"(import "wasi_snapshot_preview1" "fd_write" (func (param i32)))"#,
                "\"fd_write\" of \"wasi_snapshot_preview1\", but a check can import nothing but \
                 \"probity:check\": it has no files",
            ),
        ] {
            let error = component_from_core(&contract_module(&format!("{import} {WHOLE}"))).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn what_is_no_core_module_is_refused() {
        for bytes in [&b""[..], b"#!/bin/sh\n", b"\0asm\x01"] {
            assert!(matches!(component_from_core(bytes), Err(WrapError::NotWasm)), "{bytes:?}");
        }
        assert!(matches!(component_from_core(b"\0asm\x0d\0\x01\0"), Err(WrapError::AlreadyComponent)));
        assert!(matches!(
            component_from_core(b"\0asm\x02\0\0\0"),
            Err(WrapError::UnknownVersion([2, 0, 0, 0]))
        ));
        assert!(matches!(component_from_core(b"\0asm\x01\0\0\0\xff"), Err(WrapError::Module(_))));
    }

    #[test]
    fn a_module_without_the_contract_is_refused() {
        let core = wat::parse_str("(module)").unwrap();
        assert!(matches!(component_from_core(&core), Err(WrapError::WithoutContract)));
    }
}
