//! The readers beside it: `watch.py`, one long-lived process.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};
use std::time::Duration;

use serde_json::Value;

use crate::support::{LONG, Python, Row, Rows, Running};

/// Readers at work. Whatever they cannot read is a fault.
pub(super) struct Watch {
    reading: Running,
    asks: ChildStdin,
}

impl Watch {
    /// Has these folders read until the end.
    pub(super) fn start(python: &Python, folders: &[PathBuf]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside/chaos/watch.py");
        let mut command = Command::new(python.program());
        command.arg(script).args(folders);
        let (mut reading, asks) = Running::start_with_pipe(command);
        reading.until_stdout_has(LONG, "\"ready\"");
        Self { reading, asks }
    }

    /// Panics where something could not be read so far.
    #[track_caller]
    pub(super) fn expect_no_fault(&self) {
        expect_none(&self.reading.stdout());
    }

    /// What DuckDB reads, and what pyarrow reads, of every row.
    pub(super) fn rows(&mut self, place: &Path) -> [Rows; 2] {
        let shown = place.display();
        writeln!(self.asks, "dump {shown}").unwrap();
        self.reading.until_stdout_has(Duration::from_mins(2), &format!("{{\"dumped\": \"{shown}\"}}"));
        ["duckdb", "pyarrow"].map(|reader| {
            let path = place.with_added_extension(reader);
            let rows = parsed(&std::fs::read_to_string(&path).unwrap());
            std::fs::remove_file(path).unwrap();
            rows
        })
    }

    /// Has them read once more, and ends them; tells how many times a table was read.
    pub(super) fn end(self) -> u64 {
        let Self { reading, asks } = self;
        drop(asks);
        let finished = reading.wait(Duration::from_mins(5)).expect_code(0);
        expect_none(&finished.stdout);
        let last: Value = serde_json::from_str(finished.stdout.lines().last().unwrap()).unwrap();
        last["reads"].as_u64().unwrap()
    }
}

#[track_caller]
fn expect_none(said: &str) {
    let faults: Vec<_> = said.lines().filter(|line| line.contains("\"fault\"")).take(20).collect();
    assert!(faults.is_empty(), "I2: the readers say:\n{}", faults.join("\n"));
}

fn parsed(text: &str) -> Rows {
    let mut rows = Rows::default();
    for line in text.lines() {
        let mut line: Row = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let Some(Value::Object(row)) = line.remove("row") else { panic!("no row: {line:?}") };
        if line["table"] == "probes" { rows.probes.push(row) } else { rows.checks.push(row) }
    }
    rows
}
