//! Files that want to hurt: bounded memory, bounded problems, no panic.

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 4] = ["a.csv", "a.json", "a.jsonl", "a.txt"];

#[test]
fn problems_are_capped_and_counted() {
    let loaded = load_file("a.txt", "ftp://x\n".repeat(1_000));
    assert_eq!(loaded.problems.list.len(), MAX_PROBLEMS);
    assert_eq!(loaded.problems.beyond, 1_000 - MAX_PROBLEMS);
    assert_eq!(loaded.problems.count(), 1_000);
}

#[test]
fn an_endless_item_is_cut_off() {
    let huge = "x".repeat(3 << 20);
    let cases = [
        ("a.csv", format!("url\n\"{huge}"), "2: the row is longer than 1 MiB (is a quote left open?)"),
        ("a.json", format!("[\"a.example\",\n\"{huge}"), "2"),
        ("a.jsonl", format!("\"{huge}\"\n\"a.example\"\n"), "1: the line is longer than 1 MiB"),
        ("a.txt", format!("{huge}\na.example\n"), "1: the line is longer than 1 MiB"),
    ];
    for (name, content, expected) in cases {
        let loaded = load_file(name, content);
        let problems = shown(&loaded.problems);
        assert_eq!(problems.len(), 1, "{name}: {problems:?}");
        assert!(problems[0].starts_with(expected), "{name}: {problems:?}");
        assert!(problems[0].contains("longer than 1 MiB"), "{name}: {problems:?}");
        assert_eq!(loaded.targets.len(), usize::from(name != "a.csv"), "{name}");
    }
}

#[test]
fn a_long_line_within_the_bound_is_only_a_bad_url() {
    for name in ["a.txt", "a.csv"] {
        let loaded = load_file(name, format!("url\n{}\nb.example\n", "x".repeat(1_000_000)));
        let problems = shown(&loaded.problems);
        assert_eq!(
            problems,
            ["2: the URL is longer than 8192 bytes"].map(|what| {
                if name == "a.txt" { what.replacen("2:", "2:1:", 1) } else { what.to_owned() }
            }),
            "{name}"
        );
    }
}

#[test]
fn deep_nesting_is_an_error_not_a_crash() {
    for depth in [100, 1_000, 500_000] {
        let arrays = format!("[{}{}]", "[".repeat(depth), "]".repeat(depth));
        let objects = format!("[{}1{}]", "{\"a\":".repeat(depth / 5), "}".repeat(depth / 5));
        for content in [arrays, objects] {
            assert_eq!(load_file("a.json", &content).targets.len(), 0, "{depth}");
            assert!(load_file("a.json", &content).problems.count() > 0, "{depth}");
            let line = content.trim_matches(['[', ']']);
            assert!(load_file("a.jsonl", line).problems.count() > 0, "{depth}");
        }
    }
}

#[test]
fn bytes_that_are_not_text_are_told_by_line() {
    for (name, before, after) in [
        ("a.csv", "url\na.example\n", "\nb.example\n"),
        ("a.txt", "\na.example\n", "\nb.example\n"),
        ("a.jsonl", "\n\"a.example\"\n", "\n\"b.example\"\n"),
    ] {
        let content = [before.as_bytes(), b"\xFF\xFE\xC0", after.as_bytes()].concat();
        let loaded = load_file(name, content);
        let problems = shown(&loaded.problems);
        assert_eq!(problems.len(), 1, "{name}: {problems:?}");
        assert!(
            problems[0].starts_with("3: ") && problems[0].ends_with("is not UTF-8"),
            "{name}: {problems:?}"
        );
        assert_eq!(loaded.targets.len(), 2, "{name}");
    }
    let loaded = load_file("a.json", b"[\"a\xFF\"]");
    assert_eq!(shown(&loaded.problems), ["1:4: this is not JSON: invalid unicode code point"]);
}

#[test]
fn zero_bytes_and_line_ends_in_cells_are_refused() {
    assert_eq!(load_file("a.csv", "url\na.example\0\n").problems.count(), 1);
    assert_eq!(load_file("a.csv", "url\n\"a.example\n/x\"\n").problems.count(), 1);
    assert_eq!(load_file("a.txt", "a.exa\rmple\n").problems.count(), 1);
    assert_eq!(load_file("a.json", r#"["a.example\r\n/x", "b.example\u0000"]"#).problems.count(), 2);
}

#[test]
fn a_file_without_end_is_not_opened() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("zero.txt");
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert!(shown(&load_path(&path).problems)[0].contains("cannot be read: it is not a file ("));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Any bytes in any format: targets or problems, and every target can be probed.
    #[test]
    fn any_bytes_give_targets_or_problems(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        text in "[\"\\[\\]{}:,#a-z0-9.\\n\r\u{feff} /@?]{0,120}",
        name in prop::sample::select(&NAMES[..]),
    ) {
        for content in [bytes, text.clone().into_bytes(), format!("url,name\n{text}").into_bytes()] {
            let loaded = load_file(name, content);
            prop_assert!(!loaded.targets.is_empty() || !loaded.problems.is_empty());
            for target in &loaded.targets {
                let url = ::url::Url::parse(&target.url).unwrap();
                prop_assert!(url.has_host() && matches!(url.scheme(), "http" | "https"));
                prop_assert!(url.username().is_empty() && url.password().is_none());
            }
        }
    }

    /// A URL that was taken is taken again, unchanged, and the HTTP client can send it.
    #[test]
    fn taken_urls_are_stable(text in "(https?://)?[a-z0-9.\\-\\[\\]:@%]{1,20}(/[ -~ü]{0,20})?") {
        if let Ok(url) = crate::source::url::read_url(&text) {
            prop_assert_eq!(crate::source::url::read_url(&url).unwrap(), url.clone());
            prop_assert!(url.parse::<http::Uri>().unwrap().host().is_some());
        }
    }

    /// No text makes a message hold what stands before an `@` or behind a `?`.
    #[test]
    fn printed_urls_hold_no_secret(
        scheme in "(https?://)?",
        user in "[a-z]{0,5}:SECRET[a-z!$&*+,;=%0-9]{0,5}@",
        rest in "[a-z.]{1,9}(:[0-9]{1,5})?(/[a-z]{0,9})?[?#]SECRET",
    ) {
        let printed = printable_url(&format!("{scheme}{user}{rest}"));
        prop_assert!(!printed.contains("SECRET"), "{}", printed);
    }
}
