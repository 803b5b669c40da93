//! Connections that are kept for the next request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::secure::{Authority, config, trusting};
use super::support::{PATIENCE, Server, drain, fetcher, kind, read_request, spec, status};
use crate::clock::Clock;
use crate::fetch::{HttpVersions, Request, RequestSpec};
use crate::model::{ErrorKind, Exchange};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn reusing(given: RequestSpec) -> Request {
    Request::build(RequestSpec { reuse_connections: true, ..given }).unwrap()
}

/// What comes of so many probes, one after the other; each brings a whole response.
async fn probes(count: usize, request: &Request, url: &str) -> Vec<Exchange> {
    let (fetcher, clock) = (fetcher(), Clock::system());
    let mut exchanges = Vec::with_capacity(count);
    for turn in 0..count {
        let exchange = fetcher.fetch(request, url, clock.now() + request.timeout(), &clock).await;
        assert_eq!((kind(&exchange), status(&exchange)), (None, Some(200)), "{turn}: {:?}", exchange.failure);
        assert_eq!(exchange.connection_reused == Some(true), exchange.phases.connect.is_none(), "{turn}");
        exchanges.push(exchange);
    }
    exchanges
}

fn reused(exchanges: &[Exchange]) -> Vec<bool> {
    exchanges.iter().map(|exchange| exchange.connection_reused.unwrap()).collect()
}

/// A server that answers one request after the other on every connection, `answers` of them, and then closes it; and
/// how many connections there were.
async fn keeping(answers: usize, answer: &'static [u8]) -> (Server, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let server = Server::scripted(move |mut stream, seen| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            for _ in 0..answers {
                let request = read_request(&mut stream).await;
                if request.is_empty() {
                    return;
                }
                seen.lock().unwrap().push(request);
                let _ = stream.write_all(answer).await;
            }
        }
    })
    .await;
    (server, connections)
}

#[tokio::test]
async fn the_next_request_goes_by_the_same_connection() {
    let (server, connections) = keeping(10, OK).await;
    let exchanges = probes(5, &reusing(spec(&[])), &server.url("/")).await;
    assert_eq!(reused(&exchanges), [false, true, true, true, true]);
    for exchange in &exchanges {
        assert!(exchange.phases.first_byte.is_some() && exchange.remote_addr == Some(server.addr));
        assert_eq!(exchange.header_bytes, Some(38));
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    assert!(server.seen().iter().all(|request| !request.contains("connection:")));
}

#[tokio::test]
async fn another_pipelines_request_has_connections_of_its_own() {
    let (server, _) = keeping(10, OK).await;
    let (fetcher, clock) = (fetcher(), Clock::system());
    let mut kinds = Vec::new();
    for timeout in [PATIENCE, Duration::from_millis(100)] {
        let request = reusing(RequestSpec { timeout, ..spec(&[]) });
        let deadline = clock.now() + timeout;
        kinds.push(kind(&fetcher.fetch(&request, &server.url("/"), deadline, &clock).await));
    }
    // The server takes one connection at a time, and the first one still stands.
    assert_eq!(kinds, [None, Some(ErrorKind::Timeout)]);
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_costs_nothing() {
    let (server, connections) = keeping(1, OK).await;
    let exchanges = probes(20, &reusing(spec(&[])), &server.url("/")).await;
    assert_eq!((reused(&exchanges), connections.load(Ordering::SeqCst)), (vec![false; 20], 20));
}

#[tokio::test]
async fn n41_a_connection_with_more_than_the_response_is_not_kept() {
    const MORE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 500 No\r\n\r\n";
    let (server, _) = keeping(1, MORE).await;
    let exchanges = probes(3, &reusing(spec(&[])), &server.url("/")).await;
    assert_eq!(reused(&exchanges), [false; 3]);
    assert!(exchanges.iter().all(|exchange| exchange.body == "hello"));
}

#[tokio::test]
async fn what_may_not_be_sent_twice_goes_by_a_fresh_connection() {
    let (server, connections) = keeping(1, OK).await;
    let post = reusing(RequestSpec { method: "POST".to_owned(), ..spec(&[]) });
    let exchanges = probes(3, &post, &server.url("/")).await;
    assert_eq!((reused(&exchanges), connections.load(Ordering::SeqCst)), (vec![false; 3], 3));
}

#[tokio::test]
async fn a_body_that_was_not_read_ends_the_connection() {
    let (server, connections) = keeping(1, OK).await;
    let request = reusing(RequestSpec { body_limit: 2, ..spec(&[]) });
    let exchanges = probes(3, &request, &server.url("/")).await;
    assert!(exchanges.iter().all(|exchange| exchange.body == "he"));
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn tls_and_http2_are_kept_with_their_facts() {
    let authority = Authority::new();
    let mut serving = config(authority.issue(|_| ()));
    serving.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(serving));
    let server = Server::scripted(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            let mut connection = h2::server::handshake(acceptor.accept(stream).await.unwrap()).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                body.send_data(hyper::body::Bytes::from_static(b"hello"), true).unwrap();
            }
        }
    })
    .await;
    let url = format!("https://{}/", server.addr);
    let exchanges = probes(5, &reusing(trusting(authority.pem())), &url).await;
    assert_eq!(reused(&exchanges), [false, true, true, true, true]);
    for (turn, exchange) in exchanges.into_iter().enumerate() {
        assert_eq!((exchange.body.as_ref(), exchange.phases.tls.is_some()), (&b"hello"[..], turn == 0));
        let tls = exchange.tls.unwrap();
        assert_eq!((tls.verified, tls.cert_subject.as_deref()), (Some(true), Some("CN=leaf")), "{turn}");
        assert_eq!(tls.alpn.as_deref(), Some("h2"));
    }
}

#[tokio::test]
async fn a_connection_that_breaks_under_a_request_is_tried_once_more_afresh() {
    // The second request is read and answered by nothing: a race that the client cannot see coming.
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let server = Server::scripted(move |mut stream, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(OK).await;
            let mut one = [0; 1];
            let _ = stream.read(&mut one).await;
            let _ = stream.shutdown().await;
            drain(&mut stream).await;
        }
    })
    .await;
    let exchanges = probes(4, &reusing(spec(&[])), &server.url("/")).await;
    assert_eq!((reused(&exchanges), connections.load(Ordering::SeqCst)), (vec![false; 4], 4));
}

#[tokio::test]
async fn a_stream_that_a_kept_connection_refuses_is_asked_for_once_more_afresh() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let server = Server::scripted(move |stream, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let Some(Ok((_, mut first))) = connection.accept().await else { return };
            first.send_response(http::Response::new(()), true).unwrap();
            let Some(Ok((_, mut second))) = connection.accept().await else { return };
            second.send_reset(h2::Reason::REFUSED_STREAM);
            let _ = std::future::poll_fn(|cx| connection.poll_closed(cx)).await;
        }
    })
    .await;
    let request = reusing(RequestSpec { http_version: HttpVersions::Http2, ..spec(&[]) });
    let exchanges = probes(4, &request, &server.url("/")).await;
    assert_eq!((reused(&exchanges), connections.load(Ordering::SeqCst)), (vec![false; 4], 4));
}
