//! Who is probed: the targets of one pipeline as they are now, and whose turn it is.
//!
//! The targets come from the file and from sources that change while the pipeline runs. They are merged
//! by name, the first one of a name counts; whoever is in both the old and the new list keeps its pace.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::supply::Receipt;
use crate::clock::{Clock, Instant, UnixNanos};
use crate::model::Target;
use crate::schedule::{Due, Schedule, Timing};
use crate::sink::ResultMark;

/// Civil time that moved by more than this against the monotonic clock was set.
const CLOCK_STEP: Duration = Duration::from_millis(500);
/// A step of less than this is not worth a line in the log.
const TOLD_STEP: Duration = Duration::from_secs(2);

/// How many targets may still be taken in, over all pipelines: `--limit`.
pub(super) type Left = Arc<AtomicU64>;

/// The targets of one pipeline, and whose turn it is.
#[derive(Debug)]
pub(super) struct Roster {
    pace: Pace,
    /// By slot.
    seats: Vec<Option<Seat>>,
    /// The slots of those that are taken: their targets have the names.
    by_name: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// By what the last merge timed targets without an interval of their own.
    timing: Option<Timing>,
    /// Counts the merges.
    merge: u32,
    /// Targets to be probed once, as soon as there is room.
    errands: VecDeque<Errand>,
    left: Left,
}

/// A target in its place.
#[derive(Debug)]
struct Seat {
    target: Arc<Target>,
    /// The last merge that wanted it.
    merge: u32,
    /// Told when it was probed for the first time.
    told: Option<Arc<Told>>,
}

/// A target that is probed once.
#[derive(Debug)]
struct Errand {
    target: Arc<Target>,
    told: Option<Arc<Told>>,
    came: Instant,
}

/// What hands out targets.
#[derive(Debug)]
enum Pace {
    /// Again and again, each in its time.
    Again { schedule: Box<Schedule>, anchor: Anchor },
    /// Each one once, in order, as fast as there is room.
    Once { waiting: VecDeque<u32>, begin: Instant },
}

/// One moment by both clocks: how a step of civil time is seen.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    now: Instant,
    wall: UnixNanos,
}

/// A target whose time has come.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    /// What is probed.
    pub(super) target: Arc<Target>,
    /// Its slot; none if it is probed this once.
    pub(super) slot: Option<u32>,
    /// Since when it is due. None where waiting for room is no lateness: it is due when it begins.
    pub(super) due: Option<Instant>,
    /// Ticks that passed without a probe.
    pub(super) missed: u32,
    /// Its next tick.
    pub(super) next: Option<Instant>,
    /// Told when its row is with the sink.
    pub(super) told: Option<Arc<Told>>,
}

/// Tells a source that the targets of an update were probed, once all of them were.
#[derive(Debug)]
pub(super) struct Told {
    receipt: Mutex<Option<Receipt>>,
    left: AtomicUsize,
}

impl Told {
    /// One is left: whoever hands out the targets.
    pub(super) fn new(receipt: Receipt) -> Arc<Self> {
        Arc::new(Self { receipt: Mutex::new(Some(receipt)), left: AtomicUsize::new(1) })
    }

    /// One more target waits.
    fn wait_for(self: &Arc<Self>) -> Arc<Self> {
        self.left.fetch_add(1, Ordering::Relaxed);
        Arc::clone(self)
    }

    /// One less: its row is with the sinks, and finished at the mark; there is none where it needs no row.
    pub(super) fn one(&self, mark: Option<ResultMark>) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(receipt) = self.receipt.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            receipt.probed(mark);
        }
    }
}

/// What a merge came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Merged {
    /// Targets that are new.
    pub added: usize,
    /// Targets that are not probed any more.
    pub removed: usize,
    /// Targets of the same name with another URL, interval or labels.
    pub changed: usize,
    /// Targets that stay as they are.
    pub kept: usize,
}

impl Roster {
    /// For targets that are probed again and again.
    pub(super) fn again(pipeline: &str, clock: &Clock, left: Left) -> Self {
        let (now, wall) = (clock.now(), clock.wall());
        let schedule = Box::new(Schedule::new(pipeline, now, wall));
        Self::new(Pace::Again { schedule, anchor: Anchor { now, wall } }, left)
    }

    /// For targets that are probed once each.
    pub(super) fn once(clock: &Clock, left: Left) -> Self {
        Self::new(Pace::Once { waiting: VecDeque::new(), begin: clock.now() }, left)
    }

