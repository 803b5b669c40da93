//! One file into a bucket. A key is written once: created where it is not, never overwritten. It becomes visible
//! as a whole, by one request or by the end of an upload in parts.

use std::fs::File;
use std::hash::Hasher as _;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use object_store::path::Path as Key;
use object_store::{
    Attribute, Attributes, Error, GetOptions, MultipartUpload, ObjectStore, PutMode, PutMultipartOptions,
    PutOptions, PutPayload,
};
use rustix::io::Errno;
use tokio::time::sleep;
use twox_hash::XxHash3_64;

use super::address::BucketAddress;
use super::http::{Connector, Trouble};
use super::settings::{self, BucketSettings};
use crate::config::SecretTexts;
use crate::sink::parquet::finished::Finished;

/// Longer files go in parts of this size: the least that bounds memory and still is a part for everybody.
const PART: u64 = 8 << 20;
/// The metadata that holds a file's checksum: XXH3-64, as in the list of checksums.
const CHECKSUM: &str = "xxh3";
/// How long the end waits for an upload in parts to be taken back.
const ABORT: Duration = Duration::from_secs(1);

/// A bucket to upload to.
#[derive(Debug)]
pub(super) struct Bucket {
    store: Arc<dyn ObjectStore>,
    address: BucketAddress,
    trouble: Trouble,
    secrets: SecretTexts,
    part: u64,
}

/// How an upload went well.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Uploaded {
    /// The bucket has it now.
    New,
    /// The bucket had it already: an answer was lost, or another runner was quicker.
    Known,
}

/// Why a file is not in the bucket.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadFault {
    /// Nothing is to be uploaded any more.
    #[error("the file is gone")]
    Gone,
    /// What is on the disk is not what was published.
    #[error("the file is damaged: its bytes are not those that were published")]
    Damaged,
    /// The key is taken. It is left as it is.
    #[error("another object is there under the same key; it is not overwritten")]
    Occupied,
    /// It cannot be read.
    #[error("the file cannot be read: {0}")]
    Local(io::Error),
    /// The bucket does not take it, for the reason given. It may later.
    #[error("{0}")]
    Bucket(String),
    /// Nothing shall be tried any more.
    #[error("the upload was broken off")]
    Over,
}

impl UploadFault {
    /// Whether the same may go well later, and for other files would not go well now: the bucket takes nothing, or
    /// this machine is short of what it takes to read a file.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Bucket(_) => true,
            Self::Local(error) => {
                matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
            }
            _ => false,
        }
    }
}

impl Bucket {
    /// Makes a client; asks nothing of the bucket.
    pub(super) fn open(address: &BucketAddress, settings: &BucketSettings) -> Result<Self, String> {
        let connector = Connector::default();
        let trouble = connector.trouble.clone();
        let store = settings::open(address, settings, connector)?;
        let secrets = settings.secrets();
        Ok(Self { store, address: address.clone(), trouble, secrets, part: PART })
    }

    /// Uploads a file of the results folder, unless the bucket has it. Leaves it once `over` returns; from then on
    /// it returns at once whenever it is called.
    pub(super) async fn upload(
        &self,
        results: &Path,
        file: &Finished,
        over: impl AsyncFn(),
    ) -> Result<Uploaded, UploadFault> {
        self.trouble.take();
        let key =
            self.address.key(&file.place).ok_or_else(|| UploadFault::Bucket("no such key".to_owned()))?;
        let local = match File::open(results.join(&file.place)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(UploadFault::Gone),
            opened => opened.map_err(UploadFault::Local)?,
        };
        if file.bytes <= self.part {
            until(self.whole(&key, file, local), &over).await
        } else {
            self.parts(&key, file, local, &over).await
        }
    }

