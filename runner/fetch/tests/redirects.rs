//! Redirects: what is followed, what the next server sees, and what it must never see.

use hyper::body::Bytes;

use super::support::{Server, fetch, get, header, kind, spec, status};
use crate::fetch::RequestSpec;
use crate::model::ErrorKind;

fn to(status: u16, location: &str, more: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\nLocation: {location}\r\n{more}Content-Length: 0\r\n\r\n").into_bytes()
}

fn ok() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()
}

fn path(request: &str) -> &str {
    request.split(' ').nth(1).unwrap()
}

#[tokio::test]
async fn redirects_are_followed_and_every_hop_is_told() {
    let server = Server::routed(|request| match path(request) {
        "/a/b?q=1" => to(301, "c#part", ""),
        "/a/c" => to(308, "?x=y", ""),
        "/a/c?x=y" => to(302, "/d", ""),
        _ => ok(),
    })
    .await;
    let exchange = get(&server.url("/a/b?q=1")).await;
    assert_eq!((kind(&exchange), status(&exchange)), (None, Some(200)));
    assert_eq!(exchange.redirects, Some(3));
    assert_eq!(exchange.final_url, Some(server.url("/d")));
    assert_eq!(exchange.body, "ok");
    let hops: Vec<_> = exchange.hops.iter().map(|hop| (hop.url.as_str(), hop.status)).collect();
    let urls = ["/a/b?q=1", "/a/c", "/a/c?x=y", "/d"].map(|path| server.url(path));
    let expected: Vec<_> =
        urls.iter().map(String::as_str).zip([Some(301), Some(308), Some(302), Some(200)]).collect();
    assert_eq!(hops, expected);
    let connects = exchange.hops.iter().map(|hop| hop.phases.connect.unwrap()).sum();
    assert_eq!(exchange.phases.connect, Some(connects));
    let waits = exchange.hops.iter().map(|hop| hop.phases.first_byte.unwrap()).sum();
    assert_eq!(exchange.phases.first_byte, Some(waits));
    assert!(server.seen().iter().all(|request| header(request, "referer").is_none()));
}

#[tokio::test]
async fn a_loop_ends_at_the_limit_and_keeps_the_last_head() {
    let server = Server::routed(|request| match path(request) {
        "/a" => to(302, "/b", ""),
        _ => to(302, "/a", "X-Last: yes\r\n"),
    })
    .await;
    let exchange = get(&server.url("/a")).await;
    assert_eq!(kind(&exchange), Some(ErrorKind::RedirectLimit));
    assert_eq!((exchange.redirects, status(&exchange)), (Some(10), Some(302)));
    assert_eq!((exchange.hops.len(), server.seen().len()), (11, 11));
    for (max, seen) in [(0, 1), (1, 2)] {
        let server = Server::answering(to(302, "/", "")).await;
        let exchange = fetch(RequestSpec { max_redirects: max, ..spec(&[]) }, &server.url("/")).await;
        assert_eq!((kind(&exchange), server.seen().len()), (Some(ErrorKind::RedirectLimit), seen));
        assert_eq!((exchange.body_bytes, exchange.phases.transfer), (None, None));
    }
}

