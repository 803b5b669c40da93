//! Stage 2: when each target is due. Pure: time goes in, due targets come out.
//!
//! One central heap of `(due, slot)`, not a task per target. Intervals are laid on the monotonic clock:
//! for them civil time is looked at once, so that a step of the civil clock causes neither a burst nor a gap.
//!
//! A target's life: it is added and starts at its turn of the ramp (`ramp.rs`), then runs on the ticks of
//! its own grid (`phase.rs`), until it is removed. A target in flight is never due, so a probe never
//! overlaps itself; the ticks that pass meanwhile are counted as missed and told with the next due. After
//! a stall or a suspend all ticks that passed come out as one, the latest, and the others are counted as
//! missed. Every tick is either handed out or counted, never both.
//!
//! Cron expressions (`cron.rs`, `fires.rs`) and windows of active time (`window.rs`) lie by civil time: they
//! are laid a little ahead, once for all targets that share them, and anew when the owner tells that the
//! civil clock was set.
//!
//! A reload adds, removes and retimes; a target that it keeps is not touched and keeps its ticks to the
//! nanosecond. Slots are reused, but never one whose probe still runs.
//!
//! Why a heap and not a timer wheel: popping one due target and putting it back takes about 0.6
//! microseconds with a million targets (optimised, see `measure_a_million_targets` in the tests), so a
//! million targets a minute cost about 1 % of a core. A wheel would save a part of that and cost
//! cascades, slots and an ordering of its own.

mod civil_text;
mod config;
mod cron;
mod cron_fields;
mod fires;
mod lane;
mod maintenance;
mod phase;
mod ramp;
mod slot;
#[cfg(test)]
mod tests;
mod timing;
mod window;
mod zone;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::clock::{Instant, UnixNanos};

pub use civil_text::{ClockText, DaysText, MomentText};
pub use config::{MaintenanceText, ScheduleText, WindowText};
pub use maintenance::Maintenance;
pub use phase::phase_ns;
pub use ramp::STARTS_PER_SECOND;
pub use timing::Timing;
pub use zone::{BUNDLED_TIMEZONES, timezone_data};

use lane::{Lane, NEVER, Steps, Walk};
use slot::{Slot, State};

/// When each target of one pipeline is due.
#[derive(Debug)]
pub struct Schedule {
    pipeline: Box<str>,
    /// The moment that all offsets below count from.
    base: Instant,
    /// Civil time at `base` when the schedule was made, in Unix nanoseconds, by which grids are laid; it never changes, so that a target that is added
    /// later has its grid beside the others'.
    wall_ns: i64,
    /// Civil time at `base` by the clock as it goes now, by which windows and cron are laid.
    zero_ns: i64,
    /// By slot.
    slots: Vec<Slot>,
    /// Slots without a target.
    free: Vec<u32>,
    /// What targets share, by [`Slot::lane`].
    lanes: Vec<Lane>,
    /// Those that wait, by their due time; a target in flight has no entry. An entry whose slot has
    /// another due time, or does not wait, is stale and passed over.
    waiting: BinaryHeap<Reverse<Turn>>,
    /// How many entries are stale, about.
    stale: usize,
    ramp: ramp::Ramp,
}

/// A target whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Its slot.
    pub target: u32,
    /// When it was due: its turn of the ramp or a tick, never after the moment asked about.
    pub due: Instant,
    /// Ticks of this target that passed without a probe since its last one was handed out.
    pub missed: u32,
    /// Its tick after this one: a probe that ends later misses it. None if there is none any more.
    pub next: Option<Instant>,
}

/// When a target is due, in nanoseconds since `base`, and its slot. Ordered by both, so that equal times
/// come out in the order of the slots.
type Turn = (u64, u32);

// A million idle targets must cost at most 500 bytes each, all in; the schedule's part is 64.
const _: () = assert!(size_of::<Slot>() + size_of::<Reverse<Turn>>() <= 64, "a target's part grew");

/// With fewer stale entries than this the heap is not swept.
const SWEEP_FROM: usize = 1_024;

impl Schedule {
    /// A schedule without targets. `now` and `wall` are one moment on two clocks.
    pub fn new(pipeline: &str, now: Instant, wall: UnixNanos) -> Self {
        Self {
            pipeline: pipeline.into(),
            base: now,
            wall_ns: wall.0,
            zero_ns: wall.0,
            slots: Vec::new(),
            free: Vec::new(),
            lanes: Vec::new(),
            waiting: BinaryHeap::new(),
            stale: 0,
            ramp: ramp::Ramp::default(),
        }
    }

