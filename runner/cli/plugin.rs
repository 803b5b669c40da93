//! `probity plugin`: tools for those who write checks.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{Exit, output};
use crate::check;

/// Arguments of `plugin`.
#[derive(Debug, Args)]
pub(super) struct PluginArgs {
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(Debug, Subcommand)]
enum PluginCommand {
    /// Make a component of a core module, as a compiler for wasm32-unknown-unknown leaves it
    Wrap {
        /// The core module
        input: PathBuf,
        /// Where the component goes
        output: PathBuf,
    },
}

/// Runs a plugin command.
pub(super) fn plugin(args: PluginArgs) -> anyhow::Result<Exit> {
    match args.command {
        PluginCommand::Wrap { input, output } => {
            let core = fs::read(&input).with_context(|| format!("cannot read {}", input.display()))?;
            let component = check::component_from_core(&core)
                .with_context(|| format!("cannot make a component of {}", input.display()))?;
            fs::write(&output, &component).with_context(|| format!("cannot write {}", output.display()))?;
            output::note(&format!("{}: {} bytes", output.display(), component.len()));
            Ok(Exit::Success)
        }
    }
}
