//! Plain HTTP: facts of a whole response, requests as the server sees them, and every way to break a response.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::io::AsyncWriteExt;

use super::support::{
    PATIENCE, Server, drain, fetch, fetcher, get, header, kind, read_request, spec, status,
};
use crate::clock::Clock;
use crate::fetch::{IpVersion, Request, RequestSpec};
use crate::model::{ErrorKind, HttpVersion};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nX-A: é\r\n\r\nhello";

#[tokio::test]
async fn a_whole_response_has_all_its_facts() {
    let server = Server::answering(OK).await;
    let exchange = get(&server.url("/a?b=c#d")).await;
    assert_eq!(exchange.failure, None);
    let head = exchange.head.as_ref().unwrap();
    assert_eq!((head.status, head.version), (200, HttpVersion::Http11));
    assert_eq!(head.headers.get_all("x-a").iter().nth(1).unwrap().as_bytes(), "é".as_bytes());
    assert_eq!(exchange.body, "hello");
    assert_eq!((exchange.body_bytes, exchange.decoded_bytes), (Some(5), Some(5)));
    assert_eq!(exchange.body_truncated, Some(false));
    assert_eq!(exchange.header_bytes, Some(OK.len() as u64 - 5));
    assert_eq!(exchange.final_url.as_deref(), Some(server.url("/a?b=c").as_str()));
    assert_eq!((exchange.redirects, exchange.hops.len()), (Some(0), 0));
    assert_eq!(exchange.remote_addr, Some(server.addr));
    assert_eq!((exchange.dns_answers, exchange.connection_reused), (None, Some(false)));
    let phases = exchange.phases;
    assert!(phases.dns.is_none() && phases.tls.is_none() && exchange.tls.is_none());
    let parts = phases.connect.unwrap() + phases.first_byte.unwrap() + phases.transfer.unwrap();
    assert!(parts <= phases.total.unwrap() && parts > Duration::ZERO);
}

#[tokio::test]
async fn the_request_is_what_the_user_wrote() {
    let server = Server::answering(OK).await;
    let url = server.url("/p?q=1");
    get(&url).await;
    let mut given = spec(&[("X-B", "1"), ("x-b", "2"), ("User-Agent", "mine"), ("host", "vhost:81")]);
    given.method = "PURGE".to_owned();
    fetch(given, &url).await;
    let seen = server.seen();
    let host = format!("GET /p?q=1 HTTP/1.1\r\nhost: {}\r\n", server.addr);
    assert!(seen[0].starts_with(&host), "{}", seen[0]);
    assert_eq!(header(&seen[0], "user-agent"), Some(concat!("probity/", env!("CARGO_PKG_VERSION"))));
    assert_eq!((header(&seen[0], "accept"), header(&seen[0], "connection")), (Some("*/*"), Some("close")));
    assert_eq!(header(&seen[0], "accept-encoding"), Some("gzip, br, zstd"));
    assert_eq!(header(&seen[0], "content-length"), None);
    assert!(seen[1].starts_with("PURGE /p?q=1 HTTP/1.1\r\n"), "{}", seen[1]);
    assert_eq!((header(&seen[1], "user-agent"), header(&seen[1], "host")), (Some("mine"), Some("vhost:81")));
    assert_eq!(seen[1].matches("host: ").count(), 1);
    assert_eq!(seen[1].matches("x-b: ").count(), 2);
}

#[tokio::test]
async fn bodies_have_a_length() {
    let server = Server::answering(OK).await;
    for (method, body, length) in [
        ("POST", None, Some("0")),
        ("PUT", Some(""), Some("0")),
        ("POST", Some("a=b"), Some("3")),
        ("DELETE", None, None),
        ("HEAD", None, None),
    ] {
        let body = body.map(|text| Bytes::from_static(text.as_bytes()));
        let exchange =
            fetch(RequestSpec { method: method.to_owned(), body, ..spec(&[]) }, &server.url("/")).await;
        assert_eq!((kind(&exchange), status(&exchange)), (None, Some(200)), "{method}");
        let seen = server.seen().pop().unwrap();
        assert!(seen.starts_with(method), "{seen}");
        assert_eq!(header(&seen, "content-length"), length, "{seen}");
    }
    assert!(server.seen()[2].ends_with("\r\n\r\na=b"));
}

