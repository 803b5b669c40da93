//! Makes a component of a core module, so that a plugin's author needs no tool but a compiler.
//!
//! A core module built from `wit/check.wit` carries its types in a custom section; the encoder
//! reads them and adds what a component needs around the module. The same bytes in give the same
//! bytes out: the bundled components are compared bit for bit.

use thiserror::Error;
use wit_component::ComponentEncoder;

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
    /// The module's own description of its types cannot be read.
    #[error("the module cannot be read as one built from the check contract: {0}")]
    Module(String),
    /// The module and its types do not fit, or it imports what no component can give it.
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
    let encoder = ComponentEncoder::default()
        .validate(true)
        .module(core)
        .map_err(|error| WrapError::Module(format!("{error:#}")))?;
    encoder.reject_legacy_names(false).encode().map_err(|error| WrapError::Encode(format!("{error:#}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_no_core_module_is_refused() {
        assert!(matches!(component_from_core(b""), Err(WrapError::NotWasm)));
        assert!(matches!(component_from_core(b"#!/bin/sh\n"), Err(WrapError::NotWasm)));
        assert!(matches!(component_from_core(b"\0asm\x01"), Err(WrapError::NotWasm)));
        assert!(matches!(component_from_core(b"\0asm\x0d\0\x01\0"), Err(WrapError::AlreadyComponent)));
        assert!(matches!(
            component_from_core(b"\0asm\x02\0\0\0"),
            Err(WrapError::UnknownVersion([2, 0, 0, 0]))
        ));
        assert!(matches!(component_from_core(b"\0asm\x01\0\0\0\xff"), Err(WrapError::Module(_))));
    }

    #[test]
    fn a_module_without_the_contract_that_imports_is_refused() {
        let core = wat::parse_str(r#"(module (import "env" "now" (func (result i64))))"#).unwrap();
        let error = component_from_core(&core).unwrap_err();
        assert!(matches!(error, WrapError::Encode(_)), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}
