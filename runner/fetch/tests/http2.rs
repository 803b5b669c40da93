//! HTTP/2: by ALPN, by prior knowledge, and from servers that break it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use h2::Reason;
use h2::server::{SendResponse, handshake};
use http::{HeaderValue, Request, Response, Version};
use hyper::body::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::secure::{Authority, config, probe, serving, trusting};
use super::support::{PATIENCE, Server, fetch, kind, spec, status};
use crate::fetch::{HttpVersions, RequestSpec};
use crate::model::{ErrorKind, Exchange, HttpVersion};

/// The first bytes of a server that speaks HTTP/2: empty settings.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// `:status: 200`, as it is compressed.
const STATUS_200: u8 = 0x88;

fn http2(headers: &[(&str, &str)]) -> RequestSpec {
    RequestSpec { http_version: HttpVersions::Http2, ..spec(headers) }
}

/// Sends a request by prior knowledge to a server that answers each stream by `answer`.
async fn against<F, A>(given: RequestSpec, answer: F) -> (Exchange, Server)
where
    F: Fn(Request<h2::RecvStream>, SendResponse<Bytes>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = ()> + Send,
{
    let server = Server::scripted(move |stream: TcpStream, seen| {
        let answer = answer.clone();
        async move {
            let _ = stream.set_nodelay(true);
            let Ok(mut connection) = handshake(stream).await else { return };
            let Some(Ok((request, respond))) = connection.accept().await else { return };
            let told = format!("{} {} {:?}", request.method(), request.uri(), request.headers());
            seen.lock().unwrap().push(told);
            let answering = answer(request, respond);
            let closing = std::future::poll_fn(|cx| connection.poll_closed(cx));
            let served = async { tokio::join!(answering, closing) };
            let _ = tokio::time::timeout(PATIENCE, served).await;
        }
    })
    .await;
    let exchange = fetch(given, &server.url("/a?b=c")).await;
    (exchange, server)
}

fn ok() -> Response<()> {
    Response::builder().version(Version::HTTP_2).status(200).body(()).unwrap()
}

#[tokio::test]
async fn prior_knowledge_brings_a_whole_exchange() {
    let given = RequestSpec {
        method: "POST".to_owned(),
        body: Some(Bytes::from_static(b"sent")),
        ..http2(&[("host", "vhost.example"), ("x-own", "1")])
    };
    let (exchange, server) = against(given, |mut request, mut respond| async move {
        let mut came = Vec::new();
        while let Some(piece) = request.body_mut().data().await {
            came.extend_from_slice(&piece.unwrap());
        }
        let mut response = ok();
        response.headers_mut().insert("content-length", HeaderValue::from_static("8"));
        let mut body = respond.send_response(response, false).unwrap();
        body.send_data([&came[..], b"back"].concat().into(), true).unwrap();
    })
    .await;
    assert_eq!((kind(&exchange), status(&exchange)), (None, Some(200)), "{:?}", exchange.failure);
    assert_eq!(exchange.body, "sentback");
    assert_eq!(exchange.head.unwrap().version, HttpVersion::Http2);
    assert!(exchange.header_bytes.is_some_and(|bytes| bytes > 0 && bytes < 64));
    let phases = exchange.phases;
    assert!(phases.first_byte.is_some() && phases.transfer.is_some() && phases.tls.is_none());
    let seen = server.seen().remove(0);
    assert!(seen.starts_with("POST http://vhost.example/a?b=c "), "{seen}");
    assert!(seen.contains("x-own") && !seen.contains("\"connection\"") && !seen.contains("\"host\""));
}

#[tokio::test]
async fn a_body_that_is_cut_short_is_not_whole() {
    for (announced, reason, expected) in [
        (true, Reason::NO_ERROR, ErrorKind::BodyIncomplete),
        (false, Reason::NO_ERROR, ErrorKind::BodyIncomplete),
        (true, Reason::CANCEL, ErrorKind::Reset),
    ] {
        let (exchange, _server) = against(http2(&[]), move |_, mut respond| async move {
            let mut response = ok();
            if announced {
                response.headers_mut().insert("content-length", HeaderValue::from_static("8"));
            }
            let mut body = respond.send_response(response, false).unwrap();
            body.send_data(Bytes::from_static(b"half"), false).unwrap();
            // What waits to be sent is dropped by a reset.
            while body.capacity() == 0 {
                tokio::task::yield_now().await;
                body.reserve_capacity(1);
            }
            body.send_reset(reason);
        })
        .await;
        assert_eq!(
            (kind(&exchange), status(&exchange)),
            (Some(expected), Some(200)),
            "{announced} {reason:?}: {:?}",
            exchange.failure
        );
    }
}

#[tokio::test]
async fn a_length_without_a_body_is_no_short_body() {
    for (method, code, end) in
        [("HEAD", 200, true), ("HEAD", 200, false), ("GET", 304, true), ("GET", 204, true)]
    {
        let given = RequestSpec { method: method.to_owned(), fail_if_body_over: Some(10), ..http2(&[]) };
        let (exchange, _server) = against(given, move |_, mut respond| async move {
            let mut response = ok();
            *response.status_mut() = http::StatusCode::from_u16(code).unwrap();
            response.headers_mut().insert("content-length", HeaderValue::from_static("1234"));
            response.headers_mut().insert("content-encoding", HeaderValue::from_static("gzip"));
            let mut body = respond.send_response(response, end).unwrap();
            if !end {
                body.send_data(Bytes::new(), true).unwrap();
            }
        })
        .await;
        assert_eq!(
            (kind(&exchange), status(&exchange)),
            (None, Some(code)),
            "{method}: {:?}",
            exchange.failure
        );
        assert_eq!((exchange.body_bytes, exchange.body_truncated), (Some(0), Some(false)), "{method} {code}");
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_is_named() {
    for (reason, expected) in [
        (Reason::REFUSED_STREAM, ErrorKind::Reset),
        (Reason::INTERNAL_ERROR, ErrorKind::Reset),
        (Reason::HTTP_1_1_REQUIRED, ErrorKind::HttpVersion),
    ] {
        let (exchange, _server) =
            against(http2(&[]), move |_, mut respond| async move { respond.send_reset(reason) }).await;
        assert_eq!(kind(&exchange), Some(expected), "{:?}", exchange.failure);
    }
}

#[tokio::test]
async fn n50_a_request_that_was_not_taken_up_is_sent_once_more() {
    let goaway = |last: u8, reason: u8| frame(7, 0, 0, &[0, 0, 0, last, 0, 0, 0, reason]);
    let refused = frame(3, 0, 1, &[0, 0, 0, 7]);
    let cases = [
        ("a goodbye", goaway(0, 0), 2, None),
        ("a stream refused", refused, 2, None),
        ("a goodbye after it was taken up", goaway(1, 0), 1, Some(ErrorKind::Timeout)),
        ("a demand for calm", goaway(0, 11), 1, Some(ErrorKind::ConnectionClosed)),
    ];
    for (what, said, connections, expected) in cases {
        let answer = [SETTINGS, &frame(1, 5, 1, &[STATUS_200])].concat();
        let first = [SETTINGS, &said].concat();
        let counted = Arc::new(AtomicUsize::new(0));
        let count = counted.clone();
        let server = Server::scripted(move |mut stream, _| {
            let said = if count.fetch_add(1, Ordering::SeqCst) == 0 { first.clone() } else { answer.clone() };
            async move {
                let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 64]).await;
                let _ = stream.write_all(&said).await;
                super::support::drain(&mut stream).await;
            }
        })
        .await;
        let given = RequestSpec { timeout: Duration::from_millis(500), ..http2(&[]) };
        let exchange = fetch(given, &server.url("/")).await;
        assert_eq!(kind(&exchange), expected, "{what}: {:?}", exchange.failure);
        assert_eq!(counted.load(Ordering::SeqCst), connections, "{what}");
    }
}

#[tokio::test]
async fn headers_are_bounded_as_with_http1() {
    let long = |length: usize| {
        move |_: Request<h2::RecvStream>, mut respond: SendResponse<Bytes>| async move {
            let mut response = ok();
            for part in 0..length / 1_024 {
                let value = HeaderValue::from_str(&"v".repeat(1_000)).unwrap();
                let name = http::HeaderName::try_from(format!("x-{part}")).unwrap();
                response.headers_mut().insert(name, value);
            }
            respond.send_response(response, true).unwrap();
        }
    };
    for (length, expected) in [
        (20 << 10, None),
        (58 << 10, None),
        (100 << 10, Some(ErrorKind::HttpHeadersTooLarge)),
        (200 << 10, Some(ErrorKind::HttpHeadersTooLarge)),
    ] {
        let (exchange, _server) = against(http2(&[]), long(length)).await;
        assert_eq!(kind(&exchange), expected, "{length}: {:?}", exchange.failure);
    }
    let given = RequestSpec { max_headers: 10, ..http2(&[]) };
    let (exchange, _server) = against(given, long(11 << 10)).await;
    assert_eq!(kind(&exchange), Some(ErrorKind::HttpHeadersTooLarge), "{:?}", exchange.failure);
}

#[tokio::test]
async fn a_body_that_comes_byte_by_byte_is_read_to_its_end() {
    let (exchange, _server) = against(http2(&[]), |_, mut respond| async move {
        let mut body = respond.send_response(ok(), false).unwrap();
        for last in 0..30_000 {
            body.reserve_capacity(1);
            while body.capacity() == 0 {
                std::future::poll_fn(|cx| body.poll_capacity(cx)).await.unwrap().unwrap();
            }
            body.send_data(Bytes::from_static(b"x"), last == 29_999).unwrap();
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((kind(&exchange), exchange.body.len()), (None, 30_000), "{:?}", exchange.failure);
}

/// A server that says `said`, once something was asked, and then waits.
async fn saying(said: Vec<u8>) -> Server {
    Server::scripted(move |mut stream, _| {
        let said = said.clone();
        async move {
            let mut begin = [0; 64];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut begin).await;
            let _ = stream.write_all(&said).await;
            super::support::drain(&mut stream).await;
        }
    })
    .await
}

/// A frame of stream 1, or of the connection.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, stream];
    [&head[..], payload].concat()
}

#[tokio::test]
async fn a_connection_that_is_closed_within_a_frame_is_the_targets_doing() {
    let head = frame(1, 4, 1, &[STATUS_200]);
    let body = frame(0, 1, 1, b"whole body");
    for (said, expected) in [
        ([SETTINGS, &head[..5]].concat(), ErrorKind::ConnectionClosed),
        ([SETTINGS, &head, &body[..12]].concat(), ErrorKind::BodyIncomplete),
    ] {
        let server = Server::answering(said).await;
        let exchange = fetch(http2(&[]), &server.url("/")).await;
        assert_eq!(kind(&exchange), Some(expected), "{:?}", exchange.failure);
    }
}

#[tokio::test]
async fn what_is_no_http2_is_told_apart() {
    use ErrorKind::{ConnectionClosed, HttpMalformed, HttpTooManyInterim, HttpVersion};
    let interim = frame(1, 4, 1, &[0x08, 3, b'1', b'0', b'3']);
    // The last stream that was taken up: none.
    let goaway = frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0]);
    let cases = [
        ("HTTP/1", b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n".to_vec(), HttpVersion),
        ("a banner", b"SSH-2.0-OpenSSH_10.0\r\n".to_vec(), HttpMalformed),
        ("interim responses", [SETTINGS, &interim.repeat(20)].concat(), HttpTooManyInterim),
        ("pings", [SETTINGS, &frame(6, 0, 0, &[0; 8]).repeat(20_000)].concat(), HttpMalformed),
        ("unknown frames", [SETTINGS, &frame(99, 0, 0, &[0; 8]).repeat(20_000)].concat(), HttpMalformed),
        ("no status", [SETTINGS, &frame(1, 5, 1, &[])].concat(), HttpMalformed),
        ("a frame too long", [SETTINGS, &frame(1, 5, 1, &vec![STATUS_200; 20_000])].concat(), HttpMalformed),
        ("a stream of nobody", [SETTINGS, &frame(0, 1, 7, b"x")].concat(), HttpMalformed),
        ("goodbye", [SETTINGS, &goaway].concat(), ConnectionClosed),
    ];
    for (what, said, expected) in cases {
        let server = saying(said).await;
        let exchange = fetch(http2(&[]), &server.url("/")).await;
        assert_eq!(kind(&exchange), Some(expected), "{what}: {:?}", exchange.failure);
    }
}

#[tokio::test]
async fn tls_picks_the_version() {
    let authority = Authority::new();
    let offering = |protocols: &[&str]| {
        let mut config = config(authority.issue(|_| ()));
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    };
    let asking = |http_version: HttpVersions| RequestSpec { http_version, ..trusting(authority.pem()) };

    let acceptor = TlsAcceptor::from(Arc::new(offering(&["h2", "http/1.1"])));
    let server = Server::scripted(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let Ok(mut connection) = handshake(stream).await else { return };
            let Some(Ok((_, mut respond))) = connection.accept().await else { return };
            let _ = respond.send_response(ok(), true);
            let _ =
                tokio::time::timeout(PATIENCE, std::future::poll_fn(|cx| connection.poll_closed(cx))).await;
        }
    })
    .await;
    for wanted in [HttpVersions::Auto, HttpVersions::Http2] {
        let exchange = probe(&server, asking(wanted)).await;
        assert_eq!((kind(&exchange), status(&exchange)), (None, Some(200)), "{:?}", exchange.failure);
        assert_eq!(exchange.head.unwrap().version, HttpVersion::Http2);
        assert_eq!(exchange.tls.unwrap().alpn.as_deref(), Some("h2"));
    }

    // Of a server that knows HTTP/1.1 only, and of one that does not know of ALPN.
    for protocols in [&["http/1.1"][..], &[]] {
        let server = serving(offering(protocols)).await;
        for (wanted, expected) in [
            (HttpVersions::Auto, None),
            (HttpVersions::Http11, None),
            (HttpVersions::Http2, Some(ErrorKind::HttpVersion)),
        ] {
            let exchange = probe(&server, asking(wanted)).await;
            assert_eq!(kind(&exchange), expected, "{wanted:?} {protocols:?}: {:?}", exchange.failure);
            // The certificate comes after the version has been picked.
            let refused = expected.is_some() && !protocols.is_empty();
            assert_eq!(exchange.tls.is_some_and(|tls| tls.cert_subject.is_some()), !refused);
        }
    }
}