    fn new(pace: Pace, left: Left) -> Self {
        Self {
            pace,
            seats: Vec::new(),
            by_name: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            timing: None,
            merge: 0,
            errands: VecDeque::new(),
            left,
        }
    }

    /// How many targets there are.
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// How many targets wait to be probed once.
    pub(super) fn errands(&self) -> usize {
        self.errands.len()
    }

    /// Takes in a target that is probed once; false if no more may be taken.
    pub(super) fn add_errand(
        &mut self,
        target: Arc<Target>,
        told: Option<&Arc<Told>>,
        came: Instant,
    ) -> bool {
        let taken = self.take_left();
        if taken {
            self.errands.push_back(Errand { target, told: told.map(Told::wait_for), came });
        }
        taken
    }

    /// Brings the targets to what is wanted now. `timing` is that of a target without an interval of its
    /// own.
    pub(super) fn merge<'a>(
        &mut self,
        wanted: impl IntoIterator<Item = &'a Arc<Target>>,
        timing: &Timing,
        told: Option<&Arc<Told>>,
        now: Instant,
    ) -> Merged {
        self.merge = self.merge.wrapping_add(1);
        let mut merged = Merged::default();
        let mut timings = Timings { own: timing, by_interval: HashMap::new() };
        let is_timed_alike = self.timing.as_ref() == Some(timing);
        self.timing = Some(timing.clone());
        let wanted = wanted.into_iter();
        self.make_room(wanted.size_hint().0);
        for target in wanted {
            match self.slot_of(&target.name) {
                Some(slot) => {
                    let is_kept = self.keep(slot, target, &mut merged);
                    if let Pace::Again { schedule, .. } = &mut self.pace
                        && !(is_kept && is_timed_alike)
                    {
                        schedule.retime(slot, &target.name, timings.of(target), now);
                    }
                }
                None if self.take_left() => {
                    self.add(target, timings.of(target), told, now);
                    merged.added += 1;
                }
                None => {}
            }
        }
        let Self { pace, seats, by_name, merge, .. } = self;
        by_name.retain(|slot| {
            let seat = seats.get_mut(*slot as usize);
            let is_wanted =
                seat.as_ref().is_some_and(|seat| seat.as_ref().is_some_and(|seat| seat.merge == *merge));
            if !is_wanted {
                // What is gone needs no probe any more.
                if let Some(told) = seat.and_then(Option::take).and_then(|seat| seat.told) {
                    told.one(None);
                }
                pace.remove(*slot);
                merged.removed += 1;
            }
            is_wanted
        });
        merged
    }

    /// The slot of a name.
    fn slot_of(&self, name: &str) -> Option<u32> {
        let has_name = |slot: &u32| name_at(&self.seats, *slot).is_some_and(|known| known == name);
        self.by_name.find(self.hasher.hash_one(name), has_name).copied()
    }

    /// Makes room for so many targets at once: to hash a million names again and again would take longer than all
    /// the rest.
    fn make_room(&mut self, targets: usize) {
        let Self { seats, by_name, hasher, .. } = self;
        seats.reserve(targets.saturating_sub(seats.len()));
        by_name.reserve(targets.saturating_sub(by_name.len()), |slot| {
            hasher.hash_one(name_at(seats, *slot).unwrap_or_default())
        });
    }

    /// Goes on with a target that is there; whether it stays as it is.
    fn keep(&mut self, slot: u32, target: &Arc<Target>, merged: &mut Merged) -> bool {
        let Some(Some(seat)) = self.seats.get_mut(slot as usize) else { return true };
        if seat.merge == self.merge {
            // A second one of the name; the first counts.
            return true;
        }
        seat.merge = self.merge;
        let is_kept = Arc::ptr_eq(&seat.target, target) || seat.target == *target;
        if is_kept {
            merged.kept += 1;
        } else {
            merged.changed += 1;
        }
        seat.target = Arc::clone(target);
        is_kept
    }

    fn add(&mut self, target: &Arc<Target>, timing: &Timing, told: Option<&Arc<Told>>, now: Instant) {
        let slot = match &mut self.pace {
            Pace::Again { schedule, .. } => schedule.add(&target.name, timing, now),
            Pace::Once { waiting, .. } => {
                let slot = self.seats.len() as u32;
                waiting.push_back(slot);
                slot
            }
        };
        let at = slot as usize;
        if self.seats.len() <= at {
            self.seats.resize_with(at + 1, || None);
        }
        self.seats[at] =
            Some(Seat { target: Arc::clone(target), merge: self.merge, told: told.map(Told::wait_for) });
        let Self { seats, by_name, hasher, .. } = self;
        by_name.insert_unique(hasher.hash_one(&*target.name), slot, |slot| {
            hasher.hash_one(name_at(seats, *slot).unwrap_or_default())
        });
    }

    fn take_left(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// When the next one is due; none while nobody is.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = match &self.pace {
            Pace::Again { schedule, .. } => schedule.next_due(),
            Pace::Once { waiting, begin } => (!waiting.is_empty()).then_some(*begin),
        };
        let errand = self.errands.front().map(|errand| errand.came);
        due.into_iter().chain(errand).min()
    }

    /// The next one that is due at `now`. Those on schedule go first: errands take the room that is left.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Turn> {
        let Self { pace, seats, errands, .. } = self;
        let scheduled = match pace {
            Pace::Again { schedule, .. } => schedule.pop_due(now).and_then(|due| scheduled(due, seats)),
            Pace::Once { waiting, .. } => std::iter::from_fn(|| waiting.pop_front()).find_map(|slot| {
                let seat = seats.get_mut(slot as usize)?.as_mut()?;
                let (target, told) = (Arc::clone(&seat.target), seat.told.take());
                Some(Turn { target, slot: Some(slot), due: None, missed: 0, next: None, told })
            }),
        };
        scheduled.or_else(|| {
            let Errand { target, told, came } = errands.pop_front()?;
            let due = matches!(pace, Pace::Again { .. }).then_some(came);
            Some(Turn { target, slot: None, due, missed: 0, next: None, told })
        })
    }

    /// Tells that the probe of a target has ended, and whether it failed.
    pub(super) fn finished(&mut self, slot: Option<u32>, now: Instant, has_failed: bool) {
        if let (Pace::Again { schedule, .. }, Some(slot)) = (&mut self.pace, slot) {
            schedule.finished(slot, now, has_failed);
        }
    }

    /// Whether nothing will be due any more, unless targets are added.
    pub(super) fn is_over(&self) -> bool {
        let is_over = match &self.pace {
            Pace::Again { .. } => self.by_name.is_empty(),
            Pace::Once { waiting, .. } => waiting.is_empty(),
        };
        is_over && self.errands.is_empty()
    }

    /// Sees whether civil time was set, and has the schedule follow it. To be called at least once a
    /// second.
    pub(super) fn mind_clock(&mut self, clock: &Clock, pipeline: &str) {
        let Pace::Again { schedule, anchor } = &mut self.pace else { return };
        let (now, wall) = (clock.now(), clock.wall());
        let expected = anchor.wall.plus(now.saturating_duration_since(anchor.now));
        let step = Duration::from_nanos(wall.0.abs_diff(expected.0));
        if step < CLOCK_STEP {
            return;
        }
        *anchor = Anchor { now, wall };
        schedule.wall_stepped(now, wall);
        if step >= TOLD_STEP {
            let direction = if wall > expected { "forward" } else { "back" };
            tracing::warn!(
                pipeline,
                direction,
                step_s = step.as_secs(),
                "civil time was set: intervals keep their pace"
            );
        }
    }
}

