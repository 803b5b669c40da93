//! One or two requests over a scripted connection, and what holds of every answer, whatever HTTP it is spoken in.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Method, header};
use hyper::body::Bytes;

use super::script::{Ending, Script};
use super::{Choices, assert_theirs, block_on, request, shared};
use crate::clock::{Clock, Instant, UnixNanos};
use crate::fetch::decode::{self, RATIO_FREE};
use crate::fetch::exchange::{self, OpenResponse, Outgoing};
use crate::fetch::link::{Link, Speaks};
use crate::fetch::pool::PoolKey;
use crate::fetch::progress::{Progress, Stage};
use crate::fetch::{Request, RequestSpec, Shared, first_request};
use crate::model::{ErrorKind, Exchange, Failure, Head};

const TIMEOUT: Duration = Duration::from_secs(10);
/// How many choices a request takes.
pub(super) const CHOICES: usize = 6;
/// Reads that are no progress: a server that has closed, or has nothing to say yet, is asked a few times, not for ever.
const IDLE_READS: u32 = 32;

/// What a server can cause once it is connected to.
const THEIRS: [ErrorKind; 12] = [
    ErrorKind::Timeout,
    ErrorKind::ConnectionClosed,
    ErrorKind::Reset,
    ErrorKind::HttpMalformed,
    ErrorKind::HttpHeadersTooLarge,
    ErrorKind::HttpVersion,
    ErrorKind::HttpTooManyInterim,
    ErrorKind::BodyIncomplete,
    ErrorKind::BodyEncoding,
    ErrorKind::DecompressBomb,
    ErrorKind::BodyTooLarge,
    // Of HTTP/2 alone: a flood that an honest server may cause.
    ErrorKind::LocalLimit,
];

/// What was asked, and the first answer.
pub(super) struct Answered {
    pub(super) request: Request,
    pub(super) exchange: Exchange,
}

/// Sends a request to `script`, and another one if the connection is kept; checks each answer.
pub(super) fn answered(choices: &mut Choices<'_>, script: Script, speaks: Speaks) -> Answered {
    let (header_limit, max_headers) = choices.of(&[(64 << 10, 256), (200, 4), (64 << 10, 1_000)]);
    let request = request(RequestSpec {
        method: choices.of(&["GET", "HEAD", "POST", "OPTIONS"]).to_owned(),
        body: choices.of(&[None, Some("sent")]).map(|body| Bytes::from_static(body.as_bytes())),
        body_limit: choices.of(&[90_000, 1, 100, 64 << 10, (64 << 10) + 1, 70_000]),
        fail_if_body_over: choices.of(&[None, Some(0), Some(150), Some(70_000)]),
        decompression_ratio_limit: choices.of(&[200, 1, 3, 100_000]),
        header_limit,
        max_headers,
        reuse_connections: true,
        response_headers: vec!["server".to_owned(), "set-cookie".to_owned()],
        ..RequestSpec::default()
    });
    let (said, ending, reads) = (script.answer(), script.ending(), script.reads());
    let shared = shared();
    let exchange = block_on(both(&shared, &request, script, speaks, ending));
    // A script takes three turns for a piece at most.
    let most = said.len() as u32 * 3 + IDLE_READS;
    assert!(reads.load(Ordering::Relaxed) <= most, "{reads:?} reads of {} bytes", said.len());
    assert!(exchange.body_bytes.is_none_or(|bytes| bytes <= said.len() as u64));
    assert!(exchange.header_bytes.is_none_or(|bytes| bytes <= said.len() as u64));
    Answered { request, exchange }
}

/// The first exchange, checked as the second one is, if there is one.
async fn both(
    shared: &Shared,
    request: &Request,
    script: Script,
    speaks: Speaks,
    ending: Ending,
) -> Exchange {
    let clock = Clock::simulated(UnixNanos(1_790_000_000_000_000_000));
    let outgoing = first_request(request, "http://shop.example/a?b=c").unwrap();
    let key = exchange::pool_key(request, &outgoing);

    let mut progress = begun(&outgoing, &clock);
    progress.enter(Stage::FirstByte, clock.now());
    let deadline = clock.now() + TIMEOUT;
    let run = async {
        let opened = Link::open(script, false, speaks, request.head_limits, progress.wire.clone()).await;
        let link = opened.map_err(|error| exchange::http_failure(&error, &progress))?;
        let keep = key.clone().map(|key| (key, clock.now()));
        send(shared, request, &outgoing, link, keep, &mut progress, &clock).await
    };
    let first = ended(request, tokio::time::timeout_at(deadline, run).await, progress, &clock);
    check(&first, request, ending);

    let kept = match &key {
        Some(key) => shared.pool.take(key, clock.now()).await,
        None => None,
    };
    if let Some(idle) = kept {
        // A body is read on for the sake of `fail_if_body_over`.
        let is_read = first.body_truncated == Some(false) || request.fail_if_body_over.is_some();
        let is_whole = first.failure.is_none() && is_read;
        assert!(is_whole, "a connection is kept whose answer was not whole");
        let mut progress = begun(&outgoing, &clock);
        let (link, _) = exchange::take_up(idle, &mut progress, &clock);
        let deadline = clock.now() + TIMEOUT;
        let run = send(shared, request, &outgoing, link, None, &mut progress, &clock);
        let result = tokio::time::timeout_at(deadline, run).await;
        let is_stale = matches!(&result, Ok(Err(failure)) if exchange::is_stale(failure, &progress));
        let second = ended(request, result, progress, &clock);
        // Such a request is sent again over another connection.
        if !is_stale {
            check(&second, request, ending);
        }
    }
    assert!(shared.pool.is_empty(), "a connection is kept twice");
    first
}

