//! What can be said of a plugin's bytes before they are compiled: names and versions, in the order in
//! which an author can mend them.

use std::borrow::Cow;
use std::panic::{self, AssertUnwindSafe};

use serde::{Deserialize, Serialize};

use super::contract::{EXPORTS, IMPORTS, PACKAGE, VERSION};
use super::report::{TEXT_BYTES, one_line};

/// The largest plugin, in bytes. The Python interpreter makes one of 18 MB.
pub const PLUGIN_BYTES_MAX: usize = 32 << 20;

/// Why bytes are no plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum LoadError {
    /// Too long.
    #[error("the plugin has {0} bytes, at most {max} are allowed", max = PLUGIN_BYTES_MAX)]
    TooBig(usize),
    /// Not WebAssembly; what it looks like.
    #[error("not a WebAssembly file: {0}")]
    NotWasm(Cow<'static, str>),
    /// A module that cannot be made a component.
    #[error("it is a core module, not a component, and cannot be made one: {0}")]
    CoreModule(String),
    /// WebAssembly, but broken or cut off.
    #[error("the file is damaged or incomplete: {0}")]
    Damaged(String),
    /// An import that is not ours.
    #[error("it imports \"{import}\", but a check can import nothing but \"{ours}\"{hint}", ours = PACKAGE)]
    ForeignImport {
        /// The import's whole name.
        import: String,
        /// What to do about it.
        hint: Cow<'static, str>,
    },
    /// An interface of ours that this runner does not know.
    #[error("it imports \"{0}\", which this runner does not know: it may need a newer one")]
    UnknownInterface(String),
    /// Made for another version of the contract.
    #[error("it was made for \"{found}\" of the contract, but this runner speaks {ours}", ours = contract_version())]
    WrongVersion {
        /// The interface with its version, as the plugin has it.
        found: String,
    },
    /// An export is missing.
    #[error("it does not export \"{0}\": is the world \"check\" of the contract built in?")]
    MissingExport(String),
    /// It does not compile.
    #[error("it cannot be compiled: {0}")]
    Compile(String),
    /// Compiling it takes more than is allowed, or the compiler's process could not do it.
    #[error("compiling it {0}")]
    Compiler(String),
    /// It asks for something that its version of the contract does not have, or has differently.
    #[error("it does not fit the contract {ours}: {0}; it may have been made for a newer one", ours = contract_version())]
    Mismatch(String),
    /// It could not be started, or `describe` failed.
    #[error("it cannot be started: {0}")]
    Start(String),
    /// What it says of itself makes no sense.
    #[error("what it says of itself cannot be used: {0}")]
    Manifest(String),
}

/// The version of the contract that this runner speaks.
pub(super) fn contract_version() -> String {
    format!("{}.{}.{}", VERSION.0, VERSION.1, VERSION.2)
}

/// What bytes may be, by their size and their beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A core module: what a compiler leaves.
    Module,
    /// A component: what instances are made from.
    Component,
}

/// The size and the first bytes: is it WebAssembly at all, and of which kind?
pub(super) fn look(bytes: &[u8]) -> Result<Kind, LoadError> {
    if bytes.len() > PLUGIN_BYTES_MAX {
        return Err(LoadError::TooBig(bytes.len()));
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(LoadError::NotWasm(resemblance(bytes).into()));
    }
    // The version field: 1 and layer 0 is a module, 13 and layer 1 a component.
    match bytes.get(4..8) {
        Some([1, 0, 0, 0]) => Ok(Kind::Module),
        Some([0x0d, 0, 1, 0]) => Ok(Kind::Component),
        Some(_) => Err(LoadError::Damaged("its version is neither a module's nor a component's".into())),
        None => Err(LoadError::Damaged("it ends within its header".into())),
    }
}

/// What a file that is not WebAssembly may be.
fn resemblance(bytes: &[u8]) -> &'static str {
    let text = bytes.trim_ascii_start();
    if bytes.is_empty() {
        "it is empty"
    } else if bytes.starts_with(b"\x7fELF") {
        "it is native code, which is never loaded"
    } else if bytes.starts_with(b"\x1f\x8b") {
        "it is compressed by gzip"
    } else if bytes.starts_with(b"PK") {
        "it is a zip archive"
    } else if text.starts_with(b"(") {
        "it is WebAssembly text, which has to be assembled first"
    } else if text.starts_with(b"<") {
        "it is a web page or XML, perhaps instead of a download"
    } else if text.starts_with(b"version https://git-lfs") {
        "it is a pointer of Git LFS, the file itself was not fetched"
    } else {
        "its first bytes are not those of one"
    }
}

