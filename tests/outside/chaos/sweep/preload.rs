//! `tests/chaos/faults.c`, compiled and put before the C library of the program under test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Calls by kind.
pub(in crate::chaos) type Calls = BTreeMap<&'static str, u64>;

/// The kinds of calls that are counted, with their names in the kernel.
const KINDS: [(&str, &[&str]); 7] = [
    ("open", &["open", "openat"]),
    ("write", &["write", "pwrite64", "writev"]),
    ("fsync", &["fsync", "fdatasync"]),
    ("rename", &["rename", "renameat", "renameat2"]),
    ("unlink", &["unlink", "unlinkat", "rmdir"]),
    ("truncate", &["ftruncate"]),
    ("mkdir", &["mkdir", "mkdirat"]),
];

/// The compiled library.
#[derive(Debug, Clone)]
pub(in crate::chaos) struct Preload {
    library: PathBuf,
}

impl Preload {
    /// Compiles it, once.
    pub(in crate::chaos) fn build() -> Result<Self, String> {
        static BUILT: OnceLock<Result<Preload, String>> = OnceLock::new();
        BUILT.get_or_init(compile).clone()
    }

    /// Has the calls of a command counted on files below `data`, and noted in `log`.
    pub(in crate::chaos) fn put_before(&self, command: &mut Command, data: &Path, log: &Path) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("PROBITY_FAULT_BELOW", data)
            .env("PROBITY_FAULT_LOG", log);
    }

    /// The same for a command that strace runs, with what strace is to be given for it.
    pub(in crate::chaos) fn through_strace(&self, data: &Path, log: &Path, trace: &Path) -> Command {
        let mut strace = Command::new("strace");
        let names: Vec<_> = KINDS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        strace.args(["-f", "-y", "-qq", "-s", "0", "-e", "signal=none", "-e"]);
        strace.arg(format!("trace={}", names.join(","))).arg("-o").arg(trace);
        let below = format!("PROBITY_FAULT_BELOW={}", data.display());
        for variable in [
            format!("LD_PRELOAD={}", self.library.display()),
            below,
            format!("PROBITY_FAULT_LOG={}", log.display()),
        ] {
            strace.arg("-E").arg(variable);
        }
        strace
    }
}

fn compile() -> Result<Preload, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chaos/faults.c");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let library = folder.join(format!("faults-{}.so", std::process::id()));
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-o"])
        .arg(&library)
        .arg(&source)
        .args(["-ldl", "-lpthread"])
        .output()
        .map_err(|error| format!("cc does not start: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{}: {said}", source.display());
    Ok(Preload { library })
}

/// What a log counts, by kind.
pub(in crate::chaos) fn noted(log: &str) -> Calls {
    let mut calls = Calls::new();
    for line in log.lines() {
        let word = line.split(' ').next().unwrap_or_default();
        if let Some((kind, _)) = KINDS.iter().find(|(kind, _)| *kind == word) {
            *calls.entry(*kind).or_default() += 1;
        }
    }
    calls
}

/// What strace saw on files below `data`, by kind.
pub(in crate::chaos) fn traced(trace: &str, data: &Path) -> Calls {
    let data = data.to_str().unwrap();
    let mut calls = Calls::new();
    for line in trace.lines() {
        // "4711 write(12</…/journal/…>, ""..., 90) = 90", or its begin where another thread came between.
        let Some((name, rest)) = line.split_once(' ').and_then(|(_, call)| call.trim_start().split_once('('))
        else {
            continue;
        };
        let kind = KINDS.iter().find(|(_, names)| names.contains(&name.trim_start()));
        // The first file that it names is the one that counts; a working folder is none.
        let file = rest.split(", ").find(|word| !word.starts_with("AT_FDCWD")).unwrap_or_default();
        if let Some((kind, _)) = kind
            && file.contains(data)
        {
            *calls.entry(*kind).or_default() += 1;
        }
    }
    calls
}
