//! Secrets do not get into a record, and what is no secret stays as it was.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;

const RESPONSE_TOKEN: &str = "0123456789abcdef-token";

fn rules(sent: &[(&str, &str)], body: Option<&str>) -> RecordRules {
    RecordRules::new(64, vec![HeaderName::from_static("x-shop-user")], sent.iter().copied(), body)
}

fn masking(rules: &RecordRules) -> Masking {
    Masking { secrets: rules.sent.clone(), parts: BTreeSet::new() }
}

#[test]
fn headers_keep_what_is_no_secret() {
    let rules = rules(&[("authorization", "Bearer hunter2hunter2")], None);
    let cases = [
        ("content-type", "text/html", "text/html"),
        ("set-cookie", "sid=abc; Path=/; Secure; HttpOnly", "sid=[masked]; Path=/; Secure; HttpOnly"),
        ("set-cookie", "sid=; Max-Age=0", "sid=; Max-Age=0"),
        ("set-cookie", "abc", "[masked]"),
        ("www-authenticate", "Negotiate YWJj", "Negotiate [masked]"),
        ("www-authenticate", "Negotiate", "Negotiate"),
        ("proxy-authenticate", "Digest nonce=\"1\"", "Digest [masked]"),
        ("X-API-Key", "abc", "[masked]"),
        ("x-csrf-token", "abc", "[masked]"),
        ("x-session-id", "abc", "[masked]"),
        ("authentication-info", "nextnonce=\"1\"", "[masked]"),
        ("x-shop-user", "anna", "[masked]"),
        ("x-shop-user", "", ""),
        ("location", "https://user:pass@shop.example/a@b", "https://shop.example/a@b"),
        ("link", "<http://a@b/>; rel=x, <http://c/>", "<http://b/>; rel=x, <http://c/>"),
        ("x-echo", "it was hunter2hunter2!", "it was [masked]!"),
        ("location", "https://u:p@x/?t=hunter2hunter2", "https://x/?t=[masked]"),
        ("content-security-policy", "default-src https://cdn.example", "default-src https://cdn.example"),
        ("etag", "\"abc\"", "\"abc\""),
    ];
    for (name, value, expected) in cases {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        let mut headers = HeaderMap::new();
        headers.append(&name, value.parse().unwrap());
        let mut masking = masking(&rules);
        let shown = rules.headers(&headers, &mut masking);
        assert_eq!(shown[&name], expected, "{name}: {value}");
        assert_eq!(masking.parts.contains(name.as_str()), value != expected, "{name}: {value}");
    }
}

#[test]
fn what_the_request_sent_is_found_in_the_forms_of_an_echo() {
    let basic = format!("Basic {}", STANDARD.encode("anna:top secret"));
    let rules = rules(
        &[
            ("Authorization", &basic),
            ("Cookie", "sid=cookie-one; lang=\"cookie-two\"; ok=true"),
            ("X-Trace", "trace-\"quoted\""),
            ("x-env", "prod"),
            ("accept", "application/json"),
            ("x-key-token", "k3y!k3"),
        ],
        Some("user=anna&password=form-secret"),
    );
    let cases = [
        (basic.as_str(), "[masked]"),
        (&basic[6..], "[masked]"),
        ("the password is top secret.", "the password is [masked]."),
        ("?p=top%20secret&q=top+secret", "?p=[masked]&q=[masked]"),
        ("cookie-one and cookie-two", "[masked] and [masked]"),
        ("{\"x\":\"trace-\\\"quoted\\\"\"}", "{\"x\":\"[masked]\"}"),
        ("user=anna&password=form-secret", "[masked]"),
        ("k3y!k3k3y!k3", "[masked][masked]"),
        // A message shows the begin of a value only.
        ("\"Basic YW5uYT…\"", "\"[masked]…\""),
    ];
    for (text, expected) in cases {
        let masked =
            rules.sent.masked(text.as_bytes(), true).unwrap_or_else(|| panic!("{text} is as it was"));
        assert_eq!(String::from_utf8(masked).unwrap(), expected, "{text}");
    }
    for plain in ["prod", "application/json", "anna", "true", ""] {
        assert_eq!(rules.sent.masked(plain.as_bytes(), true), None, "{plain}");
    }
}

#[test]
fn what_a_response_hides_in_a_header_is_hidden_elsewhere_too() {
    let rules = rules(&[], None);
    let mut headers = HeaderMap::new();
    headers.append("x-csrf-token", RESPONSE_TOKEN.parse().unwrap());
    headers.append("set-cookie", "lang=german".parse().unwrap());
    headers.append("x-copy", RESPONSE_TOKEN.parse().unwrap());
    let mut masking = masking(&rules);
    let shown = rules.headers(&headers, &mut masking);
    assert_eq!(shown["x-copy"], "[masked]");
    let page = format!("<input value=\"{RESPONSE_TOKEN}\"> german");
    let page = masking.secrets.masked(page.as_bytes(), true).unwrap();
    assert_eq!(String::from_utf8(page).unwrap(), "<input value=\"[masked]\"> german");
    let message =
        masking.line(b"set-cookie is \"lang=german\", token \"0123456789abcd\xe2\x80\xa6\"").unwrap();
    assert_eq!(String::from_utf8(message).unwrap(), "set-cookie is \"lang=[masked]\", token \"[masked]…\"");
}

#[test]
fn secrets_are_not_printed() {
    let printed = format!("{:?}", rules(&[("x-api-key", "hunter2")], None));
    assert!(!printed.contains("hunter2"), "{printed}");
}

#[test]
fn a_body_is_cut_at_a_character_where_it_is_text() {
    let cases: [(&[u8], usize, &[u8]); 5] = [
        (b"abc", 3, b"abc"),
        (b"abcd", 3, b"abc"),
        ("aé".as_bytes(), 2, b"a"),
        (b"\xff\xff\xff", 2, b"\xff\xff"),
        (b"abc", 0, b""),
    ];
    for (body, most, expected) in cases {
        let found = cut(&Bytes::copy_from_slice(body), most);
        assert_eq!(found.is_some(), body != expected, "{body:?} {most}");
        assert_eq!(found.as_deref().unwrap_or(body), expected, "{body:?} {most}");
    }
}

#[test]
fn a_secret_at_the_cut_is_masked_whole() {
    let secret = "0123456789-secret-of-the-request";
    let rules = rules(&[("x-value", secret)], None);
    for before in 0..200 {
        let text = format!("{}{secret}{}{secret}", ".".repeat(before), ",".repeat(before));
        for most in [0, 1, 10, 40, 100, 1_000] {
            let body = Bytes::from(text.clone());
            let (kept, _, is_cut) = rules.sent.body(&body, most);
            assert!(kept.len() <= most);
            let shown = String::from_utf8(kept.to_vec()).unwrap();
            let left = shown.replace(MASK, "").replace(['.', ','], "");
            // What is left is at most the begin of a mask.
            assert!(MASK.starts_with(&left), "{before} {most}: {shown}");
            let masked = text.replace(secret, MASK);
            assert!(masked.starts_with(&shown));
            assert_eq!(is_cut, shown != masked, "{before} {most}: {shown}");
        }
    }
}

#[test]
fn the_page_names_every_word() {
    let page = include_str!("../../RECORDS.md");
    for word in SECRET_WORDS {
        assert!(page.contains(&format!("`{word}`")), "{word}");
    }
    assert!(page.contains(&format!("`{MASK}`")));
}
