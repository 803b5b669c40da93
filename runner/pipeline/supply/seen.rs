//! What a listing has shown before: in memory, and in a file that survives a kill at any moment.
//!
//! The file has a head and records of one length, each with its checksum: what an item is known again by (a part of
//! its SHA-256) and when it was last listed. Records are appended; a torn one at the end is cut off at the next
//! start, and a later record of an item counts more than an earlier one. When most records are outdated, the file is
//! written anew beside the old one, synced, and takes its place. Nothing is synced otherwise: what a power cut takes
//! is probed twice.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// How many items are remembered, besides those that the listing has now.
const MOST: usize = 200_000;
/// How long an item is remembered after the listing had it last, in seconds: 90 days.
const LONGEST: u32 = 90 * 86_400;
/// How old the written moment may become, in seconds: a day; so an item costs a record a day.
const STALE: u32 = 86_400;

const HEAD: &[u8; 8] = b"PRBSEEN1";
const KEY_BYTES: usize = 16;
/// Key, moment, checksum.
const RECORD_BYTES: usize = KEY_BYTES + 4 + 4;
/// A file with so many outdated records is left as it is.
const FEW: usize = 4_096;
/// A file beyond this is none of ours.
const LONGEST_FILE: u64 = 1 << 30;
/// For the owner and its group: whoever reads it learns nothing, whoever writes it silences probes.
const FILE_MODE: u32 = 0o640;

/// What an item is known again by.
pub(super) type Key = [u8; KEY_BYTES];

/// What the file has of an item: its key, and when it was listed last.
type Record = (Key, u32);

/// The key of an item's id.
pub(super) fn key_of(id: &str) -> Key {
    let digest = ring::digest::digest(&ring::digest::SHA256, id.as_bytes());
    let mut key = [0; KEY_BYTES];
    key.copy_from_slice(&digest.as_ref()[..KEY_BYTES]);
    key
}

/// An item that was seen; moments in seconds since the Unix epoch.
#[derive(Debug, Clone, Copy)]
struct Entry {
    listed: u32,
    /// The moment that the file has; 0 where it has none.
    written: u32,
}

/// How the file was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// There is none yet.
    Nothing,
    /// With what was seen.
    Memory,
    /// It could not be read, and was put aside.
    Damaged,
}

/// What was seen.
pub(super) struct Seen {
    entries: HashMap<Key, Entry>,
    file: Option<Arc<Mutex<SeenFile>>>,
}

impl Seen {
    /// Reads the file at `path`; without one, all is remembered in memory alone. Blocks.
    pub(super) fn open(path: Option<&Path>, now: u32) -> io::Result<(Self, Found)> {
        let Some(path) = path else {
            return Ok((Self::in_memory(), Found::Nothing));
        };
        let (file, records, found) = SeenFile::open(path)?;
        let mut entries = HashMap::with_capacity(records.len());
        for (key, listed) in records {
            entries.insert(key, Entry { listed, written: listed });
        }
        let mut seen = Self { entries, file: Some(Arc::new(Mutex::new(file))) };
        seen.prune(now, 0);
        Ok((seen, found))
    }

    /// Remembers nothing on disk.
    pub(super) fn in_memory() -> Self {
        Self { entries: HashMap::new(), file: None }
    }

    /// Whether the item is not known.
    pub(super) fn is_new(&self, key: &Key) -> bool {
        !self.entries.contains_key(key)
    }

    /// The item is on its way: not new any more, and not to be remembered on disk yet.
    pub(super) fn hand_over(&mut self, key: Key, now: u32) {
        self.entries.entry(key).or_insert(Entry { listed: now, written: 0 });
    }

    /// The item did not get through: it is new again.
    pub(super) fn take_back(&mut self, key: &Key) {
        if self.entries.get(key).is_some_and(|entry| entry.written == 0) {
            self.entries.remove(key);
        }
    }

