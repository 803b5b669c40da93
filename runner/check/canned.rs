//! A response that was not fetched but written down: what a test shows to a check. Tests of a plugin
//! and tests of a pipeline describe it with the same keys.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::body::Bytes;
use serde_json::json;
use toml::Spanned;
use toml::de::DeValue;

use super::observed::Observed;
use crate::clock::UnixNanos;
use crate::config::{
    Code, Context, Diagnostic, Diagnostics, Document, Duration, FromValue, Located, config_table,
    did_you_mean, read_input,
};
use crate::model::{ErrorKind, Exchange, Failure, Head, HttpVersion, Phases, Target};

/// The largest body that is read from a file, in bytes: the largest `body_limit` of a pipeline.
const BODY_FILE_BYTES: u64 = 64 << 20;

config_table! {
    /// What was seen. `content-type`, `http.version` and `body.xxh3` among the facts follow from the rest
    /// where they are not given.
    pub struct ResponseText, "response" {
        /// The status code, 100 to 999. Where it is left out there was no response, or none up to its
        /// status.
        status: Option<Located<u64>>,
        /// Headers by name, each a text, or a list of texts where a header was sent as often.
        headers: BTreeMap<String, HeaderText>,
        /// The body, as text; its bytes are those of UTF-8.
        body: Option<Located<String>>,
        /// A file with the body, relative to this one; at most 64 MiB.
        body_file: Option<Located<String>>,
        /// Whether the body went on beyond the body limit, and was cut there.
        body_truncated: bool = "false",
        /// Lengths of phases.
        timing: TimingText,
        /// Facts by name; the table is in `wit/README.md`.
        facts: BTreeMap<String, String>,
    }
}

config_table! {
    /// Lengths of phases; what is left out did not happen.
    pub struct TimingText, "timing" {
        /// Resolving the name.
        dns: Option<Duration>,
        /// Making the connection.
        connect: Option<Duration>,
        /// The TLS handshake.
        tls: Option<Duration>,
        /// From sending the request to the response's head.
        first_byte: Option<Duration>,
        /// From the head to the end of the body.
        transfer: Option<Duration>,
        /// The whole attempt.
        total: Option<Duration>,
    }
}

/// The values of one header: one text, or a list of them.
#[derive(Debug, Clone)]
pub struct HeaderText(Vec<Located<String>>);

impl FromValue for HeaderText {
    fn type_text() -> String {
        "string or list of strings".to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({ "anyOf": [String::schema(), Vec::<String>::schema()] })
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(_) => Located::from_value(value, context).map(|one| Self(vec![one])),
            DeValue::Array(_) => Vec::from_value(value, context).map(Self),
            _ => {
                context.wrong_type(value, "a string or a list of strings");
                None
            }
        }
    }
}

/// The kind of a failure, by its stable name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureText(pub ErrorKind);

impl FromValue for FailureText {
    fn type_text() -> String {
        "error kind".to_owned()
    }

    fn schema() -> serde_json::Value {
        let names: Vec<_> = ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
        json!({ "enum": names })
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        let text = String::from_value(value, context)?;
        let found = ErrorKind::ALL.iter().find(|kind| kind.as_str() == text);
        if found.is_none() {
            let near = did_you_mean(&text, ErrorKind::ALL.iter().map(|kind| kind.as_str()));
            let hint = match near {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "pipelines/REFERENCE.md lists them".to_owned(),
            };
            context.bad_value(value.span(), format!("there is no error kind \"{text}\""), Some(hint));
        }
        found.copied().map(Self)
    }
}

/// An exchange that was written down instead of fetched.
#[derive(Debug, Clone, Default)]
pub struct Canned {
    exchange: Exchange,
    facts: BTreeMap<String, String>,
}

impl Canned {
    /// The exchange failed in this way; what was reached before stays.
    #[must_use]
    pub fn failed(mut self, kind: ErrorKind) -> Self {
        self.exchange.failure = Some(Failure::new(kind, kind.meaning()));
        self
    }

    /// The request had this method; else it is GET.
    #[must_use]
    pub fn requested_by(mut self, method: http::Method) -> Self {
        self.exchange.method = Some(method);
        self
    }

