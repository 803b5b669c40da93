//! The analyst's path: a day's results, made by seed through the real writer, answer twelve questions, and three tools
//! by their shipped files (`examples/ask-the-parquet`) give the same answers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use probity::sink::Rotate;
use serde_json::Value;

use crate::contract::{CHECKS, PROBES};
use crate::python::{Python, leave_out, python_or_leave_out};
use crate::results::{self, Plan};
use crate::tree::{files, root};

const TOOLS: [&str; 3] = ["duckdb", "polars", "pandas"];

/// Two days of a hundred and fifty sites, small enough for a test.
const TWO_DAYS: Plan = Plan { targets: 150, probes: 9_000, from: 1_788_220_800_000_000, hours: 48, seed: 1 };

fn made(plan: &Plan, folder: &Path) {
    let rotate = Rotate { every: Duration::from_hours(12), ..Rotate::default() };
    let summary = results::write(plan, folder, rotate, |_| ());
    assert!(summary.rows >= plan.probes * 9 / 10 && summary.rows_lost == 0, "{summary:?}");
    assert_eq!(summary.files_published, 8, "two tables, two days, two halves");
}

/// Every finished file's content, by its path.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let results = folder.join("results");
    let found = files(&results, &|path| path.extension().is_some_and(|ending| ending == "parquet"));
    let read = |file: PathBuf| (file.strip_prefix(&results).unwrap().to_owned(), fs::read(&file).unwrap());
    let mut contents: Vec<_> = found.into_iter().map(read).collect();
    contents.sort();
    contents
}

#[test]
fn a_seed_gives_the_same_files_to_the_last_byte() {
    let of_seed = |seed| {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan { targets: 20, probes: 400, hours: 2, seed, ..TWO_DAYS };
        let summary = results::write(&plan, folder.path(), Rotate::default(), |_| ());
        assert!(summary.rows >= 380 && summary.check_rows > summary.rows, "{summary:?}");
        contents(folder.path())
    };
    let (one, again, other) = (of_seed(1), of_seed(1), of_seed(2));
    assert_eq!(one.len(), 4, "two tables, two hours");
    assert!(one == again, "the same seed gave other files");
    assert!(one != other, "another seed gave the same files");
}

/// The Python readers with pandas and matplotlib, or nothing after having said why `test` is left out.
pub(crate) fn with_pandas(test: &str) -> Option<Python> {
    let python = python_or_leave_out(test)?;
    let tried = Command::new(python.program()).args(["-c", "import pandas, matplotlib"]).output().unwrap();
    if !tried.status.success() {
        leave_out(
            test,
            "pandas or matplotlib cannot be imported; `pip install pandas matplotlib` brings both",
        );
        return None;
    }
    Some(python)
}

/// The rows of an answer, as objects of its columns.
fn rows(answer: &Value) -> Vec<serde_json::Map<String, Value>> {
    let columns: Vec<_> =
        answer["columns"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let row = |row: &Value| {
        columns
            .iter()
            .zip(row.as_array().unwrap())
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect()
    };
    answer["rows"].as_array().unwrap().iter().map(row).collect()
}

/// Whether two values are one: sums of floats depend on their order in the last digits.
fn same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => (one - other).abs() <= 1e-9 * one.abs().max(1.0),
        _ => one == other,
    }
}

#[track_caller]
fn assert_same(tool: &str, answer: &Value, expected: &Value) {
    let question = expected["question"].as_str().unwrap();
    assert_eq!(answer["question"], expected["question"], "{tool} asks something else");
    assert_eq!(answer["columns"], expected["columns"], "{tool}: {question}");
    let (found, wanted) = (answer["rows"].as_array().unwrap(), expected["rows"].as_array().unwrap());
    for (number, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let equal = found
            .as_array()
            .unwrap()
            .iter()
            .zip(wanted.as_array().unwrap())
            .all(|(one, other)| same(one, other));
        assert!(equal, "{tool}: {question}: row {number}\n  is     {found}\n  duckdb {wanted}");
    }
    assert_eq!(found.len(), wanted.len(), "{tool}: {question}: rows");
}

