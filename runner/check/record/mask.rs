//! What never gets into a record: secrets that a response shows, and those of the request that it echoes.
//!
//! A record keeps no request but its method and URL. Responses have secrets too: cookies, tokens, and
//! sometimes the request's own headers. What is masked is masked by name, as little of it as can be, so
//! that a check that looks at the rest still says the same; and it is told in the record.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::body::Bytes;

use super::Record;
use crate::config::SecretTexts;

/// What stands in the place of a secret. Not a tag: a page with one more would be another page.
pub const MASK: &str = "[masked]";

/// Parts of a header's name that tell of a secret: the whole value is masked. Of `set-cookie`, which has
/// more to it, only the cookie's value.
const SECRET_WORDS: [&str; 14] = [
    "api-key",
    "apikey",
    "auth-key",
    "authentication-info",
    "authorization",
    "cookie",
    "credential",
    "csrf",
    "jwt",
    "password",
    "secret",
    "session",
    "token",
    "x-auth",
];
/// Headers that say how to authenticate: the scheme stays, what belongs to it (a nonce, a token) goes.
const CHALLENGES: [HeaderName; 2] = [header::WWW_AUTHENTICATE, header::PROXY_AUTHENTICATE];
/// Headers of a request that say what is wanted, not by whom: their values are no secrets.
const PLAIN_HEADERS: [&str; 14] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-type",
    "host",
    "if-modified-since",
    "origin",
    "pragma",
    "range",
    "referer",
    "user-agent",
];
/// The shortest text that is looked for, in bytes: under a name that tells of a secret, and under another
/// one. A shorter one would be found everywhere ("true" is in every JSON).
const SHORTEST_SECRET: usize = 6;
const SHORTEST_VALUE: usize = 8;
/// The same of one that stood in the environment or in a file, which is a secret by what it is.
const SHORTEST_ELSEWHERE: usize = 4;
/// The shortest secret of a response's header that is looked for in its body.
const SHORTEST_IN_BODY: usize = 16;
/// How many bytes of a secret's begin tell that it is one: a message may show no more of it.
const TELLING: usize = 12;

/// What of an attempt gets into a record.
#[derive(Clone)]
pub struct RecordRules {
    /// Bytes of a body at most.
    max_body: usize,
    /// Response headers that are masked besides the known ones.
    headers: Vec<HeaderName>,
    /// What the request sends and nobody should see, in the forms in which a response may echo it.
    sent: Secrets,
}

/// Texts that are looked for, the longest first, since one may be a part of another.
#[derive(Clone, Default)]
struct Secrets(Vec<Secret>);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Secret {
    text: Vec<u8>,
    /// How many bytes of its begin tell that it is the secret.
    known_by: usize,
    /// Whether it is looked for in bodies.
    is_in_bodies: bool,
}

impl fmt::Debug for RecordRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (max_body, headers) = (&self.max_body, &self.headers);
        f.debug_struct("RecordRules")
            .field("max_body", max_body)
            .field("headers", headers)
            .finish_non_exhaustive()
    }
}

