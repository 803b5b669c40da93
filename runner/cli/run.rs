//! `probity run`: pipelines until the end is asked for, or each target once.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::compile::{Keep, workshop};
use super::interrupt::Interrupts;
use super::progress::Progress;
use super::table::Table;
use super::{Exit, OutputFormat, PipelineArgs, output, summary, validate};
use crate::check::FileState;
use crate::clock::Clock;
use crate::config::{Diagnostics, parse_name};
use crate::fetch::Canary;
use crate::pipeline::{self, Built, Runner, RunnerOptions, StartError, Stop, StopSwitch};
use crate::reload::{Follow, Loaded, Loader, ReloadReport, WatchMode, asking, follow};
use crate::sink::{FollowerSpec, Format, OnFull, SinkError, StdoutSink};

/// How long probes in flight may go on after the first signal. Kubernetes kills after 30 s.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pipelines: PipelineArgs,
    /// Probe every target once, and end with 1 if any is down or unknown
    #[arg(long)]
    once: bool,
    /// Only the first N targets
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print each result, instead of what the pipelines print themselves
    #[arg(long, value_enum)]
    format: Option<OutputFormat>,
    /// The folder that results and state are relative to [default: what probity.toml says, else .]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The runner's name: part of file names, and one runner at a time may have it [default: what
    /// probity.toml says, else main]
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    runner: Option<String>,
    /// Run the pipelines that are right even if others are not
    #[arg(long)]
    allow_partial: bool,
    /// How changes of files are seen while the pipelines run
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto")]
    watch: Watch,
}

/// How changes of files are seen.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Watch {
    /// By events of the system, and by looking at the files every two seconds.
    Auto,
    /// By looking at the files every second.
    Poll,
    /// Not at all: SIGHUP has them read again.
    Off,
}

impl From<Watch> for WatchMode {
    fn from(watch: Watch) -> Self {
        match watch {
            Watch::Auto => Self::Auto,
            Watch::Poll => Self::Poll,
            Watch::Off => Self::Off,
        }
    }
}

/// Runs the pipelines.
pub(super) fn run(args: RunArgs) -> anyhow::Result<Exit> {
    // A run that ends by itself has a state folder of its own, which goes away with it.
    let state = (!args.once).then(|| Arc::new(FileState::new(&Clock::system())));
    let mut told = Diagnostics::default();
    let settings = pipeline::settings(&args.pipelines.paths, &mut told);
    let data = args.data.or(settings.data).unwrap_or_else(|| PathBuf::from("."));
    let runner = args.runner.or(settings.runner).unwrap_or_else(|| "main".to_owned());
    let workshop = Arc::new(workshop(Keep::InState(&data, &runner), state.clone())?);
    let mut loader = Loader::new(args.pipelines.paths, workshop, &Clock::system());
    let Loaded { next: built, mut diagnostics, .. } = loader.load();
    diagnostics.absorb(told);
    validate::tell(&diagnostics);
    if built.is_empty() || (diagnostics.has_errors() && !args.allow_partial) {
        return Ok(Exit::Config);
    }
    let show = match (args.format, args.once) {
        (Some(OutputFormat::Json), _) => Show::Json,
        (Some(OutputFormat::Table), false) => Show::Lines,
        (_, true) => Show::Table,
        (None, false) => Show::Nothing,
    };
    let job = Job {
        built,
        loader: (!args.once).then_some((loader, args.watch.into())),
        once: args.once,
        limit: args.limit,
        data,
        runner,
        concurrency: settings.concurrency,
        body_memory: settings.body_memory,
        canaries: settings.canaries,
        state,
        show,
        until: None,
    };
    block_on(work(job))?
}

/// Runs a future on a runtime of the program's own.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("io")
        .build()
        .context("cannot start the I/O threads")?;
    let done = runtime.block_on(future);
    // What has to be finished has been waited for; files that are read for a reload have not.
    runtime.shutdown_background();
    Ok(done)
}

/// What a run shows on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    /// Nothing but what the pipelines' own sinks print.
    Nothing,
    /// One line a result.
    Lines,
    /// One JSON object a result.
    Json,
    /// A table at the end.
    Table,
}

