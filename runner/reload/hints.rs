//! Hints that something changed: events of the folders that files lie in. They only make a look come
//! sooner; without any, looks come by the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// Listens to folders.
#[derive(Default)]
pub(super) struct Hints {
    watcher: Option<RecommendedWatcher>,
    /// The folders that are listened to, and which ones they were: a folder that was made anew is another.
    folders: BTreeMap<PathBuf, (u64, u64)>,
    heard: Arc<Notify>,
}

impl Hints {
    /// Listens to no folder so far. Where the system gives no events, that is told, and there are no hints.
    pub(super) fn listen() -> Self {
        let heard = Arc::new(Notify::new());
        let tell = Arc::clone(&heard);
        // What happened and where does not matter, nor does it where events were lost: all is looked at.
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access() || is_close_after_write(&event)) {
                tell.notify_one();
            }
        });
        let mut hints = Self { watcher: None, folders: BTreeMap::new(), heard };
        match watcher {
            Ok(watcher) => hints.watcher = Some(watcher),
            Err(error) => hints.give_up(&error),
        }
        hints
    }

    /// No hints at all.
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// Whether there are hints.
    pub(super) fn is_listening(&self) -> bool {
        self.watcher.is_some()
    }

    /// Waits for a hint; for ever without any.
    pub(super) async fn heard(&self) {
        self.heard.notified().await;
    }

    /// Listens to the folders of these files and folders, and to no others.
    pub(super) fn follow<'a>(&mut self, paths: impl IntoIterator<Item = &'a PathBuf>) {
        if self.watcher.is_none() {
            return;
        }
        let mut wanted = BTreeSet::new();
        for path in paths {
            folders_of(path, &mut wanted);
        }
        let found: BTreeMap<PathBuf, (u64, u64)> =
            wanted.into_iter().filter_map(|folder| Some((folder.clone(), identity(&folder)?))).collect();
        let stale: Vec<_> =
            self.folders.iter().filter(|(folder, id)| found.get(*folder) != Some(id)).collect();
        for (folder, _) in stale {
            // One that is gone is not listened to any more anyway.
            let _ = self.watcher.as_mut().map(|watcher| watcher.unwatch(folder));
        }
        self.folders.retain(|folder, id| found.get(folder) == Some(id));
        for (folder, id) in found {
            if self.folders.contains_key(&folder) {
                continue;
            }
            let Some(watcher) = &mut self.watcher else { return };
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.folders.insert(folder, id);
                }
                Err(error) if matches!(error.kind, ErrorKind::PathNotFound) => {}
                Err(error) => {
                    self.give_up(&error);
                    return;
                }
            }
        }
    }

    fn give_up(&mut self, error: &notify::Error) {
        self.watcher = None;
        self.folders.clear();
        let why = match &error.kind {
            ErrorKind::MaxFilesWatch => "no more watches (sysctl fs.inotify.max_user_watches)".to_owned(),
            ErrorKind::Io(error) => error.to_string(),
            _ => "the system gives no events".to_owned(),
        };
        tracing::warn!(why, "files cannot be watched by events: they are looked at every second instead");
    }
}

/// Closing a file that was written to counts as access.
fn is_close_after_write(event: &notify::Event) -> bool {
    use notify::event::{AccessKind, AccessMode, EventKind};
    matches!(event.kind, EventKind::Access(AccessKind::Close(AccessMode::Write)))
}

/// The folders in which a change of the path would be heard: its own, that of what it links to, and for a
/// folder itself and the one above.
fn folders_of(path: &Path, out: &mut BTreeSet<PathBuf>) {
    let parent = |path: &Path| match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => path.to_owned(),
    };
    out.insert(parent(path));
    if path.is_dir() {
        out.insert(path.to_owned());
    }
    if let Ok(real) = fs::canonicalize(path) {
        out.insert(parent(&real));
    }
}

fn identity(folder: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(folder).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
