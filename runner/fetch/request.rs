//! What is sent: one request, as the pipeline file describes it, checked and built once.
//!
//! [`RequestSpec`] is what the user wrote, [`Request`] is what can be sent. Nothing here does I/O: files that
//! the user names (a body, a CA bundle) are read by whoever builds the spec.

mod error;
mod marks;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use hyper::body::Bytes;

pub use self::error::RequestError;
use self::marks::Marks;
use super::oauth::{OAuth, OAuthSpec};
use super::pins::Pins;
use super::policy::AddressPolicy;
use super::proxy::Proxy;
use super::tls::{self, TlsTemplate};

/// Names the program to servers.
pub(super) const USER_AGENT: &str = concat!("probity/", env!("CARGO_PKG_VERSION"));

/// Requests so far that keep their connections.
static REUSING: AtomicU64 = AtomicU64::new(0);

/// The default of [`RequestSpec::timeout`].
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The default of [`RequestSpec::body_limit`]: 1 MiB.
pub const DEFAULT_BODY_LIMIT: u64 = 1 << 20;
/// The default of [`RequestSpec::header_limit`]: 64 KiB.
pub const DEFAULT_HEADER_LIMIT: u64 = 64 << 10;
/// The default of [`RequestSpec::max_headers`].
pub const DEFAULT_MAX_HEADERS: u32 = 256;
/// The default of [`RequestSpec::decompression_ratio_limit`]: above what pages reach, and far below what gzip (1,029)
/// and brotli (1,322,342) can.
pub const DEFAULT_DECOMPRESSION_RATIO_LIMIT: u64 = 200;
/// Headers of a response that rows keep: each costs room in every row.
const MOST_RESPONSE_HEADERS: usize = 32;
/// Name servers of a request: more are no help to anybody within one attempt's time.
const MOST_DNS_SERVERS: usize = 8;
/// The default of [`RequestSpec::max_redirects`].
pub const DEFAULT_MAX_REDIRECTS: u32 = 10;

/// One request as the user wrote it; the default is a plain GET. Printed without header values and body, either
/// of which may be a secret.
#[derive(Clone)]
pub struct RequestSpec {
    /// The method, in capitals. Default `GET`.
    pub method: String,
    /// Headers in the user's order; a name may stand several times.
    pub headers: Vec<(String, String)>,
    /// The body. Default none.
    pub body: Option<Bytes>,
    /// How long an attempt may take, from DNS to the last check; the caller makes the deadline of it.
    pub timeout: Duration,
    /// Whether redirects are followed. Default yes.
    pub follow_redirects: bool,
    /// How many redirects are followed before the attempt fails. Default 10.
    pub max_redirects: u32,
    /// How many bytes of a body are kept, after decompression; a longer one is cut and marked. Default 1 MiB.
    pub body_limit: u64,
    /// A body longer than this fails the attempt. Default none.
    pub fail_if_body_over: Option<u64>,
    /// How many bytes a response's headers may have together, their names and values. Default 64 KiB.
    pub header_limit: u64,
    /// How many headers a response may have. Default 256.
    pub max_headers: u32,
    /// How many times longer a body may become when it is decompressed. Default 200; 0 counts as 1.
    pub decompression_ratio_limit: u64,
    /// The names of the response's headers that rows keep. Default none, at most 32.
    pub response_headers: Vec<String>,
    /// How TLS is spoken.
    pub tls: TlsOptions,
    /// Which version of HTTP is spoken.
    pub http_version: HttpVersions,
    /// Whether every address of the target is asked, in an exchange of its own. Default no: the first that answers.
    pub all_addresses: bool,
    /// Whether a connection is kept for the next request to its origin. Default no: every phase is measured every
    /// time.
    pub reuse_connections: bool,
    /// Which addresses may be used.
    pub ip_version: IpVersion,
    /// Name servers to ask, at most 8. Default the system's.
    pub dns_servers: Vec<SocketAddr>,
    /// Addresses to connect to instead of resolving a name: `host:port` and an address, with or without a port.
    pub resolve: Vec<(String, String)>,
    /// Which addresses may be connected to.
    pub address_policy: AddressPolicy,
    /// The proxy to go through, with its credentials; none where it is empty. Default none.
    pub proxy_url: Option<String>,
    /// What does not go through the proxy.
    pub no_proxy: Vec<String>,
    /// Where a token comes from that is sent with every request. Default none.
    pub oauth: Option<OAuthSpec>,
    /// The address of this machine that connections leave from; only targets of its family can be reached then.
    /// Default what the system chooses.
    pub source_address: Option<IpAddr>,
    /// A header that tells each attempt's request from all others. Default none.
    pub request_id_header: Option<String>,
    /// A parameter of the first request's query that does the same, for caches. Default none.
    pub cache_buster: Option<String>,
}