#[tokio::test]
async fn ipv6_literals_work_and_families_are_kept_apart() {
    let server = Server::scripted_at("[::1]:0", |mut stream, seen| async move {
        let request = read_request(&mut stream).await;
        seen.lock().unwrap().push(request);
        let _ = stream.write_all(OK.as_bytes()).await;
    })
    .await;
    let exchange = get(&server.url("/")).await;
    assert_eq!((kind(&exchange), exchange.remote_addr), (None, Some(server.addr)));
    let host = format!("[::1]:{}", server.addr.port());
    assert_eq!(header(&server.seen()[0], "host"), Some(host.as_str()));
    let refused = fetch(RequestSpec { ip_version: IpVersion::V4, ..spec(&[]) }, &server.url("/")).await;
    assert_eq!(kind(&refused), Some(ErrorKind::DnsNodata));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn localhost_needs_no_resolver_and_falls_over_to_the_other_family() {
    let server = Server::scripted_at("[::1]:0", |mut stream, _| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(OK.as_bytes()).await;
    })
    .await;
    let exchange = get(&format!("http://localhost:{}/", server.addr.port())).await;
    assert_eq!((kind(&exchange), exchange.remote_addr), (None, Some(server.addr)));
    assert_eq!(exchange.dns_answers, Some(2));
    assert!(exchange.phases.dns.is_some() && exchange.phases.connect.is_some());
}

#[tokio::test]
async fn body_limits_are_exact() {
    for (length, keep, fail_over, expected) in [
        (127, 128, None, (127, 127, Some(false), None)),
        (128, 128, None, (128, 128, Some(false), None)),
        (129, 128, None, (128, 129, Some(true), None)),
        (128, 64, Some(128), (64, 128, Some(true), None)),
        (129, 64, Some(128), (0, 0, None, Some(ErrorKind::BodyTooLarge))),
    ] {
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length));
        let server = Server::answering(response).await;
        let limits = RequestSpec { body_limit: keep, fail_if_body_over: fail_over, ..spec(&[]) };
        let exchange = fetch(limits, &server.url("/")).await;
        let found =
            (exchange.body.len(), exchange.body_bytes.unwrap(), exchange.body_truncated, kind(&exchange));
        assert_eq!(found, expected, "{length} {keep} {fail_over:?}");
        assert_eq!(status(&exchange), Some(200));
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_cut_while_it_comes() {
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let endless = Server::scripted(move |mut stream, _| {
        let chunk = chunk.clone();
        async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            while stream.write_all(chunk.as_bytes()).await.is_ok() {}
        }
    })
    .await;
    let cut = fetch(RequestSpec { body_limit: 10_000, ..spec(&[]) }, &endless.url("/")).await;
    assert_eq!((kind(&cut), cut.body.len(), cut.body_truncated), (None, 10_000, Some(true)));
    let failing = RequestSpec { body_limit: 10, fail_if_body_over: Some(20_000), ..spec(&[]) };
    let failed = fetch(failing, &endless.url("/")).await;
    assert_eq!((kind(&failed), failed.body.len()), (Some(ErrorKind::BodyTooLarge), 10));
    assert!(failed.body_bytes.unwrap() > 20_000);
}

