//! Shares equal texts and label sets: a million targets of one team carry one `team = "core"`.

use std::collections::HashSet;
use std::sync::Arc;

use crate::model::Labels;

/// Texts and label sets seen so far. Dropped after loading; what it gave out lives on.
#[derive(Debug, Default)]
pub(super) struct Interner {
    texts: HashSet<Arc<str>>,
    sets: HashSet<Labels>,
    /// Scratch, so that a known set costs no allocation.
    pairs: Vec<(Arc<str>, Arc<str>)>,
}

impl Interner {
    /// The labels as one shared set, sorted by name.
    pub(super) fn labels(&mut self, labels: &[(String, String)]) -> Labels {
        let mut pairs = std::mem::take(&mut self.pairs);
        pairs.clear();
        pairs.extend(labels.iter().map(|(name, value)| (self.text(name), self.text(value))));
        pairs.sort_unstable();
        let set = if let Some(known) = self.sets.get(pairs.as_slice()) {
            Arc::clone(known)
        } else {
            let set: Labels = Arc::from(pairs.as_slice());
            self.sets.insert(Arc::clone(&set));
            set
        };
        self.pairs = pairs;
        set
    }

    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(text);
        self.texts.insert(Arc::clone(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn equal_sets_are_one_whatever_their_order() {
        let mut interner = Interner::default();
        let first = interner.labels(&pairs(&[("team", "core"), ("region", "eu")]));
        let second = interner.labels(&pairs(&[("region", "eu"), ("team", "core")]));
        let other = interner.labels(&pairs(&[("region", "us"), ("team", "core")]));
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(first[0].0.as_ref(), "region");
        assert_ne!(first, other);
        assert!(Arc::ptr_eq(&first[1].1, &other[1].1), "a value is shared between sets");
    }

    #[test]
    fn no_labels_are_one_empty_set() {
        let mut interner = Interner::default();
        assert!(Arc::ptr_eq(&interner.labels(&[]), &interner.labels(&[])));
    }
}
