//! One item: URL, name, interval, labels.

use super::*;
use crate::source::url::read_url;

fn accepted(text: &str) -> String {
    read_url(text).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"))
}

fn refused(text: &str) -> String {
    match read_url(text) {
        Ok(url) => panic!("{text:?} was taken as {url}"),
        Err(refusal) => refusal.what,
    }
}

#[test]
fn urls_are_taken_as_people_write_them() {
    let cases = [
        ("example.com", "http://example.com/"),
        ("HTTP://Example.COM", "http://example.com/"),
        ("HtTpS://example.com/A?b=c", "https://example.com/A?b=c"),
        ("  https://example.com/ ", "https://example.com/"),
        ("localhost:8080/x", "http://localhost:8080/x"),
        ("example.com/a:b", "http://example.com/a:b"),
        ("127.0.0.1:81", "http://127.0.0.1:81/"),
        ("[::1]:8080/x", "http://[::1]:8080/x"),
        ("http://example.com:80/", "http://example.com/"),
        ("https://example.com:8443", "https://example.com:8443/"),
        ("https://example.com/#part", "https://example.com/"),
        ("https://example.com/@you?q=a@b", "https://example.com/@you?q=a@b"),
        ("https://example.com./", "https://example.com./"),
        ("https://_dmarc.example.com/", "https://_dmarc.example.com/"),
        ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
        ("https://例え.テスト/", "https://xn--r8jz45g.xn--zckzah/"),
        ("https://example.com/%20a?q=%00", "https://example.com/%20a?q=%00"),
        ("http://2130706433/", "http://127.0.0.1/"),
        ("https://example.com/a|b^c?d={e}", "https://example.com/a|b^c?d={e}"),
    ];
    for (text, url) in cases {
        assert_eq!(accepted(text), url, "{text}");
    }
}

#[test]
fn urls_that_can_not_be_probed_are_refused_with_the_reason() {
    let cases = [
        ("", "the URL is empty"),
        ("   ", "the URL is empty"),
        ("invalid://example.com", "scheme \"invalid\" is not supported"),
        ("ftp://example.com", "scheme \"ftp\" is not supported"),
        ("mailto:you", "\"mailto:...\" is not an http or https URL"),
        ("http://", "\"http://\" names no host"),
        ("http:///x", "\"http:///x\" names no host"),
        ("http:////x", "\"http:////x\" names no host"),
        ("http:example.com", "\"http:...\" names no host"),
        ("http:/example.com", "\"http:/example.com\" names no host"),
        ("//example.com", "\"//example.com\" names no host"),
        ("/path", "\"/path\" names no host"),
        ("http://?q", "\"http://\" names no host"),
        ("http://:80/", "\"http://:80/\" names no host"),
        ("https://example.com:0/", "\"https://example.com:0/\" has port 0"),
        ("https://example.com:65536/", "\"https://example.com:65536/\" is not a URL: invalid port number"),
        ("https://example.com:x/", "\"https://example.com:...\" is not a URL: invalid port number"),
        (
            "https://exa%00mple.com/",
            "\"https://exa%00mple.com/\" is not a URL: invalid international domain name",
        ),
        ("http://a..b/", "the host of \"http://a..b/\" has an empty label"),
        ("http://.a/", "the host of \"http://.a/\" has an empty label"),
        ("http://./", "the host of \"http://./\" has an empty label"),
        ("http://a../", "the host of \"http://a../\" has an empty label"),
        ("https://example.com/a b", "the URL \"https://example.com/a b\" holds a space"),
        ("http://example.com\\@evil.example", "the URL \"http://evil.example\" holds a backslash"),
        (
            "https://example.com/\r\nx",
            "the URL \"https://example.com/\u{fffd}\u{fffd}x\" holds a control character, such as a line end",
        ),
        (
            "https://example.com/\0",
            "the URL \"https://example.com/\u{fffd}\" holds a control character, such as a line end",
        ),
    ];
    for (text, what) in cases {
        assert_eq!(refused(text), what, "{text:?}");
    }
}

