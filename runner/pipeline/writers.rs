//! The writers of a runner: one for each results folder, shared by the pipelines that write there, and
//! one for those that write to none. They come and go with the pipelines that want them, change while
//! they are at work, and end all by one deadline.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::future::pending;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::runner::RunnerOptions;
use super::stages::Stages;
use super::{Built, JsonlPlan, RunSummary, StdoutPlan, Stop, StopLevel};
use crate::clock::Instant;
use crate::config::format_duration;
use crate::sink::{
    DeadLetters, FollowerSpec, JsonLines, LineRotate, OnFull, ParquetSpec, ResultSender, SinkError,
    StdoutSink, StopSignal, StoreRules, Writer, WriterChange, WriterCounters, WriterSpec, WriterSummary,
};
use crate::telemetry::spawn;

/// Results that may wait for a writer.
const RESULTS_WAITING: usize = 4_096;
/// How long files may be sealed after the grace, and after a second signal. Kubernetes kills 30 s after
/// the first; the grace is 10 s.
const SEAL: Duration = Duration::from_secs(5);
const SEAL_AT_ONCE: Duration = Duration::from_secs(2);
/// After midnight, how long beyond the longest time-out a day's last results are waited for.
const DAY_MARGIN: Duration = Duration::from_mins(1);

/// What identifies a results folder: the path with its links followed, as far as it exists. None for
/// pipelines that write to no folder.
type Key = Option<PathBuf>;

/// The writers, and where they write.
pub(super) struct Writers {
    runner: Arc<str>,
    run_id: Arc<str>,
    open: BTreeMap<Key, Open>,
    closing: Vec<Closing>,
    /// The number of the next file in folders that were written to before: no name comes twice in a run.
    numbers: BTreeMap<Key, u32>,
    /// What those came to that have ended.
    ended: RunSummary,
    folders: Vec<PathBuf>,
}

/// A writer at work, and how.
struct Open {
    writer: Writer,
    /// The number of its first file.
    first_number: u32,
    rules: Option<StoreRules>,
    followers: Vec<(String, OnFull)>,
}

/// A writer that nobody wants any more: it ends with the last row of those that were in flight.
struct Closing {
    key: Key,
    first_number: u32,
    counters: Arc<WriterCounters>,
    signal: StopSignal,
    end: JoinHandle<End>,
}

/// How a writer ended, and what it counted.
pub(super) type End = (Result<WriterSummary, SinkError>, Arc<WriterCounters>);

impl Writers {
    /// None so far.
    pub(super) fn new(runner: &str, run_id: &str) -> Self {
        Self {
            runner: runner.into(),
            run_id: run_id.into(),
            open: BTreeMap::new(),
            closing: Vec::new(),
            numbers: BTreeMap::new(),
            ended: RunSummary::default(),
            folders: Vec::new(),
        }
    }

    /// Brings the writers to what these pipelines want, those that are wanted no more aside. Returns the
    /// sender of each pipeline, or why there is none: then nothing has changed for the others.
    pub(super) async fn open_for(
        &mut self,
        pipelines: &[&Built],
        options: &RunnerOptions,
    ) -> Vec<Result<ResultSender, Arc<SinkError>>> {
        let keys: Vec<Key> = pipelines.iter().map(|pipeline| key_of(pipeline, &options.data)).collect();
        let mut senders: HashMap<Key, Result<ResultSender, Arc<SinkError>>> = HashMap::new();
        for (pipeline, key) in pipelines.iter().zip(&keys) {
            if senders.contains_key(key) {
                continue;
            }
            let together = pipelines.iter().zip(&keys).filter(|(_, other)| *other == key);
            let group: Vec<_> = together.map(|(pipeline, _)| *pipeline).collect();
            let sender = self.open_one(key, pipeline, &group, options).await;
            senders.insert(key.clone(), sender.map_err(Arc::new));
        }
        keys.iter().filter_map(|key| senders.get(key).cloned()).collect()
    }

