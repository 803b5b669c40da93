//! What was compiled before: a folder of our own, of machine code under seals.
//!
//! Machine code is loaded without a further look, so nothing gets in here but what this program
//! compiled itself. The folder belongs to the runner's user and nobody else may look into it; every
//! file bears an HMAC (RFC 2104, SHA-256) over its name and its content, by a key that lies in the
//! folder. What does not fit is removed and compiled again.

use std::cmp::Reverse;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use ring::hmac;

use super::job::{Name, Product};
use crate::clock::{self, Clock};

/// Bytes of all files. A bundled check takes up to 2 MB, the Python interpreter 70.
const FOLDER_BYTES_MAX: u64 = 1 << 30;
/// The folder is looked over at the start, and whenever so many bytes were added.
const TIDY_AFTER_BYTES: u64 = 128 << 20;
/// What nobody has used for so long is removed.
const UNUSED_MAX: Duration = Duration::from_hours(30 * 24);
const FOLDER_MODE: u32 = 0o700;
/// Folders above it are for the owner and its group, as all of the state is.
const PARENT_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o600;
const KEY_FILE: &str = "key";
const KEY_BYTES: usize = 32;
const SEAL_BYTES: usize = 32;
const ENDING: &str = "machine-code";

/// Why a folder cannot be used for compiled plugins.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It cannot be made or read.
    #[error("it cannot be made or read")]
    Io(#[from] io::Error),
    /// It is not a folder of this user, or others may look into it.
    #[error("it has to be a folder of the runner's own user that nobody else can look into (mode 700)")]
    NotOurs,
}

/// Compiled plugins, by the name of what they were made of.
#[derive(Debug)]
pub struct CompileCache {
    folder: PathBuf,
    key: hmac::Key,
    clock: Clock,
    is_read_only: bool,
    /// Bytes added since the folder was looked over.
    added: AtomicU64,
}

impl CompileCache {
    /// Opens a folder, makes it where there is none, and removes what is too much or too old.
    pub fn open(folder: &Path, clock: &Clock) -> Result<Self, CacheError> {
        if let Some(parent) = folder.parent() {
            DirBuilder::new().recursive(true).mode(PARENT_MODE).create(parent)?;
        }
        match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
        let mut cache = Self::open_read_only(folder, clock)?;
        cache.is_read_only = false;
        cache.tidy();
        Ok(cache)
    }

    /// Opens a folder that is there, to read what it has.
    pub fn open_read_only(folder: &Path, clock: &Clock) -> Result<Self, CacheError> {
        let about = fs::symlink_metadata(folder)?;
        let is_ours =
            about.is_dir() && about.uid() == rustix::process::geteuid().as_raw() && is_private(about.mode());
        if !is_ours {
            return Err(CacheError::NotOurs);
        }
        let key = key(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            key,
            clock: clock.clone(),
            is_read_only: true,
            added: AtomicU64::new(0),
        })
    }

    /// What was made under this name, if its seal is whole.
    pub(super) fn get(&self, name: &Name) -> Option<Product> {
        let path = self.path(name);
        let mut file = open(&path).ok()?;
        let mut sealed = Vec::new();
        file.read_to_end(&mut sealed).ok()?;
        let code = self.unsealed(name, &sealed);
        if code.is_none() {
            tracing::warn!(
                path = %path.display(),
                "a compiled plugin is damaged or was changed: it is removed and compiled again"
            );
            self.remove(&path);
        }
        // Keeps it from being tidied away; where it does not work it is compiled once more.
        let _ = file.set_modified(self.now());
        code.map(Product)
    }

    /// Keeps what was made. Where that does not work, it is made again the next time.
    pub(super) fn put(&self, name: &Name, product: &Product) {
        if self.is_read_only {
            return;
        }
        let path = self.path(name);
        if let Err(error) = self.write(name, product, &path) {
            tracing::warn!(path = %path.display(), %error, "a compiled plugin cannot be kept");
        }
        let bytes = product.0.len() as u64;
        if self.added.fetch_add(bytes, Ordering::Relaxed) + bytes > TIDY_AFTER_BYTES {
            self.tidy();
        }
    }

    fn write(&self, name: &Name, Product(code): &Product, path: &Path) -> io::Result<()> {
        let aside = path.with_extension(format!("{}-{}", std::process::id(), "new"));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&aside)?;
        let written = file
            .write_all(self.seal(name, code).as_ref())
            .and_then(|()| file.write_all(code))
            .and_then(|()| fs::rename(&aside, path));
        if written.is_err() {
            self.remove(&aside);
        }
        written
    }

    fn seal(&self, name: &Name, code: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(name.bytes());
        context.update(code);
        context.sign()
    }

    fn unsealed(&self, name: &Name, sealed: &[u8]) -> Option<Vec<u8>> {
        let (seal, code) = sealed.split_at_checked(SEAL_BYTES)?;
        let mut named = name.bytes().to_vec();
        named.extend_from_slice(code);
        hmac::verify(&self.key, &named, seal).ok()?;
        named.drain(..name.bytes().len());
        Some(named)
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.folder.join(name.hex()).with_extension(ENDING)
    }

    fn remove(&self, path: &Path) {
        if !self.is_read_only {
            // What cannot be removed is refused again the next time.
            let _ = fs::remove_file(path);
        }
    }

    fn now(&self) -> SystemTime {
        let since = u64::try_from(self.clock.wall().0).unwrap_or_default();
        SystemTime::UNIX_EPOCH + Duration::from_nanos(since)
    }

    /// Removes what nobody has used for long, and the longest unused beyond the folder's size. What a
    /// killed process left half written goes the same way.
    fn tidy(&self) {
        self.added.store(0, Ordering::Relaxed);
        let mut files: Vec<(SystemTime, u64, PathBuf)> = fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let about = entry.metadata().ok()?;
                let is_code = entry.file_name() != KEY_FILE && about.is_file();
                Some((about.modified().ok()?, about.len(), entry.path())).filter(|_| is_code)
            })
            .collect();
        files.sort_by_key(|(used, ..)| Reverse(*used));
        let oldest = self.now() - UNUSED_MAX;
        let mut bytes = 0;
        for (used, len, path) in files {
            bytes += len;
            if used < oldest || bytes > FOLDER_BYTES_MAX {
                self.remove(&path);
            }
        }
    }
}

/// Whether neither the group nor anyone else has a right.
fn is_private(mode: u32) -> bool {
    mode.trailing_zeros() >= 6
}

/// The folder's key; made where there is none.
fn key(folder: &Path) -> io::Result<hmac::Key> {
    let path = folder.join(KEY_FILE);
    let bytes = match read_key(&path) {
        Ok(bytes) => bytes,
        Err(_) => {
            // Also one that was cut short: what it sealed is compiled again.
            let bytes = clock::new_secret()?;
            let aside = folder.join(format!("{KEY_FILE}-{}", std::process::id()));
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&aside)?;
            file.write_all(&bytes)?;
            fs::rename(&aside, &path)?;
            // Two processes may have made one: the one that lies there counts.
            read_key(&path)?
        }
    };
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

fn read_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let mut bytes = [0; KEY_BYTES];
    open(path)?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Opens a file of ours; never a link to somebody else's.
fn open(path: &Path) -> io::Result<fs::File> {
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(no_follow).open(path)
}
