//! `probity plugin`: tools for those who write checks; one file a subcommand.

mod bench;
mod build;
mod calls;
mod inspect;
mod kit;
pub(super) mod load;
mod new;
mod schema;
pub(super) mod test;
mod wrap;

use clap::{Args, Subcommand, ValueEnum};

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
    /// Run a check's cases.toml in the sandbox: what it says, and how that differs from what it must say
    Test(test::TestArgs),
    /// Tell all about a component: what it says of itself, its configuration, what it costs
    Inspect(inspect::InspectArgs),
    /// Time calls of a check, by where their sandbox comes from
    Bench(bench::BenchArgs),
    /// Make a component of a core module, as a compiler for wasm32-unknown-unknown leaves it
    Wrap(wrap::WrapArgs),
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// Runs a plugin command.
pub(super) fn plugin(args: PluginArgs) -> anyhow::Result<Exit> {
    match args.command {
        PluginCommand::New(args) => new::new(&args),
        PluginCommand::Build(args) => build::build(&args),
        PluginCommand::Test(args) => test::test(&args),
        PluginCommand::Inspect(args) => inspect::inspect(&args),
        PluginCommand::Bench(args) => bench::bench(&args),
        PluginCommand::Wrap(args) => wrap::wrap(&args),
    }
}

/// A check's configuration as an argument: JSON, and a table.
fn parse_config(text: &str) -> Result<String, String> {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(serde_json::Value::Object(_)) => Ok(text.to_owned()),
        Ok(_) => Err("a configuration is a JSON object, such as {\"max\": \"800ms\"}".to_owned()),
        Err(error) => Err(format!("not JSON: {error}")),
    }
}
