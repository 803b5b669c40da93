//! The Parquet sink: a journal first, finished files afterwards.
//!
//! ```text
//! results/probes/date=2026-09-01/probes-20260901T05Z-<runner>-<run_id>-000042.parquet
//! results/checks/date=2026-09-01/checks-20260901T05Z-<runner>-<run_id>-000042.parquet
//! state/<runner>/{lock, adopt, journal/, tmp/, quarantine/, checksums, uploaded}
//! ```
//!
//! Nothing but finished `.parquet` files ever lies below the results folder: DuckDB's and Polars' globs
//! descend into dot folders and match dot files, pyarrow reads any extension. Everything else lies in
//! the state folder: `state` beside the results folder, on the same file system since finished files are
//! renamed out of it. A results folder named `results` uses `state/<runner>` itself; one of any other
//! name uses `state/<runner>/sinks/<name>`, so that several can stand side by side.
//!
//! [`journal`] says how a result becomes safe, [`recover`] how it is read back, [`mod@convert`] how a journal
//! becomes two files, `sort` how it gets by with little memory, [`publish`] how a file becomes visible,
//! [`mod@verify`] whether it still is what it was, [`mod@compact`] how a day's files become one elsewhere, and
//! [`retain`] when they go.

pub mod schema;
pub(crate) mod finished;
pub mod folders;
pub mod segment;
pub mod lock;
pub mod journal;
pub mod recover;
pub mod rotate;
pub(crate) mod sort;
pub(crate) mod spill;
pub mod encode;
pub mod publish;
pub(crate) mod checksums;
pub mod convert;
pub(crate) mod merge;
pub mod compact;
pub mod retain;
pub mod verify;
pub(crate) mod adopt;
pub(crate) mod converter;
pub(crate) mod store;
pub(crate) mod sync;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::bucket::BucketSpec;

pub use convert::convert;
pub use folders::Folders;
pub use retain::Keep;
pub use schema::{Column, SCHEMA_VERSION, Table};
pub use segment::SegmentName;

/// A Parquet sink, as a pipeline file asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParquetSpec {
    /// The results folder; made if it is not there.
    pub results: PathBuf,
    /// When files are closed.
    pub rotate: Rotate,
    /// When the journal is forced to the disk.
    pub fsync: Fsync,
    /// How long after midnight (UTC) probes of the day before may still end: the longest deadline of
    /// any pipeline, and some.
    pub grace: Duration,
    /// The bucket that finished files are copied to, if any.
    pub bucket: Option<Arc<BucketSpec>>,
    /// How long files may be uploaded at the end of a run that nobody stops.
    pub upload_grace: Duration,
    /// How long results are kept; for ever without.
    pub keep: Option<Keep>,
}

impl ParquetSpec {
    /// The defaults, for a results folder.
    pub fn new(results: impl Into<PathBuf>) -> Self {
        Self {
            results: results.into(),
            rotate: Rotate::default(),
            fsync: Fsync::default(),
            grace: Duration::from_mins(2),
            bucket: None,
            upload_grace: Duration::from_secs(10),
            keep: None,
        }
    }
}

/// The part of a [`ParquetSpec`] that can change while it is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreRules {
    /// When files are closed.
    pub rotate: Rotate,
    /// When the journal is forced to the disk.
    pub fsync: Fsync,
    /// As in [`ParquetSpec::grace`].
    pub grace: Duration,
    /// As in [`ParquetSpec::bucket`].
    pub bucket: Option<Arc<BucketSpec>>,
    /// As in [`ParquetSpec::keep`].
    pub keep: Option<Keep>,
}

/// When files are closed: whichever comes first. A day's end and a drain close them as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotate {
    /// At multiples of this since midnight UTC. At least 1 s. Default 1 h.
    pub every: Duration,
    /// At so many bytes of journal. A Parquet file has about a tenth of it. Default 256 MiB.
    pub size: u64,
    /// At so many results. Default 1,048,576.
    pub rows: u64,
}

impl Default for Rotate {
    fn default() -> Self {
        Self { every: Duration::from_hours(1), size: 256 << 20, rows: 1 << 20 }
    }
}

/// When the journal is forced to the disk. A result survives the death of the process in any case; this
/// is about the death of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Once per this time, by a thread of its own. Default, with 1 s.
    Every(Duration),
    /// After each batch, before followers see it.
    Each,
    /// Never.
    Off,
}

impl Default for Fsync {
    fn default() -> Self {
        Self::Every(Duration::from_secs(1))
    }
}
