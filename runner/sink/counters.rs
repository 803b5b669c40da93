//! What a writer counts. Plain atomics: read them at any time, from any thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Declares the counters once: field, meaning.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {
        /// What one writer has done since its start.
        #[derive(Debug, Default)]
        pub struct WriterCounters {
            $($(#[doc = $doc])+ pub $name: AtomicU64,)+
            /// Whether the journal cannot be written at present (disk full, I/O error).
            pub blocked: AtomicBool,
            /// Whether results are dropped at present, since the queue is full.
            pub dropping: AtomicBool,
            /// What each sink beside the journal got, and did not get.
            sinks: Mutex<Vec<Arc<SinkCounters>>>,
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
    /// Rows dropped since they stood in a journal twice.
    doubled_rows;
    /// Torn tails cut off journals.
    torn_tails;
    /// Files uploaded to the bucket.
    uploads;
    /// Bytes of the files uploaded.
    upload_bytes;
    /// Attempts to upload that failed; each is made again.
    upload_failures;
    /// Files that the bucket has not, or has not confirmed, at present.
    uploads_waiting;
    /// Files that are not uploaded in this run: damaged ones, and ones whose key is taken by something else.
    uploads_refused;
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

    /// What each sink beside the journal got, and did not get, those that are gone included.
    pub fn sinks(&self) -> Vec<Arc<SinkCounters>> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The counters of a sink: those that it had, where there was one of its name.
    pub(crate) fn of_sink(&self, name: &str) -> Arc<SinkCounters> {
        let mut sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = sinks.iter().find(|known| known.name == name) {
            return Arc::clone(known);
        }
        let sink = Arc::new(SinkCounters::new(name));
        sinks.push(Arc::clone(&sink));
        sink
    }

    /// Results waiting in the queue.
    pub fn queue_depth(&self) -> u64 {
        // Taken first: a row accepted between the two reads must not make the difference negative.
        let taken = self.rows_taken.load(Ordering::Acquire);
        self.rows_accepted.load(Ordering::Acquire).saturating_sub(taken)
    }
}

/// Why rows are missing in a sink beside the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It was too slow, and may leave out what there is no room for (`on_full = "drop_newest"`).
    Full,
    /// It failed to take them: a full disk, an error of its own.
    Failed,
    /// Nobody reads it any more.
    Unread,
    /// It had not taken them when the time for the end was over.
    Late,
}

impl Missing {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Full, Self::Failed, Self::Unread, Self::Late];

    /// A word for it: `full`, `failed`, `unread` or `late`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Failed => "failed",
            Self::Unread => "unread",
            Self::Late => "late",
        }
    }
}

/// What one sink beside the journal got, in rows.
#[derive(Debug)]
pub struct SinkCounters {
    /// Its name.
    pub name: String,
    /// Rows that it took.
    pub rows: AtomicU64,
    missing: [AtomicU64; Missing::ALL.len()],
}

impl SinkCounters {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), rows: AtomicU64::new(0), missing: Default::default() }
    }

    /// Rows that it did not get, for this reason.
    pub fn missing(&self, reason: Missing) -> u64 {
        read(&self.missing[reason as usize])
    }

    pub(crate) fn miss(&self, reason: Missing, rows: u64) {
        add(&self.missing[reason as usize], rows);
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
