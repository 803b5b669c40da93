//! What a check remembers, per (pipeline, target, check): staged while it runs, kept only when the
//! attempt turns out to be the one that counts.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of keys and values of one check for one target.
pub(super) const QUOTA_BYTES: usize = 64 << 10;
/// Bytes of keys and values that [`MemoryState`] keeps in all.
const MEMORY_STATE_BYTES: usize = 256 << 20;

/// Whose state it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

/// Where state is kept. Called on check threads: an implementation may block for as long as a file
/// read takes.
pub trait StateStore: fmt::Debug + Send + Sync {
    /// What is remembered; empty where nothing is.
    fn load(&self, key: &StateKey) -> Arc<StateEntries>;

    /// Replaces what is remembered; empty means forget. False when there is no room for it.
    fn save(&self, key: &StateKey, entries: StateEntries) -> bool;
}

/// State that lives as long as the process, at most 256 MiB of it.
#[derive(Debug, Default)]
pub struct MemoryState {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: HashMap<StateKey, Arc<StateEntries>>,
    bytes: usize,
}

impl StateStore for MemoryState {
    fn load(&self, key: &StateKey) -> Arc<StateEntries> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entries.get(key).cloned().unwrap_or_default()
    }

    fn save(&self, key: &StateKey, entries: StateEntries) -> bool {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let before = kept.entries.get(key).map_or(0, |entries| bytes(entries));
        let after = kept.bytes - before + bytes(&entries);
        if after > MEMORY_STATE_BYTES {
            return false;
        }
        if entries.is_empty() {
            kept.entries.remove(key);
        } else {
            kept.entries.insert(key.clone(), Arc::new(entries));
        }
        kept.bytes = after;
        true
    }
}

fn bytes(entries: &StateEntries) -> usize {
    entries.iter().map(|(key, value)| key.len() + value.len()).sum()
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
}

impl Staged {
    /// The state under `key`, without changes.
    pub(super) fn new(store: &Arc<dyn StateStore>, key: StateKey) -> Self {
        Self { store: Arc::clone(store), key, before: None, after: None, bytes: 0 }
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

    /// Keeps the changes.
    pub(super) fn commit(self) {
        let Some(after) = self.after else { return };
        if !self.store.save(&self.key, after) {
            tracing::warn!(
                pipeline = &*self.key.pipeline,
                target = &*self.key.target,
                check = &*self.key.check,
                "no room for the state of a check, its changes are lost"
            );
        }
    }

    fn entries(&mut self) -> &StateEntries {
        match &self.after {
            Some(after) => after,
            None => self.before.get_or_insert_with(|| {
                let before = self.store.load(&self.key);
                self.bytes = bytes(&before);
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
        assert!(store.load(&key("c")).is_empty());
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
        let entries = StateEntries::from([("k".to_owned(), vec![0; MEMORY_STATE_BYTES / 2])]);
        assert!(store.save(&key("a"), entries.clone()));
        assert!(!store.save(&key("b"), entries.clone()));
        assert!(store.save(&key("a"), entries));
        assert!(store.load(&key("b")).is_empty());
    }
}
