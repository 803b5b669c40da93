//! `probity plugin test`: what a check's author reads.

use serde_json::Value;

use crate::support::{Finished, Guest, PASS, Project};

/// Cases for the bundled `status` check: one that holds, and one of each way not to.
const CASES: &str = r#"
[[cases]]
name = "as it should be"
config = { expect = ["2xx"] }
response = { status = 200 }
expect = { status = "pass", message = "status 200" }

[[cases]]
name = "another message"
config = { expect = ["2xx"] }
response = { status = 500 }
expect = { status = "fail", message = "status 501 is not in 2xx", metrics = { a = 1 } }

[[cases]]
name = "another status"
response = { status = 500 }
expect = { status = "pass" }

[[cases]]
name = "refused"
config = { expct = 200 }
expect = { status = "pass" }

[[cases]]
name = "not refused"
expect = { config_error = "no" }
"#;

/// What is said of them, after the time that it took was taken out.
const REPORT: &str = "\
ok      as it should be
FAILED  another message
        --> check/cases.toml:8:1
        message
          expected  status 501 is not in 2xx
          got       status 500 is not in 2xx
                             ^
        metrics.a
          expected  1
          got       nothing
FAILED  another status
        --> check/cases.toml:14:1
        status
          expected  pass
          got       fail (status 500 is not in 2xx)
FAILED  refused
        --> check/cases.toml:19:1
        answer
          expected  pass
          got       the configuration is refused: unknown key \"expct\", expected \"expect\" or \"reject\"
FAILED  not refused
        --> check/cases.toml:24:1
        answer
          expected  the configuration is refused: no
          got       fail: no response (no error kind)
FAILED  the schema of the configuration and the cases have the same keys
        config.expct
          expected  a description in the configuration's schema, since cases use it
          got       nothing
        config.reject
          expected  a case that uses it, since the configuration's schema has it
          got       nothing
status: 5 cases in … s: 1 ok, 4 FAILED, the schema FAILED
";

/// The standard output without how long it took.
fn report(finished: &Finished) -> String {
    let text = &finished.stdout;
    let (begin, rest) = text.rsplit_once(" in ").unwrap_or_else(|| panic!("{finished:?}"));
    let (_, end) = rest.split_once(" s: ").unwrap_or_else(|| panic!("{finished:?}"));
    format!("{begin} in … s: {end}")
}

#[test]
fn every_difference_is_shown_line_by_line() {
    let project = Project::new();
    project.write("check/cases.toml", CASES);
    let finished = project.run_plain(&["plugin", "test", "check", "--plugin", "status"]).expect_code(1);
    assert_eq!(report(&finished), REPORT);
}

#[test]
fn for_programs_every_case_is_an_object() {
    let project = Project::new();
    project.write("check/cases.toml", CASES);
    let arguments = ["plugin", "test", "check", "--plugin", "status", "--format", "json"];
    let finished = project.run_plain(&arguments).expect_code(1);
    let objects: Vec<Value> =
        finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ok: Vec<_> = objects.iter().map(|object| object["ok"].as_bool().unwrap()).collect();
    assert_eq!(ok, [true, false, false, false, false, false]);
    assert_eq!(objects[0]["status"], "pass");
    assert!(objects[0]["duration_us"].as_u64().unwrap() > 0);
    assert_eq!(objects[1]["place"], "check/cases.toml:8:1");
    assert_eq!(objects[1]["mismatches"][1]["what"], "metrics.a");
    assert_eq!(objects[1]["mismatches"][1]["got"], Value::Null);
    assert!(objects[3]["config_error"].as_str().unwrap().contains("expct"));
}

/// A folder with a component that passes, and one case.
fn author(project: &Project, folder: &str, file: &str) {
    project.write(&format!("{folder}/{file}"), Guest { run: PASS, ..Guest::default() }.component());
    let case = "[[cases]]\nname = \"x\"\nresponse = { status = 200 }\nexpect = { status = \"pass\" }\n";
    project.write(&format!("{folder}/cases.toml"), case);
}