    async fn open_one(
        &mut self,
        key: &Key,
        pipeline: &Built,
        group: &[&Built],
        options: &RunnerOptions,
    ) -> Result<ResultSender, SinkError> {
        let parquet = parquet(pipeline, group, options);
        let rules = parquet.as_ref().map(rules_of);
        let followers = followers(group, options);
        let names: Vec<_> = followers.iter().map(|spec| (spec.name.clone(), spec.on_full)).collect();
        if let Some(open) = self.open.get_mut(key) {
            let sender = open.writer.sender();
            if open.rules != rules || open.followers != names {
                // One that has been stopped takes nothing more anyway.
                let _ = sender.change(WriterChange { rules: rules.clone(), followers }).await;
                (open.rules, open.followers) = (rules, names);
            }
            return Ok(sender);
        }
        self.wait_for_closing(key).await;
        let first_number = self.numbers.get(key).copied().unwrap_or(1);
        let shown = parquet.as_ref().map(|spec| spec.results.clone());
        let spec = WriterSpec {
            parquet,
            followers,
            first_number,
            capacity: RESULTS_WAITING,
            runner: Arc::clone(&self.runner),
            run_id: Arc::clone(&self.run_id),
            clock: options.clock.clone(),
        };
        // Taking the lock and making folders may block.
        let started = tokio::task::spawn_blocking(move || Writer::start(spec)).await;
        let writer = started.map_err(|_| SinkError::StillWriting)??;
        self.folders.extend(shown.filter(|folder| !self.folders.contains(folder)));
        let sender = writer.sender();
        self.open.insert(key.clone(), Open { writer, first_number, rules, followers: names });
        Ok(sender)
    }

    /// Its lock is held until it has ended.
    async fn wait_for_closing(&mut self, key: &Key) {
        let (ended, others) =
            std::mem::take(&mut self.closing).into_iter().partition(|closing| closing.key == *key);
        self.closing = others;
        self.note_ended(ended).await;
    }

    /// Waits for these, and notes what they came to.
    async fn note_ended(&mut self, ended: Vec<Closing>) {
        for closing in ended {
            let Closing { key, first_number, counters, end, .. } = closing;
            self.ended.add_end(end.await.ok());
            let segments = counters.segments.load(Ordering::Relaxed);
            self.numbers.insert(key, first_number.saturating_add(segments as u32));
        }
    }

    /// Ends the writers that none of these pipelines wants, once what is in flight has landed.
    pub(super) async fn keep_for(&mut self, pipelines: &[&Built], options: &RunnerOptions) {
        let (ended, closing): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.closing).into_iter().partition(|closing| closing.end.is_finished());
        self.closing = closing;
        self.note_ended(ended).await;
        let wanted: HashSet<Key> = pipelines.iter().map(|pipeline| key_of(pipeline, &options.data)).collect();
        let (stay, go): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.open).into_iter().partition(|(key, _)| wanted.contains(key));
        self.open = stay;
        self.closing.extend(go.into_iter().map(|(key, open)| Closing::begin(key, open)));
    }

    /// Waits until every writer has sealed its files: as long as it takes in a run that ends by itself,
    /// within the grace and [`SEAL`] after a signal, at once after a second one.
    pub(super) async fn sealed(self, stages: &Stages, mut stop: Stop) -> RunSummary {
        let Self { open, mut closing, ended, folders, .. } = self;
        let mut summary = ended.of(stages, folders);
        closing.extend(open.into_iter().map(|(key, open)| Closing::begin(key, open)));
        let signals: Vec<_> = closing.iter().map(|closing| closing.signal.clone()).collect();
        let hurry = async {
            stop.reached(StopLevel::Drain).await;
            let since = stop.since().unwrap_or_else(|| stages.clock.now());
            by(&signals, since + stages.grace + SEAL);
            stop.reached(StopLevel::Now).await;
            by(&signals, stages.clock.now() + SEAL_AT_ONCE);
            pending::<()>().await;
        };
        tokio::pin!(hurry);
        for closing in closing {
            tokio::select! {
                biased;
                ended = closing.end => summary.add_end(ended.ok()),
                () = &mut hurry => {}
            }
        }
        summary
    }
}

impl Closing {
    fn begin(key: Key, open: Open) -> Self {
        let Open { writer, first_number, .. } = open;
        let signal = writer.stop_signal();
        let counters = Arc::clone(writer.counters());
        let told = Arc::clone(&counters);
        let end = spawn("sink-end", async move { (writer.drained().await, told) });
        Self { key, first_number, counters, signal, end }
    }
}

fn by(signals: &[StopSignal], deadline: Instant) {
    for signal in signals {
        signal.by(deadline);
    }
}

fn key_of(pipeline: &Built, data: &Path) -> Key {
    let wanted = data.join(&pipeline.sinks.parquet.as_ref()?.path);
    let mut missing = Vec::new();
    for existing in wanted.ancestors() {
        let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
        if let Ok(found) = fs::canonicalize(existing) {
            return Some(missing.iter().rev().fold(found, |path, part| path.join(part)));
        }
        let part = existing.components().next_back();
        missing
            .extend(part.filter(|part| *part != Component::CurDir).map(|part| part.as_os_str().to_owned()));
    }
    Some(wanted)
}

