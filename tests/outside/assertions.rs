//! What holds of assertions whatever the check: a bad one is refused at the load with its place, a check
//! may want a failure, and a failed assertion takes nothing from the row. The identifiers are those of
//! the list of HTTP cases.

use crate::support::{Project, Server};

/// A pipeline of one target and one check.
fn pipeline(url: &str, check: &str) -> Project {
    Project::with_pipeline(&format!(
        "default_checks = false\n[[sources]]\ntargets = [{{ url = \"{url}\", name = \"t\" }}]\n\n[[checks]]\n{check}\n"
    ))
}

/// A check with a regular expression that is none, and what is said of it.
const BAD_EXPRESSIONS: &[(&str, &str)] = &[
    (
        "plugin = \"body\"\nconfig = { matches = \"(unclosed\" }",
        "matches: \"(unclosed\" is not a regular expression",
    ),
    ("plugin = \"body\"\nconfig = { not_matches = [\"a\", \"[z-a]\"] }", "not_matches[1]: \"[z-a]\""),
    (
        "plugin = \"header\"\nconfig = { require = [{ name = \"etag\", matches = \"*\" }] }",
        "require[0].matches: \"*\"",
    ),
    (
        "plugin = \"json\"\nconfig = { assert = [{ path = \"/a\", matches = \"a{2,1}\" }] }",
        "assert[0].matches: \"a{2,1}\"",
    ),
    (
        "plugin = \"cel\"\nconfig = { conditions = [\"body.matches('(')\"] }",
        "\"(\" is not a regular expression",
    ),
    ("plugin = \"html\"\nconfig = { title = { matches = \"(\" } }", "title.matches: \"(\""),
    ("plugin = \"changed\"\nconfig = { ignore = \"(\" }", "ignore: \"(\""),
];

#[test]
fn h56_a_bad_expression_is_refused_at_the_load_with_its_place() {
    let server = Server::start();
    let mut text = format!("[[sources]]\ntargets = [\"{}\"]\n", server.url("/ok"));
    let mut places = Vec::new();
    for (number, (check, reason)) in BAD_EXPRESSIONS.iter().enumerate() {
        text += &format!("[[checks]]\nname = \"c{number}\"\n{check}\n");
        // The last line so far is that of the configuration.
        places.push((reason, format!("--> pipelines/shop.toml:{}:", text.lines().count())));
    }
    let project = Project::with_pipeline(&text);
    let finished = project.run(&["run", "--once"]).expect_code(78);
    for (reason, place) in places {
        let mut problems = finished.stderr.split("error[");
        let is_told = problems.any(|problem| problem.contains(reason) && problem.contains(&place));
        assert!(is_told, "{reason} {place}: {}", finished.stderr);
    }
    assert_eq!(server.count(), 0);
}

#[test]
fn h73_a_check_may_want_that_nobody_answers() {
    let server = Server::start();
    let check = "plugin = \"cel\"\non_error = true\nconfig = { conditions = \"error == 'connect_refused'\" }";
    // Nothing listens on port 1 of a machine that is not from 1988.
    for (url, code, outcome, status) in
        [("http://127.0.0.1:1/".to_owned(), 0, "up", "pass"), (server.url("/ok"), 1, "down", "fail")]
    {
        let project = pipeline(&url, check);
        project.run(&["run", "--once"]).expect_code(code);
        let rows = project.rows();
        let row = rows.the_row("t");
        assert_eq!((row["outcome"].as_str(), row["attempt"].as_i64()), (Some(outcome), Some(1)), "{row:?}");
        assert_eq!(rows.verdict(row, "cel")["status"], status);
    }
}

#[test]
fn h71_h74_a_failed_assertion_takes_nothing_from_the_row() {
    let server = Server::start();
    let project = pipeline(&server.url("/slow/120ms"), "plugin = \"latency\"\nconfig = { max = \"50ms\" }");
    project.run(&["run", "--once"]).expect_code(1);
    let rows = project.rows();
    let row = rows.the_row("t");
    assert_eq!((row["outcome"].as_str(), row["failed_check"].as_str()), (Some("down"), Some("latency")));
    for column in ["total_us", "first_byte_us"] {
        assert!(row[column].as_i64().is_some_and(|us| us >= 120_000), "{column}: {row:?}");
    }
    assert_eq!(row["http_status"], 200);
    let verdict = rows.verdict(row, "latency");
    assert!(
        verdict["metrics"]["latency_seconds"].as_f64().is_some_and(|seconds| seconds >= 0.12),
        "{verdict:?}"
    );
    // An http target has no certificate, which is not one of 0 days.
    for column in ["cert_not_after", "cert_chain_not_after", "cert_sha256", "tls_version", "tls_us"] {
        assert!(row[column].is_null(), "{column}: {row:?}");
    }
}
