//! Changes that are not on the disk yet. A pure structure: it knows no disk, no thread and no time.
//!
//! New changes gather in `fresh`. To be written, all of them take off together and stay readable until
//! they have landed; if the disk refuses, they come back, below what has changed since.

use std::collections::HashMap;
use std::sync::Arc;

use super::{MEMORY_BYTES, PLACE_BYTES, StateEntries, StateKey, held_bytes};

/// What happens to the state of one check for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// It is this now.
    Keep(Arc<StateEntries>),
    /// There is none any more.
    Forget,
    /// It was read: the day of its last use is written again. Where its record is damaged, that is
    /// removed.
    Touch,
}

/// Changes by their owner.
pub(super) type Changes = HashMap<StateKey, Change>;

/// Changes that are not on the disk yet, at most [`MEMORY_BYTES`] of them.
#[derive(Debug, Default)]
pub(super) struct Pending {
    fresh: Changes,
    /// Being written.
    flying: Arc<Changes>,
    fresh_bytes: usize,
    flying_bytes: usize,
}

impl Pending {
    /// What a check remembers, as far as that is not on the disk yet: none means that the disk knows.
    pub(super) fn find(&self, key: &StateKey) -> Option<Arc<StateEntries>> {
        let told = |changes: &Changes| match changes.get(key)? {
            Change::Keep(entries) => Some(Arc::clone(entries)),
            Change::Forget => Some(Arc::default()),
            Change::Touch => None,
        };
        told(&self.fresh).or_else(|| told(&self.flying))
    }

    /// Takes a change; false where there is no room for it.
    pub(super) fn put(&mut self, key: &StateKey, change: Change) -> bool {
        let before = self.fresh.get(key);
        if change == Change::Touch && before.is_some() {
            // Whatever is written there says the day as well.
            return true;
        }
        let freed = before.map_or(0, |before| bytes(key, before));
        let added = bytes(key, &change);
        if self.bytes() - freed + added > MEMORY_BYTES {
            return false;
        }
        self.fresh_bytes = self.fresh_bytes - freed + added;
        self.fresh.insert(key.clone(), change);
        true
    }

    /// All fresh changes, to be written. They stay readable here until [`landed`](Self::landed).
    pub(super) fn take_off(&mut self) -> Arc<Changes> {
        debug_assert!(self.flying.is_empty(), "one flight at a time");
        self.flying = Arc::new(std::mem::take(&mut self.fresh));
        self.flying_bytes = std::mem::take(&mut self.fresh_bytes);
        Arc::clone(&self.flying)
    }

    /// They are on the disk.
    pub(super) fn landed(&mut self) {
        self.flying = Arc::default();
        self.flying_bytes = 0;
    }

    /// They are not: they are fresh again, except where there is something newer.
    pub(super) fn came_back(&mut self) {
        let flown = std::mem::take(&mut self.flying);
        self.flying_bytes = 0;
        for (key, change) in Arc::unwrap_or_clone(flown) {
            let newer = self.fresh.get(&key);
            if newer.is_none_or(|newer| *newer == Change::Touch) {
                let freed = newer.map_or(0, |newer| bytes(&key, newer));
                self.fresh_bytes = self.fresh_bytes - freed + bytes(&key, &change);
                self.fresh.insert(key, change);
            }
        }
    }

    /// Whether there is anything to write.
    pub(super) fn is_dirty(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Changes that are not on the disk.
    pub(super) fn count(&self) -> usize {
        self.fresh.len() + self.flying.len()
    }

    /// The memory that they take, about.
    pub(super) fn bytes(&self) -> usize {
        self.fresh_bytes + self.flying_bytes
    }
}

fn bytes(key: &StateKey, change: &Change) -> usize {
    match change {
        Change::Keep(entries) => held_bytes(key, entries),
        Change::Forget | Change::Touch => {
            PLACE_BYTES + key.pipeline.len() + key.target.len() + key.check.len()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn key(number: u8) -> StateKey {
        StateKey { pipeline: "p".into(), target: number.to_string().into(), check: "c".into() }
    }

    fn keep(value: u8) -> Change {
        Change::Keep(Arc::new(StateEntries::from([("k".to_owned(), vec![value; value.into()])])))
    }

    #[derive(Debug, Clone)]
    enum Step {
        Put(u8, u8),
        Forget(u8),
        Touch(u8),
        /// Whether the flight lands, and what changes while it is on its way.
        Fly(bool, Vec<(u8, u8)>),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..5_u8, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
            1 => (0..5_u8).prop_map(Step::Forget),
            1 => (0..5_u8).prop_map(Step::Touch),
            2 => (any::<bool>(), prop::collection::vec((0..5_u8, any::<u8>()), 0..4))
                .prop_map(|(lands, meanwhile)| Step::Fly(lands, meanwhile)),
        ]
    }

    /// What a disk would make of a flight.
    fn write(disk: &mut HashMap<StateKey, Arc<StateEntries>>, changes: &Changes) {
        for (key, change) in changes {
            match change {
                Change::Keep(entries) => drop(disk.insert(key.clone(), Arc::clone(entries))),
                Change::Forget => drop(disk.remove(key)),
                Change::Touch => {}
            }
        }
    }

    proptest! {
        #[test]
        fn pending_over_the_disk_is_what_was_put_last(steps in prop::collection::vec(step(), 0..40)) {
            let mut pending = Pending::default();
            let mut disk = HashMap::new();
            let mut model: HashMap<StateKey, Change> = HashMap::new();
            for step in steps {
                match step {
                    Step::Put(number, value) => {
                        prop_assert!(pending.put(&key(number), keep(value)));
                        model.insert(key(number), keep(value));
                    }
                    Step::Forget(number) => {
                        prop_assert!(pending.put(&key(number), Change::Forget));
                        model.insert(key(number), Change::Forget);
                    }
                    Step::Touch(number) => prop_assert!(pending.put(&key(number), Change::Touch)),
                    Step::Fly(lands, meanwhile) => {
                        let changes = pending.take_off();
                        prop_assert!(!pending.is_dirty());
                        for (number, value) in meanwhile {
                            prop_assert!(pending.put(&key(number), keep(value)));
                            model.insert(key(number), keep(value));
                        }
                        if lands {
                            write(&mut disk, &changes);
                            pending.landed();
                        } else {
                            drop(changes);
                            pending.came_back();
                        }
                    }
                }
                for number in 0..5 {
                    let seen = pending.find(&key(number)).or_else(|| disk.get(&key(number)).cloned());
                    let expected = match model.get(&key(number)) {
                        Some(Change::Keep(entries)) => Arc::clone(entries),
                        _ => Arc::default(),
                    };
                    prop_assert_eq!(seen.unwrap_or_default(), expected);
                }
                let fresh: usize = pending.fresh.iter().map(|(key, change)| bytes(key, change)).sum();
                prop_assert_eq!(pending.bytes(), fresh);
            }
        }
    }

    #[test]
    fn what_flies_takes_room_too() {
        let mut pending = Pending::default();
        let half =
            || Change::Keep(Arc::new(StateEntries::from([(String::new(), vec![0; MEMORY_BYTES / 2])])));
        assert!(pending.put(&key(1), half()));
        let flight = pending.take_off();
        assert!(!pending.put(&key(2), half()));
        assert_eq!((pending.count(), flight.len()), (1, 1));
        drop(flight);
        pending.landed();
        assert!(pending.put(&key(2), half()));
    }
}
