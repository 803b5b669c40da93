//! The commands: one file each; only `output.rs` prints.

mod compact;
mod compile;
mod demo;
mod exit;
mod explain;
mod interrupt;
mod list;
mod output;
mod plugin;
mod probe;
mod progress;
mod replay;
mod results;
mod run;
mod sample;
mod shown;
mod stats;
mod summary;
mod table;
mod test;
mod threads;
mod validate;
mod verify;
mod when;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing::level_filters::LevelFilter;

pub use exit::Exit;
use threads::Work;

use crate::telemetry::{LogOptions, start_log};

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "probity", version, about, max_term_width = 100, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogArgs,
}

/// How the log on standard error is written.
#[derive(Debug, Args)]
struct LogArgs {
    /// The least level of the log: off, error, warn, info, debug, trace
    #[arg(long, global = true, value_name = "LEVEL", default_value = "info")]
    log: LevelFilter,
    /// Write the log as JSON lines
    #[arg(long, global = true)]
    log_json: bool,
}

/// The commands, in the order in which a newcomer meets them.
#[derive(Debug, Subcommand)]
enum Command {
    /// Start a small website on this machine and probe it: the whole path, to look at and to edit
    Demo(demo::DemoArgs),
    /// Run pipelines until Ctrl-C or SIGTERM, or each target once
    Run(run::RunArgs),
    /// Tell everything that `run` would refuse, all at once
    Validate(validate::ValidateArgs),
    /// Print an annotated sample of a source, a sink, a check or a whole pipeline
    Sample(sample::SampleArgs),
    /// Run the tests that stand in pipeline files, without network
    Test(test::TestArgs),
    /// Probe one URL or target now, and show every step: why is this target down?
    Probe(probe::ProbeArgs),
    /// List pipelines, and with --targets each target and when it is due next
    List(list::ListArgs),
    /// Tell what the code of a problem means, such as P0101, and what to do about it
    Explain(explain::ExplainArgs),
    /// Tell what results come to: how much was up, how slow it was, what failed, what flaps
    Stats(stats::StatsArgs),
    /// Have recorded responses judged again, by checks as they are now: what would be different
    Replay(replay::ReplayArgs),
    /// Look whether the files of results are still what was written, and can be read to their end
    Verify(verify::VerifyArgs),
    /// Make one file of each day that is over, in another folder
    Compact(compact::CompactArgs),
    /// Work on check plugins
    Plugin(plugin::PluginArgs),
    /// Compile a plugin that comes over standard input: the program calls itself with this
    #[command(name = crate::check::COMPILE_COMMAND, hide = true)]
    Compile,
}

impl Command {
    /// What it needs threads for; none where a few are enough, which it starts where they are needed.
    fn work(&self) -> Option<Work> {
        match self {
            Self::Demo(_) | Self::Run(_) => Some(Work::Running),
            Self::Validate(_)
            | Self::Test(_)
            | Self::Probe(_)
            | Self::List(_)
            | Self::Replay(_)
            | Self::Plugin(_) => Some(Work::Compiling),
            Self::Sample(_)
            | Self::Explain(_)
            | Self::Stats(_)
            | Self::Verify(_)
            | Self::Compact(_)
            | Self::Compile => None,
        }
    }
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// For people.
    Table,
    /// One JSON object a result, with the names of the Parquet columns.
    Json,
}

/// Which pipelines.
#[derive(Debug, Args)]
struct PipelineArgs {
    /// Pipeline files, or folders of them
    #[arg(value_name = "PATH", default_value = "pipelines")]
    paths: Vec<PathBuf>,
}

/// Runs the program.
pub fn main() -> Exit {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => {
            // clap's own text; it goes to standard output for --help and --version.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Success };
        }
    };
    let level = line.log.log;
    start_log(LogOptions { level, json: line.log.log_json });
    if let Some(error) = line.command.work().and_then(|work| threads::enough_for(work).err()) {
        output::error(&format!("{:#}", anyhow::Error::new(error)));
        return Exit::Failed;
    }
    let done = match line.command {
        Command::Demo(args) => demo::demo(args),
        Command::Run(args) => run::run(args),
        Command::Validate(args) => validate::validate(&args),
        Command::Sample(args) => sample::sample(&args),
        Command::Test(args) => test::test(&args),
        Command::Probe(args) => probe::probe(&args),
        Command::List(args) => list::list(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Stats(args) => stats::stats(&args),
        Command::Replay(args) => replay::replay(args),
        Command::Verify(args) => verify::verify(&args),
        Command::Compact(args) => compact::compact(&args),
        Command::Plugin(args) => plugin::plugin(args),
        Command::Compile => compile::compile(),
    };
    done.unwrap_or_else(|error| {
        output::error(&format!("{error:#}"));
        Exit::Failed
    })
}
