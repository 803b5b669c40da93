//! Any answers as redirects.

use std::net::Ipv4Addr;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::body::Bytes;
use url::{Origin, Url};

use super::{Choices, assert_theirs, request};
use crate::fetch::dial::Chosen;
use crate::fetch::exchange::{self, Outgoing};
use crate::fetch::link::Speaks;
use crate::fetch::redirect::{BODY_HEADERS, SAFE_HEADERS, Trail};
use crate::fetch::{Request, RequestSpec, dial, first_request, pins::Pins, tls};
use crate::model::{ErrorKind, Head, HttpVersion};

/// More than a request follows.
const MOST_HOPS: usize = 12;
/// What stands in everything that the user wrote for the first origin alone.
const SECRET: &str = "s3cret";
/// What stands in the cookie that every hop sets.
const CANARY: &str = "canary";
const THEIRS: [ErrorKind; 2] = [ErrorKind::RedirectInvalid, ErrorKind::RedirectDowngrade];

/// A chain of redirects, a line each: where it leads is read the same by all who read it, can be asked, and learns
/// nothing that was meant for another origin.
pub fn redirects(data: &[u8]) {
    let Some((mut choices, script)) = Choices::split(data, 4) else { return };
    let start = choices.of(&[
        "https://shop.example/a/b?c=d",
        "http://shop.example:8080/",
        "https://[::1]/x",
        "http://10.0.0.1/y/",
    ]);
    let host = [("host", "s3cret.example"), ("x-host", SECRET)];
    let method = choices.of(&["GET", "POST", "PUT", "HEAD"]);
    let body = choices.of(&[None, Some(SECRET), Some("")]);
    let with_host = choices.of(&host);
    let own =
        [("authorization", SECRET), ("cookie", "own=s3cret"), ("x-own", SECRET), ("accept", "text/html")];
    let own = own.into_iter().chain([("content-type", "s3cret/s3cret"), with_host]);
    let mut request = request(RequestSpec {
        method: method.to_owned(),
        headers: own.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        body: body.map(|body| Bytes::from_static(body.as_bytes())),
        ..RequestSpec::default()
    });
    request.tls.server_name = tls::server_name_of("s3cret.example");

    let mut outgoing = first_request(&request, start).unwrap();
    let chosen = Chosen { address: Ipv4Addr::LOCALHOST.into(), dns: Duration::ZERO, answers: 1 };
    outgoing.chosen = Some(chosen);
    let first = origin(&outgoing);
    let mut own = request.headers.clone();
    let mut trail = Trail::default();
    let mut origins = Vec::new();
    let mut has_left = false;
    for line in script.split(|byte| *byte == b'\n').take(MOST_HOPS) {
        let here = origin(&outgoing);
        let was_https = outgoing.is_https();
        let Some(head) = head(line, origins.len()) else { return };
        origins.push(here.clone());
        let (old_method, old_body) = (outgoing.method.clone(), outgoing.body.clone());
        outgoing = match trail.follow(outgoing, &mut own, &head) {
            Ok(next) => next,
            Err(failure) => return assert_theirs(&failure, &THEIRS),
        };
        let there = origin(&outgoing);
        has_left |= here != there;
        assert!(!was_https || outgoing.is_https(), "down to http");
        check_place(&outgoing);
        assert_eq!(outgoing.chosen.is_some(), !has_left, "an address of one origin is none of another's");
        assert!(outgoing.body.is_none() || outgoing.body == old_body);
        assert!(
            outgoing.method == old_method || outgoing.method == http::Method::GET && outgoing.body.is_none()
        );
        check_headers(&request, &outgoing, has_left);
        check_cookies(&outgoing, &origins, &there);
        assert!(has_left || there == first);
    }
}

