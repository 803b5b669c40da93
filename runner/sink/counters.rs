//! What a writer counts. Plain atomics: read them at any time, from any thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Declares the counters once: field, meaning.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {
        /// What one writer has done since its start.
        #[derive(Debug, Default)]
        pub struct WriterCounters {
            $($(#[doc = $doc])+ pub $name: AtomicU64,)+
            /// Whether the journal cannot be written at present (disk full, I/O error).
            pub blocked: AtomicBool,
        }
    };
}

counters! {
    /// Results taken into the queue.
    rows_accepted;
    /// Results taken out of the queue.
    rows_taken;
    /// Results refused by [`try_send`](super::ResultSender::try_send), since the queue was full.
    rows_dropped;
    /// Results given up at a stop, since the journal could not be written until its deadline.
    rows_lost;
    /// Results that are finished: in a journal, where there is one.
    rows_finished;
    /// Rows of `probes` that are in a journal.
    rows_journalled;
    /// Rows of `checks` that are in a journal.
    check_rows_journalled;
    /// Rows of `probes` in published files, recovered ones included.
    rows_published;
    /// Rows of `checks` in published files, recovered ones included.
    check_rows_published;
    /// Rows of `probes` that came out of journals of earlier runs.
    rows_recovered;
    /// Segments begun: each has a number of its own in the run.
    segments;
    /// Files published.
    files;
    /// Bytes of the files published.
    file_bytes;
    /// Bytes written to journals.
    journal_bytes;
    /// Journals waiting to be converted.
    journals_waiting;
    /// Failed writes to a journal.
    journal_errors;
    /// Failed fsyncs of a journal.
    fsync_errors;
    /// Failed conversions of a journal; each is tried again.
    convert_errors;
    /// Journals moved to quarantine.
    quarantined;
    /// Damaged stretches skipped in journals.
    skipped_frames;
    /// Torn tails cut off journals.
    torn_tails;
    /// Files removed since they were older than is kept.
    files_removed;
    /// Bytes of the files removed.
    bytes_removed;
    /// Times that nothing was removed, since it would have been too much at once.
    removals_refused;
    /// Batches that a follower failed to take.
    follower_errors;
    /// Followers that ended early: nobody reads them any more, or they had a fault.
    followers_ended;
    /// Batches that wait for a follower, summed over all.
    follower_batches_waiting;
    /// Batches that a follower did not get: it had a fault, or hung until the stop's deadline.
    follower_batches_dropped;
}

impl WriterCounters {
    /// A point behind the last result that was taken into the queue.
    pub fn mark(self: &Arc<Self>) -> ResultMark {
        ResultMark { counters: Arc::clone(self), rows: read(&self.rows_accepted) }
    }

    /// Results waiting in the queue.
    pub fn queue_depth(&self) -> u64 {
        // Taken first: a row accepted between the two reads must not make the difference negative.
        let taken = self.rows_taken.load(Ordering::Acquire);
        self.rows_accepted.load(Ordering::Acquire).saturating_sub(taken)
    }
}

/// A point in the order of a writer's results.
#[derive(Debug, Clone)]
pub struct ResultMark {
    counters: Arc<WriterCounters>,
    rows: u64,
}

impl ResultMark {
    /// Whether all results before it are finished: from then on, a kill does not lose them.
    pub fn is_finished(&self) -> bool {
        read(&self.counters.rows_finished) >= self.rows
    }
}

/// Adds `n` to a counter.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::AcqRel);
}

/// Reads a counter.
pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Acquire)
}
