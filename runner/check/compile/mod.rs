//! From a plugin's bytes to machine code: once for each content, in a process of its own.
//!
//! What a compiler does with hostile bytes is outside the promises of the engine: it may take minutes,
//! or all memory. So the bytes go to a child process with limits on memory, CPU time and wall time, and
//! machine code comes back. What has been compiled is kept in a folder that nobody else may write to.
//!
//! Two things are made: the plugin as it is, and the plugin frozen after `configure`, so that a call
//! begins where `configure` ended.

mod cache;
mod child;
mod freeze;
mod job;

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use wasmtime::component::Component;

pub use cache::{CacheError, CompileCache};
pub use child::{COMPILE_COMMAND, CompileLimits, serve_compilation};
use job::{Job, Outcome, Product};

use super::engine::CheckEngine;
use super::limits::Limits;
use super::preflight::{LoadError, look, reason};
use super::report::{TEXT_BYTES, one_line};

/// Where plugins are compiled.
#[derive(Debug, Clone, Default)]
pub enum CompilePlace {
    /// In this process: for tests, and where no child process can be had.
    #[default]
    Here,
    /// In a child process, by this program.
    Child {
        /// A program that answers to [`COMPILE_COMMAND`].
        program: PathBuf,
        /// What the child may use.
        limits: CompileLimits,
    },
}

impl CompilePlace {
    /// In a child process of the program that runs now.
    pub fn child_of_this_program() -> Self {
        // The link stays right when the file was replaced by an upgrade, or deleted.
        let link = PathBuf::from("/proc/self/exe");
        let program = if link.exists() { Some(link) } else { std::env::current_exe().ok() };
        program.map_or(Self::Here, |program| Self::Child { program, limits: CompileLimits::default() })
    }
}

/// Whose bytes they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// A bundled check: compiled in this process where there is no child to be had.
    Ours,
    /// Anyone's.
    Theirs,
}

/// Why a plugin and a configuration cannot be frozen.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error)]
pub enum FreezeError {
    /// The shape of the component does not allow it (an interpreter with modules inside, a vector
    /// among its globals).
    #[error("its shape does not allow it: {0}")]
    Shape(Cow<'static, str>),
    /// It failed while it was configured for the snapshot.
    #[error("it failed while it took its configuration: {0}")]
    Configure(String),
    /// The snapshot could not be taken, or does not compile.
    #[error("the snapshot cannot be made: {0}")]
    Snapshot(String),
    /// The frozen plugin does not judge as the configured one does.
    #[error("frozen, it does not judge as it does freshly configured: {0}")]
    Different(String),
}

/// Compiles, and remembers what was compiled.
#[derive(Debug, Default)]
pub(super) struct Compiler {
    place: CompilePlace,
    cache: Option<CompileCache>,
    /// One compilation at a time: two cores have probes to run as well.
    turn: Mutex<()>,
}

/// A configuration that a plugin is frozen with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Configuration<'a> {
    /// JSON text.
    pub(super) json: &'a str,
    /// What `configure` may use.
    pub(super) limits: Limits,
    /// Whether what is made of it may be kept: not where it has secrets, which would be on the disk then.
    pub(super) is_kept: bool,
}

impl Compiler {
    pub(super) fn new(place: CompilePlace, cache: Option<CompileCache>) -> Self {
        Self { place, cache, turn: Mutex::default() }
    }

    /// The plugin as it is. Takes milliseconds where it was compiled before, else up to minutes.
    pub(super) fn plain(
        &self,
        engine: &CheckEngine,
        wasm: &[u8],
        trust: Trust,
    ) -> Result<Component, LoadError> {
        look(wasm)?;
        match self.make(engine, wasm, &Job::Plain, trust, true) {
            Outcome::Done(product) => product.load(engine).map_err(LoadError::Compile),
            Outcome::Refused(error) => Err(error),
            Outcome::NotFrozen(error) => Err(LoadError::Compiler(format!("ended in confusion: {error}"))),
        }
    }

    /// The plugin frozen after `configure`. Takes twice what [`Compiler::plain`] does.
    pub(super) fn frozen(
        &self,
        engine: &CheckEngine,
        wasm: &[u8],
        configuration: Configuration<'_>,
        trust: Trust,
    ) -> Result<Component, FreezeError> {
        match self.make(engine, wasm, &Job::frozen(configuration), trust, configuration.is_kept) {
            Outcome::Done(product) => product.load(engine).map_err(FreezeError::Snapshot),
            Outcome::Refused(error) => Err(FreezeError::Snapshot(error.to_string())),
            Outcome::NotFrozen(error) => Err(error),
        }
    }

    /// The same, where it was frozen before: takes milliseconds.
    pub(super) fn frozen_before(
        &self,
        engine: &CheckEngine,
        wasm: &[u8],
        configuration: Configuration<'_>,
    ) -> Option<Component> {
        if !configuration.is_kept {
            return None;
        }
        let name = Job::frozen(configuration).name(engine, wasm);
        self.cache.as_ref()?.get(&name)?.load(engine).ok()
    }

    fn make(&self, engine: &CheckEngine, wasm: &[u8], job: &Job, trust: Trust, is_kept: bool) -> Outcome {
        let name = job.name(engine, wasm);
        let cache = self.cache.as_ref().filter(|_| is_kept);
        if let Some(product) = cache.and_then(|cache| cache.get(&name)) {
            return Outcome::Done(product);
        }
        let outcome = {
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            match &self.place {
                CompilePlace::Here => job.perform(engine, wasm),
                CompilePlace::Child { program, limits } => {
                    match child::perform(program, *limits, job, wasm) {
                        Ok(outcome) => outcome,
                        Err(no_child) if trust == Trust::Ours && no_child.was_not_started() => {
                            job.perform(engine, wasm)
                        }
                        Err(no_child) => Outcome::Refused(LoadError::Compiler(no_child.to_string())),
                    }
                }
            }
        };
        if let (Outcome::Done(product), Some(cache)) = (&outcome, cache) {
            cache.put(&name, product);
        }
        outcome
    }
}

impl Product {
    /// Machine code as a component of `engine`; an error says why it does not fit.
    fn load(&self, engine: &CheckEngine) -> Result<Component, String> {
        // SAFETY: the bytes are machine code of our own compiler: they come from the child process that
        // runs this very program, or from the cache, whose seal has been checked and whose folder is
        // ours alone. No file that a user names ever gets here.
        #[allow(unsafe_code, reason = "the engine has no safe way to load what was compiled elsewhere")]
        let loaded = unsafe { Component::deserialize(engine.engine(), &self.0) };
        loaded.map_err(|error| reason(&error))
    }
}

impl fmt::Debug for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Product({} bytes)", self.0.len())
    }
}

/// What a library says against untrusted bytes, as one line.
fn words(error: &impl fmt::Display) -> String {
    one_line(&error.to_string(), TEXT_BYTES)
}
