//! New items that are probed for a while: until when, in memory and in a file, so that a restart goes on with them.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::seen::replace;
use crate::clock::UnixNanos;
use crate::config::read_input;
use crate::model::Target;
use crate::source::MAX_ITEMS;

/// A file beyond this is none of ours.
const LONGEST_FILE: u64 = 1 << 30;

/// A target, and until when it is probed.
#[derive(Debug, Clone)]
struct KeptTarget {
    target: Arc<Target>,
    until: UnixNanos,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct LineText {
    until: i64,
    name: Arc<str>,
    url: Arc<str>,
    labels: Vec<(Arc<str>, Arc<str>)>,
}

/// The targets that are probed for a while.
#[derive(Default)]
pub(super) struct Kept {
    /// In the order in which they came.
    list: Vec<KeptTarget>,
    path: Option<PathBuf>,
}

impl Kept {
    /// Reads the file; lines that are none of ours are passed over. Blocks.
    pub(super) fn open(path: Option<&Path>) -> Self {
        let bytes = path.and_then(|path| read_input(path, LONGEST_FILE).ok()).unwrap_or_default();
        let lines = bytes.split(|byte| *byte == b'\n');
        let list = lines.filter_map(|line| serde_json::from_slice::<LineText>(line).ok()).map(kept).collect();
        Self { list, path: path.map(Path::to_owned) }
    }

    /// The targets, in the order in which they came.
    pub(super) fn targets(&self) -> Vec<Arc<Target>> {
        self.list.iter().map(|kept| Arc::clone(&kept.target)).collect()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Adds targets. One that is there already stays for longer; one whose name another has is named by its URL.
    /// Where there are too many, the oldest make room.
    pub(super) fn add(&mut self, targets: impl IntoIterator<Item = Arc<Target>>, until: UnixNanos) {
        let mut names: HashMap<Arc<str>, usize> =
            self.list.iter().enumerate().map(|(at, kept)| (Arc::clone(&kept.target.name), at)).collect();
        for target in targets {
            let mut target = target;
            if names.get(&target.name).is_some_and(|at| self.list[*at].target.url != target.url) {
                target = Arc::new(Target { name: Arc::clone(&target.url), ..(*target).clone() });
            }
            match names.get(&target.name) {
                Some(at) => self.list[*at].until = until,
                None => {
                    names.insert(Arc::clone(&target.name), self.list.len());
                    self.list.push(KeptTarget { target, until });
                }
            }
        }
        self.list.drain(..self.list.len().saturating_sub(MAX_ITEMS));
    }

    /// Drops those whose time is over; whether there were any.
    pub(super) fn expire(&mut self, now: UnixNanos) -> bool {
        let before = self.list.len();
        self.list.retain(|kept| kept.until > now);
        self.list.len() < before
    }

    /// How long it is until the next one's time is over.
    pub(super) fn next_end(&self, now: UnixNanos) -> Option<Duration> {
        let next = self.list.iter().map(|kept| kept.until).min()?;
        Some(Duration::from_nanos(u64::try_from(next.0.saturating_sub(now.0)).unwrap_or(0)))
    }

    /// Writes the file.
    pub(super) async fn write(&self) -> io::Result<()> {
        let Some(path) = self.path.clone() else { return Ok(()) };
        let mut bytes = Vec::new();
        for KeptTarget { target, until } in &self.list {
            let line = LineText {
                until: until.0,
                name: Arc::clone(&target.name),
                url: Arc::clone(&target.url),
                labels: target.labels.to_vec(),
            };
            serde_json::to_writer(&mut bytes, &line).map_err(io::Error::other)?;
            bytes.push(b'\n');
        }
        let written = tokio::task::spawn_blocking(move || replace(&path, &bytes)).await;
        written.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

fn kept(line: LineText) -> KeptTarget {
    let LineText { until, name, url, labels } = line;
    let target = Target { name, url, labels: labels.into(), every: None };
    KeptTarget { target: Arc::new(target), until: UnixNanos(until) }
}
