//! Which URLs go through a proxy, and how a proxy is written down.

use super::*;

/// Whether a URL goes through a proxy with these exceptions.
fn goes_through(url: &str, no_proxy: &[&str]) -> bool {
    let mut problems = Vec::new();
    let no_proxy: Vec<String> = no_proxy.iter().map(|entry| (*entry).to_owned()).collect();
    let proxy = Proxy::build(Some("http://proxy.test:3128"), &no_proxy, &mut problems).unwrap();
    assert_eq!(problems, []);
    proxy.serves(&Uri::try_from(url).unwrap())
}

#[test]
fn n74_what_does_not_go_through_a_proxy() {
    for (entry, url, through) in [
        ("shop.example", "https://shop.example/", false),
        ("shop.example", "https://SHOP.example./", false),
        ("shop.example", "https://a.shop.example/", false),
        ("shop.example", "https://ashop.example/", true),
        ("shop.example", "https://shop.example.org/", true),
        ("*.internal", "http://a.b.internal/", false),
        ("*.internal", "http://internal/", true),
        (".internal", "http://a.internal:8080/", false),
        (".internal", "http://internal/", true),
        ("Bücher.example", "https://xn--bcher-kva.example/", false),
        ("10.0.0.0/8", "http://10.1.2.3:8080/", false),
        ("10.0.0.0/8", "http://11.1.2.3/", true),
        // Names are not resolved for this: who resolves them may be the proxy.
        ("127.0.0.0/8", "http://localhost/", true),
        ("10.1.2.3", "http://10.1.2.3/", false),
        ("10.0.0.0/8", "http://[::ffff:10.1.2.3]/", false),
        ("fd00::/8", "http://[fd12::1]/", false),
        ("[::1]", "http://[::1]/", false),
        ("::1", "http://[::1]:81/", false),
        ("[::1]:81", "http://[::1]:81/", false),
        ("[::1]:81", "http://[::1]/", true),
        ("10.1.2.3:8080", "http://10.1.2.3:8080/", false),
        ("10.1.2.3:8080", "http://10.1.2.3/", true),
        ("shop.example:443", "https://shop.example/", false),
        ("shop.example:443", "http://shop.example/", true),
        ("shop.example:80", "http://a.shop.example/", false),
        ("*", "http://anything.example/", false),
        (" a.example , b.example,", "http://b.example/", false),
        ("", "http://b.example/", true),
    ] {
        assert_eq!(goes_through(url, &[entry]), through, "{entry}: {url}");
    }
    assert!(!goes_through("http://b.example/", &["a.example", "b.example"]));
    for entry in
        ["a.*.example", "shop.example:x", "shop.example:", "10.0.0.1/8", "http://shop.example", "a b"]
    {
        assert!(exception(entry).is_err(), "{entry}");
    }
}

#[test]
fn proxies_are_read_from_urls() {
    for (text, kind, host, port) in [
        ("http://proxy.test:3128", ProxyKind::Http, "proxy.test", 3128),
        ("http://proxy.test:3128/", ProxyKind::Http, "proxy.test", 3128),
        ("http://PROXY.test", ProxyKind::Http, "proxy.test", 80),
        ("socks5://10.0.0.1", ProxyKind::Socks5, "10.0.0.1", 1080),
        ("socks5h://PROXY.test:1", ProxyKind::Socks5h, "proxy.test", 1),
        ("socks5h://[::1]:1081", ProxyKind::Socks5h, "[::1]", 1081),
    ] {
        let (found_kind, found_host, found_port, credentials) = parse(text).ok().unwrap();
        assert_eq!((found_kind, found_host.as_str(), found_port), (kind, host, port), "{text}");
        assert!(credentials.is_none(), "{text}");
    }
    for text in [
        "proxy.test:3128",
        "proxy.test",
        "https://proxy.test",
        "socks4://proxy.test",
        "http://",
        "socks5://:1080",
        "http://proxy.test:0",
        "http://proxy.test/path",
        "http://proxy.test?q",
        "http://a%3ab:c@proxy.test",
        "socks5://:secret@proxy.test",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
    let long = format!("socks5://{}:b@proxy.test", "a".repeat(256));
    assert!(parse(&long).is_err());
    let mut problems = Vec::new();
    assert!(Proxy::build(Some(""), &[], &mut problems).is_none() && problems.is_empty());
}

#[test]
fn credentials_are_what_their_text_stands_for() {
    let (.., credentials) = parse("http://an%20n:p%40ss%3A%zz@proxy.test").ok().unwrap();
    let credentials = credentials.unwrap();
    assert_eq!(
        (credentials.username.as_slice(), credentials.password.as_slice()),
        (&b"an n"[..], &b"p@ss:%zz"[..])
    );
    assert_eq!(credentials.basic, format!("Basic {}", STANDARD.encode("an n:p@ss:%zz")));
    assert!(credentials.basic.is_sensitive());
}
