//! From bytes to a plugin that instances can be made of. What can be wrong is looked for in the order
//! in which an author can mend it: names and versions first, then what only compiling and starting
//! show. Everything here blocks, for milliseconds or (the big interpreters) for seconds.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use twox_hash::XxHash3_64;
use wasmtime::component::Component;

use super::contract::{EXPORTS, IMPORTS, PACKAGE, Template, VERSION};
use super::engine::CheckEngine;
use super::fault::FaultKind;
use super::limits::Limits;
use super::report::{TEXT_BYTES, one_line};
use super::sandbox;

/// The largest plugin, in bytes. The Python interpreter makes one of 18 MB.
pub const PLUGIN_BYTES_MAX: usize = 32 << 20;

/// Why bytes are no plugin.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Too long.
    #[error("the plugin has {0} bytes, at most {max} are allowed", max = PLUGIN_BYTES_MAX)]
    TooBig(usize),
    /// Not WebAssembly; what it looks like.
    #[error("not a WebAssembly file: {0}")]
    NotWasm(&'static str),
    /// A module that was not wrapped.
    #[error("this is a core module, not a component: wrap it with \"probity plugin wrap\"")]
    CoreModule,
    /// WebAssembly, but broken or cut off.
    #[error("the file is damaged or incomplete: {0}")]
    Damaged(String),
    /// An import that is not ours.
    #[error("it imports \"{import}\", but a check can import nothing but \"{ours}\"{hint}", ours = PACKAGE)]
    ForeignImport {
        /// The import's whole name.
        import: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// An interface of ours that this runner does not know.
    #[error("it imports \"{0}\", which this runner does not know: it may need a newer one")]
    UnknownInterface(String),
    /// Made for another version of the contract.
    #[error("it was made for \"{found}\" of the contract, but this runner speaks {ours}", ours = version())]
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
    /// It asks for something that its version of the contract does not have, or has differently.
    #[error("it does not fit the contract {ours}: {0}; it may have been made for a newer one", ours = version())]
    Mismatch(String),
    /// It could not be started, or `describe` failed.
    #[error("it cannot be started: {0}")]
    Start(String),
    /// What it says of itself makes no sense.
    #[error("what it says of itself cannot be used: {0}")]
    Manifest(String),
}

/// Why a plugin and a configuration do not go together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigureError {
    /// The plugin does not take it: its own words.
    #[error("{0}")]
    Refused(String),
    /// It failed while it looked at it.
    #[error("it failed while it took its configuration: {0}")]
    Failed(String),
    /// More memory than a check can have.
    #[error("a check can have at most {} MiB of memory", super::limits::MEMORY_BYTES_MAX >> 20)]
    TooMuchMemory,
}

/// What a plugin says of itself; empty where it says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is for, in one line.
    pub summary: String,
    /// What configuration it takes: JSON Schema 2020-12 as text.
    pub config_schema: Option<String>,
    /// Whether it looks at bodies; true where it does not say.
    pub needs_body: bool,
}

/// A plugin: compiled, linked, tried.
pub struct Plugin {
    /// XXH3-64 of its bytes.
    content_hash: u64,
    engine: Arc<CheckEngine>,
    template: Template,
    manifest: Manifest,
}

impl Plugin {
    /// Loads a plugin. Blocks; call it where that does no harm.
    pub fn load(engine: &Arc<CheckEngine>, bytes: &[u8]) -> Result<Self, LoadError> {
        look(bytes)?;
        look_at_names(bytes)?;
        let compiled = unpanicked(|| Component::from_binary(engine.engine(), bytes));
        let component = compiled
            .ok_or_else(|| LoadError::Compile("the compiler gave up".into()))?
            .map_err(|error| LoadError::Compile(reason(&error)))?;
        let template = Template::new(engine.linker(), &component)
            .map_err(|error| LoadError::Mismatch(reason(&error)))?;
        // Shapes of records and enums are compared only when there is an instance.
        sandbox::try_start(engine, &template).map_err(|(fault, error)| match fault.kind {
            FaultKind::Output => LoadError::Mismatch(reason(&error)),
            _ => LoadError::Start(fault.message),
        })?;
        let said = sandbox::describe(engine, &template).map_err(|fault| LoadError::Start(fault.message))?;
        let content_hash = XxHash3_64::oneshot(bytes);
        Ok(Self { content_hash, engine: Arc::clone(engine), template, manifest: manifest(said)? })
    }