#[tokio::test]
async fn nothing_listens() {
    let server = Server::answering(OK).await;
    let addr = server.addr;
    drop(server);
    let exchange = retried_until_refused(addr).await;
    assert_eq!(exchange.remote_addr, Some(addr));
    assert_eq!(exchange.failure.unwrap().message, format!("{addr} refused the connection"));
    assert!(exchange.phases.connect.is_none() && exchange.phases.total.is_some());
    assert_eq!(exchange.final_url, Some(format!("http://{addr}/")));
    assert_eq!((exchange.redirects, exchange.connection_reused), (None, None));
    assert_eq!((exchange.body_bytes, exchange.body_truncated), (None, None));
}

/// The listener is gone once its aborted task has been dropped, which takes a turn of the runtime.
async fn retried_until_refused(addr: SocketAddr) -> crate::model::Exchange {
    loop {
        let exchange =
            fetch(RequestSpec { timeout: Duration::from_secs(1), ..spec(&[]) }, &format!("http://{addr}/"))
                .await;
        if kind(&exchange) == Some(ErrorKind::ConnectRefused) {
            return exchange;
        }
    }
}

/// Every way to break a response that a script can show.
#[tokio::test]
async fn broken_responses_have_their_kinds() {
    use ErrorKind::{
        BodyIncomplete, ConnectionClosed, HttpHeadersTooLarge, HttpMalformed, HttpTooManyInterim,
    };
    let cases: Vec<(&str, String, ErrorKind)> = vec![
        ("nothing", String::new(), ConnectionClosed),
        ("half a head", "HTTP/1.1 200 OK\r\nA: b\r\n".to_owned(), ConnectionClosed),
        ("no http", "SSH-2.0-OpenSSH_9.2\r\n".to_owned(), HttpMalformed),
        ("http/0.9", "<html>hello</html>".to_owned(), HttpMalformed),
        ("icy", "ICY 200 OK\r\n\r\n".to_owned(), HttpMalformed),
        ("http/2 on http/1", "HTTP/2 200 OK\r\n\r\n".to_owned(), HttpMalformed),
        ("status 20", "HTTP/1.1 20 OK\r\n\r\n".to_owned(), HttpMalformed),
        ("obs-fold", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n".to_owned(), HttpMalformed),
        ("nul in a value", "HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n".to_owned(), HttpMalformed),
        ("space before colon", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n".to_owned(), HttpMalformed),
        (
            "two lengths",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_owned(),
            HttpMalformed,
        ),
        ("300 headers", format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(300)), HttpHeadersTooLarge),
        ("80 KiB", format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "b".repeat(80 * 1024)), HttpHeadersTooLarge),
        ("1 MiB", format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "b".repeat(1 << 20)), HttpHeadersTooLarge),
        ("20 interim", "HTTP/1.1 100 Continue\r\n\r\n".repeat(20) + OK, HttpTooManyInterim),
        ("short body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello".to_owned(), BodyIncomplete),
        (
            "cut chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello".to_owned(),
            BodyIncomplete,
        ),
        (
            "bad chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello".to_owned(),
            HttpMalformed,
        ),
        (
            "chunk overflow",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello".to_owned(),
            HttpMalformed,
        ),
    ];
    for (name, response, expected) in cases {
        let server = Server::answering(response).await;
        let exchange = get(&server.url("/")).await;
        assert_eq!(kind(&exchange), Some(expected), "{name}: {:?}", exchange.failure);
        assert_eq!(exchange.remote_addr, Some(server.addr), "{name}");
        assert!(exchange.phases.connect.is_some(), "{name}");
        assert_eq!(exchange.phases.first_byte.is_some(), exchange.head.is_some(), "{name}");
        let body_began = expected == BodyIncomplete || name.contains("chunk");
        assert_eq!(status(&exchange), body_began.then_some(200), "{name}");
        assert_eq!(exchange.phases.transfer.is_some(), body_began, "{name}");
    }
}