    /// What happened on the wire, as far as it was written down.
    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// The attempt as checks see it.
    pub fn observed(self, target: Arc<Target>, started_at: UnixNanos) -> Observed {
        Observed::new(target, Arc::new(self.exchange), started_at).with_facts(self.facts)
    }
}

impl ResponseText {
    /// The exchange that is described. None where something is wrong with it, which is told.
    pub fn canned(&self, document: &Document, diagnostics: &mut Diagnostics) -> Option<Canned> {
        let Self { status, headers, body, body_file, body_truncated, timing, facts } = self;
        let mut reading = Reading { document, diagnostics, is_whole: true };
        let status = status.as_ref().and_then(|status| reading.status(status));
        let headers = reading.headers(headers, self.status.is_some());
        let body = reading.body(body.as_ref(), body_file.as_ref());
        let is_whole = reading.is_whole;
        let head = status.map(|status| Head { status, version: HttpVersion::Http11, headers });
        let exchange = Exchange {
            body_truncated: Some(*body_truncated),
            decoded_bytes: head.as_ref().map(|_| body.len() as u64),
            head,
            body,
            phases: timing.phases(),
            ..Exchange::default()
        };
        is_whole.then(|| Canned { exchange, facts: facts.clone() })
    }
}

impl TimingText {
    fn phases(&self) -> Phases {
        let Self { dns, connect, tls, first_byte, transfer, total } = *self;
        Phases { dns, connect, tls, first_byte, transfer, total }
    }
}

/// A response that is being read, and whether all was right so far.
struct Reading<'a> {
    document: &'a Document,
    diagnostics: &'a mut Diagnostics,
    is_whole: bool,
}

impl Reading<'_> {
    fn tell<T>(&mut self, code: Code, at: &Located<T>, message: impl Into<String>, hint: &str) {
        self.is_whole = false;
        self.diagnostics.add(Diagnostic::error(code, at.place(self.document), message).hint(hint));
    }

    fn status(&mut self, status: &Located<u64>) -> Option<u16> {
        let code = u16::try_from(status.value).ok().filter(|code| (100..=999).contains(code));
        if code.is_none() {
            let hint = "leave it out where there is no response";
            self.tell(Code::BadValue, status, "a status code is at least 100 and at most 999", hint);
        }
        code
    }

    fn headers(&mut self, headers: &BTreeMap<String, HeaderText>, has_status: bool) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, HeaderText(values)) in headers {
            for text in values {
                if !has_status {
                    let message = format!("the header \"{name}\" has come without a status");
                    self.tell(Code::Conflict, text, message, "give the response a status: status = 200");
                    return map;
                }
                match (
                    HeaderName::from_bytes(name.as_bytes()),
                    HeaderValue::from_bytes(text.value.as_bytes()),
                ) {
                    (Ok(name), Ok(value)) => {
                        map.append(name, value);
                    }
                    (Err(_), _) => {
                        let message = format!("\"{name}\" cannot be the name of a header");
                        self.tell(Code::BadValue, text, message, "a name has letters, digits and \"-\"");
                        break;
                    }
                    (_, Err(_)) => {
                        let message = format!("this cannot be a value of the header \"{name}\"");
                        self.tell(Code::BadValue, text, message, "a value has no control characters");
                    }
                }
            }
        }
        map
    }

    fn body(&mut self, text: Option<&Located<String>>, file: Option<&Located<String>>) -> Bytes {
        let Some(file) = file else {
            return text.map(|text| Bytes::from(text.value.clone())).unwrap_or_default();
        };
        if text.is_some() {
            let message = "\"body\" and \"body_file\" exclude each other";
            self.tell(Code::Conflict, file, message, "leave one of them out");
            return Bytes::new();
        }
        let folder = self.document.path().parent().unwrap_or(Path::new(""));
        match read_input(&folder.join(&file.value), BODY_FILE_BYTES) {
            Ok(bytes) if bytes.len() as u64 <= BODY_FILE_BYTES => bytes.into(),
            Ok(_) => {
                let message = format!("the body \"{}\" is larger than 64MiB", file.value);
                self.tell(Code::TooLarge, file, message, "no pipeline keeps more of a body");
                Bytes::new()
            }
            Err(reason) => {
                let message = format!("the body \"{}\" cannot be read: {reason}", file.value);
                self.tell(Code::Unreadable, file, message, "the path is relative to this file");
                Bytes::new()
            }
        }
    }
}
