//! Buckets: finished Parquet files are copied to object storage.
//!
//! The files on this machine are the truth. A pipeline with a bucket writes journals and files as any other does;
//! a thread of its own (`uploader`) copies each published file to the same place below the bucket's prefix
//! (`probes/date=…/….parquet`), and nothing ever waits for it: neither probing nor converting.
//!
//! What waits is on the disk, not in memory: `checksums` lists every file that was published, `uploaded` every file
//! that a bucket has confirmed; the difference is what an uploader begins with (`waiting`). So neither a kill nor an
//! outage loses a file. A key is created where it is not and never overwritten (`upload`); it carries the file's
//! checksum. Names hold runner, run and number, so many runners may share a bucket.

pub mod address;
pub mod settings;
pub(crate) mod http;
pub(crate) mod queue;
pub(crate) mod upload;
pub(crate) mod uploader;
pub(crate) mod waiting;

use crate::config::SecretTexts;

pub use address::{BucketAddress, Provider};
pub use settings::BucketSettings;

/// A bucket, as a pipeline file asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketSpec {
    /// Where it is.
    pub address: BucketAddress,
    /// How it is reached.
    pub settings: BucketSettings,
    /// Whether a file goes from this machine once the bucket has it.
    pub delete_local: bool,
}

impl BucketSpec {
    /// Whether a client can be made of it. Fails with a reason for people, without secrets. Asks nothing of the
    /// bucket: one that cannot be reached may be reached later.
    pub fn check(&self) -> Result<(), String> {
        upload::Bucket::open(&self.address, &self.settings).map(drop)
    }

    /// What must not be told of it.
    pub fn secrets(&self) -> SecretTexts {
        self.settings.secrets()
    }
}
