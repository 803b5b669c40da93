//! The two ways to end: finish what flies, or seal what is done at once.

use tokio::sync::watch;

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

/// Tells all parts of a run to end. A level never goes back.
#[derive(Debug)]
pub struct StopSwitch(watch::Sender<StopLevel>);

impl StopSwitch {
    /// A switch, and what listens to it.
    pub fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(StopLevel::Run);
        (Self(sender), Stop(receiver))
    }

    /// Raises the level; a lower one than before changes nothing.
    pub fn raise(&self, level: StopLevel) {
        self.0.send_if_modified(|current| {
            let higher = level > *current;
            *current = level.max(*current);
            higher
        });
    }
}

/// Listens to a [`StopSwitch`]. A dropped switch means [`StopLevel::Now`].
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<StopLevel>);

impl Stop {
    /// The level now.
    pub fn level(&self) -> StopLevel {
        if self.0.has_changed().is_err() { StopLevel::Now } else { *self.0.borrow() }
    }

    /// Waits until the level is at least `level`.
    pub async fn reached(&mut self, level: StopLevel) {
        // An error means that the switch is gone, which is the highest level.
        let _ = self.0.wait_for(|current| *current >= level).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_level_never_goes_back_and_a_dropped_switch_ends_all() {
        let (switch, mut stop) = StopSwitch::new();
        assert_eq!(stop.level(), StopLevel::Run);
        switch.raise(StopLevel::Now);
        switch.raise(StopLevel::Drain);
        stop.reached(StopLevel::Now).await;
        assert_eq!(stop.level(), StopLevel::Now);

        let (switch, mut stop) = StopSwitch::new();
        drop(switch);
        stop.reached(StopLevel::Now).await;
        assert_eq!(stop.level(), StopLevel::Now);
    }
}
