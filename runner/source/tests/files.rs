//! The four formats, as people write them and as they get them wrong.

use std::fmt::Write;

use super::*;

#[test]
fn csv_has_columns_in_any_order() {
    let loaded = load_file(
        "a.CSV",
        "\u{feff}name, labels.team ,url,every,labels.region\r\n\
         api,core,https://a.example/,10s,\r\n\
         \r\n\
         \"say \"\"hi\"\", you\",,b.example,,\"eu,west\"\r\n\
         ,,,,\r\n\
         , , c.example , , \r\n",
    );
    assert_eq!(urls(&loaded), ["https://a.example/", "http://b.example/", "http://c.example/"]);
    let [a, b, c] = loaded.targets.as_slice() else { panic!("three targets") };
    assert_eq!(
        (a.name.as_ref(), a.every, a.label("team")),
        ("api", Some(Duration::from_secs(10)), Some("core"))
    );
    assert_eq!(a.label("region"), None, "an empty cell is absent");
    assert_eq!((b.name.as_ref(), b.label("region")), ("say \"hi\", you", Some("eu,west")));
    assert_eq!((c.name.as_ref(), c.labels.len()), ("http://c.example/", 0));
}

#[test]
fn csv_tells_the_line_of_every_problem() {
    let loaded = load_file(
        "a.csv",
        "url,name\n\
         \n\
         ftp://a.example,\n\
         a.example,b,c\n\
         \"b.example\",\"two\nlines\"\n\
         c.example,ok\n\
         a.example:0,\n",
    );
    assert_eq!(
        shown(&loaded.problems),
        [
            "3: scheme \"ftp\" is not supported (write http:// or https://)",
            "4: the row has 3 cells, the header 2 (a cell that holds a comma needs quotes around it)",
            "5: the name holds a control character, such as a line end (remove it)",
            "8: \"a.example:0\" has port 0 (nothing can listen there; leave the port out or name another)",
        ]
    );
    assert_eq!(loaded.targets.len(), 1);
}

#[test]
fn csv_counts_lines_whatever_ends_them() {
    for end in ["\n", "\r\n"] {
        let rows = [
            "url,name",
            "",
            "",
            "ftp://a,",
            "",
            "ok.example,",
            "\"b.example\",\"a\n\nb\"",
            "ftp://c,",
            "",
            "ftp://d,",
        ];
        for last in ["", end] {
            let content = rows.join("\n").replace('\n', end) + last;
            let lines: Vec<_> =
                load_file("a.csv", &content).problems.list.iter().map(|problem| problem.place.line).collect();
            assert_eq!(lines, [4, 7, 10, 12], "{content:?}");
        }
    }
}

#[test]
fn csv_columns_are_checked() {
    let loaded = load_file("a.csv", "url,nmae,labels.0,url,labels.a,labels.a\na.example,,,,,\n");
    assert_eq!(
        shown(&loaded.problems),
        [
            "1: unknown column \"nmae\" (the columns are url, name, every and labels.<name>)",
            "1: \"labels.0\" does not end in a name of a label (use letters, digits and _, and do not begin with a digit)",
            "1: there are two columns \"url\" (remove one)",
            "1: there are two columns \"labels.a\" (remove one)",
        ]
    );
    let unknown = loaded.problems.list[0].unknown.as_ref().unwrap();
    assert_eq!(
        (unknown.word.as_str(), unknown.known),
        ("nmae", ["url", "name", "every", "labels."].as_slice())
    );
}

#[test]
fn csv_needs_a_header() {
    let loaded = load_file("a.csv", "https://a.example/?token=hunter2,api\nhttps://b.example/,b\n");
    let problems = shown(&loaded.problems);
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems[2].starts_with("1: there is no column \"url\" (the first line names the columns"));
    assert!(!problems.concat().contains("hunter2"));
    let loaded = load_file("a.csv", "url;name\na.example;b\n");
    assert!(shown(&loaded.problems)[0].ends_with("(columns are separated by commas)"));
}

