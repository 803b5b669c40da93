//! Stage 5: results go somewhere.
//!
//! A [`Writer`] is one thread a results folder. It gathers results into a [`ResultBatch`] (two Arrow
//! record batches), writes that to the journal ([`parquet`]), and only then hands it to the followers
//! ([`stdout`] is one), so that whatever a follower shows is safe already.

mod config;
pub mod batch;
pub mod bucket;
pub(crate) mod columns;
pub mod counters;
pub mod dead_letter;
pub mod follow;
pub mod parquet;
pub mod query;
pub(crate) mod json;
pub mod jsonl;
pub(crate) mod lines;
pub mod stdout;
pub mod stop;
pub mod writer;

#[cfg(test)]
pub(crate) mod samples;

use std::io;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;

pub use batch::{BatchBuilder, ResultBatch};
pub use bucket::{BucketAddress, BucketSettings, BucketSpec, Provider};
pub use config::{
    DeadLetterText, FsyncText, JsonlText, LineRotateText, OnFullText, ParquetText, RotateText, SinkText,
    StdoutFormatText, StdoutText,
};
pub use counters::{Missing, ResultMark, SinkCounters, WriterCounters};
pub use dead_letter::DeadLetters;
pub use follow::{Follower, FollowerSpec};
pub use jsonl::{JsonLines, LineRotate};
pub use parquet::{Folders, Fsync, Keep, ParquetSpec, Rotate, StoreRules};
pub use stdout::{Format, StdoutSink};
pub use stop::StopSignal;
pub use writer::{OnFull, ResultSender, SendRefused, Writer, WriterChange, WriterSpec, WriterSummary};

/// Why a sink could not be opened, or a file not be made.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Another process writes under this runner name.
    #[error("the runner name \"{runner}\" is in use by {} (lock file \"{}\"); stop that one, or give this one another name with --runner", holder(*.pid), .lock.display())]
    Locked {
        /// The runner's name.
        runner: String,
        /// The lock file.
        lock: PathBuf,
        /// The process that holds it, where the lock file says so.
        pid: Option<u32>,
    },
    /// State and results would lie on different file systems, so that no file could be published
    /// by renaming it.
    #[error("\"{}\" and \"{}\" are on different file systems: a finished file is renamed from one into the other; choose a results folder whose parent is on its own file system", .results.display(), .state.display())]
    OtherFileSystem {
        /// The results folder.
        results: PathBuf,
        /// The state folder.
        state: PathBuf,
    },
    /// The results path has no last part that could name it.
    #[error("\"{}\" cannot be a results folder: its path has to end in a folder's name other than \"state\"", .path.display())]
    ResultsPath {
        /// The path as given.
        path: PathBuf,
    },
    /// An archive would lie in the results that it is made of, or these in it.
    #[error("the archive \"{}\" and the results folder \"{}\" lie in each other; put them side by side", .archive.display(), .results.display())]
    ArchiveInResults {
        /// The archive.
        archive: PathBuf,
        /// The results folder.
        results: PathBuf,
    },
    /// A runner writes its results to what would be an archive.
    #[error("\"{}\" cannot be an archive: the runner \"{runner}\" writes its results there; name another folder", .path.display())]
    ArchiveInUse {
        /// The folder.
        path: PathBuf,
        /// The runner.
        runner: String,
    },
    /// A runner name that cannot be part of a file name.
    #[error(
        "\"{runner}\" cannot be a runner's name: 1 to 128 of a-z, 0-9, \".\", \"_\" and \"-\", and not a dot first"
    )]
    RunnerName {
        /// The name as given.
        runner: String,
    },
    /// A run's identity that is no UUID.
    #[error("\"{run_id}\" cannot identify a run: it has to be a hyphenated UUID")]
    RunId {
        /// The identity as given.
        run_id: String,
    },
    /// A journal that a newer version of the program wrote. It is left untouched.
    #[error("the journal \"{}\" was written by a newer version (format {format}, schema {schema}); run that version", .path.display())]
    NewerJournal {
        /// The journal.
        path: PathBuf,
        /// Its format version.
        format: u16,
        /// Its schema version.
        schema: u16,
    },
    /// A journal in which nothing can be read.
    #[error("the journal \"{}\" cannot be read: {reason}", .path.display())]
    UnreadableJournal {
        /// The journal.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// An operation on a file or folder failed.
    #[error("could not {action} \"{}\"", .path.display())]
    Io {
        /// What was tried, as a verb: `create`, `write to`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Columns could not be built or encoded.
    #[error("could not build columns")]
    Columns(#[from] ArrowError),
    /// A Parquet file could not be encoded.
    #[error("could not encode \"{}\"", .path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// What the encoder said.
        source: ::parquet::errors::ParquetError,
    },
    /// A bucket's settings do not fit together.
    #[error("\"{bucket}\" cannot be used: {reason}")]
    Bucket {
        /// The bucket.
        bucket: String,
        /// Why, without secrets.
        reason: String,
    },
    /// A thread could not be started.
    #[error("could not start a thread for the sink")]
    Thread(#[source] io::Error),
    /// The sink's thread did not end by the deadline that it was stopped with.
    #[error("the sink did not finish in time; its journals stay and are converted at the next start")]
    StillWriting,
}

impl SinkError {
    /// Whether there was no room on the disk, or no more than the user may have.
    pub(crate) fn is_disk_full(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// Wraps an I/O error with what was tried on which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
