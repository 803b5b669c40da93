//! What a fresh sandbox for every response costs: `cargo bench --bench checks`, or
//! `cargo bench --bench checks -- --calls 500` for a quick look.
//!
//! Everything is timed in turn in one run, on one thread, with the epoch ticking: on a machine that does
//! other things as well, only the ratios mean something. The aims are ratios, of the fastest tenths.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark: it prints, and a failure ends it"
)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use probity::check::{
    BareStart, CheckEngine, CheckSet, CheckSpec, CompileCache, ConfiguredCheck, Effort, EngineSettings,
    Isolation, Limits, MemoryReset, MemoryState, Observed, Plugin, Timing, time_in_turn,
};
use probity::clock::{Clock, UnixNanos};
use probity::model::{CheckStatus, Exchange, Head, HttpVersion, Severity, Target};

#[path = "../support/wat_guest.rs"]
mod wat_guest;

use wat_guest::Guest;

/// Calls of each thing, where nobody says otherwise.
const CALLS: u32 = 4_000;
/// Calls of one thing before it is the next one's turn.
const IN_A_ROW: u32 = 50;

/// What the regex check looks for; it stands at the end of the page.
const PATTERN: &str = r"total\s+\d+\s+EUR";

/// The ways to clean a memory of the pool, the default first.
const RESETS: [(MemoryReset, &str); 3] = [
    (MemoryReset::PagemapScan, "keep-resident + pagemap-scan"),
    (MemoryReset::Copy, "keep-resident"),
    (MemoryReset::Unmap, "neither"),
];

fn main() {
    let calls = calls_wanted();
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let build = if cfg!(debug_assertions) { "unoptimised: only a trial" } else { "optimised" };
    println!("{calls} calls of each, {IN_A_ROW} in a row, in turn; Linux {}; {build}\n", kernel.trim());

    // The cache makes a folder that nobody else may read.
    let compiled = folder.path().join("compiled");
    measure_calls(calls, &compiled, &clock);
    print_memory(&compiled, &clock);
}

/// Times everything on three engines in one run.
fn measure_calls(calls: u32, folder: &Path, clock: &Clock) {
    let stands = RESETS.map(|(reset, name)| (Stand::new(reset, folder, clock), name));
    let mut rows = Vec::new();
    for (number, (stand, name)) in stands.iter().enumerate() {
        rows.extend(stand.rows(name, number == 0));
    }
    let timings = time_all(&rows, calls, clock);
    let measured = Measured { rows, timings };
    measured.print();
    measured.print_aims();
}

/// `--calls N`; cargo's own arguments are passed over.
fn calls_wanted() -> u32 {
    let arguments: Vec<String> = std::env::args().collect();
    let after = arguments.iter().skip_while(|argument| *argument != "--calls").nth(1);
    after.map_or(CALLS, |number| number.parse().expect("--calls takes a number"))
}

/// The plugins of one engine.
struct Stand {
    nop: Arc<Plugin>,
    body: Arc<Plugin>,
    clock: Clock,
}

/// One thing that is timed.
struct Row<'a> {
    /// How the pool cleans its memories.
    reset: &'static str,
    what: String,
    thing: Thing<'a>,
}

enum Thing<'a> {
    Bare(BareStart),
    Call(&'a Clock, CheckSet, Arc<Observed>),
}

impl Thing<'_> {
    fn once(&self) {
        match self {
            Self::Bare(start) => start.once().expect("an instance"),
            Self::Call(clock, set, observed) => drop(set.judge_here(observed, clock)),
        }
    }
}

impl Stand {
    fn new(reset: MemoryReset, folder: &Path, clock: &Clock) -> Self {
        let cache = Some(CompileCache::open(folder, clock).expect("a folder for what is compiled"));
        let settings = EngineSettings { reset, cache, ..EngineSettings::default() };
        let engine = Arc::new(CheckEngine::with_settings(settings).expect("an engine"));
        assert!(engine.is_pooled(), "no address space for the pool: nothing to measure");
        let nop = Arc::new(Plugin::load(&engine, &Guest::PLAIN.component()).expect("the nop guest"));
        let body = Arc::new(Plugin::load_bundled(&engine, "body").expect("body").expect("a plugin"));
        Self { nop, body, clock: clock.clone() }
    }

