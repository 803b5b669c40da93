//! When targets are due next, told without running anything: by the same lanes that a [`Schedule`](super::Schedule)
//! has, seen by somebody who comes in from outside.

use std::time::Duration;

use super::lane::{Lane, NEVER, Steps, Walk};
use super::phase::{hash, interval_ns};
use super::timing::{Pace, Timing};
use crate::clock::UnixNanos;

/// Ticks that are looked at: one of the past may be due in the future by its jitter.
const TICKS: usize = 8;

/// When the targets of one pipeline are due next in a runner that runs already: the first run of a newcomer, which
/// has its turn of the ramp, is not in it. With a cron expression, `jitter` is another in each run, and left to
/// chance here as well.
#[derive(Debug)]
pub struct Forecast {
    pipeline: Box<str>,
    timing: Timing,
    /// For targets without an interval of their own.
    shared: Lane,
    /// For those with one, where a cron expression rules the others.
    own: Option<Lane>,
    /// A moment before the one that is asked about, by the longest jitter, in Unix nanoseconds.
    base_ns: i64,
    /// From there to the moment that is asked about.
    now_ns: u64,
}

impl Forecast {
    /// The forecast at a moment for the targets of a pipeline.
    pub fn new(pipeline: &str, timing: &Timing, wall: UnixNanos) -> Self {
        let now_ns = interval_ns(timing.rules.jitter);
        let base_ns = wall.0.saturating_sub_unsigned(now_ns);
        let own = match timing.pace {
            Pace::Every(_) => None,
            Pace::Cron { .. } => Some(Lane::new(&timing.with_every(Duration::from_mins(1)), base_ns)),
        };
        let shared = Lane::new(timing, base_ns);
        Self { pipeline: pipeline.into(), timing: timing.clone(), shared, own, base_ns, now_ns }
    }

    /// When the target of a name is due at or after the moment; `every` is its own interval, if it has one. None if
    /// it never is.
    pub fn next_due(&mut self, name: &str, every: Option<Duration>) -> Option<UnixNanos> {
        let own_every = every.map(interval_ns);
        let steps = match own_every.unwrap_or_else(|| self.timing.own_every_ns()) {
            0 => Steps::Cron,
            every_ns => Steps::Every(every_ns),
        };
        let lane = match (&steps, &mut self.own) {
            (Steps::Every(_), Some(own)) => own,
            _ => &mut self.shared,
        };
        let walk =
            Walk { steps, hash: hash(&self.pipeline, name), wall_ns: self.base_ns, zero_ns: self.base_ns };
        let from_ns = match steps {
            Steps::Cron => self.now_ns,
            // A tick's jitter is shorter than its interval.
            Steps::Every(every_ns) => self.now_ns - every_ns.min(self.now_ns),
        };
        let mut tick = lane.first(walk, from_ns);
        for _ in 0..TICKS {
            match lane.due_ns(walk, tick) {
                NEVER => return None,
                due_ns if due_ns >= self.now_ns => {
                    return Some(UnixNanos(self.base_ns.saturating_add_unsigned(due_ns)));
                }
                _ => tick = lane.after(walk, tick),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Schedule, phase_ns};
    use super::*;
    use crate::clock::Clock;

    const NOW: UnixNanos = UnixNanos(1_700_000_000_123_456_789);

    #[test]
    fn the_next_tick_is_the_next_moment_of_the_phase() {
        for every in [Duration::from_millis(100), Duration::from_secs(30), Duration::from_hours(50)] {
            let mut forecast = Forecast::new("shop", &Timing::every(every), NOW);
            for name in ["a", "b", "c"] {
                let due = forecast.next_due(name, None).unwrap();
                let every_ns = every.as_nanos() as i64;
                assert!((0..every_ns).contains(&(due.0 - NOW.0)), "{name} {every:?}: {due:?}");
                assert_eq!(due.0.rem_euclid(every_ns) as u64, phase_ns("shop", name, every));
            }
        }
        let mut forecast = Forecast::new("shop", &Timing::every(Duration::from_secs(30)), NOW);
        let own = Duration::from_secs(7);
        let due = forecast.next_due("a", Some(own)).unwrap();
        assert_eq!(due.0.rem_euclid(7_000_000_000) as u64, phase_ns("shop", "a", own));
    }

    /// A schedule that has run for a while says the same, also with jitter.
    #[tokio::test(start_paused = true)]
    async fn it_agrees_with_a_schedule_that_runs() {
        let clock = Clock::simulated(NOW);
        let mut timing = Timing::every(Duration::from_secs(10));
        let rules = std::sync::Arc::make_mut(&mut timing.rules);
        rules.jitter = Duration::from_secs(4);
        let mut schedule = Schedule::new("shop", clock.now(), clock.wall());
        schedule.add("a", &timing, clock.now());
        for run in 0..50 {
            let due = schedule.next_due().unwrap();
            tokio::time::sleep_until(due).await;
            let popped = schedule.pop_due(clock.now()).unwrap();
            schedule.finished(popped.target, clock.now(), false);
            let expected = schedule.next_due().unwrap().duration_since(clock.now());
            let after = clock.wall().plus(Duration::from_nanos(1));
            let told = Forecast::new("shop", &timing, after).next_due("a", None).unwrap();
            let off = (told.0 - clock.wall().0).abs_diff(expected.as_nanos() as i64);
            // After its turn of the ramp a newcomer may leave a tick out. tokio's timers have a grain of 1 ms.
            assert!(run == 0 || off < 2_000_000, "{told:?} {expected:?}");
        }
    }
}
