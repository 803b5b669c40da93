//! Properties of the schedule, and days of it in a second.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::clock::Clock;

const SECOND: u64 = 1_000_000_000;
const WALL: UnixNanos = UnixNanos(1_790_000_000_123_456_789);

fn now() -> Instant {
    Clock::system().now()
}

fn nanos(count: u64) -> Duration {
    Duration::from_nanos(count)
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("https://host-{number}.example/")).collect()
}

fn schedule(names: &[String], every: &[Duration], base: Instant, wall: UnixNanos) -> Schedule {
    let mut schedule = Schedule::new("shop", base, wall);
    for (name, every) in names.iter().zip(every) {
        schedule.add(name, &Timing::every(*every), base);
    }
    schedule
}

/// Takes all that is due and finishes it at once.
fn run_all(schedule: &mut Schedule, at: Instant, mut each: impl FnMut(Due)) {
    while let Some(due) = schedule.pop_due(at) {
        each(due);
        schedule.finished(due.target, at, false);
    }
}

/// The schedule by its definition, tick by tick: what a target's n-th moment is.
struct Reference {
    base: Instant,
    start_ns: u64,
    first_ns: u64,
    every_ns: u64,
}

impl Reference {
    fn new(name: &str, every: Duration, base: Instant, wall: UnixNanos, start: Instant) -> Self {
        let every_ns = u64::try_from(every.as_nanos()).unwrap();
        let phase = phase_ns("shop", name, every);
        let start_ns = u64::try_from((start - base).as_nanos()).unwrap();
        let earliest = i128::from(wall.0) + i128::from(start_ns) + i128::from(every_ns / 2);
        let wait = (i128::from(phase) - earliest).rem_euclid(i128::from(every_ns));
        let first_ns = start_ns + every_ns / 2 + u64::try_from(wait).unwrap();
        Self { base, start_ns, first_ns, every_ns }
    }

    /// The n-th moment at which the target ought to run: the ramp first, then its ticks.
    fn moment(&self, n: u64) -> Instant {
        let ns = if n == 0 { self.start_ns } else { self.first_ns + (n - 1) * self.every_ns };
        self.base + nanos(ns)
    }
}

/// One step of a random life: time passes, all due is taken, some of what is in flight ends.
#[derive(Debug, Clone)]
struct Step {
    pass_ns: u64,
    finish: Vec<bool>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pass = prop_oneof![
        4 => 0..SECOND,
        4 => 0..120 * SECOND,
        1 => 0..30 * 86_400 * SECOND,
    ];
    let step = (pass, prop::collection::vec(any::<bool>(), 12));
    prop::collection::vec(step.prop_map(|(pass_ns, finish)| Step { pass_ns, finish }), 1..80)
}

fn intervals() -> impl Strategy<Value = Vec<Duration>> {
    let every = prop_oneof![
        Just(Duration::from_millis(100)),
        Just(Duration::from_secs(1)),
        Just(Duration::from_secs(30)),
        Just(Duration::from_hours(366 * 24)),
        (100_000_000..3_600 * SECOND).prop_map(nanos),
    ];
    prop::collection::vec(every, 1..12)
}

