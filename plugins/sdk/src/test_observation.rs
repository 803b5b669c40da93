//! An observation built from plain data, for native tests of a check.

use std::collections::BTreeMap;
use std::time::Duration;

use encoding_rs::{Encoding, UTF_8};
use twox_hash::XxHash3_64;

use crate::{Observation, Phase};

/// An attempt as a test wants it. Starts as a `GET` of `https://example.test/` without a response. The
/// facts that follow from a response, `content-type`, `http.version` and `body.xxh3`, are there by
/// themselves, as from the runner.
#[derive(Debug, Clone, Default)]
pub struct TestObservation {
    target: Option<String>,
    labels: Vec<(String, String)>,
    started_at_ns: u64,
    method: Option<String>,
    url: Option<String>,
    error: Option<String>,
    status: Option<u16>,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    body_truncated: bool,
    timings: Vec<(Phase, Duration)>,
    facts: Vec<(String, String)>,
}

/// Setters, each giving the observation back.
impl TestObservation {
    /// An attempt without a response.
    pub fn new() -> Self {
        TestObservation::default()
    }

    /// Names the target; by default its name is the URL.
    #[must_use]
    pub fn target(mut self, name: &str) -> Self {
        self.target = Some(name.to_owned());
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.to_owned(), value.to_owned()));
        self.labels.sort();
        self
    }

    /// Sets the begin of the attempt, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn started_at_ns(mut self, nanoseconds: u64) -> Self {
        self.started_at_ns = nanoseconds;
        self
    }

    /// Sets the method; `GET` by default.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Sets the URL; `https://example.test/` by default.
    #[must_use]
    pub fn url(mut self, url: &str) -> Self {
        self.url = Some(url.to_owned());
        self
    }

    /// Sets the error kind.
    #[must_use]
    pub fn error(mut self, kind: &str) -> Self {
        self.error = Some(kind.to_owned());
        self
    }

    /// Sets the status code.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Adds a header; one name may come several times.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.as_ref().to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        body.as_ref().clone_into(&mut self.body);
        self
    }

    /// Marks the body as cut at the body limit.
    #[must_use]
    pub fn body_truncated(mut self) -> Self {
        self.body_truncated = true;
        self
    }

    /// Sets the length of a phase.
    #[must_use]
    pub fn timing(mut self, phase: Phase, length: Duration) -> Self {
        self.timings.push((phase, length));
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn fact(mut self, name: &str, value: &str) -> Self {
        self.facts.push((name.to_owned(), value.to_owned()));
        self.facts.sort();
        self
    }
}

impl TestObservation {
    /// The facts that follow from the response, and before them those that were set.
    fn all_facts(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        if self.status.is_some() {
            let mut add = |name: &str, value: String| all.insert(name.to_owned(), value);
            if let Some(value) = Observation::header(self, "content-type") {
                add("content-type", value);
            }
            add("http.version", "1.1".to_owned());
            add("body.xxh3", format!("{:016x}", XxHash3_64::oneshot(&self.body)));
        }
        all.extend(self.facts.iter().cloned());
        all
    }
}

/// The charset parameter of a content type.
fn charset(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').trim())
    })
}

fn find(pairs: &[(String, String)], name: &str) -> Option<String> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
}

impl Observation for TestObservation {
    fn target(&self) -> String {
        self.target.clone().unwrap_or_else(|| Observation::url(self))
    }

    fn label(&self, name: &str) -> Option<String> {
        find(&self.labels, name)
    }

    fn labels(&self) -> Vec<(String, String)> {
        self.labels.clone()
    }

    fn started_at_ns(&self) -> u64 {
        self.started_at_ns
    }

    fn method(&self) -> String {
        self.method.clone().unwrap_or_else(|| "GET".to_owned())
    }

    fn url(&self) -> String {
        self.url.clone().unwrap_or_else(|| "https://example.test/".to_owned())
    }

    fn error(&self) -> Option<String> {
        self.error.clone()
    }

    fn status(&self) -> Option<u16> {
        self.status
    }

    fn header(&self, name: &str) -> Option<String> {
        let first = self.header_values(name).into_iter().next()?;
        Some(String::from_utf8_lossy(&first).into_owned())
    }

    fn header_values(&self, name: &str) -> Vec<Vec<u8>> {
        let same = |(key, _): &&(String, Vec<u8>)| key.eq_ignore_ascii_case(name);
        self.headers.iter().filter(same).map(|(_, value)| value.clone()).collect()
    }

    fn headers(&self) -> Vec<(String, Vec<u8>)> {
        self.headers.clone()
    }

    fn body_len(&self) -> u64 {
        self.body.len() as u64
    }

    fn body_truncated(&self) -> bool {
        self.body_truncated
    }

    fn body(&self) -> Vec<u8> {
        self.body.clone()
    }

    fn body_range(&self, offset: u64, len: u64) -> Vec<u8> {
        let end = offset.saturating_add(len).min(self.body_len());
        let start = offset.min(end);
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        self.body[place(start)..place(end)].to_owned()
    }

    fn body_text(&self) -> String {
        let content_type = Observation::header(self, "content-type").unwrap_or_default();
        let encoding =
            charset(&content_type).and_then(|label| Encoding::for_label(label.as_bytes())).unwrap_or(UTF_8);
        encoding.decode(&self.body).0.into_owned()
    }

    fn timing(&self, phase: Phase) -> Option<Duration> {
        self.timings.iter().rev().find(|(set, _)| *set == phase).map(|(_, length)| *length)
    }

    fn fact(&self, name: &str) -> Option<String> {
        self.all_facts().remove(name)
    }

    fn facts(&self) -> Vec<(String, String)> {
        self.all_facts().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_the_body_end_where_it_ends() {
        let seen = TestObservation::new().body("0123");
        assert_eq!(seen.body_range(1, 2), b"12");
        assert_eq!(seen.body_range(3, 9), b"3");
        assert_eq!(seen.body_range(9, u64::MAX), b"");
    }

    #[test]
    fn the_body_is_text_by_its_charset() {
        for (content_type, body, text) in [
            ("text/html", &b"\xef\xbb\xbfx\xff"[..], "x\u{fffd}"),
            ("text/html; Charset=\"latin1\"", b"\xe9", "é"),
            ("text/plain; charset=klingon", "é".as_bytes(), "é"),
        ] {
            let seen = TestObservation::new().header("Content-Type", content_type).body(body);
            assert_eq!(seen.body_text(), text, "{content_type}");
        }
    }

    #[test]
    fn what_follows_from_a_response_is_a_fact() {
        let seen = TestObservation::new().fact("tls.version", "1.3");
        assert_eq!(seen.facts().len(), 1);
        let seen = seen.status(200).header("content-type", "text/plain").fact("http.version", "2");
        let facts = [
            ("body.xxh3", "2d06800538d394c2"),
            ("content-type", "text/plain"),
            ("http.version", "2"),
            ("tls.version", "1.3"),
        ];
        assert_eq!(seen.facts(), facts.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(Observation::fact(&seen, "http.version").as_deref(), Some("2"));
    }

    #[test]
    fn header_names_have_no_case() {
        let seen = TestObservation::new().header("X-A", "1").header("x-a", [0xff]);
        assert_eq!(seen.header_values("X-a"), [b"1".to_vec(), vec![0xff]]);
        assert_eq!(Observation::header(&seen, "X-A"), Some("1".to_owned()));
        assert_eq!(Observation::header(&seen, "x-b"), None);
    }
}
