//! Where a redirect leads, and what may go along (RFC 9110 section 15.4).
//!
//! Nothing that the user wrote for one origin (scheme, host and port) goes to another: not credentials, not
//! cookies, not headers of their own making, not a body. Once an attempt has left its origin, they stay left
//! out, also on the way back.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};
use url::{Host, Url};

use super::exchange::Outgoing;
use super::resolve;
use super::tls::server_name_of;
use crate::model::{ErrorKind, Failure, Head};

/// Headers that may go to another origin: they say how we are and what we take, not who we are.
pub(super) const SAFE_HEADERS: [HeaderName; 7] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::PRAGMA,
    header::USER_AGENT,
];
/// Headers that describe a body and go with it.
pub(super) const BODY_HEADERS: [HeaderName; 4] =
    [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE, header::CONTENT_LOCATION];
/// Cookies kept over one attempt's redirects, and bytes of one.
const MAX_COOKIES: usize = 64;
const MAX_COOKIE_BYTES: usize = 4_096;

/// Whether a status sends elsewhere.
pub(super) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// What an attempt remembers over its redirects.
#[derive(Debug, Default)]
pub(super) struct Trail {
    cookies: Vec<Cookie>,
}

#[derive(Debug)]
struct Cookie {
    origin: url::Origin,
    name: String,
    value: String,
}

impl Trail {
    /// The request that follows `sent`, which was answered by the redirect `head`. `own` are the headers of the
    /// first request, without cookies of this trail.
    pub(super) fn follow(
        &mut self,
        sent: Outgoing,
        own: &mut HeaderMap,
        head: &Head,
    ) -> Result<Outgoing, Failure> {
        let here = Url::parse(&sent.uri.to_string())
            .map_err(|_| Failure::new(ErrorKind::Internal, "the URL of a redirect cannot be read"))?;
        let there = destination(&here, head)?;
        self.remember(&here, &head.headers);
        let crosses = here.origin() != there.origin();
        let Outgoing { method, body, server_name, shows_certificate, chosen, .. } = sent;
        let (method, body) = match rewritten(head.status, &method) {
            Some(rewritten) => {
                for name in &BODY_HEADERS {
                    own.remove(name);
                }
                (rewritten, None)
            }
            None if crosses && body.as_ref().is_some_and(|body| !body.is_empty()) => {
                let message = format!(
                    "a {} redirect to another origin ({}) would send it the request's body",
                    head.status,
                    shown(&there)
                );
                return Err(Failure::new(ErrorKind::RedirectInvalid, message));
            }
            None => (method, body),
        };
        if crosses {
            *own = safe_only(own);
        }
        let mut headers = own.clone();
        self.add_cookies(&there, &mut headers);
        let uri = uri_of(&there)?;
        let server_name = if crosses { None } else { server_name };
        if server_name.is_none() && !has_a_usable_name(&there) {
            let message = format!("a {} redirect to a host that is no name ({})", head.status, shown(&there));
            return Err(Failure::new(ErrorKind::RedirectInvalid, message));
        }
        // Once left, an origin's credentials stay left out, also on the way back.
        let shows_certificate = shows_certificate && !crosses;
        let chosen = chosen.filter(|_| !crosses);
        Ok(Outgoing { uri, method, headers: Some(headers), body, server_name, shows_certificate, chosen })
    }

    /// Keeps what `set-cookie` says for the origin that said it.
    fn remember(&mut self, here: &Url, headers: &HeaderMap) {
        for line in headers.get_all(header::SET_COOKIE) {
            let Ok(line) = line.to_str() else { continue };
            let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
            let Some((name, value)) = pair.split_once('=') else { continue };
            let (name, value) = (name.trim(), value.trim());
            if name.is_empty() || pair.len() > MAX_COOKIE_BYTES {
                continue;
            }
            let origin = here.origin();
            self.cookies.retain(|cookie| cookie.origin != origin || cookie.name != name);
            if !is_removal(attributes) && self.cookies.len() < MAX_COOKIES {
                self.cookies.push(Cookie { origin, name: name.to_owned(), value: value.to_owned() });
            }
        }
    }