proptest! {
    /// Every moment of every target is handed out or counted as missed, in order, and none twice; what is
    /// handed out is the latest that passed; nothing in flight is handed out again.
    #[test]
    fn each_moment_is_handed_out_or_counted(every in intervals(), steps in steps(), wall in any::<i32>()) {
        let wall = UnixNanos(i64::from(wall) * 1_000_000_007);
        let base = now();
        let names = names(every.len());
        let mut schedule = schedule(&names, &every, base, wall);
        let mut references: HashMap<u32, (Reference, u64)> = HashMap::new();
        let mut in_flight = HashSet::new();
        let mut at = base;
        for step in steps {
            at += nanos(step.pass_ns);
            while let Some(due) = schedule.pop_due(at) {
                let target = due.target as usize;
                prop_assert!(in_flight.insert(due.target), "a probe overlaps itself");
                let (reference, used) = references.entry(due.target).or_insert_with(|| {
                    let start = base + nanos(target as u64 * SECOND / 1_000);
                    (Reference::new(&names[target], every[target], base, wall, start), 0)
                });
                *used += u64::from(due.missed) + 1;
                prop_assert_eq!(due.due, reference.moment(*used - 1), "moment {} of {}", *used - 1, target);
                prop_assert!(due.due <= at);
                prop_assert!(reference.moment(*used) > at, "a later moment had passed as well");
            }
            for (target, end) in (0..).zip(&step.finish) {
                if *end && in_flight.remove(&target) {
                    schedule.finished(target, at, false);
                }
            }
        }
        // Nobody starves: whoever is not in flight runs within its interval, and the ramp's half of one.
        let longest = every.iter().max().unwrap();
        let mut seen = in_flight.clone();
        while let Some(due) = schedule.pop_due(at + *longest * 2) {
            seen.insert(due.target);
        }
        prop_assert_eq!(seen.len(), every.len());
        prop_assert_eq!(schedule.next_due(), None, "all are in flight");
    }

    #[test]
    fn the_same_input_gives_the_same_order(every in intervals(), steps in steps()) {
        let base = now();
        let names = names(every.len());
        let life = || {
            let mut schedule = schedule(&names, &every, base, WALL);
            let mut at = base;
            let mut out = Vec::new();
            for step in &steps {
                at += nanos(step.pass_ns);
                run_all(&mut schedule, at, |due| out.push(due));
            }
            out
        };
        prop_assert_eq!(life(), life());
    }

    #[test]
    fn next_due_is_when_something_is_due(every in intervals()) {
        let base = now();
        let mut schedule = schedule(&names(every.len()), &every, base, WALL);
        for _ in 0..100 {
            let at = schedule.next_due().unwrap();
            if let Some(before) = at.checked_sub(nanos(1)).filter(|before| *before >= base) {
                prop_assert_eq!(schedule.pop_due(before), None);
            }
            let due = schedule.pop_due(at).unwrap();
            prop_assert_eq!((due.due, due.missed), (at, 0));
            schedule.finished(due.target, at, false);
        }
    }

    /// A start at any other time, with other neighbours, keeps the grid: what a restart, a reload and an
    /// edit of the file do (T12).
    #[test]
    fn restarts_and_neighbours_keep_the_grid(
        every in intervals(),
        later in 0..100 * 86_400 * SECOND,
        position in 0_usize..12,
    ) {
        let base = now();
        let names = names(every.len());
        let chosen = position % names.len();
        let tick_of = |names: &[String], target: usize, wall: UnixNanos| {
            let mut schedule = schedule(names, &vec![every[chosen]; names.len()], base, wall);
            // The first run is the ramp's; the second one's tick lies half an interval or more behind it.
            let mut runs = 0;
            let mut tick = None;
            while tick.is_none() {
                let at = schedule.next_due().unwrap();
                run_all(&mut schedule, at, |due| {
                    runs += u32::from(due.target as usize == target);
                    tick = tick.or((runs == 2).then_some(due.due));
                });
            }
            i128::from(wall.plus(tick.unwrap() - base).0)
        };
        let one = tick_of(&names[chosen..=chosen], 0, WALL);
        let two = tick_of(&names, chosen, WALL.plus(nanos(later)));
        let grid = i128::try_from(every[chosen].as_nanos()).unwrap();
        prop_assert_eq!((one - two) % grid, 0);
        prop_assert_eq!(one.rem_euclid(grid), i128::from(phase_ns("shop", &names[chosen], every[chosen])));
    }
}

/// The formula is a promise; these numbers (what Python's xxhash gives, in whole 5 ms) may never change.
#[test]
fn phases_are_stable_for_ever() {
    let phase = |pipeline, target, every| phase_ns(pipeline, target, Duration::from_secs(every));
    assert_eq!(phase("shop", "https://shop.example/", 60), 21_195_000_000);
    assert_eq!(phase("shop", "api", 10), 5_370_000_000);
    assert_eq!(phase("", "", 1), 870_000_000);
    // The separator keeps pairs apart.
    assert_ne!(phase("a", "bc", 3_600), phase("ab", "c", 3_600));
}

