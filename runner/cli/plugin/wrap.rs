//! `probity plugin wrap`: a component of a core module.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::{Exit, output};
use crate::check;

/// Arguments of `plugin wrap`.
#[derive(Debug, Args)]
pub(super) struct WrapArgs {
    /// The core module
    input: PathBuf,
    /// Where the component goes
    output: PathBuf,
}

/// Wraps a core module.
pub(super) fn wrap(args: &WrapArgs) -> anyhow::Result<Exit> {
    let WrapArgs { input, output } = args;
    let core = fs::read(input).with_context(|| format!("cannot read {}", input.display()))?;
    let component = check::component_from_core(&core)
        .with_context(|| format!("cannot make a component of {}", input.display()))?;
    fs::write(output, &component).with_context(|| format!("cannot write {}", output.display()))?;
    output::note(&format!("{}: {} bytes", output.display(), component.len()));
    Ok(Exit::Success)
}