    async fn whole(&self, key: &Key, file: &Finished, mut local: File) -> Result<Uploaded, UploadFault> {
        let mut bytes = Vec::with_capacity(file.bytes as usize);
        local.read_to_end(&mut bytes).map_err(UploadFault::Local)?;
        if bytes.len() as u64 != file.bytes || XxHash3_64::oneshot(&bytes) != file.checksum {
            return Err(UploadFault::Damaged);
        }
        let payload = PutPayload::from(bytes);
        match self.put(key, payload.clone(), file, PutMode::Create).await {
            Ok(()) => Ok(Uploaded::New),
            Err(error @ (Error::AlreadyExists { .. } | Error::Precondition { .. })) => {
                self.known(key, file).await?.ok_or_else(|| self.fault(&error))
            }
            Err(error) if self.knows_no_condition(&error) => {
                // A provider that knows no condition. Names are unique, so that nobody else writes this key.
                if let Some(known) = self.known(key, file).await? {
                    return Ok(known);
                }
                let put = self.put(key, payload, file, PutMode::Overwrite).await;
                put.map(|()| Uploaded::New).map_err(|error| self.fault(&error))
            }
            Err(error) => Err(self.fault(&error)),
        }
    }

    async fn put(
        &self,
        key: &Key,
        payload: PutPayload,
        file: &Finished,
        mode: PutMode,
    ) -> object_store::Result<()> {
        let options = PutOptions { mode, attributes: attributes(file), ..PutOptions::default() };
        self.store.put_opts(key, payload, options).await.map(drop)
    }

    async fn parts(
        &self,
        key: &Key,
        file: &Finished,
        local: File,
        over: &impl AsyncFn(),
    ) -> Result<Uploaded, UploadFault> {
        if let Some(known) = until(self.known(key, file), over).await? {
            return Ok(known);
        }
        let options = PutMultipartOptions { attributes: attributes(file), ..PutMultipartOptions::default() };
        let begin = async {
            let begun = self.store.put_multipart_opts(key, options).await;
            begun.map_err(|error| self.fault(&error))
        };
        let upload = until(begin, over).await?;
        let send = async |upload: &mut Box<dyn MultipartUpload>| self.send_parts(upload, file, local).await;
        or_abort(upload, send, over).await.map(|()| Uploaded::New)
    }

    async fn send_parts(
        &self,
        upload: &mut Box<dyn MultipartUpload>,
        file: &Finished,
        mut local: File,
    ) -> Result<(), UploadFault> {
        let mut hasher = XxHash3_64::with_seed(0);
        let mut sent = 0;
        loop {
            let mut part = Vec::with_capacity(self.part as usize);
            let mut next = Read::by_ref(&mut local).take(self.part);
            next.read_to_end(&mut part).map_err(UploadFault::Local)?;
            if part.is_empty() {
                break;
            }
            sent += part.len() as u64;
            hasher.write(&part);
            upload.put_part(PutPayload::from(part)).await.map_err(|error| self.fault(&error))?;
        }
        if sent != file.bytes || hasher.finish() != file.checksum {
            return Err(UploadFault::Damaged);
        }
        upload.complete().await.map(drop).map_err(|error| self.fault(&error))
    }

    /// Whether the bucket has the file; none if it has nothing under its key. An object without our checksum may be
    /// anything, and a file of this machine may go once it is known: so it is not taken for ours.
    async fn known(&self, key: &Key, file: &Finished) -> Result<Option<Uploaded>, UploadFault> {
        let asked = self.store.get_opts(key, GetOptions { head: true, ..GetOptions::default() }).await;
        let found = match asked {
            Err(Error::NotFound { .. }) => {
                // That was the answer, and no trouble: it must not be told of a later one.
                self.trouble.take();
                return Ok(None);
            }
            found => found.map_err(|error| self.fault(&error))?,
        };
        let checksum = found.attributes.get(&Attribute::Metadata(CHECKSUM.into()));
        let is_same = checksum.is_some_and(|found| found.as_ref() == format!("{:016x}", file.checksum));
        if found.meta.size == file.bytes && is_same {
            Ok(Some(Uploaded::Known))
        } else {
            Err(UploadFault::Occupied)
        }
    }

    /// Whether a provider does not know what "only where it is not" means.
    fn knows_no_condition(&self, error: &Error) -> bool {
        matches!(error, Error::NotImplemented { .. })
            || self.trouble.status() == Some(StatusCode::NOT_IMPLEMENTED)
    }