/// Imports and exports, by name and version.
pub(super) fn look_at_names(bytes: &[u8]) -> Result<(), LoadError> {
    let decoded = unpanicked(|| wit_component::decode(bytes))
        .ok_or_else(|| LoadError::Damaged("its reader gave up".into()))?
        .map_err(|error| LoadError::Damaged(one_line(&error.root_cause().to_string(), TEXT_BYTES)))?;
    let (resolve, world) = match decoded {
        wit_component::DecodedWasm::Component(resolve, world) => (resolve, world),
        wit_component::DecodedWasm::WitPackage(..) => {
            return Err(LoadError::NotWasm("it is an interface description without code".into()));
        }
    };
    let world = &resolve.worlds[world];
    for key in world.imports.keys() {
        look_at_import(&resolve.name_world_key(key))?;
    }
    let exports: Vec<_> = world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
    for wanted in EXPORTS {
        look_for_export(wanted, &exports)?;
    }
    Ok(())
}

fn look_at_import(import: &str) -> Result<(), LoadError> {
    let Some((interface, version)) = of_ours(import) else {
        let hint = if import.starts_with("wasi:") {
            ": build Rust for wasm32-unknown-unknown, and give the JavaScript and Python tools --stub-wasi"
        } else {
            ""
        };
        return Err(LoadError::ForeignImport { import: import.to_owned(), hint: hint.into() });
    };
    if !is_compatible(version) {
        return Err(LoadError::WrongVersion { found: import.to_owned() });
    }
    if !IMPORTS.contains(&interface) {
        return Err(LoadError::UnknownInterface(import.to_owned()));
    }
    Ok(())
}

/// Other exports are the plugin's own matter: componentize-py adds one.
fn look_for_export(wanted: &str, exports: &[String]) -> Result<(), LoadError> {
    let mut found = exports
        .iter()
        .filter_map(|export| Some((export, of_ours(export)?)))
        .filter(|(_, (interface, _))| *interface == wanted);
    let Some((export, (_, version))) = found.next() else {
        return Err(LoadError::MissingExport(format!("{PACKAGE}/{wanted}@{}", contract_version())));
    };
    if is_compatible(version) || found.any(|(_, (_, other))| is_compatible(other)) {
        Ok(())
    } else {
        Err(LoadError::WrongVersion { found: export.clone() })
    }
}

/// Interface and version of a name in our package.
fn of_ours(name: &str) -> Option<(&str, &str)> {
    let rest = name.strip_prefix(PACKAGE)?.strip_prefix('/')?;
    Some(rest.split_once('@').unwrap_or((rest, "")))
}

/// Before 1.0, versions fit where the first two numbers are the same.
fn is_compatible(version: &str) -> bool {
    let mut numbers = version.split('.').map(str::parse::<u64>);
    let (major, minor) = (numbers.next(), numbers.next());
    major == Some(Ok(VERSION.0)) && minor == Some(Ok(VERSION.1))
}

/// The engine's words for what is wrong, as one line.
pub(super) fn reason(error: &wasmtime::Error) -> String {
    one_line(&format!("{error:#}"), TEXT_BYTES)
}

/// Runs what reads untrusted bytes; none where it panicked.
pub(super) fn unpanicked<T>(read: impl FnOnce() -> T) -> Option<T> {
    panic::catch_unwind(AssertUnwindSafe(read)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_before_one_fit_by_two_numbers() {
        for (version, expected) in
            [("0.1.0", true), ("0.1.7", true), ("0.2.0", false), ("1.0.0", false), ("", false), ("x", false)]
        {
            assert_eq!(is_compatible(version), expected, "{version}");
        }
    }

    #[test]
    fn what_is_not_wasm_is_told_by_what_it_looks_like() {
        let cases: [(&[u8], &str); 6] = [
            (b"", "empty"),
            (b"\x7fELF\x02", "native code"),
            (b"  (component)", "text"),
            (b"<!doctype html>", "web page"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"hello", "first bytes"),
        ];
        for (bytes, expected) in cases {
            assert!(look(bytes).is_err_and(|error| error.to_string().contains(expected)), "{expected}");
        }
        assert_eq!(look(b"\0asm\x01\0\0\0"), Ok(Kind::Module));
        assert_eq!(look(b"\0asm\x0d\0\x01\0"), Ok(Kind::Component));
        assert!(matches!(look(b"\0asm"), Err(LoadError::Damaged(_))));
        assert!(matches!(look(b"\0asm\x0d\0\x02\0"), Err(LoadError::Damaged(_))));
        assert!(matches!(look(&vec![0; PLUGIN_BYTES_MAX + 1]), Err(LoadError::TooBig(_))));
    }
}