impl RecordRules {
    /// The rules for a request with these headers and this body. `headers` are masked in responses besides
    /// the known ones.
    pub fn new<'a>(
        max_body: usize,
        headers: Vec<HeaderName>,
        sent: impl IntoIterator<Item = (&'a str, &'a str)>,
        body: Option<&str>,
    ) -> Self {
        Self::with_secrets(max_body, headers, sent, body, &SecretTexts::default())
    }

    /// The same, and these texts are masked wherever they turn up.
    pub fn with_secrets<'a>(
        max_body: usize,
        headers: Vec<HeaderName>,
        sent: impl IntoIterator<Item = (&'a str, &'a str)>,
        body: Option<&str>,
        texts: &SecretTexts,
    ) -> Self {
        let mut secrets = Secrets::default();
        texts.forms().for_each(|text| secrets.add_header(text, Origin::Elsewhere));
        for (name, value) in sent {
            let name = name.to_ascii_lowercase();
            if !PLAIN_HEADERS.contains(&name.as_str()) {
                secrets
                    .add_header(value.trim(), if is_secret(&name) { Origin::Secret } else { Origin::Value });
            }
        }
        if let Some(body) = body {
            secrets.add(body.trim(), Origin::Value);
        }
        Self { max_body, headers, sent: secrets.sorted() }
    }

    /// Masks and cuts a record.
    pub fn apply(&self, record: &mut Record) {
        let mut masking = Masking { secrets: self.sent.clone(), parts: BTreeSet::new() };
        let observed = Arc::make_mut(&mut record.observed);
        let exchange = Arc::make_mut(&mut observed.exchange);
        if let Some(token) = exchange.sent_token.take() {
            masking.secrets.add(token.expose(), Origin::Elsewhere);
            masking.secrets = std::mem::take(&mut masking.secrets).sorted();
        }
        if let Some(head) = &mut exchange.head {
            head.headers = self.headers(&head.headers, &mut masking);
        }
        let urls = exchange.final_url.iter_mut().chain(exchange.hops.iter_mut().map(|hop| &mut hop.url));
        for url in urls {
            masking.text(url, "url");
        }
        if let Some(failure) = &mut exchange.failure {
            masking.text(&mut failure.message, "error_message");
        }
        let whole = exchange.body.len();
        let (body, is_masked, is_cut) = masking.secrets.body(&exchange.body, self.max_body);
        exchange.body = body;
        record.body_cut_from = is_cut.then_some(whole as u64);
        if is_masked {
            masking.parts.insert("body".to_owned());
        }
        for recorded in &mut record.verdicts {
            let verdict = &mut recorded.verdict;
            masking.text(&mut verdict.message, "verdicts");
            for (_, text) in &mut verdict.annotations {
                masking.text(text, "verdicts");
            }
            for value in recorded.remembered.iter_mut().flat_map(|known| Arc::make_mut(known).values_mut()) {
                if let Some(masked) = masking.secrets.masked(value, false) {
                    *value = masked;
                    masking.parts.insert("remembered".to_owned());
                }
            }
        }
        record.masked = masking.parts.into_iter().collect();
    }

    /// The headers without their secrets, which are looked for in all that comes after.
    fn headers(&self, headers: &HeaderMap, masking: &mut Masking) -> HeaderMap {
        let hidden: Vec<_> =
            headers.iter().map(|(name, value)| self.header(name, value.as_bytes())).collect();
        for Hidden { secret, .. } in hidden.iter().flatten() {
            masking.secrets.add(&String::from_utf8_lossy(secret), Origin::Response);
        }
        masking.secrets = std::mem::take(&mut masking.secrets).sorted();
        let mut out = HeaderMap::with_capacity(headers.len());
        for ((name, value), hidden) in headers.iter().zip(hidden) {
            let shown = hidden.map(|hidden| hidden.shown);
            let masked = masking.line(shown.as_deref().unwrap_or(value.as_bytes()));
            let replaced = masked.or(shown).and_then(|bytes| HeaderValue::from_bytes(&bytes).ok());
            if replaced.is_some() {
                masking.parts.insert(name.as_str().to_owned());
            }
            out.append(name, replaced.unwrap_or_else(|| value.clone()));
        }
        out
    }

    /// What is hidden of a header's value; none where it has no secret by its name.
    fn header(&self, name: &HeaderName, value: &[u8]) -> Option<Hidden> {
        if value.is_empty() {
            return None;
        }
        if *name == header::SET_COOKIE && !self.headers.contains(name) {
            return cookie(value);
        }
        if CHALLENGES.contains(name) {
            return challenge(value);
        }
        let is_hidden = self.headers.contains(name) || is_secret(name.as_str());
        is_hidden.then(|| Hidden { shown: MASK.into(), secret: value.to_vec() })
    }
}

/// A header's value as it is shown, and what of it is not.
#[derive(Debug, PartialEq, Eq)]
struct Hidden {
    shown: Vec<u8>,
    secret: Vec<u8>,
}

/// The masking of one record.
struct Masking {
    secrets: Secrets,
    /// What was masked.
    parts: BTreeSet<String>,
}

impl Masking {
    /// A line without secrets, and without user names and passwords in URLs; none where it has none.
    fn line(&self, line: &[u8]) -> Option<Vec<u8>> {
        let masked = self.secrets.masked(line, false);
        let text = std::str::from_utf8(masked.as_deref().unwrap_or(line)).ok();
        text.and_then(without_user_information).map(String::into_bytes).or(masked)
    }

    fn text(&mut self, text: &mut String, part: &str) {
        if let Some(masked) = self.line(text.as_bytes()) {
            *text = String::from_utf8_lossy(&masked).into_owned();
            self.parts.insert(part.to_owned());
        }
    }
}

/// Whether the values of a request's header, by its name in lower case, say what is wanted, not by whom.
pub fn is_plain_header(name: &str) -> bool {
    PLAIN_HEADERS.contains(&name)
}

/// Whether a header's name, in lower case, tells that its value is a secret.
pub fn is_secret(name: &str) -> bool {
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// Where a text that is looked for comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The request, under a name that tells of a secret.
    Secret,
    /// The request, under another name.
    Value,
    /// A header of the response.
    Response,
    /// The environment, or a file of secrets.
    Elsewhere,
}

