//! What a reader of the repository may rely on: each file says what it is for, is one idea, and nothing
//! that belongs together is missing a part.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use probity::check::BUNDLED_NAMES;

use crate::tree::{Source, files, root, sources};

/// A file of more lines is more than one idea.
const LONGEST_FILE: usize = 500;

fn all_sources() -> Vec<Source> {
    ["runner", "plugins", "tests"].into_iter().flat_map(sources).collect()
}

#[track_caller]
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_begins_with_what_it_is_for() {
    let wrong: Vec<_> = all_sources()
        .iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| format!("{} has no module doc", source.path.display()))
        .collect();
    assert_none(&wrong);
}

#[test]
fn no_file_is_too_long() {
    let wrong: Vec<_> = all_sources()
        .iter()
        .map(|source| (source.path.display().to_string(), source.text.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .map(|(path, lines)| format!("{path} has {lines} lines"))
        .collect();
    assert_none(&wrong);
}

#[test]
fn names_say_something() {
    let empty = ["util", "utils", "common", "misc", "helpers", "helper", "manager"];
    let wrong: Vec<_> = all_sources()
        .iter()
        .filter(|source| {
            source.path.iter().any(|part| {
                let part = part.to_str().unwrap();
                empty.contains(&part.trim_end_matches(".rs"))
            })
        })
        .map(|source| source.path.display().to_string())
        .collect();
    assert_none(&wrong);
}

#[test]
fn nothing_is_left_for_later_in_the_text() {
    let marks =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("unimplemented", "!"), concat!("to", "do!(")];
    let mut wrong = Vec::new();
    for source in all_sources() {
        for (number, line) in source.text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                wrong.push(format!("{}:{}: {}", source.path.display(), number + 1, line.trim()));
            }
        }
    }
    assert_none(&wrong);
}

/// R7: every queue has a bound.
#[test]
fn nothing_is_unbounded() {
    let marks =
        [concat!("unbounded", "_channel"), concat!("mpsc::", "channel()"), concat!("LinkedList", "::")];
    let mut wrong = Vec::new();
    for source in sources("runner") {
        let code = source.code();
        wrong.extend(
            marks
                .iter()
                .filter(|mark| code.contains(**mark))
                .map(|mark| format!("{}: {mark}", source.path.display())),
        );
    }
    assert_none(&wrong);
}

