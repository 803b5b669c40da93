//! Reloads while probes are in flight: many of them, with the website's own log as the witness.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{Guest, LONG, Project, Running, SIGTERM, Server, python_or_leave_out};

/// `tests/bench/reloads.py` in small: it fails where a row is lost, doubled or mixes two generations, where a
/// phase moves, or where descriptors or threads grow. Memory of a development build settles later than this
/// lasts; the thousand reloads of the full run hold it to 5 %.
#[test]
fn c20_c22_h124_fifty_reloads_lose_double_and_mix_nothing() {
    let name = "c20_c22_h124_fifty_reloads_lose_double_and_mix_nothing";
    let Some(python) = python_or_leave_out(name) else { return };
    let places = ["/usr/bin/nginx", "/usr/sbin/nginx", "/usr/local/bin/nginx"];
    if !places.iter().any(|place| Path::new(place).exists()) {
        assert!(std::env::var_os("PROBITY_REQUIRE_READERS").is_none(), "nginx is missing");
        return;
    }
    let root = env!("CARGO_MANIFEST_DIR");
    let mut command = Command::new(python.program());
    command
        .arg(format!("{root}/tests/bench/reloads.py"))
        .args(["--reloads", "50", "--blind", "2", "--rate", "60", "--flat", "60", "--binary"])
        .arg(Project::new().command(&[]).get_program());
    let finished = Running::start(command).wait(Duration::from_mins(5));
    assert!(finished.status.success(), "{}\n{}", finished.stdout, finished.stderr);
    assert!(finished.stdout.contains("| reloads, changed generations | 50 + 2, 52 |"), "{}", finished.stdout);
}

/// The lateness that all but one of a hundred rows keep to, in microseconds.
fn p99_us(rows: &[&crate::support::Row]) -> i64 {
    let mut lateness: Vec<i64> = rows.iter().map(|row| row["lateness_us"].as_i64().unwrap()).collect();
    lateness.sort_unstable();
    lateness[lateness.len() * 99 / 100]
}

#[test]
fn t16_a_check_that_is_stuck_makes_no_other_pipeline_late() {
    let server = Server::start();
    let pipeline = |name: &str, targets: usize, more: &str| {
        let targets: String =
            (0..targets).map(|n| format!("  \"{}\",\n", server.url(&format!("/ok/{name}{n}")))).collect();
        format!(
            "default_checks = false\n[schedule]\nevery = \"200ms\"\n[request]\ntimeout = \"5s\"\n\
             [[sources]]\ntargets = [\n{targets}]\n{more}"
        )
    };
    let project = Project::new();
    project.write("pipelines/calm.toml", pipeline("calm", 10, ""));
    let stuck = Guest { run: "(loop $again (br $again)) (unreachable)", ..Guest::default() };
    project.write("pipelines/stuck.wasm", stuck.component());
    let mut running = project.start(&["run"]);
    running.until(LONG, "a calm time", || server.reached(200));
    project.write("pipelines/stuck.toml", pipeline("stuck", 10, "[[checks]]\nplugin = \"stuck.wasm\"\n"));
    running.until_stderr_has(LONG, "a pipeline is new");
    let goal = server.count() + 300;
    running.until(LONG, "a time with the stuck one", || server.reached(goal));
    running.signal(SIGTERM);
    running.wait(Duration::from_secs(30)).expect_code(0);
    let rows = project.rows();
    rows.expect_whole();
    let began = rows.probes.iter().filter(|row| row["pipeline"] == "stuck");
    let began = began.map(|row| row["started_at"].as_i64().unwrap()).min().expect("rows of the stuck one");
    let calm = rows.probes.iter().filter(|row| row["pipeline"] == "calm");
    let (before, during): (Vec<_>, Vec<_>) =
        calm.partition(|row| row["started_at"].as_i64().unwrap() < began);
    // On a machine that is late by itself, no later than it was.
    let bound = (2 * p99_us(&before)).max(100_000);
    assert!(p99_us(&during) < bound, "{} us, before it {} us", p99_us(&during), p99_us(&before));
}
