//! What a file of cases means, and what is wrong with it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::time::Duration;

use super::*;

/// The cases of a text that stands in a folder of its own, beside a page; and all problems.
fn read(text: &str) -> (Option<Cases>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cases.toml");
    fs::write(&path, text).unwrap();
    fs::write(folder.path().join("page.html"), b"<p>\xe9").unwrap();
    let mut diagnostics = Diagnostics::default();
    let cases = Cases::read(&path, &mut diagnostics);
    let problems = diagnostics.render(false).replace(&*folder.path().to_string_lossy(), "");
    (cases, problems)
}

#[test]
fn a_whole_case_reaches_the_observation_as_it_is_written() {
    let (cases, problems) = read(
        r#"
[[cases]]
name = "whole"
config = { currency = "GBP", limits = [1, 2.5, true] }
target = { name = "cart", url = "https://shop.example/cart", method = "POST", labels = { team = "core" } }
started_at = "2026-11-22T10:00:00.5Z"
before = [{ status = 200, body = "one" }, { body = "two" }]
error = "body_incomplete"
response = { status = 200, headers = { Set-Cookie = ["a=1", "b=é"], content-type = "text/html; charset=latin1" }, body_file = "page.html", body_truncated = true, timing = { total = "120ms", first_byte = "80ms" }, facts = { "cert.not-after" = "tomorrow", "moon.phase" = "full" } }
limits = { time = "10ms", memory = "8MiB" }
expect = { status = "fail", message = "m", metrics = { whole = 1, half = 0.5 }, annotations = { x = "y" } }
"#,
    );
    assert_eq!(problems, "");
    let case = cases.unwrap().cases.pop().unwrap();
    assert_eq!((case.name.as_str(), case.place.line()), ("whole", 2));
    assert_eq!(case.config, r#"{"currency":"GBP","limits":[1,2.5,true]}"#);
    assert_eq!(case.limits, Limits { time: Duration::from_millis(10), memory_bytes: 8 << 20 });
    let seen = &case.observed;
    assert_eq!(
        (&*seen.target.name, seen.url(), seen.method()),
        ("cart", "https://shop.example/cart", "POST")
    );
    assert_eq!(seen.target.label("team"), Some("core"));
    assert_eq!(seen.started_at, UnixNanos(1_795_341_600_000_000_000));
    assert_eq!((seen.error(), seen.status()), (Some("body_incomplete"), Some(200)));
    assert_eq!(seen.header_values("set-cookie"), [b"a=1".to_vec(), "b=é".into()]);
    assert_eq!(seen.body_text(), "<p>é");
    assert_eq!(seen.exchange.body_truncated, Some(true));
    let timings = ["dns", "first-byte", "total"].map(|name| seen.timing(name));
    assert_eq!(timings, [None, Some(80_000_000), Some(120_000_000)]);
    assert_eq!(seen.fact("cert.not-after").unwrap(), "tomorrow");
    let names: Vec<_> = seen.facts().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["body.xxh3", "cert.not-after", "content-type", "http.version", "moon.phase"]);
    let before: Vec<_> = case.before.iter().map(|seen| (seen.status(), seen.body_text())).collect();
    assert_eq!(before, [(Some(200), "one".to_owned()), (None, "two".to_owned())]);
    assert_eq!(case.before[0].error(), None, "the failure is the last one's");
    let Expectation::Verdict { status, message, metrics, annotations } = case.expected else {
        unreachable!("a verdict is expected");
    };
    assert_eq!((status, message.as_deref()), (CheckStatus::Fail, Some("m")));
    assert!((metrics.unwrap()["half"] - 0.5).abs() < f64::EPSILON);
    assert_eq!(annotations.unwrap()["x"], "y");
}

#[test]
fn all_but_name_and_expect_may_be_left_out() {
    let (cases, problems) = read("[[cases]]\nname = \"x\"\nexpect = { error = \"e\" }");
    assert_eq!(problems, "");
    let case = cases.unwrap().cases.pop().unwrap();
    let seen = &case.observed;
    assert_eq!((case.config.as_str(), case.limits), ("{}", Limits::default()));
    assert_eq!((&*seen.target.name, seen.method()), ("https://example.test/", "GET"));
    assert_eq!((seen.status(), seen.error(), seen.body_text()), (None, None, String::new()));
    assert_eq!((seen.started_at, seen.facts()), (UnixNanos(0), vec![]));
    assert_eq!(case.expected, Expectation::Error("e".to_owned()));
}

