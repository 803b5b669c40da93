//! One runner of a name on one data folder.

use std::time::Duration;

use crate::support::{LONG, Project, SIGTERM, Server};

fn project(server: &Server) -> Project {
    let url = server.url("/ok");
    Project::with_pipeline(&format!("[schedule]\nevery = \"1s\"\n[[sources]]\ntargets = [\"{url}\"]\n"))
}

#[test]
fn a_second_runner_of_the_name_is_refused() {
    let server = Server::start();
    let project = project(&server);
    let mut first = project.start(&["run"]);
    first.until(LONG, "the first request", || server.reached(1));

    let second = project.run(&["run"]).expect_code(75);
    let (pid, said) = (first.pid().to_string(), &second.stderr);
    assert!(said.contains(&pid), "who holds the lock ({pid}): {said}");

    // Neither another name nor a single run stands in its way.
    project.run(&["run", "--once"]).expect_code(0);
    let goal = server.count() + 3;
    let mut other = project.start(&["run", "--runner", "other"]);
    other.until(LONG, "requests of both", || server.reached(goal));
    other.signal(SIGTERM);
    other.wait(Duration::from_secs(20)).expect_code(0);

    first.signal(SIGTERM);
    first.wait(Duration::from_secs(20)).expect_code(0);
    let rows = project.rows();
    rows.expect_whole();
    let mut runners: Vec<_> =
        rows.probes.iter().map(|row| row["runner"].as_str().unwrap().to_owned()).collect();
    runners.sort();
    runners.dedup();
    assert_eq!(runners.len(), 3, "{runners:?}");
    assert!(runners.iter().any(|name| name.starts_with("main-once-")), "{runners:?}");
}

#[test]
fn the_lock_dies_with_its_process() {
    let server = Server::start();
    let project = project(&server);
    let mut first = project.start(&["run"]);
    first.until(LONG, "the first request", || server.reached(1));
    first.kill();
    let goal = server.count() + 1;
    let mut second = project.start(&["run"]);
    second.until(LONG, "a request of the second", || server.reached(goal));
    second.signal(SIGTERM);
    second.wait(Duration::from_secs(20)).expect_code(0);
    project.rows().expect_whole();
}
