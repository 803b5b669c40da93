//! Several sinks at once: files of lines, and one that fails never stops the others. What is missing somewhere is
//! counted by sink and by reason.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use crate::support::{LONG, Project, Running, SIGTERM, Server, read_rows};

/// A pipeline of so many targets with these sinks.
fn pipeline(server: &Server, targets: usize, every: &str, sinks: &str) -> String {
    let targets: String =
        (0..targets).map(|n| format!("  \"{}\",\n", server.url(&format!("/ok/{n}")))).collect();
    format!("[schedule]\nevery = \"{every}\"\n[[sources]]\ntargets = [\n{targets}]\n{sinks}\n")
}

fn objects(text: &str) -> Vec<Map<String, Value>> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[test]
fn a_file_of_lines_has_what_standard_output_and_parquet_have() {
    let server = Server::start();
    let sinks = "[[sinks]]\ntype = \"jsonl\"\n[[sinks]]\ntype = \"stdout\"\nformat = \"json\"";
    let project = Project::with_pipeline(&pipeline(&server, 3, "250ms", sinks));
    let path = project.data().join("logs/results.jsonl");
    // What a crash has left.
    project.write("data/logs/results.jsonl", "{\"seq\":0}\n{\"seq\":1,\"tar");
    let mut running = project.start(&["run"]);
    running.until(LONG, "requests", || server.reached(12));
    // As logrotate does.
    let taken = project.data().join("logs/taken");
    fs::rename(&path, &taken).unwrap();
    running.until(LONG, "a new file", || path.exists().then_some(()));
    running.signal(SIGTERM);
    let finished = running.wait(LONG).expect_code(0);
    let text = fs::read_to_string(&taken).unwrap() + &fs::read_to_string(&path).unwrap();
    let lines = objects(text.strip_prefix("{\"seq\":0}\n").unwrap());
    assert_eq!(lines, finished.json_lines(), "the same lines in the same order");
    assert_eq!(lines.len(), project.rows().probes.len());
    assert_eq!(lines.len(), server.count());
}

#[test]
fn a_file_of_lines_is_put_away_and_the_oldest_go() {
    let server = Server::start();
    let sinks =
        "[[sinks]]\ntype = \"jsonl\"\npath = \"lines.jsonl\"\nrotate = { size = \"64KiB\", keep = 2 }";
    let project = Project::with_pipeline(&pipeline(&server, 100, "100ms", sinks));
    let mut running = project.start(&["run"]);
    let names = || -> BTreeSet<String> {
        let entries = fs::read_dir(project.data()).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| Path::new(name).extension().is_some_and(|end| end == "jsonl")).collect()
    };
    let mut seen = BTreeSet::new();
    running.until(LONG, "four files that were put away", || {
        seen.extend(names());
        (seen.len() >= 5).then_some(())
    });
    running.signal(SIGTERM);
    running.wait(LONG).expect_code(0);
    let left = names();
    assert_eq!(left.len(), 3, "{left:?}");
    let mut newest: Vec<_> = seen.union(&left).filter(|name| *name != "lines.jsonl").cloned().collect();
    // A number behind the stamp comes after none.
    newest.sort_by_key(|name| name.trim_end_matches(".jsonl").to_owned());
    for name in &newest[newest.len() - 2..] {
        assert!(left.contains(name), "{name} of {left:?}");
        objects(&fs::read_to_string(project.data().join(name)).unwrap());
    }
}

#[test]
fn sinks_that_fail_stop_nobody_and_are_counted_by_reason() {
    let server = Server::start();
    // A full disk, a reader that is gone, a bucket that nobody serves, and dead letters.
    let sinks = "[[sinks]]\ntype = \"jsonl\"\npath = \"/dev/full\"\n[[sinks]]\ntype = \"stdout\"\n\
                 [[sinks]]\ntype = \"parquet\"\npath = \"s3://acme-probes\"\nlocal = \"results\"\n\
                 rotate = { every = \"1s\" }\n\
                 options = { endpoint_url = \"http://127.0.0.1:9\", allow_http = \"true\", access_key_id = \"x\", \
                 secret_access_key = \"x\" }\n[dead_letter]\n";
    let text = pipeline(&server, 5, "250ms", sinks).replace("/ok/0", "/status/503");
    let project = Project::with_pipeline(&text);
    let mut running = Running::start_without_reader(project.with_data(&["run"]));
    for part in
        ["the sink fails: results are missing there", "nobody reads the sink", "the bucket takes no files"]
    {
        running.until_stderr_has(LONG, part);
    }
    let before = server.count();
    running.until(LONG, "probing goes on", || server.reached(before + 20));
    running.signal(SIGTERM);
    let finished = running.wait(LONG).expect_code(3);
    let rows = project.rows();
    rows.expect_whole();
    let all = rows.probes.len();
    assert_eq!(all, server.count(), "Parquet has a row a request");
    let letters = fs::read_to_string(project.data().join("dead-letters/shop.jsonl")).unwrap();
    assert_eq!(objects(&letters).len(), rows.probes.iter().filter(|row| row["outcome"] == "down").count());
    let missing = |sink: &str, why: &str| {
        let line = finished.stderr.lines().find(|line| line.contains(sink) && line.contains(why));
        let line = line.unwrap_or_else(|| panic!("{sink}: {why}\n{}", finished.stderr));
        line.split(' ').next().unwrap().parse::<usize>().unwrap()
    };
    assert_eq!(missing("rows are missing in jsonl of shop", "it failed to take them"), all);
    assert!((1..=all).contains(&missing("rows are missing in stdout of shop", "nobody reads it any more")));
    assert!(finished.stderr.contains("files are left to be uploaded"), "{}", finished.stderr);
}

