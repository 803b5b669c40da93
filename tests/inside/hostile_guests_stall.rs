//! W2: what a hostile check on one thread costs a good one on another. The engine cannot interrupt a
//! guest in the midst of one instruction, and one instruction may fill all of its memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests; what they measure is shown by --nocapture"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use probity::check::{CheckPool, FaultKind, Limits, PoolSettings};
use probity::model::CheckStatus;

use crate::hostile_guests_bench::{Bench, observed};
use crate::wat_guest::Guest;

/// What another check may have to wait at the worst.
const STALL_MAX: Duration = Duration::from_millis(50);
/// A stall that a check causes is there in every round; one that the machine causes, in some of them.
const ROUNDS: u32 = 40;
/// Calls of the good check in a round.
const CALLS: u32 = 100;

/// What keeps a thread, 62 MiB at a time.
const HOGS: &[(&str, &str)] = &[
    (
        "memory.fill",
        "(drop (memory.grow (i32.const 1000)))
         (loop $ever (memory.fill (i32.const 65536) (i32.const 1) (i32.const 65536000)) (br $ever))
         unreachable",
    ),
    (
        "memory.copy",
        "(drop (memory.grow (i32.const 1000)))
         (loop $ever
           (memory.copy (i32.const 65536) (i32.const 32768000) (i32.const 32768000))
           (memory.copy (i32.const 32768000) (i32.const 65536) (i32.const 32768000))
           (br $ever))
         unreachable",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w2_a_check_that_fills_all_its_memory_does_not_stall_another() {
    for (what, run) in HOGS {
        let bench = Bench::new();
        // Each on a thread of its own, of one engine.
        let pool = CheckPool::start(PoolSettings { threads: 2, queue: 8 }, &bench.clock).unwrap();
        let pool = Arc::new(pool);
        let hog = bench.set(&[(Guest { run, ..Guest::PLAIN }, Limits::default())]);
        let good = bench.set(&[(Guest::PLAIN, Limits::default())]);
        let stop = Arc::new(AtomicBool::new(false));
        let hogging = probity::telemetry::spawn("hog", {
            let (pool, stop, in_time) = (Arc::clone(&pool), Arc::clone(&stop), bench.in_time());
            async move {
                while !stop.load(Ordering::Relaxed) {
                    let verdicts = pool.judge(&hog, observed(b""), in_time).await.verdicts;
                    assert!(verdicts[0].message.starts_with("time limit"), "{}", verdicts[0].message);
                }
            }
        });
        let mut worst_of_rounds = Vec::new();
        let ended = |pool: &CheckPool| {
            pool.stats().errors.iter().find(|(kind, _)| *kind == FaultKind::Time).expect("a kind").1
        };
        for _ in 0..ROUNDS {
            let (mut worst, ended_before) = (Duration::ZERO, ended(&pool));
            let mut calls = 0;
            // Also until the other one has come to its end in the meantime, and begun again.
            while calls < CALLS || ended(&pool) < ended_before + 2 {
                let began = bench.clock.now();
                let verdicts = pool.judge(&good, observed(b""), bench.in_time()).await.verdicts;
                worst = worst.max(bench.clock.now().saturating_duration_since(began));
                assert_eq!(verdicts[0].status, CheckStatus::Pass, "{}", verdicts[0].message);
                calls += 1;
            }
            worst_of_rounds.push(worst);
            if worst <= STALL_MAX {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        hogging.await.unwrap();
        let best = worst_of_rounds.iter().min().unwrap();
        println!("{what}: the worst of a round {best:?}");
        assert!(*best <= STALL_MAX, "{what}: the worst of every round: {worst_of_rounds:?}");
    }
}
