//! Whatever the other side does, the attempt ends at its deadline, and what was known then is kept.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::support::{PATIENCE, Server, drain, fetch, fetcher, kind, read_request, spec, status};
use crate::clock::Clock;
use crate::fetch::{Request, RequestSpec};
use crate::model::{ErrorKind, Exchange};

const SHORT: Duration = Duration::from_millis(300);

fn short() -> RequestSpec {
    RequestSpec { timeout: SHORT, ..spec(&[]) }
}

/// Writes `piece` for ever, pausing between, until the client is gone.
async fn drip(stream: &mut TcpStream, piece: &[u8], pause: Duration) {
    while stream.write_all(piece).await.is_ok() {
        tokio::time::sleep(pause).await;
    }
}

/// A server that says `begin` after the request and then drips `piece`.
async fn dripping(begin: &'static str, piece: &'static str, pause_ms: u64) -> Exchange {
    let server = Server::scripted(move |mut stream, _| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(begin.as_bytes()).await;
        if piece.is_empty() {
            drain(&mut stream).await;
        } else {
            drip(&mut stream, piece.as_bytes(), Duration::from_millis(pause_ms)).await;
        }
    })
    .await;
    let exchange = fetch(short(), &server.url("/")).await;
    let total = exchange.phases.total.unwrap();
    assert!(total >= SHORT, "{total:?}");
    assert_eq!(exchange.remote_addr, Some(server.addr));
    exchange
}

#[tokio::test]
async fn silence_and_slow_heads_end_in_timeout_without_a_status() {
    for (name, begin, piece, pause) in [
        ("silence", "", "", 0),
        ("half a head", "HTTP/1.1 200 OK\r\nA: ", "", 0),
        ("a head by bytes", "HTTP/1.1 200 OK\r\nA: ", "b", 20),
        ("slow interim responses", "", "HTTP/1.1 100 Continue\r\n\r\n", 100),
    ] {
        let exchange = dripping(begin, piece, pause).await;
        assert_eq!(kind(&exchange), Some(ErrorKind::Timeout), "{name}: {:?}", exchange.failure);
        assert_eq!((status(&exchange), exchange.body_bytes), (None, None), "{name}");
        assert!(exchange.phases.first_byte.is_none() && exchange.phases.connect.is_some(), "{name}");
    }
}

#[tokio::test]
async fn bodies_that_do_not_end_keep_what_came() {
    for (name, begin, piece, pause) in [
        ("held open", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "", 0),
        ("no length, held open", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", "", 0),
        ("a byte at a time", "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nhello", "x", 30),
        (
            "endless small chunks",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "1\r\nx\r\n",
            10,
        ),
        ("announced 1 TiB", "HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\nhello", "", 0),
    ] {
        let exchange = dripping(begin, piece, pause).await;
        assert_eq!(kind(&exchange), Some(ErrorKind::Timeout), "{name}: {:?}", exchange.failure);
        assert_eq!(status(&exchange), Some(200), "{name}");
        assert!(exchange.body.starts_with(b"hello"), "{name}: {:?}", exchange.body);
        assert_eq!(exchange.body_bytes, Some(exchange.body.len() as u64), "{name}");
        assert_eq!(exchange.body_truncated, None, "{name}");
        assert!(exchange.phases.transfer.is_some() && exchange.phases.first_byte.is_some(), "{name}");
    }
}

#[tokio::test]
async fn a_handshake_that_never_answers_is_a_tls_timeout() {
    let server = Server::scripted(|mut stream, _| async move { drain(&mut stream).await }).await;
    let url = format!("https://{}/", server.addr);
    let exchange = fetch(short(), &url).await;
    assert_eq!(kind(&exchange), Some(ErrorKind::TlsTimeout), "{:?}", exchange.failure);
    assert!(exchange.phases.connect.is_some() && exchange.phases.tls.is_none() && exchange.tls.is_none());
}

#[tokio::test]
async fn a_connection_that_nobody_takes_is_a_connect_timeout() {
    // A backlog of one that is full: further SYNs are dropped.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut fillers = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(SHORT, TcpStream::connect(addr)).await {
        fillers.push(stream);
        assert!(fillers.len() < 16, "the backlog does not fill");
    }
    let exchange = fetch(short(), &format!("http://{addr}/")).await;
    assert_eq!(kind(&exchange), Some(ErrorKind::ConnectTimeout), "{:?}", exchange.failure);
    assert_eq!(exchange.remote_addr, Some(addr));
    assert!(exchange.phases.connect.is_none());
}

#[tokio::test]
async fn a_deadline_in_the_past_is_our_fault() {
    let clock = Clock::system();
    let request = Request::build(spec(&[])).unwrap();
    let exchange = fetcher().fetch(&request, "http://127.0.0.1:1/", clock.now(), &clock).await;
    assert_eq!(kind(&exchange), Some(ErrorKind::Internal));
}

#[tokio::test]
async fn the_deadline_spans_all_redirects() {
    let server = Server::scripted(|mut stream, _| async move {
        read_request(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(120)).await;
        let _ =
            stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n").await;
        let _ = tokio::time::timeout(PATIENCE, drain(&mut stream)).await;
    })
    .await;
    let exchange = fetch(short(), &server.url("/")).await;
    assert_eq!(kind(&exchange), Some(ErrorKind::Timeout), "{:?}", exchange.failure);
    assert!(matches!(exchange.redirects, Some(1 | 2)), "{:?}", exchange.hops);
    assert_eq!(status(&exchange), Some(302));
    assert!(exchange.hops.last().unwrap().status.is_none());
}
