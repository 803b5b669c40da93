//! The file that state is kept in: a redb database, `state/<runner>/checks/state.redb`.
//!
//! Every write is one transaction that is on the disk when it returns, so that after a kill at any moment
//! the file holds the last write that returned, or one that was about to. A file is checked whole when it
//! is opened; one that is no good is put aside, never deleted.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::StateKey;
use super::pending::{Change, Changes};
use super::record::{self, Day, Record};
use crate::clock::UnixNanos;

/// A record for each (pipeline, target, check).
const RECORDS: TableDefinition<(&str, &str, &str), &[u8]> = TableDefinition::new("records");
/// Numbers about the file, by the names below.
const META: TableDefinition<&str, i64> = TableDefinition::new("meta");
/// The form of the file.
const FORMAT: &str = "format";
/// The present form.
const FORMAT_VERSION: i64 = 1;
/// The last day on which anything was written.
const LAST_DAY: &str = "last_day";
/// Bytes of names and records.
const BYTES: &str = "bytes";

/// Days of the runner's work after which a record that nobody has read or written is forgotten.
const FORGOTTEN_AFTER_DAYS: Day = 30;
/// A record's day of last use is written again when it is this old.
const TOUCHED_AFTER_DAYS: Day = 7;
/// What the database may keep in memory. The kernel caches the file besides.
const CACHE_BYTES: usize = 16 << 20;
/// State tells what somebody's pages look like: the owner alone reads it.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// Quarantine is shared with the journals, which the group may read.
const QUARANTINE_MODE: u32 = 0o750;
/// Records that one sweep looks at, and bytes after which it pauses: some milliseconds.
const SWEEP_RECORDS: usize = 1_000;
const SWEEP_BYTES: usize = 4 << 20;

/// Why the disk did not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiskError {
    /// What is in the file cannot be used, now or later.
    #[error("{0}")]
    Unusable(&'static str),
    /// Another process has the file open.
    #[error("another process has it open")]
    Busy,
    /// The operating system refused.
    #[error("{0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for DiskError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<redb::Error> for DiskError {
    fn from(error: redb::Error) -> Self {
        // The engine's own words are for whoever looks for the cause.
        tracing::debug!(%error, "the file of the state of checks");
        match error {
            redb::Error::Io(error) if is_of_content(&error) => Self::Unusable("it is no state of checks"),
            redb::Error::Io(error) => Self::Io(error),
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => {
                Self::Io(io::Error::other("an earlier operation failed"))
            }
            redb::Error::Unsupported | redb::Error::Backend(_) => {
                Self::Io(io::Error::from(io::ErrorKind::Unsupported))
            }
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Self::Busy,
            redb::Error::TableDoesNotExist(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::UpgradeRequired(_) => Self::Unusable("it is no state of checks"),
            _ => Self::Unusable("it is damaged"),
        }
    }
}

/// Whether an I/O error tells of what is in a file: no database, or cut short.
fn is_of_content(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// Where the file lies, and where one that cannot be used is put.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
    quarantine: PathBuf,
}

impl Place {
    /// In the state folder of a runner.
    pub(super) fn below(state: &Path) -> Self {
        Self { folder: state.join("checks"), quarantine: state.join("quarantine") }
    }

    /// The file.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.join("state.redb")
    }

    /// The file while it is made.
    fn new_file(&self) -> PathBuf {
        self.folder.join("state.redb.new")
    }

    /// Moves the file to quarantine under a name of its own.
    pub(super) fn put_aside(&self, now: UnixNanos) -> io::Result<PathBuf> {
        DirBuilder::new().recursive(true).mode(QUARANTINE_MODE).create(&self.quarantine)?;
        let moment = Timestamp::from_second(now.0.div_euclid(1_000_000_000)).unwrap_or(Timestamp::UNIX_EPOCH);
        let stem = format!("checks-{}", moment.strftime("%Y%m%dT%H%M%SZ"));
        let names = std::iter::once(format!("{stem}.redb"));
        let names = names.chain((2..1_000).map(|number| format!("{stem}-{number}.redb")));
        let mut free = names.map(|name| self.quarantine.join(name)).filter(|path| !path.exists());
        let path = free.next().ok_or(io::ErrorKind::AlreadyExists)?;
        fs::rename(self.file(), &path)?;
        for folder in [&self.quarantine, &self.folder] {
            File::open(folder)?.sync_all()?;
        }
        Ok(path)
    }
}

/// What a file is known by while it is open.
type Identity = (u64, u64);

