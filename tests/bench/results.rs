//! A busy day's results through the real writer, and what they cost: `cargo bench --bench results -- --out FOLDER`,
//! with `--probes 5000000 --targets 10000 --hours 24 --from 2026-09-01T12:00:00Z --seed 1` unless told otherwise.
//! `tests/bench/duckdb_copy.py` and the queries of `examples/ask-the-parquet` are for such a folder.
//!
//! An hour's journal is converted before the next hour begins, so that the two threads do not disturb each other's
//! times. Linux only: it reads `/proc`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark: it prints, and a failure ends it"
)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use probity::clock::{Clock, thread_cpu_time};
use probity::sink::{Rotate, WriterCounters};

#[path = "results/cost.rs"]
mod cost;
#[path = "results/mod.rs"]
mod results;

use results::Plan;

fn main() {
    let plan = Plan {
        targets: number("--targets", 10_000),
        probes: number("--probes", 5_000_000),
        from: from(),
        hours: number("--hours", 24) as i64,
        seed: number("--seed", 1),
    };
    let folder = PathBuf::from(argument("--out").expect("--out FOLDER: where the results go"));
    assert!(!folder.join("results").exists(), "{} has results already", folder.display());
    let before = cost::peak_mib();
    let (clock, mut seen) = (Clock::system(), Seen::default());
    let begin = clock.now();
    let summary = results::write(&plan, &folder, Rotate::default(), |counters| seen.look(counters));
    let seconds = begin.elapsed().as_secs_f64();

    let Seen { writing, converting, journal_bytes, file_bytes } = seen;
    let rows = summary.rows as f64;
    let build = if cfg!(debug_assertions) { "unoptimised: only a trial" } else { "optimised" };
    println!("{plan:?}; {build}");
    println!(
        "{} rows of probes, {} of checks ({:.2} each)",
        summary.rows,
        summary.check_rows,
        summary.check_rows as f64 / rows
    );
    println!(
        "{} files, {seconds:.0} s, of which making up the results {:.0} s of CPU\n",
        summary.files_published,
        thread_cpu_time().as_secs_f64()
    );
    let each = |seconds: f64| seconds * 1e6 / rows;
    println!(
        "CPU of a result with its verdicts, from builder to published Parquet: {:.1} us",
        each(writing + converting)
    );
    println!(
        "  writer (columns, frames, write) {:.1} us, converter (read, sort, encode, publish) {:.1} us",
        each(writing),
        each(converting)
    );
    println!("  in all {writing:.1} + {converting:.1} s");
    println!(
        "journal {:.0} bytes a result ({:.2} GB), files {:.1} bytes a result ({:.1} MB)",
        journal_bytes as f64 / rows,
        journal_bytes as f64 / 1e9,
        file_bytes as f64 / rows,
        file_bytes as f64 / 1e6
    );
    println!("memory at most {:.0} MiB, of which {before:.0} MiB before the first result", cost::peak_mib());
    assert_eq!((summary.rows_lost, summary.journals_left), (0, 0));
}

/// What was used so far. A thread's times can only be read while it lives.
#[derive(Default)]
struct Seen {
    writing: f64,
    converting: f64,
    journal_bytes: u64,
    file_bytes: u64,
}

impl Seen {
    fn look(&mut self, counters: &WriterCounters) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        self.writing = cost::thread_seconds("sink-write").unwrap();
        self.converting = cost::thread_seconds("sink-convert").unwrap();
        self.journal_bytes = read(&counters.journal_bytes);
        self.file_bytes = read(&counters.file_bytes);
    }
}

/// The argument after `name`; cargo's own are passed over.
fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn number(name: &str, otherwise: u64) -> u64 {
    argument(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} takes a number")))
}

/// Microseconds since the Unix epoch.
fn from() -> i64 {
    let text = argument("--from").unwrap_or_else(|| "2026-09-01T12:00:00Z".to_owned());
    text.parse::<jiff::Timestamp>().expect("--from takes a moment as 2026-09-01T12:00:00Z").as_microsecond()
}