#[test]
fn hosts_keep_within_the_bounds_of_dns() {
    let label = |octets| "a".repeat(octets);
    accepted(&format!("http://{}.example/", label(63)));
    assert!(refused(&format!("http://{}.example/", label(64))).contains("a label of 64 octets"));
    let host = [label(63), label(63), label(63), label(61)].join(".");
    assert_eq!(host.len(), 253);
    accepted(&format!("http://{host}/"));
    accepted(&format!("http://{host}./"));
    assert!(refused(&format!("http://{host}a/")).contains("254 octets"));
    accepted(&format!("http://example/{}", label(8_000)));
    assert_eq!(refused(&format!("http://example/{}", label(8_192))), "the URL is longer than 8192 bytes");
}

#[test]
fn user_information_is_refused_and_never_shown() {
    let secrets = [
        "https://user:hunter2@example.com/",
        "https://hunter2@example.com/",
        "https://:hunter2@example.com/",
        "user:hunter2@example.com",
        "https://user:hun/hunter2@example.com/",
        "https://user:hun?hunter2@example.com/",
        "https://user:hun#hunter2@example.com/",
        "https://user:p@hunter2@example.com/",
        "https://example.com:0/?token=hunter2",
        "ftp://user:hunter2@example.com/",
        "https://user:hunter2 @example.com/",
        "https:user:hunter2@example.com/",
    ];
    for text in secrets {
        let what = refused(text);
        assert!(!what.contains("hunter2"), "{text}: {what}");
    }
    assert_eq!(
        refused("https://user:hunter2@example.com/"),
        "\"https://example.com/\" holds a user name or a password"
    );
    assert_eq!(printable_url("https://user:pw@example.com:8443/a?b#c"), "https://example.com:8443/a");
    assert_eq!(printable_url("https://[::1]/a"), "https://[::1]/a");
    assert_eq!(printable_url(&"a".repeat(200)), format!("{}...", "a".repeat(120)));
}

#[test]
fn all_problems_of_an_item_come_at_once() {
    let labels = [("0team", "a"), ("team", "a"), ("team", "b"), ("x", "a\nb")];
    let loaded = load_list([TargetText {
        name: Some("a\tb".to_owned()),
        every: Some("10ms".to_owned()),
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        ..item("ftp://example.com")
    }]);
    assert_eq!(
        shown(&loaded.problems),
        [
            "1:3: scheme \"ftp\" is not supported (write http:// or https://)",
            "1:3: the name holds a control character, such as a line end (remove it)",
            "1:3: \"every\" is shorter than 100ms (the shortest interval is 100ms)",
            "1:3: \"0team\" is not a name of a label (use letters, digits and _, and do not begin with a digit)",
            "1:3: label \"team\" is given twice (remove one)",
            "1:3: label \"x\" holds a control character (remove it)",
        ]
    );
    assert!(loaded.targets.is_empty());
}

#[test]
fn intervals_have_bounds() {
    let with = |every: &str| TargetText { every: Some(every.to_owned()), ..item("example.com") };
    for every in ["100ms", "1s", "31622400s", " 5s "] {
        assert_eq!(load_list([with(every)]).problems.count(), 0, "{every}");
    }
    for every in ["0s", "99ms", "31622401s", "nan", "inf", "-1s", "1e308s", "", "10"] {
        assert_eq!(load_list([with(every)]).problems.count(), 1, "{every}");
    }
}

#[test]
fn names_have_bounds() {
    let with = |name: &str| TargetText { name: Some(name.to_owned()), ..item("example.com") };
    assert_eq!(load_list([with(" the shop ")]).targets[0].name.as_ref(), "the shop");
    assert_eq!(load_list([with(&"ü".repeat(256))]).problems.count(), 0);
    for name in ["", " ", "a\nb", "\u{7f}", &"ü".repeat(257)] {
        assert_eq!(load_list([with(name)]).problems.count(), 1, "{name:?}");
    }
}

#[test]
fn an_empty_list_is_a_problem() {
    let loaded = load_list([]);
    assert!(shown(&loaded.problems)[0].starts_with("1:3: no targets"));
}
