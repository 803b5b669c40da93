//! A project folder for one test: pipelines, target lists, and the data that a run leaves.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::{Finished, Rows, Running, read_rows};

/// The binary under test: the one that was built with the tests, or the one that `PROBITY_BINARY` names
/// (a release build, an older version).
fn binary() -> OsString {
    std::env::var_os("PROBITY_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_probity").into())
}

/// A folder that a test fills and runs the binary in. It vanishes with the test.
#[derive(Debug)]
pub(crate) struct Project {
    folder: TempDir,
}

impl Project {
    /// An empty project.
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::Builder::new().prefix("probity-").tempdir().unwrap() }
    }

    /// A project of one pipeline, `pipelines/shop.toml`.
    pub(crate) fn with_pipeline(text: &str) -> Self {
        let project = Self::new();
        project.write("pipelines/shop.toml", text);
        project
    }

    /// The folder: the working directory of every command.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder, where results and state go.
    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Where the finished Parquet files are.
    pub(crate) fn results(&self) -> PathBuf {
        self.data().join("results")
    }

    /// Where the runner keeps what is not finished.
    pub(crate) fn state(&self, runner: &str) -> PathBuf {
        self.data().join("state").join(runner)
    }

    /// Writes a file, its folders included.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The command with `arguments`, as a person would type it in the project folder, in an
    /// environment that holds nothing of the developer's.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            // What one test has compiled, the next one need not.
            .env("XDG_CACHE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"))
            .env("RUST_BACKTRACE", "1");
        command
    }

    /// Starts a command that writes results: `--data` is added.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running::start(self.with_data(arguments))
    }

    /// The same command, not started.
    pub(crate) fn with_data(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command.arg("--data").arg(self.data());
        command
    }

    /// Runs a command that writes results, to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        self.start(arguments).wait(Duration::from_mins(2))
    }

    /// Runs a command that writes none, to its end.
    pub(crate) fn run_plain(&self, arguments: &[&str]) -> Finished {
        Running::start(self.command(arguments)).wait(Duration::from_mins(2))
    }

    /// Every row of the results that are finished.
    pub(crate) fn rows(&self) -> Rows {
        read_rows(&self.results())
    }
}
