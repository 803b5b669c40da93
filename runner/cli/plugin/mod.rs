//! `probity plugin`: tools for those who write checks; one file a subcommand.

mod build;
mod kit;
mod new;
mod wrap;

use clap::{Args, Subcommand};

use super::{Exit, output};

/// Arguments of `plugin`.
#[derive(Debug, Args)]
pub(super) struct PluginArgs {
    #[command(subcommand)]
    command: PluginCommand,
}

/// The subcommands, in the order in which an author meets them.
#[derive(Debug, Subcommand)]
enum PluginCommand {
    /// Make a folder with a check that builds, tests and runs as it is
    New(new::NewArgs),
    /// Build the check of a folder into a component
    Build(build::BuildArgs),
    /// Make a component of a core module, as a compiler for wasm32-unknown-unknown leaves it
    Wrap(wrap::WrapArgs),
}

/// Runs a plugin command.
pub(super) fn plugin(args: PluginArgs) -> anyhow::Result<Exit> {
    match args.command {
        PluginCommand::New(args) => new::new(&args),
        PluginCommand::Build(args) => build::build(&args),
        PluginCommand::Wrap(args) => wrap::wrap(&args),
    }
}
