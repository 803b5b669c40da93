//! The files that a pipeline is made from: whoever follows changes looks at these.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Files and folders, noted while a pipeline is built; those that could not be read among them, since a
/// pipeline becomes right when they come.
#[derive(Debug, Default)]
pub(super) struct Inputs(RefCell<BTreeSet<PathBuf>>);

impl Inputs {
    /// Notes a file or folder.
    pub(super) fn note(&self, path: &Path) {
        self.0.borrow_mut().insert(path.to_owned());
    }

    /// All of them.
    pub(super) fn into_paths(self) -> Vec<PathBuf> {
        self.0.into_inner().into_iter().collect()
    }
}
