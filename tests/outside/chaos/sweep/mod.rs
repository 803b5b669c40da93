//! The aimed part: every single call on the files of the runner is the last one, or fails, in a run that
//! recovers, journals, converts and publishes. Then a plain start has to make everything good.
//!
//! `tests/chaos/faults.c` counts the calls and hits one. Here is the whole of it: a template with what killed
//! runners have left, a run of it in which calls are only noted, and a copy of it for each case.

mod case;
pub(super) mod preload;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use self::case::{Case, How, Outcome, Template};
use self::preload::Preload;
use super::watch::Watch;
use super::{Chance, setting};
use crate::support::{leave_out, python_or_leave_out, say_left_out};

/// Cases at once: most of a case is waiting.
const AT_ONCE: usize = 4;
/// Cases of one round; then the readers read what they left.
const ROUND: usize = 12;
/// Cases where nobody asks for all of them.
const SAMPLE: usize = 24;

/// `PROBITY_CHAOS_SWEEP` is `whole` for every call instead of a sample, or says which ones: `write`, `write kill`.
/// With `PROBITY_CHAOS_FIRST`, one failure is enough.
#[test]
fn d1_d5_d12_d24_any_call_may_be_the_last_or_fail() {
    let name = "chaos::sweep::d1_d5_d12_d24_any_call_may_be_the_last_or_fail";
    let preload = match Preload::build() {
        Ok(preload) => preload,
        Err(reason) => return leave_out(name, &reason),
    };
    let python = python_or_leave_out("reading what the aimed faults left");
    let template = Template::make();
    let calls = template.calls(&preload);
    let mut cases = Case::all(&calls);
    let all = cases.len();
    match std::env::var("PROBITY_CHAOS_SWEEP").as_deref() {
        Err(_) => cases = sample(cases),
        Ok("whole") => {}
        Ok(kind) => cases.retain(|case| format!("{} {}", case.call, case.how).starts_with(kind)),
    }
    println!("{} of {all} cases", cases.len());

    let began = Instant::now();
    let mut table = Table::default();
    let mut failures = Vec::new();
    for round in cases.chunks(ROUND) {
        let outcomes = run_all(&template, &preload, round);
        let mut folders = Vec::new();
        let mut kept = Vec::new();
        for (case, outcome) in round.iter().zip(outcomes) {
            match outcome {
                None => {}
                Some(Ok(outcome)) => {
                    table.note(case, &outcome);
                    folders.extend(outcome.folders());
                    kept.push(outcome);
                }
                Some(Err(message)) => failures.push(format!("{case}: {message}")),
            }
        }
        if let Some(python) = &python {
            Watch::start(python, &folders).end();
        }
        if enough(&failures) {
            break;
        }
    }
    println!("{table}{:.1} s", began.elapsed().as_secs_f64());
    assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures.join("\n"));
    assert!(table.hit() > 0, "no call was hit");
}

/// Some of them, by chance.
fn sample(mut cases: Vec<Case>) -> Vec<Case> {
    let seed = setting("PROBITY_CHAOS_SEED").unwrap_or_else(|| std::process::id().into());
    println!("PROBITY_CHAOS_SEED={seed}");
    let mut chance = Chance(seed);
    while cases.len() > SAMPLE {
        cases.swap_remove(chance.below(cases.len() as u64) as usize);
    }
    cases
}

/// Whether nobody wants to know of more failures.
fn enough<T>(failures: &[T]) -> bool {
    !failures.is_empty() && std::env::var_os("PROBITY_CHAOS_FIRST").is_some()
}

/// What came of each case; none where it was not run any more.
fn run_all(template: &Template, preload: &Preload, cases: &[Case]) -> Vec<Option<Result<Outcome, String>>> {
    let next = AtomicUsize::new(0);
    let outcomes: Vec<Mutex<Option<_>>> = cases.iter().map(|_| Mutex::new(None)).collect();
    let work = || loop {
        let at = next.fetch_add(1, Ordering::SeqCst);
        let Some(case) = cases.get(at) else { return };
        let outcome = catch_unwind(AssertUnwindSafe(|| case.run(template, preload)));
        if enough(outcome.as_ref().err().as_slice()) {
            next.store(cases.len(), Ordering::SeqCst);
        }
        *outcomes[at].lock().unwrap() = Some(outcome.map_err(|panic| said(panic.as_ref())));
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    outcomes.into_iter().map(|outcome| outcome.into_inner().unwrap()).collect()
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

/// What was run, by call and by what was done to it.
#[derive(Default)]
struct Table(BTreeMap<(&'static str, How), Counted>);

#[derive(Default)]
struct Counted {
    cases: u64,
    hit: u64,
    went_on: u64,
}

impl Table {
    fn note(&mut self, case: &Case, outcome: &Outcome) {
        let counted = self.0.entry((case.call, case.how)).or_default();
        counted.cases += 1;
        counted.hit += u64::from(outcome.hit);
        counted.went_on += u64::from(outcome.hit && outcome.went_on);
    }

    fn hit(&self) -> u64 {
        self.0.values().map(|counted| counted.hit).sum()
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:<10} {:<10} {:>6} {:>6} {:>8}", "call", "how", "cases", "hit", "went on")?;
        for ((call, how), Counted { cases, hit, went_on }) in &self.0 {
            writeln!(f, "{call:<10} {:<10} {cases:>6} {hit:>6} {went_on:>8}", how.to_string())?;
        }
        Ok(())
    }
}

/// What the aim goes by is what the kernel sees: calls below the data folder, by kind.
#[test]
fn the_aim_misses_no_call() {
    let name = "chaos::sweep::the_aim_misses_no_call";
    let preload = match Preload::build() {
        Ok(preload) => preload,
        Err(reason) => return leave_out(name, &reason),
    };
    let template = Template::make();
    let Some((seen, traced)) = template.both_views(&preload) else {
        return say_left_out(name, "strace does not work here");
    };
    assert!(seen.values().sum::<u64>() > 50, "{seen:?}");
    assert_eq!(seen, traced, "calls as they are counted, and as strace sees them");
}
