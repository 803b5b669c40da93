//! Which proxy a connection goes through, if any, and what its failures say: nothing of the target.
//!
//! A proxy is used only where the request names one: variables such as `HTTP_PROXY` are for a person's shell, and a
//! result must not depend on who started the runner.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use url::{Host, Url};

use super::policy::Network;
use super::progress::{Way, WireState};
use super::request::RequestError;
use crate::model::{ErrorKind, Failure, Outcome};

/// The longest user name and the longest password that SOCKS has room for (RFC 1929 section 2).
const LONGEST_SOCKS_CREDENTIAL: usize = 255;

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyKind {
    /// CONNECT for https, requests in absolute form for http (RFC 9110 sections 9.3.6 and 7.1).
    Http,
    /// SOCKS 5 (RFC 1928); names are resolved here.
    Socks5,
    /// SOCKS 5; names are resolved by the proxy.
    Socks5h,
}

/// A proxy, and what does not go through it. Printed without credentials.
pub(super) struct Proxy {
    pub(super) kind: ProxyKind,
    /// As in a URL: in lower case, an IPv6 address in brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) credentials: Option<Credentials>,
    except: Vec<Exception>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Who asks a proxy.
pub(super) struct Credentials {
    pub(super) username: Vec<u8>,
    pub(super) password: Vec<u8>,
    /// Both, as an HTTP proxy is told of them.
    pub(super) basic: HeaderValue,
}

/// What does not go through a proxy.
#[derive(Debug, PartialEq, Eq)]
struct Exception {
    what: Excepted,
    /// None for all ports.
    port: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
enum Excepted {
    Everything,
    /// URLs with an address in this network.
    Network(Network),
    /// A name.
    Name {
        name: String,
        itself: bool,
    },
}

impl Proxy {
    /// Reads what the user wrote; an empty URL is no proxy. Problems do not repeat it, since it may be a secret.
    pub(super) fn build(
        url: Option<&str>,
        no_proxy: &[String],
        problems: &mut Vec<RequestError>,
    ) -> Option<Self> {
        let mut except = Vec::new();
        for (index, text) in no_proxy.iter().enumerate() {
            // As the variable NO_PROXY has them.
            for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
                match exception(entry) {
                    Ok(exception) => except.push(exception),
                    Err(reason) => problems.push(RequestError::NoProxy { index, reason }),
                }
            }
        }
        let url = url.filter(|url| !url.is_empty())?;
        match parse(url) {
            Ok((kind, host, port, credentials)) => Some(Self { kind, host, port, credentials, except }),
            Err(reason) => {
                problems.push(RequestError::ProxyUrl { reason });
                None
            }
        }
    }

    /// What it is told that nobody should see.
    pub(super) fn secrets(&self) -> Vec<String> {
        self.credentials.as_ref().map_or_else(Vec::new, Credentials::secrets)
    }

    /// Whether a URL is asked for through this proxy.
    pub(super) fn serves(&self, uri: &Uri) -> bool {
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(if is_https(uri) { 443 } else { 80 });
        !self.except.iter().any(|exception| exception.covers(host, port))
    }

    /// Whether the proxy is sent the request itself, to send it on, instead of carrying a connection.
    pub(super) fn forwards(&self, uri: &Uri) -> bool {
        self.kind == ProxyKind::Http && !is_https(uri)
    }
}

/// What a proxy's URL has of secrets, and as an HTTP proxy is sent them; none where it has none or cannot be used.
pub fn proxy_secrets(url: &str) -> Vec<String> {
    parse(url).ok().and_then(|(.., credentials)| credentials).map_or_else(Vec::new, |given| given.secrets())
}

impl Credentials {
    fn secrets(&self) -> Vec<String> {
        [self.basic.as_bytes(), &self.password]
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .into()
    }
}

fn is_https(uri: &Uri) -> bool {
    uri.scheme() == Some(&http::uri::Scheme::HTTPS)
}

type Parsed = (ProxyKind, String, u16, Option<Credentials>);

fn parse(text: &str) -> Result<Parsed, &'static str> {
    const WRONG: &str = "a proxy is \"http://host:port\", \"socks5://host:port\" or \"socks5h://host:port\"";
    let url = Url::parse(text).map_err(|_| WRONG)?;
    let (kind, usual_port) = match url.scheme() {
        "http" => (ProxyKind::Http, 80),
        "socks5" => (ProxyKind::Socks5, 1080),
        "socks5h" => (ProxyKind::Socks5h, 1080),
        _ => return Err(WRONG),
    };
    let host = url.host_str().and_then(|host| Host::parse(host).ok()).ok_or(WRONG)?.to_string();
    if host.is_empty() || url.port() == Some(0) {
        return Err(WRONG);
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err("a proxy has no path: nothing may stand behind its port");
    }
    let credentials = credentials(&url, kind)?;
    Ok((kind, host, url.port().unwrap_or(usual_port), credentials))
}

fn credentials(url: &Url, kind: ProxyKind) -> Result<Option<Credentials>, &'static str> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let username = percent_decoded(url.username());
    let password = percent_decoded(url.password().unwrap_or_default());
    if kind == ProxyKind::Http && username.contains(&b':') {
        return Err("a user's name cannot have a colon");
    }
    let longest = username.len().max(password.len());
    if kind != ProxyKind::Http && (username.is_empty() || longest > LONGEST_SOCKS_CREDENTIAL) {
        return Err("SOCKS wants a user's name, and has room for 255 bytes of it and of a password");
    }
    let pair = [username.as_slice(), b":", &password].concat();
    let mut basic = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
        .map_err(|_| "the user's name and password cannot be sent")?;
    basic.set_sensitive(true);
    Ok(Some(Credentials { username, password, basic }))
}