#[test]
fn a_few_targets_start_at_once_and_in_order() {
    let base = now();
    let mut schedule = schedule(&names(5), &[Duration::from_mins(1); 5], base, WALL);
    let mut order = Vec::new();
    run_all(&mut schedule, base + Duration::from_millis(5), |due| order.push(due.target));
    assert_eq!(order, [0, 1, 2, 3, 4]);
}

/// Counts starts by second of a simulated life in which probes take no time.
fn starts_by_second(schedule: &mut Schedule, base: Instant, seconds: u64) -> Vec<usize> {
    let mut counts = vec![0; usize::try_from(seconds).unwrap()];
    while let Some(at) = schedule.next_due().filter(|at| *at < base + Duration::from_secs(seconds)) {
        run_all(schedule, at, |due| {
            assert_eq!(due.missed, 0);
            counts[usize::try_from((due.due - base).as_secs()).unwrap()] += 1;
        });
    }
    counts
}

/// Ten thousand targets for a day: no second has more than the ramp's rate, and none far more than its
/// share afterwards (T10).
#[test]
fn a_day_of_ten_thousand_targets_has_no_burst() {
    let base = now();
    let minutes = [5, 10, 15, 60];
    let every: Vec<_> =
        (0..10_000).map(|number| Duration::from_secs(60 * minutes[number % minutes.len()])).collect();
    let mut schedule = schedule(&names(10_000), &every, base, WALL);
    let counts = starts_by_second(&mut schedule, base, 86_400);
    let share: f64 = every.iter().map(|every| 1.0 / every.as_secs_f64()).sum();
    assert!(counts[..10].iter().all(|count| *count == 1_000), "the ramp: {:?}", &counts[..10]);
    let most = *counts[10..].iter().max().unwrap() as f64;
    assert!(most < share * 4.0, "{most} starts in a second at a share of {share}");
    let total: usize = counts.iter().sum();
    let expected = share * 86_400.0;
    assert!((total as f64 - expected).abs() < 10_000.0 * 1.5, "{total} of {expected}");
}

/// More targets than the ramp could start within their interval: they start at their own ticks.
#[test]
fn the_ramp_is_never_longer_than_the_interval() {
    let base = now();
    let mut schedule = schedule(&names(50_000), &vec![Duration::from_secs(10); 50_000], base, WALL);
    let counts = starts_by_second(&mut schedule, base, 30);
    assert!(counts[..10].iter().sum::<usize>() >= 50_000);
    assert!(counts.iter().all(|count| *count < 7_500), "{counts:?}");
}

/// A short interval behind many long ones waits for its own interval at most, not for the whole ramp.
#[test]
fn a_short_interval_does_not_wait_for_the_ramp() {
    let base = now();
    let mut every = vec![Duration::from_hours(1); 20_000];
    every.push(Duration::from_millis(100));
    let mut schedule = schedule(&names(every.len()), &every, base, WALL);
    let mut first = None;
    run_all(&mut schedule, base + Duration::from_millis(100), |due| {
        first = first.or((due.target == 20_000).then_some(due.due));
    });
    assert!(first.unwrap() < base + Duration::from_millis(100));
}

