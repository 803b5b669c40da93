//! What a check remembers, per (pipeline, target, check): staged while it runs, kept only when the
//! attempt turns out to be the one that counts.
//!
//! [`MemoryState`] lives as long as the process. [`FileState`] outlives it: changes wait in memory
//! (`pending`) for a thread (`file`) that writes them once a second into one file (`disk`), a record
//! for each check and target (`record`).

mod record;
mod pending;
mod disk;
mod file;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use file::{FileState, StateStats};

/// Bytes of keys and values of one check for one target.
pub(super) const QUOTA_BYTES: usize = 64 << 10;
/// Bytes that a store holds in memory in all: as much as it can have, or what the disk does not take.
const MEMORY_BYTES: usize = 256 << 20;
/// What holding one check's state costs besides its bytes, about: the maps' places, the reference
/// counts, an allocation each.
const PLACE_BYTES: usize = 256;
/// The same of one entry.
const ENTRY_BYTES: usize = 80;

/// Whose state it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateKey {
    /// The pipeline's name.
    pub pipeline: Arc<str>,
    /// The target's name.
    pub target: Arc<str>,
    /// The check's name.
    pub check: Arc<str>,
}

/// Everything that one check remembers of one target.
pub type StateEntries = BTreeMap<String, Vec<u8>>;

/// What is remembered cannot be read at present: the disk refuses. Nothing may be concluded from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what the check remembers of this target cannot be read")]
pub struct StateUnreadable;

/// Where state is kept.
pub trait StateStore: fmt::Debug + Send + Sync {
    /// What is remembered; empty where nothing is. Called on check threads: it may block for as long
    /// as a file read takes.
    fn load(&self, key: &StateKey) -> Result<Arc<StateEntries>, StateUnreadable>;

    /// Replaces what is remembered; empty means forget. False when there is no room for it. Called on
    /// I/O threads: it never waits for a disk.
    fn save(&self, key: &StateKey, entries: StateEntries) -> bool;
}

/// State that lives as long as the process, at most 256 MiB of it.
#[derive(Debug, Default)]
pub struct MemoryState {
    kept: Mutex<Kept>,
    room: Room,
}

#[derive(Debug, Default)]
struct Kept {
    entries: HashMap<StateKey, Arc<StateEntries>>,
    bytes: usize,
}

impl StateStore for MemoryState {
    fn load(&self, key: &StateKey) -> Result<Arc<StateEntries>, StateUnreadable> {
        Ok(lock(&self.kept).entries.get(key).cloned().unwrap_or_default())
    }

    fn save(&self, key: &StateKey, entries: StateEntries) -> bool {
        let mut kept = lock(&self.kept);
        let before = kept.entries.get(key).map_or(0, |entries| held_bytes(key, entries));
        let after = if entries.is_empty() { 0 } else { held_bytes(key, &entries) };
        let bytes = kept.bytes - before + after;
        if bytes > MEMORY_BYTES {
            self.room.refused(key);
            return false;
        }
        if bytes < MEMORY_BYTES / 2 {
            self.room.is_there_again();
        }
        if entries.is_empty() {
            kept.entries.remove(key);
        } else {
            kept.entries.insert(key.clone(), Arc::new(entries));
        }
        kept.bytes = bytes;
        true
    }
}

/// Tells once when a store is full, and counts what it did not take.
#[derive(Debug, Default)]
struct Room {
    is_told: AtomicBool,
    refused: AtomicU64,
}

impl Room {
    fn refused(&self, key: &StateKey) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let StateKey { pipeline, target, check } = key;
        tracing::debug!(%pipeline, %target, %check, "no room for the state of a check, its change is lost");
        if !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %pipeline, %target, %check,
                "no room for the state of checks: this change and others are lost until there is"
            );
        }
    }

    /// Half of it is free, so that the next refusal is told again. Not before: a store at its limit
    /// takes one change and refuses another all the time.
    fn is_there_again(&self) {
        if self.is_told.load(Ordering::Relaxed) {
            self.is_told.store(false, Ordering::Relaxed);
        }
    }
}

/// Bytes of keys and values: what the quota counts.
fn quota_bytes(entries: &StateEntries) -> usize {
    entries.iter().map(|(key, value)| key.len() + value.len()).sum()
}

