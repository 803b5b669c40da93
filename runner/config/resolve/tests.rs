//! Values from elsewhere, as a table of cases: C25, H117, H118, H119.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use super::*;

fn environment(name: &str) -> Option<OsString> {
    let value: &[u8] = match name {
        "TOKEN" => b"hunter2-token",
        "DOLLAR" => b"$HOME and ${HOME} and $$",
        "QUOTES" => b"a \"quoted\" hunter2",
        "EMPTY" => b"",
        "LINES" => b"hunter2\nhunter2",
        "BYTES" => b"hunter2\xff",
        _ => return None,
    };
    Some(OsStr::from_bytes(value).to_owned())
}

/// The tree after the replacement as one line of TOML's debug text, and what was told.
fn resolved(text: &str) -> (Option<serde_json::Value>, String, Document) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "hunter2-file\n").unwrap();
    fs::write(folder.path().join("two"), "hunter2\nhunter2\n").unwrap();
    fs::write(folder.path().join("bytes"), b"hunter2\xff").unwrap();
    fs::write(folder.path().join("empty"), "\n").unwrap();
    fs::write(folder.path().join("large"), "hunter2".repeat(10_000)).unwrap();
    let document = Document::new(Path::new("x.toml"), text.to_owned());
    let mut diagnostics = Diagnostics::default();
    let value = document.parse(&mut diagnostics).and_then(|mut table| {
        document.resolve(&mut table, folder.path(), &environment, &mut diagnostics);
        let value = Spanned::new(table.span(), DeValue::Table(table.into_inner()));
        let mut context =
            super::super::Context { document: &document, diagnostics: &mut diagnostics, tag: None };
        <serde_json::Value as super::super::FromValue>::from_value(&value, &mut context)
    });
    let told = diagnostics.render(false);
    (value, told, document)
}

#[test]
fn values_that_are_found() {
    let cases = [
        (r#"a = { env = "TOKEN" }"#, r#"{"a":"hunter2-token"}"#),
        (r#"a = { env = "NOT_SET", default = "x" }"#, r#"{"a":"x"}"#),
        (r#"a = { env = "TOKEN", default = "x" }"#, r#"{"a":"hunter2-token"}"#),
        (r#"a = { file = "token" }"#, r#"{"a":"hunter2-file"}"#),
        (r#"a = [{ env = "TOKEN" }, 1]"#, r#"{"a":["hunter2-token",1]}"#),
        (r#"labels = { a = { env = "TOKEN" } }"#, r#"{"labels":{"a":"hunter2-token"}}"#),
        (
            "[[x]]\n[x.config]\na = { b = [{ env = \"TOKEN\" }] }",
            r#"{"x":[{"config":{"a":{"b":["hunter2-token"]}}}]}"#,
        ),
        // H117: nothing is done to a "$", wherever it comes from.
        (
            "a = \"$HOME ${HOME} $$\"\nb = { env = \"DOLLAR\" }",
            r#"{"a":"$HOME ${HOME} $$","b":"$HOME and ${HOME} and $$"}"#,
        ),
        (r#"a = { env = "QUOTES" }"#, r#"{"a":"a \"quoted\" hunter2"}"#),
        // What only looks like one.
        (r#"labels = { env = "prod" }"#, r#"{"labels":{"env":"prod"}}"#),
        (r#"config = { file = "x" }"#, r#"{"config":{"file":"x"}}"#),
        (r#"config = { a = { file = "x", mode = "y" } }"#, r#"{"config":{"a":{"file":"x","mode":"y"}}}"#),
        ("[a]\nenv = \"TOKEN\"", r#"{"a":{"env":"TOKEN"}}"#),
        (r#"a = { type = "x", file = "y" }"#, r#"{"a":{"file":"y","type":"x"}}"#),
    ];
    for (text, expected) in cases {
        let (value, told, _) = resolved(text);
        assert_eq!(told, "", "{text}");
        assert_eq!(value.unwrap().to_string(), expected, "{text}");
    }
}

#[test]
fn values_that_cannot_be_had() {
    let cases = [
        // H119, C25
        (r#"a = { env = "NOT_SET" }"#, "P0206", "the environment variable \"NOT_SET\" is not set"),
        (r#"a = { env = "EMPTY" }"#, "P0206", "the environment variable \"EMPTY\" is empty"),
        (r#"a = { env = "EMPTY", default = "hunter2" }"#, "P0206", "\"EMPTY\" is empty"),
        // H118
        (r#"a = { env = "LINES" }"#, "P0206", "the environment variable \"LINES\" holds a line break"),
        (r#"a = { env = "BYTES" }"#, "P0206", "the environment variable \"BYTES\" is not valid UTF-8"),
        (r#"a = { env = "A=B" }"#, "P0206", "cannot be the name of an environment variable"),
        (r#"a = { env = "" }"#, "P0206", "cannot be the name of an environment variable"),
        (r#"a = { file = "none" }"#, "P0206", "the file \"none\" cannot be read: there is no such file"),
        (r#"a = { file = "two" }"#, "P0206", "the file \"two\" holds a line break"),
        (r#"a = { file = "bytes" }"#, "P0206", "the file \"bytes\" is not valid UTF-8"),
        (r#"a = { file = "empty" }"#, "P0206", "the file \"empty\" is empty"),
        (r#"a = { file = "large" }"#, "P0206", "the file \"large\" is larger than 64KiB"),
        (r#"a = { env = "TOKEN", file = "token" }"#, "P0205", "\"env\" and \"file\" exclude each other"),
        (r#"a = { file = "token", default = "hunter2" }"#, "P0205", "a value from a file has no default"),
        (r#"a = { env = "NOT_SET", default = 5 }"#, "P0203", "a string is wanted here"),
        (r#"a = { env = "TOKEN", defalt = "hunter2" }"#, "P0201", "did you mean \"default\"?"),
        (r#"config = { a = { env = "TOKEN", defalt = "hunter2" } }"#, "P0201", "did you mean \"default\"?"),
        (r#"a = { env = "TOKEN", other = "hunter2" }"#, "P0201", "unknown key \"other\""),
    ];
    for (text, code, part) in cases {
        let (value, told, _) = resolved(text);
        assert!(told.contains(code) && told.contains(part), "{text}: {told}");
        assert!(!told.contains("hunter2"), "{text}: {told}");
        assert!(!value.unwrap().to_string().contains("hunter2"), "{text}: it is taken out");
    }
}

#[test]
fn the_document_remembers_what_was_found_where() {
    let (_, _, document) = resolved(
        "a = { env = \"TOKEN\" }\nb = { file = \"token\" }\nc = { env = \"NO\", default = \"plain\" }",
    );
    let inputs = document.inputs();
    assert_eq!(inputs.len(), 1);
    assert!(inputs[0].ends_with("token"));
    assert_eq!(document.secrets().mask("hunter2-token hunter2-file plain"), "<secret> <secret> plain");
    let place = document.place(4..21);
    let mut diagnostics = Diagnostics::default();
    diagnostics.add(Diagnostic::error(Code::BadValue, place, "\"hunter2-token\" is not a word"));
    diagnostics.mask(&document.secrets());
    let told = diagnostics.render(false);
    assert!(
        told.contains("a = { env = \"TOKEN\" }") && told.contains("\"<secret>\" is not a word"),
        "{told}"
    );
}
