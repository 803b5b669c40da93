//! When a check is not called: one that failed by its own fault many times in a row is left alone for a
//! while, so that a plugin that traps or loops on everything costs no more than a try now and then.
//!
//! Closed, every call is let through, and faults in a row are counted. At [`FAULTS`] of them it opens:
//! calls are answered at once, and after a wait one call is let through as a trial. A clean return closes
//! it; another fault doubles the wait. Time goes in.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::fault::{Fault, FaultKind};
use super::set::CheckSpec;
use crate::clock::Instant;

/// So many faults in a row open it.
const FAULTS: u64 = 20;
/// The wait before the first trial, and the longest.
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_LONGEST: Duration = Duration::from_mins(5);

/// A check that is not called at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// Faults in a row, trials included.
    pub faults: u64,
    /// Until it is tried again; zero when its turn has come, or a trial is on its way.
    pub tried_again_in: Duration,
    /// The kind of the last fault.
    pub last_kind: FaultKind,
    /// The last fault, for people.
    pub last_message: String,
}

/// The breaker of one configured check.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug)]
enum State {
    /// With so many faults in a row.
    Closed(u64),
    Open(Open),
}

#[derive(Debug)]
struct Open {
    faults: u64,
    last: Fault,
    retry_at: Instant,
    wait: Duration,
    /// The number of the trial on its way.
    trial: Option<u64>,
    /// Trials so far.
    trials: u64,
}

/// What changes for whoever watches.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an operator has to be told"]
pub(super) enum Event {
    /// It opened.
    Suspended {
        /// Faults in a row.
        faults: u64,
        /// Until the first trial.
        wait: Duration,
        /// The last fault.
        last: String,
    },
    /// It closed.
    Resumed {
        /// Faults in a row until then.
        faults: u64,
    },
}

/// The right to make one call; to be told what came of it. Dropped without that, a trial was none.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    breaker: &'a Breaker,
    trial: Option<u64>,
}

impl Default for State {
    fn default() -> Self {
        Self::Closed(0)
    }
}

