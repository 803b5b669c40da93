//! What the log is told of a dynamic source: a change of its state, not the state itself again and again.

use std::sync::Arc;

use super::plan::DocumentPlan;
use crate::config::SecretTexts;
use crate::source::{Problems, SourceProblem, printable_url};

/// How a source is, and who it is.
pub(super) struct Health {
    pipeline: Arc<str>,
    /// As the log may show it.
    source: String,
    secrets: SecretTexts,
    failed: bool,
    left_out: bool,
    forgets: bool,
}

impl Health {
    pub(super) fn new(pipeline: &Arc<str>, plan: &DocumentPlan) -> Self {
        let secrets = plan.secrets.clone();
        let source = secrets.mask(&printable_url(plan.url.as_str())).into_owned();
        let pipeline = Arc::clone(pipeline);
        Self { pipeline, source, secrets, failed: false, left_out: false, forgets: false }
    }

    /// Its document could not be had, or not be read.
    pub(super) fn failed(&mut self, mut why: String, had_one: bool) {
        self.secrets.mask_quoted_in(&mut why);
        if std::mem::replace(&mut self.failed, true) {
            tracing::debug!(pipeline = %self.pipeline, source = self.source, "still no targets: {why}");
            return;
        }
        let what = if had_one { "its last targets stay" } else { "it has no targets yet" };
        tracing::warn!(
            pipeline = %self.pipeline,
            source = self.source,
            "targets cannot be had from a source, {what}: {why}"
        );
    }

    /// Its document has not changed.
    pub(super) fn unchanged(&mut self) {
        if std::mem::take(&mut self.failed) {
            tracing::info!(pipeline = %self.pipeline, source = self.source, "targets come again");
        }
    }

    /// Its document was good, but for what was left out of it.
    pub(super) fn good(&mut self, targets: usize, left_out: &Problems, shown: fn(&SourceProblem) -> String) {
        if std::mem::take(&mut self.failed) {
            tracing::info!(pipeline = %self.pipeline, source = self.source, targets, "targets come again");
        }
        let Some(first) = left_out.list.first() else {
            self.left_out = false;
            return;
        };
        if !std::mem::replace(&mut self.left_out, true) {
            tracing::warn!(
                pipeline = %self.pipeline,
                source = self.source,
                left_out = left_out.count(),
                "a source has targets that are wrong; the first is {}",
                self.secrets.mask(&shown(first))
            );
        }
    }

    /// What was seen could not be written or read.
    pub(super) fn forgets(&mut self, error: &std::io::Error) {
        if !std::mem::replace(&mut self.forgets, true) {
            tracing::warn!(
                pipeline = %self.pipeline,
                source = self.source,
                "what was seen cannot be remembered, and may be probed again after a restart: {error}"
            );
        }
    }

    /// What was seen was written.
    pub(super) fn remembers(&mut self) {
        self.forgets = false;
    }
}

/// A problem as the log shows it.
pub(super) fn shown(problem: &SourceProblem) -> String {
    format!("at {}: {}", problem.place, problem.what)
}

/// The same for the items of a listing, which have numbers and no lines.
pub(super) fn shown_item(problem: &SourceProblem) -> String {
    format!("item {}: {}", problem.place.line, problem.what)
}