/// The bytes that a part of a URL stands for.
fn percent_decoded(text: &str) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut rest = text.as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((first, after)) = rest.split_first() {
        let escaped = match after {
            [high, low, ..] if *first == b'%' => digit(high).zip(digit(low)),
            _ => None,
        };
        if let Some((high, low)) = escaped {
            bytes.push(high << 4 | low);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    bytes
}

/// Reads one entry of `no_proxy`.
fn exception(entry: &str) -> Result<Exception, &'static str> {
    const WRONG: &str =
        "this is none of \"shop.example\", \"*.internal\", \"10.0.0.0/8\" and these with a port";
    if entry == "*" {
        return Ok(Exception { what: Excepted::Everything, port: None });
    }
    if entry.contains('/') {
        return Network::parse(entry)
            .map(|network| Exception { what: Excepted::Network(network), port: None });
    }
    let bare = |text: &str| text.trim_start_matches('[').trim_end_matches(']').to_owned();
    if let Ok(network) = Network::parse(&bare(entry)) {
        return Ok(Exception { what: Excepted::Network(network), port: None });
    }
    let (host, port) = match entry.rsplit_once(':') {
        None => (entry, None),
        Some((host, port)) => (host, Some(port.parse().map_err(|_| WRONG)?)),
    };
    if let Ok(network) = Network::parse(&bare(host)) {
        return Ok(Exception { what: Excepted::Network(network), port });
    }
    let below = host.strip_prefix("*.").or_else(|| host.strip_prefix('.'));
    match Host::parse(below.unwrap_or(host)) {
        Ok(Host::Domain(name)) if !name.contains('*') && !name.is_empty() => {
            let name = name.strip_suffix('.').unwrap_or(&name).to_owned();
            Ok(Exception { what: Excepted::Name { name, itself: below.is_none() }, port })
        }
        _ => Err(WRONG),
    }
}

impl Exception {
    /// Whether it is about a host as it stands in a URL.
    fn covers(&self, host: &str, port: u16) -> bool {
        if self.port.is_some_and(|only| only != port) {
            return false;
        }
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match &self.what {
            Excepted::Everything => true,
            Excepted::Network(network) => {
                bare.parse::<IpAddr>().is_ok_and(|address| network.contains(address.to_canonical()))
            }
            Excepted::Name { name, itself } => {
                let host = bare.strip_suffix('.').unwrap_or(bare).as_bytes();
                let Some(begin) = host.len().checked_sub(name.len()) else { return false };
                let is_same_end = host[begin..].eq_ignore_ascii_case(name.as_bytes());
                is_same_end && if begin == 0 { *itself } else { host[begin - 1] == b'.' }
            }
        }
    }
}

/// Why the proxy could not be connected to: whatever that says, it is not about the target.
pub(super) fn unreachable(failure: Failure) -> Failure {
    let Failure { kind, message } = failure;
    let kind = match kind {
        ErrorKind::ConnectTimeout => ErrorKind::ProxyTimeout,
        kind if kind.outcome() == Outcome::Down => ErrorKind::ProxyRefused,
        kind => kind,
    };
    Failure::new(kind, format!("the proxy cannot be reached: {message}"))
}

/// The failure of a proxy that was sent the request itself, and wants other credentials.
pub(super) fn unauthorized(wire: &WireState) -> Failure {
    let proxy = name(wire);
    Failure::new(
        ErrorKind::ProxyAuth,
        format!("{proxy} wants credentials, or others than those of proxy_url (407)"),
    )
}

/// A proxy as messages name it: its URL may be a secret.
fn name(wire: &WireState) -> String {
    wire.remote_addr.map_or_else(|| "the proxy".to_owned(), |address| format!("the proxy {address}"))
}

/// A failure as it is to be told where the request went through a proxy. As long as nothing was heard from beyond
/// it, nobody can tell the target's silence from the proxy's; and a proxy that is sent the request itself answers in
/// its own name until a whole head has come.
pub(super) fn seen_through(failure: Failure, wire: &WireState, has_head: bool) -> Failure {
    let Some(Way { forwards, is_heard }) = wire.way else { return failure };
    let is_heard = is_heard || wire.any_byte;
    if has_head || (is_heard && !forwards) || failure.kind.outcome() != Outcome::Down {
        return failure;
    }
    let proxy = name(wire);
    let (kind, message) = match failure.kind {
        ErrorKind::ConnectTimeout => {
            (ErrorKind::ProxyTimeout, format!("{proxy} did not connect to the target before the deadline"))
        }
        ErrorKind::TlsTimeout | ErrorKind::Timeout => {
            (ErrorKind::ProxyTimeout, format!("nothing came through {proxy} before the deadline"))
        }
        ErrorKind::TlsHandshake | ErrorKind::ConnectionClosed | ErrorKind::Reset => (
            ErrorKind::ProxyRefused,
            format!("{proxy} closed the connection before an answer came through it"),
        ),
        ErrorKind::HttpMalformed | ErrorKind::HttpHeadersTooLarge | ErrorKind::HttpTooManyInterim => {
            (ErrorKind::ProxyMalformed, format!("what {proxy} sent is no answer: {}", failure.message))
        }
        _ => return failure,
    };
    Failure::new(kind, message)
}

#[cfg(test)]
mod tests;
