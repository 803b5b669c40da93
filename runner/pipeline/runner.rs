//! A runner at work: the shared parts, the writers, a task for each pipeline, and the way to the end.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::record::{RecordFolders, Recorder};
use super::stages::{RunCounters, Stages};
use super::ticks::{Once, Ticks};
use super::writers::Writers;
use super::{Built, RunSummary, Stop, run};
use crate::check::{CheckPool, FileState, PoolError, PoolSettings};
use crate::clock::{Clock, new_run_id};
use crate::fetch::{FetchSetupError, Fetcher, FetcherConfig, raise_descriptor_limit};
use crate::schedule::Schedule;
use crate::sink::{FollowerSpec, ResultSender, SinkError};
use crate::telemetry::spawn;

/// The most probes in flight, whatever the limit of file descriptors: each may hold a body of its
/// pipeline's `body_limit`.
const MOST_IN_FLIGHT: usize = 10_000;
/// How long records may be written after the last probe has ended, beside the sealing of files.
const RECORD: Duration = Duration::from_secs(2);
/// With fewer places than this, slow targets hold up the others.
const FEW_IN_FLIGHT: usize = 256;
/// How long writing what checks remember may take at the end: milliseconds, unless the disk hangs.
const REMEMBER: Duration = Duration::from_secs(5);

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
    /// Where the checks of these pipelines remember: it is given its place in the runner's state folder.
    /// None where they remember in memory alone.
    pub state: Option<Arc<FileState>>,
    /// Makes a follower of all results for each writer: what the command line shows. It takes the place
    /// of what the pipelines themselves print.
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
    /// The recorder's thread could not be started.
    #[error("responses cannot be recorded")]
    Record(#[source] std::io::Error),
    /// A sink could not be opened.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// A runner at work.
pub struct Runner {
    stages: Arc<Stages>,
    pipelines: Vec<JoinHandle<()>>,
    writers: Writers,
    state: Option<Arc<FileState>>,
    targets: u64,
    stop: Stop,
}

impl Runner {
    /// Opens the sinks and starts all pipelines. `stop` ends them.
    pub fn start(pipelines: Vec<Built>, options: &RunnerOptions, stop: Stop) -> Result<Self, StartError> {
        let in_flight = raise_descriptor_limit().max_concurrency().min(MOST_IN_FLIGHT);
        let run_id = new_run_id();
        // A run that ends by itself never waits for the lock of one that goes on.
        let name =
            if options.once { format!("{}-once-{run_id}", options.name) } else { options.name.clone() };
        let fetcher = Fetcher::new(&FetcherConfig::default())?;
        warn_of_limits(in_flight, &fetcher);
        let (writers, senders) = Writers::open(&pipelines, options, &name, &run_id)?;
        let folders = RecordFolders {
            data: options.data.clone(),
            runner: options.name.clone(),
            run_id: run_id.as_str().into(),
        };
        let stages = Arc::new(Stages {
            clock: options.clock.clone(),
            fetcher,
            checks: CheckPool::start(PoolSettings::default(), &options.clock)?,
            recorder: Recorder::start(&pipelines, folders, &options.clock).map_err(StartError::Record)?,
            permits: Arc::new(Semaphore::new(in_flight)),
            grace: options.grace,
            counters: RunCounters::default(),
            seq: AtomicI64::new(0),
            probe_seq: AtomicI64::new(0),
        });
        // Under the locks that the writers have taken.
        if let Some(state) = &options.state {
            state.keep_in(&options.data.join("state").join(&name));
        }
        let state = options.state.clone();
        let mut runner = Self { stages, pipelines: Vec::new(), writers, state, targets: 0, stop };
        let mut left = options.limit.unwrap_or(u64::MAX);
        for (pipeline, sender) in pipelines.into_iter().zip(senders) {
            runner.start_pipeline(pipeline, sender, options.once, &mut left);
        }
        tracing::info!(run_id, runner = name, targets = runner.targets, in_flight, "probing");
        Ok(runner)
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
            let now = clock.now();
            let mut schedule = Schedule::new(&pipeline.name, now, clock.wall());
            for target in &pipeline.targets {
                schedule.add(&target.name, &pipeline.timing(target), now);
            }
            Ticks::Every(schedule)
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

    /// Waits for the end: of all pipelines, then of the sinks, so that whatever was finished is sealed,
    /// then of the check threads, then of what checks remember.
    pub async fn finished(self) -> RunSummary {
        let mut faults = 0;
        for pipeline in self.pipelines {
            if pipeline.await.is_err() {
                tracing::error!("a pipeline ended by a fault of the runner");
                faults += 1;
            }
        }
        // Joining threads blocks; and records are written while files are sealed.
        let stages = Arc::clone(&self.stages);
        let recorded = tokio::task::spawn_blocking(move || stages.recorder.finish(RECORD));
        let mut summary = self.writers.sealed(&self.stages, self.stop).await;
        summary.targets = self.targets;
        summary.faults += faults;
        let _ = recorded.await;
        summary.add_records(self.stages.recorder.counters());
        let (stages, state) = (self.stages, self.state);
        // Joining threads blocks. A check that is still at work has been told to stop with its attempt.
        let end = move || {
            stages.checks.stop();
            state.is_none_or(|state| state.stop(REMEMBER))
        };
        let _ = tokio::task::spawn_blocking(end).await;
        summary
    }
}

/// Tells of what the machine lacks before rows tell of it one by one.
fn warn_of_limits(in_flight: usize, fetcher: &Fetcher) {
    if in_flight < FEW_IN_FLIGHT {
        tracing::warn!(in_flight, "few probes can be in flight: raise the limit of open files (ulimit -n)");
    }
    if !fetcher.has_system_roots() {
        tracing::warn!(
            "this machine has no certificate authorities: https targets will be unknown (install \
             ca-certificates, or set ca_file in [request.tls])"
        );
    }
}
