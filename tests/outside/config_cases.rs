//! Wrong configurations by the cases that ask for them, as data: `tests/golden/config-cases.toml`. And what is
//! too large to be written down there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::support::{LONG, Project, Running};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    name: String,
    files: BTreeMap<String, String>,
    #[serde(default)]
    arguments: Vec<String>,
    codes: BTreeSet<String>,
    parts: Vec<String>,
}

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

/// What `validate --format json` says.
fn problems(project: &Project, arguments: &[String]) -> (Vec<serde_json::Value>, serde_json::Value, i32) {
    let fixed = ["validate".to_owned(), "--format".to_owned(), "json".to_owned()];
    let arguments: Vec<_> = fixed.iter().chain(arguments).map(String::as_str).collect();
    let finished = project.run_plain(&arguments);
    assert_eq!(finished.stderr, "");
    let mut lines: Vec<_> = finished.json_lines().into_iter().map(serde_json::Value::from).collect();
    let last = lines.pop().unwrap();
    (lines, last, finished.status.code().unwrap())
}

#[test]
fn c17_c18_h113_h114_h115_h119_wrong_configurations_are_told() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/config-cases.toml");
    let cases: Cases = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for case in cases.cases {
        let what = format!("{}: {}", case.id, case.name);
        let project = Project::new();
        for (file, text) in &case.files {
            project.write(file, text);
        }
        let (problems, last, code) = problems(&project, &case.arguments);
        assert_eq!(code, 78, "{what}: {problems:?}");
        let told: BTreeSet<_> =
            problems.iter().map(|problem| problem["code"].as_str().unwrap().to_owned()).collect();
        assert_eq!(told, case.codes, "{what}: {problems:#?}");
        assert_eq!(last["errors"], problems.len(), "{what}");
        let mut arguments = vec!["validate"];
        arguments.extend(case.arguments.iter().map(String::as_str));
        let text = project.run_plain(&arguments).stderr;
        for part in &case.parts {
            assert!(text.contains(part), "{what}: {part}\n{text}");
        }
    }
}

#[test]
fn problems_as_json_have_every_field() {
    let project = Project::with_pipeline("[[sources]]\ntargets = [\"https://a.example/é\", \"htp://b\"]\n");
    project.write("pipelines/two.toml", "[[sources]]\ntargets = [\"https://a.example\"]\n[[checks]]\nplugin = \"latency\"\nconfig.max = \"1s\"\n[[checks]]\nplugin = \"latency\"\nconfig.max = \"1s\"\n");
    let (problems, last, _) = problems(&project, &[]);
    let keys =
        ["code", "column", "detail", "end_column", "file", "hint", "level", "line", "message", "others"];
    for problem in &problems {
        let mut found: Vec<_> = problem.as_object().unwrap().keys().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found, keys);
    }
    let target = &problems[0];
    assert_eq!(
        (&target["line"], &target["column"], &target["end_column"]),
        (&2.into(), &35.into(), &44.into())
    );
    assert_eq!(target["level"], "error");
    let twice = &problems[1];
    assert_eq!(
        (&twice["others"][0]["line"], &twice["others"][0]["message"]),
        (&4.into(), &"the first one is here".into())
    );
    assert_eq!(
        (&last["errors"], &last["warnings"], &last["pipelines"]),
        (&2.into(), &0.into(), &serde_json::json!([]))
    );
}

/// C13, C14: a clean error in bounded time, whatever the file is.
#[test]
fn c13_c14_deep_and_huge_files_are_refused_in_time() {
    let deep = |open: &str, close: &str| format!("a = {}1{}\n", open.repeat(20_000), close.repeat(20_000));
    let mut twice = String::new();
    let mut many = String::new();
    for number in 0..60_000 {
        twice.push_str("[schedule]\n");
        let _ = writeln!(many, "[k{number}]");
    }
    let cases = [
        ("nested lists", deep("[", "]"), "P0105"),
        ("nested tables", deep("{a=", "}"), "P0105"),
        ("dotted keys", format!("a{} = 1\n", ".a".repeat(100_000)), "P0105"),
        ("a huge key", format!("{} = 1\n", "k".repeat(900_000)), "P0201"),
        ("one table, again and again", twice, "P0105"),
        ("many unknown tables", many, "P0201"),
        ("more than 1 MiB", "#".repeat(2 << 20), "P0102"),
    ];
    for (name, text, code) in cases {
        let project = Project::with_pipeline(&text);
        let finished = Running::start(project.command(&["validate"])).wait(LONG).expect_code(78);
        let told = &finished.stderr;
        assert!(told.contains(&format!("error[{code}]")), "{name}: {}", &told[..told.len().min(500)]);
        assert!(finished.took < Duration::from_secs(45), "{name}: {:?}", finished.took);
    }
}
