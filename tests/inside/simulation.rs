//! A day of ten thousand targets, without waiting: reloads every hour, the end of summer time, a clock that
//! is set forward and back. The schedule is asked at every moment at which something is due, and what it
//! hands out is compared with what each kind of target should see, found by counting seconds.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use probity::clock::{Clock, Instant, UnixNanos};
use probity::schedule::{Due, Schedule, ScheduleText, Timing};

use crate::timing::with_table;

const SECOND: u64 = 1_000_000_000;
const DAY_S: u64 = 86_400;
/// 2026-10-24 12:00:30 UTC: Berlin's clocks go back at 01:00 UTC of the next day.
const START_S: i64 = 1_792_843_230;
/// When the clock is set, in seconds since the start, and by how much: from 18:20 to 18:40, and later back
/// from 03:50 to 03:20.
const STEPS: [(u64, i64); 2] = [(22_770, 1_200), (55_770, -1_800)];

/// Civil time at a moment of the simulation, in Unix seconds.
fn wall_s(at_s: u64) -> i64 {
    let moved: i64 = STEPS.iter().filter(|(when, _)| at_s >= *when).map(|(_, by)| by).sum();
    START_S + at_s as i64 + moved
}

fn timing(text: &str) -> Timing {
    with_table(text, |table: ScheduleText, document, diagnostics| table.timing(document, diagnostics))
        .unwrap()
}

/// The kinds of targets, with their share of ten.
const KINDS: [(&str, usize, &str); 5] = [
    ("plain", 4, "every = \"10m\""),
    ("jittery", 2, "every = \"15m\"\njitter = \"5s\""),
    ("half-hourly", 2, "cron = \"*/30 * * * *\"\ntimezone = \"Europe/Berlin\""),
    (
        "daytime",
        1,
        "every = \"10m\"\nactive = [{ from = \"08:00\", to = \"18:00\", timezone = \"Europe/Berlin\" }]",
    ),
    ("nightly", 1, "cron = \"30 2 * * *\"\ntimezone = \"Europe/Berlin\""),
];

/// One target as the simulation knows it.
struct Known {
    kind: usize,
    added_ns: u64,
    retimed: bool,
    removed: bool,
    /// When it was due, in nanoseconds since the start.
    dues: Vec<u64>,
}

struct Simulation {
    base: Instant,
    schedule: Schedule,
    timings: Vec<Timing>,
    other: Timing,
    known: Vec<Known>,
    /// Who has a slot: its number and whether a probe of it runs.
    slots: HashMap<u32, (usize, bool)>,
    /// Probes that run: when they end, and their slot.
    running: BinaryHeap<Reverse<(u64, u32)>>,
    starts: Vec<u32>,
}

impl Simulation {
    fn new() -> Self {
        let base = Clock::system().now();
        Self {
            base,
            schedule: Schedule::new("simulation", base, UnixNanos(START_S * SECOND as i64)),
            timings: KINDS.iter().map(|(_, _, text)| timing(text)).collect(),
            other: timing("every = \"7m\""),
            known: Vec::new(),
            slots: HashMap::new(),
            running: BinaryHeap::new(),
            starts: vec![0; DAY_S as usize + 1],
        }
    }

    fn moment(&self, at_ns: u64) -> Instant {
        self.base + Duration::from_nanos(at_ns)
    }

    fn add(&mut self, at_ns: u64) {
        let number = self.known.len();
        let mut place = number % 10;
        let kind = KINDS.iter().position(|(_, share, _)| {
            let found = place < *share;
            place = place.saturating_sub(*share);
            found
        });
        let kind = kind.unwrap();
        let now = self.moment(at_ns);
        let slot = self.schedule.add(&format!("target {number}"), &self.timings[kind], now);
        self.known.push(Known { kind, added_ns: at_ns, retimed: false, removed: false, dues: Vec::new() });
        let before = self.slots.insert(slot, (number, false));
        assert!(before.is_none(), "a slot in use was given away");
    }