/// A probe slower than its interval skips ticks, which are counted, and does not pile up (T11).
#[test]
fn a_slow_probe_skips_its_ticks() {
    let base = now();
    let mut schedule = schedule(&names(1), &[Duration::from_secs(1)], base, WALL);
    assert_eq!(schedule.pop_due(base).unwrap().missed, 0);
    // Its next tick is half a second or more away.
    let quick = base + Duration::from_millis(100);
    schedule.finished(0, quick, false);
    let tick = schedule.next_due().unwrap();
    assert!(tick >= base + Duration::from_millis(500) && tick < base + Duration::from_millis(1_500));
    assert_eq!(
        schedule.pop_due(tick).unwrap(),
        Due { target: 0, due: tick, missed: 0, next: Some(tick + Duration::from_secs(1)) }
    );
    // It takes three seconds and a half: three ticks pass.
    let end = tick + Duration::from_millis(3_500);
    assert_eq!(schedule.pop_due(end), None);
    schedule.finished(0, end, false);
    schedule.finished(0, end, false); // Told twice, counts once.
    assert_eq!(schedule.pop_due(end), None);
    let next = tick + Duration::from_secs(4);
    assert_eq!(
        schedule.pop_due(next).unwrap(),
        Due { target: 0, due: next, missed: 3, next: Some(next + Duration::from_secs(1)) }
    );
    schedule.finished(0, next, false);
    assert_eq!(schedule.pop_due(next + Duration::from_secs(1)).unwrap().missed, 0);
}

/// A tick at the very moment of the end has passed.
#[test]
fn a_probe_that_ends_on_a_tick_misses_it() {
    let base = now();
    let mut schedule = schedule(&names(1), &[Duration::from_secs(1)], base, WALL);
    schedule.pop_due(base).unwrap();
    schedule.finished(0, base, false);
    let tick = schedule.next_due().unwrap();
    schedule.pop_due(tick).unwrap();
    schedule.finished(0, tick + Duration::from_secs(1), false);
    assert_eq!(schedule.next_due().unwrap(), tick + Duration::from_secs(2));
}

/// Eight hours of suspend at an interval of a second: one run, at the latest tick.
#[test]
fn a_stall_comes_out_as_one() {
    let base = now();
    let mut schedule = schedule(&names(1), &[Duration::from_secs(1)], base, WALL);
    let late = base + Duration::from_hours(8);
    let due = schedule.pop_due(late).unwrap();
    assert!(late - due.due < Duration::from_secs(1), "the latest tick is the one that is run");
    assert!((28_799..=28_800).contains(&due.missed), "{}", due.missed);
    assert_eq!(schedule.pop_due(late), None);
    schedule.finished(0, late, false);
    assert_eq!(schedule.next_due().unwrap(), due.due + Duration::from_secs(1));
}

/// What a pipeline file may say at most, and what it may not (T8): no panic, no busy loop.
#[test]
fn extremes_are_survived() {
    let base = now();
    let every =
        [Duration::ZERO, nanos(1), Duration::from_millis(100), Duration::from_hours(8_784), Duration::MAX];
    for wall in [UnixNanos(0), UnixNanos(i64::MIN), UnixNanos(i64::MAX), UnixNanos(-1), WALL] {
        let mut schedule = schedule(&names(every.len()), &every, base, wall);
        for pass in [0, 1, SECOND, 86_400 * 366 * SECOND, 60 * 86_400 * 366 * SECOND] {
            run_all(&mut schedule, base + nanos(pass), |due| assert!(due.due <= base + nanos(pass)));
        }
        schedule.finished(99, base, false);
        assert_eq!(schedule.len(), every.len());
    }
    let mut empty = schedule(&[], &[], base, WALL);
    assert!(empty.is_empty() && empty.next_due().is_none() && empty.pop_due(base).is_none());
}

/// Prints what a million targets cost. With optimisation: see the module's documentation.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stderr, reason = "a measurement")]
fn measure_a_million_targets() {
    let clock = Clock::system();
    let names = names(1_000_000);
    let begin = clock.now();
    let mut schedule = schedule(&names, &vec![Duration::from_mins(1); 1_000_000], begin, WALL);
    let built = clock.now();
    let mut runs = 0_u32;
    for second in 0..120 {
        run_all(&mut schedule, begin + Duration::from_secs(second), |_| runs += 1);
    }
    let each = (clock.now() - built) / runs;
    eprintln!("built in {:?}, {runs} runs, {each:?} each", built - begin);
}
