//! The tools of a language: looked for in the author's folder first, then on the PATH; run in that folder.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, bail};

use super::super::output;
use super::absolute;

/// Finds the first of some programs: in these folders below the author's, then on the PATH.
pub(super) fn find(folder: &Path, below: &[&str], names: &[&str]) -> Option<PathBuf> {
    let own = below.iter().filter_map(|below| absolute(&folder.join(below)).ok());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = own.chain(std::env::split_paths(&path)).collect();
    // A place before a name: what the author put beside the check wins.
    let candidates = places.iter().flat_map(|place| names.iter().map(move |name| place.join(name)));
    candidates.flat_map(with_endings).find(|program| program.is_file())
}

/// As Windows looks for programs.
fn with_endings(program: PathBuf) -> Vec<PathBuf> {
    if cfg!(windows) {
        ["exe", "cmd"].map(|ending| program.with_extension(ending)).to_vec()
    } else {
        vec![program]
    }
}

/// Runs a program in the author's folder. Where it fails, what it said is shown; where it warns, too.
pub(super) fn run(
    folder: &Path,
    program: &Path,
    arguments: &[OsString],
    environment: &[(String, String)],
) -> anyhow::Result<Output> {
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let finished = Command::new(program)
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("\"{name}\" cannot be started"))?;
    let said = String::from_utf8_lossy(&finished.stderr);
    let has_failed = !finished.status.success();
    if has_failed && !finished.stdout.is_empty() {
        output::note(String::from_utf8_lossy(&finished.stdout).trim_end());
    }
    if has_failed || said.contains("warning") {
        output::note(said.trim_end());
    }
    if has_failed {
        bail!("\"{name}\" failed ({}): what it said stands above", finished.status);
    }
    Ok(finished)
}
