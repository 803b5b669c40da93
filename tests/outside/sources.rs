//! Sources whose targets come while the program runs: listings, service discovery, pipes; through to Parquet rows.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use serde_json::json;

use crate::support::{Project, Running, SIGTERM, Server};

/// Long enough for a loaded machine; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_mins(1);

/// A listing of the shape of Reddit's `new.json`: submissions by number, the newest first.
fn listing(server: &Server, numbers: std::ops::RangeInclusive<u32>) -> String {
    let child = |number: u32| {
        json!({ "kind": "t3", "data": { "name": format!("t3_{number}"), "title": format!("submission {number}"),
            "url": server.url(&format!("/ok/{number}")), "subreddit": "rust" } })
    };
    let children: Vec<_> = numbers.rev().map(child).collect();
    json!({ "kind": "Listing", "data": { "after": null, "children": children } }).to_string()
}

fn follow_listing(server: &Server) -> Project {
    Project::with_pipeline(&format!(
        "[[sources]]\ntype = \"listing\"\nurl = \"{}\"\nevery = \"1s\"\nitems = \"/data/children\"\nonly_new = true\n\
         item = {{ url = \"/data/url\", name = \"/data/title\", id = \"/data/name\", labels = {{ sub = \"/data/subreddit\" }} }}\n",
        server.url("/document/new.json")
    ))
}

/// Starts a run that says each row as a line of JSON.
fn start(project: &Project) -> Running {
    project.start(&["run", "--format", "json"])
}

/// Waits until there is a row of each of these targets.
fn until_rows(running: &mut Running, targets: &[String]) {
    for target in targets {
        running.until_stdout_has(PATIENCE, &format!("\"target\":\"{target}\""));
    }
}

fn submissions(numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
    numbers.map(|number| format!("submission {number}")).collect()
}

