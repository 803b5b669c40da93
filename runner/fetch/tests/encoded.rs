//! Compressed bodies over the wire: both sizes, the limits after decoding, and what is no such body.

use std::time::Duration;

use super::support::{PATIENCE, Server, fetch, fetch_with, get, kind, spec};
use crate::fetch::decode::tests::encoded;
use crate::fetch::{Fetcher, FetcherConfig, RequestSpec};
use crate::model::{ErrorKind, Exchange};

/// A response of `body` that is said to be `coding`.
fn response(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut response =
        format!("HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\n\r\n", body.len())
            .into_bytes();
    response.extend_from_slice(body);
    response
}

async fn answer(coding: &str, body: &[u8], spec: RequestSpec) -> Exchange {
    let server = Server::answering(response(coding, body)).await;
    fetch(spec, &server.url("/")).await
}

fn sizes(exchange: &Exchange) -> (Option<u64>, Option<u64>, usize, Option<bool>) {
    (exchange.body_bytes, exchange.decoded_bytes, exchange.body.len(), exchange.body_truncated)
}

#[tokio::test]
async fn bodies_are_decoded_and_both_sizes_are_kept() {
    let text = "one two three, ".repeat(2_000);
    for (coding, name) in
        [("gzip", "gzip"), ("deflate", "zlib"), ("deflate", "deflate"), ("br", "br"), ("zstd", "zstd")]
    {
        let body = encoded(name, text.as_bytes());
        let exchange = answer(coding, &body, spec(&[])).await;
        assert_eq!(kind(&exchange), None, "{name}");
        let whole = (Some(body.len() as u64), Some(30_000), 30_000, Some(false));
        assert_eq!(sizes(&exchange), whole, "{name}");
        assert_eq!(exchange.body, text.as_bytes(), "{name}");
    }
}

#[tokio::test]
async fn h47_the_limit_counts_after_decoding_and_is_exact() {
    for length in [127, 128, 129] {
        let body = encoded("gzip", &vec![b'x'; length]);
        let exchange = answer("gzip", &body, RequestSpec { body_limit: 128, ..spec(&[]) }).await;
        assert_eq!((kind(&exchange), exchange.body.len()), (None, length.min(128)));
        assert_eq!(exchange.body_truncated, Some(length > 128));
        let failing = RequestSpec { fail_if_body_over: Some(128), ..spec(&[]) };
        let exchange = answer("gzip", &body, failing).await;
        assert_eq!(kind(&exchange), (length > 128).then_some(ErrorKind::BodyTooLarge), "{length}");
        assert_eq!(exchange.body_bytes, Some(body.len() as u64), "the wire's length stays");
    }
}

#[tokio::test]
async fn n60_bombs_end_soon_and_say_so() {
    for (coding, name) in [("gzip", "gzip"), ("br", "br"), ("zstd", "zstd"), ("deflate", "zlib")] {
        let body = encoded(name, &vec![0; 8 << 20]);
        let exchange = answer(coding, &body, spec(&[])).await;
        // A short one is a bomb at once; a longer one is cut at the limit before its ratio is reached.
        if body.len() < 5_000 {
            assert_eq!(kind(&exchange), Some(ErrorKind::DecompressBomb), "{name}");
        }
        assert!(exchange.body.len() <= 1 << 20, "{name}");
        assert!(exchange.decoded_bytes < Some(2 << 20), "{name}");
        let generous = RequestSpec { decompression_ratio_limit: 2_000_000, ..spec(&[]) };
        let exchange = answer(coding, &body, generous).await;
        assert_eq!((kind(&exchange), exchange.body_truncated), (None, Some(true)), "{name}");
        assert_eq!(exchange.body.len(), 1 << 20, "{name}");
    }
}

#[tokio::test]
async fn n66_bodies_wait_for_the_memory_that_others_have() {
    let text: Vec<u8> = (0..300 * 1_024_usize).map(|at| (at * at / 7 + at / 100) as u8).collect();
    let mut plain = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len()).into_bytes();
    plain.extend_from_slice(&text);
    for answer in [plain, response("gzip", &encoded("gzip", &text))] {
        let server = Server::answering(answer).await;
        let config = FetcherConfig { body_memory: 512 * 1_024, ..FetcherConfig::default() };
        let fetcher = Fetcher::new(&config).unwrap();
        let asked =
            || RequestSpec { body_limit: 320 * 1_024, timeout: Duration::from_millis(400), ..spec(&[]) };
        let first = fetch_with(&fetcher, asked(), &server.url("/")).await;
        assert_eq!((kind(&first), first.body.len()), (None, text.len()));
        let second = fetch_with(&fetcher, asked(), &server.url("/")).await;
        assert_eq!(kind(&second), Some(ErrorKind::LocalMemory), "it is our limit");
        drop(first);
        let third =
            fetch_with(&fetcher, RequestSpec { timeout: PATIENCE, ..asked() }, &server.url("/")).await;
        assert_eq!((kind(&third), third.body.len()), (None, text.len()));
        // What is short needs none.
        let fourth =
            fetch_with(&fetcher, RequestSpec { body_limit: 1_000, ..asked() }, &server.url("/")).await;
        assert_eq!((kind(&fourth), fourth.body_truncated), (None, Some(true)));
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_is_down_with_its_kind() {
    let gzip = encoded("gzip", b"hello hello hello");
    let cases: [(&str, &[u8], Option<ErrorKind>); 6] = [
        // H44
        ("deflate", &gzip, Some(ErrorKind::BodyEncoding)),
        ("br", b"<html>no brotli</html>", Some(ErrorKind::BodyEncoding)),
        ("gzip", &gzip[..gzip.len() - 3], Some(ErrorKind::BodyIncomplete)),
        // N61
        ("gzip, gzip, gzip, gzip, gzip, gzip", &gzip, Some(ErrorKind::BodyEncoding)),
        ("gzip", b"", None),
        // Not a coding: the body is what came.
        ("utf-8", b"hello", None),
    ];
    for (coding, body, expected) in cases {
        let exchange = answer(coding, body, spec(&[])).await;
        assert_eq!(kind(&exchange), expected, "{coding}");
        assert_eq!(exchange.head.as_ref().map(|head| head.status), Some(200), "{coding}");
        if expected.is_none() {
            assert_eq!(exchange.body, body, "{coding}");
        }
    }
}

#[tokio::test]
async fn codings_are_asked_for_unless_the_user_says_otherwise() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    get(&server.url("/")).await;
    fetch(spec(&[("Accept-Encoding", "identity")]), &server.url("/")).await;
    let asked: Vec<_> = server
        .seen()
        .iter()
        .map(|request| super::support::header(request, "accept-encoding").unwrap().to_owned())
        .collect();
    assert_eq!(asked, ["gzip, br, zstd", "identity"]);
}

#[tokio::test]
async fn an_answer_to_head_is_whole_without_its_body() {
    let server =
        Server::answering("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 999\r\n\r\n").await;
    let exchange = fetch(RequestSpec { method: "HEAD".to_owned(), ..spec(&[]) }, &server.url("/")).await;
    assert_eq!((kind(&exchange), exchange.body.len()), (None, 0));
}
