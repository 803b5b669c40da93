//! DuckDB, Polars and pyarrow read the results while the runner still writes: by plain globs and by the
//! bare folder, every column with its type.

use std::time::Duration;

use serde_json::Value;

use crate::support::{
    CHECKS, Kind, LONG, PROBES, Project, Python, SIGTERM, Server, parquet_files, python_or_leave_out,
};

/// A script, and the word it has for a type.
type Reader = (&'static str, fn(Kind) -> &'static str);

const READERS: [Reader; 3] =
    [("read_duckdb.py", Kind::duckdb), ("read_polars.py", Kind::polars), ("read_pyarrow.py", Kind::pyarrow)];

fn pipeline(server: &Server) -> String {
    let targets: String = (0..20)
        .map(|n| {
            format!("  {{ url = \"{}\", labels = {{ n = \"{n}\" }} }},\n", server.url(&format!("/ok/{n}")))
        })
        .collect();
    let broken = server.url("/status/503");
    format!(
        "[schedule]\nevery = \"250ms\"\n[[sources]]\ntargets = [\n{targets}  \"{broken}\",\n]\n\
         [[checks]]\nplugin = \"latency\"\nconfig = {{ max = \"10s\" }}\n\
         [[sinks]]\ntype = \"parquet\"\npath = \"results\"\nrotate = {{ every = \"1s\" }}\n"
    )
}

/// Asserts the columns of both tables, their order and their types, in a reader's own words.
fn expect_columns(script: &str, said: &Value, word: fn(Kind) -> &'static str) {
    for (table, columns) in [("probes", PROBES), ("checks", CHECKS)] {
        let found = said[table]["columns"].as_object().unwrap();
        let mut names: Vec<_> = found.keys().map(String::as_str).collect();
        let mut promised: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        promised.sort_unstable();
        assert_eq!(names, promised, "{script}: columns of {table}");
        for (name, kind) in columns {
            let (found, promised) = (found[*name].as_str().unwrap(), word(*kind));
            let same = found == promised || (promised.starts_with("map<") && found.starts_with(promised));
            assert!(same, "{script}: {table}.{name} is {found}, promised was {promised}");
        }
    }
}

/// Asserts of every glob what holds at any moment; returns the least number of rows seen.
fn expect_readable(script: &str, said: &Value) -> u64 {
    let mut least = u64::MAX;
    for table in ["probes", "checks"] {
        for (glob, answer) in said[table]["globs"].as_object().unwrap() {
            let rows = answer["rows"].as_u64().unwrap();
            assert!(rows > 0, "{script}: {glob}: {answer}");
            assert_eq!(answer["distinct"].as_u64(), Some(rows), "{script}: {glob}: doubled rows");
            if table == "probes" {
                assert_eq!(answer["recent"].as_u64(), Some(rows), "{script}: {glob}: times: {answer}");
                least = least.min(rows);
            }
        }
    }
    least
}

fn read_all(python: &Python, project: &Project) -> Vec<u64> {
    let read = |(script, word): &Reader| {
        let said = python.json(script, &[&project.results()]);
        expect_columns(script, &said, *word);
        expect_readable(script, &said)
    };
    READERS.iter().map(read).collect()
}

#[test]
fn the_three_readers_read_while_the_runner_writes() {
    let Some(python) = python_or_leave_out("the_three_readers_read_while_the_runner_writes") else { return };
    let server = Server::start();
    let project = Project::with_pipeline(&pipeline(&server));
    let mut running = project.start(&["run"]);
    running.until(LONG, "two files", || {
        (parquet_files(&project.results().join("probes")).len() >= 2).then_some(())
    });

    let mut least = 0;
    for round in 0..4 {
        let rows = read_all(&python, &project);
        let now = rows.iter().copied().min().unwrap();
        assert!(now >= least, "round {round}: rows vanished: {rows:?} after {least}");
        least = now;
    }
    assert!(running.is_running());
    running.signal(SIGTERM);
    running.wait(Duration::from_secs(20)).expect_code(0);

    let rows = project.rows();
    rows.expect_whole();
    let expected = rows.probes.len() as u64;
    assert_eq!(read_all(&python, &project), [expected; 3], "all three read all rows after the stop");
    assert!(expected > least, "it was read while it grew");
}
