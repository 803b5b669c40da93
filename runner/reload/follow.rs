//! The loop beside a runner: hears of changes, waits until they hold still, and brings them in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, sleep_until};

use super::hints::Hints;
use super::load::{Loaded, Loader};
use super::prints::Printed;
use super::report::{PipelineChange, ReloadReport, generations};
use crate::clock::{Clock, Instant};
use crate::pipeline::{Changed, Runner, StopLevel};

/// Between two looks without a hint, where there are hints, and where there are none.
const POLL: Duration = Duration::from_secs(2);
const POLL_ONLY: Duration = Duration::from_secs(1);
/// Between two looks at least, however many hints come.
const AFTER_HINT: Duration = Duration::from_millis(20);
/// Files hold still if they are the same for so long: longer than any editor takes from the first write to
/// the last.
const SETTLED: Duration = Duration::from_millis(200);
/// The same where a pipeline's file is gone: some editors remove it and write another one.
const SETTLED_GONE: Duration = Duration::from_secs(1);
/// Between two looks while they are waited for.
const SETTLING: Duration = Duration::from_millis(40);
/// Files that never hold still are read after so long.
const LONGEST_UNSETTLED: Duration = Duration::from_secs(5);
/// Who may wait for a reload; more are told by the next.
const ASKING: usize = 64;

/// How changes of files are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchMode {
    /// By events, and by looking every two seconds.
    Auto,
    /// By looking every second.
    Poll,
    /// Not at all: only who asks has files read again.
    Off,
}

/// Asks for a reload. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ask(mpsc::Sender<Option<oneshot::Sender<Arc<ReloadReport>>>>);

/// What a [`follow`] hears of those who ask.
pub type Asked = mpsc::Receiver<Option<oneshot::Sender<Arc<ReloadReport>>>>;

/// A way to ask for reloads, and where they are asked for.
pub fn asking() -> (Ask, Asked) {
    let (ask, asked) = mpsc::channel(ASKING);
    (Ask(ask), asked)
}

impl Ask {
    /// Asks, without waiting for the report. Where many have asked already, they ask for this one too.
    pub fn now(&self) {
        let _ = self.0.try_send(None);
    }

    /// Asks, and waits for the report. Of those who ask while a reload runs, all are answered by the next
    /// one. None if the run ends.
    pub async fn and_wait(&self) -> Option<Arc<ReloadReport>> {
        let (answer, report) = oneshot::channel();
        self.0.send(Some(answer)).await.ok()?;
        report.await.ok()
    }
}

/// What a run is followed with.
pub struct Follow {
    /// Builds what has changed.
    pub loader: Loader,
    /// How changes are seen.
    pub watch: WatchMode,
    /// Who asks.
    pub asked: Asked,
    /// Shows a report to people.
    pub tell: Box<dyn Fn(&ReloadReport)>,
    /// Where time is read.
    pub clock: Clock,
}

/// Follows the files of a run until all its pipelines have ended, or its end is asked for while a reload is
/// under way.
pub async fn follow(runner: &mut Runner, follow: Follow) {
    let Follow { loader, watch, asked, tell, clock } = follow;
    let hints = if watch == WatchMode::Auto { Hints::listen() } else { Hints::none() };
    let mut follower = Follower {
        loader: Some(loader),
        watch,
        hints,
        asked,
        is_asked: false,
        answers: VecDeque::new(),
        tell,
        clock,
        number: 0,
    };
    follower.listen();
    let mut stop = runner.stop();
    loop {
        tokio::select! {
            () = runner.ended() => return,
            began = follower.change() => {
                // A plugin may take minutes to compile: an end does not wait for that.
                tokio::select! {
                    () = follower.reload(runner, began) => follower.listen(),
                    () = stop.reached(StopLevel::Drain) => return,
                }
            }
        }
    }
}

struct Follower {
    /// Lent to a blocking thread while it reads.
    loader: Option<Loader>,
    watch: WatchMode,
    hints: Hints,
    asked: Asked,
    /// Whether somebody wants to know what the next reload came to, whatever it is.
    is_asked: bool,
    answers: VecDeque<oneshot::Sender<Arc<ReloadReport>>>,
    tell: Box<dyn Fn(&ReloadReport)>,
    clock: Clock,
    number: u64,
}

impl Follower {
    fn listen(&mut self) {
        let Self { loader: Some(loader), hints, .. } = self else { return };
        hints.follow(loader.watched());
    }

