//! What the website answers, over its real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const TARGETS: &str = include_str!("../targets.csv.template");
const PIPELINE: &str = include_str!("../pipeline.toml.template");

/// The whole answer to a GET, as text.
async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: demo\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn each_path_answers_as_its_line_says() {
    let site = Site::start().await.unwrap();
    let cases = [
        ("/", "HTTP/1.1 200", "A very small shop"),
        ("/slow", "HTTP/1.1 200", "here at last"),
        ("/flaky", "HTTP/1.1 200", "well"),
        ("/flaky", "HTTP/1.1 503", "try again"),
        ("/flaky", "HTTP/1.1 200", "well"),
        ("/api/health", "HTTP/1.1 200", "\"ok\""),
        ("/api/stock", "HTTP/1.1 200", "\"error\""),
        ("/report", "HTTP/1.1 200", "for long"),
        ("/old", "HTTP/1.1 302", "location: /"),
        ("/missing", "HTTP/1.1 404", "no such page"),
    ];
    for (path, status, part) in cases {
        let answer = get(site.plain, path).await;
        assert!(answer.starts_with(status), "{path}: {answer:.100}");
        assert!(answer.contains(part), "{path}: {answer:.300}");
    }
}

#[tokio::test]
async fn the_report_is_larger_than_the_body_check_may_hold() {
    let site = Site::start().await.unwrap();
    assert!(get(site.plain, "/report").await.len() > 2 * 1024 * 1024);
    assert!(PIPELINE.contains(r#"memory = "2MiB""#));
}

#[tokio::test]
async fn nobody_listens_where_nobody_should() {
    let site = Site::start().await.unwrap();
    let refused = TcpStream::connect(site.nobody).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn the_certificate_is_not_trusted() {
    let site = Site::start().await.unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(site.self_signed).await.unwrap();
    let refused = connector.connect("127.0.0.1".try_into().unwrap(), stream).await.unwrap_err();
    assert!(refused.to_string().contains("certificate"), "{refused}");
}

#[tokio::test]
async fn templates_are_filled_and_every_line_is_whole() {
    let site = Site::start().await.unwrap();
    let filled = site.fill(TARGETS);
    assert!(!filled.contains("{{") && !site.fill(PIPELINE).contains("{{"));
    let columns = filled.lines().next().unwrap().split(',').count();
    for line in filled.lines() {
        assert_eq!(line.split(',').count(), columns, "{line}");
    }
    assert!(PIPELINE.parse::<toml::Table>().is_ok());
}

#[tokio::test]
async fn a_dropped_site_closes_its_ports() {
    let site = Site::start().await.unwrap();
    let address = site.plain;
    assert!(get(address, "/").await.contains("shop"));
    drop(site);
    // An aborted task is dropped by the runtime at its next turn.
    for _ in 0..1_000 {
        if TcpStream::connect(address).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the port is still open");
}
