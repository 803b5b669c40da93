//! One request and its response, on a fresh connection unless the user wants connections reused, driven inside the
//! attempt's own task.
//!
//! `connection: close` goes out with every request of HTTP/1 (unless the user says otherwise): a fresh connection is what
//! makes every phase measurable, and a server that is told so frees it at once instead of keeping it idle; the
//! closing side's `TIME_WAIT` then does not use up our ports either.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tower_service::Service;

use super::body::{BodyLimits, Taken};
use super::decode::{self, Decoder};
use super::dial::{Chosen, Dialer};
use super::link::{Dialed, Link, Speaks};
use super::pool::{Idle, PoolKey};
use super::progress::{Progress, Stage};
use super::request::{HttpVersions, Request};
use super::tls::server_name_of;
use super::{Shared, classify, facts, proxy};
use crate::clock::{Clock, Instant};
use crate::model::{ErrorKind, Failure, Head, HttpVersion, TlsFacts};

/// Headers that speak of one connection of HTTP/1 (RFC 9113 section 8.2.2).
const HTTP1_ONLY: [HeaderName; 4] =
    [header::CONNECTION, HeaderName::from_static("keep-alive"), header::TE, header::UPGRADE];

/// One request, ready to be sent.
pub(super) struct Outgoing {
    /// Where to, absolute, `http` or `https`, without user information.
    pub(super) uri: Uri,
    pub(super) method: Method,
    /// All headers but those that this file adds (host, length); none for the request's own.
    pub(super) headers: Option<HeaderMap>,
    pub(super) body: Option<Bytes>,
    /// The name for SNI and verification, where it is not the URL's host.
    pub(super) server_name: Option<ServerName<'static>>,
    /// Whether the client certificate may be shown, if there is one.
    pub(super) shows_certificate: bool,
    /// The one address to connect to, where it has been chosen.
    pub(super) chosen: Option<Chosen>,
}

impl Outgoing {
    /// Whether it says by this value who asks.
    pub(super) fn carries(&self, authorization: &HeaderValue) -> bool {
        let headers = self.headers.as_ref();
        headers.and_then(|headers| headers.get(header::AUTHORIZATION)) == Some(authorization)
    }

    pub(super) fn is_https(&self) -> bool {
        self.uri.scheme() == Some(&Scheme::HTTPS)
    }
}

/// A response whose head is in the progress and whose body has not been read.
pub(super) struct OpenResponse {
    pub(super) body: Incoming,
    pub(super) link: Link,
    /// Where the connection may wait for the next request, and since when it stands.
    pub(super) keep: Option<(PoolKey, Instant)>,
}

/// Connects, or takes up a connection that waits, sends and reads the response's head.
pub(super) async fn send(
    shared: &Arc<Shared>,
    request: &Request,
    outgoing: &Outgoing,
    progress: &mut Progress,
    clock: &Clock,
) -> Result<OpenResponse, Failure> {
    let key = pool_key(request, outgoing);
    let mut waiting = match &key {
        Some(key) => shared.pool.take(key, clock.now()).await,
        None => None,
    };
    let mut was_refused = false;
    loop {
        let reused = waiting.is_some();
        let (mut link, made) = match waiting.take() {
            Some(idle) => take_up(idle, progress, clock),
            None => open(shared, request, outgoing, progress, clock).await?,
        };
        let to_send = http_request(request, outgoing, link.speaks())?;
        match link.send(to_send).await {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                head_came(parts, request, progress, clock)?;
                return Ok(OpenResponse { body, link, keep: key.map(|key| (key, made)) });
            }
            Err(error) => {
                let failure = http_failure(&error, progress);
                // Once: who turns every request away is not asked for ever.
                let is_refused =
                    classify::is_unprocessed(&error) && !std::mem::replace(&mut was_refused, true);
                if !(reused && is_stale(&failure, progress) || is_refused) {
                    return Err(failure);
                }
                progress.start_over(clock.now());
            }
        }
    }
}

/// What a request's connection may be kept for: one that may be sent twice, since the other side may close a
/// connection while a request is on its way (RFC 9110 section 9.2.2).
pub(super) fn pool_key(request: &Request, outgoing: &Outgoing) -> Option<PoolKey> {
    let request = request.reuses_connections.filter(|_| outgoing.method.is_idempotent())?;
    Some(PoolKey {
        request,
        origin: PoolKey::origin_of(&outgoing.uri),
        server_name: outgoing.server_name.clone(),
        shows_certificate: outgoing.shows_certificate,
        address: outgoing.chosen.map(|chosen| chosen.address),
    })
}

