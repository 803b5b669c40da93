//! D17: results of older versions stay readable, together with today's and tomorrow's, by exactly the snippets that the
//! example shows. `tests/compat/results` holds what was released, never made again.

use std::fs;
use std::path::{Path, PathBuf};

use arrow::datatypes::Schema;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use probity::sink::Rotate;
use probity::sink::parquet::Table;
use serde_json::Value;

use crate::analyst::{assert_same_answers, with_pandas};
use crate::results::{self, Plan};
use crate::tree::{files, root};

/// An hour of six sites, two days after the committed ones.
const AN_HOUR: Plan = Plan { targets: 6, probes: 60, from: 1_788_436_800_000_000, hours: 1, seed: 2 };

fn kept(version: &str, table: Table) -> Vec<PathBuf> {
    let folder = root().join("tests/compat/results").join(version).join(table.name());
    let found = files(&folder, &|path| path.extension().is_some_and(|ending| ending == "parquet"));
    assert!(!found.is_empty(), "no files below {}", folder.display());
    found
}

fn schema_of(file: &Path) -> Schema {
    let opened = fs::File::open(file).unwrap();
    ParquetRecordBatchReaderBuilder::try_new(opened).unwrap().schema().as_ref().clone()
}

/// The columns of a released version are the first ones of today's, with name, type, unit and meaning.
#[test]
fn d17_columns_are_only_added() {
    for table in Table::ALL {
        let today = table.schema();
        for file in kept("0.1.0", table) {
            let then = schema_of(&file);
            assert!(then.fields().len() <= today.fields().len());
            for (then, today) in then.fields().iter().zip(today.fields()) {
                assert_eq!(then.name(), today.name(), "{}", file.display());
                assert_eq!(then.data_type(), today.data_type(), "{}", then.name());
                assert_eq!(then.metadata().get("unit"), today.metadata().get("unit"), "{}", then.name());
                assert!(today.is_nullable(), "{}", then.name());
            }
        }
    }
}

/// A results folder of several versions: an older one's, 0.1.0's, and what today's program writes.
fn of_several_versions(data: &Path) {
    for version in ["older", "0.1.0"] {
        for table in Table::ALL {
            for file in kept(version, table) {
                let from = root().join("tests/compat/results").join(version);
                let place = data.join("results").join(file.strip_prefix(from).unwrap());
                fs::create_dir_all(place.parent().unwrap()).unwrap();
                fs::copy(file, place).unwrap();
            }
        }
    }
    results::write(&AN_HOUR, data, Rotate::default(), |_| ());
}

#[test]
fn d17_several_versions_are_read_together_by_the_shown_snippets() {
    let Some(python) = with_pandas("d17_several_versions_are_read_together_by_the_shown_snippets") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    of_several_versions(folder.path());
    let said = python.json("read_versions.py", &[folder.path()]);
    let read = |time: &str, tool: usize, what: &str| said[time][tool][what].as_i64().unwrap();
    let tools = |time: &str| {
        said[time].as_array().unwrap().iter().map(|tool| tool["tool"].clone()).collect::<Vec<_>>()
    };
    for time in ["today", "tomorrow"] {
        assert_eq!(tools(time), ["duckdb", "polars", "pandas"]);
        for tool in 0..3 {
            for what in ["rows", "late", "tomorrow", "total_us", "labels", "days"] {
                assert_eq!(read(time, tool, what), read(time, 0, what), "{time}, {what}: {said}");
            }
        }
    }
    let (rows, late) = (read("today", 0, "rows"), read("today", 0, "late"));
    assert_eq!(
        (rows - late, read("today", 0, "days")),
        (62, 3),
        "the older file has no checks_total: {said}"
    );
    // A column that today's program does not know is there, and null in all older rows.
    assert_eq!(read("today", 0, "tomorrow"), -1, "{said}");
    let added = read("tomorrow", 0, "tomorrow");
    assert!(added > 0 && read("tomorrow", 0, "rows") == rows + added, "{said}");
}

#[test]
fn d17_the_twelve_questions_are_for_several_versions() {
    let Some(python) = with_pandas("d17_the_twelve_questions_are_for_several_versions") else { return };
    let folder = tempfile::tempdir().unwrap();
    of_several_versions(folder.path());
    let said: Value = python.json("ask_three.py", &[folder.path()]);
    let answers = assert_same_answers(&said);
    let verdicts: f64 =
        answers[7]["rows"].as_array().unwrap().iter().map(|row| row[2].as_f64().unwrap()).sum();
    assert!(verdicts > 300.0, "verdicts of all three versions: {verdicts}");
}
