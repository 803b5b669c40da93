//! What a call costs, measured: for those who write checks, and for the benchmark of the sandbox.
//!
//! Things that are compared are done in turn, a few calls of each at a time, so that whatever else the
//! machine does meanwhile hits all of them alike: their ratios can be trusted where their times cannot.

use std::fmt;
use std::time::Duration;

use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Engine, Store};

use super::component::Plugin;
use super::preflight::reason;
use super::sandbox;
use super::set::ConfiguredCheck;
use crate::clock::{Clock, thread_cpu_time};

/// Ticks of the epoch that no measurement lasts for.
const NO_DEADLINE: u64 = 1 << 40;

/// How often things are done that are compared.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Calls of each in all.
    pub calls: u32,
    /// Calls of one before it is the next one's turn.
    pub in_a_row: u32,
    /// When it is enough, however few calls there were: at least one turn of each is timed.
    pub at_most: Duration,
}

/// How long one thing took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How often it was done.
    pub calls: u32,
    /// What one of ten stayed below, in wall time: how long it takes where nothing else disturbs it. Compare
    /// by this on a machine that does other things as well.
    pub p10: Duration,
    /// The median of the wall time.
    pub median: Duration,
    /// What 99 of 100 stayed below, in wall time.
    pub p99: Duration,
    /// CPU time of the thread, the mean.
    pub cpu: Duration,
}

/// Does things in turn and times each; one turn of each comes before, untimed.
pub fn time_in_turn(things: &mut [&mut dyn FnMut()], effort: Effort, clock: &Clock) -> Vec<Timing> {
    let in_a_row = effort.in_a_row.clamp(1, effort.calls.max(1));
    let turns = effort.calls.max(1).div_ceil(in_a_row);
    let mut samples: Vec<Samples> = things.iter().map(|_| Samples::default()).collect();
    let began = clock.now();
    for turn in 0..=turns {
        for (thing, samples) in things.iter_mut().zip(&mut samples) {
            let cpu = thread_cpu_time();
            for _ in 0..in_a_row {
                let began = clock.now();
                thing();
                if turn > 0 {
                    samples.wall.push(clock.now().saturating_duration_since(began));
                }
            }
            if turn > 0 {
                samples.cpu += thread_cpu_time().saturating_sub(cpu);
            }
        }
        if turn > 0 && clock.now().saturating_duration_since(began) >= effort.at_most {
            break;
        }
    }
    samples.into_iter().map(Samples::timing).collect()
}

#[derive(Debug, Default)]
struct Samples {
    wall: Vec<Duration>,
    cpu: Duration,
}

impl Samples {
    fn timing(mut self) -> Timing {
        self.wall.sort_unstable();
        let calls = self.wall.len();
        let at = |part: usize| self.wall.get((calls * part / 100).min(calls.saturating_sub(1)));
        let calls = u32::try_from(calls).unwrap_or(u32::MAX);
        Timing {
            calls,
            p10: at(10).copied().unwrap_or_default(),
            median: at(50).copied().unwrap_or_default(),
            p99: at(99).copied().unwrap_or_default(),
            cpu: self.cpu / calls.max(1),
        }
    }
}

/// A plugin as WebAssembly's engine sees it: nothing of ours is in its instances, no host functions, no
/// limits, no call. What the sandbox adds is measured against this.
pub struct BareStart {
    engine: Engine,
    instances: InstancePre<()>,
}

impl BareStart {
    fn new(engine: &Engine, component: &Component) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine);
        linker.define_unknown_imports_as_traps(component)?;
        Ok(Self { engine: engine.clone(), instances: linker.instantiate_pre(component)? })
    }

    /// Makes an instance and drops it. The error is the engine's, as one line.
    pub fn once(&self) -> Result<(), String> {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(NO_DEADLINE);
        self.instances.instantiate(&mut store).map(drop).map_err(|error| reason(&error))
    }
}

impl fmt::Debug for BareStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BareStart").finish_non_exhaustive()
    }
}

impl ConfiguredCheck {
    /// The component that its calls begin with (the frozen one, where it is frozen), to be instantiated
    /// by itself. The error is the engine's, as one line.
    pub fn bare_start(&self) -> Result<BareStart, String> {
        let (engine, component) = (self.plugin().engine().engine(), self.instances().template().component());
        BareStart::new(engine, component).map_err(|error| reason(&error))
    }

    /// Bytes of memory that a call begins with. The error is the plugin's fault, in words.
    pub fn memory_bytes(&self) -> Result<usize, String> {
        let instances = self.instances();
        sandbox::memory_bytes(self.plugin().engine(), instances.origin()).map_err(|fault| fault.message)
    }
}

impl Plugin {
    /// Names of what the plugin imports, with versions, as they stand in it.
    pub fn imports(&self) -> Vec<String> {
        let names = self.template().component().component_type();
        names.imports(self.engine().engine()).map(|(name, _)| name.to_owned()).collect()
    }

    /// Names of what the plugin exports, with versions, as they stand in it.
    pub fn exports(&self) -> Vec<String> {
        let names = self.template().component().component_type();
        names.exports(self.engine().engine()).map(|(name, _)| name.to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_done_in_turn_and_timed_after_a_first_turn() {
        let order = std::cell::RefCell::new(String::new());
        let (mut a, mut b) = (|| order.borrow_mut().push('a'), || order.borrow_mut().push('b'));
        let effort = Effort { calls: 5, in_a_row: 2, at_most: Duration::from_hours(1) };
        let timings = time_in_turn(&mut [&mut a, &mut b], effort, &Clock::system());
        assert_eq!(order.take(), "aabb".repeat(4));
        assert_eq!(timings.iter().map(|timing| timing.calls).collect::<Vec<_>>(), [6, 6]);
        assert!(timings.iter().all(|timing| timing.p10 <= timing.median && timing.median <= timing.p99));
    }

    #[test]
    fn it_ends_when_it_is_enough() {
        let mut done = 0;
        let effort = Effort { calls: 1_000_000, in_a_row: 3, at_most: Duration::ZERO };
        let timings = time_in_turn(&mut [&mut || done += 1], effort, &Clock::system());
        assert_eq!((timings[0].calls, done), (3, 6));
    }

    #[test]
    fn parts_are_of_the_sorted_times() {
        let wall = (1..=200).rev().map(Duration::from_micros).collect();
        let timing = Samples { wall, cpu: Duration::from_millis(2) }.timing();
        assert_eq!(timing.p10, Duration::from_micros(21));
        assert_eq!(timing.median, Duration::from_micros(101));
        assert_eq!(timing.p99, Duration::from_micros(199));
        assert_eq!(timing.cpu, Duration::from_micros(10));
    }
}