    /// What is told of a failure: what the connection noted, else the library's words, masked and short.
    fn fault(&self, error: &Error) -> UploadFault {
        let told = self.trouble.take().map(|refusal| refusal.text);
        UploadFault::Bucket(told.unwrap_or_else(|| {
            let mut text = error.to_string();
            self.secrets.mask_in(&mut text);
            text.truncate(text.floor_char_boundary(300));
            text
        }))
    }
}

/// Goes on until it is over.
async fn until<T>(
    work: impl Future<Output = Result<T, UploadFault>>,
    over: &impl AsyncFn(),
) -> Result<T, UploadFault> {
    tokio::select! {
        biased;
        done = work => done,
        () = over() => Err(UploadFault::Over),
    }
}

/// Sends the parts of an upload. If that fails, or is over before, the upload is taken back, since parts that stay
/// cost money; the end waits only a moment for that. The reason for the failure matters more than whether it works.
async fn or_abort(
    mut upload: Box<dyn MultipartUpload>,
    send: impl AsyncFnOnce(&mut Box<dyn MultipartUpload>) -> Result<(), UploadFault>,
    over: &impl AsyncFn(),
) -> Result<(), UploadFault> {
    let outcome = until(send(&mut upload), over).await;
    if outcome.is_err() {
        let late = async {
            over().await;
            sleep(ABORT).await;
        };
        tokio::select! {
            biased;
            _ = upload.abort() => {}
            () = late => {}
        }
    }
    outcome
}