fn identity(metadata: &fs::Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// What a read found.
#[derive(Debug)]
pub(super) enum Found {
    /// A record.
    Whole(Record),
    /// Something that is none: it is damaged.
    Damaged,
}

/// The file, open.
#[derive(Debug)]
pub(super) struct Disk {
    database: Database,
    path: PathBuf,
    identity: Identity,
    /// Records of a day before this one are forgotten.
    oldest: Day,
    bytes_at_open: u64,
}

impl Disk {
    /// Opens the file; none if there is none. Reads all of it.
    pub(super) fn open(place: &Place, today: Day) -> Result<Option<Self>, DiskError> {
        // What a kill left of a file that was being made.
        match fs::remove_file(place.new_file()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let path = place.file();
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let metadata = file.metadata()?;
        if metadata.len() == 0 {
            // The engine would begin a new database in it.
            return Err(DiskError::Unusable("it is empty"));
        }
        let database = open_database(file)?;
        let Numbers { format, bytes, last_day } = guarded(|| numbers(&database))?;
        match format {
            FORMAT_VERSION => {}
            newer if newer > FORMAT_VERSION => {
                return Err(DiskError::Unusable("a newer version of the program wrote it"));
            }
            _ => return Err(DiskError::Unusable("it is no state of checks")),
        }
        // The day of the last work counts, not today: whoever rests for a summer forgets nothing. And a
        // day in the future was written by a wrong clock.
        let reference = last_day.min(today);
        let identity = identity(&metadata);
        let oldest = reference.saturating_sub(FORGOTTEN_AFTER_DAYS);
        Ok(Some(Self { database, path, identity, oldest, bytes_at_open: bytes }))
    }

    /// Makes the file with what `old` holds and the changes on top of that; it has its name once all
    /// that is on the disk. A file of the name is replaced: whoever calls has put it aside.
    pub(super) fn create(
        place: &Place,
        old: Option<&Self>,
        changes: &Changes,
        today: Day,
    ) -> Result<Self, DiskError> {
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&place.folder)?;
        let path = place.new_file();
        let _ = fs::remove_file(&path);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).open(&path)?;
        let identity = identity(&file.metadata()?);
        let made = Self::fill(file, old, changes, today).and_then(|made| {
            fs::rename(&path, place.file())?;
            File::open(&place.folder)?.sync_all()?;
            Ok(made)
        });
        let (database, bytes_at_open) = made.inspect_err(|_| {
            // Half a file on a full disk takes room for nothing.
            let _ = fs::remove_file(&path);
        })?;
        let oldest = old.map_or(Day::MIN, |old| old.oldest);
        Ok(Self { database, path: place.file(), identity, oldest, bytes_at_open })
    }

    fn fill(
        file: File,
        old: Option<&Self>,
        changes: &Changes,
        today: Day,
    ) -> Result<(Database, u64), DiskError> {
        let database = open_database(file)?;
        let bytes = guarded(|| {
            let transaction = begin(&database)?;
            transaction.open_table(META)?.insert(FORMAT, FORMAT_VERSION)?;
            let mut added = 0;
            if let Some(old) = old {
                let mut records = transaction.open_table(RECORDS)?;
                for entry in old.database.begin_read()?.open_table(RECORDS)?.iter()? {
                    let (key, value) = entry?;
                    added += put(&mut records, key.value(), value.value())?;
                }
            }
            let bytes = apply(&transaction, changes, today, added)?;
            transaction.commit()?;
            Ok(bytes)
        })?;
        Ok((database, bytes))
    }

    /// What is remembered of a check's target.
    pub(super) fn read(&self, key: &StateKey) -> Result<Option<Found>, DiskError> {
        guarded(|| {
            let records = self.database.begin_read()?.open_table(RECORDS)?;
            let Some(bytes) = records.get(of(key))? else { return Ok(None) };
            let record = record::decode(key, bytes.value());
            Ok(match record {
                Some(record) if record.used < self.oldest => None,
                Some(record) => Some(Found::Whole(record)),
                None => Some(Found::Damaged),
            })
        })
    }

    /// Whether a record has to be told that it was used.
    pub(super) fn is_to_be_touched(record: &Record, today: Day) -> bool {
        record.used.abs_diff(today) >= TOUCHED_AFTER_DAYS.unsigned_abs()
    }

    /// Writes changes, all or none. They are on the disk when this returns; the bytes of names and
    /// records that the file holds then.
    pub(super) fn write(&self, changes: &Changes, today: Day) -> Result<u64, DiskError> {
        guarded(|| {
            let transaction = begin(&self.database)?;
            let bytes = apply(&transaction, changes, today, 0)?;
            transaction.commit()?;
            Ok(bytes)
        })
    }

    /// Looks at some records behind `after` and removes those that are forgotten or damaged. Returns the
    /// last one that it looked at, none at the end, and how many it removed.
    pub(super) fn sweep(&self, after: Option<&StateKey>) -> Result<(Option<StateKey>, u64), DiskError> {
        let (last, stale) = guarded(|| {
            let records = self.database.begin_read()?.open_table(RECORDS)?;
            let begin = after.map_or(Bound::Unbounded, |key| Bound::Excluded(of(key)));
            let (mut stale, mut count, mut bytes) = (Vec::new(), 0, 0);
            for entry in records.range::<(&str, &str, &str)>((begin, Bound::Unbounded))? {
                let (key, value) = entry?;
                let (pipeline, target, check) = key.value();
                let key = StateKey { pipeline: pipeline.into(), target: target.into(), check: check.into() };
                bytes += value.value().len();
                count += 1;
                if record::decode(&key, value.value()).is_none_or(|record| record.used < self.oldest) {
                    stale.push(key.clone());
                }
                if count >= SWEEP_RECORDS || bytes >= SWEEP_BYTES {
                    return Ok((Some(key), stale));
                }
            }
            Ok((None, stale))
        })?;
        if !stale.is_empty() {
            guarded(|| {
                let transaction = begin(&self.database)?;
                let mut removed = 0;
                for key in &stale {
                    removed += forget(&mut transaction.open_table(RECORDS)?, key)?;
                }
                add_bytes(&transaction, removed)?;
                Ok(transaction.commit()?)
            })?;
        }
        Ok((last, stale.len() as u64))
    }

    /// Bytes of names and records when it was opened.
    pub(super) fn bytes_at_open(&self) -> u64 {
        self.bytes_at_open
    }

    /// Whether the path still leads to this file.
    pub(super) fn is_in_place(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|metadata| identity(&metadata) == self.identity)
    }
}