/// Pipelines and how they shall be run.
pub(super) struct Job {
    /// The pipelines.
    pub(super) built: Vec<Arc<Built>>,
    /// What follows the pipelines' files, and how; none where they are read once.
    pub(super) loader: Option<(Loader, WatchMode)>,
    /// Each target once.
    pub(super) once: bool,
    /// Only the first so many targets.
    pub(super) limit: Option<u64>,
    /// The data folder.
    pub(super) data: PathBuf,
    /// The runner's name.
    pub(super) runner: String,
    /// At most so many probes in flight; none means what the machine allows.
    pub(super) concurrency: Option<usize>,
    /// Bytes that bodies in flight may take; none means what memory allows.
    pub(super) body_memory: Option<u64>,
    pub(super) canaries: Vec<Canary>,
    /// Where the pipelines' checks remember, if not in memory.
    pub(super) state: Option<Arc<FileState>>,
    /// What is shown.
    pub(super) show: Show,
    /// End by itself after this long.
    pub(super) until: Option<Duration>,
}

/// Runs a job to its end, and tells what it came to.
pub(super) async fn work(job: Job) -> anyhow::Result<Exit> {
    let clock = Clock::system();
    let (switch, stop) = StopSwitch::new(&clock);
    let switch = Arc::new(switch);
    let (ask, asked) = asking();
    let ask = job.loader.is_some().then_some(ask);
    let interrupts = Interrupts::listen(Arc::clone(&switch), ask).context("cannot listen to signals")?;
    let table = (job.show == Show::Table).then(Table::default);
    let once = job.once;
    let until = job.until;
    let mut job = job;
    let loader = job.loader.take();
    let mut runner = match start(job, table.clone(), stop).await {
        Ok(runner) => runner,
        Err(error) => return refused(error),
    };
    let progress = if once { Progress::show(Arc::clone(runner.stages())) } else { None };
    let running = async {
        let Some((mut loader, watch)) = loader else { return runner.ended().await };
        runner.running().for_each(|built| loader.runs(built));
        follow(&mut runner, Follow { loader, watch, asked, tell: Box::new(tell), clock: clock.clone() })
            .await;
    };
    tokio::select! {
        () = running => {}
        () = over(until) => switch.raise(pipeline::StopLevel::Drain),
    }
    let result = runner.finished().await;
    drop(progress);
    if let Some(table) = table {
        output::data(&table.text(output::stdout_has_colour()))?;
    }
    output::note(&summary::text(&result, once));
    let cut_short = once && result.probes < result.targets;
    Ok(match interrupts.exit() {
        Some(exit) => exit,
        None if result.has_failed() => Exit::Failed,
        None if once && (cut_short || result.has_down_or_unknown()) => Exit::Negative,
        None => Exit::Success,
    })
}

async fn start(job: Job, table: Option<Table>, stop: Stop) -> Result<Runner, StartError> {
    let show = job.show;
    let colour = output::stdout_has_colour();
    let options = RunnerOptions {
        clock: Clock::system(),
        data: job.data,
        name: job.runner,
        once: job.once,
        limit: job.limit,
        concurrency: job.concurrency,
        body_memory: job.body_memory,
        canaries: job.canaries,
        grace: GRACE,
        state: job.state,
        follower: (show != Show::Nothing).then(|| {
            Box::new(move || FollowerSpec {
                name: "standard output".to_owned(),
                pipelines: None,
                on_full: OnFull::Block,
                follower: match (&table, show) {
                    (Some(table), _) => Box::new(table.clone()),
                    (None, Show::Json) => Box::new(StdoutSink::new(io::stdout(), Format::Json, false)),
                    (None, _) => Box::new(StdoutSink::new(io::stdout(), Format::Lines, colour)),
                },
            }) as Box<dyn Fn() -> FollowerSpec>
        }),
    };
    Runner::start(job.built, options, stop).await
}

/// Shows what is wrong in files that were read again.
fn tell(report: &ReloadReport) {
    validate::tell(&report.diagnostics);
}

/// Waits for the end of a run that ends by itself after some time; for ever without one.
async fn over(length: Option<Duration>) {
    match length {
        Some(length) => tokio::time::sleep(length).await,
        None => std::future::pending().await,
    }
}

/// How the program ends where a runner could not start.
fn refused(error: StartError) -> anyhow::Result<Exit> {
    let StartError::Sink(sink) = &error else { return Err(error.into()) };
    let exit = match &**sink {
        SinkError::Locked { .. } => Exit::Locked,
        SinkError::OtherFileSystem { .. } | SinkError::ResultsPath { .. } => Exit::Config,
        _ => return Err(error.into()),
    };
    output::error(&error.to_string());
    Ok(exit)
}
