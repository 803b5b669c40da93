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
}

impl Keep<'_> {
    fn folder(self) -> PathBuf {
        let (Self::InState(data, name) | Self::ReadState(data, name)) = self;
        data.join("state").join(name).join("plugins")
    }
}

/// A workshop whose plugins are compiled in child processes.
pub(super) fn workshop(keep: Keep<'_>) -> anyhow::Result<Workshop> {
    let (folder, clock) = (keep.folder(), Clock::system());
    let cache = match keep {
        Keep::ReadState(..) => CompileCache::open_read_only(&folder, &clock).ok(),
        Keep::InState(..) => match CompileCache::open(&folder, &clock) {
            Ok(cache) => Some(cache),
            Err(error) => {
                let folder = folder.display();
                output::note(&format!("warning: compiled plugins are not kept in {folder}: {error}"));
                None
            }
        },
    };
    let compile = CompilePlace::child_of_this_program();
    Ok(Workshop::with_settings(EngineSettings { compile, cache, ..EngineSettings::default() })?)
}
