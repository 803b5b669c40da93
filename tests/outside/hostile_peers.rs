//! Peers that mean harm: each costs its own target an outcome and nobody else anything.

use std::time::Duration;

use crate::support::{LONG, Project, Row, SIGTERM, Server};

/// A part of `tests/support/peer.rs`, and what must be said of it: outcome, error kind, HTTP status.
type Case = (&'static str, &'static str, Option<&'static str>, Option<i64>);

const CASES: &[Case] = &[
    ("half-a-head", "down", Some("timeout"), None),
    ("drip", "down", Some("timeout"), Some(200)),
    ("held-open", "down", Some("timeout"), Some(200)),
    // The body goes on beyond the limit: it is cut, marked, and the checks decide.
    ("endless-body", "up", None, Some(200)),
    ("huge-length", "down", Some("body_incomplete"), Some(200)),
    ("endless-interim", "down", Some("http_too_many_1xx"), None),
    ("endless-head", "down", Some("http_headers_too_large"), None),
    ("thousand-headers", "down", Some("http_headers_too_large"), None),
    ("bad-chunk", "down", Some("http_malformed"), Some(200)),
    ("gzip", "up", None, Some(200)),
    ("brotli-bomb", "down", Some("decompress_bomb"), Some(200)),
    ("bomb-twice", "down", Some("body_encoding"), Some(200)),
    ("half-a-gzip", "down", Some("body_incomplete"), Some(200)),
    ("no-gzip", "down", Some("body_encoding"), Some(200)),
    ("endless-gzip", "up", None, Some(200)),
    ("loop", "down", Some("redirect_limit"), Some(302)),
    ("away", "down", Some("redirect_invalid"), Some(302)),
    ("nowhere", "down", Some("redirect_invalid"), Some(302)),
    ("escapes", "down", None, None),
];

fn pipeline(server: &Server, every: &str) -> String {
    let target =
        |name: &str, path: &str| format!("  {{ url = \"{}\", name = \"{name}\" }},\n", server.url(path));
    let hostile: String = CASES.iter().map(|(name, ..)| target(name, &format!("/hostile/{name}"))).collect();
    let well: String = (0..5).map(|n| target(&format!("well-{n}"), &format!("/ok/{n}"))).collect();
    format!(
        "[schedule]\nevery = \"{every}\"\n[request]\ntimeout = \"2s\"\nbody_limit = \"64KiB\"\n\
         response_headers = [\"Content-Encoding\", \"x-none\"]\n\
         [[sources]]\ntargets = [\n{hostile}{well}]\n"
    )
}

/// What is said otherwise than it should be, if anything.
fn difference(row: &Row, (name, outcome, error_kind, status): &Case) -> Option<String> {
    let said = (row["outcome"].as_str(), row["error_kind"].as_str(), row["http_status"].as_i64());
    // A client may refuse a head full of escapes, or take it as it is: it is down either way.
    let same =
        said == (Some(outcome), *error_kind, *status) || (*name == "escapes" && said.0 == Some("down"));
    (!same).then(|| format!("{name}: {said:?}, {}", row["error_message"]))
}

#[test]
fn each_gets_its_outcome_before_the_deadline() {
    let server = Server::start();
    let project = Project::with_pipeline(&pipeline(&server, "60s"));
    let finished = project.run(&["run", "--once"]).expect_code(1);
    let rows = project.rows();
    rows.expect_whole();
    let differences: Vec<_> =
        CASES.iter().filter_map(|case| difference(rows.the_row(case.0), case)).collect();
    assert!(differences.is_empty(), "{differences:#?}");
    for case in CASES {
        let row = rows.the_row(case.0);
        let total_us = row["total_us"].as_i64().unwrap_or_default();
        assert!(total_us < 4_000_000, "{}: {total_us} us, where 2 s are allowed", case.0);
    }
    let endless = rows.the_row("endless-body");
    assert_eq!(endless["body_truncated"], true, "{endless:?}");
    assert!(endless["decoded_bytes"].as_i64().is_some_and(|bytes| bytes < 1 << 20), "{endless:?}");
    let gzip = rows.the_row("gzip");
    assert_eq!((&gzip["body_bytes"], &gzip["decoded_bytes"]), (&31.into(), &11.into()), "{gzip:?}");
    assert_eq!(gzip["response_headers"], serde_json::json!({ "content-encoding": "gzip" }));
    assert_eq!(rows.the_row("endless-body")["response_headers"], serde_json::json!({}));
    assert!(rows.the_row("half-a-head")["response_headers"].is_null(), "there was no response");
    assert_eq!(rows.the_row("loop")["redirects"], 10);
    // What a peer sends never steers the terminal of whoever looks at the table.
    let shown = format!("{}{}", finished.stdout, finished.stderr);
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
}

/// The peak of resident memory of a process, in KiB.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn n58_n60_a_thousand_bombs_and_endless_bodies_at_once_stay_small() {
    let server = Server::start();
    let parts = ["brotli-bomb", "endless-gzip", "endless-body", "bomb-twice"];
    let hostile: String = (0..1_000)
        .map(|n| format!("\"{}\",\n", server.url(&format!("/hostile/{}/{n}", parts[n % 4]))))
        .collect();
    let well: String = (0..5).map(|n| format!("\"{}\",\n", server.url(&format!("/ok/{n}")))).collect();
    let project = Project::with_pipeline(&format!(
        "default_checks = false\n[request]\ntimeout = \"20s\"\n[schedule]\nevery = \"1h\"\n\
         [[sources]]\ntargets = [\n{hostile}{well}]\n"
    ));
    let mut running = project.start(&["run"]);
    running.until(LONG, "every target asked", || server.reached(1_005));
    let peak = peak_kib(running.pid());
    running.signal(SIGTERM);
    running.wait(Duration::from_secs(40)).expect_code(0);
    assert!(peak < 256 * 1_024, "peak of resident memory: {peak} KiB");
    let rows = project.rows();
    rows.expect_whole();
    let of = |part: &str, kind: Option<&str>| {
        let is = |row: &&Row| {
            row["url"].as_str().is_some_and(|url| url.contains(part)) && row["error_kind"].as_str() == kind
        };
        rows.probes.iter().filter(is).count()
    };
    assert_eq!(of("brotli-bomb", Some("decompress_bomb")), 250);
    assert_eq!(of("bomb-twice", Some("body_encoding")), 250);
    assert_eq!((of("endless-gzip", None), of("endless-body", None)), (250, 250));
    assert_eq!(of("/ok/", None), 5);
}

#[test]
fn their_neighbours_stay_up_and_memory_stays_flat() {
    let server = Server::start();
    let project = Project::with_pipeline(&pipeline(&server, "500ms"));
    let mut running = project.start(&["run"]);
    let asked = || server.requests().iter().filter(|request| request.path.starts_with("/ok/")).count();
    running.until(LONG, "50 requests of the neighbours", || (asked() >= 50).then_some(()));
    let peak_kib = peak_kib(running.pid());
    assert!(peak_kib < 512 * 1_024, "peak of resident memory: {peak_kib} KiB");
    running.signal(SIGTERM);
    running.wait(Duration::from_secs(20)).expect_code(0);
    let rows = project.rows();
    rows.expect_whole();
    for row in
        rows.probes.iter().filter(|row| row["target"].as_str().is_some_and(|name| name.starts_with("well-")))
    {
        assert_eq!(row["outcome"], "up", "{row:?}");
    }
}
