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
    /// What a runner of that name has there is used, and nothing is written to it; where it has nothing, in the
    /// user's own cache.
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
    let cache = match keep {
        Keep::ReadState(..) => read(keep).or_else(|| open(Keep::InCache)),
        keep => open(keep),
    };
    EngineSettings { compile, cache, ..EngineSettings::default() }
}

fn read(keep: Keep<'_>) -> Option<CompileCache> {
    CompileCache::open_read_only(&keep.folder()?, &Clock::system()).ok()
}

fn open(keep: Keep<'_>) -> Option<CompileCache> {
    let folder = keep.folder()?;
    match CompileCache::open(&folder, &Clock::system()) {
        Ok(cache) => Some(cache),
        Err(error) => {
            let folder = folder.display();
            output::note(&format!("warning: compiled plugins are not kept in {folder}: {error}"));
            None
        }
    }
}