impl fmt::Debug for RequestSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestSpec")
            .field("method", &self.method)
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("body_bytes", &self.body.as_ref().map(Bytes::len))
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("body_bytes", &self.body.as_ref().map(Bytes::len))
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Default for RequestSpec {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            headers: Vec::new(),
            body: None,
            timeout: DEFAULT_TIMEOUT,
            follow_redirects: true,
            max_redirects: DEFAULT_MAX_REDIRECTS,
            body_limit: DEFAULT_BODY_LIMIT,
            fail_if_body_over: None,
            header_limit: DEFAULT_HEADER_LIMIT,
            max_headers: DEFAULT_MAX_HEADERS,
            decompression_ratio_limit: DEFAULT_DECOMPRESSION_RATIO_LIMIT,
            response_headers: Vec::new(),
            tls: TlsOptions::default(),
            http_version: HttpVersions::default(),
            all_addresses: false,
            reuse_connections: false,
            ip_version: IpVersion::default(),
            dns_servers: Vec::new(),
            resolve: Vec::new(),
            address_policy: AddressPolicy::default(),
            proxy_url: None,
            no_proxy: Vec::new(),
            oauth: None,
            source_address: None,
            request_id_header: None,
            cache_buster: None,
        }
    }
}

/// How TLS is spoken; the names are those of the pipeline file.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// Certificate authorities in PEM, instead of the operating system's.
    pub ca_pem: Option<Bytes>,
    /// Accept any certificate. It is verified all the same, and the result recorded.
    pub insecure_skip_verify: bool,
    /// The name to ask for (SNI) and to verify, instead of the URL's host.
    pub server_name: Option<String>,
    /// What is shown to whoever asks for a client certificate. Default nothing.
    pub client: Option<ClientPem>,
    /// Whether TLS 1.2 is not spoken. Default no.
    pub only_tls13: bool,
}

/// A client certificate and its key, in PEM. Printed without them.
#[derive(Clone)]
pub struct ClientPem {
    /// The certificate, and those above it.
    pub certificates: Bytes,
    /// Its key: PKCS #8, PKCS #1 or SEC 1.
    pub key: Bytes,
}

impl fmt::Debug for ClientPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientPem").finish_non_exhaustive()
    }
}

/// Which versions of HTTP may be spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpVersions {
    /// What the other side picks by ALPN (RFC 7301), HTTP/2 before HTTP/1.1; without TLS, HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Http11,
    /// HTTP/2 only (RFC 9113); without TLS, by prior knowledge (section 3.3).
    Http2,
}

/// Which addresses of a name may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IpVersion {
    /// IPv6 and IPv4.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// The limits for the head of one response.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadLimits {
    /// Bytes of all names and values.
    pub(super) bytes: u32,
    /// Headers.
    pub(super) headers: u32,
}

