//! Signals and closed pipes: a stop loses no finished result, and a second signal does not wait.
//! Cases S1 to S3.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::{LONG, Project, Row, Running, SIGINT, SIGTERM, Server, parquet_files, wrapped};

/// The grace (`cli::run::GRACE`), with room for a loaded machine.
const GRACE: Duration = Duration::from_secs(10);
const ROOM: Duration = Duration::from_secs(10);

/// A pipeline of 50 targets that answer after 100 ms, each twice a second.
fn busy(server: &Server) -> String {
    let targets: String =
        (0..50).map(|n| format!("  \"{}\",\n", server.url(&format!("/slow/100ms/{n}")))).collect();
    format!(
        "[schedule]\nevery = \"500ms\"\n[[sources]]\ntargets = [\n{targets}]\n\
         [[sinks]]\ntype = \"parquet\"\npath = \"results\"\nrotate = {{ every = \"1s\" }}\n"
    )
}

/// A pipeline of one target that answers and one that never does.
fn stuck(server: &Server) -> String {
    let (well, never) = (server.url("/ok"), server.url("/never"));
    format!(
        "[schedule]\nevery = \"60s\"\n[request]\ntimeout = \"50s\"\n[[sources]]\ntargets = [\"{well}\", \"{never}\"]\n"
    )
}

/// The hashes of the bodies that rows tell of.
fn hashes<'a>(rows: impl IntoIterator<Item = &'a Row>) -> BTreeSet<String> {
    let answered = |row: &&Row| row["http_status"] == 200;
    rows.into_iter().filter(answered).map(|row| row["body_xxh3"].as_str().unwrap().to_owned()).collect()
}

/// Nothing is left to do for a later start: every journal became Parquet.
fn expect_sealed(project: &Project) {
    let journals = project.state("main").join("journal");
    let left: Vec<_> =
        std::fs::read_dir(journals).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "journals left behind: {left:?}");
    parquet_files(&project.results());
}

#[test]
fn s1_a_stop_in_mid_load_keeps_every_finished_probe() {
    let server = Server::start();
    let project = Project::with_pipeline(&busy(&server));
    let mut running = project.start(&["run"]);
    running.until(LONG, "300 requests", || server.reached(300));
    running.signal(SIGTERM);
    let finished = running.wait(GRACE + ROOM).expect_code(0);
    let rows = project.rows();
    rows.expect_whole();
    expect_sealed(&project);
    let requests = server.requests();
    assert_eq!(rows.probes.len(), requests.len(), "a row a request; stderr: {}", finished.stderr);
    let answered: BTreeSet<_> = requests.into_iter().filter_map(|request| request.answered).collect();
    assert_eq!(hashes(&rows.probes), answered, "every answer is told of by the row of its own probe");
    let (probes, said) = (rows.probes.len().to_string(), finished.stderr);
    assert!(said.contains(&probes), "the summary counts {probes} probes: {said}");
}

#[test]
fn s1_ctrl_c_is_a_stop_as_well() {
    let server = Server::start();
    let project = Project::with_pipeline(&busy(&server));
    let mut running = project.start(&["run"]);
    running.until(LONG, "60 requests", || server.reached(60));
    running.signal(SIGINT);
    running.wait(GRACE + ROOM).expect_code(0);
    assert_eq!(project.rows().probes.len(), server.count());
    expect_sealed(&project);
}

#[test]
fn s1_a_stop_waits_no_longer_than_its_grace() {
    let server = Server::start();
    let project = Project::with_pipeline(&stuck(&server));
    let mut running = project.start(&["run"]);
    running.until(LONG, "both requests", || server.reached(2));
    running.signal(SIGTERM);
    running.wait(GRACE + ROOM).expect_code(0);
    let rows = project.rows();
    assert_eq!(rows.the_row(&server.url("/ok"))["outcome"], "up");
    // What could not end is not the target's fault, if it is told of at all.
    for row in rows.of_target(&server.url("/never")) {
        assert_eq!(row["outcome"], "unknown", "{row:?}");
    }
    expect_sealed(&project);
}

