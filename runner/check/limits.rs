//! What a call may use up, and the meter that counts it while the call runs. The meter remembers why
//! it stopped a call, since a trap alone does not tell: a guest that was refused memory traps as
//! "unreachable".

use std::sync::Arc;
use std::time::Duration;

use wasmtime::{ResourceLimiter, UpdateDeadline};

use super::gate::Gate;
use crate::clock::{Clock, Instant, thread_cpu_time};

/// The stack of a guest, in bytes.
pub(super) const STACK_BYTES: usize = 512 << 10;
/// The largest memory that a check may be given by configuration, in bytes: a slot of the pool.
pub(super) const MEMORY_BYTES_MAX: usize = 256 << 20;
/// Elements of one table; the big interpreters have some 20,000 functions in theirs.
pub(super) const TABLE_ELEMENTS: usize = 50_000;
/// Host calls in one call of a check: a body of 1 MiB read in pieces of 16 bytes.
pub(super) const HOST_CALLS: u32 = 65_536;
/// Bytes that a guest can make the host copy out of it in one host call, or as its result.
pub(super) const HOST_COPY_BYTES: usize = 1 << 20;
/// How long a call may take by the wall, in multiples of its CPU time: for a machine under load.
const WALL_FACTOR: u32 = 10;
/// `configure` may use this many times the CPU time of `run`: it compiles patterns and the like.
pub(super) const CONFIGURE_FACTOR: u32 = 4;
/// How often a running call is looked at, in ticks: bounds how late a deadline is seen.
const SLICE_TICKS: u64 = 5;

/// Ticks until the first look at a call, from which on its CPU time is counted.
pub(super) const FIRST_LOOK: u64 = 1;

/// What one check may use up in one call. The rest of the limits is the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// CPU time of one `run`. The wall time of it may be ten times that. 50 ms by default.
    pub time: Duration,
    /// Linear memory, in bytes, all memories of the plugin together. At most 256 MiB; 64 MiB by
    /// default.
    pub memory_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_millis(50), memory_bytes: 64 << 20 }
    }
}

impl Limits {
    /// Limits for looking at a plugin at load: the big interpreters need seconds for a first start.
    pub(super) fn for_loading() -> Self {
        Self { time: Duration::from_secs(5), memory_bytes: MEMORY_BYTES_MAX }
    }

    /// Limits for reading a configured instance whole: no more than a copy of its memory.
    pub(super) fn for_reading(self) -> Self {
        Self { time: Duration::from_secs(30), memory_bytes: self.memory_bytes.saturating_add(1 << 20) }
    }

    /// The same, with the time that `configure` may take.
    pub(super) fn for_configuring(self) -> Self {
        Self { time: self.time * CONFIGURE_FACTOR, ..self }
    }
}

/// Why the meter stopped a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// All CPU time was used: this much.
    CpuTime(Duration),
    /// The wall cap passed; the CPU time that was used until then.
    WallTime(Duration, Duration),
    /// The attempt's deadline passed.
    Deadline,
    /// Too many host calls.
    HostCalls,
}

/// Counts what a call uses.
#[derive(Debug)]
pub(super) struct Meter {
    limits: Limits,
    clock: Clock,
    gate: Option<Arc<Gate>>,
    /// The thread's CPU time at the first look; none before. To read that clock is a system call, which most calls are
    /// too short to be worth.
    cpu_at_first_look: Option<Duration>,
    started: Instant,
    memory_bytes: usize,
    host_calls: u32,
    /// Why the call was stopped, where the meter did it.
    pub(super) stopped: Option<Stop>,
    /// Whether the call wanted more memory than it may have. It may have coped.
    pub(super) memory_refused: bool,
}

impl Meter {
    /// A meter for a call on this thread that begins now. The gate is the deadline of its job.
    pub(super) fn new(limits: Limits, clock: &Clock, gate: Option<Arc<Gate>>) -> Self {
        Self {
            limits,
            clock: clock.clone(),
            gate,
            cpu_at_first_look: None,
            started: clock.now(),
            memory_bytes: 0,
            host_calls: 0,
            stopped: None,
            memory_refused: false,
        }
    }

    /// Begins the next step of the same call, with a budget of its own.
    pub(super) fn restart(&mut self, limits: Limits) {
        self.limits = limits;
        self.cpu_at_first_look = None;
        self.started = self.clock.now();
        self.host_calls = 0;
        self.stopped = None;
        self.memory_refused = false;
    }

    /// Begins another call of the same instance, with the deadline of another job. What memory the
    /// instance has stays counted.
    pub(super) fn restart_for(&mut self, limits: Limits, gate: Arc<Gate>) {
        self.gate = Some(gate);
        self.restart(limits);
    }

    /// The limits that hold.
    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Bytes of memory that the call has, all memories together.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Counts a host call; an error stops the guest.
    pub(super) fn host_call(&mut self) -> wasmtime::Result<()> {
        self.host_calls += 1;
        if self.host_calls > HOST_CALLS {
            self.stopped = Some(Stop::HostCalls);
            return Err(wasmtime::Error::msg("too many host calls"));
        }
        Ok(())
    }

    /// Looks at a running call: goes on while it is under all its limits.
    pub(super) fn on_tick(&mut self) -> UpdateDeadline {
        let now = thread_cpu_time();
        let cpu = now.saturating_sub(*self.cpu_at_first_look.get_or_insert(now));
        let wall = self.clock.now().saturating_duration_since(self.started);
        if self.gate.as_ref().is_some_and(|gate| gate.is_past()) {
            self.stopped = Some(Stop::Deadline);
        } else if cpu >= self.limits.time {
            self.stopped = Some(Stop::CpuTime(cpu));
        } else if wall >= self.limits.time * WALL_FACTOR {
            self.stopped = Some(Stop::WallTime(wall, cpu));
        } else {
            return UpdateDeadline::Continue(slice(self.limits.time.saturating_sub(cpu)));
        }
        UpdateDeadline::Interrupt
    }
}

/// The ticks of the next slice, where `left` of the budget is left.
fn slice(left: Duration) -> u64 {
    let ticks = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    // One more, since the current tick has begun already.
    ticks.min(SLICE_TICKS) + 1
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        if wanted > self.limits.memory_bytes {
            self.memory_refused = true;
            return Ok(false);
        }
        self.memory_bytes = wanted;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        // The Python interpreter is linked from some 30 modules.
        200
    }

    fn tables(&self) -> usize {
        16
    }

    fn memories(&self) -> usize {
        8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_of_a_call_count_together() {
        let limits = Limits { memory_bytes: 3 << 16, ..Limits::default() };
        let mut meter = Meter::new(limits, &Clock::system(), None);
        assert!(meter.memory_growing(0, 1 << 16, None).unwrap());
        assert!(meter.memory_growing(0, 1 << 16, None).unwrap());
        assert!(!meter.memory_growing(1 << 16, 3 << 16, None).unwrap());
        assert!(meter.memory_refused);
        assert!(meter.memory_growing(1 << 16, 2 << 16, None).unwrap());
    }

    #[test]
    fn a_call_is_looked_at_before_its_budget_ends() {
        assert_eq!(slice(Duration::from_millis(50)), SLICE_TICKS + 1);
        assert_eq!(slice(Duration::from_millis(2)), 3);
        assert_eq!(slice(Duration::ZERO), 1);
    }
}