impl Secrets {
    /// Adds what of a request header's value is looked for: all of it, what stands behind a scheme, the
    /// values of cookies, and what is in the base64 of Basic.
    fn add_header(&mut self, value: &str, origin: Origin) {
        self.add(value, origin);
        for pair in value.split(';') {
            if let Some((_, value)) = pair.split_once('=') {
                self.add(value.trim().trim_matches('"'), origin);
            }
        }
        let Some((scheme, rest)) = value.split_once(' ') else { return };
        self.add(rest.trim(), origin);
        if !scheme.eq_ignore_ascii_case("basic") {
            return;
        }
        let decoded = STANDARD.decode(rest.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some(pair) = decoded {
            self.add(&pair, origin);
            if let Some((_, password)) = pair.split_once(':') {
                self.add(password, origin);
            }
        }
    }

    /// Adds a text: as it is, inside a JSON string, and percent-encoded.
    fn add(&mut self, text: &str, origin: Origin) {
        let shortest = match origin {
            Origin::Value => SHORTEST_VALUE,
            Origin::Elsewhere => SHORTEST_ELSEWHERE,
            Origin::Secret | Origin::Response => SHORTEST_SECRET,
        };
        if text.len() < shortest {
            return;
        }
        let is_in_bodies = origin != Origin::Response || text.len() >= SHORTEST_IN_BODY;
        let mut add = |form: &[u8]| {
            let known_by = if origin == Origin::Value { form.len() } else { form.len().min(TELLING) };
            self.0.push(Secret { text: form.to_vec(), known_by, is_in_bodies });
        };
        add(text.as_bytes());
        if let Ok(json) = serde_json::to_string(text) {
            add(&json.as_bytes()[1..json.len() - 1]);
        }
        let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        add(encoded.replace('+', "%20").as_bytes());
        add(encoded.as_bytes());
    }

    fn sorted(mut self) -> Self {
        self.0.sort_by(|a, b| (b.text.len(), b).cmp(&(a.text.len(), a)));
        self.0.dedup();
        self
    }

    /// The first bytes of a body without secrets; whether any was masked, and whether it is not all of it.
    /// No more of it is looked through than is kept.
    fn body(&self, body: &Bytes, most: usize) -> (Bytes, bool, bool) {
        let longest = self.0.first().map_or(0, |secret| secret.text.len());
        // So far that a secret that begins in what is kept is there whole.
        let reach = body.len().min(most.saturating_add(longest));
        let masked = self.masked(&body[..reach], true).map(Bytes::from);
        let is_masked = masked.is_some();
        let seen = masked.unwrap_or_else(|| body.slice(..reach));
        // One that begins behind may be there in part, and masks may have brought it nearer.
        let safe = if reach < body.len() { seen.len().saturating_sub(longest) } else { seen.len() };
        let kept = cut(&seen, most.min(safe)).unwrap_or_else(|| seen.clone());
        let is_cut = reach < body.len() || kept.len() < seen.len();
        (kept, is_masked, is_cut)
    }

    /// The bytes without secrets; none where there are none.
    fn masked(&self, bytes: &[u8], are_body: bool) -> Option<Vec<u8>> {
        let mut found: Option<Vec<u8>> = None;
        for secret in self.0.iter().filter(|secret| secret.is_in_bodies || !are_body) {
            if let Some(masked) = secret.cut_from(found.as_deref().unwrap_or(bytes)) {
                found = Some(masked);
            }
        }
        found
    }
}

impl Secret {
    /// The bytes with every occurrence of the secret masked; none where there is none.
    fn cut_from(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let telling = &self.text[..self.known_by];
        let mut out = Vec::new();
        let mut rest = bytes;
        while let Some(at) = find(rest, telling) {
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(MASK.as_bytes());
            let same = rest[at..].iter().zip(&self.text).take_while(|(a, b)| a == b).count();
            rest = &rest[at + same..];
        }
        if rest.len() == bytes.len() {
            return None;
        }
        out.extend_from_slice(rest);
        Some(out)
    }
}

/// Where a text that is not empty begins in others.
fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    let (first, rest) = text.split_first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| byte == first) {
        from += at + 1;
        if bytes[from..].starts_with(rest) {
            return Some(from - 1);
        }
    }
    None
}

/// A cookie without its value: its name and its attributes stay. One that is emptied has none.
fn cookie(value: &[u8]) -> Option<Hidden> {
    let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
    let (pair, attributes) = value.split_at(end);
    let (name, secret) = pair.split_at(pair.iter().position(|byte| *byte == b'=').map_or(0, |at| at + 1));
    if secret.trim_ascii().is_empty() {
        return None;
    }
    Some(Hidden { shown: [name, MASK.as_bytes(), attributes].concat(), secret: secret.trim_ascii().to_vec() })
}

/// A challenge without what belongs to its scheme.
fn challenge(value: &[u8]) -> Option<Hidden> {
    let (scheme, secret) = value.split_at(value.iter().position(|byte| *byte == b' ')? + 1);
    Some(Hidden { shown: [scheme, MASK.as_bytes()].concat(), secret: secret.to_vec() })
}

/// A text in which no URL has a user name or a password; none where none had.
fn without_user_information(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    let mut changed = false;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        let ends =
            |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '<' | '>' | '\\');
        let end = after.find(ends).unwrap_or(after.len());
        let host = after[..end].rfind('@').map_or(0, |at| at + 1);
        changed |= host > 0;
        out.push_str(before);
        rest = &after[host..];
    }
    out.push_str(rest);
    changed.then_some(out)
}

/// The first bytes of a body, whole characters where it is text; none where it is short enough.
fn cut(body: &Bytes, most: usize) -> Option<Bytes> {
    if body.len() <= most {
        return None;
    }
    let end = std::str::from_utf8(body).map_or(most, |text| text.floor_char_boundary(most));
    Some(body.slice(..end))
}

#[cfg(test)]
mod tests;
