//! A runner that is kept from running says so: in the rows of that moment, in the log, at the end.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::{LONG, Project, SIGTERM, Server};

/// R5, R6: what the runner measures while it is held up is its own delay.
#[test]
fn r5_r6_rows_of_a_moment_in_which_the_runner_was_held_up_say_so() {
    let server = Server::start();
    let url = server.url("/slow/1500ms");
    let text = format!("[schedule]\nevery = \"1h\"\n[[sources]]\ntargets = [\"{url}\"]\n");
    let project = Project::with_pipeline(&text);
    let mut running = project.start(&["run"]);
    running.until(LONG, "the request", || server.reached(1));
    running.signal(Signal::STOP);
    // What other programs would do to it.
    std::thread::sleep(Duration::from_millis(400));
    running.signal(Signal::CONT);
    running.until_stderr_has(LONG, "the runner was held up");
    running.signal(SIGTERM);
    let ended = running.wait(Duration::from_secs(20)).expect_code(0);
    assert!(ended.stderr.contains(" ms at most"), "{}", ended.stderr);
    let rows = project.rows();
    rows.expect_whole();
    assert_eq!(rows.probes.len(), 1);
    assert_eq!(rows.probes[0]["runner_overloaded"], true, "{:?}", rows.probes[0]);
    assert_eq!(rows.probes[0]["outcome"], "up", "it is still the target that is judged");
}

/// To make Parquet of a journal takes seconds of CPU: on a machine without any to spare, probes that are due come first.
#[cfg(target_os = "linux")]
#[test]
fn conversion_yields_to_what_is_due() {
    let server = Server::start();
    let project = Project::with_pipeline(&format!("[[sources]]\ntargets = [\"{}\"]\n", server.url("/ok")));
    let mut running = project.start(&["run"]);
    let tasks = format!("/proc/{}/task", running.pid());
    let niceness = running.until(LONG, "the converting thread", || {
        let threads = std::fs::read_dir(&tasks).ok()?.flatten();
        let stats = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
        let stat = stats.into_iter().find(|stat| stat.contains("(sink-convert)"))?;
        // proc_pid_stat(5): the 19th field, of which the name is the second.
        let niceness: i32 = stat.rsplit_once(')')?.1.split_whitespace().nth(16)?.parse().ok()?;
        (niceness != 0).then_some(niceness)
    });
    assert_eq!(niceness, 5);
    running.signal(SIGTERM);
    running.wait(LONG).expect_code(0);
}
