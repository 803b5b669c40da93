//! `probity demo`: every outcome within seconds, without a network, and a query that works as pasted.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::{LONG, Project, Running, python_or_leave_out, read_rows};

/// What the demo's targets must come to; the flaky one comes to both.
const EXPECTED: &[(&str, &[&str], Option<&str>)] = &[
    ("home", &["up"], None),
    ("old-home", &["up"], None),
    ("slow", &["degraded"], None),
    ("flaky", &["down", "up"], None),
    ("missing", &["down"], None),
    ("report", &["unknown"], None),
    ("health", &["up"], None),
    ("stock", &["down"], None),
    ("self-signed", &["down"], Some("tls_self_signed")),
    ("nobody", &["down"], Some("connect_refused")),
];

#[test]
fn the_demo_shows_every_outcome_and_a_query_that_works() {
    let project = Project::new();
    let mut running = Running::start(project.command(&["demo", "--for", "15s", "--dir", "demo"]));
    let results = project.path().join("demo/results");
    // Results are there to be read while it runs, long before it ends.
    running.until(LONG, "results", || (!read_rows(&results).probes.is_empty()).then_some(()));
    let finished = running.wait(Duration::from_mins(1)).expect_code(0);

    let rows = read_rows(&results);
    rows.expect_whole();
    for (target, outcomes, error_kind) in EXPECTED {
        let of_target = rows.of_target(target);
        let seen: BTreeSet<_> = of_target.iter().map(|row| row["outcome"].as_str().unwrap()).collect();
        assert_eq!(seen, outcomes.iter().copied().collect(), "{target}: {of_target:?}");
        for row in of_target {
            assert_eq!(row["error_kind"].as_str(), *error_kind, "{target}: {row:?}");
        }
    }
    let self_signed = rows.of_target("self-signed")[0];
    assert_eq!(self_signed["tls_verified"], false, "facts survive failure: {self_signed:?}");
    assert!(
        self_signed["cert_not_after"].is_i64() && self_signed["cert_sha256"].is_string(),
        "{self_signed:?}"
    );
    for file in ["demo/targets.csv", "demo/results"] {
        assert!(project.path().join(file).exists(), "{file}");
    }

    let said = format!("{}\n{}", finished.stdout, finished.stderr);
    assert!(said.contains("demo"), "it says where the Parquet is: {said}");
    let query = query(&said);
    let Some(python) = python_or_leave_out("the demo's query in DuckDB") else { return };
    project.write("query.sql", &query);
    let answer = python.json_in(project.path(), "run_query.py", &[&project.path().join("query.sql")]);
    assert!(answer.as_array().is_some_and(|rows| !rows.is_empty()), "{query}: {answer}");
}

/// The SQL in what was said: between the quotes of a shell command.
fn query(said: &str) -> String {
    let at = said.find("\"SELECT").unwrap_or_else(|| panic!("no query: {said}")) + 1;
    let end = said[at..].find('"').unwrap_or_else(|| panic!("no end of the query: {said}"));
    assert!(said[at..at + end].contains(".parquet"), "{said}");
    said[at..at + end].to_owned()
}

#[test]
fn the_demos_files_are_for_editing() {
    let project = Project::new();
    let start = || Running::start(project.command(&["demo", "--for", "3s", "--dir", "demo"]));
    start().wait(LONG).expect_code(0);
    let pipeline = std::fs::read_dir(project.path().join("demo")).unwrap().map(|entry| entry.unwrap().path());
    let pipeline: Vec<_> =
        pipeline.filter(|path| path.extension().is_some_and(|name| name == "toml")).collect();
    let [pipeline] = &pipeline[..] else { panic!("one pipeline: {pipeline:?}") };
    let text = std::fs::read_to_string(pipeline).unwrap();
    std::fs::write(pipeline, format!("# mine\n{text}")).unwrap();
    start().wait(LONG).expect_code(0);
    let kept = std::fs::read_to_string(pipeline).unwrap();
    assert!(kept.starts_with("# mine"), "an edited pipeline is not written over");
}
