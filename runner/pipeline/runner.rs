//! A runner at work: the shared parts, the writers, a task for each pipeline; how pipelines are changed
//! while they run, and the way to the end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::budgets::Budgets;
use super::places::Places;
use super::record::{RecordFolders, Recorder};
use super::roster::{Left, Roster};
use super::run::{Live, Order, run};
use super::stages::{RunCounters, Stages};
use super::writers::Writers;
use super::{Built, Merged, RunSummary, Stop};
use crate::check::{CheckPool, FileState, PoolError, PoolSettings};
use crate::clock::{Clock, new_run_id};
use crate::fetch::{Canary, FetchSetupError, Fetcher, FetcherConfig};
use crate::sink::{FollowerSpec, ResultSender, SinkError};
use crate::telemetry::{Lag, LagWatch};

/// How long records may be written after the last probe has ended, beside the sealing of files.
const RECORD: Duration = Duration::from_secs(2);
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
    /// At most so many probes in flight, over all pipelines; none means what descriptors and memory allow.
    pub concurrency: Option<usize>,
    /// Bytes that the bodies of all probes in flight may take; without it, what memory allows.
    pub body_memory: Option<u64>,
    /// Places that tell whether the runner's own network is there.
    pub canaries: Vec<Canary>,
    /// How long probes in flight may go on at the end.
    pub grace: Duration,
    /// Where the checks of these pipelines remember: it is given its place in the runner's state folder.
    /// None where they remember in memory alone.
    pub state: Option<Arc<FileState>>,
    /// Makes a follower of all results for each writer: what the command line shows. It takes the place
    /// of what the pipelines themselves print.
    pub follower: Option<Box<dyn Fn() -> FollowerSpec>>,
}