    /// Removes a hundred, retimes some, adds a hundred, and says again what holds for all others.
    fn reload(&mut self, at_ns: u64, hour: usize) {
        let now = self.moment(at_ns);
        let mut slots: Vec<(u32, usize, bool)> =
            self.slots.iter().map(|(slot, (number, runs))| (*slot, *number, *runs)).collect();
        slots.sort_unstable();
        for (slot, number, runs) in slots {
            let known = &mut self.known[number];
            if known.removed {
                continue;
            }
            let name = format!("target {number}");
            if number % 100 == hour {
                known.removed = true;
                self.schedule.remove(slot);
                if !runs {
                    self.slots.remove(&slot);
                }
            } else if number % 100 == 50 + hour && KINDS[known.kind].0 == "plain" && !known.retimed {
                (known.retimed, known.added_ns) = (true, at_ns);
                known.dues.clear();
                self.schedule.retime(slot, &name, &self.other, now);
            } else {
                let timing = if known.retimed { &self.other } else { &self.timings[known.kind] };
                self.schedule.retime(slot, &name, timing, now);
            }
        }
        for _ in 0..100 {
            self.add(at_ns);
        }
    }

    /// Runs until a moment: whatever is due starts at once, and ends after 20 ms to 2 s.
    fn run_until(&mut self, until_ns: u64) {
        loop {
            let due_ns = self.schedule.next_due().map(|due| (due - self.base).as_nanos() as u64);
            let ends_ns = self.running.peek().map(|Reverse((ends_ns, _))| *ends_ns);
            let next_ns = due_ns.into_iter().chain(ends_ns).min().unwrap_or(u64::MAX);
            if next_ns >= until_ns {
                return;
            }
            if ends_ns == Some(next_ns) {
                let Reverse((_, slot)) = self.running.pop().unwrap();
                self.schedule.finished(slot, self.moment(next_ns), false);
                let (number, runs) = self.slots.get_mut(&slot).unwrap();
                *runs = false;
                if self.known[*number].removed {
                    self.slots.remove(&slot);
                }
                continue;
            }
            let due = self.schedule.pop_due(self.moment(next_ns)).unwrap();
            self.start(due, next_ns);
        }
    }

    fn start(&mut self, due: Due, at_ns: u64) {
        let due_ns = (due.due - self.base).as_nanos() as u64;
        assert_eq!((due_ns, due.missed), (at_ns, 0), "due when it is handed out, and nothing missed");
        let (number, runs) = self.slots.get_mut(&due.target).expect("a slot without a target is due");
        assert!(!*runs, "target {number} overlaps itself");
        *runs = true;
        let known = &mut self.known[*number];
        assert!(!known.removed, "target {number} is due after it was removed");
        known.dues.push(due_ns);
        self.starts[(due_ns / SECOND) as usize] += 1;
        let takes_ns = (1 + *number as u64 % 100) * SECOND / 50;
        assert!(due.next.is_none_or(|next| next > due.due + Duration::from_secs(3)));
        self.running.push(Reverse((at_ns + takes_ns, due.target)));
    }
}

/// The seconds at which a clock that is set as ours shows a time that fits.
fn seconds_that_fit(mut fits: impl FnMut(i64) -> bool) -> Vec<u64> {
    (0..DAY_S).filter(|at_s| fits(wall_s(*at_s))).collect()
}

/// That dues are what they should be for an interval: the ramp first, then ticks without a gap.
fn expect_ticks(known: &Known, every_s: u64, width_s: u64, until_ns: u64) {
    let interval_ns = every_s * SECOND;
    let (first, ticks) = known.dues.split_first().expect("it never ran");
    let ramp_ns = if known.retimed { interval_ns } else { 11 * SECOND };
    assert!(first - known.added_ns <= ramp_ns, "the first run comes soon");
    let mut before: Option<u64> = None;
    for tick in ticks {
        if let Some(before) = before {
            let number = tick.abs_diff(before + interval_ns);
            assert!(number <= width_s * SECOND, "a tick is {number} ns off");
        }
        before = Some(*tick);
    }
    let last = *known.dues.last().unwrap();
    assert!(last + interval_ns * 3 / 2 + width_s * SECOND >= until_ns, "it stopped at {last}");
}

