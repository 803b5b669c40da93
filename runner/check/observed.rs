//! What a check sees of an attempt. Nothing is copied or worked out before it is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use encoding_rs::{Encoding, UTF_8};

use crate::clock::UnixNanos;
use crate::model::{Exchange, Target, TlsFacts};

/// One attempt, as checks see it.
#[derive(Debug, Clone)]
pub struct Observed {
    /// What was probed.
    pub target: Arc<Target>,
    /// What happened on the wire.
    pub exchange: Arc<Exchange>,
    /// When the attempt began.
    pub started_at: UnixNanos,
    /// Facts that somebody stated, by name: they stand before those of the exchange.
    stated: Option<Arc<BTreeMap<String, String>>>,
}

/// A fact: its name, and how it is found.
type Fact = (&'static str, fn(&Observed) -> Option<String>);

/// Every fact, sorted by name. wit/README.md documents them.
const FACTS: [Fact; 17] = [
    ("body.xxh3", |seen| seen.exchange.body_xxh3().map(|hash| format!("{hash:016x}"))),
    ("cert.chain-not-after", |seen| seen.tls().and_then(|tls| date(tls.cert_chain_not_after))),
    ("cert.issuer", |seen| seen.tls().and_then(|tls| tls.cert_issuer.clone())),
    ("cert.names", |seen| seen.tls().and_then(|tls| tls.cert_names.clone())),
    ("cert.not-after", |seen| seen.tls().and_then(|tls| date(tls.cert_not_after))),
    ("cert.not-before", |seen| seen.tls().and_then(|tls| date(tls.cert_not_before))),
    ("cert.sha256", |seen| seen.tls().and_then(|tls| tls.cert_sha256.clone())),
    ("cert.subject", |seen| seen.tls().and_then(|tls| tls.cert_subject.clone())),
    ("content-type", |seen| seen.header("content-type")),
    ("http.version", |seen| seen.exchange.head.as_ref().map(|head| head.version.as_str().to_owned())),
    ("redirects", |seen| seen.exchange.redirects.map(|count| count.to_string())),
    ("remote.addr", |seen| seen.exchange.remote_addr.map(|address| address.to_string())),
    ("tls.alpn", |seen| seen.tls().and_then(|tls| tls.alpn.clone())),
    ("tls.cipher", |seen| seen.tls().and_then(|tls| tls.cipher.clone())),
    ("tls.verified", |seen| seen.tls().and_then(|tls| tls.verified).map(|verified| verified.to_string())),
    ("tls.verify-error", |seen| seen.tls().and_then(|tls| tls.verify_error.clone())),
    ("tls.version", |seen| seen.tls().and_then(|tls| tls.version).map(str::to_owned)),
];

impl Observed {
    /// An attempt as it was.
    pub fn new(target: Arc<Target>, exchange: Arc<Exchange>, started_at: UnixNanos) -> Self {
        Self { target, exchange, started_at, stated: None }
    }

    /// The same attempt with facts as somebody states them, whatever the exchange has: for tests of a
    /// check, which has to bear also what no exchange of ours would hold.
    #[must_use]
    pub fn with_facts(self, stated: BTreeMap<String, String>) -> Self {
        Self { stated: (!stated.is_empty()).then(|| Arc::new(stated)), ..self }
    }

    /// The method of the last request; GET where none was sent yet.
    pub(super) fn method(&self) -> &str {
        self.exchange.method.as_ref().map_or("GET", http::Method::as_str)
    }

    /// The URL of the last request.
    pub(super) fn url(&self) -> &str {
        self.exchange.final_url.as_deref().unwrap_or(&self.target.url)
    }

    /// The stable name of the failure's kind.
    pub(super) fn error(&self) -> Option<&'static str> {
        self.exchange.failure.as_ref().map(|failure| failure.kind.as_str())
    }

    /// The status code.
    pub(super) fn status(&self) -> Option<u16> {
        self.exchange.head.as_ref().map(|head| head.status)
    }

    /// The first value of a header, as text.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let value = self.exchange.head.as_ref()?.headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// All values of a header, in their order.
    pub(super) fn header_values(&self, name: &str) -> Vec<Vec<u8>> {
        let Some(head) = &self.exchange.head else { return Vec::new() };
        head.headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect()
    }

    /// All headers; names in lower case.
    pub(super) fn headers(&self) -> Vec<(String, Vec<u8>)> {
        let Some(head) = &self.exchange.head else { return Vec::new() };
        head.headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
            .collect()
    }

    /// A part of the body; shorter, or empty, where the body ends.
    pub(super) fn body_range(&self, offset: u64, len: u64) -> &[u8] {
        let body = &self.exchange.body;
        let whole = body.len() as u64;
        let begin = offset.min(whole);
        let end = begin.saturating_add(len).min(whole);
        &body[begin as usize..end as usize]
    }

    /// The body as text: by its byte order mark, else by the charset of its content type, else
    /// UTF-8; what is invalid is replaced.
    pub(super) fn body_text(&self) -> String {
        self.body_decoded().0
    }

    /// The body as text, the name of the encoding that it was read by, and whether there was anything that is
    /// none of it.
    pub fn body_decoded(&self) -> (String, &'static str, bool) {
        let encoding = self
            .header("content-type")
            .and_then(|value| Encoding::for_label(charset(&value)?.as_bytes()))
            .unwrap_or(UTF_8);
        let (text, encoding, is_invalid) = encoding.decode(&self.exchange.body);
        (text.into_owned(), encoding.name(), is_invalid)
    }

    /// The length of a phase in nanoseconds.
    pub(super) fn timing(&self, name: &str) -> Option<u64> {
        let phases = &self.exchange.phases;
        let phase = match name {
            "dns" => phases.dns,
            "connect" => phases.connect,
            "tls" => phases.tls,
            "first-byte" => phases.first_byte,
            "transfer" => phases.transfer,
            "total" => phases.total,
            _ => None,
        };
        phase.map(nanos)
    }

    /// A fact by name.
    pub(super) fn fact(&self, name: &str) -> Option<String> {
        if let Some(value) = self.stated.as_ref().and_then(|stated| stated.get(name)) {
            return Some(value.clone());
        }
        let found = FACTS.binary_search_by(|(fact, _)| (*fact).cmp(name)).ok()?;
        FACTS[found].1(self)
    }

    /// All facts that are known, sorted by name.
    pub(super) fn facts(&self) -> Vec<(String, String)> {
        let seen = FACTS.iter().filter_map(|(name, find)| Some(((*name).to_owned(), find(self)?)));
        match &self.stated {
            None => seen.collect(),
            Some(stated) => {
                let mut all: BTreeMap<String, String> = seen.collect();
                all.extend(stated.iter().map(|(name, value)| (name.clone(), value.clone())));
                all.into_iter().collect()
            }
        }
    }

    fn tls(&self) -> Option<&TlsFacts> {
        self.exchange.tls.as_ref()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Seconds since the Unix epoch as RFC 3339; none beyond the year 9999.
fn date(seconds: Option<i64>) -> Option<String> {
    Some(jiff::Timestamp::from_second(seconds?).ok()?.to_string())
}

/// The charset parameter of a content type (RFC 9110 section 8.3).
fn charset(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').trim())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use http::HeaderMap;
    use hyper::body::Bytes;

    use super::*;
    use crate::model::{Head, HttpVersion};

    fn observed(content_type: Option<&str>, body: &[u8]) -> Observed {
        let mut headers = HeaderMap::new();
        if let Some(value) = content_type {
            headers.insert("content-type", value.parse().unwrap());
        }
        let head = Head { status: 200, version: HttpVersion::Http11, headers };
        let exchange =
            Exchange { head: Some(head), body: Bytes::copy_from_slice(body), ..Exchange::default() };
        let target = Target { name: "t".into(), url: "http://t/".into(), labels: [].into(), every: None };
        Observed::new(target.into(), exchange.into(), UnixNanos(0))
    }

    #[test]
    fn facts_stand_sorted_and_once() {
        assert!(FACTS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn the_body_is_text_by_its_charset() {
        let cases: [(Option<&str>, &[u8], &str); 9] = [
            (None, "é".as_bytes(), "é"),
            (None, b"\xe9", "\u{fffd}"),
            (Some("text/html"), b"\xef\xbb\xbfx", "x"),
            (Some("text/html; Charset=\"ISO-8859-1\""), b"\xe9\x80", "é€"),
            (Some("text/html;charset=latin1"), b"\xe9", "é"),
            (Some("text/plain; charset=windows-1252"), b"\x80", "€"),
            (Some("text/plain; charset=utf-16"), b"\xff\xfea\x00", "a"),
            (Some("text/plain; charset=latin1"), b"\xfe\xff\x00a", "a"),
            (Some("text/plain; charset=klingon"), "é".as_bytes(), "é"),
        ];
        for (content_type, body, expected) in cases {
            assert_eq!(observed(content_type, body).body_text(), expected, "{content_type:?}");
        }
    }

    #[test]
    fn a_range_ends_where_the_body_ends() {
        let seen = observed(None, b"0123456789");
        assert_eq!(seen.body_range(2, 3), b"234");
        assert_eq!(seen.body_range(8, u64::MAX), b"89");
        assert_eq!(seen.body_range(u64::MAX, u64::MAX), b"");
    }

    #[test]
    fn what_is_absent_is_no_fact() {
        let seen = observed(Some("text/plain"), b"");
        let names: Vec<_> = seen.facts().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["body.xxh3", "content-type", "http.version"]);
        assert_eq!(seen.fact("tls.version"), None);
        assert_eq!(seen.fact("body.xxh3").unwrap(), "2d06800538d394c2");
        assert_eq!(seen.fact("unheard-of"), None);
    }

    #[test]
    fn stated_facts_stand_before_those_of_the_exchange() {
        let stated = [("content-type", "text/html"), ("cert.not-after", "tomorrow"), ("unheard-of", "x")];
        let stated = stated.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let seen = observed(Some("text/plain"), b"").with_facts(stated.clone().into());
        for (name, value) in &stated {
            assert_eq!(seen.fact(name).as_ref(), Some(value));
        }
        assert_eq!(seen.fact("http.version").unwrap(), "1.1");
        let names: Vec<_> = seen.facts().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["body.xxh3", "cert.not-after", "content-type", "http.version", "unheard-of"]);
        assert!(seen.facts().contains(&stated[0]), "{:?}", seen.facts());
    }

    #[test]
    fn certificate_dates_are_rfc_3339() {
        let mut seen = observed(None, b"");
        let tls = TlsFacts {
            cert_not_after: Some(1_800_000_000),
            cert_not_before: Some(i64::MAX),
            verified: Some(false),
            ..TlsFacts::default()
        };
        Arc::make_mut(&mut seen.exchange).tls = Some(tls);
        assert_eq!(seen.fact("cert.not-after").unwrap(), "2027-01-15T08:00:00Z");
        assert_eq!(seen.fact("cert.not-before"), None);
        assert_eq!(seen.fact("tls.verified").unwrap(), "false");
    }

    #[test]
    fn header_names_are_found_in_any_case() {
        let mut seen = observed(None, b"");
        let headers = &mut Arc::make_mut(&mut seen.exchange).head.as_mut().unwrap().headers;
        headers.append("x-a", http::HeaderValue::from_bytes(b"\xff1").unwrap());
        headers.append("x-a", "2".parse().unwrap());
        assert_eq!(seen.header("X-A").unwrap(), "\u{fffd}1");
        assert_eq!(seen.header_values("X-a"), [b"\xff1".to_vec(), b"2".to_vec()]);
        assert_eq!(seen.headers().len(), 2);
        assert_eq!(seen.header("not a name"), None);
    }
}
