//! One thing probed.

use std::sync::Arc;
use std::time::Duration;

/// Labels of a target, sorted by name. Shared between targets that have the same ones.
pub type Labels = Arc<[(Arc<str>, Arc<str>)]>;

/// One thing probed. Its identity is its pipeline and its name.
///
/// A runner may hold a million of these: every text is shared, nothing is parsed ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The name; the URL where the source gave none.
    pub name: Arc<str>,
    /// A valid `http` or `https` URL without user information, as the `url` crate serialises it.
    pub url: Arc<str>,
    /// Labels, sorted by name.
    pub labels: Labels,
    /// How often, where the target has an interval of its own.
    pub every: Option<Duration>,
}

impl Target {
    /// The value of one label.
    pub fn label(&self, name: &str) -> Option<&str> {
        let found = self.labels.binary_search_by(|(key, _)| key.as_ref().cmp(name)).ok()?;
        Some(self.labels[found].1.as_ref())
    }
}