/// Bytes of memory that holding it takes, about.
fn held_bytes(key: &StateKey, entries: &StateEntries) -> usize {
    let names = key.pipeline.len() + key.target.len() + key.check.len();
    PLACE_BYTES + names + quota_bytes(entries) + entries.len() * ENTRY_BYTES
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked while it held one of these has changed nothing halfway.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state of one check for one target, with the changes that one call has made.
#[derive(Debug)]
pub(super) struct Staged {
    store: Arc<dyn StateStore>,
    key: StateKey,
    /// What was remembered before the call; loaded when it is first asked for.
    before: Option<Arc<StateEntries>>,
    /// What it looks like now; none while nothing has changed.
    after: Option<StateEntries>,
    /// Bytes of it, as it looks now.
    bytes: usize,
    is_unreadable: bool,
}

impl Staged {
    /// The state under `key`, without changes.
    pub(super) fn new(store: &Arc<dyn StateStore>, key: StateKey) -> Self {
        Self { store: Arc::clone(store), key, before: None, after: None, bytes: 0, is_unreadable: false }
    }

    /// The value under a key.
    pub(super) fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        self.entries().get(key).cloned()
    }

    /// Sets a value; an error says that the quota is used up.
    pub(super) fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), String> {
        let entries = self.entries();
        let freed = entries.get(&key).map_or(0, |old| key.len() + old.len());
        let added = key.len().saturating_add(value.len());
        let bytes = (self.bytes - freed).saturating_add(added);
        if bytes > QUOTA_BYTES {
            return Err(format!(
                "the state of a check for one target may have {QUOTA_BYTES} bytes, this makes {bytes}"
            ));
        }
        self.changed().insert(key, value);
        self.bytes = bytes;
        Ok(())
    }

    /// Forgets a value.
    pub(super) fn delete(&mut self, key: &str) {
        if let Some(value) = self.entries().get(key) {
            self.bytes -= key.len() + value.len();
            self.changed().remove(key);
        }
    }

    /// What was remembered before the call; none if nobody looked.
    pub(super) fn before(&self) -> Option<Arc<StateEntries>> {
        self.before.clone()
    }

    /// Whether there is anything to keep.
    pub(super) fn is_changed(&self) -> bool {
        self.after.is_some()
    }

    /// Whether the check asked for what cannot be read: it saw nothing instead, and must not be
    /// believed.
    pub(super) fn is_unreadable(&self) -> bool {
        self.is_unreadable
    }

    /// Keeps the changes. Where there is no room for them, the store tells.
    pub(super) fn commit(self) {
        if let Some(after) = self.after {
            self.store.save(&self.key, after);
        }
    }

    fn entries(&mut self) -> &StateEntries {
        match &self.after {
            Some(after) => after,
            None => self.before.get_or_insert_with(|| {
                let before = self.store.load(&self.key).unwrap_or_else(|StateUnreadable| {
                    self.is_unreadable = true;
                    Arc::default()
                });
                self.bytes = quota_bytes(&before);
                before
            }),
        }
    }

    fn changed(&mut self) -> &mut StateEntries {
        let before = self.entries().clone();
        self.after.get_or_insert(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(check: &str) -> StateKey {
        StateKey { pipeline: "p".into(), target: "t".into(), check: check.into() }
    }

    fn staged(store: &Arc<MemoryState>) -> Staged {
        let store: Arc<dyn StateStore> = store.clone();
        Staged::new(&store, key("c"))
    }

    #[test]
    fn changes_are_seen_at_once_and_kept_at_commit() {
        let store = Arc::new(MemoryState::default());
        let mut first = staged(&store);
        assert!(!first.is_changed());
        first.set("k".into(), b"v".to_vec()).unwrap();
        assert_eq!(first.get("k").unwrap(), b"v");
        assert_eq!(staged(&store).get("k"), None);
        first.commit();

        let mut second = staged(&store);
        assert_eq!(second.get("k").unwrap(), b"v");
        second.delete("absent");
        assert!(!second.is_changed());
        second.delete("k");
        assert_eq!(second.get("k"), None);
        assert_eq!(staged(&store).get("k").unwrap(), b"v");
        second.commit();
        assert!(store.load(&key("c")).unwrap().is_empty());
        assert_eq!(store.kept.lock().unwrap().bytes, 0);
        assert!(store.kept.lock().unwrap().entries.is_empty());
    }

    #[test]
    fn the_quota_counts_keys_and_values_as_they_are_now() {
        let store = Arc::new(MemoryState::default());
        let mut state = staged(&store);
        state.set("a".into(), vec![0; QUOTA_BYTES - 1]).unwrap();
        assert!(state.set("b".into(), Vec::new()).is_err());
        // Replaced, not added.
        state.set("a".into(), vec![1; QUOTA_BYTES - 1]).unwrap();
        state.delete("a");
        state.set("b".into(), vec![0; QUOTA_BYTES - 1]).unwrap();
        state.commit();
        // What was kept before counts as well.
        assert!(staged(&store).set("a".into(), Vec::new()).is_err());
    }

    #[test]
    fn all_state_together_has_a_bound() {
        let store = MemoryState::default();
        let entries = StateEntries::from([("k".to_owned(), vec![0; MEMORY_BYTES / 2])]);
        assert!(store.save(&key("a"), entries.clone()));
        assert!(!store.save(&key("b"), entries.clone()));
        assert!(store.save(&key("a"), entries));
        assert!(store.load(&key("b")).unwrap().is_empty());
        assert_eq!(store.room.refused.load(Ordering::Relaxed), 1);
    }

    /// Cannot be read.
    #[derive(Debug)]
    struct Unreadable;

    impl StateStore for Unreadable {
        fn load(&self, _: &StateKey) -> Result<Arc<StateEntries>, StateUnreadable> {
            Err(StateUnreadable)
        }

        fn save(&self, _: &StateKey, _: StateEntries) -> bool {
            true
        }
    }

    #[test]
    fn whoever_saw_nothing_for_something_is_known() {
        let store: Arc<dyn StateStore> = Arc::new(Unreadable);
        let mut reading = Staged::new(&store, key("c"));
        assert!(!reading.is_unreadable());
        assert_eq!(reading.get("k"), None);
        assert!(reading.is_unreadable());
        let mut writing = Staged::new(&store, key("c"));
        writing.set("k".into(), Vec::new()).unwrap();
        assert!(writing.is_unreadable());
    }
}
