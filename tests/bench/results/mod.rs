//! Results as a busy runner leaves them, made without a network: thousands of sites, a day or two, with all that
//! goes wrong in one, by seed. They go the way of all results, through the real writer: journal, rotation by the
//! clock (a simulated one, so that a day takes as long as its rows), conversion.

mod chance;
mod exchange;
mod sites;
mod troubles;
mod verdicts;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use probity::clock::{Clock, UnixNanos};
use probity::model::{Outcome, ProbeResult, judge};
use probity::sink::{ParquetSpec, Rotate, Writer, WriterCounters, WriterSpec, WriterSummary};

use chance::Chance;
use sites::Site;
use troubles::Weather;

const HOUR: i64 = 3_600_000_000;
/// How far the writer's clock is ahead of the results: a day's last file stays open that long after midnight.
const AHEAD: i64 = 121_000_000;
/// Results that may wait for the writer.
const QUEUE: usize = 8_192;

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Sites.
    pub(crate) targets: u64,
    /// Probes, about; a probe that is tried again has two rows.
    pub(crate) probes: u64,
    /// The first moment, microseconds since the Unix epoch: one at which files are closed.
    pub(crate) from: i64,
    /// Hours.
    pub(crate) hours: i64,
    /// The same seed gives the same rows.
    pub(crate) seed: u64,
}

impl Plan {
    fn micros(&self) -> i64 {
        self.hours * HOUR
    }
}

/// Writes the results of a plan below a folder, as `results/` and `state/`. Whenever the clock closes a file, and all
/// results before that are published, `closed` may look at what it took.
pub(crate) fn write(
    plan: &Plan,
    folder: &Path,
    rotate: Rotate,
    mut closed: impl FnMut(&WriterCounters),
) -> WriterSummary {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let spec = WriterSpec {
            runner: "main".into(),
            run_id: format!("01990f0a-0000-7000-8000-{:012x}", plan.seed).into(),
            parquet: Some(ParquetSpec { rotate, ..ParquetSpec::new(folder.join("results")) }),
            followers: Vec::new(),
            first_number: 1,
            capacity: QUEUE,
            clock: Clock::simulated(UnixNanos((plan.from + AHEAD) * 1_000)),
        };
        let writer = Writer::start(spec).unwrap();
        let sender = writer.sender();
        let step = rotate.every.as_micros() as i64;
        let mut boundary = plan.from + step;
        for result in Results::of(plan) {
            while result.started_at.micros() >= boundary {
                close_files(&writer, rotate.every).await;
                closed(writer.counters());
                boundary += step;
            }
            sender.send(result).await.unwrap();
        }
        close_files(&writer, rotate.every).await;
        closed(writer.counters());
        drop(sender);
        writer.drained().await.unwrap()
    })
}

/// Lets the time of a file go by, once all its results are written, and waits until it is there.
async fn close_files(writer: &Writer, every: Duration) {
    let counters = writer.counters();
    let all = counters.mark();
    until(|| all.is_finished());
    tokio::time::advance(every).await;
    let read = |counter: &AtomicU64| counter.load(Ordering::Acquire);
    until(|| {
        read(&counters.rows_published) == read(&counters.rows_journalled)
            && read(&counters.journals_waiting) == 0
    });
}

/// The writer's threads have a time of their own.
fn until(holds: impl Fn() -> bool) {
    while !holds() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// An attempt to come. They come in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: i64,
    site: usize,
    attempt: u32,
    scheduled_at: i64,
    lateness: i64,
    missed: u32,
    probe_seq: i64,
}

/// Every result of a plan, in the order of their begin.
struct Results {
    seed: u64,
    end: i64,
    sites: Vec<Site>,
    weather: Weather,
    due: BinaryHeap<Reverse<Due>>,
    seq: i64,
    probe_seq: i64,
}

impl Results {
    fn of(plan: &Plan) -> Self {
        let sites = sites::sites(plan);
        let first = |(number, site): (usize, &Site)| {
            let at = plan.from + site.phase;
            Reverse(Due {
                at,
                site: number,
                attempt: 1,
                scheduled_at: at,
                lateness: 0,
                missed: 0,
                probe_seq: 0,
            })
        };
        let due = sites.iter().enumerate().map(first).collect();
        let weather = Weather::of(plan);
        Self { seed: plan.seed, end: plan.from + plan.micros(), sites, weather, due, seq: 0, probe_seq: 0 }
    }

    /// The first attempt of a probe begins late, most of them hardly; its site's next probe is due.
    fn begin(&mut self, mut due: Due, chance: &mut Chance) -> Due {
        let every = self.sites[due.site].every;
        let overload = self.weather.overload.contains(&due.at);
        let median = if overload { 900_000.0 } else { 180.0 };
        let lateness = (chance.log_normal(median, 0.8) as i64).min(every / 2);
        let missed = u32::from(overload && chance.happens(0.1));
        let next = due.at + every * (1 + i64::from(missed));
        self.due.push(Reverse(Due { at: next, scheduled_at: next, missed, ..due }));
        self.probe_seq += 1;
        due.lateness = lateness;
        due.probe_seq = self.probe_seq;
        Due { at: due.at + lateness, ..due }
    }
}

impl Iterator for Results {
    type Item = ProbeResult;

    fn next(&mut self) -> Option<ProbeResult> {
        let Reverse(mut due) = self.due.pop().filter(|Reverse(due)| due.at < self.end)?;
        self.seq += 1;
        let mut chance = Chance::of(self.seed, 5, self.seq as u64);
        if due.attempt == 1 {
            due = self.begin(due, &mut chance);
        }
        let site = &self.sites[due.site];
        let exchange = exchange::exchange(site, due.at, &self.weather, &mut chance);
        let verdicts = verdicts::verdicts(site, &exchange, due.at, &self.weather, &mut chance);
        let outcome = judge(&exchange, &verdicts);
        let took = exchange.phases.total.unwrap_or_default().as_micros() as i64;
        let again = Due { at: due.at + took + 500_000, attempt: due.attempt + 1, ..due };
        let bad = matches!(outcome, Outcome::Down | Outcome::Unknown);
        let is_final = !bad || due.attempt >= site.pipeline.attempts || again.at >= self.end;
        if !is_final {
            self.due.push(Reverse(again));
        }
        let hour = due.scheduled_at.rem_euclid(24 * HOUR) / HOUR;
        Some(ProbeResult {
            seq: self.seq,
            probe_seq: due.probe_seq,
            pipeline: Arc::clone(&site.pipeline.name),
            generation: Arc::clone(&site.pipeline.generation),
            target: Arc::clone(&site.target),
            scheduled_at: UnixNanos(due.scheduled_at * 1_000),
            started_at: UnixNanos(due.at * 1_000),
            lateness: Duration::from_micros(due.lateness as u64),
            missed: due.missed,
            attempt: due.attempt,
            is_final,
            in_maintenance: site.pipeline.maintenance.contains(&hour),
            runner_overloaded: false,
            method: Method::GET,
            outcome,
            exchange: Arc::new(exchange),
            verdicts,
        })
    }
}