#[test]
fn json_takes_texts_and_objects() {
    let loaded = load_file(
        "a.json",
        "\u{feff}[\n  \"a.example\",\n  {\"url\": \"b.example\", \"name\": \"ü\", \"every\": \"5s\",\n   \
         \"labels\": {\"team\": \"core\"}},\n {\"url\": \"c.example\", \"name\": null, \"labels\": null}\n]\n",
    );
    assert_eq!(urls(&loaded), ["http://a.example/", "http://b.example/", "http://c.example/"]);
    let b = &loaded.targets[1];
    assert_eq!(
        (b.name.as_ref(), b.every, b.label("team")),
        ("ü", Some(Duration::from_secs(5)), Some("core"))
    );
}

#[test]
fn json_tells_line_and_column_of_every_item() {
    let loaded = load_file(
        "a.json",
        "[ \"ü\", \"ftp://a\",\n\t7, [[\"a\"]],\n {\"urk\": \"x\", \"every\": 5, \"labels\": {\"a\": 1}},\n  \
         {\"url\": \"a\", \"url\": \"b\"}, null,\n\n{\"url\": true, \"labels\": []}, \"ok.example\"]",
    );
    let item = "(an item is \"https://...\" or { \"url\": \"https://...\", \"name\": \"...\" })";
    assert_eq!(
        shown(&loaded.problems),
        [
            "1:8: scheme \"ftp\" is not supported (write http:// or https://)".to_owned(),
            format!("2:2: the item is a number {item}"),
            format!("2:5: the item is an array {item}"),
            "3:2: unknown key \"urk\" (the keys are url, name, every and labels)".to_owned(),
            "3:2: \"every\" is a number, not text (write it with its unit, \"30s\")".to_owned(),
            "3:2: label \"a\" is a number, not text (put quotes around it)".to_owned(),
            format!("3:2: the item has no \"url\" {item}"),
            "4:3: key \"url\" is given twice (remove one)".to_owned(),
            format!("4:29: the item is null {item}"),
            "6:1: \"url\" is true or false, not text".to_owned(),
            "6:1: \"labels\" is an array, not an object (write { \"team\": \"core\" })".to_owned(),
        ]
    );
    assert_eq!(loaded.problems.list[3].unknown.as_ref().unwrap().word, "urk");
    assert_eq!(loaded.targets.len(), 2);
}

#[test]
fn broken_json_tells_where() {
    let cases = [
        ("[\"a.example\",\n  oops]", "2:3: this is not JSON: expected value"),
        ("[\"a.example\"", "1:12: this is not JSON: EOF while parsing a list"),
        ("[\"a.example\"] x", "1:15: this is not JSON: trailing characters"),
        (
            "\"hunter2\"",
            "1:9: this is not an array of targets (put [ ] around the items; one item a line is .jsonl)",
        ),
    ];
    for (content, problem) in cases {
        assert_eq!(shown(&load_file("a.json", content).problems), [problem], "{content}");
    }
    for content in ["{\"targets\": [\"hunter2\"]}", "7", "null", "true", "[NaN]", "[\"a\x01\"]"] {
        let problems = shown(&load_file("a.json", content).problems);
        assert!(problems.len() == 1 && !problems[0].contains("hunter2"), "{content}: {problems:?}");
    }
}

#[test]
fn json_lines_go_on_after_a_broken_line() {
    let loaded = load_file(
        "a.jsonl",
        "\"a.example\"\r\n\n{\"url\": \"b.example\", \"name\": \"b\"}\n{oops}\n  7\n\"ftp://x\"\n\"c.example\" 1",
    );
    let problems = shown(&loaded.problems);
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert_eq!(problems[0], "4:2: this is not JSON: key must be a string");
    assert!(problems[1].starts_with("5:3: the item is a number"));
    assert!(problems[2].starts_with("6:1: scheme"));
    assert_eq!(problems[3], "7:13: this is not JSON: trailing characters");
    assert_eq!(loaded.targets.len(), 2);
    assert_eq!(load_file("a.ndjson", "\"a.example\"").targets.len(), 1);
}

