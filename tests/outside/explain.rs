//! `probity explain`: every code has a page, and the example on it provokes that code and no other.

use std::collections::BTreeSet;

use crate::support::{LONG, Project, Running};

/// The fenced blocks of a page: their language and their text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(_), Some(block)) => blocks.push(block),
            (Some(language), None) => open = Some((language.to_owned(), String::new())),
            (None, Some((language, text))) => open = Some((language, format!("{text}{line}\n"))),
            (None, None) => {}
        }
    }
    blocks
}

/// Every `[P0101]` in a text.
fn codes(text: &str) -> BTreeSet<String> {
    let found = text.match_indices("[P").map(|(at, _)| text[at + 1..].split(']').next().unwrap().to_owned());
    found.collect()
}

#[test]
fn every_page_has_an_example_that_provokes_its_code() {
    let list = Project::new().run_plain(&["explain"]).expect_code(0).stdout;
    assert!(list.lines().count() > 20, "{list}");
    for line in list.lines() {
        let (code, meaning) = line.split_once("  ").unwrap();
        let page = Project::new().run_plain(&["explain", &code.to_lowercase()]).expect_code(0).stdout;
        assert!(page.starts_with(&format!("# {code}: ")), "{page}");
        let title = page.lines().next().unwrap();
        assert!(title.contains(&meaning.trim_end_matches('.')[1..]), "{title} is not: {meaning}");
        assert!(page.contains("## What to do\n"), "{page}");
        let project = Project::new();
        let mut arguments = vec!["validate".to_owned()];
        for (language, text) in blocks(&page) {
            match language.as_str() {
                "toml" => project.write(text.lines().next().unwrap().trim_start_matches("# "), &text),
                "sh" => {
                    let mut shell = std::process::Command::new("sh");
                    shell.current_dir(project.path()).args(["-e", "-c", &text]);
                    Running::start(shell).wait(LONG).expect_code(0);
                }
                "console" => {
                    let typed = text.trim().strip_prefix("$ probity ").unwrap();
                    arguments = typed.split(' ').map(str::to_owned).collect();
                }
                other => panic!("{code}: a block of {other}"),
            }
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let told = project.run_plain(&arguments);
        assert_eq!(codes(&told.stderr), BTreeSet::from([code.to_owned()]), "{code}: {}", told.stderr);
        assert_eq!(told.status.code(), Some(if told.stderr.contains("error[") { 78 } else { 0 }));
    }
}

#[test]
fn a_code_that_is_none_is_told() {
    let told = Project::new().run_plain(&["explain", "P0109"]).expect_code(2);
    assert!(told.stderr.contains("there is no code \"P0109\"; did you mean P01"), "{}", told.stderr);
    let told = Project::new().run_plain(&["explain", "moon"]).expect_code(2);
    assert!(told.stderr.contains("lists them"), "{}", told.stderr);
}