impl Breaker {
    /// Asks for a call; the fault is the answer where there is to be none.
    pub(super) fn enter(&self, now: Instant) -> Result<Pass<'_>, Fault> {
        let mut state = self.lock();
        let State::Open(open) = &mut *state else { return Ok(Pass { breaker: self, trial: None }) };
        if open.trial.is_some() || now < open.retry_at {
            return Err(open.fault(now));
        }
        open.trials += 1;
        open.trial = Some(open.trials);
        Ok(Pass { breaker: self, trial: open.trial })
    }

    /// How it stands; none while calls are let through.
    pub(super) fn suspension(&self, now: Instant) -> Option<Suspension> {
        match &*self.lock() {
            State::Closed(_) => None,
            State::Open(open) => Some(Suspension {
                faults: open.faults,
                tried_again_in: open.wait_left(now),
                last_kind: open.last.kind,
                last_message: open.last.message.clone(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn wait_left(&self, now: Instant) -> Duration {
        if self.trial.is_some() { Duration::ZERO } else { self.retry_at.saturating_duration_since(now) }
    }

    fn fault(&self, now: Instant) -> Fault {
        let Self { faults, last, .. } = self;
        let when = match self.wait_left(now) {
            Duration::ZERO => "just being tried again".to_owned(),
            left => format!("tried again in {} s", left.as_secs_f64().ceil()),
        };
        let message =
            format!("suspended after {faults} faults in a row, {when}; the last one: {}", last.message);
        Fault::new(FaultKind::Suspended, &message)
    }
}

impl Pass<'_> {
    /// Tells what came of the call: its fault, none for a clean return.
    pub(super) fn done(self, fault: Option<&Fault>, now: Instant) -> Option<Event> {
        let mut state = self.breaker.lock();
        match (&mut *state, fault) {
            // No evidence: the machine's fault, not the plugin's.
            (_, Some(fault)) if !fault.kind.is_of_plugin() && fault.kind != FaultKind::Refused => None,
            (State::Closed(faults), Some(fault)) if fault.kind.is_of_plugin() => {
                *faults += 1;
                if *faults < FAULTS {
                    return None;
                }
                let (faults, last, wait) = (*faults, fault.clone(), WAIT_FIRST);
                let event = Event::Suspended { faults, wait, last: last.message.clone() };
                *state =
                    State::Open(Open { faults, last, retry_at: now + wait, wait, trial: None, trials: 0 });
                Some(event)
            }
            (State::Closed(faults), _) => {
                *faults = 0;
                None
            }
            // It began before the breaker opened: the trials decide now.
            (State::Open(open), _) if self.trial.is_none() || open.trial != self.trial => None,
            (State::Open(open), Some(fault)) if fault.kind.is_of_plugin() => {
                open.faults += 1;
                open.last = fault.clone();
                open.wait = (open.wait * 2).min(WAIT_LONGEST);
                open.retry_at = now + open.wait;
                open.trial = None;
                None
            }
            (State::Open(open), _) => {
                let event = Event::Resumed { faults: open.faults };
                *state = State::Closed(0);
                Some(event)
            }
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if let (State::Open(open), Some(_)) = (&mut *self.breaker.lock(), self.trial)
            && open.trial == self.trial
        {
            // The next call is the trial.
            open.trial = None;
        }
    }
}

impl Event {
    /// Tells it to whoever reads the log.
    pub(super) fn tell(&self, pipeline: &str, spec: &CheckSpec) {
        let (check, plugin) = (&*spec.name, &*spec.plugin);
        match self {
            Self::Suspended { faults, wait, last } => tracing::warn!(
                pipeline,
                check,
                plugin,
                faults,
                tried_again_in = ?wait,
                last,
                "a check is suspended: it failed many times in a row by its own fault; its verdicts are \"error\""
            ),
            Self::Resumed { faults } => {
                tracing::info!(pipeline, check, plugin, faults, "a check is called again: it judged");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn fault(kind: FaultKind) -> Fault {
        Fault::new(kind, "trapped: unreachable")
    }

    /// Makes a call that comes to this; what is told, or the message where it is not let through.
    fn call(breaker: &Breaker, came_to: Option<FaultKind>, now: Instant) -> Result<Option<Event>, String> {
        let pass = breaker.enter(now).map_err(|fault| {
            assert_eq!(fault.kind, FaultKind::Suspended);
            fault.message
        })?;
        Ok(pass.done(came_to.map(fault).as_ref(), now))
    }

    /// A breaker that has just opened.
    fn opened(now: Instant) -> Breaker {
        let breaker = Breaker::default();
        for _ in 1..FAULTS {
            assert_eq!(call(&breaker, Some(FaultKind::Trap), now), Ok(None));
        }
        assert_eq!(breaker.suspension(now), None);
        let event = call(&breaker, Some(FaultKind::Trap), now);
        let last = "trapped: unreachable".to_owned();
        assert_eq!(event, Ok(Some(Event::Suspended { faults: 20, wait: WAIT_FIRST, last })));
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn twenty_faults_in_a_row_suspend_it() {
        let clock = Clock::system();
        let breaker = opened(clock.now());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(
            call(&breaker, None, clock.now()),
            Err("suspended after 20 faults in a row, tried again in 1 s; the last one: trapped: unreachable"
                .to_owned())
        );
        let Suspension { faults, tried_again_in, last_kind, last_message } =
            breaker.suspension(clock.now()).unwrap();
        assert_eq!((faults, tried_again_in), (20, Duration::from_millis(999)));
        assert_eq!((last_kind, &*last_message), (FaultKind::Trap, "trapped: unreachable"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_doubles_up_to_five_minutes() {
        let clock = Clock::system();
        let breaker = opened(clock.now());
        let mut waits = Vec::new();
        for trial in 0..12 {
            let wait = breaker.suspension(clock.now()).unwrap().tried_again_in;
            waits.push(wait.as_secs());
            tokio::time::advance(wait.saturating_sub(Duration::from_millis(1))).await;
            assert!(call(&breaker, None, clock.now()).is_err(), "too early for trial {trial}");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(call(&breaker, Some(FaultKind::Time), clock.now()), Ok(None));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        let message = call(&breaker, None, clock.now()).unwrap_err();
        assert!(
            message.starts_with("suspended after 32 faults in a row, tried again in 300 s;"),
            "{message}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_trial_at_a_time_decides() {
        let clock = Clock::system();
        for (came_to, event) in [
            (None, Some(Event::Resumed { faults: 20 })),
            // It could say that it cannot judge: it works.
            (Some(FaultKind::Refused), Some(Event::Resumed { faults: 20 })),
            (Some(FaultKind::Memory), None),
        ] {
            let breaker = opened(clock.now());
            tokio::time::advance(WAIT_FIRST).await;
            let trial = breaker.enter(clock.now()).unwrap();
            let meanwhile = call(&breaker, None, clock.now()).unwrap_err();
            assert!(meanwhile.contains("just being tried again"), "{meanwhile}");
            let is_closed = event.is_some();
            assert_eq!(trial.done(came_to.map(fault).as_ref(), clock.now()), event);
            assert_eq!(breaker.suspension(clock.now()).is_none(), is_closed);
            assert_eq!(call(&breaker, None, clock.now()).is_ok(), is_closed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_shows_nothing_is_followed_by_another() {
        let clock = Clock::system();
        let breaker = opened(clock.now());
        tokio::time::advance(WAIT_FIRST).await;
        for kind in [FaultKind::NoTimeLeft, FaultKind::Stopping, FaultKind::Internal] {
            assert_eq!(call(&breaker, Some(kind), clock.now()), Ok(None));
            assert_eq!(breaker.suspension(clock.now()).unwrap().faults, 20);
        }
        // Nobody told what came of it.
        drop(breaker.enter(clock.now()).unwrap());
        assert_eq!(call(&breaker, None, clock.now()), Ok(Some(Event::Resumed { faults: 20 })));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_began_before_it_opened_decide_nothing() {
        let clock = Clock::system();
        let breaker = Breaker::default();
        let early: Vec<_> = (0..3).map(|_| breaker.enter(clock.now()).unwrap()).collect();
        for _ in 0..FAULTS {
            let _ = call(&breaker, Some(FaultKind::Trap), clock.now());
        }
        tokio::time::advance(WAIT_FIRST).await;
        let trial = breaker.enter(clock.now()).unwrap();
        for (pass, came_to) in early.into_iter().zip([None, Some(FaultKind::Trap), None]) {
            assert_eq!(pass.done(came_to.map(fault).as_ref(), clock.now()), None);
        }
        assert!(breaker.suspension(clock.now()).is_some());
        assert_eq!(trial.done(None, clock.now()), Some(Event::Resumed { faults: 20 }));
    }

    #[test]
    fn what_is_not_in_a_row_or_not_its_own_fault_suspends_nothing() {
        let clock = Clock::system();
        let breaker = Breaker::default();
        for round in 0..200 {
            let came_to = match round % 20 {
                19 if round % 40 == 39 => None,
                19 => Some(FaultKind::Refused),
                _ => Some(FaultKind::Output),
            };
            assert_eq!(call(&breaker, came_to, clock.now()), Ok(None));
        }
        for kind in [FaultKind::NoTimeLeft, FaultKind::Stopping, FaultKind::Internal, FaultKind::Refused] {
            for _ in 0..100 {
                assert_eq!(call(&breaker, Some(kind), clock.now()), Ok(None));
            }
        }
        // The machine's faults in between neither count nor make up for the others.
        for _ in 1..FAULTS {
            assert_eq!(call(&breaker, Some(FaultKind::Stack), clock.now()), Ok(None));
            assert_eq!(call(&breaker, Some(FaultKind::Internal), clock.now()), Ok(None));
        }
        let event = call(&breaker, Some(FaultKind::HostCalls), clock.now());
        assert!(matches!(event, Ok(Some(Event::Suspended { faults: FAULTS, .. }))), "{event:?}");
    }
}
