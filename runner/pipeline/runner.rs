//! A runner at work: the shared parts, the writers, a task for each pipeline, and the way to the end.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::stages::{RunCounters, Stages};
use super::ticks::{Once, Ticks};
use super::{Built, Stop, StopLevel, run};
use crate::check::{CheckPool, PoolError, PoolSettings};
use crate::clock::{Clock, new_run_id};
use crate::fetch::{FetchSetupError, Fetcher, FetcherConfig, raise_descriptor_limit};
use crate::model::Outcome;
use crate::schedule::Schedule;
use crate::sink::{
    FollowerSpec, ParquetSpec, ResultSender, SinkError, StdoutSink, Writer, WriterSpec, WriterSummary,
};
use crate::telemetry::spawn;

/// The most probes in flight, whatever the limit of file descriptors: each may hold a body.
const MOST_IN_FLIGHT: usize = 10_000;
/// Results that may wait for a writer. Each holds its body until it is a row, so this bounds memory.
const RESULTS_WAITING: usize = 4_096;
/// How long files may be sealed after a second signal.
const SEAL_AT_ONCE: Duration = Duration::from_secs(2);
/// After midnight, how long beyond the longest time-out a day's last results are waited for.
const DAY_MARGIN: Duration = Duration::from_mins(1);

/// How a runner works.
pub struct RunnerOptions {
    /// Where time is read.
    pub clock: Clock,
    /// The folder that outputs are relative to.
    pub data: PathBuf,
    /// The runner's name.
    pub name: String,
    /// Each target once instead of again and again.
    pub once: bool,
    /// Only the first so many targets, counted over all pipelines.
    pub limit: Option<u64>,
    /// How long probes in flight may go on at the end.
    pub grace: Duration,
    /// Makes one more follower of all results for each writer: what the command line shows.
    pub follower: Option<Box<dyn Fn() -> FollowerSpec>>,
}

