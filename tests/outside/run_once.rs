//! `probity run --once`: every target once, and what is said of it on stdout and in Parquet.

use crate::support::{Project, Server};

/// A target and what must be said of it: name, path (or whole URL), outcome, error kind, HTTP status.
type Case = (&'static str, &'static str, &'static str, Option<&'static str>, Option<i64>);

const CASES: &[Case] = &[
    ("well", "/ok/1", "up", None, Some(200)),
    ("moved", "/redirect/ok/2", "up", None, Some(200)),
    ("slow", "/slow/1500ms", "degraded", None, Some(200)),
    ("missing", "/status/404", "down", None, Some(404)),
    ("broken", "/status/503", "down", None, Some(503)),
    ("silent", "/never", "down", Some("timeout"), None),
    ("closed", "/close", "down", Some("connection_closed"), None),
    ("garbage", "/garbage", "down", Some("http_malformed"), None),
    ("short", "/short", "down", Some("body_incomplete"), Some(200)),
    // Nothing listens on port 1 of a machine that is not from 1988.
    ("nobody", "http://127.0.0.1:1/", "down", Some("connect_refused"), None),
];

fn pipeline(server: &Server) -> String {
    let target = |(name, path, ..): &Case| {
        let url = if path.starts_with('/') { server.url(path) } else { (*path).to_owned() };
        format!("  {{ url = \"{url}\", name = \"{name}\", labels = {{ kind = \"{name}\" }} }},\n")
    };
    let targets: String = CASES.iter().map(target).collect();
    format!(
        r#"
[request]
timeout = "4s"
[[checks]]
plugin = "latency"
config = {{ warn = "1s" }}
[[sources]]
targets = [
{targets}]
"#
    )
}

#[test]
fn h111_every_target_gets_its_outcome() {
    let server = Server::start();
    let project = Project::with_pipeline(&pipeline(&server));
    let finished = project.run(&["run", "--once", "--format", "json"]).expect_code(1);
    let rows = project.rows();
    rows.expect_whole();
    assert_eq!(rows.probes.len(), CASES.len(), "rows; stderr: {}", finished.stderr);
    for (name, _, outcome, error_kind, status) in CASES {
        let row = rows.the_row(name);
        let said = (row["outcome"].as_str(), row["error_kind"].as_str(), row["http_status"].as_i64());
        assert_eq!(said, (Some(*outcome), *error_kind, *status), "{name}: {row:?}");
        assert_eq!(row["error_message"].is_null(), error_kind.is_none(), "{name}: {row:?}");
        assert_eq!(row["labels"]["kind"], *name);
        assert_eq!(row["attempt"], 1);
        assert_eq!(row["is_final"], true);
    }
    assert_eq!(rows.the_row("broken")["failed_check"], "status");
    assert_eq!(rows.the_row("moved")["redirects"], 1);
    assert!(rows.the_row("moved")["final_url"].as_str().is_some_and(|url| url.ends_with("/ok/2")));
    // What did not happen is null, never zero.
    let refused = rows.the_row("nobody");
    for column in
        ["dns_us", "tls_us", "first_byte_us", "body_bytes", "tls_version", "cert_not_after", "http_status"]
    {
        assert!(refused[column].is_null(), "{column}: {refused:?}");
    }
    assert!(rows.the_row("slow")["first_byte_us"].as_i64().is_some_and(|us| us >= 1_500_000));
}

#[test]
fn the_json_lines_say_what_the_parquet_says() {
    let server = Server::start();
    let project = Project::with_pipeline(&pipeline(&server));
    let finished = project.run(&["run", "--once", "--format", "json"]).expect_code(1);
    let rows = project.rows();
    let lines = finished.json_lines();
    assert_eq!(lines.len(), rows.probes.len());
    for line in lines {
        rows.expect_told(&line);
    }
}

#[test]
fn limit_probes_the_first_ones_only() {
    let server = Server::start();
    let targets: Vec<_> = (0..10).map(|n| format!("{:?}", server.url(&format!("/ok/{n}")))).collect();
    let project = Project::with_pipeline(&format!("[[sources]]\ntargets = [{}]\n", targets.join(", ")));
    project.run(&["run", "--once", "--limit", "3"]).expect_code(0);
    let mut paths: Vec<_> = server.requests().into_iter().map(|request| request.path).collect();
    paths.sort();
    assert_eq!(paths, ["/ok/0", "/ok/1", "/ok/2"]);
    assert_eq!(project.rows().probes.len(), 3);
}