/// How many rows each target has.
fn counts(project: &Project) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for row in project.rows().probes {
        *counts.entry(row["target"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

fn stop(running: Running) {
    running.signal(SIGTERM);
    running.wait(PATIENCE).expect_code(0);
}

#[test]
fn each_new_submission_is_probed_once_across_restarts() {
    let server = Server::start();
    server.put("new.json", listing(&server, 1..=3));
    let project = follow_listing(&server);
    let mut running = start(&project);
    until_rows(&mut running, &submissions(1..=3));
    server.put("new.json", listing(&server, 2..=5));
    until_rows(&mut running, &submissions(4..=5));
    stop(running);
    server.put("new.json", listing(&server, 3..=6));
    let mut running = start(&project);
    until_rows(&mut running, &submissions(6..=6));
    stop(running);

    let once: BTreeMap<String, usize> = submissions(1..=6).into_iter().map(|name| (name, 1)).collect();
    assert_eq!(counts(&project), once);
    let rows = project.rows();
    let row = rows.the_row("submission 4");
    assert_eq!(
        (row["url"].as_str(), row["outcome"].as_str()),
        (Some(server.url("/ok/4").as_str()), Some("up"))
    );
    assert_eq!(row["labels"]["sub"], "rust");
}

#[test]
fn a_kill_loses_no_submission() {
    let server = Server::start();
    let project = follow_listing(&server);
    for round in 1..=4_u32 {
        server.put("new.json", listing(&server, 1..=round * 20));
        let mut running = start(&project);
        // Killed in the middle: some are probed, some wait.
        running.until(PATIENCE, "a submission of this round", || {
            let this_round = server.requests().iter().any(|request| {
                let number = request.path.strip_prefix("/ok/").and_then(|number| number.parse::<u32>().ok());
                number.is_some_and(|number| number > (round - 1) * 20)
            });
            this_round.then_some(())
        });
        running.kill();
    }
    let mut running = start(&project);
    // Rows of earlier runs are in files; what is missing comes now.
    running.until(PATIENCE, "every submission", || {
        let asked: std::collections::BTreeSet<String> =
            server.requests().into_iter().map(|request| request.path).collect();
        (1..=80).all(|number| asked.contains(&format!("/ok/{number}"))).then_some(())
    });
    // One that comes last is probed last: by then, all before it have their rows.
    server.put("new.json", listing(&server, 1..=81));
    until_rows(&mut running, &submissions(81..=81));
    stop(running);
    let counts = counts(&project);
    let missing: Vec<String> =
        submissions(1..=81).into_iter().filter(|name| !counts.contains_key(name)).collect();
    assert!(missing.is_empty(), "lost: {missing:?}");
}

#[test]
fn a_pipe_is_a_pipeline() {
    let server = Server::start();
    let project = Project::with_pipeline("[[sources]]\ntype = \"stdin\"\nlabels = { from = \"pipe\" }\n");
    let (running, mut pipe) =
        Running::start_with_pipe(project.with_data(&["run", "--once", "--format", "json"]));
    for number in 0..300 {
        writeln!(pipe, "{}", server.url(&format!("/ok/{number}"))).unwrap();
    }
    writeln!(pipe, "# a comment\nhttp://me:s3cret@127.0.0.1/\n").unwrap();
    writeln!(pipe, "{}", json!({ "url": server.url("/status/503"), "name": "broken" })).unwrap();
    drop(pipe);
    let finished = running.wait(PATIENCE).expect_code(1);
    let rows = project.rows();
    assert_eq!(rows.probes.len(), 301, "{}", finished.stderr);
    for number in 0..300 {
        let row = rows.the_row(&server.url(&format!("/ok/{number}")));
        assert_eq!((&row["outcome"], &row["labels"]["from"]), (&json!("up"), &json!("pipe")));
    }
    assert_eq!(rows.the_row("broken")["outcome"], "down");
    assert!(finished.stderr.contains("line=302"), "the wrong line is told: {}", finished.stderr);
    assert!(!finished.stderr.contains("s3cret"), "{}", finished.stderr);
}

#[test]
fn a_line_is_probed_when_it_comes() {
    let server = Server::start();
    let project = Project::with_pipeline("[[sources]]\ntype = \"stdin\"\n");
    let (mut running, mut pipe) = Running::start_with_pipe(project.with_data(&["run", "--format", "json"]));
    for number in 1..=3 {
        let url = server.url(&format!("/ok/{number}"));
        writeln!(pipe, "{url}").unwrap();
        until_rows(&mut running, &[url]);
    }
    stop(running);
    assert_eq!(counts(&project).len(), 3);
    drop(pipe);
}

#[test]
fn targets_of_a_service_discovery_come_and_go_and_the_others_keep_their_phase() {
    let server = Server::start();
    let groups = |names: &[&str]| {
        let urls: Vec<String> = names.iter().map(|name| server.url(&format!("/ok/{name}"))).collect();
        json!([{ "targets": urls, "labels": { "team": "core" } }]).to_string()
    };
    server.put("sd", groups(&["stays", "goes"]));
    let every = 500_000;
    let project = Project::with_pipeline(&format!(
        "[schedule]\nevery = \"500ms\"\n[request]\ntimeout = \"400ms\"\n\
         [[sources]]\ntype = \"http_sd\"\nurl = \"{}\"\nevery = \"1s\"\n",
        server.url("/document/sd")
    ));
    let [stays, goes, comes] = ["stays", "goes", "comes"].map(|name| server.url(&format!("/ok/{name}")));
    let mut running = start(&project);
    let asked = |name: &str| {
        let path = format!("/ok/{name}");
        server.requests().iter().filter(|request| request.path == path).count()
    };
    running.until(PATIENCE, "rows of both", || (asked("stays") >= 3 && asked("goes") >= 3).then_some(()));
    server.put("sd", groups(&["comes", "stays"]));
    running.until(PATIENCE, "rows of the new one", || (asked("comes") >= 3).then_some(()));
    let gone = asked("goes");
    running.until(PATIENCE, "more of the new one", || (asked("comes") >= 7).then_some(()));
    assert_eq!(asked("goes"), gone, "what is gone is not asked any more");
    // A document that is wrong changes nothing.
    server.put("sd", "no json");
    let so_far = asked("comes");
    running.until_stderr_has(PATIENCE, "its last targets stay");
    running.until(PATIENCE, "it goes on", || (asked("comes") >= so_far + 5).then_some(()));
    stop(running);

    let rows = project.rows();
    let begins = |name: &str| -> Vec<i64> {
        let mut begins: Vec<i64> =
            rows.of_target(name).iter().map(|row| row["scheduled_at"].as_i64().unwrap()).collect();
        begins.sort_unstable();
        begins
    };
    assert!(begins(&goes).last() < begins(&comes).get(2), "the one ends, the other begins");
    let stays = begins(&stays);
    // The first comes at once; from the second on, each target has its phase.
    let phases: Vec<i64> = stays.iter().skip(1).map(|at| at.rem_euclid(every)).collect();
    let spread = phases.iter().max().unwrap() - phases.iter().min().unwrap();
    assert!(spread < 20_000, "microseconds between the phases of one target: {phases:?}");
    assert_eq!(rows.of_target(&comes)[0]["labels"]["team"], "core");
}
