//! What a reload keeps, seen from inside: H123, a part that did not change is not made again.

use std::sync::Arc;

use probity::config::Diagnostics;
use probity::pipeline::{Built, PipelineFile, Workshop, build};

fn built(folder: &std::path::Path, workshop: &Workshop, text: &str) -> Built {
    let path = folder.join("shop.toml");
    std::fs::write(&path, text).unwrap();
    let mut diagnostics = Diagnostics::default();
    let file = PipelineFile { name: "shop".into(), path };
    build(&file, workshop, &mut diagnostics).unwrap_or_else(|| panic!("{}", diagnostics.render(false)))
}

#[test]
fn h123_a_check_that_stays_the_same_is_the_same_one() {
    let folder = tempfile::tempdir().unwrap();
    let workshop = Workshop::new().unwrap();
    let text = |url: &str, expect: u16| {
        format!(
            "[[sources]]\ntargets = [\"{url}\"]\n[[checks]]\nplugin = \"status\"\n[[checks]]\nname = \"other\"\n\
             plugin = \"status\"\nconfig = {{ expect = [{expect}] }}\n"
        )
    };
    let first = built(folder.path(), &workshop, &text("http://127.0.0.1:9/a", 200));
    let second = built(folder.path(), &workshop, &text("http://127.0.0.1:9/b", 201));
    assert!(!first.is_same_as(&second));
    let (before, after) = (first.checks.checks(), second.checks.checks());
    assert!(Arc::ptr_eq(&before[0], &after[0]), "with its snapshot and what is known of its faults");
    assert!(!Arc::ptr_eq(&before[1], &after[1]), "another configuration is another check");
    assert!(Arc::ptr_eq(before[1].plugin(), after[1].plugin()), "of the same plugin");
}

#[test]
fn a_file_that_says_the_same_in_other_words_is_the_same_generation() {
    let folder = tempfile::tempdir().unwrap();
    let workshop = Workshop::new().unwrap();
    let text = "default_checks = false\n[[sources]]\ntargets = [\"http://127.0.0.1:9/\"]\n";
    let first = built(folder.path(), &workshop, text);
    let second = built(folder.path(), &workshop, &format!("# a comment\n\n{text}"));
    assert!(first.is_same_as(&second) && first.generation == second.generation);
}
