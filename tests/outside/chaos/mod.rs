//! SIGKILL at random moments, under load, with readers beside it: what was told is kept exactly once and as it
//! was told, and nothing is ever seen that cannot be read. `tests/chaos/README.md` tells what is shown, and how
//! to have it shown for thousands of kills.
//!
//! | | invariant | where |
//! | --- | --- | --- |
//! | I1 | what was told on stdout is in the files, exactly once | `history` |
//! | I2 | readers of the folder and of globs never meet a file that they cannot read | `watch` |
//! | I3 | a row says in every column what was told; keys are unique over all runs and runners | `history`, `batch` |
//! | I4 | no row is there twice, none tells of a request that was not made | `history` |
//! | I5 | no row is missing, but for what was in flight at a kill | `history` |
//! | I6 | nothing stays on its way, and nobody has to help | `batch` |
//! | I7 | probing goes on at once | `batch` |
//! | I8 | no secret is anywhere | `batch` |

mod batch;
mod history;
mod space;
mod sweep;
mod tally;
mod watch;

use std::fmt::Write as _;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use self::batch::Plan;
use self::tally::Tally;
use crate::support::python_or_leave_out;

/// Kills in one data folder; more make the readers slow.
const BATCH: u64 = 50;

/// Small and repeatable: splitmix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn between(&mut self, least: Duration, most: Duration) -> Duration {
        least + Duration::from_micros(self.below((most.saturating_sub(least)).as_micros() as u64))
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// Batches that were run before, a line each, and those that come: `PROBITY_CHAOS_FILE`.
struct Ledger {
    path: Option<PathBuf>,
    seed: u64,
    sum: Tally,
    failures: u64,
}

impl Ledger {
    fn open(seed: u64) -> Self {
        let path = std::env::var_os("PROBITY_CHAOS_FILE").map(PathBuf::from);
        let mut ledger = Self { path, seed, sum: Tally::default(), failures: 0 };
        let text = ledger.path.as_ref().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut numbers = line.split_whitespace().map(|word| word.parse::<u64>().unwrap());
            ledger.seed = numbers.next().unwrap() + 1;
            ledger.failures += numbers.next().unwrap();
            ledger.sum.add(&Tally::of_numbers(numbers));
        }
        ledger
    }

    /// Notes a batch; none is one that failed.
    fn note(&mut self, tally: Option<&Tally>, kills: u64) {
        // Whatever a batch had done until it failed, its kills count as one failure among them.
        let failed = Tally { kills, ..Tally::default() };
        let mut line = format!("{} {}", self.seed, u64::from(tally.is_none()));
        self.failures += u64::from(tally.is_none());
        let tally = tally.unwrap_or(&failed);
        for number in tally.numbers() {
            let _ = write!(line, " {number}");
        }
        self.sum.add(tally);
        self.seed += 1;
        let Some(path) = &self.path else { return };
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        if file.metadata().unwrap().len() == 0 {
            writeln!(file, "# seed failures {}", Tally::NAMES.join(" ")).unwrap();
        }
        writeln!(file, "{line}").unwrap();
    }
}

/// `PROBITY_CHAOS_KILLS` sets how many kills there are in all (50), `PROBITY_CHAOS_SEED` repeats a batch, as far
/// as the machine lets it, `PROBITY_CHAOS_LOAD` is the longest load before a kill in milliseconds (600).
#[test]
fn d2_what_was_told_survives_kills() {
    let seed = setting("PROBITY_CHAOS_SEED").unwrap_or_else(|| RandomState::new().hash_one("seed") >> 32);
    let kills = setting("PROBITY_CHAOS_KILLS").unwrap_or(BATCH);
    let load = Duration::from_millis(setting("PROBITY_CHAOS_LOAD").unwrap_or(600));
    let python = python_or_leave_out("reading beside the kills");
    let mut ledger = Ledger::open(seed);
    while ledger.sum.kills < kills {
        let began = Instant::now();
        let plan = Plan { seed: ledger.seed, kills: BATCH.min(kills - ledger.sum.kills), load };
        println!("PROBITY_CHAOS_SEED={} PROBITY_CHAOS_KILLS={}", plan.seed, plan.kills);
        let tally = catch_unwind(AssertUnwindSafe(|| batch::run(python.as_ref(), &plan))).ok();
        ledger.note(tally.as_ref(), plan.kills);
        let Ledger { sum, failures, .. } = &ledger;
        println!(
            "{:>6.1} s, so far: {sum}, {failures} failures{}",
            began.elapsed().as_secs_f64(),
            bound(sum.kills, *failures)
        );
    }
    assert_eq!(ledger.failures, 0, "batches that failed; their panics are above");
}

/// What so many kills without a failure allow to say, by the rule of three.
fn bound(kills: u64, failures: u64) -> String {
    if failures > 0 || kills == 0 {
        return String::new();
    }
    format!(" (fewer than {:.3} % of kills fail, at 95 % confidence)", 300.0 / kills as f64)
}