/// Whether a connection that had waited was closed before the request was heard: that says nothing of the target.
pub(super) fn is_stale(failure: &Failure, progress: &Progress) -> bool {
    let closed = [ErrorKind::ConnectionClosed, ErrorKind::Reset, ErrorKind::Internal];
    closed.contains(&failure.kind) && !progress.wire.lock().any_byte
}

/// Goes on with a connection that has waited.
pub(super) fn take_up(idle: Idle, progress: &mut Progress, clock: &Clock) -> (Link, Instant) {
    let Idle { link, wire, tls, made } = idle;
    wire.begin_exchange();
    progress.wire = wire;
    progress.exchange.tls = tls;
    progress.enter(Stage::FirstByte, clock.now());
    (link, made)
}

/// Makes a connection and begins to speak on it.
async fn open(
    shared: &Arc<Shared>,
    request: &Request,
    outgoing: &Outgoing,
    progress: &mut Progress,
    clock: &Clock,
) -> Result<(Link, Instant), Failure> {
    let stream = connect(shared, request, outgoing, progress, clock).await?;
    let speaks = agreed(request.http_version, &stream)?;
    let now = clock.now();
    progress.enter(Stage::FirstByte, now);
    let wire = progress.wire.clone();
    let opened =
        Link::open(TokioIo::new(stream), outgoing.is_https(), speaks, request.head_limits, wire).await;
    Ok((opened.map_err(|error| http_failure(&error, progress))?, now))
}

pub(super) fn head_came(
    parts: http::response::Parts,
    request: &Request,
    progress: &mut Progress,
    clock: &Clock,
) -> Result<(), Failure> {
    proxy_authorized(parts.status, progress)?;
    let version = match parts.version {
        http::Version::HTTP_10 | http::Version::HTTP_09 => HttpVersion::Http10,
        http::Version::HTTP_2 => HttpVersion::Http2,
        http::Version::HTTP_3 => HttpVersion::Http3,
        _ => HttpVersion::Http11,
    };
    let head = Head { status: parts.status.as_u16(), version, headers: parts.headers };
    let headers = head.headers.len();
    progress.head_came(head, clock.now());
    // HTTP/1 does not come this far with too many of them.
    if headers > request.head_limits.headers as usize {
        return Err(classify::head_too_large());
    }
    Ok(())
}

/// Which HTTP is spoken on a connection that stands.
fn agreed(wanted: HttpVersions, stream: &Dialed) -> Result<Speaks, Failure> {
    let picked_http2 = match stream {
        MaybeHttpsStream::Https(tls) => tls.inner().get_ref().1.alpn_protocol() == Some(b"h2"),
        MaybeHttpsStream::Http(_) => wanted == HttpVersions::Http2,
    };
    match wanted {
        _ if picked_http2 => Ok(Speaks::Http2),
        HttpVersions::Http2 => Err(Failure::new(
            ErrorKind::HttpVersion,
            "the target did not pick HTTP/2, which http_version demands, when TLS was set up (ALPN)",
        )),
        _ => Ok(Speaks::Http1),
    }
}

impl OpenResponse {
    /// Reads the body as far as the request's limits want it. The connection ends with it, unless it is kept.
    pub(super) async fn read_body(
        mut self,
        shared: &Shared,
        request: &Request,
        progress: &mut Progress,
        clock: &Clock,
    ) -> Result<(), Failure> {
        let limits = BodyLimits { keep: request.body_limit, fail_over: request.fail_if_body_over };
        let announced = if has_no_body(progress) { Some(0) } else { self.body.size_hint().exact() };
        let headers = progress.exchange.head.as_ref().map(|head| &head.headers);
        // An empty body is whole, whatever coding it is said to have: answers to HEAD are such.
        let coding = headers.filter(|_| announced != Some(0)).map_or(Ok(None), decode::coding_of)?;
        let decoder = coding.map(|coding| Decoder::new(coding, request.decompression_ratio_limit));
        // How long a compressed body will be is not announced.
        let announced_over = limits.fail_over.filter(|_| decoder.is_none());
        progress.body.begin(decoder);
        if let (Some(length), Some(most)) = (announced, announced_over)
            && length > most
        {
            return Err(too_large(most));
        }
        loop {
            // A body may come in pieces of a byte, thousands of them in one read of the socket: none of them waits
            // for anything, and without this neither the deadline nor another probe would get its turn.
            tokio::task::coop::consume_budget().await;
            match self.link.frame(&mut self.body).await {
                None => {
                    self.expect_whole(announced, progress)?;
                    progress.body.finish()?;
                    self.part(shared, progress, clock).await;
                    return Ok(());
                }
                Some(Err(error)) => {
                    expect_no_end(&error, announced, progress)?;
                    return Err(http_failure(&error, progress));
                }
                Some(Ok(frame)) => {
                    // Trailers are of no use to a check.
                    let Ok(piece) = frame.into_data() else { continue };
                    let mut taken = progress.body.take(piece, limits, announced)?;
                    while taken == Taken::Pause {
                        progress.waits_for_memory = true;
                        let room =
                            shared.body_memory.room_for(progress.body.may_need(limits, announced)).await;
                        progress.waits_for_memory = false;
                        taken = progress.body.resume(room, limits)?;
                    }
                    match taken {
                        Taken::More | Taken::Pause => {}
                        Taken::Enough => break,
                        Taken::TooLarge => return Err(too_large(limits.fail_over.unwrap_or_default())),
                    }
                }
            }
        }
        progress.body.end();
        Ok(())
    }