#[test]
fn text_has_comments() {
    let loaded = load_file(
        "a.txt",
        "\u{feff}# the shop\n\nhttps://a.example/#part\r\n\t b.example # ours\n  # no\nc.example\t# x",
    );
    assert_eq!(urls(&loaded), ["https://a.example/", "http://b.example/", "http://c.example/"]);
    let loaded = load_file("a.txt", "a.example\n   ftp://b\na.example b.example\n");
    assert_eq!(
        shown(&loaded.problems),
        [
            "2:4: scheme \"ftp\" is not supported (write http:// or https://)",
            "3:1: the URL \"a.example b.example\" holds a space (write it as %20, or remove it)",
        ]
    );
}

#[test]
fn a_file_without_targets_is_a_problem() {
    let cases = [
        ("a.csv", ""),
        ("a.csv", "\u{feff}"),
        ("a.csv", "url,name\n"),
        ("a.csv", "url,name\n,\n"),
        ("a.json", ""),
        ("a.json", " \n\n"),
        ("a.json", "\u{feff}"),
        ("a.json", "[]"),
        ("a.jsonl", ""),
        ("a.jsonl", "\n \n"),
        ("a.txt", ""),
        ("a.txt", "# none\n"),
    ];
    for (name, content) in cases {
        let problems = shown(&load_file(name, content).problems);
        assert_eq!(problems.len(), 1, "{name} {content:?}: {problems:?}");
        assert!(problems[0].starts_with("1: no targets"), "{name} {content:?}: {problems:?}");
    }
}

#[test]
fn what_is_not_a_readable_file_is_told_where_it_is_named() {
    let folder = TempDir::new().unwrap();
    let told = |name: &str| shown(&load_path(&folder.path().join(name)).problems);
    fs::create_dir(folder.path().join("folder.csv")).unwrap();
    assert!(told("none.csv")[0].starts_with("7:3: the file \""));
    assert!(told("none.csv")[0].contains("cannot be read: there is no such file ("));
    assert!(told("folder.csv")[0].contains("cannot be read: it is a folder ("));
    assert!(told("a.yaml")[0].ends_with("(targets are read from .csv, .json, .jsonl and .txt files)"));
    assert!(told("a")[0].contains("does not say what is in it"));
}

#[test]
fn samples_are_read_as_written() {
    for sample in [LIST_SAMPLE, FILE_SAMPLE] {
        let table: toml::Table = sample.parse().unwrap();
        let source = table["sources"][0].as_table().unwrap();
        match source["type"].as_str().unwrap() {
            "list" => assert_eq!(source["targets"].as_array().unwrap().len(), 2),
            "file" => assert_eq!(source["path"].as_str().unwrap(), "targets/shop.csv"),
            other => panic!("{other}"),
        }
    }
}

/// Prints what a CSV of a million lines costs. Run it alone and optimised.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stderr, reason = "a measurement")]
fn measure_a_million_lines() {
    let mut text = String::from("url,name,every,labels.team,labels.region\n");
    for number in 0..1_000_000 {
        let name = if number % 2 == 0 { String::new() } else { format!("shop {number}") };
        let team = number % 50;
        writeln!(text, "https://shop-{number}.example/health?id={number},{name},30s,team-{team},eu").unwrap();
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.csv");
    fs::write(&path, &text).unwrap();
    drop(text);
    let resident_mib = || {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let of = |key: &str| status.lines().find(|line| line.starts_with(key)).map(str::to_owned);
        (of("VmRSS"), of("VmHWM"))
    };
    eprintln!("before: {:?}", resident_mib());
    let clock = crate::clock::Clock::system();
    let begin = clock.now();
    let loaded = load_path(&path);
    eprintln!("{} targets in {:?}: {:?}", loaded.targets.len(), clock.now() - begin, resident_mib());
    assert_eq!(urls(&loaded).len(), 1_000_000);
}
