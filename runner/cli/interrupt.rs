//! Signals: the first asks for the end, the second for the end at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use super::Exit;
use crate::pipeline::{StopLevel, StopSwitch};
use crate::reload::Ask;
use crate::telemetry::spawn;

/// Listens to SIGTERM and Ctrl-C, and raises the switch; to SIGHUP, and asks for a reload.
pub(super) struct Interrupts {
    second: Arc<AtomicU8>,
    listener: JoinHandle<()>,
    reloads: Option<JoinHandle<()>>,
}

impl Interrupts {
    /// Begins to listen; from now on neither signal ends the process by itself.
    /// SIGHUP has its usual meaning where nothing can be reloaded.
    pub(super) fn listen(switch: Arc<StopSwitch>, ask: Option<Ask>) -> std::io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let reloads = match ask {
            Some(ask) => Some((signal(SignalKind::hangup())?, ask)),
            None => None,
        };
        let reloads = reloads.map(|(mut hangup, ask)| {
            spawn("reload-signal", async move {
                while hangup.recv().await.is_some() {
                    ask.now();
                }
            })
        });
        let second = Arc::new(AtomicU8::new(0));
        let told = Arc::clone(&second);
        let listener = spawn("signals", async move {
            let mut count = 0;
            loop {
                let exit = tokio::select! {
                    _ = terminate.recv() => Exit::Terminated,
                    _ = interrupt.recv() => Exit::Interrupted,
                };
                count += 1;
                if count == 1 {
                    switch.raise(StopLevel::Drain);
                    tracing::info!(
                        "stopping: probes in flight may finish; a second signal seals what is done at once"
                    );
                } else {
                    told.store(exit.code(), Ordering::Relaxed);
                    switch.raise(StopLevel::Now);
                }
            }
        });
        Ok(Self { second, listener, reloads })
    }

    /// How the program ends by the signals: by the second one, if there was one.
    pub(super) fn exit(&self) -> Option<Exit> {
        let code = self.second.load(Ordering::Relaxed);
        [Exit::Terminated, Exit::Interrupted].into_iter().find(|exit| exit.code() == code)
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.listener.abort();
        self.reloads.iter().for_each(JoinHandle::abort);
    }
}