/// Why a runner could not start, or a pipeline not be changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    /// The fetcher could not be set up.
    #[error("requests cannot be made")]
    Fetch(#[source] Arc<FetchSetupError>),
    /// The check threads could not be started.
    #[error("checks cannot be run")]
    Checks(#[source] Arc<PoolError>),
    /// The recorder's thread could not be started.
    #[error("responses cannot be recorded")]
    Record(#[source] Arc<std::io::Error>),
    /// A sink could not be opened.
    #[error(transparent)]
    Sink(Arc<SinkError>),
}

/// A runner at work.
pub struct Runner {
    options: RunnerOptions,
    /// What the machine allows.
    budgets: Budgets,
    stages: Arc<Stages>,
    running: BTreeMap<Arc<str>, Running>,
    tasks: JoinSet<()>,
    writers: Writers,
    left: Left,
    faults: u64,
    /// The runner's state folder, until what checks remember has its place there.
    remember_in: Option<PathBuf>,
    /// Tells how late the I/O threads are.
    _lag: Option<LagWatch>,
    stop: Stop,
}

/// A pipeline that runs.
struct Running {
    live: Arc<Live>,
    orders: mpsc::Sender<Order>,
}

/// What became of a pipeline that was to be changed.
#[derive(Debug)]
pub struct Changed {
    /// The pipeline.
    pub pipeline: Arc<str>,
    /// What it came to for its targets, or why it goes on as before. None for a pipeline that has just begun.
    pub merged: Result<Option<Merged>, StartError>,
}

impl Runner {
    /// Opens the sinks and starts all pipelines. `stop` ends them.
    pub async fn start(
        pipelines: Vec<Arc<Built>>,
        options: RunnerOptions,
        stop: Stop,
    ) -> Result<Self, StartError> {
        let budgets = Budgets::of_machine(options.body_memory);
        let in_flight = budgets.in_flight(options.concurrency);
        let run_id = new_run_id();
        // A run that ends by itself never waits for the lock of one that goes on.
        let name =
            if options.once { format!("{}-once-{run_id}", options.name) } else { options.name.clone() };
        let fetching = FetcherConfig { canaries: options.canaries.clone(), ..budgets.fetching() };
        let fetcher = Fetcher::new(&fetching).map_err(|error| StartError::Fetch(Arc::new(error)))?;
        budgets.tell(options.concurrency);
        warn_without_roots(&fetcher);
        let folders = RecordFolders {
            data: options.data.clone(),
            runner: options.name.clone(),
            run_id: run_id.as_str().into(),
        };
        let state = options.data.join("state").join(&name);
        let checks = CheckPool::start(PoolSettings::default(), &options.clock);
        let stages = Arc::new(Stages {
            clock: options.clock.clone(),
            run_id: run_id.as_str().into(),
            fetcher,
            checks: checks.map_err(|error| StartError::Checks(Arc::new(error)))?,
            recorder: Recorder::new(folders, &options.clock),
            places: Arc::new(Places::new(in_flight)),
            once: options.once,
            seen: (!options.once).then(|| state.join("seen")),
            grace: options.grace,
            lag: Lag::new(&options.clock),
            counters: RunCounters::default(),
            seq: AtomicI64::new(0),
            probe_seq: AtomicI64::new(0),
        });
        let writers = Writers::new(&name, &run_id);
        let left = Arc::new(options.limit.unwrap_or(u64::MAX).into());
        let (running, tasks) = (BTreeMap::new(), JoinSet::new());
        let remember_in = Some(state);
        // A day of simulated time has millions of these moments, and no lag.
        let lag = (!stages.clock.is_simulated()).then(|| stages.lag.watch());
        let mut runner = Self {
            options,
            budgets,
            stages,
            running,
            tasks,
            writers,
            left,
            faults: 0,
            remember_in,
            _lag: lag,
            stop,
        };
        let begun = runner.change(pipelines, &[]).await;
        if let Some(error) = begun.into_iter().find_map(|changed| changed.merged.err()) {
            return Err(error);
        }
        tracing::info!(run_id, runner = name, pipelines = runner.running.len(), in_flight, "probing");
        Ok(runner)
    }

    /// At most so many probes in flight from now on; none means what the machine allows.
    pub fn limit_concurrency(&self, concurrency: Option<usize>) {
        self.stages.places.resize(self.budgets.in_flight(concurrency));
    }

    /// Brings in new generations and new pipelines, and ends those that are gone; all others go on
    /// untouched. What is in flight ends under the generation that it began with. Where a sink cannot be
    /// opened, the pipelines that want it go on as before.
    pub async fn change(&mut self, next: Vec<Arc<Built>>, gone: &[Arc<str>]) -> Vec<Changed> {
        let recording = self.stages.recorder.start_for(next.iter().map(AsRef::as_ref));
        if let Err(error) = recording {
            let error = StartError::Record(Arc::new(error));
            return next.iter().map(|built| Changed::refused(built, &error)).collect();
        }
        let all = self.wanted(&next, gone);
        let all: Vec<&Built> = all.iter().map(AsRef::as_ref).collect();
        let senders = self.writers.open_for(&all, &self.options).await;
        // Under the locks that the writers have taken, and before anything remembers.
        if senders.iter().any(Result::is_ok)
            && let Some((store, place)) = self.options.state.as_ref().zip(self.remember_in.take())
        {
            store.keep_in(&place);
        }
        let senders: BTreeMap<Arc<str>, _> =
            all.iter().map(|built| Arc::clone(&built.name)).zip(senders).collect();
        let mut changed = Vec::new();
        let mut waiting = Vec::new();
        for built in next {
            match senders.get(&built.name) {
                Some(Ok(results)) => waiting.push(self.bring_in(built, results.clone()).await),
                Some(Err(error)) => {
                    changed.push(Changed::refused(&built, &StartError::Sink(Arc::clone(error))));
                }
                None => {}
            }
        }
        for name in gone {
            // Its loop sees that nobody can send orders any more, and ends once all has landed.
            self.running.remove(name);
        }
        for (pipeline, done) in waiting {
            let merged = match done {
                Some(done) => done.await.ok(),
                None => None,
            };
            changed.push(Changed { pipeline, merged: Ok(merged) });
        }
        let now: Vec<_> = self.running.values().map(|running| Arc::clone(&running.live.built)).collect();
        let now: Vec<&Built> = now.iter().map(AsRef::as_ref).collect();
        self.writers.keep_for(&now, &self.options).await;
        changed
    }

    /// What will run: the pipelines that stay as they are, and the next ones.
    fn wanted(&self, next: &[Arc<Built>], gone: &[Arc<str>]) -> Vec<Arc<Built>> {
        let stays = |name: &Arc<str>| !gone.contains(name) && next.iter().all(|built| built.name != *name);
        let stay = self.running.iter().filter(|(name, _)| stays(name));
        stay.map(|(_, running)| Arc::clone(&running.live.built)).chain(next.iter().map(Arc::clone)).collect()
    }

    /// Gives a pipeline its new generation, or starts it. To be waited for: what it came to.
    async fn bring_in(
        &mut self,
        built: Arc<Built>,
        results: ResultSender,
    ) -> (Arc<str>, Option<oneshot::Receiver<Merged>>) {
        let name = Arc::clone(&built.name);
        let live = Arc::new(Live { built, results });
        if let Some(running) = self.running.get_mut(&name) {
            let (done, told) = oneshot::channel();
            if running.orders.send(Order { live: Arc::clone(&live), done }).await.is_ok() {
                running.live = live;
                return (name, Some(told));
            }
        }
        self.begin(live);
        (name, None)
    }

    fn begin(&mut self, live: Arc<Live>) {
        let name = Arc::clone(&live.built.name);
        let (clock, left) = (&self.stages.clock, Arc::clone(&self.left));
        let roster =
            if self.options.once { Roster::once(clock, left) } else { Roster::again(&name, clock, left) };
        let (orders, taken) = mpsc::channel(1);
        self.tasks.spawn(run(Arc::clone(&live), Arc::clone(&self.stages), roster, taken, self.stop.clone()));
        self.running.insert(name, Running { live, orders });
    }

    /// What the pipelines share.
    pub fn stages(&self) -> &Arc<Stages> {
        &self.stages
    }

    /// What asks this runner to end.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// The generations that run.
    pub fn running(&self) -> impl Iterator<Item = &Arc<Built>> {
        self.running.values().map(|running| &running.live.built)
    }

    /// Waits until every pipeline has ended. It may be given up and called again.
    pub async fn ended(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            if ended.is_err() {
                tracing::error!("a pipeline ended by a fault of the runner");
                self.faults += 1;
            }
        }
    }

    /// Waits for the end: of all pipelines, then of the sinks, so that whatever was finished is sealed,
    /// then of the check threads, then of what checks remember.
    pub async fn finished(mut self) -> RunSummary {
        self.ended().await;
        // The last senders of results, so that the writers see their end.
        self.running.clear();
        // Joining threads blocks; and records are written while files are sealed.
        let stages = Arc::clone(&self.stages);
        let recorded = tokio::task::spawn_blocking(move || stages.recorder.finish(RECORD));
        let mut summary = self.writers.sealed(&self.stages, self.stop).await;
        summary.faults += self.faults;
        let _ = recorded.await;
        summary.add_records(self.stages.recorder.counters());
        let (stages, state) = (self.stages, self.options.state);
        // Joining threads blocks. A check that is still at work has been told to stop with its attempt.
        let end = move || {
            stages.checks.stop();
            state.is_none_or(|state| state.stop(REMEMBER))
        };
        let _ = tokio::task::spawn_blocking(end).await;
        summary
    }
}

impl Changed {
    fn refused(built: &Built, error: &StartError) -> Self {
        Self { pipeline: Arc::clone(&built.name), merged: Err(error.clone()) }
    }
}

/// Tells that no certificate can be verified, before rows tell of it one by one.
fn warn_without_roots(fetcher: &Fetcher) {
    if !fetcher.has_system_roots() {
        tracing::warn!(
            "this machine has no certificate authorities: https targets will be unknown (install \
             ca-certificates, or set ca_file in [request.tls])"
        );
    }
}
