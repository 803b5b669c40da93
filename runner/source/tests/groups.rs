//! Groups of targets as Prometheus' service discoveries have them, from files and from memory.

use super::*;

fn read(document: &str) -> Loaded {
    read_groups(document.as_bytes(), "http://sd.example/targets?token=s3cret", parse_duration).unwrap()
}

fn refused(document: &str) -> String {
    let problem = read_groups(document.as_bytes(), "http://sd.example/targets?token=s3cret", parse_duration);
    let problem = problem.unwrap_err();
    format!("{}: {}", problem.place, problem.what)
}

#[test]
fn urls_are_made_as_prometheus_makes_them() {
    let cases = [
        (r#""shop.example""#, "{}", "http://shop.example/"),
        (r#""shop.example:8080""#, "{}", "http://shop.example:8080/"),
        (r#""[::1]:8080""#, "{}", "http://[::1]:8080/"),
        (r#""10.0.0.1:80""#, r#"{ "__scheme__": "https" }"#, "https://10.0.0.1:80/"),
        (r#""a.example""#, r#"{ "__metrics_path__": "/metrics" }"#, "http://a.example/metrics"),
        (r#""a.example""#, r#"{ "__metrics_path__": "health" }"#, "http://a.example/health"),
        (
            r#""a.example:1""#,
            r#"{ "__scheme__": "https", "__metrics_path__": "/p", "__param_z": "1", "__param_b": "x y&" }"#,
            "https://a.example:1/p?b=x+y%26&z=1",
        ),
        (r#""a.example/own?x=1""#, r#"{ "__metrics_path__": "/p" }"#, "http://a.example/own?x=1"),
        (
            r#""https://a.example/whole""#,
            r#"{ "__scheme__": "http", "__metrics_path__": "/p", "__param_module": "http_2xx" }"#,
            "https://a.example/whole",
        ),
        (r#""a.example""#, r#"{ "__address__": "other", "__meta_x": "y" }"#, "http://a.example/"),
    ];
    for (target, labels, expected) in cases {
        let loaded = read(&format!(r#"[{{ "targets": [{target}], "labels": {labels} }}]"#));
        assert_eq!(urls(&loaded), [expected], "{target} {labels}");
        assert!(loaded.targets[0].labels.is_empty(), "{labels}");
    }
}

#[test]
fn labels_without_underscores_are_kept() {
    let loaded = read(
        r#"[{ "targets": ["a", "b"], "labels": { "team": "core", "__meta_dc": "x", "_one": "1" } },
            { "labels": null, "targets": ["c"] }, { "targets": [] }, {}, { "targets": null }]"#,
    );
    assert_eq!(urls(&loaded), ["http://a/", "http://b/", "http://c/"]);
    assert_eq!((loaded.targets[0].label("team"), loaded.targets[0].label("_one")), (Some("core"), Some("1")));
    assert!(std::sync::Arc::ptr_eq(&loaded.targets[0].labels, &loaded.targets[1].labels));
    assert!(read("[]").targets.is_empty());
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_the_rest_stays() {
    let loaded = read(
        "[\n{ \"targets\": [\"a\",\n\"b c\", 5, \"ftp://x\"] },\n7,\n{ \"target\": [\"d\"] },\n\
         { \"targets\": \"e\" },\n{ \"targets\": [\"f\"], \"labels\": { \"x\": 1 } },\n[],\n\
         { \"targets\": [\"g\"], \"labels\": [] },\n{ \"targets\": [\"h\"], \"labels\": { \"a-b\": \"1\" } },\n\
         { \"targets\": [\"i\"], \"labels\": { \"__scheme__\": \"ftp\" } },\n{ \"targets\": {} }, { \"targets\": [\"z\"] }]",
    );
    let names: Vec<_> = loaded.targets.iter().map(|target| target.url.as_ref()).collect();
    assert_eq!(names, ["http://a/", "http://z/"]);
    let told: Vec<_> =
        shown(&loaded.problems).iter().map(|told| told.split(" (").next().unwrap().to_owned()).collect();
    assert_eq!(
        told,
        [
            "3:8: a target is a number, not text",
            "3:1: the URL \"http://b c\" holds a space",
            "3:11: scheme \"ftp\" is not supported",
            "4:1: the group is a number",
            "5:1: unknown key \"target\" in the group",
            "6:1: \"targets\" is text, not an array",
            "7:1: label \"x\" is a number, not text",
            "8:1: the group is an array",
            "9:1: \"labels\" is an array, not an object",
            "10:15: \"a-b\" is not a name of a label",
            "11:15: scheme \"ftp\" is not supported",
            "12:1: \"targets\" is an object, not an array",
        ]
    );
}

#[test]
fn a_document_that_cannot_be_read_is_refused_as_a_whole() {
    for (document, expected) in [
        ("", "http://sd.example/targets:1: the document is empty"),
        ("  \n", "http://sd.example/targets:1: the document is empty"),
        ("{}", "http://sd.example/targets:1:2: this is not an array of groups"),
        ("<html>s3cret", "http://sd.example/targets:1:1: this is not JSON: expected value"),
        ("[{ \"targets\": [\"a\"] },", "this is not JSON: EOF while parsing a value"),
        ("[] []", "this is not JSON: trailing characters"),
        (&"[".repeat(1_000), "this is not JSON: EOF while parsing a list"),
    ] {
        let told = refused(document);
        assert!(told.contains(expected), "{told} instead of {expected}");
        assert!(!told.contains("s3cret"), "{told}");
    }
}

fn load_files(folder: &Path, patterns: &[&str]) -> Loaded {
    let files = patterns.iter().map(|pattern| (folder.join(pattern), place(9))).collect();
    load(&[Source::FileSd(FileSdSource { files, place: place(8) })], parse_duration)
}

#[test]
fn files_are_found_by_pattern_and_noted_for_whoever_follows_them() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    for (name, target) in [("b.json", "b"), ("a.json", "a"), (".hidden.json", "h"), ("c.json~", "c")] {
        fs::write(path.join(name), format!(r#"[{{ "targets": ["{target}"] }}]"#)).unwrap();
    }
    fs::write(path.join("one.json"), r#"[{ "targets": ["a", "one"] }]"#).unwrap();
    let loaded = load_files(path, &["[ab]*.json", "one.json", "?.json"]);
    assert_eq!(shown(&loaded.problems).len(), 1, "{:?}", loaded.problems);
    let loaded = load_files(path, &["*.json", "one.json"]);
    assert_eq!(urls(&loaded), ["http://a/", "http://b/", "http://one/"]);
    let noted: Vec<_> = ["", "a.json", "b.json", "one.json", "one.json"].map(|name| path.join(name)).into();
    assert_eq!(loaded.inputs, noted);
}

#[test]
fn a_pattern_may_match_nothing_and_a_file_may_be_empty_of_targets() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.json"), "[]").unwrap();
    let loaded = load_files(folder.path(), &["a.json", "x-*.json"]);
    assert!(urls(&loaded).is_empty());
    let warnings = shown(&loaded.warnings);
    assert!(warnings.len() == 1 && warnings[0].contains("no file matches"), "{warnings:?}");
}

#[test]
fn files_that_cannot_be_read_are_told() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("empty.json"), "").unwrap();
    for (pattern, expected) in [
        ("missing.json", "cannot be read: there is no such file"),
        ("no-folder/*.json", "no-folder\" cannot be read"),
        ("targets.yml", "is YAML, which is not read"),
        ("*.yaml", "is YAML, which is not read"),
        ("targets.txt", "does not end in .json"),
        ("*/a.json", "has a \"*\" before its last part"),
        ("empty.json", "the document is empty"),
    ] {
        let problems = shown(&load_files(folder.path(), &[pattern]).problems);
        assert!(problems.len() == 1 && problems[0].contains(expected), "{pattern}: {problems:?}");
    }
    assert!(shown(&load_files(folder.path(), &[]).problems)[0].contains("no files"));
}