#[test]
fn the_shortest_useful_file_has_two_lines() {
    let server = Server::start();
    let project = Project::with_pipeline(&format!("[[sources]]\ntargets = [\"{}\"]\n", server.url("/ok")));
    let finished = project.run(&["run", "--once"]).expect_code(0);
    // A table for people: no control characters where stdout is no terminal.
    assert!(finished.stdout.contains("/ok") && finished.stdout.contains("up"), "{}", finished.stdout);
    assert!(!finished.stdout.contains('\u{1b}') && !finished.stderr.contains('\u{1b}'), "{finished:?}");
    let rows = project.rows();
    let row = rows.the_row(&server.url("/ok"));
    assert_eq!(row["pipeline"], "shop");
    assert_eq!(row["method"], "GET");
    assert_eq!(rows.verdict(row, "status")["status"], "pass");
}

#[test]
fn a_named_pipeline_file_runs_alone() {
    let server = Server::start();
    let project = Project::new();
    for name in ["one", "two"] {
        let url = server.url(&format!("/ok/{name}"));
        project.write(&format!("pipelines/{name}.toml"), format!("[[sources]]\ntargets = [\"{url}\"]\n"));
    }
    project.run(&["run", "--once", "pipelines/two.toml"]).expect_code(0);
    assert_eq!(
        server.requests().iter().map(|request| request.path.as_str()).collect::<Vec<_>>(),
        ["/ok/two"]
    );
    project.run(&["run", "--once", "pipelines"]).expect_code(0);
    let rows = project.rows();
    assert_eq!(rows.probes.len(), 3, "a second run adds to the first one's results");
    rows.expect_whole();
}

#[test]
fn target_lists_of_every_kind_are_read() {
    let server = Server::start();
    let url = |name: &str| server.url(&format!("/ok/{name}"));
    let project = Project::with_pipeline(
        r#"
[[sources]]
type = "file"
path = "targets/a.csv"
[[sources]]
type = "file"
path = "targets/b.json"
[[sources]]
type = "file"
path = "targets/c.jsonl"
[[sources]]
type = "file"
path = "targets/d.txt"
"#,
    );
    let csv = format!("url,name,every,labels.team\n{},csv,10s,core\n", url("csv"));
    project.write("pipelines/targets/a.csv", csv);
    let json = format!(r#"["{}", {{ "url": "{}", "name": "object" }}]"#, url("json"), url("object"));
    project.write("pipelines/targets/b.json", json);
    let jsonl = format!("{{\"url\": \"{}\", \"labels\": {{\"team\": \"edge\"}}}}\n", url("jsonl"));
    project.write("pipelines/targets/c.jsonl", jsonl);
    project.write("pipelines/targets/d.txt", format!("{}\n", url("txt")));
    project.run(&["run", "--once"]).expect_code(0);
    let rows = project.rows();
    assert_eq!(rows.probes.len(), 5);
    assert_eq!(rows.the_row("csv")["labels"]["team"], "core");
    assert_eq!(rows.the_row("object")["url"], url("object"));
    assert_eq!(rows.the_row(&url("jsonl"))["labels"]["team"], "edge");
    assert_eq!(rows.the_row(&url("txt"))["outcome"], "up");
}

#[test]
fn a_target_named_twice_is_probed_once_and_both_places_are_told() {
    let server = Server::start();
    let url = server.url("/ok");
    let text = format!("[[sources]]\ntargets = [\n  \"{url}\",\n  \"{url}\",\n]\n");
    let project = Project::with_pipeline(&text);
    let finished = project.run(&["run", "--once"]).expect_code(0);
    assert_eq!(server.count(), 1);
    assert!(
        finished.stderr.contains("shop.toml:3") && finished.stderr.contains("shop.toml:4"),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_single_run_leaves_no_state_folder_but_its_checksums() {
    let server = Server::start();
    let project = Project::with_pipeline(&format!("[[sources]]\ntargets = [\"{}\"]\n", server.url("/ok")));
    for _ in 0..2 {
        project.run(&["run", "--once"]).expect_code(0);
    }
    let state = project.state("main");
    let runners: Vec<_> = std::fs::read_dir(state.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(runners, ["main"]);
    let checksums = std::fs::read_to_string(state.join("checksums")).unwrap();
    let files = crate::support::parquet_files(&project.results());
    assert_eq!(checksums.lines().count(), files.len(), "a line a file:\n{checksums}");
    assert_eq!(files.len(), 4, "two runs, two tables: {files:?}");
}
