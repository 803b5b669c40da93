//! What happened on the wire in one attempt. Absent means "did not happen" or "not known"; it is
//! never zero. Facts survive failure: what was reached before it stays.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use hyper::body::Bytes;
use twox_hash::XxHash3_64;

use super::{Failure, Secret, text::cut};

/// Bytes of a header's value in a row: longer ones are cut.
const LONGEST_KEPT_HEADER: usize = 1_024;

/// What happened on the wire in one attempt.
#[derive(Debug, Clone, Default)]
pub struct Exchange {
    /// Why there is no whole response; none when there is one.
    pub failure: Option<Failure>,
    /// The head of the last response that arrived.
    pub head: Option<Head>,
    /// The names of the response's headers that its row keeps.
    pub kept_headers: Arc<[HeaderName]>,
    /// The bytes of the body that were kept, after content decoding; at most the body limit.
    pub body: Bytes,
    /// Whether the body went on beyond the body limit.
    pub body_truncated: Option<bool>,
    /// Bytes of the last response's head on the wire, where they could be counted.
    pub header_bytes: Option<u64>,
    /// Bytes of the last response's body as they arrived, before content decoding.
    pub body_bytes: Option<u64>,
    /// Bytes of the body after content decoding that were read (kept or counted).
    pub decoded_bytes: Option<u64>,
    /// Time spent, by phase, summed over all hops.
    pub phases: Phases,
    /// The method of the last request.
    pub method: Option<http::Method>,
    /// The URL of the last request, without user information.
    pub final_url: Option<String>,
    /// Redirects followed.
    pub redirects: Option<u32>,
    /// Every request of the attempt in order, the last included; empty when there was one only.
    pub hops: Vec<Hop>,
    /// The address that was connected to last (or tried last).
    pub remote_addr: Option<SocketAddr>,
    /// Which of the target's addresses was asked, from 0; none where any might answer.
    pub address_index: Option<u32>,
    /// Addresses that the resolver gave for the last host; none for an address in the URL.
    pub dns_answers: Option<u32>,
    /// Whether the last request went over a connection that was open already.
    pub connection_reused: Option<bool>,
    /// The token that was fetched for the attempt and sent: it must not be shown.
    pub sent_token: Option<Secret>,
    /// What the last TLS handshake showed, also when it failed.
    pub tls: Option<TlsFacts>,
}

impl Exchange {
    /// The headers of the response that its row keeps, in the order in which the pipeline names them; several values
    /// of one are joined as RFC 9110 section 5.3 has it. None without a response, or where none are named.
    pub fn kept(&self) -> Option<impl Iterator<Item = (&str, String)>> {
        let headers = &self.head.as_ref().filter(|_| !self.kept_headers.is_empty())?.headers;
        Some(self.kept_headers.iter().filter(|name| headers.contains_key(*name)).map(|name| {
            let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
            (name.as_str(), cut(values.collect::<Vec<_>>().join(", "), LONGEST_KEPT_HEADER))
        }))
    }

    /// XXH3-64 of the body that was kept; none without a response.
    pub fn body_xxh3(&self) -> Option<u64> {
        self.head.as_ref().map(|_| XxHash3_64::oneshot(&self.body))
    }
}

/// The head of a response.
#[derive(Debug, Clone)]
pub struct Head {
    /// The status code (RFC 9110 section 15).
    pub status: u16,
    /// The protocol version.
    pub version: HttpVersion,
    /// The headers, as bytes; names in lower case.
    pub headers: HeaderMap,
}

/// The protocol version of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
    /// HTTP/3.
    Http3,
}

impl HttpVersion {
    /// The stable name: `1.0`, `1.1`, `2`, `3`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
            Self::Http3 => "3",
        }
    }
}

/// Time spent by phase. In other vocabularies (`blackbox_exporter`): dns = resolve, `first_byte` =
/// processing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases {
    /// Resolving the name.
    pub dns: Option<Duration>,
    /// Making the TCP connection.
    pub connect: Option<Duration>,
    /// The TLS handshake.
    pub tls: Option<Duration>,
    /// From sending the request to the response's head.
    pub first_byte: Option<Duration>,
    /// From the head to the end of the body.
    pub transfer: Option<Duration>,
    /// The whole attempt on the wire, from its begin to the end or the failure.
    pub total: Option<Duration>,
}

/// One request of a redirect chain.
#[derive(Debug, Clone)]
pub struct Hop {
    /// The URL, without user information.
    pub url: String,
    /// The status code of its answer.
    pub status: Option<u16>,
    /// Time spent in this hop.
    pub phases: Phases,
}

/// What a TLS handshake showed.
#[derive(Debug, Clone, Default)]
pub struct TlsFacts {
    /// `1.2` or `1.3`.
    pub version: Option<&'static str>,
    /// The cipher suite's IANA name.
    pub cipher: Option<String>,
    /// The protocol agreed by ALPN.
    pub alpn: Option<String>,
    /// Whether the certificate was verified; false where verification failed or was off.
    pub verified: Option<bool>,
    /// Why verification failed.
    pub verify_error: Option<String>,
    /// Whether an OCSP response was stapled.
    pub ocsp_stapled: Option<bool>,
    /// SHA-256 of the leaf certificate (DER), hex.
    pub cert_sha256: Option<String>,
    /// Subject of the leaf (RFC 4514 text).
    pub cert_subject: Option<String>,
    /// Issuer of the leaf (RFC 4514 text).
    pub cert_issuer: Option<String>,
    /// Names the leaf is for, at most 32, separated by commas, with `(+N more)` at the end.
    pub cert_names: Option<String>,
    /// Begin of the leaf's validity, seconds since the Unix epoch.
    pub cert_not_before: Option<i64>,
    /// End of the leaf's validity, seconds since the Unix epoch.
    pub cert_not_after: Option<i64>,
    /// The earliest end of validity in the chain that was presented, seconds since the Unix epoch.
    pub cert_chain_not_after: Option<i64>,
}
