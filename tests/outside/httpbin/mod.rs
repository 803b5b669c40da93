//! Another party's server: httpbin, served by gunicorn. `cases.toml` has the cases.
//!
//! It is looked for in the Python of the readers (`pip install httpbin gunicorn`), and left out as they are.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{LONG, Project, Row, Running, SIGINT, leave_out, python_or_leave_out};

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
    #[serde(default)]
    least: Row,
    #[serde(default)]
    absent: Vec<String>,
    #[serde(default)]
    shrunk: bool,
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

/// A value in a pipeline file.
fn inline(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(pairs) => {
            let pair = |(key, value): (&String, &Value)| format!("{} = {}", json!(key), inline(value));
            format!("{{ {} }}", pairs.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
        scalar => scalar.to_string(),
    }
}

impl Case {
    /// The pipeline of the case.
    fn pipeline(&self, origin: &str, elsewhere: &str) -> String {
        let path = self.path.replace("{origin}", origin).replace("{elsewhere}", elsewhere);
        let mut checks = self.checks.clone();
        if let Value::Object(pointers) = &self.json {
            let assert = pointers.iter().map(|(path, value)| json!({ "path": path, "equals": value }));
            checks.push(json!({ "plugin": "json", "config": { "assert": assert.collect::<Vec<_>>() } }));
        }
        if !self.contains.is_empty() {
            checks.push(json!({ "plugin": "body", "config": { "contains": self.contains } }));
        }
        let target = json!({ "url": format!("{origin}{path}"), "name": self.name });
        let request = if self.request.is_null() { json!({}) } else { self.request.clone() };
        format!(
            "request = {}\nsources = [{{ targets = [{}] }}]\nchecks = {}\n",
            inline(&request),
            inline(&target),
            inline(&json!(checks))
        )
    }

    /// What of the row is not as it should be.
    fn differences(&self, row: &Row, origin: &str, elsewhere: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (column, wanted) in &self.row {
            let wanted = match wanted.as_str() {
                Some(text) => json!(text.replace("{origin}", origin).replace("{elsewhere}", elsewhere)),
                None => wanted.clone(),
            };
            if !is_as_wanted(&row[column], &wanted) {
                found.push(format!("{column} is {}, not {wanted}", row[column]));
            }
        }
        for (column, least) in &self.least {
            if row[column].as_i64() < least.as_i64() {
                found.push(format!("{column} is {}, less than {least}", row[column]));
            }
        }
        let absent = self.absent.iter().filter(|column| !row[column.as_str()].is_null());
        found.extend(absent.map(|column| format!("{column} is {}, not null", row[column])));
        if self.shrunk && row["body_bytes"].as_i64() >= row["decoded_bytes"].as_i64() {
            found.push(format!("{} bytes became {}", row["body_bytes"], row["decoded_bytes"]));
        }
        found
    }
}

fn is_as_wanted(is: &Value, wanted: &Value) -> bool {
    match (is, wanted) {
        (Value::Object(is), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| is.get(key).is_some_and(|is| is_as_wanted(is, wanted)))
        }
        (Value::String(is), Value::String(wanted)) => {
            match wanted.strip_prefix('*').and_then(|wanted| wanted.strip_suffix('*')) {
                Some(part) => is.contains(part),
                None => is == wanted,
            }
        }
        (is, wanted) => is == wanted,
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
    let cases: Cases = toml::from_str(include_str!("cases.toml")).unwrap();
    let origin = format!("http://127.0.0.1:{}", httpbin.port);
    let elsewhere = format!("http://localhost:{}", httpbin.port);
    for case in &cases.case {
        project.write(&format!("pipelines/{}.toml", case.name), case.pipeline(&origin, &elsewhere));
    }
    project.run(&["run", "--once"]).expect_code(1);
    let rows = project.rows();
    rows.expect_whole();
    let mut told = String::new();
    for case in &cases.case {
        let row = rows.the_row(&case.name);
        for difference in case.differences(row, &origin, &elsewhere) {
            let verdicts = rows.checks.iter().filter(|check| check["seq"] == row["seq"]);
            let verdicts: String = verdicts
                .map(|check| format!("\n    {}: {}", check["check_name"], check["message"]))
                .collect();
            told += &format!("{}: {difference} ({}){verdicts}\n", case.name, row["error_message"]);
        }
    }
    assert!(told.is_empty(), "\n{told}");
}
