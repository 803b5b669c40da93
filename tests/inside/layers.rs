//! Dependencies go one way: the data path's, and a stage never uses another stage.

use crate::tree::{Source, sources};

/// The modules from the bottom up. Those of one layer do not use each other, except where `USES` says.
const LAYERS: [&[&str]; 8] = [
    &["model"],
    &["clock"],
    &["config", "telemetry"],
    &["source", "schedule", "fetch", "check", "sink"],
    &["pipeline"],
    &["reload", "admin"],
    &["cli"],
    &["main"],
];

fn layer(module: &str) -> usize {
    LAYERS.iter().position(|layer| layer.contains(&module)).unwrap_or_else(|| {
        panic!("the module {module} has no layer: give it one here and in ARCHITECTURE.md")
    })
}

/// The modules of ours that a file names.
fn uses(source: &Source) -> Vec<String> {
    let text = source.code();
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(group) => group[..group.find('}').unwrap_or(group.len())].split(',').collect(),
            None => vec![rest],
        };
        for name in names {
            let name = name.trim();
            let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
            found.push(name[..end].to_owned());
        }
    }
    found
}

#[test]
fn dependencies_go_one_way() {
    let mut wrong = Vec::new();
    let sources = sources("runner");
    assert!(sources.len() > 50, "the sources were not found");
    for source in &sources {
        let from = source.module();
        if from == "lib" {
            continue;
        }
        for to in uses(source) {
            // Macros of the toolkit stand at the crate's root.
            if to == from || to.is_empty() || to == "probity" {
                continue;
            }
            if layer(&to) >= layer(&from) {
                wrong.push(format!("{}: {from} uses {to}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_modules_stand_in_the_order_of_the_data_path() {
    let lib = sources("runner").into_iter().find(|source| source.path.ends_with("lib.rs")).unwrap();
    let declared: Vec<String> = lib
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod "))
        .map(|name| name.trim_end_matches(';').to_owned())
        .collect();
    let known: Vec<&str> = LAYERS.iter().flat_map(|layer| layer.iter().copied()).collect();
    let mut sorted = declared.clone();
    sorted.sort_by_key(|name| {
        // The clock is read first, though it stands on the model.
        if name == "clock" { 0 } else { 1 + known.iter().position(|known| known == name).unwrap() }
    });
    assert_eq!(declared, sorted);
}
