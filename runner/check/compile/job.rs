//! One compilation: what is to be made, its name, and the making, in whichever process it happens.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

use ring::digest::{self, Context, SHA256};
use serde::{Deserialize, Serialize};

use super::freeze::{Draft, freeze};
use super::{Configuration, FreezeError, words};
use crate::check::contract;
use crate::check::engine::CheckEngine;
use crate::check::limits::Limits;
use crate::check::preflight::{Kind, LoadError, look, look_at_names, reason, unpanicked};
use crate::check::wrap::component_from_core;

/// Goes up when the same bytes would be made into something else.
const FORMAT: u32 = 1;

/// What is to be made of a plugin's bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Job {
    /// Machine code of the plugin as it is.
    Plain,
    /// Machine code of the plugin as it is after `configure`.
    Frozen {
        /// The configuration, JSON text.
        config: String,
        /// CPU time that a `run` may take, in milliseconds; `configure` may take some times that.
        time_ms: u64,
        /// Bytes of memory.
        memory_bytes: usize,
    },
}

/// Machine code, serialized by the engine.
#[derive(PartialEq, Eq)]
pub(super) struct Product(pub(super) Vec<u8>);

/// How a compilation ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// With machine code.
    Done(Product),
    /// The bytes are no plugin.
    Refused(LoadError),
    /// The plugin cannot be frozen with this configuration.
    NotFrozen(FreezeError),
}

/// The name of what a compilation makes: equal names mean equal machine code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name([u8; 32]);

impl Name {
    /// As a file's name.
    pub(super) fn hex(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Job {
    pub(super) fn frozen(configuration: Configuration<'_>) -> Self {
        let Configuration { json, limits, is_kept: _ } = configuration;
        let time_ms = u64::try_from(limits.time.as_millis()).unwrap_or(u64::MAX);
        Self::Frozen { config: json.to_owned(), time_ms, memory_bytes: limits.memory_bytes }
    }

    /// Content, configuration, contract, program and engine: whatever changes the result.
    pub(super) fn name(&self, engine: &CheckEngine, wasm: &[u8]) -> Name {
        let mut sum = Sum(Context::new(&SHA256));
        (FORMAT, env!("CARGO_PKG_VERSION"), contract::VERSION).hash(&mut sum);
        engine.engine().precompile_compatibility_hash().hash(&mut sum);
        digest::digest(&SHA256, wasm).as_ref().hash(&mut sum);
        match self {
            Self::Plain => 0_u8.hash(&mut sum),
            Self::Frozen { config, time_ms, memory_bytes } => {
                (1_u8, config, time_ms, memory_bytes).hash(&mut sum);
            }
        }
        let mut name = [0; 32];
        name.copy_from_slice(sum.0.finish().as_ref());
        Name(name)
    }

    /// Does it here. A panic of what reads the bytes is an answer, too.
    pub(super) fn perform(&self, engine: &CheckEngine, wasm: &[u8]) -> Outcome {
        let made = unpanicked(|| self.make(engine, wasm));
        made.unwrap_or_else(|| {
            Outcome::Refused(LoadError::Compile(
                "the compiler gave up: the plugin is damaged, or larger than it can take".into(),
            ))
        })
    }

    fn make(&self, engine: &CheckEngine, wasm: &[u8]) -> Outcome {
        let wasm = match component(wasm) {
            Ok(wasm) => wasm,
            Err(error) => return Outcome::Refused(error),
        };
        let made = match self {
            Self::Plain => machine_code(engine, &wasm).map_err(Outcome::Refused),
            Self::Frozen { config, time_ms, memory_bytes } => {
                let time = std::time::Duration::from_millis(*time_ms);
                let limits = Limits { time, memory_bytes: *memory_bytes };
                frozen(engine, &wasm, Configuration { json: config, limits, is_kept: false })
                    .map_err(Outcome::NotFrozen)
            }
        };
        made.map_or_else(|outcome| outcome, |code| Outcome::Done(Product(code)))
    }
}

/// The bytes as a component: a core module that carries the contract's types is wrapped.
fn component(wasm: &[u8]) -> Result<Cow<'_, [u8]>, LoadError> {
    let wasm = match look(wasm)? {
        Kind::Component => Cow::Borrowed(wasm),
        Kind::Module => {
            let wrapped = component_from_core(wasm).map_err(|error| LoadError::CoreModule(words(&error)))?;
            Cow::Owned(wrapped)
        }
    };
    look_at_names(&wasm)?;
    Ok(wasm)
}

fn machine_code(engine: &CheckEngine, wasm: &[u8]) -> Result<Vec<u8>, LoadError> {
    engine.engine().precompile_component(wasm).map_err(|error| LoadError::Compile(reason(&error)))
}

fn frozen(
    engine: &CheckEngine,
    wasm: &[u8],
    configuration: Configuration<'_>,
) -> Result<Vec<u8>, FreezeError> {
    let draft = Draft::new().map_err(|error| FreezeError::Snapshot(words(&error)))?;
    let wasm = freeze(&draft, wasm, configuration)?;
    machine_code(engine, &wasm).map_err(|error| FreezeError::Snapshot(error.to_string()))
}

/// Feeds what is hashed into a SHA-256, since the engine tells its settings only to a [`Hasher`].
struct Sum(Context);

impl Hasher for Sum {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        // Only the whole sum is ever used.
        0
    }
}
