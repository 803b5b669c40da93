//! What was released of the contract never changes: `tests/compat/wit/` has a file a version, and the
//! contract of today is held against each. `wit/README.md` has the rules in words.
//!
//! A release that raises the version: `PROBITY_BLESS=1 cargo test --test inside contract_lock` adds the
//! file of the new one. It never writes an old one.

use std::fs;
use std::path::PathBuf;

use crate::contract_shape::{Shape, Version};
use crate::tree::root;

fn folder() -> PathBuf {
    root().join("tests/compat/wit")
}

/// Every version that was released, oldest first.
fn released() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let numbers: Vec<u64> = stem.split('.').map(|number| number.parse().expect("a version")).collect();
        let version: Version = (numbers[0], numbers[1], numbers[2]);
        shapes.push(Shape::parse(version, &fs::read_to_string(&path).unwrap()));
    }
    shapes.sort_by_key(|shape| shape.version);
    shapes
}

/// The packages of `wit/`: one for each major version that the runner speaks.
fn spoken() -> Vec<Shape> {
    let texts =
        crate::tree::files(&root().join("wit"), &|path| path.extension().is_some_and(|end| end == "wit"));
    texts.iter().map(|path| Shape::of(&fs::read_to_string(path).unwrap()).unwrap()).collect()
}

/// Before 1.0 the middle number is the major one.
fn major(version: Version) -> Version {
    if version.0 == 0 { (0, version.1, 0) } else { (version.0, 0, 0) }
}

#[test]
fn what_was_released_never_changes() {
    let spoken = spoken();
    let released = released();
    assert!(!released.is_empty());
    for old in &released {
        let now = spoken.iter().find(|now| major(now.version) == major(old.version));
        let now = now.unwrap_or_else(|| panic!("wit/ has nothing for {}", old.version_text()));
        let broken = old.broken_by(now);
        assert!(
            broken.is_empty(),
            "plugins built for {} of the contract would break; wit/README.md has the rules\n{}",
            old.version_text(),
            broken.join("\n")
        );
    }
}

#[test]
fn every_version_is_in_the_lock() {
    for now in spoken() {
        let file = folder().join(format!("{}.txt", now.version_text()));
        if !file.is_file() && std::env::var_os("PROBITY_BLESS").is_some() {
            fs::write(&file, now.text()).unwrap();
        }
        assert!(
            file.is_file(),
            "{} is missing; add it: PROBITY_BLESS=1 cargo test --test inside contract_lock",
            file.display()
        );
    }
}

/// A change of `wit/check.wit`: what it is, a text and what it becomes, and what breaks by it as
/// another version, nothing where that is allowed.
type Change = (&'static str, &'static str, &'static str, &'static str, &'static str);

const CHANGES: &[Change] = &[
    ("0.1.0", "nothing", "", "", ""),
    ("0.1.0", "a comment", "/// The check itself.", "/// A check.\n/// Documented anew.", ""),
    ("0.1.1", "only the version", "", "", ""),
    ("0.1.1", "a method", "    url: func() -> string;", "    url: func() -> string; age: func() -> u64;", ""),
    (
        "0.1.1",
        "a function",
        "  delete: func(key: string);",
        "  delete: func(key: string); keys: func() -> list<string>;",
        "",
    ),
    (
        "0.1.1",
        "a function with a type of its own",
        "  log: func(",
        "  record span { begin: u64, end: u64 } mark: func(span: span);\n  log: func(",
        "",
    ),
    (
        "0.1.1",
        "an interface to import",
        "interface manifest {",
        "interface dns { names: func() -> list<string>; }\ninterface manifest {",
        "",
    ),
    (
        "0.1.1",
        "an import of the world",
        "  import state;",
        "  import state; import dns: interface { names: func() -> list<string>; }",
        "\"dns\" is no named interface",
    ),
    (
        "0.1.0",
        "a method without a version",
        "    url: func() -> string;",
        "    url: func() -> string; age: func() -> u64;",
        "\"observation.[method]observation.age\" is new, which needs a higher version",
    ),
    ("0.0.9", "an older version", "", "", "version 0.0.9 is older than 0.1.0"),
    (
        "0.1.1",
        "a method that is gone",
        "    url: func() -> string;",
        "",
        "\"observation.[method]observation.url\" is gone",
    ),
    (
        "0.1.1",
        "a method of another name",
        "    url: func()",
        "    uri: func()",
        "\"observation.[method]observation.url\" is gone",
    ),
    (
        "0.1.1",
        "another result",
        "status: func() -> option<u16>",
        "status: func() -> u16",
        "-> option<u16>\" and is",
    ),
    (
        "0.1.1",
        "another parameter",
        "timing: func(name: string)",
        "timing: func(name: string, hop: u32)",
        "hop: u32",
    ),
    (
        "0.1.1",
        "a parameter of another name",
        "set: func(key: string,",
        "set: func(name: string,",
        "name: string, value: list<u8>",
    ),
    (
        "0.1.1",
        "a case more",
        "{ pass, warn, fail }",
        "{ pass, warn, fail, skip }",
        "\"enum { pass, warn, fail }\" and is",
    ),
    (
        "0.1.1",
        "cases in another order",
        "{ debug, info, warn, error }",
        "{ error, warn, info, debug }",
        "report.level",
    ),
    ("0.1.1", "a field more", "message: string }", "message: string, code: u32 }", "code: u32 }"),
    (
        "0.1.1",
        "a list that is an option",
        "headers: func() -> list<tuple<string, list<u8>>>",
        "headers: func() -> option<list<u8>>",
        "is \"func(self: borrow<observation.observation>) -> option<list<u8>>\"",
    ),
    (
        "0.1.1",
        "a function that plugins must have",
        "  describe: func()",
        "  forget: func();\n  describe: func()",
        "\"manifest.forget\" is new: plugins built before it lack it",
    ),
    (
        "0.1.1",
        "an export that plugins must have",
        "  export checker;",
        "  export checker;\n  export report;",
        "\"world check: export report\" is new: plugins built before it lack it",
    ),
    ("0.1.1", "an export less", "  export manifest;", "", "\"world check: export manifest\" is gone"),
    ("0.1.1", "an import less", "  import state;", "", "\"world check: import state\" is gone"),
    ("0.1.1", "an interface that is gone", "  import report;", "", "\"world check: import report\" is gone"),
];

#[test]
fn the_lock_tells_what_breaks_from_what_does_not() {
    let text = fs::read_to_string(root().join("wit/check.wit")).unwrap().replace("@0.1.0", "@VERSION");
    let old = Shape::of(&text.replace("@VERSION", "@0.1.0")).unwrap();
    for (version, what, from, to, breaks) in CHANGES {
        assert!(text.contains(from), "{what}: wit/check.wit has no {from:?}");
        let changed = text.replacen(from, to, 1).replace("@VERSION", &format!("@{version}"));
        let broken = match Shape::of(&changed) {
            Ok(new) => old.broken_by(&new).join("\n"),
            Err(reason) => reason,
        };
        assert_eq!(broken.is_empty(), breaks.is_empty(), "{what}: {broken:?}");
        assert!(broken.contains(breaks), "{what}: {broken:?} should have {breaks:?}");
    }
}

#[test]
fn the_lock_is_read_as_it_was_written() {
    for shape in spoken() {
        assert_eq!(Shape::parse(shape.version, &shape.text()), shape);
    }
}