    /// Adds a target and tells its slot, which is its own until it is removed and its last probe has
    /// ended. It starts at its turn of the ramp. `name` is its name, which its place in the interval is
    /// made from; nobody looks whether there is one of that name already. At most `u32::MAX` targets.
    pub fn add(&mut self, name: &str, timing: &Timing, now: Instant) -> u32 {
        let now_ns = self.offset(now);
        let slot =
            Slot::new(phase::hash(&self.pipeline, name), timing.own_every_ns(), self.lane_of(timing, now_ns));
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = slot;
                index
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        self.begin(index, now_ns);
        index
    }

    /// Takes a target out. A probe that runs may end; its slot is not given to another before
    /// [`finished`](Self::finished) is told. Nothing happens to a slot without a target.
    pub fn remove(&mut self, target: u32) {
        let Some(slot) = self.slots.get_mut(target as usize) else { return };
        match slot.state {
            State::Free | State::Leaving => return,
            State::InFlight => slot.state = State::Leaving,
            State::Waiting => {
                self.stale += usize::from(slot.due_ns != NEVER);
                slot.state = State::Free;
                self.free.push(target);
            }
        }
        let lane = slot.lane;
        self.lanes[lane as usize].users -= 1;
        self.settle();
    }

    /// Gives a target another timing. Nothing changes where it says the same as before; else the target
    /// goes on with the first tick of its new grid, and the ramp does not count.
    pub fn retime(&mut self, target: u32, name: &str, timing: &Timing, now: Instant) {
        let now_ns = self.offset(now);
        let Some(slot) = self.slots.get(target as usize).copied() else { return };
        if !slot.is_used() {
            return;
        }
        let (hash, every_ns) = (phase::hash(&self.pipeline, name), timing.own_every_ns());
        if slot.hash == hash && slot.every_ns == every_ns && self.lanes[slot.lane as usize].serves(timing) {
            return;
        }
        let missed = match slot.state {
            State::InFlight => self.pass(target, now_ns),
            _ => slot.missed,
        };
        let lane = self.lane_of(timing, now_ns);
        self.lanes[slot.lane as usize].users -= 1;
        self.stale += usize::from(slot.state == State::Waiting && slot.due_ns != NEVER);
        let changed = &mut self.slots[target as usize];
        *changed = Slot { hash, every_ns, lane, missed, ..slot };
        let tick = self.first_tick(target, now_ns);
        match slot.state {
            State::Waiting => self.wait_for(target, tick),
            _ => self.slots[target as usize].following = tick,
        }
        self.settle();
    }

    /// Says that civil time moved against monotonic time: `now` and `wall` are one moment on two clocks.
    /// Whoever owns the schedule looks at both now and then and tells when they differ from before.
    ///
    /// Intervals keep their grids and are not touched. Cron times and active windows are laid anew by
    /// the new time, by the rules of cron(8): set forward by up to 5 minutes (fixed times: up to 3 hours),
    /// what was skipped runs once; set back by less than a minute (fixed times: up to 3 hours), what has
    /// run does not run again; beyond that the new time simply counts. What was due already stays due.
    pub fn wall_stepped(&mut self, now: Instant, wall: UnixNanos) {
        let now_ns = self.offset(now);
        let old_zero_ns = self.zero_ns;
        let zero_ns = wall.0.saturating_sub(i64::try_from(now_ns).unwrap_or(i64::MAX));
        if zero_ns == old_zero_ns {
            return;
        }
        // What passed until now passed by the old time.
        for target in 0..self.slots.len() as u32 {
            let slot = self.slots[target as usize];
            if slot.state == State::InFlight && self.lanes[slot.lane as usize].is_civil() {
                self.slots[target as usize].missed = self.pass(target, now_ns);
            }
        }
        self.zero_ns = zero_ns;
        let old_ns = lane::unix(now_ns, old_zero_ns);
        let step = |lane: &mut Lane| lane.step(old_ns, wall.0, now_ns, old_zero_ns);
        let coming: Vec<Option<u64>> = self.lanes.iter_mut().map(step).collect();
        for target in 0..self.slots.len() as u32 {
            let slot = self.slots[target as usize];
            if slot.is_used() && self.lanes[slot.lane as usize].is_civil() {
                self.lay_anew(target, coming[slot.lane as usize], now_ns);
            }
        }
        self.settle();
    }

