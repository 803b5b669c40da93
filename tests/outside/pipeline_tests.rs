//! `probity test`: tests in pipeline files, run without network.

use serde_json::json;

use crate::support::Project;

/// A pipeline that could never be probed, with checks and tests.
const SHOP: &str = r#"
[[sources]]
targets = [{ url = "https://shop.invalid/", name = "shop", labels = { team = "core" } }]

[request]
method = "HEAD"

[[checks]]
plugin = "latency"
config = { warn = "100ms", max = "1s" }
severity = "warn"

[[checks]]
plugin = "body"
config = { contains = ["in stock"] }

[[checks]]
plugin = "changed"

[[checks]]
name = "unreachable"
plugin = "cel"
on_error = true
config = { conditions = ["error != 'connect_refused'", "labels.team == 'core'", "method == 'HEAD'"] }

"#;

fn project(tests: &str) -> Project {
    let project = Project::with_pipeline(&format!("{SHOP}{tests}"));
    project.write("pipelines/fixtures/shop.html", "<p>3 in stock</p>");
    project
}

const GOOD: &str = r#"
[[tests]]
name = "a page is up"
target = "shop"
response = { status = 200, body_file = "fixtures/shop.html", latency = "50ms" }
expect = { outcome = "up", checks = { body = "pass", latency = { status = "pass", metrics = { latency_seconds = 0.05 } } } }

[[tests]]
name = "a slow page degrades"
target = "shop"
response = { status = 200, body = "in stock", timing = { total = "2s" } }
expect = { outcome = "degraded", checks = { latency = "fail", status = "pass" } }

[[tests]]
name = "nobody listens"
target = "shop"
failure = "connect_refused"
expect = { outcome = "down", checks = { unreachable = "fail", body = "not_called" } }

[[tests]]
name = "a change is noticed"
target = "shop"
before = [{ status = 200, body = "in stock: 3" }]
response = { status = 200, body = "in stock: 2" }
expect = { checks = { changed = "warn" } }
"#;

#[test]
fn tests_that_hold_are_told_in_a_line_each() {
    let finished = project(GOOD).run_plain(&["test"]).expect_code(0);
    let lines: Vec<_> = finished.stdout.lines().collect();
    assert_eq!(lines[..2], ["ok      shop: a page is up", "ok      shop: a slow page degrades"]);
    assert!(lines.last().unwrap().starts_with("4 tests in "), "{lines:?}");
    assert!(lines.last().unwrap().ends_with(": all ok"), "{lines:?}");
    let finished =
        project(GOOD).run_plain(&["test", "--format", "json", "pipelines/shop.toml"]).expect_code(0);
    let objects = finished.json_lines();
    assert_eq!(objects.len(), 4);
    assert_eq!((&objects[2]["outcome"], &objects[2]["ok"]), (&json!("down"), &json!(true)));
    let none = project("").run_plain(&["test"]).expect_code(0);
    assert!(none.stdout.contains("0 tests") && none.stdout.contains("[[tests]]"), "{}", none.stdout);
}

#[test]
fn a_difference_is_told_and_ends_with_1() {
    let wrong = GOOD
        .replace("outcome = \"up\"", "outcome = \"down\"")
        .replace("latency_seconds = 0.05", "latency_seconds = 5")
        .replace("changed = \"warn\"", "changed = { message = \"nothing\" }");
    let finished = project(&wrong).run_plain(&["test"]).expect_code(1);
    let told = &finished.stdout;
    for part in [
        "FAILED  shop: a page is up",
        "--> pipelines/shop.toml:27:1",
        "outcome\n          expected  down\n          got       up",
        "checks.latency.metrics.latency_seconds",
        "expected  5",
        "checks.changed.message\n          expected  nothing",
        ": 2 ok, 2 FAILED",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    let finished = project(&wrong).run_plain(&["test", "--format", "json"]).expect_code(1);
    let first = &finished.json_lines()[0];
    assert_eq!((&first["ok"], &first["mismatches"][0]["what"]), (&json!(false), &json!("outcome")));
}

/// H128: `validate` tells of wrong tests as well, all at once.
#[test]
fn h128_wrong_tests_are_told_by_validate() {
    // What cannot be read, and what cannot be meant.
    let unreadable = [
        ("respons = { status = 200 }\nexpect = { outcome = \"up\" }", "did you mean \"response\"?"),
        ("response = { status = 200 }\nexpect = { outcme = \"up\" }", "did you mean \"outcome\"?"),
        ("response = { status = 200 }\nexpect = { outcome = \"upp\" }", "did you mean \"up\"?"),
        ("response = { status = 200 }\nexpect = { checks = { body = \"pas\" } }", "did you mean \"pass\"?"),
        ("failure = \"conect_refused\"\nexpect = { outcome = \"up\" }", "did you mean \"connect_refused\"?"),
    ];
    let wrong = [
        ("response = { status = 200 }\nexpect = { checks = { bdy = \"pass\" } }", "did you mean \"body\"?"),
        ("response = { status = 200 }\nexpect = {}", "a test expects an outcome, or what checks say"),
        ("response = { status = 99 }\nexpect = { outcome = \"up\" }", "a status code is at least 100"),
        ("response = { body = \"x\" }\nexpect = { outcome = \"up\" }", "a response has a status"),
        ("expect = { outcome = \"up\" }", "a test has a response, or a failure"),
        ("target = \"shp\"\nfailure = \"timeout\"\nexpect = { outcome = \"up\" }", "did you mean \"shop\"?"),
        (
            "response = { status = 200, body_file = \"none\" }\nexpect = { outcome = \"up\" }",
            "cannot be read",
        ),
        ("started_at = \"today\"\nfailure = \"timeout\"\nexpect = { outcome = \"up\" }", "a date since 1970"),
    ];
    for tests in [&unreadable[..], &wrong] {
        let text: String =
            tests.iter().map(|(test, _)| format!("[[tests]]\nname = \"x\"\n{test}\n")).collect();
        let project = project(&text);
        for command in ["validate", "test"] {
            let told = project.run_plain(&[command]).expect_code(78).stderr;
            for (_, part) in tests {
                assert!(told.contains(part), "{command}: {part}\n{told}");
            }
            assert!(told.contains(&format!("{} errors", tests.len())), "{command}: {told}");
        }
    }
}