    fn add_cookies(&self, there: &Url, headers: &mut HeaderMap) {
        let origin = there.origin();
        let own = headers.get(header::COOKIE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let kept = self.cookies.iter().filter(|cookie| cookie.origin == origin);
        let pairs: Vec<_> =
            own.into_iter().chain(kept.map(|cookie| format!("{}={}", cookie.name, cookie.value))).collect();
        if pairs.is_empty() {
            return;
        }
        if let Ok(mut value) = HeaderValue::from_str(&pairs.join("; ")) {
            value.set_sensitive(true);
            headers.insert(header::COOKIE, value);
        }
    }
}

/// Whether a cookie's attributes take it back.
fn is_removal(attributes: &str) -> bool {
    attributes.split(';').filter_map(|attribute| attribute.split_once('=')).any(|(name, value)| {
        name.trim().eq_ignore_ascii_case("max-age")
            && value.trim().parse::<i64>().is_ok_and(|seconds| seconds <= 0)
    })
}

/// The URL that `location` names, seen from `here`.
fn destination(here: &Url, head: &Head) -> Result<Url, Failure> {
    let invalid = |message: String| Failure::new(ErrorKind::RedirectInvalid, message);
    let status = head.status;
    let location = head
        .headers
        .get(header::LOCATION)
        .ok_or_else(|| invalid(format!("a {status} redirect without a location")))?;
    let location = String::from_utf8_lossy(location.as_bytes());
    let mut there = here
        .join(&location)
        .map_err(|error| invalid(format!("a {status} redirect to a location that is no URL: {error}")))?;
    match (here.scheme(), there.scheme()) {
        ("https", "http") => {
            let message = format!("a {status} redirect from https to http ({}) is refused", shown(&there));
            return Err(Failure::new(ErrorKind::RedirectDowngrade, message));
        }
        (_, "http" | "https") => {}
        (_, scheme) => {
            let scheme: String = scheme.chars().take(32).collect();
            return Err(invalid(format!(
                "a {status} redirect to \"{scheme}:\", which is neither http nor https"
            )));
        }
    }
    if there.port() == Some(0) {
        return Err(invalid(format!("a {status} redirect to port 0 ({})", shown(&there))));
    }
    // What stands before an @ would be sent as credentials, to a place that the target chose.
    let _ = there.set_username("");
    let _ = there.set_password(None);
    there.set_fragment(None);
    Ok(there)
}

/// Whether a URL's host can be asked for: an address, or what resolvers and certificates know as a name.
fn has_a_usable_name(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) if url.scheme() == "https" => server_name_of(name).is_some(),
        Some(Host::Domain(name)) => resolve::is_name(name),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
        None => false,
    }
}

/// The method after a redirect, where it becomes another one and the body is dropped.
fn rewritten(status: u16, method: &Method) -> Option<Method> {
    match StatusCode::from_u16(status) {
        Ok(StatusCode::SEE_OTHER) if method != Method::GET && method != Method::HEAD => Some(Method::GET),
        Ok(StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND) if method == Method::POST => Some(Method::GET),
        _ => None,
    }
}

/// A URL as hyper's connector takes it.
pub(super) fn uri_of(url: &Url) -> Result<Uri, Failure> {
    Uri::try_from(url.as_str()).map_err(|error| {
        let message = format!("{} cannot be sent in a request: {error}", shown(url));
        Failure::new(ErrorKind::RedirectInvalid, message)
    })
}

/// A URL for a message: without user information, query and fragment, any of which may hold a secret.
pub(super) fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

/// The headers that may go to another origin.
fn safe_only(headers: &HeaderMap) -> HeaderMap {
    let mut safe = HeaderMap::with_capacity(SAFE_HEADERS.len());
    for name in SAFE_HEADERS {
        for value in headers.get_all(&name) {
            safe.append(name.clone(), value.clone());
        }
    }
    safe
}