/// An attempt whose connection is about to speak.
fn begun(outgoing: &Outgoing, clock: &Clock) -> Progress {
    let mut progress = Progress::new(clock.now());
    progress.begin_hop(outgoing.uri.to_string(), outgoing.method.clone(), clock.now());
    progress
}

/// As an attempt does it once it has a connection.
async fn send(
    shared: &Shared,
    request: &Request,
    outgoing: &Outgoing,
    mut link: Link,
    keep: Option<(PoolKey, Instant)>,
    progress: &mut Progress,
    clock: &Clock,
) -> Result<(), Failure> {
    let to_send = exchange::http_request(request, outgoing, link.speaks()).unwrap();
    let response = link.send(to_send).await.map_err(|error| exchange::http_failure(&error, progress))?;
    let (parts, body) = response.into_parts();
    exchange::head_came(parts, request, progress, clock)?;
    OpenResponse { body, link, keep }.read_body(shared, request, progress, clock).await
}

fn ended(
    request: &Request,
    result: Result<Result<(), Failure>, tokio::time::error::Elapsed>,
    mut progress: Progress,
    clock: &Clock,
) -> Exchange {
    let failure = match result {
        Ok(result) => result.err(),
        Err(_) => Some(progress.at_deadline()),
    };
    progress.settle_hop(false, clock);
    progress.exchange.kept_headers = Arc::clone(&request.response_headers);
    progress.finish(failure, clock.now())
}

/// There is one exchange, in time, within its limits, with a failure that a server can cause.
fn check(exchange: &Exchange, request: &Request, ending: Ending) {
    let failure = exchange.failure.as_ref();
    if let Some(failure) = failure {
        assert_theirs(failure, &THEIRS);
        assert!(
            failure.kind != ErrorKind::Timeout || ending == Ending::Silent,
            "only silence lasts: {failure:?}"
        );
    }
    check_phases(exchange);
    if let Some(kept) = exchange.kept() {
        kept.for_each(|(_, value)| assert!(value.len() <= 1_024));
    }
    let Some(head) = &exchange.head else {
        assert!(failure.is_some() && exchange.body_bytes.is_none() && exchange.body.is_empty());
        return;
    };
    assert!((100..1_000).contains(&head.status));
    let headers = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
    let too_large = failure.is_some_and(|failure| failure.kind == ErrorKind::HttpHeadersTooLarge);
    assert!(too_large || head.headers.len() <= request.head_limits.headers as usize);
    assert!(headers <= request.head_limits.bytes as usize, "{headers} bytes of headers");
    assert!(exchange.header_bytes.is_some(), "a head that came has a length");
    check_body(exchange, request);
}

fn check_body(exchange: &Exchange, request: &Request) {
    let head = exchange.head.as_ref().unwrap();
    let (kept, failure) = (exchange.body.len(), exchange.failure.as_ref());
    let Some(arrived) = exchange.body_bytes else {
        assert!(failure.is_some() && kept == 0, "a body was not read, and nobody says why");
        return;
    };
    let decoded = exchange.decoded_bytes.unwrap();
    assert!(kept <= request.body_limit && kept as u64 <= decoded);
    assert!(failure.is_some() || kept == request.body_limit || kept as u64 == decoded, "bytes are missing");
    match exchange.body_truncated {
        Some(cut) => assert_eq!(cut, decoded > kept as u64),
        None => assert!(failure.is_some(), "a whole body is cut or not"),
    }
    if failure.is_none() && exchange.body_truncated == Some(false) {
        assert!(announced(head, request).is_none_or(|length| length == arrived), "{arrived} bytes are whole");
    }
    if let Some(most) = request.fail_if_body_over {
        assert!(failure.is_some() || decoded <= most);
    }
    if arrived > 0 && decode::coding_of(&head.headers).unwrap().is_some() {
        let most = request.decompression_ratio_limit.saturating_mul(arrived + 1).max(RATIO_FREE);
        assert!(decoded <= most, "{arrived} bytes became {decoded}");
    } else {
        assert_eq!(decoded, arrived);
    }
}

/// How long a body is said to be, where its head decides that (RFC 9112 section 6.3).
fn announced(head: &Head, request: &Request) -> Option<u64> {
    let has_none = request.method == Method::HEAD || matches!(head.status, 101 | 204 | 304);
    if has_none || head.headers.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
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
