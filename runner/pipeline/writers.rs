//! The writers of a runner: one for each results folder, shared by the pipelines that write there, and
//! one for those that write to none. And how they end: all by one deadline.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::future::pending;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::runner::RunnerOptions;
use super::stages::Stages;
use super::{Built, RunSummary, Stop, StopLevel};
use crate::clock::Instant;
use crate::sink::{
    FollowerSpec, ParquetSpec, ResultSender, SinkError, StdoutSink, StopSignal, Writer, WriterSpec,
};

/// Results that may wait for a writer.
const RESULTS_WAITING: usize = 4_096;
/// How long files may be sealed after the grace, and after a second signal. Kubernetes kills 30 s after
/// the first; the grace is 10 s.
const SEAL: Duration = Duration::from_secs(5);
const SEAL_AT_ONCE: Duration = Duration::from_secs(2);
/// After midnight, how long beyond the longest time-out a day's last results are waited for.
const DAY_MARGIN: Duration = Duration::from_mins(1);

/// The writers, and where they write.
#[derive(Default)]
pub(super) struct Writers {
    all: Vec<Writer>,
    folders: Vec<PathBuf>,
}

impl Writers {
    /// Opens a writer for each results folder; returns the sender of each pipeline, in their order.
    pub(super) fn open(
        pipelines: &[Built],
        options: &RunnerOptions,
        runner: &str,
        run_id: &str,
    ) -> Result<(Self, Vec<ResultSender>), SinkError> {
        let mut writers = Self::default();
        let mut senders: HashMap<Option<PathBuf>, ResultSender> = HashMap::new();
        let folders: Vec<_> = pipelines.iter().map(|pipeline| folder_of(pipeline, &options.data)).collect();
        for (pipeline, folder) in pipelines.iter().zip(&folders) {
            if senders.contains_key(folder) {
                continue;
            }
            let together = pipelines.iter().zip(&folders).filter(|(_, other)| *other == folder);
            let group: Vec<_> = together.map(|(pipeline, _)| pipeline).collect();
            let writer = Writer::start(WriterSpec {
                parquet: parquet(pipeline, &group, options),
                followers: followers(&group, options),
                capacity: RESULTS_WAITING,
                runner: runner.into(),
                run_id: run_id.into(),
                clock: options.clock.clone(),
            })?;
            senders.insert(folder.clone(), writer.sender());
            writers.all.push(writer);
            let shown = pipeline.sinks.parquet.as_ref().map(|plan| options.data.join(&plan.path));
            writers.folders.extend(shown);
        }
        let senders = folders.iter().filter_map(|folder| senders.get(folder).cloned()).collect();
        Ok((writers, senders))
    }

    /// Waits until every writer has sealed its files: as long as it takes in a run that ends by itself,
    /// within the grace and [`SEAL`] after a signal, at once after a second one.
    pub(super) async fn sealed(self, stages: &Stages, mut stop: Stop) -> RunSummary {
        let mut summary = RunSummary::of(stages, self.folders);
        let signals: Vec<_> = self.all.iter().map(Writer::stop_signal).collect();
        let hurry = async {
            stop.reached(StopLevel::Drain).await;
            let since = stop.since().unwrap_or_else(|| stages.clock.now());
            by(&signals, since + stages.grace + SEAL);
            stop.reached(StopLevel::Now).await;
            by(&signals, stages.clock.now() + SEAL_AT_ONCE);
            pending::<()>().await;
        };
        tokio::pin!(hurry);
        for writer in self.all {
            let counters = Arc::clone(writer.counters());
            let written = tokio::select! {
                biased;
                written = writer.drained() => written,
                () = &mut hurry => continue,
            };
            match written {
                Ok(written) => summary.add(&written, &counters),
                Err(error) => {
                    tracing::error!(%error, "a sink did not end in time; what it has not sealed is in its journal");
                    summary.faults += 1;
                }
            }
        }
        summary
    }
}

fn by(signals: &[StopSignal], deadline: Instant) {
    for signal in signals {
        signal.by(deadline);
    }
}

/// What identifies a results folder: the path with its links followed, as far as it exists.
fn folder_of(pipeline: &Built, data: &Path) -> Option<PathBuf> {
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
    let longest = group.iter().map(|pipeline| pipeline.request.timeout()).max().unwrap_or_default();
    Some(ParquetSpec {
        rotate: plan.rotate,
        fsync: plan.fsync,
        grace: longest + options.grace + DAY_MARGIN,
        ..ParquetSpec::new(options.data.join(&plan.path))
    })
}

/// What the command line wants to see; else what the pipelines show themselves. Both on one standard
/// output would mix two forms.
fn followers(group: &[&Built], options: &RunnerOptions) -> Vec<FollowerSpec> {
    if let Some(make) = &options.follower {
        return vec![make()];
    }
    let own = |pipeline: &&Built| {
        let format = pipeline.sinks.stdout?;
        Some(FollowerSpec {
            name: format!("stdout of {}", pipeline.name),
            pipelines: Some(HashSet::from([Arc::clone(&pipeline.name)])),
            follower: Box::new(StdoutSink::new(std::io::stdout(), format, false)),
        })
    };
    group.iter().filter_map(own).collect()
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
            folder_of(&built, data.path()).unwrap()
        };
        assert_eq!(toml("real/new"), toml("./real/./new"));
        assert_eq!(toml("real/new"), toml("link/new"));
        assert_ne!(toml("real/new"), toml("real/other"));
    }
}
