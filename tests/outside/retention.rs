//! `keep`: days that are older than a sink keeps are removed, by the age of the data.

use std::fs;
use std::path::PathBuf;

use jiff::ToSpan as _;
use jiff::civil::Date;

use crate::support::{LONG, Project, SIGTERM, Server, parquet_files};

fn project(server: &Server, keep: &str) -> Project {
    let (ok, sinks) = (server.url("/ok"), "[[sinks]]\ntype = \"parquet\"\nrotate = { every = \"1s\" }\n");
    let project = Project::new();
    project.write(
        "pipelines/shop.toml",
        format!("[schedule]\nevery = \"1s\"\n[[sources]]\ntargets = [\"{ok}\"]\n{sinks}{keep}\n"),
    );
    project
}

/// The day of the results that are there.
fn day(project: &Project) -> Date {
    let file = parquet_files(&project.results().join("probes")).pop().unwrap();
    date_of(&file).parse().unwrap()
}

fn date_of(file: &std::path::Path) -> String {
    let folder = file.parent().unwrap().file_name().unwrap().to_str().unwrap();
    folder.strip_prefix("date=").unwrap().to_owned()
}

/// Copies all files of a day to a day `ago` before it, as a run of that day would have named them.
fn copy_back(project: &Project, day: Date, ago: i64) {
    let to = day - ago.days();
    for file in parquet_files(&project.results()).into_iter().filter(|file| date_of(file) == day.to_string())
    {
        let name = file.file_name().unwrap().to_str().unwrap();
        let name = name.replacen(&day.strftime("%Y%m%d").to_string(), &to.strftime("%Y%m%d").to_string(), 1);
        let folder = file.parent().unwrap().with_file_name(format!("date={to}"));
        fs::create_dir_all(&folder).unwrap();
        fs::copy(&file, folder.join(name)).unwrap();
    }
}

/// How many days old each day is that is there.
fn ages(project: &Project, newest: Date) -> Vec<i64> {
    let mut ages: Vec<i64> = parquet_files(&project.results().join("probes"))
        .iter()
        .map(|file| i64::from(date_of(file).parse::<Date>().unwrap().until(newest).unwrap().get_days()))
        .collect();
    ages.sort_unstable();
    ages.dedup();
    ages
}

#[test]
fn old_days_go_and_nobody_misses_them() {
    let server = Server::start();
    let project = project(&server, "keep = \"3d\"");
    project.run(&["run", "--once"]).expect_code(0);
    let today = day(&project);
    (1..=4).for_each(|ago| copy_back(&project, today, ago));
    let ended = project.run(&["run", "--once"]).expect_code(0);
    assert!(ended.stderr.contains("removed results that are older than"), "{}", ended.stderr);
    let newest = day(&project);
    // A test that runs over midnight has a day more.
    let left = ages(&project, newest);
    assert!(left.iter().all(|age| *age <= 3) && left.len() >= 4, "{left:?}");
    let shown = project.run(&["verify"]).expect_code(0).stdout;
    assert!(shown.contains(": all whole"), "{shown}");
}

/// D25: results that a clock dated 400 days ahead make nothing old, neither for a run nor for a runner that stays.
#[test]
fn d25_a_clock_that_was_wrong_removes_nothing() {
    let server = Server::start();
    let project = project(&server, "keep = \"3d\"");
    project.run(&["run", "--once"]).expect_code(0);
    let today = day(&project);
    (1..=3).for_each(|ago| copy_back(&project, today, ago));
    copy_back(&project, today, -400);
    let before = parquet_files(&project.results());
    let ended = project.run(&["run", "--once"]).expect_code(0);
    assert!(ended.stderr.contains("was the clock wrong"), "{}", ended.stderr);
    let mut running = project.start(&["run"]);
    let ours = |project: &Project| -> Vec<PathBuf> {
        let new = parquet_files(&project.results().join("probes"));
        new.into_iter().filter(|file| file.to_str().unwrap().contains("-main-0")).collect()
    };
    running.until(LONG, "a file of the runner", || (!ours(&project).is_empty()).then_some(()));
    running.signal(SIGTERM);
    running.wait(LONG).expect_code(0);
    let after = parquet_files(&project.results());
    assert!(before.iter().all(|file| after.contains(file)), "{before:?}\n{after:?}");
}

#[test]
fn without_keep_everything_is_kept() {
    let server = Server::start();
    let project = project(&server, "");
    project.run(&["run", "--once"]).expect_code(0);
    let today = day(&project);
    copy_back(&project, today, 4_000);
    project.run(&["run", "--once"]).expect_code(0);
    assert!(ages(&project, day(&project)).contains(&4_000));
}