#[test]
fn every_dependency_says_why() {
    for manifest in ["Cargo.toml", "plugins/Cargo.toml", "tests/fuzz/Cargo.toml"] {
        let text = fs::read_to_string(root().join(manifest)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let mut inside = false;
        let mut explained = false;
        let mut wrong = Vec::new();
        for line in lines {
            if line.starts_with('[') {
                inside = line.contains("dependencies");
                explained = false;
            } else if inside && line.starts_with('#') {
                explained = true;
            } else if inside && line.contains('=') && !line.contains("path =") && !explained {
                wrong.push(format!("{manifest}: {line}"));
            } else if line.trim().is_empty() {
                explained = false;
            }
        }
        assert_none(&wrong);
    }
}

/// What is fuzzed is what is shipped.
#[test]
fn the_fuzzed_crates_are_the_runners() {
    let packages = |path: &str| -> HashSet<(String, String)> {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let value = |block: &str, key: &str| {
            block
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .map(|value| value.trim_matches('"').to_owned())
        };
        text.split("[[package]]")
            .filter_map(|b| Some((value(b, "name = ")?, value(b, "version = ")?)))
            .collect()
    };
    let (ours, fuzzed) = (packages("Cargo.lock"), packages("tests/fuzz/Cargo.lock"));
    assert!(fuzzed.len() > 100, "the packages were not found");
    let engine = ["probity-fuzz", "libfuzzer-sys", "arbitrary"];
    let wrong: Vec<_> = fuzzed
        .difference(&ours)
        .filter(|(name, _)| !engine.contains(&name.as_str()))
        .map(|(name, version)| {
            format!("{name} {version}: in tests/fuzz, run cargo update {name} --precise …")
        })
        .collect();
    assert_none(&wrong);
}

/// Whatever the fetcher comes to need, tests/fuzz needs as well.
#[test]
fn the_fuzzed_crates_are_all_there() {
    let names = |path: &str| -> HashSet<String> {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let inside = text.split("\n[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap();
        inside.lines().filter_map(|line| Some(line.split_once(" = ")?.0.to_owned())).collect()
    };
    let fuzzed = names("tests/fuzz/Cargo.toml");
    let included = ["clock", "config", "fetch", "model"];
    let is_test = |source: &Source| source.path.iter().any(|part| part == "tests" || part == "tests.rs");
    let used: Vec<_> = sources("runner")
        .into_iter()
        .filter(|source| included.contains(&source.module().as_str()) && !is_test(source))
        .map(|source| source.code().split("#[cfg(test)]").next().unwrap_or_default().to_owned())
        .collect();
    let is_used = |name: &String| {
        let path = format!("{}::", name.replace('-', "_"));
        let begins = |(at, code): (usize, &String)| {
            !code[..at].ends_with(|before: char| before.is_ascii_alphanumeric() || "_:".contains(before))
        };
        used.iter().any(|code| code.match_indices(&path).any(|(at, _)| begins((at, code))))
    };
    let wrong: Vec<_> = names("Cargo.toml")
        .into_iter()
        .filter(|name| !fuzzed.contains(name) && is_used(name))
        .map(|name| format!("{name} is missing in tests/fuzz/Cargo.toml"))
        .collect();
    assert_none(&wrong);
}

#[test]
fn every_bundled_check_is_whole() {
    let mut wrong = Vec::new();
    for name in BUNDLED_NAMES {
        for part in ["README.md", "cases.toml", "schema.json", "src/lib.rs", "Cargo.toml"] {
            let path = root().join("plugins").join(name).join(part);
            if !path.is_file() {
                wrong.push(format!("{} is missing", path.display()));
            }
        }
        let component = root().join("plugins/prebuilt").join(format!("{name}.wasm"));
        if !component.is_file() {
            wrong.push(format!("{} is missing: run plugins/build", component.display()));
        }
    }
    assert_none(&wrong);
}

/// A mutant that cannot be made is one that no suite has to find.
#[test]
fn every_mutant_can_be_made() {
    let folder = root().join("tests/chaos/mutants");
    let patches = files(&folder, &|path| path.extension().is_some_and(|ending| ending == "patch"));
    assert!(patches.len() >= 5, "{patches:?}");
    let mut wrong = Vec::new();
    for path in patches {
        let text = fs::read_to_string(&path).unwrap();
        let suite = text.lines().nth(1).and_then(|line| line.strip_prefix("Suite: ")).unwrap_or_default();
        if !(suite == "kills" || suite.starts_with("sweep ")) {
            wrong.push(format!("{}: the second line has to name the suite", path.display()));
        }
        let mut patch = Command::new("patch");
        patch.args(["-p1", "--dry-run", "--forward", "--batch", "-i"]).arg(&path).current_dir(root());
        let output = patch.output().expect("patch starts");
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            wrong.push(format!("{} does not apply any more: {said}", path.display()));
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_source_has_a_sample() {
    let schema = fs::read_to_string(root().join("pipelines/schema.json")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let kinds = schema["properties"]["sources"]["items"]["anyOf"].as_array().unwrap();
    assert!(!kinds.is_empty());
    for kind in kinds {
        let kind = kind["properties"]["type"]["const"].as_str().unwrap();
        let sample = root().join("runner/source").join(format!("{kind}.toml"));
        assert!(sample.is_file(), "{} is missing", sample.display());
    }
}

#[test]
fn every_golden_case_says_what_is_expected() {
    let cases = fs::read_dir(root().join("tests/golden/config")).unwrap();
    for case in cases {
        let case = case.unwrap().path();
        assert!(case.join("expected.txt").is_file(), "{} has no expected.txt", case.display());
    }
}

#[test]
fn the_readme_is_short_and_its_links_lead_somewhere() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(text.lines().count() < 200);
    links(&root().join("README.md"));
    for page in files(&root().join("runner"), &|path| path.extension().is_some_and(|ending| ending == "md")) {
        links(&page);
    }
    for folder in ["plugins", "wit", "examples", "pipelines", "tests"] {
        for page in files(&root().join(folder), &|path| path.extension().is_some_and(|ending| ending == "md"))
        {
            links(&page);
        }
    }
}

/// Fails for a relative link of a Markdown page that leads nowhere.
#[track_caller]
fn links(page: &Path) {
    let text = fs::read_to_string(page).unwrap();
    for (at, _) in text.match_indices("](") {
        let rest = &text[at + 2..];
        let link = &rest[..rest.find(')').unwrap_or(0)];
        let link = link.split('#').next().unwrap();
        if link.is_empty() || link.contains("://") {
            continue;
        }
        let target = page.parent().unwrap().join(link);
        assert!(target.exists(), "{}: {link} leads nowhere", page.display());
    }
}

#[test]
fn the_architecture_names_every_folder() {
    let text = fs::read_to_string(root().join("runner/ARCHITECTURE.md")).unwrap();
    assert!(text.lines().count() < 300);
    for entry in fs::read_dir(root().join("runner")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            assert!(text.contains(&format!("`{name}/`")), "ARCHITECTURE.md does not name {name}/");
        }
    }
}
