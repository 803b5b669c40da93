//! The two ways to end: finish what flies, or seal what is done at once.

use tokio::sync::watch;

use crate::clock::{Clock, Instant};

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopLevel {
    /// No end is wanted.
    Run,
    /// Nothing new begins; probes in flight may finish within the grace.
    Drain,
    /// Probes in flight are given up; what is finished is sealed.
    Now,
}

/// The level, and since when there is an end: all parts share one deadline.
#[derive(Debug, Clone, Copy)]
struct State {
    level: StopLevel,
    since: Option<Instant>,
}

/// Tells all parts of a run to end. A level never goes back.
#[derive(Debug)]
pub struct StopSwitch {
    state: watch::Sender<State>,
    clock: Clock,
}

impl StopSwitch {
    /// A switch, and what listens to it.
    pub fn new(clock: &Clock) -> (Self, Stop) {
        let (state, receiver) = watch::channel(State { level: StopLevel::Run, since: None });
        (Self { state, clock: clock.clone() }, Stop(receiver))
    }

    /// Raises the level; a lower one than before changes nothing.
    pub fn raise(&self, level: StopLevel) {
        let now = self.clock.now();
        self.state.send_if_modified(|current| {
            let higher = level > current.level;
            current.level = level.max(current.level);
            if current.level > StopLevel::Run {
                current.since.get_or_insert(now);
            }
            higher
        });
    }
}

/// Listens to a [`StopSwitch`]. A dropped switch means [`StopLevel::Now`].
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<State>);

impl Stop {
    /// The level now.
    pub fn level(&self) -> StopLevel {
        if self.0.has_changed().is_err() { StopLevel::Now } else { self.0.borrow().level }
    }

    /// When the end was asked for.
    pub fn since(&self) -> Option<Instant> {
        self.0.borrow().since
    }

    /// Waits until the level is at least `level`.
    pub async fn reached(&mut self, level: StopLevel) {
        // An error means that the switch is gone, which is the highest level.
        let _ = self.0.wait_for(|current| current.level >= level).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_level_never_goes_back_and_a_dropped_switch_ends_all() {
        let (switch, mut stop) = StopSwitch::new(&Clock::system());
        assert_eq!(stop.level(), StopLevel::Run);
        switch.raise(StopLevel::Now);
        switch.raise(StopLevel::Drain);
        stop.reached(StopLevel::Now).await;
        assert_eq!(stop.level(), StopLevel::Now);

        let (switch, mut stop) = StopSwitch::new(&Clock::system());
        drop(switch);
        stop.reached(StopLevel::Now).await;
        assert_eq!(stop.level(), StopLevel::Now);
    }
}
