//! `probity verify`: files that are no longer what was written.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Finished, LONG, Project, SIGTERM, Server, parquet_files};

fn with_results() -> (Server, Project) {
    let server = Server::start();
    let project = Project::with_pipeline(&format!("[[sources]]\ntargets = [\"{}\"]\n", server.url("/ok")));
    project.run(&["run", "--once"]).expect_code(0);
    (server, project)
}

fn verify_data(project: &Project) -> Finished {
    project.run(&["verify"])
}

fn verify(project: &Project, results: &Path) -> Finished {
    project.run_plain(&["verify", &results.display().to_string()])
}

/// The finished file of a table.
fn file_of(project: &Project, table: &str) -> PathBuf {
    let files = parquet_files(&project.results().join(table));
    assert_eq!(files.len(), 1, "{files:?}");
    files.into_iter().next().unwrap()
}

#[test]
fn whole_files_are_whole() {
    let (_server, project) = with_results();
    for shown in [verify(&project, &project.results()), verify_data(&project)] {
        let shown = shown.expect_code(0).stdout;
        assert!(shown.starts_with("2 files, 2 rows, ") && shown.ends_with(": all whole\n"), "{shown}");
    }
    let json = project.run_plain(&["verify", "--format", "json", &project.results().display().to_string()]);
    let findings: Vec<serde_json::Value> =
        json.expect_code(0).stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(findings.len(), 2);
    assert!(findings.iter().all(|found| found["finding"] == "whole" && found["rows"] == 1), "{findings:?}");
}

/// What is done to the finished files, and what must be said of it.
type Harm = (&'static str, fn(&Project), &'static str);

#[test]
fn d16_m4_what_is_no_longer_what_was_written_is_told() {
    let harms: &[Harm] = &[
        // Every other reader takes this for whole: the page has no checksum of its own.
        ("a flipped byte", |project| flip(&file_of(project, "probes")), "changed"),
        ("a shorter file", |project| shorten(&file_of(project, "probes")), "changed"),
        ("a file that is gone", |project| fs::remove_file(file_of(project, "checks")).unwrap(), "missing"),
        ("a note", |project| fs::write(project.results().join("notes.txt"), "mine").unwrap(), "foreign"),
        ("a journal in quarantine", |project| project.write(&in_quarantine(), "damaged"), "quarantined"),
        ("a file on its way", |project| fs::write(unfinished(project), "PAR1").unwrap(), "foreign"),
    ];
    for (what, harm, finding) in harms {
        let (_server, project) = with_results();
        harm(&project);
        let shown = verify_data(&project).expect_code(1).stdout;
        assert!(shown.starts_with(finding) && shown.contains(": 1 damaged\n"), "{what}: {shown}");
    }
}

#[test]
fn files_without_a_checksum_are_read_to_their_end() {
    let (_server, project) = with_results();
    let copied = project.path().join("elsewhere/results");
    for file in parquet_files(&project.results()) {
        let place = copied.join(file.strip_prefix(project.results()).unwrap());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(file, place).unwrap();
    }
    let shown = verify(&project, &copied).expect_code(0).stdout;
    assert!(shown.ends_with("all whole; 2 without a checksum, read to the end\n"), "{shown}");
    for file in parquet_files(&copied.join("checks")) {
        shorten(&file);
    }
    let shown = verify(&project, &copied).expect_code(1).stdout;
    assert!(shown.starts_with("unreadable"), "{shown}");
}

#[test]
fn a_folder_that_is_not_there_is_no_good_news() {
    let project = Project::new();
    let ended = verify(&project, Path::new("results")).expect_code(3);
    assert!(ended.stderr.contains("cannot verify \"results\""), "{}", ended.stderr);
    let ended = verify_data(&project).expect_code(3);
    assert!(ended.stderr.contains("there are no results in"), "{}", ended.stderr);
}

/// Several sinks of one data folder, and all of a results folder that is gone.
#[test]
fn every_results_folder_of_the_data_folder_is_looked_at() {
    let server = Server::start();
    let project = Project::new();
    for (name, folder) in [("one", "results"), ("two", "other")] {
        let pipeline = format!(
            "[[sources]]\ntargets = [\"{}\"]\n[[sinks]]\ntype = \"parquet\"\npath = \"{folder}\"\n",
            server.url("/ok")
        );
        project.write(&format!("pipelines/{name}.toml"), pipeline);
    }
    project.run(&["run", "--once", "--runner", "fra1"]).expect_code(0);
    let shown = verify_data(&project).expect_code(0).stdout;
    assert!(shown.starts_with("4 files, 4 rows, "), "{shown}");
    fs::remove_dir_all(project.data().join("other")).unwrap();
    let shown = verify_data(&project).expect_code(1).stdout;
    assert_eq!(shown.matches("missing").count(), 2, "{shown}");
    let shown = project.run(&["verify", "--runner", "fra2"]).expect_code(0).stdout;
    assert!(shown.starts_with("0 files, 0 rows, "), "{shown}");
}

/// A runner that is at work: its journal is no damage.
#[test]
fn the_journal_of_a_running_runner_is_only_told() {
    let server = Server::start();
    let project = Project::with_pipeline(&format!("[[sources]]\ntargets = [\"{}\"]\n", server.url("/ok")));
    let mut running = project.start(&["run", "--format", "json"]);
    running.until_stdout_has(LONG, "\"outcome\":\"up\"");
    let shown = verify_data(&project).expect_code(0).stdout;
    assert_eq!(shown, "0 files, 0 rows, 0B: all whole; 1 journal not converted yet\n");
    running.signal(SIGTERM);
    running.wait(LONG).expect_code(0);
    let shown = verify_data(&project).expect_code(0).stdout;
    assert!(shown.starts_with("2 files, ") && shown.ends_with(": all whole\n"), "{shown}");
}

fn in_quarantine() -> String {
    "data/state/main/quarantine/20260901T05Z-main-x-000001.journal".to_owned()
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn shorten(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() - 9]).unwrap();
}

fn unfinished(project: &Project) -> PathBuf {
    file_of(project, "probes").with_extension("parquet.tmp")
}
