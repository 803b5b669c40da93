//! Wrong inputs, as golden files: a folder of `tests/golden/config/` is a project; `expected.txt` in it is
//! what `probity validate` says of it, with its exit code. A file `arguments` gives other arguments.
//!
//! `PROBITY_BLESS=1 cargo test --test outside config_errors` writes what is said now: read it before
//! committing it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::Project;

/// Stands for a secret in the cases: it must never be said.
const CANARY: &str = "hunter2";

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/config");
    let mut cases: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

/// Copies a case into a project, without what is only for the test.
fn copy(case: &Path, below: &str, project: &Project) {
    for entry in fs::read_dir(case).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let inside = format!("{below}{name}");
        if path.is_dir() {
            fs::create_dir_all(project.path().join(&inside)).unwrap();
            copy(&path, &format!("{inside}/"), project);
        } else if !["expected.txt", "arguments", ".gitkeep"].contains(&name.as_str()) {
            project.write(&inside, fs::read(&path).unwrap());
        }
    }
}

/// A generation is a hash over the bundled components as well, which change without a case changing.
fn without_generations(text: &str) -> String {
    let mut parts = text.split("generation ");
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        assert!(part.len() >= 16 && part[..16].bytes().all(|byte| byte.is_ascii_hexdigit()), "{part}");
        out.push_str("generation <16 hex digits>");
        out.push_str(&part[16..]);
    }
    out
}

#[test]
fn wrong_inputs_are_explained() {
    let bless = std::env::var_os("PROBITY_BLESS").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let project = Project::new();
        copy(&case, "", &project);
        let arguments = fs::read_to_string(case.join("arguments")).unwrap_or_else(|_| "validate".to_owned());
        let arguments: Vec<_> = arguments.split_whitespace().collect();
        let finished = project.run_plain(&arguments);
        let said = format!(
            "$ probity {}\n--- stdout\n{}--- stderr\n{}--- exit code {}\n",
            arguments.join(" "),
            finished.stdout,
            finished.stderr,
            finished.status.code().map_or_else(|| "none".to_owned(), |code| code.to_string()),
        );
        let said = without_generations(&said.replace(&project.path().display().to_string(), "<project>"));
        assert!(!said.contains(CANARY), "{name}: a secret was said:\n{said}");
        assert!(!said.contains("panicked"), "{name}: a panic:\n{said}");
        let expected = case.join("expected.txt");
        if bless {
            fs::write(&expected, &said).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("=== {name}\n{said}"));
        }
    }
    let count = wrong.len();
    assert!(
        wrong.is_empty(),
        "{count} cases differ from their expected.txt; now is said:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn run_refuses_what_validate_refuses() {
    for case in cases() {
        let expected = fs::read_to_string(case.join("expected.txt")).unwrap_or_default();
        if !expected.starts_with("$ probity validate") || !expected.ends_with("--- exit code 78\n") {
            continue;
        }
        let project = Project::new();
        copy(&case, "", &project);
        let arguments = fs::read_to_string(case.join("arguments")).unwrap_or_else(|_| "validate".to_owned());
        let arguments: Vec<_> =
            ["run", "--once"].into_iter().chain(arguments.split_whitespace().skip(1)).collect();
        let finished = project.run(&arguments).expect_code(78);
        assert!(!finished.stderr.is_empty(), "{}", case.display());
        assert!(!project.results().exists(), "{}: results of a refused run", case.display());
    }
}