    /// XXH3-64 of its bytes: the same number is the same plugin.
    pub fn content_hash(&self) -> u64 {
        self.content_hash
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Tries a configuration (JSON text) on a fresh instance. Blocks as [`Plugin::load`] does.
    pub fn configure(&self, json: &str, limits: Limits) -> Result<(), ConfigureError> {
        if limits.memory_bytes > super::limits::MEMORY_BYTES_MAX {
            return Err(ConfigureError::TooMuchMemory);
        }
        match sandbox::try_configure(&self.engine, &self.template, json, limits) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(ConfigureError::Refused(one_line(&reason, TEXT_BYTES))),
            Err(fault) => Err(ConfigureError::Failed(fault.message)),
        }
    }

    /// The engine that it was compiled by.
    pub(super) fn engine(&self) -> &Arc<CheckEngine> {
        &self.engine
    }

    /// What instances are made from.
    pub(super) fn template(&self) -> &Template {
        &self.template
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

fn version() -> String {
    format!("{}.{}.{}", VERSION.0, VERSION.1, VERSION.2)
}

/// The first bytes: is it a component at all?
fn look(bytes: &[u8]) -> Result<(), LoadError> {
    if bytes.len() > PLUGIN_BYTES_MAX {
        return Err(LoadError::TooBig(bytes.len()));
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(LoadError::NotWasm(resemblance(bytes)));
    }
    // The version field: 1 and layer 0 is a module, 13 and layer 1 a component.
    match bytes.get(4..8) {
        Some([1, 0, 0, 0]) => Err(LoadError::CoreModule),
        Some([0x0d, 0, 1, 0]) => Ok(()),
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
fn look_at_names(bytes: &[u8]) -> Result<(), LoadError> {
    let decoded = unpanicked(|| wit_component::decode(bytes))
        .ok_or_else(|| LoadError::Damaged("its reader gave up".into()))?
        .map_err(|error| LoadError::Damaged(one_line(&error.root_cause().to_string(), TEXT_BYTES)))?;
    let (resolve, world) = match decoded {
        wit_component::DecodedWasm::Component(resolve, world) => (resolve, world),
        wit_component::DecodedWasm::WitPackage(..) => {
            return Err(LoadError::NotWasm("it is an interface description without code"));
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
        return Err(LoadError::ForeignImport { import: import.to_owned(), hint });
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
        return Err(LoadError::MissingExport(format!("{PACKAGE}/{wanted}@{}", self::version())));
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

fn manifest(said: Vec<(String, String)>) -> Result<Manifest, LoadError> {
    let mut manifest = Manifest {
        name: String::new(),
        version: String::new(),
        summary: String::new(),
        config_schema: None,
        needs_body: true,
    };
    for (key, value) in said {
        match key.as_str() {
            "name" => manifest.name = one_line(&value, TEXT_BYTES),
            "version" => manifest.version = one_line(&value, TEXT_BYTES),
            "summary" => manifest.summary = one_line(&value, TEXT_BYTES),
            "needs-body" => manifest.needs_body = value != "false",
            "config-schema" => {
                if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&value) {
                    return Err(LoadError::Manifest(format!("its config-schema is not JSON: {error}")));
                }
                manifest.config_schema = Some(value);
            }
            // The list may grow.
            _ => {}
        }
    }
    Ok(manifest)
}

/// The engine's words for what is wrong, as one line.
fn reason(error: &wasmtime::Error) -> String {
    one_line(&format!("{error:#}"), TEXT_BYTES)
}

/// Runs what reads untrusted bytes; none where it panicked.
fn unpanicked<T>(read: impl FnOnce() -> T) -> Option<T> {
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
        assert_eq!(look(b"\0asm\x01\0\0\0"), Err(LoadError::CoreModule));
        assert!(matches!(look(b"\0asm"), Err(LoadError::Damaged(_))));
        assert!(matches!(look(b"\0asm\x0d\0\x02\0"), Err(LoadError::Damaged(_))));
        assert!(matches!(look(&vec![0; PLUGIN_BYTES_MAX + 1]), Err(LoadError::TooBig(_))));
    }

    #[test]
    fn a_manifest_may_have_keys_of_tomorrow() {
        let said = [("name", "x"), ("needs-body", "false"), ("moon-phase", "full")];
        let said = said.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let manifest = manifest(said).unwrap();
        assert_eq!(manifest.name, "x");
        assert!(!manifest.needs_body);
        let broken = vec![("config-schema".to_owned(), "{".to_owned())];
        assert!(matches!(super::manifest(broken), Err(LoadError::Manifest(_))));
    }
}
