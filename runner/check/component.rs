//! From bytes to a plugin that instances can be made of. What can be wrong is looked for in the order
//! in which an author can mend it: names and versions first, then what only compiling and starting
//! show. Everything here blocks, for milliseconds or (the big interpreters) for seconds.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use twox_hash::XxHash3_64;
use wasmtime::component::Component;

use super::bundled::{TOGETHER, bundled};
use super::compile::{Configuration, FreezeError, Trust};
use super::contract::Template;
use super::engine::CheckEngine;
use super::fault::FaultKind;
use super::limits::Limits;
use super::preflight::{LoadError, reason};
use super::report::{TEXT_BYTES, one_line};
use super::sandbox;

/// Why a plugin and a configuration do not go together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigureError {
    /// The plugin does not take it: its own words.
    #[error("{0}")]
    Refused(String),
    /// It failed while it looked at it.
    #[error("it failed while it took its configuration: {0}")]
    Failed(String),
    /// It takes it, but cannot be frozen with it, and `isolation = "snapshot"` asks for that.
    #[error("it cannot be frozen, which isolation = \"snapshot\" asks for: {0}")]
    NotFrozen(#[source] FreezeError),
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
    /// What it was compiled from, and is frozen from.
    wasm: Cow<'static, [u8]>,
    trust: Trust,
    template: Template,
    manifest: Manifest,
}

impl Plugin {
    /// Loads a plugin: a component, or a core module that carries the contract's types. Blocks; call it
    /// where that does no harm.
    pub fn load(engine: &Arc<CheckEngine>, wasm: &[u8]) -> Result<Self, LoadError> {
        Self::load_from(engine, Cow::Owned(wasm.to_vec()), Trust::Theirs)
    }

    /// Loads a bundled check; none where there is none of this name.
    pub fn load_bundled(engine: &Arc<CheckEngine>, name: &str) -> Option<Result<Self, LoadError>> {
        Some(Self::load_from(engine, Cow::Borrowed(bundled(name)?), Trust::Ours))
    }

    /// Loads what has several bundled checks as parts.
    pub(super) fn load_together(engine: &Arc<CheckEngine>) -> Result<Self, LoadError> {
        Self::load_from(engine, Cow::Borrowed(TOGETHER), Trust::Ours)
    }

    /// Whether it came with the program.
    pub(super) fn is_ours(&self) -> bool {
        matches!(self.trust, Trust::Ours)
    }

    fn load_from(
        engine: &Arc<CheckEngine>,
        wasm: Cow<'static, [u8]>,
        trust: Trust,
    ) -> Result<Self, LoadError> {
        let component = engine.compiler().plain(engine, &wasm, trust)?;
        let template = Template::new(engine.linker(), &component)
            .map_err(|error| LoadError::Mismatch(reason(&error)))?;
        // Shapes of records and enums are compared only when there is an instance.
        sandbox::try_start(engine, &template).map_err(|(fault, error)| match fault.kind {
            FaultKind::Output => LoadError::Mismatch(reason(&error)),
            _ => LoadError::Start(fault.message),
        })?;
        let said = sandbox::describe(engine, &template).map_err(|fault| LoadError::Start(fault.message))?;
        let content_hash = XxHash3_64::oneshot(&wasm);
        let manifest = manifest(said)?;
        Ok(Self { content_hash, engine: Arc::clone(engine), wasm, trust, template, manifest })
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

    /// It as it is after `configure`. Blocks, for seconds where it was not made before.
    pub(super) fn frozen(&self, configuration: Configuration<'_>) -> Result<Component, FreezeError> {
        self.engine.compiler().frozen(&self.engine, &self.wasm, configuration, self.trust)
    }

    /// The same where it was made before.
    pub(super) fn frozen_before(&self, configuration: Configuration<'_>) -> Option<Component> {
        self.engine.compiler().frozen_before(&self.engine, &self.wasm, configuration)
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

#[cfg(test)]
mod tests {
    use super::*;

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