#[test]
fn s2_a_second_signal_seals_what_is_done_and_goes() {
    for (signal, code) in [(SIGTERM, 143), (SIGINT, 130)] {
        let server = Server::start();
        let project = Project::with_pipeline(&stuck(&server));
        let mut running = project.start(&["run", "--format", "json"]);
        running.until(LONG, "both requests", || server.reached(2));
        running.until_stdout_has(LONG, "\n");
        running.signal(signal);
        // Two signals that are sent at once may arrive as one: wait until the first is taken.
        running.until_stderr_has(LONG, "stopping");
        running.signal(signal);
        running.wait(Duration::from_secs(5)).expect_code(code);
        assert_eq!(project.rows().the_row(&server.url("/ok"))["outcome"], "up");
        expect_sealed(&project);
    }
}

#[test]
fn s3_a_stop_during_the_start_is_a_stop() {
    let server = Server::start();
    let project = Project::with_pipeline(&busy(&server));
    let lock = project.state("main").join("lock");
    for _ in 0..3 {
        let _ = std::fs::remove_file(&lock);
        let mut running = project.start(&["run"]);
        running.until(LONG, "the lock", || lock.exists().then_some(()));
        running.signal(SIGTERM);
        running.wait(GRACE + ROOM).expect_code(0);
    }
    project.rows().expect_whole();
    expect_sealed(&project);
}

#[test]
fn a_closed_stdout_loses_no_result() {
    let server = Server::start();
    let project = Project::with_pipeline(&busy(&server));
    let command = project.with_data(&["run", "--once", "--format", "json"]);
    let finished = Running::start_without_reader(command).wait(LONG);
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
    assert_eq!(
        finished.status.code(),
        Some(0),
        "nobody wants the lines, the results are whole: {finished:?}"
    );
    let rows = project.rows();
    assert_eq!(rows.probes.len(), 50);
    rows.expect_whole();
}

#[test]
fn a_log_that_nobody_reads_does_not_make_a_stop_unheard() {
    let server = Server::start();
    let project = Project::with_pipeline(&busy(&server));
    let mut running = Running::start_without_log_reader(project.with_data(&["run"]));
    running.until(LONG, "60 requests", || server.reached(60));
    running.signal(SIGTERM);
    running.wait(GRACE + ROOM).expect_code(0);
    assert_eq!(project.rows().probes.len(), server.count());
    expect_sealed(&project);
}

#[test]
fn a_stdout_that_nobody_drains_holds_up_neither_the_journal_nor_the_end() {
    let server = Server::start();
    let project = Project::with_pipeline(&busy(&server));
    let command = project.with_data(&["run", "--format", "json"]);
    let (mut running, held) = Running::start_without_draining(command);
    // A pipe holds 64 KiB: some 80 lines.
    running.until(LONG, "600 requests", || server.reached(600));
    running.signal(SIGTERM);
    let finished = running.wait(GRACE + ROOM);
    drop(held);
    assert!(finished.status.code().is_some(), "it ended by itself: {finished:?}");
    let rows = project.rows();
    rows.expect_whole();
    assert_eq!(rows.probes.len(), server.count(), "every result is in the files: {}", finished.stderr);
    expect_sealed(&project);
}

#[test]
fn a_single_run_that_is_stopped_says_what_it_left_out() {
    let server = Server::start();
    let targets: String =
        (0..3_000).map(|n| format!("{}\n", server.url(&format!("/slow/200ms/{n}")))).collect();
    let project = Project::with_pipeline(
        "[[sources]]\ntype = \"file\"\npath = \"many.txt\"\n[request]\ntimeout = \"5s\"\n",
    );
    project.write("pipelines/many.txt", targets);
    let command = project.with_data(&["run", "--once"]);
    let mut running = Running::start(few_files(&command));
    running.until(LONG, "a request", || server.reached(1));
    running.signal(SIGTERM);
    let finished = running.wait(GRACE + ROOM).expect_code(1);
    assert!(finished.stderr.contains("targets were not probed"), "{}", finished.stderr);
    project.rows().expect_whole();
}

/// Lowers the limit of open files, so that few probes are in flight at once.
fn few_files(command: &std::process::Command) -> std::process::Command {
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -n 200 && exec \"$0\" \"$@\""]);
    wrapped(limited, command)
}