    /// What is timed on this engine; the aims need the whole only of the default one.
    fn rows(&self, reset: &'static str, is_whole: bool) -> Vec<Row<'_>> {
        let row = |what: &str, thing| Row { reset, what: what.to_owned(), thing };
        let nop = |isolation| self.call(check(&self.nop, "{}", isolation), page(1));
        let body = |isolation, kib| self.call(check(&self.body, &matching(PATTERN), isolation), page(kib));
        let mut rows = vec![
            row("nop, bare start", bare(&check(&self.nop, "{}", Isolation::Snapshot))),
            row("nop, snapshot", nop(Isolation::Snapshot)),
            row("regex, bare start", bare(&check(&self.body, &matching(PATTERN), Isolation::Snapshot))),
            row("regex, 1 KiB, snapshot", body(Isolation::Snapshot, 1)),
            row("regex, 100 KiB, snapshot", body(Isolation::Snapshot, 100)),
        ];
        if is_whole {
            rows.extend([
                row("nop, reuse", nop(Isolation::Reuse)),
                row("nop, configure", nop(Isolation::Configure)),
                row("regex, 1 KiB, reuse", body(Isolation::Reuse, 1)),
                row("regex, 1 KiB, configure", body(Isolation::Configure, 1)),
                row("regex, 100 KiB, reuse", body(Isolation::Reuse, 100)),
                row("regex, 100 KiB, configure", body(Isolation::Configure, 100)),
            ]);
            for checks in [1, 2, 4, 8] {
                let thing = Thing::Call(&self.clock, self.set_of(checks), page(1));
                rows.push(row(&format!("{checks} of regex, 1 KiB, snapshot"), thing));
            }
        }
        rows
    }

    fn call(&self, check: ConfiguredCheck, observed: Arc<Observed>) -> Thing<'_> {
        let set = CheckSet::new("bench".into(), vec![check], Arc::new(MemoryState::default()));
        for verdict in set.judge_here(&observed, &self.clock).verdicts {
            assert_eq!(verdict.status, CheckStatus::Pass, "{}", verdict.message);
        }
        Thing::Call(&self.clock, set, observed)
    }

    /// So many regex checks of a response, each with an expression and a snapshot of its own.
    fn set_of(&self, checks: usize) -> CheckSet {
        let patterns = (0..checks).map(|number| format!(r"total\s+\d+\s+(EUR|X{number})"));
        let checks = patterns.map(|pattern| check(&self.body, &matching(&pattern), Isolation::Snapshot));
        CheckSet::new("bench".into(), checks.collect(), Arc::new(MemoryState::default()))
    }
}

fn check(plugin: &Arc<Plugin>, config: &str, isolation: Isolation) -> ConfiguredCheck {
    let spec = CheckSpec {
        name: "check".into(),
        plugin: "plugin".into(),
        severity: Severity::Fail,
        on_error: false,
        // Nothing is to be stopped, on however slow a machine.
        limits: Limits { time: Duration::from_secs(10), ..Limits::default() },
        config: config.into(),
        isolation,
    };
    ConfiguredCheck::new(plugin, spec).expect("a configuration")
}

fn bare(check: &ConfiguredCheck) -> Thing<'static> {
    assert!(check.is_frozen());
    Thing::Bare(check.bare_start().expect("a component"))
}

fn matching(pattern: &str) -> String {
    serde_json::json!({ "matches": pattern }).to_string()
}

/// A page whose last words are what the expression looks for.
fn page(kib: usize) -> Arc<Observed> {
    let end = "\n<p>total 42 EUR</p>";
    let line = "<p>One line is as good as another, and 42 is a number.</p>\n";
    let body: String = line.chars().cycle().take((kib << 10) - end.len()).chain(end.chars()).collect();
    let exchange = Exchange {
        head: Some(Head { status: 200, version: HttpVersion::Http11, headers: http::HeaderMap::new() }),
        body: Bytes::from(body),
        ..Exchange::default()
    };
    let target = Target { name: "t".into(), url: "http://t/".into(), labels: [].into(), every: None };
    Arc::new(Observed::new(target.into(), exchange.into(), UnixNanos(0)))
}

fn time_all(rows: &[Row<'_>], calls: u32, clock: &Clock) -> Vec<Timing> {
    let mut things: Vec<_> = rows.iter().map(|row| || row.thing.once()).collect();
    let mut things: Vec<&mut dyn FnMut()> =
        things.iter_mut().map(|thing| thing as &mut dyn FnMut()).collect();
    let effort = Effort { calls, in_a_row: IN_A_ROW, at_most: Duration::from_mins(20) };
    time_in_turn(&mut things, effort, clock)
}

struct Measured<'a> {
    rows: Vec<Row<'a>>,
    timings: Vec<Timing>,
}