#[test]
fn the_component_is_found_where_a_build_leaves_it() {
    let project = Project::new();
    author(&project, "cart", "cart.wasm");
    author(&project, "other-name", "cart.wasm");
    for path in ["cart", "./cart/", "cart/cart.wasm", "other-name"] {
        let finished = project.run_plain(&["plugin", "test", path]).expect_code(0);
        assert!(finished.stdout.ends_with(" s: all ok\n"), "{path}: {}", finished.stdout);
    }
    project.write("other-name/old.wasm", "");
    project.write("empty/cases.toml", "");
    for (path, part) in [
        ("other-name", "there are several components in \"other-name\""),
        ("empty", "there is no component in \"empty\": make one with \"probity plugin build empty\""),
        ("no-such", "there is no file or folder \"no-such\""),
    ] {
        let finished = project.run_plain(&["plugin", "test", path]);
        assert!(finished.stderr.contains(part), "{path}: {}", finished.stderr);
        assert_ne!(finished.status.code(), Some(0));
    }
}

#[test]
fn a_file_that_is_no_plugin_or_no_cases_is_explained() {
    let project = Project::new();
    author(&project, "cart", "cart.wasm");
    project.write("broken/cart.wasm", "<html>");
    project.write("broken/cases.toml", CASES);
    let finished = project.run_plain(&["plugin", "test", "broken"]).expect_code(1);
    assert!(finished.stderr.contains("it is a web page or XML"), "{}", finished.stderr);
    project.write("cart/cases.toml", "[[cases]]\nnam = \"x\"\n");
    let finished = project.run_plain(&["plugin", "test", "cart"]).expect_code(78);
    for part in ["cart/cases.toml:2:1", "did you mean \"name\"?", "the key \"expect\" is missing", "3 errors"]
    {
        assert!(finished.stderr.contains(part), "{part}: {}", finished.stderr);
    }
}

#[test]
fn a_check_that_is_stopped_is_told_with_its_limit() {
    let project = Project::new();
    let run =
        "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 4)) (i32.const -1)))) (unreachable)";
    project.write("eats/eats.wasm", Guest { run, ..Guest::default() }.component());
    for (limits, told) in [("{}", "64 MiB"), ("{ memory = \"2MiB\" }", "2 MiB")] {
        let case = format!("[[cases]]\nname = \"x\"\nlimits = {limits}\nexpect = {{ status = \"pass\" }}\n");
        project.write("eats/cases.toml", case);
        let finished = project.run_plain(&["plugin", "test", "eats"]).expect_code(1);
        let line = format!("          got       could not judge: memory limit: wanted more than {told}\n");
        assert!(finished.stdout.contains(&line), "{}", finished.stdout);
    }
}

/// What is remembered stays between the attempts of a case, and nowhere else; in every isolation.
#[test]
fn attempts_of_a_case_follow_each_other() {
    let project = Project::new();
    project.write("check/page.html", "<p>the same");
    project.write(
        "check/cases.toml",
        r#"
[[cases]]
name = "the same again"
before = [{ status = 200, body = "another" }, { status = 200, body_file = "page.html" }]
response = { status = 200, body = "<p>the same" }
expect = { status = "pass" }

[[cases]]
name = "seen for the first time"
response = { status = 200, body_file = "page.html" }
expect = { status = "pass" }
"#,
    );
    let mut messages = Vec::new();
    for isolation in ["configure", "snapshot", "reuse"] {
        let arguments =
            ["plugin", "test", "check", "--plugin", "changed", "--isolation", isolation, "--format", "json"];
        let finished = project.run_plain(&arguments);
        let objects: Vec<Value> =
            finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let said: Vec<_> = objects[..2].iter().map(|case| case["message"].clone()).collect();
        assert!(said[1].as_str().unwrap().contains("first seen"), "{isolation}: {said:?}");
        messages.push(said);
    }
    assert!(messages.iter().all(|said| *said == messages[0]), "{messages:?}");
    assert_ne!(messages[0][0], messages[0][1]);
}
