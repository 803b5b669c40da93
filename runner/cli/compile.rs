//! The compiler's process, and how commands come to a workshop that uses one.

use std::io;
use std::path::{Path, PathBuf};

use super::{Exit, output};
use crate::check::{self, CompileCache, CompilePlace, EngineSettings};
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
    /// In the user's folder for what can be made again (`$XDG_CACHE_HOME`, else `~/.cache`): for those who
    /// write checks, and have no data folder.
    InUserCache,
}

impl Keep<'_> {
    /// None where the user has no such folder.
    fn folder(self) -> Option<PathBuf> {
        let of = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        match self {
            Self::InState(data, name) | Self::ReadState(data, name) => {
                Some(data.join("state").join(name).join("plugins"))
            }
            Self::InUserCache => of("XDG_CACHE_HOME")
                .or_else(|| Some(of("HOME")?.join(".cache")))
                .map(|folder| folder.join("probity").join("plugins")),
        }
    }
}

/// A workshop whose plugins are compiled in child processes.
pub(super) fn workshop(keep: Keep<'_>) -> anyhow::Result<Workshop> {
    Ok(Workshop::with_settings(engine_settings(Some(keep)))?)
}

/// An engine that compiles in child processes; without `keep`, nothing that was compiled is kept or used.
pub(super) fn engine_settings(keep: Option<Keep<'_>>) -> EngineSettings {
    let cache = keep.and_then(|keep| cache(keep, &keep.folder()?));
    EngineSettings { compile: CompilePlace::child_of_this_program(), cache, ..EngineSettings::default() }
}

fn cache(keep: Keep<'_>, folder: &Path) -> Option<CompileCache> {
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