#[test]
fn h138_a_stalled_sink_delays_probes_only_once_the_buffer_is_full_and_visibly() {
    let server = Server::start();
    let sinks = "[[sinks]]\ntype = \"stdout\"\nformat = \"json\"";
    let project = Project::with_pipeline(&pipeline(&server, 60, "250ms", sinks));
    let (mut running, mut held) = Running::start_without_draining(project.with_data(&["run"]));
    running
        .until_stderr_has(2 * LONG, "the sink does not keep up: results wait for it, and probing slows down");
    // From here on, the queue before the writer fills, and then nobody is asked any more.
    let mut before = 0;
    running.until(2 * LONG, "a standstill", || {
        std::thread::sleep(std::time::Duration::from_secs(3));
        let count = server.count();
        (std::mem::replace(&mut before, count) == count).then_some(())
    });
    let drained = std::thread::spawn(move || {
        let mut text = String::new();
        held.read_to_string(&mut text).unwrap();
        text
    });
    let reached = server.count() + 300;
    running.until(2 * LONG, "probing goes on", || server.reached(reached));
    running.signal(SIGTERM);
    let finished = running.wait(LONG).expect_code(0);
    assert!(finished.stderr.contains("the sink keeps up again"), "{}", finished.stderr);
    let rows = project.rows();
    rows.expect_whole();
    assert_eq!(rows.probes.len(), server.count(), "nothing is lost by waiting");
    assert_eq!(objects(&drained.join().unwrap()).len(), rows.probes.len());
    // Nobody was held up before the queue was full, and then rows tell of it: a target whose probe waits for its
    // row's place misses its ticks, and what waits for its turn is late.
    assert!(before > 4_096, "the queue takes 4,096 rows before anything stands still: {before}");
    let delay = |row: &Map<String, Value>| {
        row["lateness_us"].as_i64().unwrap() + row["missed"].as_i64().unwrap() * 250_000
    };
    let longest = rows.probes.iter().map(delay).max().unwrap();
    assert!(longest > 2_500_000, "rows tell of the delay: {longest}");
}

#[test]
fn i5_what_a_full_queue_drops_is_counted_and_the_pace_is_kept() {
    let server = Server::start();
    let sinks = "[[sinks]]\ntype = \"parquet\"\non_full = \"drop_newest\"\n\
                 [[sinks]]\ntype = \"stdout\"\nformat = \"json\"";
    let project = Project::with_pipeline(&pipeline(&server, 60, "250ms", sinks));
    let (mut running, held) = Running::start_without_draining(project.with_data(&["run"]));
    running.until_stderr_has(3 * LONG, "the queue of results is full: results are dropped");
    let reached = server.count() + 1_000;
    running.until(LONG, "probing goes on", || server.reached(reached));
    drop(held);
    running.until_stderr_has(LONG, "the queue of results has room again");
    running.signal(SIGTERM);
    let finished = running.wait(LONG).expect_code(0);
    let dropped =
        finished.stderr.lines().find(|line| line.contains("rows were dropped, since the queue was full"));
    let dropped: usize = dropped.unwrap().split(' ').next().unwrap().parse().unwrap();
    let rows = project.rows();
    rows.expect_whole();
    assert!(dropped > 0);
    assert_eq!(rows.probes.len() + dropped, server.count(), "{}", finished.stderr);
}

#[test]
fn a_slow_sink_may_leave_out_what_it_has_no_room_for_and_slows_nobody_down() {
    let server = Server::start();
    let sinks = "[[sinks]]\ntype = \"stdout\"\nformat = \"json\"\non_full = \"drop_newest\"";
    let project = Project::with_pipeline(&pipeline(&server, 60, "250ms", sinks));
    let (mut running, held) = Running::start_without_draining(project.with_data(&["run"]));
    running
        .until_stderr_has(2 * LONG, "the sink does not keep up: what it has no room for is left out there");
    let reached = server.count() + 500;
    running.until(LONG, "probing goes on", || server.reached(reached));
    drop(held);
    running.signal(SIGTERM);
    let finished = running.wait(LONG).expect_code(0);
    let rows = read_rows(&project.results());
    assert_eq!(rows.probes.len(), server.count(), "Parquet has all of them");
    let missing = "rows are missing in stdout of shop as json: it was too slow for them";
    assert!(finished.stderr.contains(missing), "{}", finished.stderr);
}
