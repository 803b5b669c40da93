//! `probity plugin inspect` and `probity plugin bench`: what a component is, and what it costs.

use serde_json::Value;

use crate::support::{Guest, Project};

/// The values of a report's lines, by what stands before them.
fn value<'a>(report: &'a str, what: &str) -> &'a str {
    let line = report.lines().find(|line| line.starts_with(&format!("{what:12}  ")));
    line.map_or("", |line| &line[14..])
}

#[test]
fn a_component_is_described_and_its_calls_are_timed() {
    let project = Project::new();
    let config = r#"{"contains": "42"}"#;
    let report = project.run_plain(&["plugin", "inspect", "body", "--config", config]).expect_code(0).stdout;
    for (what, expected) in [
        ("name", "body"),
        ("contract", "0.1.0"),
        ("imports", "probity:check/observation@0.1.0"),
        ("body", "is looked at"),
        ("it says", "pass: 1 body assertion holds"),
    ] {
        assert_eq!(value(&report, what), expected, "{what}\n{report}");
    }
    assert!(value(&report, "frozen").starts_with("yes, in "), "{report}");
    for way in ["bare start", "reuse", "snapshot", "configure"] {
        assert!(value(&report, way).contains(" us") || value(&report, way).contains(" ms"), "{report}");
    }
    let (_, configuration) = report.split_once("\nconfiguration\n").unwrap();
    for key in ["contains", "not_contains", "matches", "not_matches"] {
        assert!(configuration.contains(&format!("  {key} ")), "{key}\n{report}");
    }
}

#[test]
fn a_configuration_that_is_refused_takes_nothing_else_away() {
    let project = Project::new();
    let report = project.run_plain(&["plugin", "inspect", "json"]).expect_code(0).stdout;
    assert!(value(&report, "not called").contains("the configuration {} does not do: nothing to judge"));
    assert!(!value(&report, "compiled in").is_empty() && report.contains("assert[].path"), "{report}");

    let arguments = ["plugin", "inspect", "json", "--format", "json"];
    let object: Value = serde_json::from_str(&project.run_plain(&arguments).expect_code(0).stdout).unwrap();
    assert_eq!((object["name"].as_str(), object["contract"].as_str()), (Some("json"), Some("0.1.0")));
    assert!(object["config_error"].as_str().unwrap().contains("nothing to judge"));
    assert!(object["config_schema"]["properties"]["assert"].is_object());
    assert!(object["size_bytes"].as_u64().unwrap() > 100_000);
}

#[test]
fn calls_are_timed_by_isolation() {
    let project = Project::new();
    project.write("page.html", "<p>42");
    project.write("checks/cart.wasm", Guest::default().component());
    let arguments = ["plugin", "bench", "checks/cart.wasm", "--body", "page.html", "--calls", "100"];
    let report = project.run_plain(&arguments).expect_code(0).stdout;
    assert!(report.contains("a body of 5 bytes, 100 calls in each way"), "{report}");

    let arguments: Vec<_> = arguments.into_iter().chain(["--format", "json"]).collect();
    let object: Value = serde_json::from_str(&project.run_plain(&arguments).expect_code(0).stdout).unwrap();
    let rows = object["calls"].as_array().unwrap();
    let ways: Vec<_> = rows.iter().map(|row| row["isolation"].as_str().unwrap()).collect();
    assert_eq!(ways, ["bare", "reuse", "snapshot", "configure"]);
    for row in rows {
        assert_eq!(row["calls"], 100);
        let (median, p99) = (row["median_us"].as_f64().unwrap(), row["p99_us"].as_f64().unwrap());
        assert!(median > 0.0 && median <= p99 && row["cpu_us"].as_f64().unwrap() > 0.0, "{row}");
    }
    assert_eq!(object["says"]["status"], "pass");
}

#[test]
fn what_cannot_be_inspected_is_explained() {
    let project = Project::new();
    project.write("text.wasm", "(component)");
    for (arguments, code, part) in [
        (&["inspect", "text.wasm"][..], 1, "it is WebAssembly text, which has to be assembled first"),
        (&["inspect", "no-such.wasm"], 1, "cannot be read: there is no such file"),
        (&["bench", "bdy"], 1, "did you mean \"body\"?"),
        (&["bench", "body"], 1, "the configuration {} does not do: nothing to judge"),
        (&["bench", "body", "--config", "{"], 2, "not JSON"),
        (&["inspect", "body", "--config", "[]"], 2, "a configuration is a JSON object"),
        (&["bench", "status", "--body", "no-such"], 3, "the body \"no-such\" cannot be read"),
    ] {
        let arguments: Vec<_> = ["plugin"].iter().chain(arguments).copied().collect();
        let finished = project.run_plain(&arguments).expect_code(code);
        assert!(finished.stderr.contains(part), "{arguments:?}: {}", finished.stderr);
    }
}
