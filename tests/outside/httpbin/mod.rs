//! Another party's server: httpbin, served by gunicorn. `cases.toml` has the cases.
//!
//! It is looked for in the Python of the readers (`pip install httpbin gunicorn`), and left out as they are.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{
    LONG, Project, Row, Running, SIGINT, differences, inline, leave_out, python_or_leave_out,
};

/// All cases.
#[derive(Deserialize)]
struct Cases {
    case: Vec<Case>,
}

/// One of them; the head of the file says what each field means.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    path: String,
    #[serde(default)]
    request: Value,
    #[serde(default)]
    json: Value,
    #[serde(default)]
    contains: Vec<String>,
    #[serde(default)]
    checks: Vec<Value>,
    row: Row,
}

/// The server; it ends with its test.
struct Httpbin {
    running: Running,
    port: u16,
}

impl Httpbin {
    /// Starts it on a free port; says why `test` is left out where there is none.
    fn start(test: &str, folder: &Path) -> Option<Self> {
        let python = python_or_leave_out(test)?;
        let there = Command::new(python.program()).args(["-c", "import httpbin, gunicorn"]).output().unwrap();
        if !there.status.success() {
            let reason = "the readers' Python lacks httpbin (`pip install httpbin gunicorn` brings it)";
            leave_out(test, reason);
            return None;
        }
        let mut command = Command::new(python.program());
        command
            .args(["-m", "gunicorn", "--worker-class", "gthread", "--threads", "16", "--bind", "127.0.0.1:0"])
            .arg("httpbin:app")
            // What it keeps in a home folder has no place in anybody's.
            .env("HOME", folder)
            .current_dir(folder);
        let mut running = Running::start(command);
        let said = running.stderr_reader();
        let port = running.until(LONG, "httpbin", || {
            let said = said();
            // The socket takes connections from here on; the worker serves them when it has come up.
            let (_, after) = said.split_once("Listening at: http://127.0.0.1:")?;
            after.split(' ').next()?.parse().ok()
        });
        Some(Self { running, port })
    }
}

impl Drop for Httpbin {
    fn drop(&mut self) {
        // Its worker ends with it when it is asked, not when it is killed; by this without waiting for whom it serves.
        self.running.signal(SIGINT);
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while self.running.is_running() && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Case {
    /// The pipeline of the case.
    fn pipeline(&self, origin: &str) -> String {
        let mut checks = self.checks.clone();
        if let Value::Object(pointers) = &self.json {
            let assert = pointers.iter().map(|(path, value)| json!({ "path": path, "equals": value }));
            checks.push(json!({ "plugin": "json", "config": { "assert": assert.collect::<Vec<_>>() } }));
        }
        if !self.contains.is_empty() {
            checks.push(json!({ "plugin": "body", "config": { "contains": self.contains } }));
        }
        let target = json!({ "url": format!("{origin}{}", self.path), "name": self.name });
        let (request, target, checks) = (inline(&self.request), inline(&target), inline(&json!(checks)));
        format!("request = {request}\nsources = [{{ targets = [{target}] }}]\nchecks = {checks}\n")
    }
}

#[test]
fn every_answer_of_httpbin_makes_the_row_that_it_should() {
    let project = Project::new();
    let Some(httpbin) =
        Httpbin::start("every_answer_of_httpbin_makes_the_row_that_it_should", project.path())
    else {
        return;
    };
    let origin = format!("http://127.0.0.1:{}", httpbin.port);
    let elsewhere = format!("http://localhost:{}", httpbin.port);
    let text = include_str!("cases.toml").replace("{origin}", &origin).replace("{elsewhere}", &elsewhere);
    let cases: Cases = toml::from_str(&text).unwrap();
    for case in &cases.case {
        project.write(&format!("pipelines/{}.toml", case.name), case.pipeline(&origin));
    }
    project.run(&["run", "--once"]).expect_code(1);
    let rows = project.rows();
    rows.expect_whole();
    let mut told = String::new();
    for case in &cases.case {
        let row = rows.the_row(&case.name);
        for difference in differences(row, &case.row) {
            let verdicts = rows.checks.iter().filter(|check| check["seq"] == row["seq"]);
            let verdicts: String = verdicts
                .map(|check| format!("\n    {}: {}", check["check_name"], check["message"]))
                .collect();
            told += &format!("{}: {difference} ({}){verdicts}\n", case.name, row["error_message"]);
        }
    }
    assert!(told.is_empty(), "\n{told}");
}
