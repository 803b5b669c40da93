//! When a writer has to be done: asked for once, brought forward by whoever asks again.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::clock::{Clock, Instant, UnixNanos};

/// Asks a writer to stop. Cheap to clone; works while somebody waits for
/// [`Writer::drained`](super::Writer::drained).
#[derive(Debug, Clone)]
pub struct StopSignal {
    deadline: Arc<watch::Sender<Option<Instant>>>,
}

impl StopSignal {
    pub(crate) fn new(clock: SinkClock) -> (Self, Stop) {
        let (deadline, receiver) = watch::channel(None);
        (Self { deadline: Arc::new(deadline) }, Stop { deadline: receiver, clock })
    }

    /// No more results are taken; those in the queue are written, files are sealed. What is not sealed
    /// by `deadline` stays in its journal. Of several deadlines the earliest counts.
    pub fn by(&self, deadline: Instant) {
        self.deadline.send_modify(|known| {
            *known = Some(known.map_or(deadline, |known| known.min(deadline)));
        });
    }

    /// Waits until the deadline is over by `slack`; for ever, if nobody asks to stop.
    pub(crate) async fn overdue(&self, slack: Duration) {
        let mut deadline = self.deadline.subscribe();
        loop {
            let known = *deadline.borrow_and_update();
            let over = async {
                match known {
                    Some(deadline) => sleep_until(deadline + slack).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = over => return,
                // This signal lives, so that it cannot fail.
                _ = deadline.changed() => {}
            }
        }
    }
}

/// The writer's side of a [`StopSignal`].
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    deadline: watch::Receiver<Option<Instant>>,
    clock: SinkClock,
}

impl Stop {
    /// Whether somebody has asked to stop.
    pub(crate) fn requested(&self) -> bool {
        self.deadline.borrow().is_some()
    }

    /// Whether the deadline is over.
    pub(crate) fn expired(&self) -> bool {
        let deadline = *self.deadline.borrow();
        deadline.is_some_and(|deadline| self.clock.now() >= deadline)
    }

    /// Waits until somebody asks, or asks again. For ever, if nobody can any more.
    pub(crate) async fn changed(&mut self) {
        if self.deadline.changed().await.is_err() {
            pending::<()>().await;
        }
    }
}

/// The clock, read from a thread of the sink: within the runtime that made the writer, since a paused
/// clock belongs to its runtime.
#[derive(Debug, Clone)]
pub(crate) struct SinkClock {
    clock: Clock,
    runtime: Option<Handle>,
}

impl SinkClock {
    /// For a writer that is being made here.
    pub(crate) fn here(clock: Clock) -> Self {
        Self { clock, runtime: Handle::try_current().ok() }
    }

    pub(crate) fn now(&self) -> Instant {
        let _entered = self.runtime.as_ref().map(Handle::enter);
        self.clock.now()
    }

    /// As [`Clock::chance`].
    pub(crate) fn chance(&self) -> f64 {
        self.clock.chance()
    }

    pub(crate) fn moment(&self) -> Moment {
        let _entered = self.runtime.as_ref().map(Handle::enter);
        Moment { now: self.clock.now(), wall: self.clock.wall() }
    }
}

/// One moment by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// For lengths.
    pub(crate) now: Instant,
    /// For hours and days.
    pub(crate) wall: UnixNanos,
}
