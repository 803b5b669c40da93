//! The Python readers: DuckDB, Polars and pyarrow, as the people have them who analyse the results.
//!
//! Without them a test is left out, says so on stderr (past the test runner's capture) and passes;
//! where `PROBITY_REQUIRE_READERS` is set, as in CI, it fails instead.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A Python that can import the three readers.
#[derive(Debug, Clone)]
pub(crate) struct Python {
    program: PathBuf,
}

/// The Python readers, or nothing after having said why `test` is left out.
pub(crate) fn python_or_leave_out(test: &str) -> Option<Python> {
    static FOUND: OnceLock<Result<Python, String>> = OnceLock::new();
    match FOUND.get_or_init(find) {
        Ok(python) => Some(python.clone()),
        Err(reason) => {
            leave_out(test, reason);
            None
        }
    }
}

/// Says that `test` is left out for want of something that can be installed; where that is required, fails.
pub(crate) fn leave_out(test: &str, reason: &str) {
    let required = std::env::var_os("PROBITY_REQUIRE_READERS").is_some();
    assert!(!required, "PROBITY_REQUIRE_READERS is set, but {reason}");
    say_left_out(test, reason);
}

/// Says that `test` is left out, past the test runner's capture.
pub(crate) fn say_left_out(test: &str, reason: &str) {
    let line = format!("left out: {test}, because {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

fn find() -> Result<Python, String> {
    let program = std::env::var_os("PROBITY_PYTHON").unwrap_or_else(|| "python3".into());
    let program = PathBuf::from(program);
    let shown = program.display();
    let tried = Command::new(&program).args(["-c", "import duckdb, polars, pyarrow"]).output();
    match tried {
        Err(error) => Err(format!("\"{shown}\" does not start: {error}")),
        Ok(output) if output.status.success() => Ok(Python { program }),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.trim().lines().last().unwrap_or("it failed without a word").to_owned();
            Err(format!(
                "\"{shown}\" lacks a reader ({last}); `pip install duckdb polars pyarrow` brings all"
            ))
        }
    }
}

impl Python {
    /// The program itself.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Runs a script of `tests/outside/readers/` and returns the JSON it prints.
    pub(crate) fn json(&self, script: &str, arguments: &[&Path]) -> serde_json::Value {
        self.json_in(Path::new(env!("CARGO_MANIFEST_DIR")), script, arguments)
    }

    /// The same, from a working directory.
    pub(crate) fn json_in(&self, folder: &Path, script: &str, arguments: &[&Path]) -> serde_json::Value {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside/readers").join(script);
        let output =
            Command::new(&self.program).arg(&path).args(arguments).current_dir(folder).output().unwrap();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script}: {}\n{stdout}\n{stderr}", output.status);
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{script}: {error}: {stdout}"))
    }
}