fn attributes(file: &Finished) -> Attributes {
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::ContentType, "application/vnd.apache.parquet".into());
    attributes.insert(Attribute::Metadata(CHECKSUM.into()), format!("{:016x}", file.checksum).into());
    attributes
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::Pin;
    use std::sync::atomic::{AtomicBool, Ordering};

    use object_store::memory::InMemory;
    use object_store::{ObjectStoreExt as _, PutResult, UploadPart};

    use super::*;
    use crate::clock::Clock;

    const PLACE: &str = "probes/date=2026-09-01/a.parquet";

    struct Case {
        folder: tempfile::TempDir,
        store: Arc<InMemory>,
        bucket: Bucket,
    }

    impl Case {
        fn new(part: u64) -> Self {
            let store = Arc::new(InMemory::new());
            let bucket = Bucket {
                store: Arc::clone(&store) as Arc<dyn ObjectStore>,
                address: BucketAddress::parse("s3://acme/x").unwrap(),
                trouble: Trouble::default(),
                secrets: SecretTexts::default(),
                part,
            };
            Self { folder: tempfile::tempdir().unwrap(), store, bucket }
        }

        fn file(&self, content: &[u8]) -> Finished {
            let path = self.folder.path().join(PLACE);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
            let checksum = XxHash3_64::oneshot(content);
            Finished { place: PLACE.to_owned(), checksum, bytes: content.len() as u64 }
        }

        async fn upload(&self, file: &Finished) -> Result<Uploaded, UploadFault> {
            self.bucket.upload(self.folder.path(), file, pending).await
        }

        async fn object(&self) -> Option<Vec<u8>> {
            let found = self.store.get(&Key::from(format!("x/{PLACE}"))).await.ok()?;
            Some(found.bytes().await.unwrap().to_vec())
        }
    }

    #[tokio::test]
    async fn a_key_is_written_once_in_one_piece_or_in_parts() {
        for part in [1_000, 7] {
            let case = Case::new(part);
            let file = case.file(b"PAR1 and then some bytes");
            assert_eq!(case.upload(&file).await.unwrap(), Uploaded::New);
            assert_eq!(case.object().await.unwrap(), b"PAR1 and then some bytes");
            assert_eq!(case.upload(&file).await.unwrap(), Uploaded::Known);
            let other = case.file(b"PAR1 and other bytes!!!!");
            assert!(matches!(case.upload(&other).await, Err(UploadFault::Occupied)), "{part}");
            let longer = case.file(b"PAR1 and then some bytes more");
            assert!(matches!(case.upload(&longer).await, Err(UploadFault::Occupied)), "{part}");
            assert_eq!(case.object().await.unwrap(), b"PAR1 and then some bytes");
        }
    }

    #[tokio::test]
    async fn what_is_damaged_or_gone_never_gets_there() {
        for part in [1_000, 7] {
            let case = Case::new(part);
            let file = case.file(b"PAR1 and then some bytes");
            case.file(b"PAR1 and then some BYTES");
            assert!(matches!(case.upload(&file).await, Err(UploadFault::Damaged)), "{part}");
            case.file(b"PAR1 and then");
            assert!(matches!(case.upload(&file).await, Err(UploadFault::Damaged)), "{part}");
            std::fs::remove_file(case.folder.path().join(PLACE)).unwrap();
            assert!(matches!(case.upload(&file).await, Err(UploadFault::Gone)), "{part}");
            assert_eq!(case.object().await, None, "{part}");
        }
    }

    #[tokio::test]
    async fn an_object_without_our_checksum_is_not_taken_for_the_file() {
        for part in [1_000, 7] {
            let case = Case::new(part);
            let file = case.file(b"PAR1 and then some bytes");
            let payload = PutPayload::from_static(b"another 24 bytes of them");
            case.store.put(&Key::from(format!("x/{PLACE}")), payload).await.unwrap();
            assert!(matches!(case.upload(&file).await, Err(UploadFault::Occupied)), "{part}");
        }
    }

    #[tokio::test]
    async fn that_a_key_is_free_is_not_told_of_a_later_failure() {
        let case = Case::new(7);
        let file = case.file(b"PAR1 and then some bytes");
        case.bucket.trouble.is("it answered 404".to_owned(), Some(StatusCode::NOT_FOUND));
        assert_eq!(case.bucket.known(&Key::from("free"), &file).await.unwrap(), None);
        assert!(case.bucket.trouble.take().is_none());
    }

    #[test]
    fn what_this_machine_is_short_of_may_be_there_later() {
        let fault = |errno: Errno| UploadFault::Local(errno.into());
        assert!(fault(Errno::MFILE).may_pass());
        assert!(!fault(Errno::IO).may_pass());
        assert!(!UploadFault::Damaged.may_pass());
    }

    /// An upload whose parts never get there.
    #[derive(Debug)]
    struct Stuck {
        is_aborted: Arc<AtomicBool>,
        hangs: bool,
    }

    type Boxed<'a, T> = Pin<Box<dyn Future<Output = object_store::Result<T>> + Send + 'a>>;

    impl MultipartUpload for Stuck {
        fn put_part(&mut self, _: PutPayload) -> UploadPart {
            Box::pin(pending())
        }

        fn complete<'a, 'b>(&'a mut self) -> Boxed<'b, PutResult>
        where
            'a: 'b,
            Self: 'b,
        {
            Box::pin(pending())
        }

        fn abort<'a, 'b>(&'a mut self) -> Boxed<'b, ()>
        where
            'a: 'b,
            Self: 'b,
        {
            self.is_aborted.store(true, Ordering::Release);
            if self.hangs { Box::pin(pending()) } else { Box::pin(ready(Ok(()))) }
        }
    }

    #[tokio::test]
    async fn an_upload_in_parts_is_taken_back_at_the_end_which_does_not_wait_for_long() {
        for hangs in [false, true] {
            let is_aborted = Arc::<AtomicBool>::default();
            let upload = Box::new(Stuck { is_aborted: Arc::clone(&is_aborted), hangs });
            let send = async |upload: &mut Box<dyn MultipartUpload>| {
                upload
                    .put_part(PutPayload::new())
                    .await
                    .map_err(|error| UploadFault::Bucket(error.to_string()))
            };
            let (clock, begun) = (Clock::system(), Clock::system().now());
            let outcome = or_abort(upload, send, &async || sleep(Duration::from_millis(10)).await).await;
            assert!(matches!(outcome, Err(UploadFault::Over)));
            assert!(is_aborted.load(Ordering::Acquire));
            assert!(clock.now() < begun + Duration::from_secs(10));
        }
    }
}