#[tokio::test]
async fn redirects_that_are_not_followed_are_responses() {
    let server =
        Server::answering(&b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 4\r\n\r\nbody"[..]).await;
    let exchange = fetch(RequestSpec { follow_redirects: false, ..spec(&[]) }, &server.url("/")).await;
    assert_eq!((kind(&exchange), status(&exchange), exchange.redirects), (None, Some(302), Some(0)));
    assert_eq!(exchange.body, "body");
    for status_code in [300, 304] {
        let server = Server::answering(to(status_code, "/x", "")).await;
        let exchange = get(&server.url("/")).await;
        assert_eq!((kind(&exchange), status(&exchange)), (None, Some(status_code)));
    }
}

#[tokio::test]
async fn locations_that_cannot_be_followed() {
    for (location, expected) in [
        ("file:///etc/passwd", ErrorKind::RedirectInvalid),
        ("ftp://127.0.0.1/", ErrorKind::RedirectInvalid),
        ("data:text/plain,x", ErrorKind::RedirectInvalid),
        ("javascript:alert(1)", ErrorKind::RedirectInvalid),
        ("gopher://127.0.0.1/", ErrorKind::RedirectInvalid),
        ("http://[::1", ErrorKind::RedirectInvalid),
        ("http://127.0.0.1:99999/", ErrorKind::RedirectInvalid),
        ("http://127.0.0.1:0/", ErrorKind::RedirectInvalid),
        // Neither a certificate nor a resolver can know such a name.
        ("https://sh(op.example/", ErrorKind::RedirectInvalid),
        ("http://shop..example/", ErrorKind::RedirectInvalid),
    ] {
        let server = Server::answering(to(302, location, "")).await;
        let exchange = get(&server.url("/")).await;
        assert_eq!(kind(&exchange), Some(expected), "{location}: {:?}", exchange.failure);
        assert_eq!((status(&exchange), exchange.redirects), (Some(302), Some(0)), "{location}");
        assert!(!exchange.failure.unwrap().message.contains("passwd"));
    }
    let server = Server::answering("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(kind(&get(&server.url("/")).await), Some(ErrorKind::RedirectInvalid));
}

#[tokio::test]
async fn methods_and_bodies_follow_the_rules() {
    for (status_code, method, expected, keeps_body) in [
        (301, "POST", "GET", false),
        (302, "POST", "GET", false),
        (303, "POST", "GET", false),
        (303, "PUT", "GET", false),
        (303, "HEAD", "HEAD", false),
        (301, "PUT", "PUT", true),
        (307, "POST", "POST", true),
        (308, "POST", "POST", true),
    ] {
        let server = Server::routed(move |request| match path(request) {
            "/" => to(status_code, "/next", ""),
            _ => ok(),
        })
        .await;
        let body = (method != "HEAD").then(|| Bytes::from_static(b"secret=1"));
        let given = RequestSpec { method: method.to_owned(), body, ..spec(&[("content-type", "text/x")]) };
        let exchange = fetch(given, &server.url("/")).await;
        assert_eq!(kind(&exchange), None, "{status_code} {method}: {:?}", exchange.failure);
        assert_eq!(exchange.method.unwrap(), expected, "{status_code} {method}");
        let second = server.seen().pop().unwrap();
        assert!(second.starts_with(&format!("{expected} /next ")), "{second}");
        assert_eq!(second.ends_with("secret=1"), keeps_body, "{status_code} {method}: {second}");
        if expected == "GET" {
            assert_eq!(header(&second, "content-type"), None, "{second}");
        }
    }
}

#[tokio::test]
async fn nothing_of_the_users_crosses_an_origin() {
    let other = Server::routed(|request| match path(request) {
        "/there" => to(302, "/still-there", "Set-Cookie: theirs=1\r\n"),
        _ => ok(),
    })
    .await;
    // The same host on another port is another origin.
    let there = format!("http://u:p@{}/there", other.addr);
    let first = Server::routed(move |request| match path(request) {
        "/" => to(302, "/same", "Set-Cookie: ours=1; Path=/\r\n"),
        _ => to(302, &there, ""),
    })
    .await;
    let secrets = [
        ("authorization", "Bearer s3cret"),
        ("cookie", "session=s3cret"),
        ("proxy-authorization", "s3cret"),
        ("x-api-key", "s3cret"),
        ("host", "s3cret.example"),
        ("accept-language", "de"),
    ];
    let exchange = fetch(spec(&secrets), &first.url("/")).await;
    assert_eq!((kind(&exchange), exchange.redirects), (None, Some(3)), "{:?}", exchange.failure);
    // Within the origin all of it goes along, and the cookie that was set.
    let same = &first.seen()[1];
    assert_eq!(same.matches("s3cret").count(), 5, "{same}");
    assert_eq!(header(same, "cookie"), Some("session=s3cret; ours=1"));
    for request in other.seen() {
        assert!(!request.contains("s3cret") && !request.contains("ours"), "{request}");
        assert!(
            header(&request, "authorization").is_none() && header(&request, "referer").is_none(),
            "{request}"
        );
        assert_eq!(header(&request, "accept-language"), Some("de"));
        assert_eq!(header(&request, "host"), Some(other.addr.to_string().as_str()));
    }
    assert_eq!(header(&other.seen()[1], "cookie"), Some("theirs=1"));
    assert!(!exchange.final_url.unwrap().contains('@'));
}

#[tokio::test]
async fn headers_stay_behind_also_on_the_way_back() {
    let (port, wait) = tokio::sync::watch::channel(0);
    let other =
        Server::routed(move |_| to(302, &format!("http://127.0.0.1:{}/back", *wait.borrow()), "")).await;
    let there = other.url("/");
    let first = Server::routed(move |request| match path(request) {
        "/" => to(302, &there, ""),
        _ => ok(),
    })
    .await;
    port.send(first.addr.port()).unwrap();
    let exchange = fetch(spec(&[("authorization", "s3cret")]), &first.url("/")).await;
    assert_eq!((kind(&exchange), exchange.redirects), (None, Some(2)));
    assert!(!first.seen()[1].contains("s3cret"), "{}", first.seen()[1]);
}

#[tokio::test]
async fn a_body_is_not_sent_to_another_origin() {
    let other = Server::answering(ok()).await;
    let there = other.url("/?token=t");
    let first = Server::routed(move |_| to(307, &there, "")).await;
    let post = |body| RequestSpec { method: "POST".to_owned(), body, ..spec(&[]) };
    let exchange = fetch(post(Some(Bytes::from_static(b"secret"))), &first.url("/")).await;
    assert_eq!(kind(&exchange), Some(ErrorKind::RedirectInvalid));
    assert!(!exchange.failure.unwrap().message.contains("token"));
    assert!(other.seen().is_empty());
    assert_eq!(kind(&fetch(post(None), &first.url("/")).await), None);
    assert!(other.seen()[0].starts_with("POST /?token=t "), "{:?}", other.seen());
}

#[tokio::test]
async fn cookies_are_bounded_and_can_be_taken_back() {
    let many = (0..200).map(|index| format!("Set-Cookie: c{index}=v\r\n")).collect::<Vec<_>>().concat();
    let server = Server::routed(move |request| match path(request) {
        "/" => to(302, "/2", &many),
        "/2" => {
            to(302, "/3", "Set-Cookie: c0=gone; Max-Age=0\r\nSet-Cookie: c1=new\r\nSet-Cookie: rubbish\r\n")
        }
        _ => ok(),
    })
    .await;
    let exchange = get(&server.url("/")).await;
    assert_eq!(kind(&exchange), None, "{:?}", exchange.failure);
    let seen = server.seen();
    assert_eq!(header(&seen[1], "cookie").unwrap().split("; ").count(), 64);
    let third = header(&seen[2], "cookie").unwrap();
    assert!(!third.contains("c0=") && third.contains("c1=new") && !third.contains("rubbish"), "{third}");
    // Nothing is left for the next probe.
    get(&server.url("/x")).await;
    assert_eq!(header(&server.seen()[3], "cookie"), None);
}

#[tokio::test]
async fn a_failure_after_a_redirect_tells_where_it_was() {
    let closed = Server::scripted(|stream, _| async move { drop(stream) }).await;
    let there = closed.url("/gone?token=t");
    let server = Server::routed(move |_| to(302, &there, "")).await;
    let exchange = get(&server.url("/")).await;
    let found = kind(&exchange).unwrap();
    assert!(matches!(found, ErrorKind::ConnectionClosed | ErrorKind::Reset), "{found}");
    assert_eq!(exchange.final_url, Some(closed.url("/gone?token=t")));
    assert_eq!((exchange.redirects, exchange.remote_addr), (Some(1), Some(closed.addr)));
    assert_eq!(exchange.hops.iter().map(|hop| hop.status).collect::<Vec<_>>(), [Some(302), None]);
}
