//! `probity verify`: files that are no longer what was written.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Finished, Project, Server, parquet_files};

fn with_results() -> (Server, Project) {
    let server = Server::start();
    let project = Project::with_pipeline(&format!("[[sources]]\ntargets = [\"{}\"]\n", server.url("/ok")));
    project.run(&["run", "--once"]).expect_code(0);
    (server, project)
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
    let shown = verify(&project, &project.results()).expect_code(0).stdout;
    assert!(shown.starts_with("2 files, 2 rows, ") && shown.ends_with(": all whole\n"), "{shown}");
    let json = project.run_plain(&["verify", "--format", "json", &project.results().display().to_string()]);
    let findings: Vec<serde_json::Value> =
        json.expect_code(0).stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(findings.len(), 2);
    assert!(findings.iter().all(|found| found["finding"] == "whole" && found["rows"] == 1), "{findings:?}");
}

/// What is done to the finished files, and what must be said of it.
type Harm = (&'static str, fn(&Project), &'static str);

#[test]
fn m4_what_is_no_longer_what_was_written_is_told() {
    let harms: &[Harm] = &[
        // Every other reader takes this for whole: the page has no checksum of its own.
        ("a flipped byte", |project| flip(&file_of(project, "probes")), "changed"),
        ("a shorter file", |project| shorten(&file_of(project, "probes")), "changed"),
        ("a file that is gone", |project| fs::remove_file(file_of(project, "checks")).unwrap(), "missing"),
        ("a note", |project| fs::write(project.results().join("notes.txt"), "mine").unwrap(), "foreign"),
        ("a file on its way", |project| fs::write(unfinished(project), "PAR1").unwrap(), "foreign"),
    ];
    for (what, harm, finding) in harms {
        let (_server, project) = with_results();
        harm(&project);
        let shown = verify(&project, &project.results()).expect_code(1).stdout;
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