#[tokio::test]
async fn odd_but_valid_responses_pass() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(16) + OK;
    for (name, response, expected, body) in [
        ("16 interim", interim, 200, "hello"),
        ("status 999", "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n".to_owned(), 999, ""),
        ("bare lf", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok".to_owned(), 200, "ok"),
        ("until close", "HTTP/1.0 200 OK\r\n\r\nto the end".to_owned(), 200, "to the end"),
        ("glued on", format!("{OK}HTTP/1.1 500 Second\r\n\r\n"), 200, "hello"),
        (
            "60 KiB",
            format!("HTTP/1.1 200 OK\r\nA: {}\r\nContent-Length: 0\r\n\r\n", "b".repeat(60 * 1024)),
            200,
            "",
        ),
        ("256 headers", format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(256)), 200, ""),
        ("no content", "HTTP/1.1 204 No Content\r\n\r\n".to_owned(), 204, ""),
    ] {
        let server = Server::answering(response).await;
        let exchange = get(&server.url("/")).await;
        assert_eq!(
            (kind(&exchange), status(&exchange)),
            (None, Some(expected)),
            "{name}: {:?}",
            exchange.failure
        );
        assert_eq!(
            (exchange.body.as_ref(), exchange.body_truncated),
            (body.as_bytes(), Some(false)),
            "{name}"
        );
    }
}

#[tokio::test]
async fn resets_are_told_apart_from_closes() {
    let before = Server::scripted(|mut stream, _| async move {
        read_request(&mut stream).await;
        reset(stream);
    })
    .await;
    let exchange = get(&before.url("/")).await;
    assert_eq!(kind(&exchange), Some(ErrorKind::Reset), "{:?}", exchange.failure);

    let amid = Server::scripted(|mut stream, _| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello").await;
        // The client has read what came once its next read waits; a reset at once could overtake it.
        tokio::time::sleep(Duration::from_millis(100)).await;
        reset(stream);
    })
    .await;
    let exchange = get(&amid.url("/")).await;
    assert_eq!(kind(&exchange), Some(ErrorKind::Reset), "{:?}", exchange.failure);
    assert_eq!((exchange.body_bytes, exchange.body.as_ref()), (Some(5), b"hello".as_slice()));
    assert_eq!((status(&exchange), exchange.body_truncated), (Some(200), None));
}

/// Closes with RST instead of FIN.
fn reset(stream: tokio::net::TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}

#[tokio::test]
async fn a_server_that_speaks_first_is_malformed_not_ours() {
    let server = Server::scripted(|mut stream, _| async move {
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n").await;
        drain(&mut stream).await;
    })
    .await;
    let exchange = get(&server.url("/")).await;
    assert_eq!(kind(&exchange), Some(ErrorKind::HttpMalformed), "{:?}", exchange.failure);
}

#[tokio::test]
async fn the_connection_is_closed_after_the_response() {
    // A server that keeps connections open whatever the request says.
    let (closed, mut wait) = tokio::sync::mpsc::channel(1);
    let server = Server::scripted(move |mut stream, _| {
        let closed = closed.clone();
        async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(OK.as_bytes()).await;
            drain(&mut stream).await;
            let _ = closed.send(()).await;
        }
    })
    .await;
    assert_eq!(kind(&get(&server.url("/")).await), None);
    tokio::time::timeout(PATIENCE, wait.recv()).await.expect("the client never closed");
}

#[test]
fn an_attempt_is_small_and_may_run_on_any_thread() {
    let (fetcher, clock) = (fetcher(), Clock::system());
    let request = Request::build(spec(&[])).unwrap();
    let attempt = fetcher.fetch(&request, "http://127.0.0.1/", clock.now(), &clock);
    let size = std::mem::size_of_val(&attempt);
    assert!(size < 8 * 1_024, "{size} bytes for every probe in flight");
    is_send(attempt);
}

fn is_send(_: impl Send) {}

#[tokio::test]
async fn an_unusable_url_is_our_fault() {
    for url in ["ftp://127.0.0.1/", "no url", "http://"] {
        assert_eq!(kind(&get(url).await), Some(ErrorKind::Internal), "{url}");
    }
}