impl Pace {
    fn remove(&mut self, slot: u32) {
        match self {
            Self::Again { schedule, .. } => schedule.remove(slot),
            Self::Once { waiting, .. } => waiting.retain(|waiting| *waiting != slot),
        }
    }
}

/// The name of the target in a slot.
fn name_at(seats: &[Option<Seat>], slot: u32) -> Option<&str> {
    Some(&seats.get(slot as usize)?.as_ref()?.target.name)
}

/// The turn of a target that the schedule hands out.
fn scheduled(due: Due, seats: &mut [Option<Seat>]) -> Option<Turn> {
    let Due { target: slot, due, missed, next } = due;
    let seat = seats.get_mut(slot as usize)?.as_mut()?;
    let (target, told) = (Arc::clone(&seat.target), seat.told.take());
    Some(Turn { target, slot: Some(slot), due: Some(due), missed, next, told })
}

/// The timing of each target: made once for each interval.
struct Timings<'a> {
    own: &'a Timing,
    by_interval: HashMap<Duration, Timing>,
}

impl Timings<'_> {
    fn of(&mut self, target: &Target) -> &Timing {
        match target.every {
            None => self.own,
            Some(every) => self.by_interval.entry(every).or_insert_with(|| self.own.with_every(every)),
        }
    }
}