/// What stands in a case beside its name, and a part of what is said against it.
const WRONG: [(&str, &str); 27] = [
    ("expct = {}\nexpect = { error = \"e\" }", "did you mean \"expect\"?"),
    ("", "the key \"expect\" is missing in [[cases]]"),
    ("expect = {}", "exactly one of \"status\", \"error\" and \"config_error\""),
    ("expect = { status = \"pass\", error = \"e\" }", "exactly one of"),
    ("expect = { status = \"pas\" }", "did you mean \"pass\"?"),
    ("expect = { error = \"e\", message = \"m\" }", "\"message\" goes with \"status\" only"),
    ("expect = { status = \"pass\", metrics = { a = \"1\" } }", "a number is wanted here, not a string"),
    ("expect = { status = \"pass\", metrics = { a = nan } }", "not finite"),
    ("error = \"conect_refused\"\nexpect = { error = \"e\" }", "did you mean \"connect_refused\"?"),
    ("error = \"moon\"\nexpect = { error = \"e\" }", "pipelines/REFERENCE.md lists them"),
    ("started_at = \"yesterday\"\nexpect = { error = \"e\" }", "a date since 1970 is wanted here"),
    ("started_at = \"1969-12-31T23:59:59Z\"\nexpect = { error = \"e\" }", "a date since 1970"),
    ("limits = { time = \"11s\" }\nexpect = { error = \"e\" }", "at most 10s"),
    ("limits = { tme = \"1s\" }\nexpect = { error = \"e\" }", "did you mean \"time\"?"),
    ("target = { method = \"G T\" }\nexpect = { error = \"e\" }", "\"G T\" cannot be a method"),
    ("response = { stats = 200 }\nexpect = { error = \"e\" }", "did you mean \"status\"?"),
    ("response = { status = 99 }\nexpect = { error = \"e\" }", "at least 100 and at most 999"),
    ("response = { status = 200, headers = { a = 1 } }\nexpect = { error = \"e\" }", "a string or a list of"),
    (
        "response = { status = 200, headers = { \"a b\" = \"1\" } }\nexpect = { error = \"e\" }",
        "the name of a header",
    ),
    (
        "response = { status = 200, headers = { a = \"1\\n2\" } }\nexpect = { error = \"e\" }",
        "a value of the header",
    ),
    ("response = { headers = { a = \"1\" } }\nexpect = { error = \"e\" }", "has come without a status"),
    (
        "response = { body = \"\", body_file = \"page.html\" }\nexpect = { error = \"e\" }",
        "exclude each other",
    ),
    ("response = { body_file = \"pag.html\" }\nexpect = { error = \"e\" }", "there is no such file"),
    ("response = { body_file = \".\" }\nexpect = { error = \"e\" }", "it is a folder"),
    ("response = { timing = { totl = \"1s\" } }\nexpect = { error = \"e\" }", "did you mean \"total\"?"),
    ("response = { timing = { total = 1 } }\nexpect = { error = \"e\" }", "a duration in double quotes"),
    ("before = [{ body_file = \"pag.html\" }]\nexpect = { error = \"e\" }", "there is no such file"),
];

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (rest, part) in WRONG {
        let (cases, problems) = read(&format!("[[cases]]\nname = \"x\"\n{rest}\n"));
        assert!(cases.is_none(), "{rest}");
        assert!(problems.contains(part) && problems.contains("/cases.toml:"), "{rest}\n{problems}");
        assert_eq!(problems.matches("error[").count(), 1, "{rest}\n{problems}");
    }
}

#[test]
fn all_problems_of_all_cases_are_told_at_once() {
    let cases = WRONG.map(|(rest, _)| format!("[[cases]]\nname = \"x\"\n{rest}\n"));
    let text = cases.concat();
    let (cases, problems) = read(&text);
    assert!(cases.is_none());
    for (_, part) in WRONG {
        assert!(problems.contains(part), "{part}\n{problems}");
    }
    assert_eq!(problems.matches("error[").count(), WRONG.len(), "{problems}");
}

#[test]
fn a_file_without_cases_is_no_file_of_cases() {
    for text in ["", "# nothing yet\n", "cases = []\n"] {
        let (cases, problems) = read(text);
        assert!(cases.is_none() && problems.contains("the shortest case is"), "{text:?}: {problems}");
    }
    let mut diagnostics = Diagnostics::default();
    assert!(Cases::read(Path::new("/no/such/cases.toml"), &mut diagnostics).is_none());
    assert!(diagnostics.render(false).contains("there is no such file"));
}
