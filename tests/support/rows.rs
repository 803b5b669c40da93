//! The Parquet that was written, read back row by row as plain JSON values: every column of every row,
//! since a damaged page hides from a count.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, MapArray, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, TimeUnit};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value, json};

/// A row: column name to value. Timestamps are microseconds since the Unix epoch; absent is null.
pub(crate) type Row = Map<String, Value>;

/// All rows of a results folder.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// A row an attempt.
    pub(crate) probes: Vec<Row>,
    /// A row a verdict.
    pub(crate) checks: Vec<Row>,
}

impl Rows {
    /// The rows of one target.
    pub(crate) fn of_target(&self, name: &str) -> Vec<&Row> {
        self.probes.iter().filter(|row| row["target"] == name).collect()
    }

    /// The one row of one target; panics where there are none or several.
    #[track_caller]
    pub(crate) fn the_row(&self, name: &str) -> &Row {
        let rows = self.of_target(name);
        assert_eq!(rows.len(), 1, "rows of \"{name}\"");
        rows[0]
    }

    /// The verdicts of one check on one row.
    pub(crate) fn verdict(&self, probe: &Row, check: &str) -> &Row {
        let belongs = |row: &&Row| {
            row["run_id"] == probe["run_id"] && row["seq"] == probe["seq"] && row["check_name"] == check
        };
        let found: Vec<_> = self.checks.iter().filter(belongs).collect();
        assert_eq!(found.len(), 1, "verdicts of \"{check}\" on {}", Value::from(probe.clone()));
        found[0]
    }

    /// How often each (`run_id`, `seq`) occurs.
    pub(crate) fn keys(&self) -> HashMap<(String, i64), usize> {
        let mut keys = HashMap::new();
        for row in &self.probes {
            *keys.entry(key(row)).or_default() += 1;
        }
        keys
    }

    /// Asserts what holds of all results whatever happened: keys are unique, every verdict belongs to
    /// a row, and every row has all of its verdicts.
    #[track_caller]
    pub(crate) fn expect_whole(&self) {
        let keys = self.keys();
        let doubled: Vec<_> = keys.iter().filter(|(_, count)| **count > 1).collect();
        assert!(doubled.is_empty(), "rows written more than once: {doubled:?}");
        let mut verdicts: HashMap<_, i64> = HashMap::new();
        for row in &self.checks {
            assert!(keys.contains_key(&key(row)), "a verdict without its row: {row:?}");
            *verdicts.entry(key(row)).or_default() += 1;
        }
        for row in &self.probes {
            let stored = verdicts.get(&key(row)).copied().unwrap_or(0);
            assert_eq!(row["checks_total"].as_i64().unwrap_or(0), stored, "verdicts of {row:?}");
        }
    }
}

/// The key of a row of either table.
fn key(row: &Row) -> (String, i64) {
    (row["run_id"].as_str().expect("run_id is there").to_owned(), row["seq"].as_i64().expect("seq is there"))
}

/// Every file below `folder`. Panics where one is anything but a finished Parquet file by name.
pub(crate) fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let finished = path.extension().is_some_and(|extension| extension == "parquet");
                assert!(finished, "a foreign file among the results: {}", path.display());
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Reads both tables of a results folder.
pub(crate) fn read_rows(results: &Path) -> Rows {
    // Checks are published before probes: read in the other order, so that every row has its verdicts.
    let probes = read_table(&results.join("probes"));
    let checks = read_table(&results.join("checks"));
    Rows { probes, checks }
}

fn read_table(folder: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    for path in parquet_files(folder) {
        let file = File::open(&path).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .and_then(ParquetRecordBatchReaderBuilder::build)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for batch in reader {
            let batch = batch.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let schema = batch.schema();
            for index in 0..batch.num_rows() {
                let named = schema.fields().iter().zip(batch.columns());
                rows.push(
                    named.map(|(field, column)| (field.name().clone(), value(column, index))).collect(),
                );
            }
        }
    }
    rows
}

/// One value. Any type outside the contract panics: no reader was promised it.
fn value(column: &ArrayRef, index: usize) -> Value {
    if column.is_null(index) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Utf8 => json!(column.as_any().downcast_ref::<StringArray>().unwrap().value(index)),
        DataType::Int64 => json!(column.as_any().downcast_ref::<Int64Array>().unwrap().value(index)),
        DataType::Int32 => json!(column.as_any().downcast_ref::<Int32Array>().unwrap().value(index)),
        DataType::Float64 => json!(column.as_any().downcast_ref::<Float64Array>().unwrap().value(index)),
        DataType::Boolean => json!(column.as_any().downcast_ref::<BooleanArray>().unwrap().value(index)),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            json!(column.as_any().downcast_ref::<TimestampMicrosecondArray>().unwrap().value(index))
        }
        DataType::Map(..) => {
            let entries = column.as_any().downcast_ref::<MapArray>().unwrap().value(index);
            let keys = entries.column(0).as_string::<i32>();
            let values = entries.column(1);
            let entry = |at: usize| (keys.value(at).to_owned(), value(values, at));
            Value::Object((0..entries.len()).map(entry).collect())
        }
        other => panic!("a type outside the contract: {other}"),
    }
}
