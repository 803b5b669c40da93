//! `probity compact`: days that are over, in an archive of their own.

use std::fs;

use jiff::ToSpan as _;
use jiff::civil::Date;

use crate::support::{Project, SIGKILL, Server, parquet_files, read_rows};

/// Three runs, whose files are given to a day that is over.
fn project() -> (Server, Project, String) {
    let server = Server::start();
    let project = Project::with_pipeline(&format!("[[sources]]\ntargets = [\"{}\"]\n", server.url("/ok")));
    for _ in 0..3 {
        project.run(&["run", "--once"]).expect_code(0);
    }
    let mut over = String::new();
    for file in parquet_files(&project.results()) {
        let folder = file.parent().unwrap();
        let day: Date = folder.file_name().unwrap().to_str().unwrap()["date=".len()..].parse().unwrap();
        let before = day - 3.days();
        let to = folder.with_file_name(format!("date={before}"));
        fs::create_dir_all(&to).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        let stamps = [day, before].map(|day| day.strftime("%Y%m%d").to_string());
        fs::rename(&file, to.join(name.replacen(&stamps[0], &stamps[1], 1))).unwrap();
        let _ = fs::remove_dir(folder);
        over = before.to_string();
    }
    (server, project, over)
}

fn compact(project: &Project, more: &[&str]) -> crate::support::Finished {
    project.run(&[&["compact", "--before", "2d", "--to", "archive"], more].concat())
}

#[test]
fn days_that_are_over_become_a_file_each_and_can_be_verified_and_asked() {
    let (_server, project, over) = project();
    let before = project.rows();
    let shown = compact(&project, &[]).expect_code(0).stdout;
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 3, "{shown}");
    assert!(lines[0].starts_with(&format!("{over}  checks  3 files into 1 file, 3 rows, ")), "{shown}");
    assert!(lines[2].starts_with("6 files into 2 files, 6 rows, "), "{shown}");
    let archive = project.path().join("archive");
    let after = read_rows(&archive);
    after.expect_whole();
    assert_eq!(after.keys(), before.keys());
    assert_eq!(project.rows().keys(), before.keys(), "the results are as they were");
    let shown = project.run_plain(&["verify", "archive"]).expect_code(0).stdout;
    assert!(shown.starts_with("2 files, 6 rows, ") && shown.ends_with(": all whole\n"), "{shown}");
    let asked = project.run_plain(&["stats", "archive", "--since", "7d", "--format", "json"]).expect_code(0);
    assert_eq!(asked.json_lines()[0]["probes"], 3);
    let again = compact(&project, &["--format", "json"]).expect_code(0).json_lines();
    assert!(again.iter().all(|day| day["what"] == "there" && day["rows"] == 3), "{again:?}");
}

/// An archive has the results once more: no command takes it for results of the data folder by itself.
#[test]
fn an_archive_beside_the_results_is_not_counted_twice() {
    let (_server, project, _) = project();
    let to = project.data().join("archive");
    let to = to.to_str().unwrap();
    project.run(&["compact", "--before", "2d", "--to", to]).expect_code(0);
    let asked = project.run(&["stats", "--since", "7d", "--format", "json"]).expect_code(0).json_lines();
    assert_eq!(asked[0]["probes"], 3);
    // Nor does a run.
    project.run(&["run", "--once"]).expect_code(0);
}

#[test]
fn what_cannot_be_compacted_is_told() {
    let (_server, project, _) = project();
    let first = parquet_files(&project.results().join("probes"))[0].clone();
    let bytes = fs::read(&first).unwrap();
    fs::write(&first, &bytes[..100]).unwrap();
    let ended = compact(&project, &[]).expect_code(1);
    assert!(
        ended.stdout.contains("probes  wrong: ") && ended.stdout.contains("; 1 wrong\n"),
        "{}",
        ended.stdout
    );
    fs::write(&first, bytes).unwrap();
    compact(&project, &[]).expect_code(0);
    let inside = project.results().join("archive");
    for (to, said) in [
        (inside.to_str().unwrap(), "put them side by side"),
        (project.results().to_str().unwrap(), "writes its results there"),
    ] {
        let ended = project.run(&["compact", "--before", "2d", "--to", to]).expect_code(2);
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
    project.run(&["compact", "--to", "archive"]).expect_code(2);
}

/// Killed at any moment, a compaction leaves whole files only, and the next one ends it.
#[test]
fn a_kill_leaves_nothing_that_is_not_whole() {
    let (_server, project, _) = project();
    let before = project.rows();
    let archive = project.path().join("archive");
    for wait in [0_u64, 5, 10, 15, 20, 30, 40, 60] {
        let running = project.start(&["compact", "--before", "2d", "--to", "archive"]);
        std::thread::sleep(std::time::Duration::from_millis(wait));
        running.signal(SIGKILL);
        running.wait(crate::support::LONG);
        for file in parquet_files(&archive) {
            assert_eq!(fs::read(&file).unwrap()[..4], *b"PAR1");
        }
        read_rows(&archive);
    }
    compact(&project, &[]).expect_code(0);
    assert_eq!(read_rows(&archive).keys(), before.keys());
    project.run_plain(&["verify", "archive"]).expect_code(0);
}
