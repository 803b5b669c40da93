//! The schedule as pipeline files set it: lives of targets at random against a model, windows, failures,
//! clocks that move.

use std::collections::HashMap;
use std::time::Duration;

use probity::clock::{Clock, Instant, UnixNanos};
use probity::schedule::{Due, Schedule, ScheduleText, Timing};
use proptest::prelude::*;

use crate::timing::with_table;

const SECOND: u64 = 1_000_000_000;
/// 2026-03-28 06:00:00 UTC, a Saturday; the clocks of Europe go forward on Sunday at 01:00 UTC.
const SATURDAY: i64 = 1_774_677_600;

fn timing(text: &str) -> Timing {
    with_table(text, |table: ScheduleText, document, diagnostics| table.timing(document, diagnostics))
        .unwrap()
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A schedule with the clock that it goes by.
struct Life {
    base: Instant,
    at: Instant,
    zero_s: i64,
    schedule: Schedule,
}

impl Life {
    fn new(start_s: i64) -> Self {
        let base = Clock::system().now();
        let schedule = Schedule::new("shop", base, UnixNanos(start_s * SECOND as i64));
        Self { base, at: base, zero_s: start_s, schedule }
    }

    fn offset(&self, at: Instant) -> u64 {
        (at - self.base).as_nanos() as u64
    }

    /// Civil time in seconds.
    fn wall_s(&self, at: Instant) -> i64 {
        self.zero_s + (at - self.base).as_secs() as i64
    }

    fn set_clock(&mut self, by_s: i64) {
        self.zero_s += by_s;
        let wall = self.zero_s.saturating_mul(SECOND as i64) + self.offset(self.at) as i64;
        self.schedule.wall_stepped(self.at, UnixNanos(wall));
    }

    /// Runs every probe when it is due, for a while; each takes no time.
    fn run(&mut self, length: Duration, failed: bool) -> Vec<(u32, Instant)> {
        let end = self.at + length;
        let mut found = Vec::new();
        while let Some(at) = self.schedule.next_due().filter(|at| *at < end) {
            self.at = at;
            let due = self.schedule.pop_due(at).unwrap();
            assert_eq!(due.missed, 0);
            found.push((due.target, due.due));
            self.schedule.finished(due.target, at, failed);
        }
        self.at = end;
        found
    }

    /// The civil times of what ran.
    fn run_walls(&mut self, length: Duration) -> Vec<i64> {
        let found = self.run(length, false);
        found.iter().map(|(_, due)| self.wall_s(*due)).collect()
    }
}

/// The timings that targets of the model have.
const TEXTS: [&str; 5] = [
    "every = \"30s\"",
    "every = \"5m\"\njitter = \"20s\"",
    "every = \"1m\"\nevery_on_failure = \"7s\"",
    "cron = \"*/5 * * * *\"\ntimezone = \"Europe/London\"\njitter = \"3s\"",
    "every = \"10m\"\nactive = [{ days = \"sat-tue\", from = \"08:00\", to = \"18:00\" }]",
];
const EVERY_S: [u64; 3] = [30, 300, 60];
const JITTER_S: [u64; 3] = [0, 20, 0];

/// Something that happens.
#[derive(Debug, Clone)]
enum Event {
    Pass(u64),
    Finish(usize, bool),
    Add(usize),
    Remove(usize),
    Retime(usize, usize),
    KeepAll,
    SetClock(i64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        8 => (0..400 * SECOND).prop_map(Event::Pass),
        1 => (0..30 * 3_600 * SECOND).prop_map(Event::Pass),
        12 => (any::<usize>(), any::<bool>()).prop_map(|(which, failed)| Event::Finish(which, failed)),
        3 => (0..TEXTS.len()).prop_map(Event::Add),
        1 => any::<usize>().prop_map(Event::Remove),
        1 => (any::<usize>(), 0..TEXTS.len()).prop_map(|(which, to)| Event::Retime(which, to)),
        2 => Just(Event::KeepAll),
        1 => (-20_000_i64..20_000).prop_map(Event::SetClock),
    ];
    prop::collection::vec(event, 1..120)
}

/// What the model knows of a target.
struct Model {
    name: String,
    timing: usize,
    runs: bool,
    failing: bool,
    /// Runs on the pace that it has now; the first may be the ramp's.
    ran: u32,
    last_ns: u64,
}

struct Check {
    life: Life,
    timings: Vec<Timing>,
    models: HashMap<u32, Model>,
    /// Slots whose target was removed while its probe ran.
    leaving: Vec<u32>,
    names: u32,
}

impl Check {
    fn new() -> Self {
        let timings = TEXTS.iter().map(|text| timing(text)).collect();
        Self { life: Life::new(SATURDAY), timings, models: HashMap::new(), leaving: Vec::new(), names: 0 }
    }

    /// One of the targets that are as wished.
    fn pick(&self, which: usize, runs: Option<bool>) -> Option<u32> {
        let fits = |model: &Model| runs.is_none_or(|runs| model.runs == runs);
        let mut slots: Vec<u32> =
            self.models.iter().filter(|(_, model)| fits(model)).map(|(slot, _)| *slot).collect();
        slots.sort_unstable();
        slots.get(which % slots.len().max(1)).copied()
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Pass(ns) => {
                self.life.at += Duration::from_nanos(ns);
                self.take_all();
            }
            Event::Finish(which, failed) => {
                if which % 3 == 0
                    && let Some(slot) = self.leaving.pop()
                {
                    self.life.schedule.finished(slot, self.life.at, failed);
                } else if let Some(slot) = self.pick(which, Some(true)) {
                    self.life.schedule.finished(slot, self.life.at, failed);
                    let model = self.models.get_mut(&slot).unwrap();
                    model.runs = false;
                    if TEXTS[model.timing].contains("on_failure") && model.failing != failed {
                        model.ran = 0;
                    }
                    model.failing = failed;
                }
            }
            Event::Add(timing) => {
                let name = format!("target {}", self.names);
                self.names += 1;
                let slot = self.life.schedule.add(&name, &self.timings[timing], self.life.at);
                assert!(!self.leaving.contains(&slot), "the slot of a probe that runs was given away");
                let model = Model { name, timing, runs: false, failing: false, ran: 0, last_ns: 0 };
                assert!(self.models.insert(slot, model).is_none(), "a slot was given twice");
            }
            Event::Remove(which) => {
                let Some(slot) = self.pick(which, None) else { return };
                self.life.schedule.remove(slot);
                if self.models.remove(&slot).unwrap().runs {
                    self.leaving.push(slot);
                }
            }
            Event::Retime(which, to) => {
                let Some(slot) = self.pick(which, None) else { return };
                let model = self.models.get_mut(&slot).unwrap();
                self.life.schedule.retime(slot, &model.name, &self.timings[to], self.life.at);
                if model.timing != to {
                    (model.timing, model.ran) = (to, 0);
                }
            }
            Event::KeepAll => {
                for (slot, model) in &self.models {
                    // Made anew, as a reload makes it.
                    let timing = timing(TEXTS[model.timing]);
                    self.life.schedule.retime(*slot, &model.name, &timing, self.life.at);
                }
            }
            Event::SetClock(by_s) => self.life.set_clock(by_s),
        }
        assert_eq!(self.life.schedule.len(), self.models.len());
    }

    fn take_all(&mut self) {
        while let Some(due) = self.life.schedule.pop_due(self.life.at) {
            assert!(!self.leaving.contains(&due.target), "a removed target is due");
            let due_ns = self.life.offset(due.due);
            let model = self.models.get_mut(&due.target).expect("a target that does not exist is due");
            assert!(!model.runs, "a probe overlaps itself");
            assert!(due.due <= self.life.at && due.next.is_none_or(|next| next > self.life.at));
            model.runs = true;
            model.ran += 1;
            model.expect_tick(due, due_ns);
            model.last_ns = due_ns;
        }
    }
}