impl Measured<'_> {
    fn print(&self) {
        let titles = ["p10", "median", "p99", "CPU"].map(|title| format!("{title:>9}")).join("  ");
        println!("{:28}  {:30}  {titles}", "memory of the pool", "a call");
        for (row, timing) in self.rows.iter().zip(&self.timings) {
            let Timing { calls: _, p10, median, p99, cpu } = *timing;
            let times = [p10, median, p99, cpu].map(|time| format!("{:6.1} us", micros(time))).join("  ");
            println!("{:28}  {:30}  {times}", row.reset, row.what);
        }
    }

    /// How long a thing takes where nothing disturbs it, in microseconds, on the default engine.
    fn time(&self, what: &str) -> f64 {
        let default = RESETS[0].1;
        let found = self.rows.iter().position(|row| row.reset == default && row.what == what);
        micros(self.timings[found.unwrap_or_else(|| panic!("nothing is called {what}"))].p10)
    }

    fn print_aims(&self) {
        let of = |what| self.time(what);
        let (nop_bare, regex_bare) = (of("nop, bare start"), of("regex, bare start"));
        let (small, small_reuse) = (of("regex, 1 KiB, snapshot"), of("regex, 1 KiB, reuse"));
        let (large, large_reuse) = (of("regex, 100 KiB, snapshot"), of("regex, 100 KiB, reuse"));
        let aims = [
            ("nop from its snapshot / bare start of it", of("nop, snapshot") / nop_bare, AtMost(1.3)),
            (
                "regex, 1 KiB: snapshot / (reuse + 2 bare starts of it)",
                small / (small_reuse + 2.0 * regex_bare),
                AtMost(1.0),
            ),
            ("regex, 100 KiB: snapshot / reuse", large / large_reuse, AtMost(1.15)),
            (
                "regex, 1 KiB: configured each time / snapshot",
                of("regex, 1 KiB, configure") / small,
                AtLeast(20.0),
            ),
            (
                "8 checks / 8 times 1 check",
                of("8 of regex, 1 KiB, snapshot") / (8.0 * of("1 of regex, 1 KiB, snapshot")),
                AtMost(1.15),
            ),
        ];
        println!("\n{:56}  {:>6}  {:14}", "aim", "is", "should be");
        for (what, is, bound) in aims {
            let (word, limit, is_met) = match bound {
                AtMost(limit) => ("at most", limit, is <= limit),
                AtLeast(limit) => ("at least", limit, is >= limit),
            };
            let judged = if is_met { "met" } else { "missed" };
            println!("{what:56}  {is:6.2}  {:14}  {judged}", format!("{word} {limit}"));
        }
    }
}

enum Bound {
    AtMost(f64),
    AtLeast(f64),
}
use Bound::{AtLeast, AtMost};

fn micros(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e3
}

/// What a slot of the pool holds between calls, for each way to clean it: the median of the slots of eight
/// regex checks, each with a snapshot, and so a slot, of its own.
fn print_memory(folder: &Path, clock: &Clock) {
    println!("\n{:28}  {:>5}  {:>15}", "memory of the pool", "slots", "resident a slot");
    for (reset, name) in RESETS {
        let stand = Stand::new(reset, folder, clock);
        let set = stand.set_of(8);
        for _ in 0..20 {
            drop(set.judge_here(&page(1), clock));
        }
        let mut slots = resident_slots();
        slots.sort_unstable();
        let median = slots.get(slots.len() / 2).copied().unwrap_or_default();
        println!("{name:28}  {:>5}  {median:>11} KiB", slots.len());
    }
}

/// KiB that are resident of each slot of the pool, as the kernel lists the mappings of this process: a
/// slot is a run of open mappings without a gap, one of which is the image of a memory.
fn resident_slots() -> Vec<usize> {
    let listed = fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut slots, mut run) = (Vec::new(), Run::default());
    for line in listed.lines() {
        let mut words = line.split_ascii_whitespace();
        let first = words.next().unwrap_or_default();
        if first == "Rss:" {
            let kib = words.next().and_then(|number| number.parse::<usize>().ok());
            run.resident_kib += kib.unwrap_or_default();
        } else if let Some((from, to)) = first.split_once('-').filter(|_| !first.ends_with(':')) {
            let is_open = words.next().is_some_and(|rights| rights.starts_with("rw"));
            if !is_open || run.end != from {
                slots.extend(run.has_image.then_some(run.resident_kib));
                run = Run::default();
            }
            run.has_image |= line.contains("wasm-memory-image");
            to.clone_into(&mut run.end);
        }
    }
    slots.extend(run.has_image.then_some(run.resident_kib));
    slots
}

/// Mappings that follow each other.
#[derive(Debug, Default)]
struct Run {
    end: String,
    has_image: bool,
    resident_kib: usize,
}
