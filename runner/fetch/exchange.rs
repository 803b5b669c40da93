//! One request and its response on one fresh connection, driven inside the attempt's own task.
//!
//! `connection: close` goes out with every request (unless the user says otherwise): a fresh connection is what
//! makes every phase measurable, and a server that is told so frees it at once instead of keeping it idle; the
//! closing side's `TIME_WAIT` then does not use up our ports either.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use http::header::{self, HeaderMap, HeaderValue};
use http::uri::Scheme;
use http::{Method, Uri};
use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tower_service::Service;

use super::body::{BodyLimits, Taken};
use super::decode::{self, Decoder};
use super::dial::Dialer;
use super::progress::{Progress, Stage};
use super::request::Request;
use super::tls::server_name_of;
use super::wire::Watched;
use super::{Shared, classify, facts};
use crate::clock::Clock;
use crate::model::{ErrorKind, Failure, Head, HttpVersion, TlsFacts};

/// Headers in one response.
pub(super) const MAX_HEADERS: usize = 256;
/// Bytes of one response's head.
pub(super) const MAX_HEAD_BYTES: usize = 64 * 1024;
/// hyper's buffer: room for a head of [`MAX_HEAD_BYTES`] and a read beyond it.
const MAX_BUFFER: usize = 128 * 1024;

/// What a request goes over: TCP, or TLS on it.
type Network = TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>;
/// What hyper reads and writes.
type Stream<S> = TokioIo<Watched<S>>;

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
}

impl Outgoing {
    pub(super) fn is_https(&self) -> bool {
        self.uri.scheme() == Some(&Scheme::HTTPS)
    }
}

/// A response whose head is in the progress and whose body has not been read.
pub(super) struct OpenResponse<S: AsyncRead + AsyncWrite + Unpin> {
    body: Incoming,
    driver: Driver<S>,
}

/// Connects, sends and reads the response's head.
pub(super) async fn send(
    shared: &Arc<Shared>,
    request: &Request,
    outgoing: &Outgoing,
    progress: &mut Progress,
    clock: &Clock,
) -> Result<OpenResponse<Network>, Failure> {
    let stream = connect(shared, request, outgoing, progress, clock).await?;
    send_over(TokioIo::new(stream), shared, request, outgoing, progress, clock).await
}

/// Sends over a connection that stands, and reads the response's head.
pub(super) async fn send_over<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    shared: &Shared,
    request: &Request,
    outgoing: &Outgoing,
    progress: &mut Progress,
    clock: &Clock,
) -> Result<OpenResponse<S>, Failure> {
    let stream = TokioIo::new(Watched::new(stream, outgoing.is_https(), progress.wire.clone()));
    let handshake = shared.http1.handshake::<Stream<S>, Full<Bytes>>(stream).await;
    let (mut sender, connection) = handshake.map_err(|error| http_failure(&error, progress))?;
    let mut driver = Driver { connection: Some(connection), error: None };

    progress.enter(Stage::FirstByte, clock.now());
    let response = driver.drive(pin!(sender.send_request(http_request(request, outgoing)?))).await;
    let response = response.map_err(|error| http_failure(driver.telling(&error), progress))?;
    let (parts, body) = response.into_parts();
    let version = match parts.version {
        http::Version::HTTP_10 | http::Version::HTTP_09 => HttpVersion::Http10,
        http::Version::HTTP_2 => HttpVersion::Http2,
        http::Version::HTTP_3 => HttpVersion::Http3,
        _ => HttpVersion::Http11,
    };
    let head = Head { status: parts.status.as_u16(), version, headers: parts.headers };
    progress.head_came(head, clock.now());
    Ok(OpenResponse { body, driver })
}