    /// Waits until something has changed and holds still, or somebody asks. Returns since when it was known.
    async fn change(&mut self) -> Instant {
        loop {
            let poll = match (self.watch, self.hints.is_listening()) {
                (WatchMode::Off, _) => Duration::MAX,
                (_, true) => POLL,
                (_, false) => POLL_ONLY,
            };
            let next = self.clock.now().checked_add(poll);
            tokio::select! {
                Some(answer) = self.asked.recv() => {
                    self.is_asked = true;
                    self.answers.extend(answer);
                    return self.clock.now();
                }
                () = self.hints.heard() => {}
                () = until(next) => {}
            }
            let began = self.clock.now();
            if self.with_loader(Loader::has_changed).await.unwrap_or(false) {
                self.settled(began).await;
                return began;
            }
            // Where there is much to look at, and hints of other files come all the time, a tenth of it.
            let looked = self.clock.now().saturating_duration_since(began);
            sleep(AFTER_HINT.max(looked * 9)).await;
        }
    }

    /// Waits until the files hold still, but not for ever.
    async fn settled(&mut self, began: Instant) {
        let mut look = self.look().await;
        let mut since = self.clock.now();
        while self.clock.now() < began + LONGEST_UNSETTLED {
            sleep(SETTLING).await;
            let new = self.look().await;
            let now = self.clock.now();
            if new != look {
                (look, since) = (new, now);
                continue;
            }
            let is_gone = look.as_ref().is_some_and(|(_, is_gone)| *is_gone);
            if now >= since + if is_gone { SETTLED_GONE } else { SETTLED } {
                return;
            }
        }
    }

    async fn look(&mut self) -> Option<(Printed, bool)> {
        self.with_loader(|loader| {
            let look = loader.look();
            let are_gone = loader.are_gone(&look);
            (look, are_gone)
        })
        .await
    }

    /// Lends the loader to a blocking thread: it reads files. None only after a fault of ours.
    async fn with_loader<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Loader) -> T + Send + 'static,
    ) -> Option<T> {
        // Given up in the middle it is lost, which happens at the end of the run only.
        let mut loader = self.loader.take()?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&mut loader);
            (loader, result)
        })
        .await;
        match done {
            Ok((loader, result)) => {
                self.loader = Some(loader);
                Some(result)
            }
            Err(_) => {
                tracing::error!(
                    "files cannot be followed any more: reading them ended by a fault of the runner"
                );
                None
            }
        }
    }

    /// Reads what has changed, brings it in, and reports.
    async fn reload(&mut self, runner: &mut Runner, began: Instant) {
        while let Ok(answer) = self.asked.try_recv() {
            self.is_asked = true;
            self.answers.extend(answer);
        }
        let wrong = |loader: &Loader| loader.wrong().cloned().collect::<Vec<_>>();
        let before = self.loader.as_ref().map(wrong).unwrap_or_default();
        let Some(loaded) = self.with_loader(Loader::load).await else { return };
        let mut report = self.bring_in(runner, loaded, began).await;
        let is_mended = |name: &Arc<str>| !report.wrong.contains(name) && !report.removed.contains(name);
        report.mended = before.into_iter().filter(is_mended).collect();
        if report.has_changed() || report.has_failed() || std::mem::take(&mut self.is_asked) {
            (self.tell)(&report);
            report.log();
        }
        let report = Arc::new(report);
        for answer in self.answers.drain(..) {
            // Whoever asked may have gone.
            let _ = answer.send(Arc::clone(&report));
        }
    }

    async fn bring_in(&mut self, runner: &mut Runner, loaded: Loaded, began: Instant) -> ReloadReport {
        let Loaded { next, gone, diagnostics, unstable, missing, same, settings } = loaded;
        self.number += 1;
        if let Some(settings) = &settings {
            runner.limit_concurrency(settings.concurrency);
        }
        let before = generations(runner.running());
        let changes = runner.change(next.clone(), &gone).await;
        let mut report = ReloadReport {
            number: self.number,
            removed: gone,
            kept: same,
            missing,
            unstable,
            diagnostics,
            ..ReloadReport::default()
        };
        let Some(files) = &mut self.loader else { return report };
        for Changed { pipeline, merged } in changes {
            let Some(built) = next.iter().find(|built| built.name == pipeline) else { continue };
            match merged {
                Err(error) => {
                    files.refused(&pipeline);
                    report.refused.push((pipeline, error.to_string()));
                }
                Ok(targets) => {
                    files.runs(built);
                    let to = Arc::clone(&built.generation);
                    match (before.get(&pipeline), targets) {
                        (Some(from), targets) => report.changed.push(PipelineChange {
                            pipeline,
                            from: Arc::clone(from),
                            to,
                            targets: targets.unwrap_or_default(),
                        }),
                        (None, _) => report.added.push(pipeline),
                    }
                }
            }
        }
        report.wrong = files.wrong().cloned().collect();
        report.took = self.clock.now().saturating_duration_since(began);
        report
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
