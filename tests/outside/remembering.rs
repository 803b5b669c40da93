//! What checks remember outlives the process: a clean end, a kill, damage of the file.
//!
//! The check is `changed`: it says "first seen" where it remembers nothing. `PROBITY_KILLS` sets how often
//! a runner is killed (5).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{Finished, LONG, Project, SIGTERM, Server};

/// A pipeline with a target that looks the same every time, but for its nonce.
fn pipeline(server: &Server) -> String {
    format!(
        "[schedule]\nevery = \"300ms\"\n[[sources]]\ntargets = [\"{}\"]\n[[checks]]\nplugin = \"changed\"\n\
         config = {{ ignore = \"nonce [0-9]+\" }}\n",
        server.url("/ok")
    )
}

fn state_file(project: &Project) -> PathBuf {
    project.state("main").join("checks/state.redb")
}

/// Runs until there were `more` requests, and asks for the end.
fn run_for(project: &Project, server: &Server, more: usize) -> Finished {
    let goal = server.count() + more;
    let mut running = project.start(&["run"]);
    running.until(LONG, "requests", || server.reached(goal));
    running.signal(SIGTERM);
    running.wait(Duration::from_secs(20)).expect_code(0)
}

/// What `changed` said, in the order of the probes: the run's identity, the pipeline and the message.
fn told(project: &Project) -> Vec<(String, String, String)> {
    let rows = project.rows();
    rows.expect_whole();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let mut told: Vec<_> = rows
        .probes
        .iter()
        .map(|row| {
            let key = (text(&row["run_id"]), row["seq"].as_i64().unwrap());
            (key, text(&row["pipeline"]), text(&rows.verdict(row, "changed")["message"]))
        })
        .collect();
    told.sort();
    told.into_iter().map(|((run, _), pipeline, message)| (run, pipeline, message)).collect()
}

/// How often something was seen first.
fn first_seen(told: &[(String, String, String)]) -> usize {
    told.iter().filter(|(_, _, message)| message.starts_with("first seen")).count()
}

fn runs(told: &[(String, String, String)]) -> usize {
    let mut runs: Vec<_> = told.iter().map(|(run, _, _)| run).collect();
    runs.dedup();
    runs.len()
}

#[test]
fn a_clean_end_forgets_nothing() {
    let server = Server::start();
    let project = Project::with_pipeline(&pipeline(&server));
    run_for(&project, &server, 1);
    run_for(&project, &server, 2);
    let told = told(&project);
    assert_eq!((runs(&told), first_seen(&told)), (2, 1), "{told:?}");
}

#[test]
fn a_kill_forgets_nothing_that_was_written() {
    let server = Server::start();
    let project = Project::with_pipeline(&pipeline(&server));
    let mut running = project.start(&["run"]);
    // The file has its name once what there was to remember is on the disk.
    let file = state_file(&project);
    running.until(LONG, "the file of the state", || file.exists().then_some(()));
    running.kill();
    run_for(&project, &server, 2);
    let told = told(&project);
    assert_eq!((runs(&told), first_seen(&told)), (2, 1), "{told:?}");
}

#[test]
fn kills_at_any_moment_damage_nothing() {
    let server = Server::start();
    // Every answer is another one, so that everything is written all the time.
    let targets: String = (0..40).map(|n| format!("  \"{}\",\n", server.url(&format!("/ok/{n}")))).collect();
    let project = Project::with_pipeline(&format!(
        "[schedule]\nevery = \"200ms\"\n[[sources]]\ntargets = [\n{targets}]\n[[checks]]\nplugin = \"changed\"\n"
    ));
    let kills = std::env::var("PROBITY_KILLS").map_or(5, |kills| kills.parse().unwrap());
    run_for(&project, &server, 80);
    for kill in 0..kills {
        let goal = server.count() + 20;
        let mut running = project.start(&["run"]);
        running.until(LONG, "20 requests", || server.reached(goal));
        // Some moment of the second in which a write happens.
        std::thread::sleep(Duration::from_millis(kill * 977 % 1_500));
        let killed = running.kill();
        assert!(!killed.stderr.contains("the state of checks"), "{}", killed.stderr);
    }
    let last = run_for(&project, &server, 40);
    assert!(!last.stderr.contains("the state of checks"), "{}", last.stderr);
    let told = told(&project);
    let mut seen: Vec<_> = told.iter().filter(|(_, _, message)| message.starts_with("first seen")).collect();
    assert_eq!(seen.len(), 40, "each target once");
    seen.dedup_by_key(|(run, _, _)| run);
    assert_eq!(seen.len(), 1, "all of them in the first run");
}

#[test]
fn a_damaged_file_is_kept_in_quarantine_and_holds_nothing_up() {
    let server = Server::start();
    let project = Project::with_pipeline(&pipeline(&server));
    run_for(&project, &server, 1);
    let file = state_file(&project);
    let mut bytes = fs::read(&file).unwrap();
    bytes.truncate(5_000);
    bytes[4_200..].fill(0x55);
    fs::write(&file, &bytes).unwrap();
    let finished = run_for(&project, &server, 1);
    assert!(finished.stderr.contains("kept in quarantine"), "{}", finished.stderr);
    let kept = files(&project.state("main").join("quarantine"));
    assert_eq!(kept.len(), 1);
    assert_eq!(fs::read(&kept[0]).unwrap(), bytes);
    run_for(&project, &server, 1);
    let told = told(&project);
    assert_eq!((runs(&told), first_seen(&told)), (3, 2), "{told:?}");
}

#[test]
fn a_file_that_is_removed_in_a_run_is_written_again() {
    let server = Server::start();
    let project = Project::with_pipeline(&pipeline(&server));
    let mut running = project.start(&["run"]);
    let file = state_file(&project);
    running.until(LONG, "the file of the state", || file.exists().then_some(()));
    fs::remove_file(&file).unwrap();
    running.signal(SIGTERM);
    let finished = running.wait(Duration::from_secs(20)).expect_code(0);
    assert!(finished.stderr.contains("removed or replaced while it was in use"), "{}", finished.stderr);
    run_for(&project, &server, 1);
    let told = told(&project);
    assert_eq!((runs(&told), first_seen(&told)), (2, 1), "{told:?}");
}

#[test]
fn two_pipelines_remember_apart() {
    let server = Server::start();
    let project = Project::with_pipeline(&pipeline(&server));
    project.write("pipelines/api.toml", pipeline(&server));
    run_for(&project, &server, 4);
    run_for(&project, &server, 4);
    let told = told(&project);
    for pipeline in ["api", "shop"] {
        let own: Vec<_> = told.iter().filter(|(_, name, _)| name == pipeline).cloned().collect();
        assert!(own.len() >= 2, "{told:?}");
        assert_eq!(first_seen(&own), 1, "{told:?}");
    }
}

#[test]
fn a_single_run_remembers_nothing_and_leaves_nothing() {
    let server = Server::start();
    let project = Project::with_pipeline(&pipeline(&server));
    for _ in 0..2 {
        project.run(&["run", "--once"]).expect_code(0);
    }
    let told = told(&project);
    assert_eq!((told.len(), first_seen(&told)), (2, 2), "{told:?}");
    for file in files(&project.data().join("state")) {
        assert!(file.extension().is_none_or(|extension| extension != "redb"), "{}", file.display());
    }
}

#[test]
fn checks_that_remember_nothing_leave_no_file() {
    let server = Server::start();
    let project = Project::with_pipeline(&format!("[[sources]]\ntargets = [\"{}\"]\n", server.url("/ok")));
    run_for(&project, &server, 1);
    assert!(!project.state("main").join("checks").exists());
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
