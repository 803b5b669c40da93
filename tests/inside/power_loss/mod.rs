//! D3: a loss of power at any moment costs nothing that was promised.
//!
//! A kill cannot show that, since the page cache survives it. Here real runs of the real binary are recorded,
//! call by call (`record.rs`, `trace.rs`), and played to a model of a disk (`disk.rs`: what may be lost, and in
//! which order). After every operation, the power fails: of all that the disk may hold then, some states are made
//! by chance, a writer is started there as the runner starts it, and the result is judged (`judge.rs`):
//!
//! - what was promised is in the files, exactly once, value for value. Promised is, with `fsync = "each"`, what a
//!   line on stdout has told of; always, what a sync of the journal and of its folder has covered, and everything
//!   in a journal that was removed;
//! - no file below `results/` is ever unreadable, also before the start, nor without its checksum;
//! - nothing is there that was never written, or twice;
//! - the start ends and leaves no journal behind but in quarantine.
//!
//! Then the recording is changed as if the program had a mistake (`mutants.rs`), each of which has to be found.
//!
//! `PROBITY_CRASH_STATES` says how many states are tried (600), `PROBITY_SEED` with which chance:
//!
//! ```sh
//! PROBITY_CRASH_STATES=100000 cargo test --test inside power_loss -- --nocapture
//! ```

mod disk;
mod judge;
mod mutants;
mod record;
mod trace;

use std::collections::HashSet;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use disk::{Disk, Luck, materialise};
use judge::Truth;
use record::Recording;

/// Small and repeatable: xorshift64.
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// True so often, out of 256 times.
    fn of_256(&mut self, times: u64) -> bool {
        self.below(256) < times
    }

    fn luck(&mut self) -> Luck {
        const PARTS: [u64; 6] = [0, 32, 128, 224, 250, 256];
        let mut part = || PARTS[self.below(PARTS.len() as u64) as usize];
        let (entries, blocks) = (part(), part());
        Luck { entries, blocks, block: if self.of_256(128) { 512 } else { 4_096 } }
    }
}

#[derive(Debug, Default)]
struct Tally {
    states: usize,
    distinct: HashSet<u64>,
    quarantined: usize,
    failures: Vec<String>,
}

const SHOWN_FAILURES: usize = 5;
/// After so many failures, enough is known.
const ENOUGH_FAILURES: usize = 100;
/// States in which a mistake has to be found.
const MUTANT_STATES: usize = 1_000;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// Past the capture of the test runner.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

#[test]
fn d3_a_loss_of_power_costs_nothing_that_was_promised() {
    if !record::strace_is_here() {
        let reason = "there is no strace, which records what the runner does";
        let required = std::env::var_os("PROBITY_REQUIRE_READERS").is_some();
        assert!(!required, "PROBITY_REQUIRE_READERS is set, but {reason}");
        say(&format!("left out: power_loss, because {reason}"));
        return;
    }
    let states = setting("PROBITY_CRASH_STATES").unwrap_or(600) as usize;
    let seed = setting("PROBITY_SEED").unwrap_or_else(|| RandomState::new().hash_one("seed") >> 1);
    let recordings = record::record_all();
    let mut failures = Vec::new();
    for recording in &recordings {
        let truth = Truth::of(recording);
        assert!(truth.rows() >= 8 && truth.promised() >= 8, "{}: too little was done", recording.name);
        let tally = try_states(recording, &truth, states.div_ceil(recordings.len()), seed, ENOUGH_FAILURES);
        say(&format!(
            "power loss, {}: {} operations, {} rows, {} states, {} distinct, {} with a journal in quarantine, \
             {} failures (PROBITY_SEED={seed})",
            recording.name,
            recording.ops.len(),
            truth.rows(),
            tally.states,
            tally.distinct.len(),
            tally.quarantined,
            tally.failures.len(),
        ));
        let shown = tally.failures.iter().take(SHOWN_FAILURES);
        failures.extend(shown.map(|failure| format!("{}: {failure}", recording.name)));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    let recording = recordings.iter().find(|recording| recording.starts > 1).unwrap();
    for (name, ops) in mutants::mutants(&recording.ops) {
        let mutant = Recording { name, ops, ..*recording };
        let tally = try_states(&mutant, &Truth::of(&mutant), MUTANT_STATES, seed, 1);
        let found = tally.failures.first().and_then(|failure| failure.lines().next());
        say(&format!("power loss, {name}: found after {} states: {found:?}", tally.states));
        assert!(found.is_some(), "{name}: not found (PROBITY_SEED={seed})");
    }
}

/// Tries states after every operation, so many in all, or a few more. Threads take turns.
fn try_states(recording: &Recording, truth: &Truth, states: usize, seed: u64, enough: usize) -> Tally {
    let each = states.div_ceil(recording.ops.len() + 1);
    let workers = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let tally = Mutex::new(Tally::default());
    thread::scope(|scope| {
        for worker in 0..workers {
            let tally = &tally;
            scope.spawn(move || {
                let mut disk = Disk::new();
                for ops in 0..=recording.ops.len() {
                    if ops > 0 {
                        disk.apply(&recording.ops[ops - 1]);
                    }
                    if ops % workers == worker {
                        try_here(&disk, truth, (ops, each), seed, enough, tally);
                    }
                }
            });
        }
    });
    tally.into_inner().unwrap()
}

fn try_here(
    disk: &Disk,
    truth: &Truth,
    (ops, states): (usize, usize),
    seed: u64,
    enough: usize,
    tally: &Mutex<Tally>,
) {
    let mut chance = Chance::new(seed ^ (ops as u64) << 32);
    for _ in 0..states {
        let luck = chance.luck();
        let left = disk.after_power_loss(luck, &mut chance);
        let mut hasher = DefaultHasher::new();
        (ops, &left).hash(&mut hasher);
        let is_new = {
            let mut tally = tally.lock().unwrap();
            if tally.failures.len() >= enough {
                return;
            }
            tally.states += 1;
            tally.distinct.insert(hasher.finish())
        };
        if !is_new {
            continue;
        }
        let folder = in_memory();
        materialise(&left, folder.path());
        let judged = truth.judge(ops, folder.path());
        let mut tally = tally.lock().unwrap();
        match judged {
            Ok(kept) => tally.quarantined += usize::from(kept > 0),
            Err(fault) => {
                let names: Vec<_> = left
                    .iter()
                    .map(|(path, content)| {
                        let len =
                            content.as_ref().map_or("a folder".to_owned(), |bytes| bytes.len().to_string());
                        format!("  {} {len}", path.display())
                    })
                    .collect();
                tally.failures.push(format!(
                    "after {ops} operations, {luck:?}: {fault}\nleft was:\n{}",
                    names.join("\n")
                ));
            }
        }
    }
}

/// A folder where a sync costs nothing, if there is one.
fn in_memory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("probity-power-").tempdir_in(PathBuf::from(&place)).unwrap()
}