/// Asserts that all three tools gave the same twelve answers, and returns them.
#[track_caller]
pub(crate) fn assert_same_answers(said: &Value) -> Vec<Value> {
    let answers = |tool: &str| said[tool].as_array().unwrap().clone();
    let duckdb = answers("duckdb");
    assert_eq!(duckdb.len(), 12);
    for tool in TOOLS {
        let found = answers(tool);
        assert_eq!(found.len(), 12, "{tool}");
        for (answer, expected) in found.iter().zip(&duckdb) {
            assert_same(tool, answer, expected);
        }
    }
    duckdb
}

#[test]
fn three_tools_give_the_same_twelve_answers() {
    let Some(python) = with_pandas("three_tools_give_the_same_twelve_answers") else { return };
    let folder = tempfile::tempdir().unwrap();
    made(&TWO_DAYS, folder.path());
    let said = python.json("ask_three.py", &[folder.path()]);
    let duckdb = assert_same_answers(&said);
    for answer in &duckdb {
        assert!(!answer["rows"].as_array().unwrap().is_empty(), "nothing to answer: {}", answer["question"]);
    }
    expect_the_troubles(&duckdb);
    expect_types(&said["pandas_types"]);
}

/// The scripts as people start them: the whole of what they print, and the picture.
#[test]
fn the_scripts_run_as_they_are_told_to() {
    let Some(python) = with_pandas("the_scripts_run_as_they_are_told_to") else { return };
    let folder = tempfile::tempdir().unwrap();
    made(&TWO_DAYS, folder.path());
    let run = |script: &str| {
        let path = root().join("examples/ask-the-parquet").join(script);
        let output = Command::new(python.program()).arg(path).current_dir(folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{script}: {said}");
        String::from_utf8(output.stdout).unwrap()
    };
    for script in ["questions_polars.py", "questions_pandas.py"] {
        let printed = run(script);
        for number in 1..=12 {
            assert!(
                printed.contains(&format!("{number}. ")),
                "{script} says nothing of question {number}: {printed}"
            );
        }
        assert!(printed.contains("sa-east") && printed.contains("flapping"), "{script}: {printed}");
    }
    run("charts.py");
    let picture = fs::read(folder.path().join("charts.png")).unwrap();
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 20_000, "{} bytes", picture.len());
}

/// `SCHEMA.md` promises these.
fn expect_types(said: &Value) {
    for (table, columns) in [("probes", PROBES), ("checks", CHECKS)] {
        for (name, kind) in columns {
            let (found, promised) = (said[table][*name].as_str().unwrap(), kind.pandas());
            let same = found == promised || (promised.starts_with("map<") && found.starts_with(promised));
            assert!(same, "{table}.{name} is {found}, promised was {promised}");
        }
    }
}

/// What was put into the results comes out of the answers.
fn expect_the_troubles(answers: &[Value]) {
    let answer = |number: usize| rows(&answers[number - 1]);
    let of = |rows: &[serde_json::Map<String, Value>], column: &str, is: &str| {
        rows.iter()
            .find(|row| row[column] == is)
            .cloned()
            .unwrap_or_else(|| panic!("no {column} {is}: {rows:?}"))
    };
    let phases = answer(3);
    for (region, slowest) in [("ap-south", "dns"), ("sa-east", "tls"), ("eu-west", "first_byte")] {
        assert_eq!(of(&phases, "region", region)["slowest"], slowest);
    }
    let kinds = answer(5);
    for kind in ["check fresh", "check price", "connect_timeout"] {
        assert!(of(&kinds, "failure", kind)["probes"].as_f64().unwrap() > 1.0, "{kind}");
    }
    let worst_hour = |rows: &[serde_json::Map<String, Value>], column: &str| {
        let worst =
            rows.iter().max_by(|a, b| a[column].as_f64().unwrap().total_cmp(&b[column].as_f64().unwrap()));
        worst.unwrap()["hour"].as_str().unwrap()[..13].to_owned()
    };
    // The runner has too much to do after 0.30 of 48 hours, the feed stands still from 0.42 on for two and a half.
    assert_eq!(worst_hour(&answer(11), "p99_late_ms"), "2026-09-01T14");
    assert_eq!(worst_hour(&answer(10), "oldest_seconds"), "2026-09-01T22");
    let verdicts: f64 = answer(8).iter().map(|row| row["verdicts"].as_f64().unwrap()).sum();
    let calls: f64 = answer(12).iter().map(|row| row["calls"].as_f64().unwrap()).sum();
    assert!(verdicts > 20_000.0 && same(&verdicts.into(), &calls.into()), "{verdicts} {calls}");
}
