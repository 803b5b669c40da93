//! Names: a name server on the loopback that answers what the test wants.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::dns::{NameServer, Say, loopback};
use super::support::{Server, fetch_with, kind, spec};
use crate::fetch::{Fetcher, FetcherConfig, IpVersion, RequestSpec};
use crate::model::ErrorKind;

#[tokio::test]
async fn a_name_is_resolved_and_timed() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let names = NameServer::saying(loopback(), Say::Code(0)).await;
    let exchange = names.probe(spec(&[]), server.addr.port()).await;
    assert_eq!(kind(&exchange), None, "{:?}", exchange.failure);
    assert_eq!((exchange.dns_answers, exchange.remote_addr), (Some(1), Some(server.addr)));
    assert!(exchange.phases.dns.is_some());
}

#[tokio::test]
async fn every_probe_asks_anew_unless_there_is_a_cache() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    for (entries, asked) in [(0, 2), (64, 1)] {
        let names = NameServer::saying(loopback(), Say::Code(0)).await;
        let fetcher = Fetcher::new(&FetcherConfig {
            dns_servers: vec![names.addr],
            dns_cache_entries: entries,
            ..FetcherConfig::default()
        })
        .unwrap();
        for _ in 0..2 {
            let v4 = RequestSpec { ip_version: IpVersion::V4, ..spec(&[]) };
            let url = format!("http://shop.test:{}/", server.addr.port());
            assert_eq!(kind(&fetch_with(&fetcher, v4, &url).await), None);
        }
        assert_eq!(names.asked.load(Ordering::Relaxed), asked, "{entries} entries");
    }
}

#[tokio::test]
async fn refusals_of_the_name_server_have_their_kinds() {
    for (name, a, other, expected) in [
        ("nxdomain", Say::Code(3), Say::Code(3), ErrorKind::DnsNxdomain),
        ("nodata", Say::Code(0), Say::Code(0), ErrorKind::DnsNodata),
        ("servfail", Say::Code(2), Say::Code(2), ErrorKind::DnsServfail),
        ("refused", Say::Code(5), Say::Code(5), ErrorKind::DnsRefused),
        ("half unknown", Say::Code(2), Say::Code(0), ErrorKind::DnsServfail),
        ("notimp", Say::Code(4), Say::Code(4), ErrorKind::DnsError),
    ] {
        let names = NameServer::saying(a, other).await;
        let exchange = names.probe(spec(&[]), 1).await;
        assert_eq!(kind(&exchange), Some(expected), "{name}: {:?}", exchange.failure);
        assert!(exchange.phases.dns.is_some() && exchange.phases.connect.is_none(), "{name}");
        assert_eq!((exchange.remote_addr, exchange.dns_answers), (None, None), "{name}");
        assert!(exchange.failure.unwrap().message.contains("shop.test"), "{name}");
    }
}

#[tokio::test]
async fn a_silent_name_server_is_unknown_at_the_deadline() {
    let names = NameServer::saying(Say::Nothing, Say::Nothing).await;
    let short = RequestSpec { timeout: Duration::from_millis(300), ..spec(&[]) };
    let exchange = names.probe(short, 1).await;
    assert_eq!(kind(&exchange), Some(ErrorKind::DnsTimeout), "{:?}", exchange.failure);
    assert!(exchange.phases.dns.is_none());
}

#[tokio::test]
async fn a_name_server_that_drops_aaaa_holds_nobody_up() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let names = NameServer::saying(loopback(), Say::Nothing).await;
    let exchange = names.probe(spec(&[]), server.addr.port()).await;
    assert_eq!(kind(&exchange), None, "{:?}", exchange.failure);
    assert!(exchange.phases.dns.unwrap() < Duration::from_secs(2), "{:?}", exchange.phases);
}

#[tokio::test]
async fn the_next_address_is_tried_and_the_telling_failure_reported() {
    let server = Server::scripted_at("127.0.0.3:0", |mut stream, _| async move {
        super::support::read_request(&mut stream).await;
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 204 N\r\n\r\n").await;
    })
    .await;
    let several = Say::Addresses(vec![[127, 0, 0, 1], [127, 0, 0, 2], [127, 0, 0, 3]]);
    let names = NameServer::saying(several, Say::Code(0)).await;
    let exchange = names.probe(spec(&[]), server.addr.port()).await;
    assert_eq!(kind(&exchange), None, "{:?}", exchange.failure);
    assert_eq!((exchange.dns_answers, exchange.remote_addr), (Some(3), Some(server.addr)));
    let port = server.addr.port();
    drop(server);
    let both = Say::Addresses(vec![[127, 0, 0, 1], [127, 0, 0, 2]]);
    let exchange = NameServer::saying(both, Say::Code(0)).await.probe(spec(&[]), port).await;
    assert_eq!(kind(&exchange), Some(ErrorKind::ConnectRefused), "{:?}", exchange.failure);
}

#[tokio::test]
async fn a_silent_address_is_overtaken_by_the_next() {
    // A backlog of one that is full: the first address takes no connection and refuses none.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let addr = full.local_addr().unwrap();
    let mut fillers = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(300), tokio::net::TcpStream::connect(addr)).await
    {
        fillers.push(stream);
        assert!(fillers.len() < 16, "the backlog does not fill");
    }
    let server = Server::scripted_at(&format!("127.0.0.3:{}", addr.port()), |mut stream, _| async move {
        super::support::read_request(&mut stream).await;
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 204 N\r\n\r\n").await;
    })
    .await;
    let names = NameServer::saying(Say::Addresses(vec![[127, 0, 0, 2], [127, 0, 0, 3]]), Say::Code(0)).await;
    let exchange = names.probe(spec(&[]), addr.port()).await;
    assert_eq!((kind(&exchange), exchange.remote_addr), (None, Some(server.addr)), "{:?}", exchange.failure);
    let connect = exchange.phases.connect.unwrap();
    assert!(connect >= Duration::from_millis(250) && connect < Duration::from_secs(2), "{connect:?}");
}

#[tokio::test]
async fn an_impossible_name_is_an_error_not_a_question() {
    let names = NameServer::saying(loopback(), loopback()).await;
    let url = format!("http://{}.test/", "a".repeat(64));
    let exchange = fetch_with(&names.fetcher(), spec(&[]), &url).await;
    assert_eq!(kind(&exchange), Some(ErrorKind::DnsError), "{:?}", exchange.failure);
    assert_eq!(names.asked.load(Ordering::Relaxed), 0);
}
