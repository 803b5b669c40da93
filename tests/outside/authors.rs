//! What an author of a check meets first: the folder that `plugin new` makes, and what `plugin build` says where a
//! tool or a file is missing. What the folders build to is tried by `tests/authors/path.py`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{Finished, Project, Running};

/// A language, and the folders of `plugins/` that stand below `vendor` in a new check.
const LANGUAGES: &[(&str, &[&str])] = &[("rust", &["sdk"]), ("c", &["sdk-c"]), ("js", &[]), ("python", &[])];

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Every file below a folder, by its path from there.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// The files of a folder of the repository, as they stand in a new check's folder.
fn moved(from: &str, to: &str) -> BTreeMap<String, Vec<u8>> {
    files(&repository(from)).into_iter().map(|(name, content)| (format!("{to}{name}"), content)).collect()
}

#[test]
fn a_new_folder_is_the_template_the_kit_and_the_contract() {
    for (language, kits) in LANGUAGES {
        let project = Project::new();
        project.run_plain(&["plugin", "new", "shop-cart", "--lang", language]).expect_code(0);
        let mut expected = moved("plugins/templates/all", "");
        expected.extend(moved(&format!("plugins/templates/{language}"), ""));
        for content in expected.values_mut() {
            *content = String::from_utf8_lossy(content).replace("my-check", "shop-cart").into_bytes();
        }
        expected.insert("vendor/wit/check.wit".to_owned(), fs::read(repository("wit/check.wit")).unwrap());
        for kit in *kits {
            let below = if *kit == "sdk" { "vendor/plugins/sdk/" } else { "vendor/sdk-c/" };
            expected.extend(moved(&format!("plugins/{kit}"), below));
        }
        let mut made = files(&project.path().join("shop-cart"));
        if *language == "rust" {
            let workspace = String::from_utf8(made.remove("vendor/plugins/Cargo.toml").unwrap()).unwrap();
            assert!(workspace.contains("members = [\"sdk\"]\n"), "{workspace}");
        }
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&made), names(&expected), "{language}: runner/cli/plugin/kit.rs lists the files");
        for (name, content) in &made {
            assert!(*content == expected[name], "{language}: {name} is not what stands in the repository");
        }
    }
}

/// Arguments of a `plugin new` that is refused, and a part of what is said.
const REFUSED: &[(&[&str], i32, &str)] = &[
    (&["Cart"], 2, "\"C\" cannot be in a name: use a-z, 0-9 and -"),
    (&["shop_cart"], 2, "\"_\" cannot be in a name"),
    (&["7th"], 2, "a name begins with a letter"),
    (&["match"], 3, "\"match\" is a word of Rust or of its tools"),
    (&["cart", "--lang", "go"], 2, "rust, c, js, python"),
    (&["cart", "--dir", "full"], 3, "the folder full is there and is not empty"),
    (&["cart", "--dir", "full/file"], 3, "full/file is there and is not a folder"),
];

#[test]
fn what_cannot_be_made_is_refused_and_nothing_is_written_over() {
    let project = Project::new();
    project.write("full/file", "mine");
    for (arguments, code, part) in REFUSED {
        let finished = project.run_plain(&[&["plugin", "new"], *arguments].concat()).expect_code(*code);
        assert!(finished.stderr.contains(part), "{arguments:?}: {}", finished.stderr);
    }
    assert_eq!(files(project.path()), [("full/file".to_owned(), b"mine".to_vec())].into());
    fs::create_dir(project.path().join("empty")).unwrap();
    project.run_plain(&["plugin", "new", "match", "--lang", "c", "--dir", "empty"]).expect_code(0);
    assert!(project.path().join("empty/src/check.c").is_file());
}

/// Builds a folder where no tool is to be found.
fn build_without_tools(project: &Project, folder: &str) -> Finished {
    let mut command = project.command(&["plugin", "build", folder]);
    command.env("PATH", project.path());
    Running::start(command).wait(Duration::from_mins(1))
}

#[test]
fn a_missing_tool_is_told_with_the_line_that_brings_it() {
    for (language, part) in [
        ("rust", "cargo is not installed: https://rustup.rs brings it"),
        ("c", "this line brings it: python3 -m venv .venv && .venv/bin/pip install ziglang==0."),
        ("js", "node is not installed"),
        ("python", "this line brings it: python3 -m venv .venv && .venv/bin/pip install componentize-py==0."),
    ] {
        let project = Project::new();
        project.run_plain(&["plugin", "new", "cart", "--lang", language]).expect_code(0);
        let finished = build_without_tools(&project, "cart").expect_code(3);
        assert!(finished.stderr.contains(part), "{language}: {}", finished.stderr);
    }
}

#[test]
fn a_folder_without_a_check_is_told() {
    let project = Project::new();
    project.write("notes/README.md", "");
    for (folder, part) in [
        ("notes", "no Cargo.toml, no package.json, and no .c or .py file in it or in src"),
        ("nowhere", "there is no folder nowhere"),
    ] {
        let finished = build_without_tools(&project, folder).expect_code(3);
        assert!(finished.stderr.contains(part), "{folder}: {}", finished.stderr);
    }
}
