//! The same against another party's S3, moto, and read from there by another party's reader, pyarrow. moto keeps
//! objects in memory: when it is killed, all is gone, so what counts is what it has listed before.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{local, pipeline, with_credentials};
use crate::support::{LONG, Project, Python, Running, SIGTERM, Server, leave_out, python_or_leave_out};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/outside/objects/moto_server.py");

/// moto, as a process. Killed when dropped.
struct Moto {
    child: Child,
    port: u16,
}

impl Moto {
    /// Starts it on a port; 0 is a free one. Its bucket is made anew.
    fn start(python: &Python, port: u16) -> Self {
        let mut child = Command::new(python.program())
            .args([SCRIPT, "serve", &port.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap_or_else(|_| panic!("no port: {line:?}"));
        let started = Self { child, port };
        started.ask(python, "create", "");
        started
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn ask(&self, python: &Python, what: &str, argument: &str) -> Value {
        let output =
            Command::new(python.program()).args([SCRIPT, what, &self.url(), argument]).output().unwrap();
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Every key, with the object's MD5.
    fn keys(&self, python: &Python) -> BTreeSet<String> {
        let keys = self.ask(python, "list", "");
        keys.as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn moto_or_leave_out(test: &str) -> Option<Python> {
    let python = python_or_leave_out(test)?;
    let tried = Command::new(python.program()).args(["-c", "import boto3, moto.server"]).output().unwrap();
    if !tried.status.success() {
        leave_out(test, "moto is missing; `pip install 'moto[s3,server]'` brings it");
        return None;
    }
    Some(python)
}

/// The rows of each table, by DuckDB's and everybody's key, as a reader of the bucket sees them.
fn rows(said: &Value) -> [u64; 2] {
    ["probes", "checks"].map(|table| said[table].as_u64().unwrap())
}

#[test]
fn s3_is_killed_and_comes_back_and_every_file_gets_there() {
    let Some(python) = moto_or_leave_out("s3_is_killed_and_comes_back_and_every_file_gets_there") else {
        return;
    };
    let server = Server::start();
    let project =
        Project::with_pipeline(&pipeline(&server, "path = \"s3://acme-probes/a/b\"\nlocal = \"results\""));
    let moto = Moto::start(&python, 0);
    let mut running = Running::start(with_credentials(project.with_data(&["run"]), &moto.url()));
    running.until(LONG, "files in the bucket", || (moto.keys(&python).len() >= 4).then_some(()));
    let before = moto.keys(&python);
    let port = moto.port;
    drop(moto);
    running.until_stderr_has(LONG, "the bucket takes no files");
    let published = local(&project.results()).len();
    running.until(LONG, "files of the outage", || {
        (local(&project.results()).len() >= published + 4).then_some(())
    });
    let moto = Moto::start(&python, port);
    running.until_stderr_has(LONG, "the bucket takes files again");
    running.signal(SIGTERM);
    running.wait(LONG).expect_code(0);
    let after = moto.keys(&python);
    let all: BTreeSet<_> = before.union(&after).cloned().collect();
    let files: BTreeSet<_> =
        local(&project.results()).into_keys().map(|place| format!("a/b/{place}")).collect();
    // Between the listing and the kill, a file may have got there that died with the server.
    let lost: Vec<_> = files.difference(&all).collect();
    let confirmed = std::fs::read_to_string(project.state("main").join("uploaded")).unwrap();
    assert!(all.is_subset(&files), "keys that are none of ours: {all:?}");
    assert!(lost.len() <= 4, "{lost:?}");
    for key in lost {
        let place = key.strip_prefix("a/b/").unwrap();
        assert!(confirmed.contains(place), "{key} never got there");
    }
}

#[test]
fn a_bucket_is_read_as_the_folder_is() {
    let Some(python) = moto_or_leave_out("a_bucket_is_read_as_the_folder_is") else { return };
    let server = Server::start();
    let project =
        Project::with_pipeline(&pipeline(&server, "path = \"s3://acme-probes/a\"\nlocal = \"results\""));
    let moto = Moto::start(&python, 0);
    let mut running = Running::start(with_credentials(project.with_data(&["run"]), &moto.url()));
    running.until(LONG, "requests", || server.reached(60));
    running.signal(SIGTERM);
    running.wait(LONG).expect_code(0);
    let found = rows(&moto.ask(&python, "read", "acme-probes/a"));
    let here = project.rows();
    assert_eq!(found, [here.probes.len() as u64, here.checks.len() as u64]);
    assert_eq!(found[0], server.count() as u64, "a row a request");
}