    /// Lays what is to come of one target anew.
    fn lay_anew(&mut self, target: u32, coming: Option<u64>, now_ns: u64) {
        let slot = self.slots[target as usize];
        let walk = self.walk(&slot);
        let by_fires = matches!(walk.steps, Steps::Cron);
        if slot.state == State::InFlight {
            if !by_fires {
                self.slots[target as usize].following = self.first_tick(target, now_ns.saturating_add(1));
            }
            return;
        }
        // What waits only for its place after a tick that has come stays due.
        let jitter_ns = phase::interval_ns(self.lanes[slot.lane as usize].rules.jitter);
        let has_come = match coming.filter(|_| by_fires) {
            Some(coming) => slot.due_ns != NEVER && slot.following <= coming,
            None => slot.due_ns <= now_ns.saturating_add(jitter_ns),
        };
        if has_come {
            if !by_fires {
                self.slots[target as usize].following =
                    self.first_tick(target, slot.due_ns.saturating_add(1));
            }
            return;
        }
        self.stale += usize::from(slot.due_ns != NEVER);
        let tick = match coming.filter(|_| by_fires) {
            Some(coming) => coming,
            None => self.first_tick(target, now_ns.saturating_add(1)),
        };
        self.wait_for(target, tick);
    }

    /// How many targets it holds.
    pub fn len(&self) -> usize {
        self.lanes.iter().map(|lane| lane.users as usize).sum()
    }