/// Drops what holds a file, so that the file is closed.
pub(super) fn close<T>(holder: T) {
    // Nothing is left to be told: a file that was not closed well is repaired when it is opened.
    let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(holder)));
}

/// Lets the engine work on a file. It may panic over damage that it did not expect.
fn guarded<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, DiskError> {
    match panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(DiskError::from),
        Err(_panicked) => Err(DiskError::Unusable("it is damaged")),
    }
}

fn open_database(file: File) -> Result<Database, DiskError> {
    guarded(|| {
        let backend = FileBackend::new(file)?;
        Ok(Builder::new()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .create_with_backend(backend)?)
    })
}

/// Begins a transaction that is on the disk when it is committed, in two phases: what a plugin remembers
/// is its own choice, and must not be able to pass for a whole page.
fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

/// What a file says of itself.
struct Numbers {
    format: i64,
    bytes: u64,
    last_day: Day,
}

fn numbers(database: &Database) -> Result<Numbers, redb::Error> {
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(META)?;
    let number = |name| Ok::<_, redb::Error>(meta.get(name)?.map(|value| value.value()));
    let format = number(FORMAT)?.unwrap_or_default();
    if format == FORMAT_VERSION {
        // That it is there, and what it should be.
        transaction.open_table(RECORDS)?;
    }
    let bytes = number(BYTES)?.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default();
    let last_day = number(LAST_DAY)?.and_then(|day| Day::try_from(day).ok()).unwrap_or(Day::MIN);
    Ok(Numbers { format, bytes, last_day })
}

type Records<'a> = Table<'a, (&'static str, &'static str, &'static str), &'static [u8]>;

/// Applies changes; `added` bytes were written in this transaction before. Returns the bytes of names
/// and records that the file holds then.
fn apply(
    transaction: &WriteTransaction,
    changes: &Changes,
    today: Day,
    mut added: i64,
) -> Result<u64, redb::Error> {
    let mut records = transaction.open_table(RECORDS)?;
    // Neighbours lie on one page.
    let mut sorted: Vec<_> = changes.iter().collect();
    sorted.sort_unstable_by_key(|(key, _)| *key);
    for (key, change) in sorted {
        added += match change {
            Change::Keep(entries) => put(&mut records, of(key), &record::encode(key, today, entries))?,
            Change::Forget => forget(&mut records, key)?,
            Change::Touch => {
                let found = records.get(of(key))?.map(|bytes| record::decode(key, bytes.value()));
                match found {
                    Some(Some(record)) => {
                        put(&mut records, of(key), &record::encode(key, today, &record.entries))?
                    }
                    Some(None) => forget(&mut records, key)?,
                    None => 0,
                }
            }
        };
    }
    transaction.open_table(META)?.insert(LAST_DAY, i64::from(today))?;
    add_bytes(transaction, added)
}

/// Writes a record; tells by how many bytes the file's content grows.
fn put(records: &mut Records<'_>, key: (&str, &str, &str), bytes: &[u8]) -> Result<i64, redb::Error> {
    let before = records.insert(key, bytes)?.map(|before| before.value().len());
    Ok(match before {
        Some(before) => bytes.len() as i64 - before as i64,
        None => (bytes.len() + names_len(key)) as i64,
    })
}

/// Removes a record; tells by how many bytes the file's content grows, which is no more than nothing.
fn forget(records: &mut Records<'_>, key: &StateKey) -> Result<i64, redb::Error> {
    let removed = records.remove(of(key))?.map(|removed| removed.value().len());
    Ok(removed.map_or(0, |bytes| -((bytes + names_len(of(key))) as i64)))
}

/// Notes the bytes of the file's content.
fn add_bytes(transaction: &WriteTransaction, added: i64) -> Result<u64, redb::Error> {
    let mut meta = transaction.open_table(META)?;
    let before = meta.get(BYTES)?.map_or(0, |bytes| bytes.value());
    let bytes = before.saturating_add(added).max(0);
    meta.insert(BYTES, bytes)?;
    Ok(bytes as u64)
}

fn of(key: &StateKey) -> (&str, &str, &str) {
    (&key.pipeline, &key.target, &key.check)
}

fn names_len((pipeline, target, check): (&str, &str, &str)) -> usize {
    pipeline.len() + target.len() + check.len()
}

#[cfg(test)]
mod tests;
