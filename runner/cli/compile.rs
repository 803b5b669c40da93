//! The compiler's process, and how commands come to a workshop that uses one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Exit, output};
use crate::check::{
    self, CheckEngine, CompileCache, CompilePlace, EngineSettings, FileState, MemoryState, StateStore,
};
use crate::clock::Clock;
use crate::pipeline::Workshop;

/// Compiles one plugin from standard input to standard output, under limits.
pub(super) fn compile() -> anyhow::Result<Exit> {
    check::serve_compilation(io::stdin().lock(), io::stdout().lock())?;
    Ok(Exit::Success)
}

/// Where commands keep what was compiled.
#[derive(Debug, Clone, Copy)]
pub(super) enum Keep<'a> {
    /// In the state folder of a runner, `name` in the data folder.
    InState(&'a Path, &'a str),
    /// What a runner of that name has there is used, nothing is written.
    ReadState(&'a Path, &'a str),
    /// In the user's own cache: for authors, whose commands have no data folder.
    InCache,
    /// Nothing is kept, and nothing that was is used: to see how long it takes.
    Nothing,
}

impl Keep<'_> {
    /// The folder; none where the user has none.
    fn folder(self) -> Option<PathBuf> {
        match self {
            Self::InState(data, name) | Self::ReadState(data, name) => {
                Some(data.join("state").join(name).join("plugins"))
            }
            Self::InCache => {
                let named =
                    std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
                let home = || std::env::home_dir().map(|home| home.join(".cache"));
                Some(named.or_else(home)?.join("probity").join("plugins"))
            }
            Self::Nothing => None,
        }
    }
}

/// A workshop whose plugins are compiled in child processes, and whose checks remember in `state`, or else
/// as long as the process lives.
pub(super) fn workshop(keep: Keep<'_>, state: Option<Arc<FileState>>) -> anyhow::Result<Workshop> {
    let state: Arc<dyn StateStore> = match state {
        Some(state) => state,
        None => Arc::new(MemoryState::default()),
    };
    Ok(Workshop::with(settings(keep), state)?)
}

/// An engine that compiles in child processes.
pub(super) fn engine(keep: Keep<'_>) -> anyhow::Result<CheckEngine> {
    Ok(CheckEngine::with_settings(settings(keep))?)
}

fn settings(keep: Keep<'_>) -> EngineSettings {
    let compile = CompilePlace::child_of_this_program();
    let cache = keep.folder().and_then(|folder| open(keep, &folder));
    EngineSettings { compile, cache, ..EngineSettings::default() }
}

fn open(keep: Keep<'_>, folder: &Path) -> Option<CompileCache> {
    let clock = Clock::system();
    if let Keep::ReadState(..) = keep {
        return CompileCache::open_read_only(folder, &clock).ok();
    }
    match CompileCache::open(folder, &clock) {
        Ok(cache) => Some(cache),
        Err(error) => {
            let folder = folder.display();
            output::note(&format!("warning: compiled plugins are not kept in {folder}: {error}"));
            None
        }
    }
}