#[test]
fn t1_t3_t4_t10_a_day_of_ten_thousand_targets_with_reloads_and_a_moving_clock() {
    let mut simulation = Simulation::new();
    for _ in 0..10_000 {
        simulation.add(0);
    }
    for hour in 0..24_u64 {
        let begin_s = hour * 3_600;
        for (at_s, _) in STEPS.iter().filter(|(at_s, _)| (begin_s..begin_s + 3_600).contains(at_s)) {
            simulation.run_until(at_s * SECOND);
            let now = simulation.moment(at_s * SECOND);
            simulation.schedule.wall_stepped(now, UnixNanos(wall_s(*at_s) * SECOND as i64));
        }
        simulation.run_until((begin_s + 3_600) * SECOND);
        simulation.reload((begin_s + 3_600) * SECOND, hour as usize);
    }
    let end_ns = DAY_S * SECOND;
    let half_hours = seconds_that_fit(|wall_s| wall_s % 1_800 == 0);
    // Berlin's 02:30 comes at 00:30 UTC, and an hour later once more, when it does not count.
    let nights = seconds_that_fit(|wall_s| wall_s == 1_792_888_200);
    assert_eq!(
        (half_hours.len(), nights.len()),
        (47, 1),
        "the clock skips a half hour, repeats one, and ends the day ten minutes early"
    );
    for (number, known) in simulation.known.iter().enumerate().filter(|(_, known)| !known.removed) {
        let (kind, ..) = KINDS[known.kind];
        match kind {
            _ if known.added_ns >= end_ns - 1_000 * SECOND => {}
            "plain" if known.retimed => expect_ticks(known, 420, 0, end_ns),
            "plain" => expect_ticks(known, 600, 0, end_ns),
            "jittery" => expect_ticks(known, 900, 5, end_ns),
            "daytime" => expect_daytime(known),
            _ => {
                let fires = if kind == "nightly" { &nights } else { &half_hours };
                let wanted: Vec<u64> =
                    fires.iter().copied().filter(|at_s| at_s * SECOND > known.added_ns).collect();
                // Its place lies within ten seconds of the fire; at the end of the day it may not have come.
                let places: Vec<u64> =
                    known.dues.iter().zip(&wanted).map(|(due, at_s)| due - at_s * SECOND).collect();
                assert_eq!(known.dues.len(), wanted.len(), "target {number}, {kind}");
                assert!(places.iter().all(|place| *place < 10 * SECOND), "target {number}: {places:?}");
            }
        }
    }
    let ramp = &simulation.starts[..10];
    assert!(ramp.iter().all(|count| *count <= 1_000), "{ramp:?}");
    // A cron time of 3,000 targets takes ten seconds; intervals add 15 a second.
    let most = simulation.starts[11..].iter().max().unwrap();
    assert!(*most <= 450, "{most} starts in a second");
}

/// Within the hours of the day by the clock, ten minutes apart, from the first minutes on.
fn expect_daytime(known: &Known) {
    let is_open = |at_ns: u64| {
        let wall_s = wall_s(at_ns / SECOND);
        let berlin_s = wall_s + if wall_s < 1_792_890_000 { 7_200 } else { 3_600 };
        (8 * 3_600..18 * 3_600).contains(&(berlin_s % 86_400))
    };
    assert!(known.dues.iter().all(|due| is_open(*due)), "due while all windows are closed");
    let every_ns = 600 * SECOND;
    let Some(tick) = known.dues.iter().copied().find(|due| *due > known.added_ns + 700 * SECOND) else {
        return;
    };
    // Its grid, walked in both directions, has no open tick that it did not run at.
    let first = tick % every_ns;
    let wanted: Vec<u64> = (0..DAY_S / 600)
        .map(|count| first + count * every_ns)
        .filter(|at_ns| *at_ns > known.added_ns + 700 * SECOND && is_open(*at_ns))
        .collect();
    let found: Vec<u64> =
        known.dues.iter().copied().filter(|due| *due > known.added_ns + 700 * SECOND).collect();
    assert_eq!(found, wanted);
}