/// The answer of a line: a status, a location, and cookies behind tabs. None where headers cannot be such.
fn head(line: &[u8], hop: usize) -> Option<Head> {
    // Who knows the canary could set it.
    let (status, rest) = line.split_first()?;
    if rest.windows(CANARY.len()).any(|text| text.eq_ignore_ascii_case(CANARY.as_bytes())) {
        return None;
    }
    let status = Choices(&[*status]).of(&[302_u16, 301, 303, 307, 308]);
    let mut parts = rest.split(|byte| *byte == b'\t').map(HeaderValue::from_bytes);
    let mut headers = HeaderMap::new();
    headers.insert(header::LOCATION, parts.next()?.ok()?);
    headers.insert(header::SET_COOKIE, HeaderValue::from_str(&format!("{CANARY}{hop}=x; path=/")).ok()?);
    for cookie in parts {
        headers.append(header::SET_COOKIE, cookie.ok()?);
    }
    Some(Head { status, version: HttpVersion::Http11, headers })
}

fn origin(outgoing: &Outgoing) -> Origin {
    Url::parse(&outgoing.uri.to_string()).unwrap().origin()
}

/// Who decides about origins, who connects and who writes the request line must read one URL as one.
fn check_place(outgoing: &Outgoing) {
    let text = outgoing.uri.to_string();
    let url = Url::parse(&text).unwrap();
    assert_eq!(url.as_str(), text, "a URL has one spelling");
    assert!(matches!(url.scheme(), "http" | "https"));
    assert_eq!(outgoing.uri.host(), url.host_str());
    assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
    assert!(!outgoing.uri.authority().unwrap().as_str().contains('@'));
    let place = dial::place(&outgoing.uri, &Pins::default());
    assert_eq!(Some(place.port), url.port_or_known_default());
    assert!(place.port > 0, "nothing listens at port 0");
    match url.host().unwrap() {
        url::Host::Domain(name) => assert!(place.known.is_none(), "{name}"),
        url::Host::Ipv4(address) => assert_eq!(place.known.unwrap().0, address),
        url::Host::Ipv6(address) => assert_eq!(place.known.unwrap().0, address),
    }
    if outgoing.is_https() {
        assert!(exchange::server_name(outgoing).is_ok(), "{text} has no name to verify");
    }
}

fn check_headers(request: &Request, outgoing: &Outgoing, has_left: bool) {
    let sent = exchange::http_request(request, outgoing, Speaks::Http1).unwrap();
    assert!(exchange::http_request(request, outgoing, Speaks::Http2).is_ok());
    let headers = outgoing.headers.as_ref().unwrap();
    if !has_left {
        let rewritten = outgoing.method != request.method;
        for (name, value) in &request.headers {
            let is_kept = headers.get(name).is_some_and(|kept| kept.as_bytes().starts_with(value.as_bytes()));
            assert!(is_kept || rewritten && BODY_HEADERS.contains(name), "{name} was lost");
        }
        assert!(outgoing.shows_certificate && outgoing.server_name.is_some());
        return;
    }
    assert!(!outgoing.shows_certificate && outgoing.server_name.is_none());
    assert!(outgoing.body.as_ref().is_none_or(Bytes::is_empty), "a body has crossed");
    let is_ours = |name: &HeaderName| [header::HOST, header::COOKIE, header::CONTENT_LENGTH].contains(name);
    for (name, value) in sent.headers() {
        assert!(SAFE_HEADERS.contains(name) || is_ours(name), "{name} has crossed");
        let is_in = |text: &[u8]| text.windows(SECRET.len()).any(|text| text == SECRET.as_bytes());
        assert!(
            name == header::HOST || name == header::COOKIE || !is_in(value.as_bytes()),
            "{name} has crossed"
        );
    }
    assert_eq!(sent.headers()[header::HOST], outgoing.uri.authority().unwrap().as_str());
}

/// The cookie that every hop sets goes back to its origin and nowhere else.
fn check_cookies(outgoing: &Outgoing, origins: &[Origin], there: &Origin) {
    let headers = outgoing.headers.as_ref().unwrap();
    assert!(headers.get_all(header::COOKIE).iter().count() <= 1);
    let cookies = headers.get(header::COOKIE).map_or("", |value| value.to_str().unwrap());
    for (hop, origin) in origins.iter().enumerate() {
        let has = cookies.split("; ").any(|cookie| cookie == format!("{CANARY}{hop}=x"));
        assert_eq!(has, origin == there, "the cookie of hop {hop}: {cookies}");
    }
}
