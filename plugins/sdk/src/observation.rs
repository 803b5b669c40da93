//! What the runner saw of one attempt, as a check reads it.
//!
//! In a guest every method is a call to the host that copies only what it returns; in native tests
//! the same trait is answered by `TestObservation`.

use std::time::Duration;

/// One attempt. Methods mirror `observation` in `wit/check.wit`.
pub trait Observation {
    /// The target's name; the URL where it has none of its own.
    fn target(&self) -> String;
    /// One label of the target.
    fn label(&self, name: &str) -> Option<String>;
    /// All labels of the target, sorted by name.
    fn labels(&self) -> Vec<(String, String)>;
    /// When the attempt began, in nanoseconds since the Unix epoch: the only clock there is.
    fn started_at_ns(&self) -> u64;
    /// The method of the last request.
    fn method(&self) -> String;
    /// The URL of the last request, after redirects, without user information.
    fn url(&self) -> String;
    /// The stable error kind; none when there is a whole response.
    fn error(&self) -> Option<String>;
    /// The HTTP status code.
    fn status(&self) -> Option<u16>;
    /// The first value of a header, its name in any case; invalid UTF-8 is replaced.
    fn header(&self, name: &str) -> Option<String>;
    /// All values of a header as they were on the wire, in their order.
    fn header_values(&self, name: &str) -> Vec<Vec<u8>>;
    /// All headers in their order; names in lower case.
    fn headers(&self) -> Vec<(String, Vec<u8>)>;
    /// Bytes of the body that were kept, after content decoding.
    fn body_len(&self) -> u64;
    /// Whether the body was longer than the body limit, and cut there.
    fn body_truncated(&self) -> bool;
    /// The body, whole.
    fn body(&self) -> Vec<u8>;
    /// A part of the body; shorter, or empty, where the body ends.
    fn body_range(&self, offset: u64, len: u64) -> Vec<u8>;
    /// The body as text: decoded by its charset, invalid sequences replaced.
    fn body_text(&self) -> String;
    /// How long a phase took. None if it did not happen.
    fn timing(&self, phase: Phase) -> Option<Duration>;
    /// A fact by name, such as `tls.version`; the table is in `wit/README.md`.
    fn fact(&self, name: &str) -> Option<String>;
    /// All facts that are known, sorted by name.
    fn facts(&self) -> Vec<(String, String)>;
}

/// A timed part of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// Resolving the name.
    Dns,
    /// Connecting.
    Connect,
    /// The TLS handshake.
    Tls,
    /// From the request's last byte sent to the response's first byte.
    FirstByte,
    /// From the first byte to the end of the body.
    Transfer,
    /// The whole exchange.
    Total,
}

impl Phase {
    /// Every phase, in the order of the exchange.
    pub const ALL: [Phase; 6] =
        [Phase::Dns, Phase::Connect, Phase::Tls, Phase::FirstByte, Phase::Transfer, Phase::Total];

    /// The name in the contract: `first-byte`.
    pub fn wit_name(self) -> &'static str {
        match self {
            Phase::Dns => "dns",
            Phase::Connect => "connect",
            Phase::Tls => "tls",
            Phase::FirstByte => "first-byte",
            Phase::Transfer => "transfer",
            Phase::Total => "total",
        }
    }

    /// The name in configuration, messages and Parquet: `first_byte`.
    pub fn name(self) -> &'static str {
        match self {
            Phase::FirstByte => "first_byte",
            other => other.wit_name(),
        }
    }

    /// The phase that configuration calls `name`.
    pub fn from_name(name: &str) -> Option<Phase> {
        Phase::ALL.into_iter().find(|phase| phase.name() == name)
    }
}
