//! Any bytes as the answer to a request over HTTP/1.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header;

use super::script::{self, Ending, Script};
use super::{Choices, assert_theirs, block_on, request, shared};
use crate::clock::{Clock, UnixNanos};
use crate::fetch::decode::{self, RATIO_FREE};
use crate::fetch::exchange::{MAX_HEAD_BYTES, MAX_HEADERS, send_over};
use crate::fetch::progress::Progress;
use crate::fetch::{Request, RequestSpec, Shared, first_request};
use crate::model::{ErrorKind, Exchange, HttpVersion};

const TIMEOUT: Duration = Duration::from_secs(10);
/// What a server can cause once it is connected to.
const THEIRS: [ErrorKind; 10] = [
    ErrorKind::Timeout,
    ErrorKind::ConnectionClosed,
    ErrorKind::Reset,
    ErrorKind::HttpMalformed,
    ErrorKind::HttpHeadersTooLarge,
    ErrorKind::HttpTooManyInterim,
    ErrorKind::BodyIncomplete,
    ErrorKind::BodyEncoding,
    ErrorKind::DecompressBomb,
    ErrorKind::BodyTooLarge,
];
/// Reads that are no progress: a server that has closed, or has nothing to say yet, is asked a few times, not for ever.
const IDLE_READS: u32 = 16;

/// One answer of any bytes: there is always one exchange, in time, within its limits, with a failure that a server can
/// cause, and what is counted is what was sent.
pub fn http1(data: &[u8]) {
    let Some((mut choices, answer)) = Choices::split(data, script::CHOICES + 4) else { return };
    let script = Script::new(&mut choices, answer);
    let request = request(RequestSpec {
        method: choices.of(&["GET", "HEAD", "POST", "OPTIONS"]).to_owned(),
        body_limit: choices.of(&[90_000, 1, 100, 64 << 10, (64 << 10) + 1, 70_000]),
        fail_if_body_over: choices.of(&[None, Some(0), Some(150), Some(70_000)]),
        decompression_ratio_limit: choices.of(&[200, 1, 3, 100_000]),
        response_headers: vec!["server".to_owned(), "set-cookie".to_owned()],
        ..RequestSpec::default()
    });
    let (said, ending, reads) = (script.answer(), script.ending(), script.reads());
    let shared = shared();
    let exchange = block_on(exchanged(&shared, &request, script));
    check(&exchange, &request, &said, ending);
    let reads = reads.load(Ordering::Relaxed);
    assert!(reads <= said.len() as u32 * 3 + IDLE_READS, "{reads} reads of {} bytes", said.len());
    drop(exchange);
    assert!(shared.body_memory.is_free(), "the room of a body was not given back");
}

/// As an attempt does it, but for the redirects.
async fn exchanged(shared: &Shared, request: &Request, script: Script) -> Exchange {
    let clock = Clock::simulated(UnixNanos(1_790_000_000_000_000_000));
    let began = clock.now();
    let mut progress = Progress::new(began);
    let outgoing = first_request(request, "http://shop.example/a?b=c").unwrap();
    progress.begin_hop(outgoing.uri.to_string(), outgoing.method.clone(), began);
    let run = async {
        let response = send_over(script, shared, request, &outgoing, &mut progress, &clock).await?;
        response.read_body(shared, request, &mut progress).await
    };
    let failure = match tokio::time::timeout_at(began + TIMEOUT, run).await {
        Ok(result) => result.err(),
        Err(_) => Some(progress.at_deadline()),
    };
    progress.settle_hop(false, &clock);
    progress.exchange.kept_headers = request.response_headers.clone();
    progress.finish(failure, clock.now())
}

fn check(exchange: &Exchange, request: &Request, said: &[u8], ending: Ending) {
    let failure = exchange.failure.as_ref();
    if let Some(failure) = failure {
        assert_theirs(failure, &THEIRS);
        let silent = ending == Ending::Silent;
        assert!(failure.kind != ErrorKind::Timeout || silent, "only silence lasts: {failure:?}");
        assert!(failure.kind != ErrorKind::Reset || ending == Ending::Reset, "{failure:?}");
    }
    check_phases(exchange);
    if let Some(kept) = exchange.kept() {
        kept.for_each(|(_, value)| assert!(value.len() <= 1_024));
    }
    let Some(head) = &exchange.head else {
        assert!(failure.is_some() && exchange.body_bytes.is_none() && exchange.body.is_empty());
        return;
    };
    assert!((100..1_000).contains(&head.status) && head.headers.len() <= MAX_HEADERS);
    assert!(matches!(head.version, HttpVersion::Http10 | HttpVersion::Http11));
    let final_head = final_head(said);
    assert_eq!(exchange.header_bytes, Some(final_head.len() as u64), "of the head at {final_head:?}");
    assert!(final_head.len() <= MAX_HEAD_BYTES);
    check_body(exchange, request, &said[final_head.end..]);
}

/// Where the final head stands in what was said, if one does: behind those of interim responses.
fn final_head(said: &[u8]) -> Range<usize> {
    let mut begin = 0;
    loop {
        let rest = &said[begin..];
        let line = rest.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(0);
        let is_end =
            |end: &usize| rest[line..*end].ends_with(b"\n\n") || rest[line..*end].ends_with(b"\n\r\n");
        let end = begin + (line..=rest.len()).find(is_end).unwrap_or(rest.len());
        let code = rest.get(line + 9..line + 12).unwrap_or_default();
        if !code.starts_with(b"1") || code == b"101" || end == said.len() {
            return begin..end;
        }
        begin = end;
    }
}

fn check_body(exchange: &Exchange, request: &Request, after_head: &[u8]) {
    let head = exchange.head.as_ref().unwrap();
    let (kept, failure) = (exchange.body.len(), exchange.failure.as_ref());
    let Some(arrived) = exchange.body_bytes else {
        assert!(failure.is_some() && kept == 0, "a body was not read, and nobody says why");
        return;
    };
    let decoded = exchange.decoded_bytes.unwrap();
    assert!(kept <= request.body_limit && kept as u64 <= decoded && arrived <= after_head.len() as u64);
    assert!(failure.is_some() || kept == request.body_limit || kept as u64 == decoded, "bytes are missing");
    match exchange.body_truncated {
        Some(cut) => assert_eq!(cut, decoded > kept as u64),
        None => assert!(failure.is_some(), "a whole body is cut or not"),
    }
    if let Some(most) = request.fail_if_body_over {
        assert!(failure.is_some() || decoded <= most);
    }
    if arrived > 0 && decode::coding_of(&head.headers).unwrap().is_some() {
        let most = request.decompression_ratio_limit.saturating_mul(arrived + 1).max(RATIO_FREE);
        assert!(decoded <= most, "{arrived} bytes became {decoded}");
    } else {
        assert_eq!(decoded, arrived);
        let is_as_sent = !head.headers.contains_key(header::TRANSFER_ENCODING);
        assert!(!is_as_sent || after_head.starts_with(&exchange.body), "this is not what was sent");
    }
}

fn check_phases(exchange: &Exchange) {
    let phases = &exchange.phases;
    assert_eq!(phases.first_byte.is_some(), exchange.head.is_some());
    assert_eq!(phases.transfer.is_some(), exchange.body_bytes.is_some());
    assert!(phases.dns.is_none() && phases.connect.is_none() && phases.tls.is_none());
    let total = phases.total.unwrap();
    // A timer's grain.
    assert!(total <= TIMEOUT + Duration::from_millis(2), "{total:?}");
    assert!(phases.first_byte.unwrap_or_default() + phases.transfer.unwrap_or_default() <= total);
}