/// Why a runner could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The fetcher could not be set up.
    #[error("requests cannot be made")]
    Fetch(#[from] FetchSetupError),
    /// The check threads could not be started.
    #[error("checks cannot be run")]
    Checks(#[from] PoolError),
    /// A sink could not be opened.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// A runner at work.
pub struct Runner {
    stages: Arc<Stages>,
    pipelines: Vec<JoinHandle<()>>,
    writers: Vec<Writer>,
    folders: BTreeSet<PathBuf>,
    targets: u64,
    stop: Stop,
}

impl Runner {
    /// Opens the sinks and starts all pipelines. `stop` ends them.
    pub fn start(pipelines: Vec<Built>, options: &RunnerOptions, stop: Stop) -> Result<Self, StartError> {
        let limit = raise_descriptor_limit();
        let in_flight = limit.max_concurrency().min(MOST_IN_FLIGHT);
        let run_id = new_run_id();
        let stages = Arc::new(Stages {
            clock: options.clock.clone(),
            fetcher: Fetcher::new(&FetcherConfig::default())?,
            checks: CheckPool::start(PoolSettings::default(), &options.clock)?,
            permits: Arc::new(Semaphore::new(in_flight)),
            grace: options.grace,
            counters: RunCounters::default(),
            seq: AtomicI64::new(0),
            probe_seq: AtomicI64::new(0),
        });
        let mut runner = Self {
            stages,
            pipelines: Vec::new(),
            writers: Vec::new(),
            folders: BTreeSet::new(),
            targets: 0,
            stop,
        };
        // A run that ends by itself never waits for the lock of one that goes on.
        let runner_name =
            if options.once { format!("{}-once-{run_id}", options.name) } else { options.name.clone() };
        let senders = runner.open_sinks(&pipelines, options, &runner_name, &run_id)?;
        let mut left = options.limit.unwrap_or(u64::MAX);
        for (pipeline, sender) in pipelines.into_iter().zip(senders) {
            runner.start_pipeline(pipeline, sender, options.once, &mut left);
        }
        let targets = runner.targets;
        tracing::info!(run_id, runner = runner_name, targets, in_flight, "probing");
        Ok(runner)
    }

    /// One writer for each results folder, and one for the pipelines without; returns the sender of
    /// each pipeline.
    fn open_sinks(
        &mut self,
        pipelines: &[Built],
        options: &RunnerOptions,
        runner_name: &str,
        run_id: &str,
    ) -> Result<Vec<ResultSender>, SinkError> {
        let longest = pipelines.iter().map(|pipeline| pipeline.request.timeout()).max().unwrap_or_default();
        let mut senders: HashMap<Option<PathBuf>, ResultSender> = HashMap::new();
        let path_of = |pipeline: &Built| pipeline.sinks.parquet.as_ref().map(|plan| plan.path.clone());
        for pipeline in pipelines {
            let path = path_of(pipeline);
            if senders.contains_key(&path) {
                continue;
            }
            let group: Vec<_> = pipelines.iter().filter(|other| path_of(other) == path).collect();
            let parquet = pipeline.sinks.parquet.as_ref().map(|plan| ParquetSpec {
                rotate: plan.rotate,
                fsync: plan.fsync,
                grace: longest + options.grace + DAY_MARGIN,
                ..ParquetSpec::new(options.data.join(&plan.path))
            });
            self.folders.extend(parquet.as_ref().map(|spec| spec.results.clone()));
            let writer = Writer::start(WriterSpec {
                parquet,
                followers: followers(&group, options),
                capacity: RESULTS_WAITING,
                runner: runner_name.into(),
                run_id: run_id.into(),
                clock: options.clock.clone(),
            })?;
            senders.insert(path, writer.sender());
            self.writers.push(writer);
        }
        Ok(pipelines.iter().filter_map(|pipeline| senders.get(&path_of(pipeline)).cloned()).collect())
    }

    fn start_pipeline(&mut self, mut pipeline: Built, results: ResultSender, once: bool, left: &mut u64) {
        pipeline.targets.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
        let count = pipeline.targets.len();
        *left -= count as u64;
        self.targets += count as u64;
        let clock = &self.stages.clock;
        let ticks = if once {
            Ticks::Once(Once::new(count as u32, clock.now()))
        } else {
            let targets =
                pipeline.targets.iter().map(|target| (target.name.as_ref(), pipeline.every(target)));
            Ticks::Every(Schedule::new(&pipeline.name, targets, clock.now(), clock.wall()))
        };
        let (pipeline, stages) = (Arc::new(pipeline), Arc::clone(&self.stages));
        self.pipelines.push(spawn("pipeline", run(pipeline, stages, ticks, results, self.stop.clone())));
    }

    /// What the pipelines share.
    pub fn stages(&self) -> &Arc<Stages> {
        &self.stages
    }

    /// How many targets are probed.
    pub fn targets(&self) -> u64 {
        self.targets
    }

    /// Waits for the end: of all pipelines, then of the checks, then of the sinks, so that whatever
    /// was finished is sealed.
    pub async fn finished(self) -> RunSummary {
        for pipeline in self.pipelines {
            if pipeline.await.is_err() {
                tracing::error!("a pipeline ended by a fault of the runner");
            }
        }
        let mut summary = RunSummary::of(&self.stages, self.folders);
        for writer in self.writers {
            match sealed(writer, &self.stages, self.stop.clone()).await {
                Ok(written) => summary.add(&written),
                Err(error) => tracing::error!(%error, "a sink did not end in time"),
            }
        }
        let stages = self.stages;
        // Joining threads blocks. A check that is still at work is bounded by its own limits.
        let _ = tokio::task::spawn_blocking(move || stages.checks.stop()).await;
        summary
    }
}

/// Waits until a writer has sealed its files: as long as it takes in a run that ends by itself, within
/// the grace after a signal, at once after a second one.
async fn sealed(writer: Writer, stages: &Stages, mut stop: Stop) -> Result<WriterSummary, SinkError> {
    let signal = writer.stop_signal();
    let closed = writer.drained();
    tokio::pin!(closed);
    for (level, time) in [(StopLevel::Drain, stages.grace), (StopLevel::Now, SEAL_AT_ONCE)] {
        tokio::select! {
            biased;
            written = &mut closed => return written,
            () = stop.reached(level) => signal.by(stages.clock.now() + time),
        }
    }
    closed.await
}

/// What the pipelines of one writer show, and what the command line wants to see.
fn followers(group: &[&Built], options: &RunnerOptions) -> Vec<FollowerSpec> {
    let mut followers: Vec<FollowerSpec> = options.follower.iter().map(|make| make()).collect();
    for pipeline in group {
        let Some(format) = pipeline.sinks.stdout else { continue };
        followers.push(FollowerSpec {
            name: format!("stdout of {}", pipeline.name),
            pipelines: Some(HashSet::from([Arc::clone(&pipeline.name)])),
            follower: Box::new(StdoutSink::new(std::io::stdout(), format, false)),
        });
    }
    followers
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct RunSummary {
    /// Probes that ended.
    pub probes: u64,
    /// Probes by outcome, in the order of [`Outcome::ALL`].
    pub by_outcome: [u64; Outcome::ALL.len()],
    /// Ticks that passed without a probe.
    pub missed: u64,
    /// Rows that are safe.
    pub rows: u64,
    /// Verdicts that are safe.
    pub verdicts: u64,
    /// Rows of earlier runs that were found in journals and published.
    pub recovered: u64,
    /// Rows that could not be written.
    pub lost: u64,
    /// Published files.
    pub files: u64,
    /// Journals that the next start makes files of.
    pub journals_left: u64,
    /// Where the files are.
    pub folders: Vec<PathBuf>,
}

impl RunSummary {
    fn of(stages: &Stages, folders: BTreeSet<PathBuf>) -> Self {
        Self {
            probes: stages.counters.probes(),
            by_outcome: Outcome::ALL.map(|outcome| stages.counters.of(outcome)),
            missed: stages.counters.missed(),
            folders: folders.into_iter().collect(),
            ..Self::default()
        }
    }

    fn add(&mut self, written: &WriterSummary) {
        self.rows += written.rows;
        self.verdicts += written.check_rows;
        self.files += written.files_published;
        self.recovered += written.rows_recovered;
        self.lost += written.rows_lost;
        self.journals_left += written.journals_left;
    }

    /// Whether anything is not as it should be.
    pub fn has_down_or_unknown(&self) -> bool {
        Outcome::ALL
            .iter()
            .zip(self.by_outcome)
            .any(|(outcome, count)| count > 0 && matches!(outcome, Outcome::Down | Outcome::Unknown))
    }

    /// The folder of the first Parquet sink, if any.
    pub fn folder(&self) -> Option<&Path> {
        self.folders.first().map(PathBuf::as_path)
    }
}
