//! The thread that forces journals to the disk, so that a slow disk does not hold up writing.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use tracing::error;

use super::publish::sync_folder;
use crate::sink::SinkError;
use crate::sink::counters::{WriterCounters, add};

/// A journal to sync.
pub(crate) struct SyncRequest {
    pub(crate) file: Arc<File>,
    pub(crate) path: PathBuf,
    /// Whether its name may not be on the disk yet.
    pub(crate) is_new: bool,
    /// Set if the disk refuses: the kernel may have dropped the data and would say so only once, so
    /// the file is never synced again, and nothing more is entrusted to it.
    pub(crate) poisoned: Arc<AtomicBool>,
}

/// The syncing thread, seen by the writer.
pub(crate) struct Syncer {
    requests: Option<SyncSender<SyncRequest>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(crate) fn start(counters: Arc<WriterCounters>) -> Result<Self, SinkError> {
        let (requests, received) = sync_channel(4);
        let thread = thread::Builder::new()
            .name("sink-sync".to_owned())
            .spawn(move || run(&received, &counters))
            .map_err(SinkError::Thread)?;
        Ok(Self { requests: Some(requests), thread: Some(thread) })
    }

    /// Asks for a sync; gives the request back if the thread is still busy with earlier ones.
    pub(crate) fn request(&self, request: SyncRequest) -> Result<(), SyncRequest> {
        let Some(requests) = &self.requests else { return Err(request) };
        requests.try_send(request).map_err(|refused| match refused {
            TrySendError::Full(request) | TrySendError::Disconnected(request) => request,
        })
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell: a failure was counted.
            let _ = thread.join();
        }
    }
}

fn run(requests: &Receiver<SyncRequest>, counters: &WriterCounters) {
    for request in requests {
        if request.poisoned.load(Ordering::Acquire) {
            continue;
        }
        let synced = request.file.sync_data().map_err(SinkError::io("sync", &request.path));
        // A journal whose name is not on the disk is as good as none.
        let folder = request.path.parent().filter(|_| request.is_new);
        let listed = synced.and_then(|()| folder.map_or(Ok(()), sync_folder));
        if let Err(error) = listed {
            request.poisoned.store(true, Ordering::Release);
            add(&counters.fsync_errors, 1);
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            error!(%error, cause, "a journal could not be forced to the disk; it is closed and another one begun");
        }
    }
}
