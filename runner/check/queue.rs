//! Who is next: one line a pipeline, and between them whoever has used the threads least. A pure structure:
//! it knows no thread and no clock.
//!
//! Start-time fair queuing. Each pipeline has a virtual time that grows by the thread time that its jobs
//! really used; the one with the smallest is served. The virtual time of the whole is that of the job
//! which was served last: a newcomer, or a pipeline that had nothing waiting, begins there, so that
//! nobody saves up a credit by being idle. What a job will use is not known when it is served: its
//! pipeline is charged what its jobs used on average, and the difference when the job is done, so that
//! one with many threads to choose from does not get them all at the price of none.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// So many pipelines are known at once before idle ones are forgotten.
const KNOWN: usize = 1_024;
/// How much of an average the last job is: an eighth.
const AVERAGED_OVER: u64 = 8;

/// Jobs that wait, by pipeline.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    lines: HashMap<Arc<str>, Line<T>>,
    /// The lines that have jobs, by their place.
    turns: BTreeMap<Place, Arc<str>>,
    /// Virtual time: that of the last job which was served.
    now: u64,
    /// Numbers places, so that of two equal ones the older comes first.
    places: u64,
    waiting: usize,
}

/// The virtual time of a line, and a number that makes it unique.
type Place = (u64, u64);

/// The jobs of one pipeline.
#[derive(Debug)]
struct Line<T> {
    jobs: VecDeque<T>,
    /// Where it stands among the others; meaningful while it has jobs.
    place: Place,
    /// Virtual time, in nanoseconds.
    time: u64,
    /// What a job of it uses on average, in nanoseconds.
    average: u64,
    /// Jobs that were served and are not done.
    running: usize,
    /// Nanoseconds that its jobs have used in all.
    used: u64,
}

/// A job that was served: to be given back to [`FairQueue::done`].
#[derive(Debug)]
#[must_use = "the job has to be charged for when it is done"]
pub(super) struct Served {
    pipeline: Arc<str>,
    charged: u64,
}

impl Served {
    /// What it was charged: what the jobs of its pipeline use on average.
    pub(super) fn charged(&self) -> Duration {
        Duration::from_nanos(self.charged)
    }
}

/// How one pipeline stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineLoad {
    /// Its name.
    pub pipeline: Arc<str>,
    /// Exchanges of it that wait for a thread now.
    pub waiting: usize,
    /// Exchanges of it that are judged now.
    pub running: usize,
    /// Nanoseconds of CPU time that its checks have used.
    pub cpu_nanos: u64,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { lines: HashMap::new(), turns: BTreeMap::new(), now: 0, places: 0, waiting: 0 }
    }
}

impl<T> FairQueue<T> {
    /// Adds a job to the end of its pipeline's line.
    pub(super) fn push(&mut self, pipeline: &Arc<str>, job: T) {
        if !self.lines.contains_key(pipeline) {
            self.forget_idle();
            self.lines.insert(Arc::clone(pipeline), Line::new());
        }
        let Some(line) = self.lines.get_mut(pipeline) else { return };
        line.jobs.push_back(job);
        self.waiting += 1;
        if line.jobs.len() == 1 {
            line.time = line.time.max(self.now);
            self.places += 1;
            line.place = (line.time, self.places);
            self.turns.insert(line.place, Arc::clone(pipeline));
        }
    }

    /// The next job.
    pub(super) fn pop(&mut self) -> Option<(Served, T)> {
        let ((time, _), pipeline) = self.turns.pop_first()?;
        self.now = self.now.max(time);
        let line = self.lines.get_mut(&pipeline)?;
        let job = line.jobs.pop_front()?;
        self.waiting -= 1;
        line.running += 1;
        let charged = line.average;
        line.time = line.time.saturating_add(charged);
        if !line.jobs.is_empty() {
            self.places += 1;
            line.place = (line.time, self.places);
            self.turns.insert(line.place, Arc::clone(&pipeline));
        }
        Some((Served { pipeline, charged }, job))
    }

    /// A job is done and has used so much thread time; none if there was nothing to do for it.
    pub(super) fn done(&mut self, served: Served, used: Option<Duration>) {
        let Served { pipeline, charged } = served;
        // A line with a job that is not done is never forgotten.
        let Some(line) = self.lines.get_mut(&pipeline) else { return };
        line.running -= 1;
        let nanos = used.map_or(0, |used| u64::try_from(used.as_nanos()).unwrap_or(u64::MAX));
        if used.is_some() {
            line.used = line.used.saturating_add(nanos);
            line.average = match line.average {
                0 => nanos,
                average => average - average / AVERAGED_OVER + nanos / AVERAGED_OVER,
            };
        }
        line.time = line.time.saturating_sub(charged).saturating_add(nanos);
        if !line.jobs.is_empty() {
            self.turns.remove(&line.place);
            line.place.0 = line.time;
            self.turns.insert(line.place, pipeline);
        }
    }

    /// Everything that waits; nothing does any more.
    pub(super) fn drain(&mut self) -> Vec<T> {
        self.turns.clear();
        self.waiting = 0;
        self.lines.values_mut().flat_map(|line| line.jobs.drain(..)).collect()
    }

    /// Jobs that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How each pipeline stands, by name.
    pub(super) fn loads(&self) -> Vec<PipelineLoad> {
        let load = |(pipeline, line): (&Arc<str>, &Line<T>)| PipelineLoad {
            pipeline: Arc::clone(pipeline),
            waiting: line.jobs.len(),
            running: line.running,
            cpu_nanos: line.used,
        };
        let mut loads: Vec<_> = self.lines.iter().map(load).collect();
        loads.sort_unstable_by(|a, b| a.pipeline.cmp(&b.pipeline));
        loads
    }

    /// Forgets pipelines that have nothing to do and owe nothing, when there are very many: names come
    /// and go with pipeline files.
    fn forget_idle(&mut self) {
        if self.lines.len() >= KNOWN {
            let now = self.now;
            self.lines.retain(|_, line| !line.jobs.is_empty() || line.running > 0 || line.time > now);
        }
    }
}

impl<T> Line<T> {
    fn new() -> Self {
        Self { jobs: VecDeque::new(), place: (0, 0), time: 0, average: 0, running: 0, used: 0 }
    }
}

#[cfg(test)]
mod tests;