/// One request, checked: built once for a pipeline, used for every attempt of its targets. Printed without
/// header values and body.
#[derive(Clone)]
pub struct Request {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pub(super) timeout: Duration,
    pub(super) follow_redirects: bool,
    pub(super) max_redirects: u32,
    pub(super) body_limit: usize,
    pub(super) fail_if_body_over: Option<u64>,
    pub(super) head_limits: HeadLimits,
    pub(super) decompression_ratio_limit: u64,
    pub(super) response_headers: Arc<[HeaderName]>,
    pub(super) tls: TlsTemplate,
    pub(super) http_version: HttpVersions,
    pub(super) all_addresses: bool,
    /// Tells this request's connections from all others that are kept; none where they are not.
    pub(super) reuses_connections: Option<u64>,
    pub(super) ip_version: IpVersion,
    pub(super) dns_servers: Arc<[SocketAddr]>,
    pub(super) pins: Arc<Pins>,
    pub(super) address_policy: Arc<AddressPolicy>,
    pub(super) proxy: Option<Arc<Proxy>>,
    pub(super) oauth: Option<Arc<OAuth>>,
    pub(super) source_address: Option<IpAddr>,
    pub(super) marks: Marks,
    /// What marks the first request in its query.
    pub(super) first_query: Option<String>,
}

impl Request {
    /// Checks `spec` and makes a request of it; says everything that is wrong with it, in the spec's order.
    pub fn build(spec: RequestSpec) -> Result<Self, Vec<RequestError>> {
        let RequestSpec {
            method,
            headers,
            body,
            timeout,
            follow_redirects,
            max_redirects,
            body_limit,
            fail_if_body_over,
            header_limit,
            max_headers,
            decompression_ratio_limit,
            response_headers,
            tls,
            http_version,
            all_addresses,
            reuse_connections,
            ip_version,
            dns_servers,
            resolve,
            address_policy,
            proxy_url,
            no_proxy,
            oauth,
            source_address,
            request_id_header,
            cache_buster,
        } = spec;
        let mut problems = Vec::new();
        let method = Method::from_bytes(method.as_bytes()).unwrap_or_else(|_| {
            problems.push(RequestError::Method { method });
            Method::GET
        });
        let headers = build_headers(&headers, reuse_connections, &mut problems);
        if body_limit == 0 {
            problems.push(RequestError::BodyLimit);
        }
        let response_headers = build_response_headers(response_headers, &mut problems);
        let dns_servers = build_dns_servers(dns_servers, &mut problems);
        let mut pins = Pins::default();
        for (key, address) in resolve {
            if let Err(reason) = pins.add(&key, &address) {
                problems.push(RequestError::Resolve { key, reason });
            }
        }
        let proxy = Proxy::build(proxy_url.as_deref(), &no_proxy, &mut problems);
        let oauth = oauth.and_then(|spec| OAuth::build(spec).map_err(|problem| problems.push(problem)).ok());
        let ip_version = version_from(source_address, ip_version, &mut problems);
        let marks = Marks::build(request_id_header, cache_buster, &mut problems);
        let tls = tls::template(&tls).map_err(|error| problems.push(error)).ok();
        match tls {
            Some(tls) if problems.is_empty() => Ok(Self {
                method,
                headers,
                body,
                timeout,
                follow_redirects,
                max_redirects,
                body_limit: usize::try_from(body_limit).unwrap_or(usize::MAX),
                fail_if_body_over,
                head_limits: HeadLimits {
                    bytes: u32::try_from(header_limit).unwrap_or(u32::MAX),
                    headers: max_headers,
                },
                decompression_ratio_limit: decompression_ratio_limit.max(1),
                response_headers,
                tls,
                http_version,
                all_addresses,
                reuses_connections: reuse_connections.then(|| REUSING.fetch_add(1, Ordering::Relaxed)),
                ip_version,
                dns_servers,
                pins: Arc::new(pins),
                address_policy: Arc::new(address_policy),
                proxy: proxy.map(Arc::new),
                oauth: oauth.map(Arc::new),
                source_address,
                marks,
                first_query: None,
            }),
            _ => Err(problems),
        }
    }

    /// The proxy that a URL is asked for through; none for the URL's own host.
    pub(super) fn proxy_for(&self, uri: &Uri) -> Option<&Arc<Proxy>> {
        self.proxy.as_ref().filter(|proxy| proxy.serves(uri))
    }

    /// The proxy that is sent the request itself, to send it on, instead of carrying a connection. None that does
    /// would speak HTTP/2 without TLS.
    pub(super) fn forwarding(&self, uri: &Uri) -> Option<&Arc<Proxy>> {
        self.proxy_for(uri).filter(|proxy| proxy.forwards(uri) && self.http_version != HttpVersions::Http2)
    }