fn parquet(pipeline: &Built, group: &[&Built], options: &RunnerOptions) -> Option<ParquetSpec> {
    let plan = pipeline.sinks.parquet.as_ref()?;
    let longest = |pipeline: &&Built| pipeline.retry.longest(pipeline.request.timeout());
    let longest = group.iter().map(longest).max().unwrap_or_default();
    Some(ParquetSpec {
        rotate: plan.rotate,
        fsync: plan.fsync,
        bucket: plan.bucket.clone(),
        upload_grace: options.grace,
        grace: longest + options.grace + DAY_MARGIN,
        keep: plan.keep,
        ..ParquetSpec::new(options.data.join(&plan.path))
    })
}

fn rules_of(spec: &ParquetSpec) -> StoreRules {
    let ParquetSpec { rotate, fsync, grace, keep, .. } = *spec;
    StoreRules { rotate, fsync, grace, keep, bucket: spec.bucket.clone() }
}

/// What the command line wants to see, else what the pipelines show themselves: both on one standard
/// output would mix two forms. And what goes to files.
fn followers(group: &[&Built], options: &RunnerOptions) -> Vec<FollowerSpec> {
    let shown: Vec<_> = match &options.follower {
        Some(make) => vec![make()],
        None => group.iter().filter_map(|pipeline| stdout(pipeline)).collect(),
    };
    shown
        .into_iter()
        .chain(group.iter().filter_map(|pipeline| jsonl(pipeline, options)))
        .chain(group.iter().filter_map(|pipeline| dead_letters(pipeline, &options.data)))
        .collect()
}

fn stdout(pipeline: &Built) -> Option<FollowerSpec> {
    let StdoutPlan { format, on_full } = pipeline.sinks.stdout?;
    Some(FollowerSpec {
        // Another format is another follower.
        name: format!("stdout of {} as {format:?}", pipeline.name).to_lowercase(),
        pipelines: Some(HashSet::from([Arc::clone(&pipeline.name)])),
        on_full,
        follower: Box::new(StdoutSink::new(std::io::stdout(), format, false)),
    })
}

fn jsonl(pipeline: &Built, options: &RunnerOptions) -> Option<FollowerSpec> {
    let JsonlPlan { path, rotate, on_full, .. } = pipeline.sinks.jsonl.as_ref()?;
    let path = options.data.join(path);
    let LineRotate { every, size, keep } = *rotate;
    let rule = format!("{}, {size} bytes, {keep} files", format_duration(every));
    Some(FollowerSpec {
        name: format!("jsonl of {} in {} ({rule})", pipeline.name, path.display()),
        pipelines: Some(HashSet::from([Arc::clone(&pipeline.name)])),
        on_full: *on_full,
        follower: Box::new(JsonLines::new(path, *rotate, options.clock.clone())),
    })
}

fn dead_letters(pipeline: &Built, data: &Path) -> Option<FollowerSpec> {
    let plan = pipeline.dead_letter.as_ref()?;
    let path = data.join(&plan.path);
    let history = if plan.history { " with history" } else { "" };
    Some(FollowerSpec {
        name: format!("dead letters of {} in {}{history}", pipeline.name, path.display()),
        pipelines: Some(HashSet::from([Arc::clone(&pipeline.name)])),
        on_full: OnFull::Block,
        follower: Box::new(DeadLetters::new(path, plan.max_bytes, plan.history)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_folder_spelt_in_several_ways_is_one() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(data.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", data.path().join("link")).unwrap();
        let toml = |path: &str| {
            let file = data.path().join("p.toml");
            let text = format!(
                "default_checks = false\n[[sources]]\ntargets = [\"http://127.0.0.1:9/\"]\n\
                 [[sinks]]\ntype = \"parquet\"\npath = \"{path}\"\n"
            );
            fs::write(&file, text).unwrap();
            let mut diagnostics = crate::config::Diagnostics::default();
            let file = crate::pipeline::PipelineFile { name: "p".into(), path: file };
            let workshop = crate::pipeline::Workshop::new().unwrap();
            let built = crate::pipeline::build(&file, &workshop, &mut diagnostics).unwrap();
            key_of(&built, data.path()).unwrap()
        };
        assert_eq!(toml("real/new"), toml("./real/./new"));
        assert_eq!(toml("real/new"), toml("link/new"));
        assert_ne!(toml("real/new"), toml("real/other"));
    }
}
