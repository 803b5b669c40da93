//! What a run came to.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use super::record::RecordCounters;
use super::stages::Stages;
use super::writers::End;
use crate::model::Outcome;
use crate::sink::{Missing, WriterCounters, WriterSummary};
use crate::telemetry::LagSeen;

/// What a run came to.
#[derive(Debug, Default)]
pub struct RunSummary {
    /// Targets of the run.
    pub targets: u64,
    /// Probes that ended.
    pub probes: u64,
    /// Probes by outcome, in the order of [`Outcome::ALL`].
    pub by_outcome: [u64; Outcome::ALL.len()],
    /// Ticks that passed without a probe.
    pub missed: u64,
    /// How often the runner itself was held up.
    pub lag: LagSeen,
    /// Rows that are safe.
    pub rows: u64,
    /// Verdicts that are safe.
    pub verdicts: u64,
    /// Rows of earlier runs that were found in journals and published.
    pub recovered: u64,
    /// Rows that could not be written, or that no sink took.
    pub lost: u64,
    /// Rows that were dropped, since the queue before the sinks was full and the pipeline wants that.
    pub dropped: u64,
    /// Times that a sink beside Parquet failed: results are missing there.
    pub unshown: u64,
    /// Rows that are missing in a sink beside Parquet: its name, why, and how many.
    pub missing: Vec<(String, Missing, u64)>,
    /// Files copied to buckets.
    pub uploaded: u64,
    /// Their bytes.
    pub uploaded_bytes: u64,
    /// Files that the next start copies to buckets.
    pub uploads_left: u64,
    /// Files that were not copied for a reason of their own: damaged ones, and ones whose key is taken.
    pub uploads_refused: u64,
    /// Attempts that were recorded.
    pub recorded: u64,
    /// Attempts that were to be recorded and are not.
    pub unrecorded: u64,
    /// Parts of the runner that failed.
    pub faults: u64,
    /// Published files.
    pub files: u64,
    /// Journals that the next start makes files of.
    pub journals_left: u64,
    /// Where the files are.
    pub folders: Vec<PathBuf>,
}

impl RunSummary {
    /// With what the stages have counted, and where the files are.
    pub(super) fn of(self, stages: &Stages, folders: Vec<PathBuf>) -> Self {
        let lost = self.lost + stages.counters.lost();
        Self {
            targets: stages.counters.targets(),
            probes: stages.counters.probes(),
            by_outcome: Outcome::ALL.map(|outcome| stages.counters.of(outcome)),
            missed: stages.counters.missed(),
            lag: stages.lag.seen(),
            lost,
            folders,
            ..self
        }
    }

    /// Adds what a writer came to; none if it ended by a fault of ours.
    pub(super) fn add_end(&mut self, end: Option<End>) {
        match end {
            Some((Ok(written), counters)) => self.add(&written, &counters),
            Some((Err(error), _)) => {
                tracing::error!(%error, "a sink did not end in time; what it has not sealed is in its journal");
                self.faults += 1;
            }
            None => self.faults += 1,
        }
    }

    fn add(&mut self, written: &WriterSummary, counters: &WriterCounters) {
        self.rows += written.rows;
        self.verdicts += written.check_rows;
        self.files += written.files_published;
        self.recovered += written.rows_recovered;
        self.lost += written.rows_lost;
        self.journals_left += written.journals_left;
        self.unshown += counters.follower_errors.load(Ordering::Relaxed);
        self.dropped += counters.rows_dropped.load(Ordering::Relaxed);
        self.uploaded += counters.uploads.load(Ordering::Relaxed);
        self.uploaded_bytes += counters.upload_bytes.load(Ordering::Relaxed);
        self.uploads_left += counters.uploads_waiting.load(Ordering::Relaxed);
        self.uploads_refused += counters.uploads_refused.load(Ordering::Relaxed);
        for sink in counters.sinks() {
            let missing = Missing::ALL.map(|reason| (sink.name.clone(), reason, sink.missing(reason)));
            self.missing.extend(missing.into_iter().filter(|(_, _, rows)| *rows > 0));
        }
    }

    pub(super) fn add_records(&mut self, counters: &RecordCounters) {
        self.recorded = counters.written.load(Ordering::Relaxed);
        self.unrecorded = counters.left_out.load(Ordering::Relaxed) + counters.failed.load(Ordering::Relaxed);
    }

    /// Whether anything is not as it should be.
    pub fn has_down_or_unknown(&self) -> bool {
        Outcome::ALL
            .iter()
            .zip(self.by_outcome)
            .any(|(outcome, count)| count > 0 && matches!(outcome, Outcome::Down | Outcome::Unknown))
    }

    /// Whether the runner did not do its own part. A sink that nobody reads any more, or that may leave out rows,
    /// is no failure of its own.
    pub fn has_failed(&self) -> bool {
        let is_failure = |reason: &Missing| matches!(reason, Missing::Failed | Missing::Late);
        self.lost + self.unshown + self.uploads_refused + self.faults > 0
            || self.missing.iter().any(|(_, reason, _)| is_failure(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_a_sink_should_have_taken_fail_the_run() {
        for reason in Missing::ALL {
            let missing = vec![("lines".to_owned(), reason, 1)];
            let summary = RunSummary { missing, ..RunSummary::default() };
            let is_failure = matches!(reason.as_str(), "failed" | "late");
            assert_eq!(summary.has_failed(), is_failure, "{}", reason.as_str());
        }
        assert!(!RunSummary::default().has_failed());
    }
}