impl Model {
    /// Every tick since the last one was handed out or is counted as missed.
    fn expect_tick(&self, due: Due, due_ns: u64) {
        let Some(mut every_s) = EVERY_S.get(self.timing).copied() else { return };
        if self.timing == 2 && self.failing {
            every_s = 7;
        }
        assert!(self.ran == 1 || due_ns > self.last_ns);
        // The ramp lies on no grid, and after it the next tick is half an interval away or more.
        if self.ran > 2 {
            let ticks_ns = (u64::from(due.missed) + 1) * every_s * SECOND;
            let off_ns = (due_ns - self.last_ns).abs_diff(ticks_ns);
            assert!(off_ns <= JITTER_S[self.timing] * SECOND, "{}: {off_ns} ns off, {due:?}", self.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whatever comes: nothing overlaps, ticks are handed out or counted, what is kept keeps its ticks to the
    /// nanosecond, and nobody starves (T1, T11, T12).
    #[test]
    fn t1_t11_t12_any_life_keeps_the_promises(events in events()) {
        let mut check = Check::new();
        for event in &events {
            check.happen(event);
        }
        // All end, and within a week and a bit everybody runs once more.
        for slot in std::mem::take(&mut check.leaving) {
            check.life.schedule.finished(slot, check.life.at, false);
        }
        for model in check.models.values_mut() {
            model.ran = 0;
        }
        while check.models.values().any(|model| model.runs) {
            for which in 0..check.models.len() {
                check.happen(&Event::Finish(1 + 3 * which, false));
            }
        }
        check.happen(&Event::Pass(8 * 86_400 * SECOND));
        prop_assert!(check.models.values().all(|model| model.runs), "somebody starves");
    }
}

#[test]
fn a_failing_target_is_watched_closer_and_returns_to_its_own_ticks() {
    let mut life = Life::new(SATURDAY);
    life.schedule.add("api", &timing("every = \"10m\"\nevery_on_failure = \"5s\""), life.at);
    let well: Vec<_> = life.run(seconds(3_600), false);
    let failing = life.run(seconds(1_200), true);
    let gaps: Vec<Duration> = failing.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
    assert!(gaps[1..].iter().all(|gap| *gap == seconds(5)), "{gaps:?}");
    assert!(gaps[0] >= seconds(2) && gaps.len() > 100);
    let again = life.run(seconds(3_600), false);
    let grid = |due: Instant| (due - well[1].1).as_nanos() % seconds(600).as_nanos();
    assert!(again[1..].iter().all(|(_, due)| grid(*due) == 0), "its own ticks, as if nothing had been");
    assert!(again.len() >= 6);
}

#[test]
fn windows_open_and_close_by_the_clock() {
    let text = "every = \"7m\"\nactive = [{ days = \"mon-fri\", from = \"08:00\", to = \"18:00\", timezone = \"Europe/London\" }]";
    let mut life = Life::new(SATURDAY);
    life.schedule.add("api", &timing(text), life.at);
    let walls = life.run_walls(seconds(9 * 86_400));
    // London is on summer time from Sunday on.
    let days: Vec<(i64, i64)> =
        walls.iter().map(|wall| ((wall + 3_600).div_euclid(86_400), (wall + 3_600) % 86_400)).collect();
    assert!(days.iter().all(|(_, second)| (28_800..64_800).contains(second)));
    let mut counts: HashMap<i64, usize> = HashMap::new();
    for (day, _) in &days {
        *counts.entry(*day).or_default() += 1;
    }
    let mut found: Vec<_> = counts.into_iter().collect();
    found.sort_unstable();
    let monday = (SATURDAY + 3_600) / 86_400 + 2;
    assert_eq!(found.iter().map(|(day, _)| day - monday).collect::<Vec<_>>(), [0, 1, 2, 3, 4], "five days");
    // Ten hours hold 85 or 86 ticks; between days nothing is missed (see `run`).
    assert!(found.iter().all(|(_, count)| (85..=86).contains(count)), "{found:?}");
}

/// An interval longer than the window: half of the targets have their tick while it is closed.
#[test]
fn a_long_interval_does_not_starve_in_a_short_window() {
    let text = "every = \"1d\"\nactive = [{ from = \"23:30\", to = \"00:30\" }]";
    let mut life = Life::new(SATURDAY);
    for number in 0..50 {
        life.schedule.add(&format!("target {number}"), &timing(text), life.at);
    }
    let found = life.run(seconds(10 * 86_400), false);
    for target in 0..50 {
        let dues: Vec<Instant> =
            found.iter().filter(|(slot, _)| *slot == target).map(|(_, due)| *due).collect();
        assert_eq!(dues.len(), 10, "once a night, target {target}");
        assert!(dues.iter().all(|due| (life.wall_s(*due) + 1_800).rem_euclid(86_400) < 3_600));
    }
}

/// The clock moves; intervals do not (T1).
#[test]
fn t1_intervals_do_not_mind_the_clock() {
    for by_s in [-7_200, 400 * 86_400, -SATURDAY, 2_200_000_000 - SATURDAY, 7_000_000_000] {
        let mut life = Life::new(SATURDAY);
        life.schedule.add("api", &timing("every = \"1m\""), life.at);
        let before = life.run(seconds(3_000), false);
        life.set_clock(by_s);
        let after = life.run(seconds(3_000), false);
        let all: Vec<Instant> = before[1..].iter().chain(&after).map(|(_, due)| *due).collect();
        assert!(all.windows(2).all(|pair| pair[1] - pair[0] == seconds(60)), "{by_s}: a burst or a gap");
    }
}

/// How often a cron time runs when the clock is set (T1): text, the clock in seconds of the day, by how much
/// it is set, and the civil times of the next half hour of runs.
#[test]
fn t1_cron_follows_the_clock_without_bursts() {
    let fixed = "cron = \"30 9 * * *\"\nspread = \"0s\"";
    let star = "cron = \"*/10 * * * *\"\nspread = \"0s\"";
    let nine = |minute: i64| 9 * 3_600 + minute * 60;
    // (text, when it is set, by how much, runs within 20 minutes afterwards)
    let cases: [(&str, i64, i64, &[i64]); 12] = [
        (fixed, nine(25), 600, &[nine(35)]),        // skipped: made up for at once
        (fixed, nine(25), 2 * 3_600, &[nine(145)]), // up to three hours
        (fixed, nine(25), 4 * 3_600, &[]),          // beyond, the new time counts
        (fixed, nine(25), 400 * 86_400 + 3_600, &[]),
        (fixed, nine(31), -120, &[]), // has run
        (fixed, nine(40), -1_200, &[]),
        (fixed, nine(40), -4 * 3_600 + 300, &[]),
        (fixed, 13 * 3_600 + 1_500, -4 * 3_600, &[nine(30)]), // beyond: once more
        (star, nine(9), 120, &[nine(11), nine(20), nine(30)]), // a small step skips nothing
        (star, nine(9), 1_260, &[nine(40)]),                  // a larger one does not count
        (star, nine(11), -90, &[nine(10), nine(20)]),         // the new time at once
        (star, nine(10) + 20, -30, &[nine(20)]),              // a correction repeats nothing
    ];
    let midnight = SATURDAY - SATURDAY % 86_400;
    for (number, (text, at_s, by_s, wanted)) in cases.into_iter().enumerate() {
        let mut life = Life::new(midnight + at_s - 1_800);
        life.schedule.add("api", &timing(text), life.at);
        life.run(seconds(1_800), false);
        life.set_clock(by_s);
        let walls: Vec<i64> =
            life.run_walls(seconds(1_200)).iter().map(|wall| (wall - midnight).rem_euclid(86_400)).collect();
        assert_eq!(walls, wanted, "case {number}: {text} at {at_s} by {by_s}");
    }
}

/// Ten thousand targets of one cron time do not start at once, and are not late for it (T10, T15).
#[test]
fn t10_a_cron_time_is_spread() {
    let mut life = Life::new(SATURDAY + 3_590);
    for number in 0..10_000 {
        life.schedule.add(&format!("target {number}"), &timing("cron = \"0 * * * *\""), life.at);
    }
    let found = life.run(seconds(60), false);
    assert_eq!(found.len(), 10_000);
    let mut by_second = [0; 60];
    for (_, due) in &found {
        by_second[(*due - life.base).as_secs() as usize] += 1;
    }
    assert!(by_second[10..20].iter().all(|count| (850..1_150).contains(count)), "{by_second:?}");
    let again = life.run(seconds(3_600), false);
    let place = |due: Instant| (due - life.base).as_nanos() % seconds(3_600).as_nanos();
    let places: HashMap<u32, u128> = found.iter().map(|(target, due)| (*target, place(*due))).collect();
    assert!(again.iter().all(|(target, due)| places[target] == place(*due)), "each keeps its place");
}

/// A tick that waited is told with its age, so that it can expire; it comes out once (T15).
#[test]
fn t15_a_late_tick_is_told_with_its_age() {
    let mut life = Life::new(SATURDAY);
    let slot = life.schedule.add("api", &timing("every = \"1h\"\nexpires = \"15s\""), life.at);
    let late = life.at + seconds(20);
    let due = life.schedule.pop_due(late).unwrap();
    assert_eq!((due.target, late - due.due), (slot, seconds(20)));
    assert_eq!(life.schedule.pop_due(late), None);
}

/// The interval counts from tick to tick, however long a probe takes, and a late start is seen (H108).
#[test]
fn h108_the_interval_does_not_depend_on_the_probe() {
    let mut life = Life::new(SATURDAY);
    let slot = life.schedule.add("api", &timing("every = \"10s\""), life.at);
    let mut dues = Vec::new();
    for number in 0..20 {
        let at = life.schedule.next_due().unwrap() + Duration::from_millis(number * 7);
        dues.push(life.schedule.pop_due(at).unwrap().due);
        life.schedule.finished(slot, at + Duration::from_millis(number * 400), false);
    }
    assert!(dues[1..].windows(2).all(|pair| pair[1] - pair[0] == seconds(10)), "{dues:?}");
}

/// What is removed before its first run never runs (H109).
#[test]
fn h109_a_target_removed_at_once_never_runs() {
    let mut life = Life::new(SATURDAY);
    let slot = life.schedule.add("api", &timing("every = \"10s\""), life.at);
    life.schedule.remove(slot);
    assert_eq!(
        (life.schedule.next_due(), life.schedule.pop_due(life.at), life.schedule.len()),
        (None, None, 0)
    );
    assert!(life.run(seconds(60), false).is_empty());
}

/// A hundred thousand edits touch nobody (T12), and leave nothing behind.
#[test]
fn t12_a_hundred_thousand_edits_keep_the_phase() {
    let mut life = Life::new(SATURDAY);
    let (kept, edited) = (timing("every = \"1m\""), [timing("every = \"20s\""), timing("every = \"50s\"")]);
    let slot = life.schedule.add("kept", &kept, life.at);
    let other = life.schedule.add("edited", &kept, life.at);
    let dues = |found: Vec<(u32, Instant)>| {
        found.into_iter().filter(|(target, _)| *target == slot).map(|(_, due)| due).collect::<Vec<_>>()
    };
    let before = dues(life.run(seconds(300), false));
    for number in 0..100_000 {
        life.schedule.retime(other, "edited", &edited[number % 2], life.at);
        life.schedule.retime(slot, "kept", &timing_again(&kept), life.at);
        if number % 500 == 0 {
            life.run(Duration::from_millis(300), false);
        }
    }
    life.at = life.base + seconds(360);
    let after = dues(life.run(seconds(300), false));
    let grid = |due: Instant| (due - before[1]).as_nanos() % seconds(60).as_nanos();
    assert!(after.len() >= 4 && after.iter().all(|due| grid(*due) == 0));
}

/// The same timing, without anything in common.
fn timing_again(timing: &Timing) -> Timing {
    Timing::every(timing.interval().unwrap())
}