impl<S: AsyncRead + AsyncWrite + Unpin> OpenResponse<S> {
    /// Reads the body as far as the request's limits want it. The connection ends with it.
    pub(super) async fn read_body(
        mut self,
        shared: &Shared,
        request: &Request,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let limits = BodyLimits { keep: request.body_limit, fail_over: request.fail_if_body_over };
        let announced = self.body.size_hint().exact();
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
            let body = &mut self.body;
            let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
            match self.driver.drive(pin!(frame)).await {
                None => return progress.body.finish(),
                Some(Err(error)) => return Err(http_failure(self.driver.telling(&error), progress)),
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
) -> Result<MaybeHttpsStream<TokioIo<TcpStream>>, Failure> {
    let dialer = Dialer {
        shared: shared.clone(),
        wire: progress.wire.clone(),
        clock: clock.clone(),
        ip_version: request.ip_version,
        pins: Arc::clone(&request.pins),
        address_policy: Arc::clone(&request.address_policy),
        several_writes: outgoing.is_https() || outgoing.body.is_some(),
    };
    let mut connector = if outgoing.is_https() {
        let name = server_name(outgoing)?;
        let (config, handshake) = shared.tls.for_attempt(&request.tls, outgoing.shows_certificate, clock);
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

/// The request as hyper sends it: origin form, `host` first.
pub(super) fn http_request(
    request: &Request,
    outgoing: &Outgoing,
) -> Result<http::Request<Full<Bytes>>, Failure> {
    let invalid = || Failure::new(ErrorKind::Internal, "the URL cannot be sent in a request");
    let authority = outgoing.uri.authority().ok_or_else(invalid)?;
    let target = outgoing.uri.path_and_query().cloned().ok_or_else(invalid)?;
    let body = outgoing.body.clone().unwrap_or_default();
    let given = outgoing.headers.as_ref().unwrap_or(&request.headers);
    let mut request = http::Request::new(Full::new(body));
    let mut headers = HeaderMap::with_capacity(given.len() + 2);
    if !given.contains_key(header::HOST) {
        headers.insert(header::HOST, HeaderValue::from_str(authority.as_str()).map_err(|_| invalid())?);
    }
    for (name, value) in given {
        headers.append(name, value.clone());
    }
    // hyper leaves the length out of an empty body; servers wait for one after these methods.
    if outgoing.body.as_ref().is_none_or(Bytes::is_empty)
        && matches!(outgoing.method, Method::POST | Method::PUT | Method::PATCH)
    {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    *request.method_mut() = outgoing.method.clone();
    *request.uri_mut() = Uri::from(target);
    *request.headers_mut() = headers;
    Ok(request)
}

fn http_failure(error: &hyper::Error, progress: &Progress) -> Failure {
    let wire = progress.wire.lock();
    let whom = wire.remote_addr.map_or_else(|| "the target".to_owned(), |address| address.to_string());
    let shown = progress.handshake.as_ref().map(|handshake| handshake.shown());
    let stage = if progress.first_byte.is_some() { Stage::Transfer } else { Stage::FirstByte };
    classify::http(error, stage, &wire, shown.as_deref(), &whom)
}

/// Runs hyper's connection beside whatever waits for it, without a task of its own.
struct Driver<S: AsyncRead + AsyncWrite + Unpin> {
    connection: Option<http1::Connection<Stream<S>, Full<Bytes>>>,
    /// How the connection ended, where it ended badly.
    error: Option<hyper::Error>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// Drives the connection until `waiting` is ready.
    async fn drive<F: Future>(&mut self, mut waiting: Pin<&mut F>) -> F::Output {
        std::future::poll_fn(|cx| {
            if let Some(connection) = &mut self.connection
                && let Poll::Ready(result) = Pin::new(connection).poll(cx)
            {
                self.error = result.err();
                // Closes the socket, and wakes whoever still waits for the connection.
                self.connection = None;
            }
            waiting.as_mut().poll(cx)
        })
        .await
    }

    /// The error that tells more: what a request or a body sees of a broken connection is often only that it is
    /// gone.
    fn telling<'a>(&'a self, seen: &'a hyper::Error) -> &'a hyper::Error {
        self.error.as_ref().unwrap_or(seen)
    }
}

/// How HTTP/1 is spoken.
pub(super) fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_headers(MAX_HEADERS).max_buf_size(MAX_BUFFER).max_header_size(MAX_HEAD_BYTES);
    builder
}