    /// The listing has these now. Gives what should be written anew, because what is written grows old.
    pub(super) fn listed(&mut self, keys: &[Key], now: u32) -> Vec<Key> {
        let mut stale = Vec::new();
        for key in keys {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.listed = now;
                if entry.written > 0 && now.saturating_sub(entry.written) >= STALE {
                    stale.push(*key);
                }
            }
        }
        self.prune(now, keys.len());
        stale
    }

    /// Remembers these on disk.
    pub(super) async fn write(&mut self, keys: &[Key], now: u32) -> io::Result<()> {
        let now = now.max(1);
        for key in keys {
            let entry = self.entries.entry(*key).or_insert(Entry { listed: now, written: 0 });
            entry.listed = entry.listed.max(now);
            entry.written = entry.listed;
        }
        let Some(file) = self.file.clone() else { return Ok(()) };
        let records: Vec<_> =
            keys.iter().filter_map(|key| Some((*key, self.entries.get(key)?.written))).collect();
        let is_wanted_anew = {
            let file = lock(&file);
            file.log.is_none() || file.records > 2 * self.entries.len() + FEW
        };
        let whole = is_wanted_anew.then(|| {
            let known = self.entries.iter().filter(|(_, entry)| entry.written > 0);
            known.map(|(key, entry)| (*key, entry.written)).collect::<Vec<_>>()
        });
        let work = move || {
            let mut file = lock(&file);
            match whole {
                Some(whole) => file.write_anew(&whole),
                None => file.append(&records),
            }
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Forgets what is too old, and the oldest where there are too many.
    fn prune(&mut self, now: u32, listed: usize) {
        let is_young = |entry: &Entry| now.saturating_sub(entry.listed) <= LONGEST;
        self.entries.retain(|_, entry| is_young(entry));
        let beyond = self.entries.len().saturating_sub(MOST + listed);
        if beyond == 0 {
            return;
        }
        let mut oldest: Vec<(u32, Key)> =
            self.entries.iter().map(|(key, entry)| (entry.listed, *key)).collect();
        oldest.select_nth_unstable(beyond - 1);
        for (_, key) in &oldest[..beyond] {
            self.entries.remove(key);
        }
    }
}

/// A panic while it was held has left nothing half done in memory.
fn lock(file: &Mutex<SeenFile>) -> std::sync::MutexGuard<'_, SeenFile> {
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file.
struct SeenFile {
    path: PathBuf,
    /// None until there is a file to append to.
    log: Option<File>,
    /// Its length without what a failed write left.
    length: u64,
    records: usize,
}

impl SeenFile {
    fn open(path: &Path) -> io::Result<(Self, Vec<Record>, Found)> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut made = Self { path: path.to_owned(), log: None, length: 0, records: 0 };
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(file) => file.take(LONGEST_FILE + 1).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((made, Vec::new(), Found::Nothing));
            }
            Err(error) => return Err(error),
        };
        let Some(body) = bytes.strip_prefix(HEAD).filter(|body| body.len() as u64 <= LONGEST_FILE) else {
            fs::rename(path, path.with_extension("damaged"))?;
            return Ok((made, Vec::new(), Found::Damaged));
        };
        let records: Vec<_> = body.chunks_exact(RECORD_BYTES).filter_map(read_record).collect();
        made.records = body.len() / RECORD_BYTES;
        made.length = (HEAD.len() + made.records * RECORD_BYTES) as u64;
        let log = OpenOptions::new().append(true).open(path)?;
        // A torn record would put all that follow out of step.
        log.set_len(made.length)?;
        made.log = Some(log);
        Ok((made, records, Found::Memory))
    }

    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let Some(log) = &mut self.log else { return self.write_anew(records) };
        if records.is_empty() {
            return Ok(());
        }
        let bytes = bytes_of(records);
        if let Err(error) = log.write_all(&bytes) {
            // Without the torn record; where even that fails, the file is written anew the next time.
            if log.set_len(self.length).is_err() {
                self.log = None;
            }
            return Err(error);
        }
        self.length += bytes.len() as u64;
        self.records += records.len();
        Ok(())
    }

    fn write_anew(&mut self, records: &[Record]) -> io::Result<()> {
        let bytes = [HEAD.as_slice(), &bytes_of(records)].concat();
        self.log = None;
        replace(&self.path, &bytes)?;
        self.log = Some(OpenOptions::new().append(true).open(&self.path)?);
        (self.length, self.records) = (bytes.len() as u64, records.len());
        Ok(())
    }
}

/// Puts a file in the place of another: whoever looks sees the old one or the new one, whole.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn bytes_of(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(records.len() * RECORD_BYTES);
    for (key, moment) in records {
        let begin = bytes.len();
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(&moment.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[begin..]);
        bytes.extend_from_slice(&checksum.to_le_bytes());
    }
    bytes
}

fn read_record(bytes: &[u8]) -> Option<(Key, u32)> {
    let (content, checksum) = bytes.split_at_checked(RECORD_BYTES - 4)?;
    if crc32c::crc32c(content).to_le_bytes() != *checksum {
        return None;
    }
    let (key, moment) = content.split_at_checked(KEY_BYTES)?;
    Some((key.try_into().ok()?, u32::from_le_bytes(moment.try_into().ok()?)))
}

#[cfg(test)]
mod tests;
