//! When targets are asked: soon, on their own place of the interval, and never twice at once.

use std::time::Duration;

use crate::support::{LONG, Project, Rows, Running, SIGTERM, Server};

/// Runs a pipeline until the server was asked `count` times, then stops it.
fn run_until(project: &Project, server: &Server, count: usize) -> Rows {
    let goal = server.count() + count;
    let mut running = project.start(&["run"]);
    running.until(LONG, "the requests", || server.reached(goal));
    running.signal(SIGTERM);
    running.wait(Duration::from_secs(20)).expect_code(0);
    let rows = project.rows();
    rows.expect_whole();
    rows
}

#[test]
fn a_newcomer_sees_results_at_once_however_long_the_interval() {
    let server = Server::start();
    let targets: String = (0..20).map(|n| format!("  \"{}\",\n", server.url(&format!("/ok/{n}")))).collect();
    let text = format!("[schedule]\nevery = \"1h\"\n[[sources]]\ntargets = [\n{targets}]\n");
    let rows = run_until(&Project::with_pipeline(&text), &server, 20);
    assert_eq!(rows.probes.len(), 20);
}

#[test]
fn t11_a_slow_target_never_overlaps_itself_and_its_missed_ticks_are_told() {
    let server = Server::start();
    let url = server.url("/slow/700ms");
    let text = format!("[schedule]\nevery = \"200ms\"\n[[sources]]\ntargets = [\"{url}\"]\n");
    let rows = run_until(&Project::with_pipeline(&text), &server, 5);
    let requests = server.requests();
    for pair in requests.windows(2) {
        assert!(pair[0].left.is_some_and(|left| left <= pair[1].arrived), "two probes of one target at once");
    }
    assert_eq!(rows.probes.len(), requests.len());
    let missed: i64 = rows.probes.iter().map(|row| row["missed"].as_i64().unwrap()).sum();
    // Each of the 700 ms covers three ticks of 200 ms; the first probe has missed none.
    assert!(missed >= 2 * (requests.len() as i64 - 1), "{missed} missed ticks of {} probes", requests.len());
}

#[test]
fn a_target_keeps_its_place_in_the_interval_through_restarts() {
    let server = Server::start();
    let names = ["one", "two", "three"];
    let targets: String = names
        .iter()
        .map(|name| format!("  {{ url = \"{}\", name = \"{name}\" }},\n", server.url(&format!("/ok/{name}"))))
        .collect();
    let text = format!("[schedule]\nevery = \"1s\"\n[[sources]]\ntargets = [\n{targets}]\n");
    let project = Project::with_pipeline(&text);
    run_until(&project, &server, 12);
    let rows = run_until(&project, &server, 12);
    for name in names {
        // The promise of the formula: XXH3-64 of pipeline, a zero byte and the target's name, in whole 5 ms.
        let key = format!("shop\0{name}");
        let phase_us =
            (twox_hash::XxHash3_64::oneshot(key.as_bytes()) % 1_000_000_000 / 5_000_000 * 5_000) as i64;
        let of_target = rows.of_target(name);
        let later = of_target.iter().filter(|row| {
            let first = of_target.iter().filter(|other| other["run_id"] == row["run_id"]);
            first.map(|other| other["probe_seq"].as_i64()).min() != Some(row["probe_seq"].as_i64())
        });
        let mut seen = 0;
        for row in later {
            let place_us = row["scheduled_at"].as_i64().unwrap().rem_euclid(1_000_000);
            let off_us = (place_us - phase_us).rem_euclid(1_000_000);
            let off_us = off_us.min(1_000_000 - off_us);
            assert!(
                off_us < 20_000,
                "{name}: due at {place_us} us of the second, its place is {phase_us} us"
            );
            seen += 1;
        }
        assert!(seen >= 4, "{name}: {seen} rows after the ramp");
    }
}

#[test]
fn a_target_may_have_an_interval_of_its_own() {
    let server = Server::start();
    let (slow, fast) = (server.url("/ok/slow"), server.url("/ok/fast"));
    let text = format!(
        "[schedule]\nevery = \"1h\"\n[[sources]]\ntargets = [\"{slow}\", {{ url = \"{fast}\", every = \"200ms\" }}]\n"
    );
    let rows = run_until(&Project::with_pipeline(&text), &server, 8);
    assert_eq!(rows.of_target(&slow).len(), 1);
    assert!(rows.of_target(&fast).len() >= 7);
}

/// Time zones are known where the system's data is not where it is said to be (T6).
#[test]
fn t6_time_zones_without_the_systems_data() {
    let text = "[schedule]\ncron = \"30 2 * * *\"\ntimezone = \"Europe/Berlin\"\n\
                [[sources]]\ntargets = [\"http://127.0.0.1:9/\"]\n";
    let project = Project::with_pipeline(text);
    let mut command = project.command(&["validate"]);
    command.env("TZDIR", "/nowhere");
    Running::start(command).wait(LONG).expect_code(0);
}