    /// The response is whole: keeps the connection, or takes leave of the other side.
    async fn part(self, shared: &Shared, progress: &mut Progress, clock: &Clock) {
        let Self { link, keep, .. } = self;
        match keep {
            Some((key, made)) => {
                let mut tls = progress.exchange.tls.clone();
                if let (Some(tls), Some(handshake)) = (&mut tls, &progress.handshake) {
                    facts::add_shown(tls, &handshake.shown());
                }
                // What was seen of this exchange stays with this attempt: the next one begins to write at once.
                let seen = progress.wire.copy();
                let wire = std::mem::replace(&mut progress.wire, seen);
                let idle = Idle { link, wire, tls, made };
                shared.pool.put(key, idle, clock.now()).await;
            }
            None if link.speaks() == Speaks::Http2 => link.close().await,
            None => {}
        }
    }

    /// hyper takes a stream of HTTP/2 that was reset without an error for one that ended.
    fn expect_whole(&self, announced: Option<u64>, progress: &Progress) -> Result<(), Failure> {
        if self.link.speaks() == Speaks::Http1 {
            return Ok(());
        }
        short(announced, progress)?;
        if self.body.is_end_stream() {
            return Ok(());
        }
        Err(Failure::new(ErrorKind::BodyIncomplete, "the stream was reset before the body ended"))
    }
}

/// h2 takes a stream of HTTP/2 that ended before its announced length for a breach of the protocol.
fn expect_no_end(error: &hyper::Error, announced: Option<u64>, progress: &Progress) -> Result<(), Failure> {
    if classify::is_stream_ended_by_us(error) { short(announced, progress) } else { Ok(()) }
}

/// The failure of a body that ended, where that was before its announced length.
fn short(announced: Option<u64>, progress: &Progress) -> Result<(), Failure> {
    let came = progress.body.arrived();
    match announced {
        Some(length) if came < length => {
            let message = format!("the body is not of its announced length: {came} of {length} bytes came");
            Err(Failure::new(ErrorKind::BodyIncomplete, message))
        }
        _ => Ok(()),
    }
}

/// Whether the last response has no body, whatever length it announces (RFC 9110 section 6.4.1): hyper says so of
/// HTTP/1 only.
fn has_no_body(progress: &Progress) -> bool {
    let status = progress.exchange.head.as_ref().map(|head| head.status);
    progress.exchange.method == Some(Method::HEAD) || matches!(status, Some(204 | 304))
}

fn too_large(most: u64) -> Failure {
    Failure::new(ErrorKind::BodyTooLarge, format!("the body is longer than fail_if_body_over = {most} bytes"))
}

/// Resolves, connects and shakes hands.
async fn connect(
    shared: &Arc<Shared>,
    request: &Request,
    outgoing: &Outgoing,
    progress: &mut Progress,
    clock: &Clock,
) -> Result<Dialed, Failure> {
    let dialer = Dialer {
        shared: shared.clone(),
        wire: progress.wire.clone(),
        clock: clock.clone(),
        ip_version: request.ip_version,
        dns_servers: Arc::clone(&request.dns_servers),
        pins: Arc::clone(&request.pins),
        chosen: outgoing.chosen,
        address_policy: Arc::clone(&request.address_policy),
        source_address: request.source_address,
        proxy: request.proxy_for(&outgoing.uri).cloned(),
        forwards: request.forwarding(&outgoing.uri).is_some(),
        several_writes: outgoing.is_https()
            || outgoing.body.is_some()
            || request.http_version == HttpVersions::Http2,
    };
    let mut connector = if outgoing.is_https() {
        let name = server_name(outgoing)?;
        let (config, handshake) =
            shared.tls.for_attempt(&request.tls, outgoing.shows_certificate, request.http_version, clock);
        progress.handshake = Some(handshake);
        progress.exchange.tls = None;
        HttpsConnector::new(dialer, config, false, Arc::new(FixedServerNameResolver::new(name)))
    } else {
        HttpsConnector::new(dialer, shared.tls.unused(), false, shared.no_server_name.clone())
    };
    let connected = connector.call(outgoing.uri.clone()).await;
    let now = clock.now();
    let stream = connected.map_err(|error| {
        let wire = progress.wire.lock();
        let whom = wire.remote_addr.map_or_else(|| "the target".to_owned(), |address| address.to_string());
        let shown = progress.handshake.as_ref().map(|handshake| handshake.shown());
        classify::connector(error.as_ref(), shown.as_deref(), &whom)
    })?;
    if let MaybeHttpsStream::Https(tls) = &stream {
        let connected_at = progress.wire.lock().connected_at;
        progress.tls = connected_at.map(|since| now.saturating_duration_since(since));
        let mut agreed = TlsFacts::default();
        facts::add_session(&mut agreed, tls.inner().get_ref().1);
        progress.exchange.tls = Some(agreed);
    }
    Ok(stream)
}