    /// The method of the first request.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// How long an attempt may take; the caller makes the deadline of it.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The headers of the first request, but for `host` and `content-length`. Their values may be secrets.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// What is sent beside the headers and the body that nobody should see: to a proxy, to a token endpoint.
    pub fn other_secrets(&self) -> Vec<String> {
        let to_proxy = self.proxy.iter().flat_map(|proxy| proxy.secrets());
        to_proxy.chain(self.oauth.iter().flat_map(|oauth| oauth.secrets())).collect()
    }

    /// The body of the first request. It may be a secret.
    pub fn body(&self) -> Option<&Bytes> {
        self.body.as_ref()
    }
}

/// The headers that go out with every request: the user's, and defaults where the user has none.
fn build_headers(
    given: &[(String, String)],
    reuse_connections: bool,
    problems: &mut Vec<RequestError>,
) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(given.len() + 5);
    for (name, value) in given {
        match build_header(name, value, &headers) {
            Ok((name, value)) => {
                headers.append(name, value);
            }
            Err(problem) => problems.push(problem),
        }
    }
    for (name, value) in [
        (header::USER_AGENT, USER_AGENT),
        (header::ACCEPT, "*/*"),
        (header::ACCEPT_ENCODING, "gzip, br, zstd"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    // The server need not keep a connection for a next request that never comes.
    if !reuse_connections {
        headers.entry(header::CONNECTION).or_insert(HeaderValue::from_static("close"));
    }
    headers
}

/// Which addresses can be reached from a source address.
fn version_from(source: Option<IpAddr>, wanted: IpVersion, problems: &mut Vec<RequestError>) -> IpVersion {
    let version = match source {
        None => return wanted,
        Some(IpAddr::V4(_)) => IpVersion::V4,
        Some(IpAddr::V6(_)) => IpVersion::V6,
    };
    if wanted != IpVersion::Any && wanted != version {
        problems.push(RequestError::SourceAddress);
    }
    version
}

/// The headers that rows keep, each once.
fn build_response_headers(given: Vec<String>, problems: &mut Vec<RequestError>) -> Arc<[HeaderName]> {
    let mut names: Vec<HeaderName> = Vec::with_capacity(given.len());
    for name in given {
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) if names.contains(&name) => {}
            Ok(name) => names.push(name),
            Err(_) => problems.push(RequestError::ResponseHeader { name }),
        }
    }
    if names.len() > MOST_RESPONSE_HEADERS {
        problems.push(RequestError::ResponseHeaders);
    }
    names.into()
}

/// The name servers in their order, each once.
fn build_dns_servers(given: Vec<SocketAddr>, problems: &mut Vec<RequestError>) -> Arc<[SocketAddr]> {
    let mut servers = Vec::with_capacity(given.len());
    for server in given {
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    if servers.len() > MOST_DNS_SERVERS {
        problems.push(RequestError::DnsServers);
    }
    servers.into()
}

fn build_header(
    name: &str,
    value: &str,
    so_far: &HeaderMap,
) -> Result<(HeaderName, HeaderValue), RequestError> {
    let owned = || name.to_owned();
    let parsed =
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| RequestError::HeaderName { name: owned() })?;
    // The framing headers belong to the body; two owners of one fact is how requests are smuggled.
    if parsed == header::CONTENT_LENGTH || parsed == header::TRANSFER_ENCODING {
        return Err(RequestError::HeaderForbidden { name: owned() });
    }
    if parsed == header::HOST && so_far.contains_key(header::HOST) {
        return Err(RequestError::HeaderRepeated { name: owned() });
    }
    let value = HeaderValue::from_str(value)
        .or_else(|_| HeaderValue::from_bytes(value.as_bytes()))
        .map_err(|_| RequestError::HeaderValue { name: owned() })?;
    let mut value = value;
    value.set_sensitive(parsed == header::AUTHORIZATION);
    Ok((parsed, value))
}

#[cfg(test)]
mod tests;
