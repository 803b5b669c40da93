//! What a reload came to: for the log, for people, and for whoever asked for it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Diagnostics, Level};
use crate::pipeline::{Built, Merged};

/// What a reload came to.
#[derive(Debug, Default)]
pub struct ReloadReport {
    /// Counts the reloads of this run, from 1.
    pub number: u64,
    /// Pipelines that are new.
    pub added: Vec<Arc<str>>,
    /// Pipelines that are gone: what was in flight lands, then they end.
    pub removed: Vec<Arc<str>>,
    /// Pipelines that have another generation.
    pub changed: Vec<PipelineChange>,
    /// Pipelines that are as before.
    pub kept: usize,
    /// Pipelines whose files cannot be run as they are: what runs of them goes on as before.
    pub wrong: Vec<Arc<str>>,
    /// Pipelines whose files were wrong, and are right again.
    pub mended: Vec<Arc<str>>,
    /// Pipelines that go on as before since a sink could not be opened, and why.
    pub refused: Vec<(Arc<str>, String)>,
    /// Paths without pipelines: what came from them goes on.
    pub missing: Vec<PathBuf>,
    /// Pipelines whose files did not hold still while they were read.
    pub unstable: Vec<Arc<str>>,
    /// All problems that were found.
    pub diagnostics: Diagnostics,
    /// From the moment that it was asked for to the new generations running.
    pub took: Duration,
}

/// One pipeline with another generation.
#[derive(Debug, Clone)]
pub struct PipelineChange {
    /// The pipeline.
    pub pipeline: Arc<str>,
    /// The generation that ran.
    pub from: Arc<str>,
    /// The one that runs now.
    pub to: Arc<str>,
    /// What became of its targets.
    pub targets: Merged,
}

impl ReloadReport {
    /// Whether anything is not as its file says.
    pub fn has_failed(&self) -> bool {
        !(self.wrong.is_empty()
            && self.refused.is_empty()
            && self.missing.is_empty()
            && self.unstable.is_empty())
            || self.diagnostics.has_errors()
    }

    /// Whether anything runs otherwise than before, or is right again.
    pub fn has_changed(&self) -> bool {
        !(self.added.is_empty()
            && self.removed.is_empty()
            && self.changed.is_empty()
            && self.mended.is_empty())
    }

    /// Writes it to the log: what changed as information, what is wrong as errors, each once.
    pub(super) fn log(&self) {
        for pipeline in &self.added {
            tracing::info!(%pipeline, "a pipeline is new");
        }
        for pipeline in &self.removed {
            tracing::info!(%pipeline, "a pipeline is gone: it ends");
        }
        for PipelineChange { pipeline, from, to, targets } in &self.changed {
            let Merged { added, removed, changed, kept } = *targets;
            tracing::info!(%pipeline, %from, %to, added, removed, changed, kept, "a pipeline goes on as another generation");
            if removed > 1 && removed >= kept + changed {
                tracing::warn!(%pipeline, removed, kept, event = "config_targets_removed", "most targets of a pipeline are gone");
            }
        }
        if self.removed.len() > 1 && self.removed.len() >= self.kept + self.changed.len() {
            let removed = self.removed.len();
            tracing::warn!(removed, event = "config_targets_removed", "most pipelines are gone");
        }
        for path in &self.missing {
            tracing::error!(path = %path.display(), "no pipelines are found there: those that came from there go on as before");
        }
        for pipeline in &self.unstable {
            tracing::warn!(%pipeline, "the files of a pipeline change all the time: it was read between two changes");
        }
        for pipeline in &self.wrong {
            tracing::error!(%pipeline, "the files of a pipeline are wrong: it goes on as before, if it ran");
        }
        for pipeline in &self.mended {
            tracing::info!(%pipeline, "the files of a pipeline are right again");
        }
        for (pipeline, why) in &self.refused {
            tracing::error!(%pipeline, why, "a pipeline goes on as before: a sink cannot be opened");
        }
        let (added, removed, changed, kept) =
            (self.added.len(), self.removed.len(), self.changed.len(), self.kept);
        let wrong = self.wrong.len() + self.refused.len();
        let (errors, warnings) =
            (self.diagnostics.count(Level::Error), self.diagnostics.count(Level::Warning));
        let took_ms = self.took.as_millis() as u64;
        tracing::info!(
            reload = self.number,
            added,
            removed,
            changed,
            kept,
            wrong,
            errors,
            warnings,
            took_ms,
            "reloaded"
        );
    }
}

/// The generations that run, by pipeline.
pub(super) fn generations<'a>(running: impl Iterator<Item = &'a Arc<Built>>) -> HashMap<Arc<str>, Arc<str>> {
    running.map(|built| (Arc::clone(&built.name), Arc::clone(&built.generation))).collect()
}