pub(super) fn server_name(outgoing: &Outgoing) -> Result<ServerName<'static>, Failure> {
    if let Some(name) = &outgoing.server_name {
        return Ok(name.clone());
    }
    let host = outgoing.uri.host().unwrap_or_default();
    server_name_of(host).ok_or_else(|| {
        Failure::new(ErrorKind::Internal, format!("{host} cannot be used as a server name for TLS"))
    })
}

/// A proxy that is sent the request itself says by the response that it wants to know who asks.
fn proxy_authorized(status: StatusCode, progress: &Progress) -> Result<(), Failure> {
    let wire = progress.wire.lock();
    if status != StatusCode::PROXY_AUTHENTICATION_REQUIRED || !wire.way.is_some_and(|way| way.forwards) {
        return Ok(());
    }
    Err(proxy::unauthorized(&wire))
}

/// The request as hyper sends it: for HTTP/1 in origin form, or in absolute form to a proxy that sends it
/// on, `host` first.
pub(super) fn http_request(
    request: &Request,
    outgoing: &Outgoing,
    speaks: Speaks,
) -> Result<http::Request<Full<Bytes>>, Failure> {
    let invalid = || Failure::new(ErrorKind::Internal, "the URL cannot be sent in a request");
    let authority = outgoing.uri.authority().ok_or_else(invalid)?;
    let target = outgoing.uri.path_and_query().cloned().ok_or_else(invalid)?;
    let body = outgoing.body.clone().unwrap_or_default();
    let given = outgoing.headers.as_ref().unwrap_or(&request.headers);
    let forwarding = request.forwarding(&outgoing.uri);
    let mut request = http::Request::new(Full::new(body));
    let mut headers = HeaderMap::with_capacity(given.len() + 2);
    if !given.contains_key(header::HOST) {
        headers.insert(header::HOST, HeaderValue::from_str(authority.as_str()).map_err(|_| invalid())?);
    }
    for (name, value) in given {
        headers.append(name, value.clone());
    }
    if let Some(credentials) = forwarding.and_then(|proxy| proxy.credentials.as_ref()) {
        headers.insert(header::PROXY_AUTHORIZATION, credentials.basic.clone());
    }
    // hyper leaves the length out of an empty body; servers wait for one after these methods.
    if outgoing.body.as_ref().is_none_or(Bytes::is_empty)
        && matches!(outgoing.method, Method::POST | Method::PUT | Method::PATCH)
    {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    *request.method_mut() = outgoing.method.clone();
    *request.uri_mut() = match (speaks, forwarding) {
        (Speaks::Http1, Some(_)) => outgoing.uri.clone(),
        (Speaks::Http1, None) => Uri::from(target),
        (Speaks::Http2, _) => http2_uri(&outgoing.uri, target, &mut headers).ok_or_else(invalid)?,
    };
    *request.headers_mut() = headers;
    Ok(request)
}

/// With HTTP/2, the host is a part of the request's target (RFC 9113 section 8.3.1), and a connection has no
/// headers of its own.
fn http2_uri(url: &Uri, target: PathAndQuery, headers: &mut HeaderMap) -> Option<Uri> {
    let host = headers.remove(header::HOST)?;
    for name in &HTTP1_ONLY {
        headers.remove(name);
    }
    let mut parts = http::uri::Parts::default();
    parts.scheme = url.scheme().cloned();
    parts.authority = Some(Authority::try_from(host.as_bytes()).ok()?);
    parts.path_and_query = Some(target);
    Uri::from_parts(parts).ok()
}

pub(super) fn http_failure(error: &hyper::Error, progress: &Progress) -> Failure {
    let wire = progress.wire.lock();
    let whom = wire.remote_addr.map_or_else(|| "the target".to_owned(), |address| address.to_string());
    let shown = progress.handshake.as_ref().map(|handshake| handshake.shown());
    let stage = if progress.first_byte.is_some() { Stage::Transfer } else { Stage::FirstByte };
    classify::http(error, stage, &wire, shown.as_deref(), &whom)
}
