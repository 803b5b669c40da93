//! SIGKILL at random moments: what was told is kept exactly once, and no file is ever seen that cannot be
//! read. `PROBITY_KILLS` sets how often (5), `PROBITY_SEED` repeats a run.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::support::{LONG, Project, SIGTERM, Server};

/// Small and repeatable: xorshift64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
}

#[test]
fn what_was_told_survives_a_kill_exactly_once() {
    let seed = setting("PROBITY_SEED").unwrap_or_else(|| RandomState::new().hash_one("seed")) | 1;
    let kills = setting("PROBITY_KILLS").unwrap_or(5);
    println!("PROBITY_SEED={seed} PROBITY_KILLS={kills}");
    let mut chance = Chance(seed);

    let server = Server::start();
    let targets: String = (0..40).map(|n| format!("  \"{}\",\n", server.url(&format!("/ok/{n}")))).collect();
    let project = Project::with_pipeline(&format!(
        "[schedule]\nevery = \"200ms\"\n[[sources]]\ntargets = [\n{targets}]\n\
         [[sinks]]\ntype = \"parquet\"\npath = \"results\"\nrotate = {{ every = \"1s\" }}\n"
    ));

    let mut told: BTreeSet<(String, i64)> = BTreeSet::new();
    for kill in 0..kills {
        let goal = server.count() + 20;
        let mut running = project.start(&["run", "--format", "json"]);
        running.until(LONG, "20 requests", || server.reached(goal));
        std::thread::sleep(Duration::from_millis(chance.below(1_500)));
        for line in running.kill().json_lines() {
            let key = (line["run_id"].as_str().unwrap().to_owned(), line["seq"].as_i64().unwrap());
            assert!(told.insert(key.clone()), "told twice: {key:?}");
        }
        // Whatever is visible between a kill and the next start is whole, and nothing is there twice.
        let keys = project.rows().keys();
        assert!(keys.values().all(|count| *count == 1), "doubled after kill {kill}");
    }
    assert!(told.len() as u64 > kills, "the runs told of {} results only", told.len());

    let goal = server.count() + 20;
    let mut running = project.start(&["run"]);
    running.until(LONG, "20 requests after the last kill", || server.reached(goal));
    running.signal(SIGTERM);
    let finished = running.wait(Duration::from_secs(30)).expect_code(0);

    let rows = project.rows();
    rows.expect_whole();
    let keys = rows.keys();
    let lost: Vec<_> = told.iter().filter(|key| !keys.contains_key(*key)).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}\n{}", lost.len(), told.len(), finished.stderr);
    // And no row tells of an answer that was never given.
    let given: BTreeSet<_> = server.requests().into_iter().filter_map(|request| request.answered).collect();
    let mut matched = BTreeSet::new();
    for row in rows.probes.iter().filter(|row| row["http_status"] == 200) {
        let hash = row["body_xxh3"].as_str().unwrap().to_owned();
        assert!(given.contains(&hash), "a row of no probe: {row:?}");
        assert!(matched.insert(hash), "one answer in two rows: {row:?}");
    }
}