    /// Whether it holds no target.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When the next target is due; it may have passed. None while every target is in flight.
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse((due_ns, _))| self.moment(*due_ns))
    }

    /// Takes the target that has been due longest, if any is due at `now`. It counts as in flight until
    /// [`finished`](Self::finished) is told.
    pub fn pop_due(&mut self, now: Instant) -> Option<Due> {
        let now_ns = self.offset(now);
        let Reverse((due_ns, target)) = *self.waiting.peek()?;
        if due_ns > now_ns {
            return None;
        }
        self.waiting.pop();
        let slot = self.slots.get(target as usize).copied()?;
        let walk = self.walk(&slot);
        let lane = &mut self.lanes[slot.lane as usize];
        let passed = lane.passed(walk, slot.following, now_ns);
        // With ticks passed since, the latest of them is the one handed out, and `due_ns` is missed.
        let due_ns = passed.latest_ns.unwrap_or(due_ns);
        let next_ns = lane.due_ns(walk, passed.following);
        let missed = slot.missed.saturating_add(passed.count);
        let changed = &mut self.slots[target as usize];
        *changed = Slot { missed: 0, state: State::InFlight, following: passed.following, ..slot };
        self.settle();
        let next = (next_ns != NEVER).then(|| self.moment(next_ns));
        Some(Due { target, due: self.moment(due_ns), missed, next })
    }

    /// Says that the probe of `target` ended (or was dropped) at `now`. It is due again at the first
    /// tick after `now`; a tick at `now` itself counts as missed. `failed` is whether its outcome is down
    /// or unknown: from then on it keeps the pace of `every_on_failure`, if there is one, until a probe
    /// of it does not fail; then it is back on its own grid. Nothing happens if it was not in flight.
    pub fn finished(&mut self, target: u32, now: Instant, failed: bool) {
        let now_ns = self.offset(now);
        let Some(slot) = self.slots.get_mut(target as usize) else { return };
        match slot.state {
            State::Free | State::Waiting => return,
            State::Leaving => {
                slot.state = State::Free;
                self.free.push(target);
                return;
            }
            State::InFlight => {}
        }
        let missed = self.pass(target, now_ns);
        let slot = &mut self.slots[target as usize];
        let changed = slot.failing != failed;
        *slot = Slot { missed, state: State::Waiting, failing: failed, ..*slot };
        let other_pace = changed && self.lanes[slot.lane as usize].rules.every_on_failure.is_some();
        let tick = if other_pace { self.tick_of_other_pace(target, now_ns) } else { slot.following };
        self.wait_for(target, tick);
    }

    /// The first tick of a target whose pace has just become another, because its probe failed or does
    /// not fail any more.
    fn tick_of_other_pace(&mut self, target: u32, now_ns: u64) -> u64 {
        let slot = self.slots[target as usize];
        let from_ns = match (slot.failing, self.lanes[slot.lane as usize].rules.every_on_failure) {
            // As at the ramp: not at once again.
            (true, Some(every)) => now_ns.saturating_add(phase::interval_ns(every) / 2),
            _ => now_ns.saturating_add(1),
        };
        self.first_tick(target, from_ns)
    }

    /// Counts the ticks of a target in flight that have passed, and tells how many it has missed.
    fn pass(&mut self, target: u32, now_ns: u64) -> u32 {
        let slot = self.slots[target as usize];
        let walk = self.walk(&slot);
        let passed = self.lanes[slot.lane as usize].passed(walk, slot.following, now_ns);
        self.slots[target as usize].following = passed.following;
        slot.missed.saturating_add(passed.count)
    }

    /// Lets a newcomer wait for its first run.
    fn begin(&mut self, target: u32, now_ns: u64) {
        let slot = self.slots[target as usize];
        // Where a cron expression rules, only its times count.
        let turn_ns = match slot.every_ns {
            0 => None,
            _ => self.ramp.turn_ns(now_ns, slot.every_ns, |start_ns| {
                self.lanes[slot.lane as usize].is_open(start_ns, self.zero_ns)
            }),
        };
        let Some(start_ns) = turn_ns else {
            let tick = self.first_tick(target, now_ns);
            return self.wait_for(target, tick);
        };
        // The first tick is half an interval away or more, so that nobody runs twice at once.
        let following = self.first_tick(target, start_ns.saturating_add(slot.every_ns / 2));
        let slot = &mut self.slots[target as usize];
        (slot.due_ns, slot.following) = (start_ns, following);
        self.waiting.push(Reverse((start_ns, target)));
    }

    fn first_tick(&mut self, target: u32, from_ns: u64) -> u64 {
        let slot = self.slots[target as usize];
        let walk = self.walk(&slot);
        self.lanes[slot.lane as usize].first(walk, from_ns)
    }

    /// Lets a target wait for a tick.
    fn wait_for(&mut self, target: u32, tick: u64) {
        let slot = self.slots[target as usize];
        let walk = self.walk(&slot);
        let lane = &mut self.lanes[slot.lane as usize];
        let (due_ns, following) = (lane.due_ns(walk, tick), lane.after(walk, tick));
        self.slots[target as usize] = Slot { due_ns, following, ..slot };
        if due_ns != NEVER {
            self.waiting.push(Reverse((due_ns, target)));
        }
    }

    /// What a target's ticks are laid by now.
    fn walk(&self, slot: &Slot) -> Walk {
        let steps = slot.steps(&self.lanes[slot.lane as usize]);
        Walk { steps, hash: slot.hash, wall_ns: self.wall_ns, zero_ns: self.zero_ns }
    }

    /// The lane of a timing; counts one user more.
    fn lane_of(&mut self, timing: &Timing, now_ns: u64) -> u32 {
        let found = self.lanes.iter().position(|lane| lane.users > 0 && lane.serves(timing));
        let index = found.unwrap_or_else(|| {
            let lane = Lane::new(timing, lane::unix(now_ns, self.zero_ns));
            match self.lanes.iter().position(|lane| lane.users == 0) {
                Some(empty) => {
                    self.lanes[empty] = lane;
                    empty
                }
                None => {
                    self.lanes.push(lane);
                    self.lanes.len() - 1
                }
            }
        });
        self.lanes[index].users += 1;
        index as u32
    }

    /// Keeps the earliest entry fresh, and the stale ones few.
    fn settle(&mut self) {
        let slots = &self.slots;
        let is_fresh = |due_ns: u64, target: u32| {
            let slot = &slots[target as usize];
            slot.state == State::Waiting && slot.due_ns == due_ns
        };
        while let Some(Reverse((due_ns, target))) = self.waiting.peek()
            && !is_fresh(*due_ns, *target)
        {
            self.waiting.pop();
            self.stale = self.stale.saturating_sub(1);
        }
        if self.stale > SWEEP_FROM && self.stale > self.waiting.len() / 2 {
            self.waiting.retain(|Reverse((due_ns, target))| is_fresh(*due_ns, *target));
            self.stale = 0;
        }
    }

    /// Nanoseconds from `base` to `now`; 0 if it lies before. 64 bits last for 584 years.
    fn offset(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.base).as_nanos()).unwrap_or(u64::MAX)
    }

    fn moment(&self, offset_ns: u64) -> Instant {
        self.base + Duration::from_nanos(offset_ns)
    }
}
