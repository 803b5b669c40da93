//! The exchange in a record: what happened on the wire, whole.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};

use super::RecordError;
use super::bytes::AnyBytes;
use super::line::{known, unknown};
use crate::model::{ErrorKind, Exchange, Failure, Head, Hop, HttpVersion, Phases, TlsFacts, nanos};

/// Every HTTP version, and every TLS version.
const VERSIONS: [HttpVersion; 4] =
    [HttpVersion::Http10, HttpVersion::Http11, HttpVersion::Http2, HttpVersion::Http3];
const TLS_VERSIONS: [&str; 2] = ["1.3", "1.2"];

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
pub(super) struct ExchangeLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    error_kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    final_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redirects: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hops: Vec<HopLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_addr: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address_index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns_answers: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_reused: Option<bool>,
    phases_ns: PhasesLine,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<HeadLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decoded_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_truncated: Option<bool>,
    body: AnyBytes,
}

#[derive(Serialize, Deserialize)]
struct HeadLine {
    http_status: u16,
    http_version: String,
    headers: Vec<(String, AnyBytes)>,
}

#[derive(Serialize, Deserialize)]
struct HopLine {
    url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
    #[serde(default)]
    phases_ns: PhasesLine,
}

/// Lengths of phases, in nanoseconds.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct PhasesLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transfer: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<i64>,
}

/// What the handshake showed; dates in seconds since the Unix epoch.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct TlsLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cipher: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alpn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verify_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ocsp_stapled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cert_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cert_subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cert_issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cert_names: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cert_not_before: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cert_not_after: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cert_chain_not_after: Option<i64>,
}

impl ExchangeLine {
    pub(super) fn of(exchange: &Exchange) -> Self {
        let Exchange {
            failure,
            head,
            // Rows keep some headers; a record keeps all of them.
            kept_headers: _,
            body,
            body_truncated,
            header_bytes,
            body_bytes,
            decoded_bytes,
            phases,
            method,
            final_url,
            redirects,
            hops,
            remote_addr,
            address_index,
            dns_answers,
            connection_reused,
            // A record has no secret.
            sent_token: _,
            tls,
        } = exchange;
        Self {
            error_kind: failure.as_ref().map(|failure| failure.kind.as_str().to_owned()),
            error_message: failure.as_ref().map(|failure| failure.message.clone()),
            method: method.as_ref().map(|method| method.as_str().to_owned()),
            final_url: final_url.clone(),
            redirects: *redirects,
            hops: hops.iter().map(HopLine::of).collect(),
            remote_addr: *remote_addr,
            address_index: *address_index,
            dns_answers: *dns_answers,
            connection_reused: *connection_reused,
            phases_ns: PhasesLine::of(phases),
            tls: tls.as_ref().map(TlsLine::of),
            response: head.as_ref().map(HeadLine::of),
            header_bytes: *header_bytes,
            body_bytes: *body_bytes,
            decoded_bytes: *decoded_bytes,
            body_truncated: *body_truncated,
            body: AnyBytes(body.clone()),
        }
    }

    pub(super) fn into_exchange(self) -> Result<Exchange, RecordError> {
        let failure = match self.error_kind {
            None => None,
            Some(name) => {
                let kind = known("error kind", ErrorKind::ALL, ErrorKind::as_str, &name)?;
                Some(Failure { kind, message: self.error_message.unwrap_or_default() })
            }
        };
        let method =
            self.method.map(|name| Method::from_bytes(name.as_bytes()).map_err(|_| unknown("method", &name)));
        Ok(Exchange {
            failure,
            head: self.response.map(HeadLine::into_head).transpose()?,
            kept_headers: std::sync::Arc::default(),
            body: self.body.0,
            body_truncated: self.body_truncated,
            header_bytes: self.header_bytes,
            body_bytes: self.body_bytes,
            decoded_bytes: self.decoded_bytes,
            phases: self.phases_ns.phases(),
            method: method.transpose()?,
            final_url: self.final_url,
            redirects: self.redirects,
            hops: self.hops.into_iter().map(HopLine::into_hop).collect(),
            remote_addr: self.remote_addr,
            address_index: self.address_index,
            dns_answers: self.dns_answers,
            connection_reused: self.connection_reused,
            sent_token: None,
            tls: self.tls.map(TlsLine::into_facts).transpose()?,
        })
    }
}

impl HeadLine {
    fn of(head: &Head) -> Self {
        let Head { status, version, headers } = head;
        let value = |value: &HeaderValue| AnyBytes(value.as_bytes().to_vec().into());
        Self {
            http_status: *status,
            http_version: version.as_str().to_owned(),
            headers: headers.iter().map(|(name, bytes)| (name.as_str().to_owned(), value(bytes))).collect(),
        }
    }

    fn into_head(self) -> Result<Head, RecordError> {
        let mut headers = HeaderMap::new();
        for (name, AnyBytes(bytes)) in self.headers {
            let value = HeaderValue::from_maybe_shared(bytes).map_err(|_| unknown("header value", &name))?;
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unknown("header name", &name))?;
            headers.try_append(name, value).map_err(|_| unknown("list of headers", "too many"))?;
        }
        Ok(Head {
            status: self.http_status,
            version: known("HTTP version", &VERSIONS, HttpVersion::as_str, &self.http_version)?,
            headers,
        })
    }
}

impl HopLine {
    fn of(hop: &Hop) -> Self {
        let Hop { url, status, phases } = hop;
        Self { url: url.clone(), http_status: *status, phases_ns: PhasesLine::of(phases) }
    }

    fn into_hop(self) -> Hop {
        Hop { url: self.url, status: self.http_status, phases: self.phases_ns.phases() }
    }
}

impl PhasesLine {
    fn of(phases: &Phases) -> Self {
        let Phases { dns, connect, tls, first_byte, transfer, total } = phases;
        Self {
            dns: dns.map(nanos),
            connect: connect.map(nanos),
            tls: tls.map(nanos),
            first_byte: first_byte.map(nanos),
            transfer: transfer.map(nanos),
            total: total.map(nanos),
        }
    }

    fn phases(&self) -> Phases {
        let length = |nanos: Option<i64>| nanos.and_then(|n| u64::try_from(n).ok()).map(Duration::from_nanos);
        Phases {
            dns: length(self.dns),
            connect: length(self.connect),
            tls: length(self.tls),
            first_byte: length(self.first_byte),
            transfer: length(self.transfer),
            total: length(self.total),
        }
    }
}

impl TlsLine {
    fn of(facts: &TlsFacts) -> Self {
        let TlsFacts {
            version,
            cipher,
            alpn,
            verified,
            verify_error,
            ocsp_stapled,
            cert_sha256,
            cert_subject,
            cert_issuer,
            cert_names,
            cert_not_before,
            cert_not_after,
            cert_chain_not_after,
        } = facts.clone();
        Self {
            version: version.map(str::to_owned),
            cipher,
            alpn,
            verified,
            verify_error,
            ocsp_stapled,
            cert_sha256,
            cert_subject,
            cert_issuer,
            cert_names,
            cert_not_before,
            cert_not_after,
            cert_chain_not_after,
        }
    }

    fn into_facts(self) -> Result<TlsFacts, RecordError> {
        let version = self.version.map(|name| known("TLS version", &TLS_VERSIONS, |name| name, &name));
        Ok(TlsFacts {
            version: version.transpose()?,
            cipher: self.cipher,
            alpn: self.alpn,
            verified: self.verified,
            verify_error: self.verify_error,
            ocsp_stapled: self.ocsp_stapled,
            cert_sha256: self.cert_sha256,
            cert_subject: self.cert_subject,
            cert_issuer: self.cert_issuer,
            cert_names: self.cert_names,
            cert_not_before: self.cert_not_before,
            cert_not_after: self.cert_not_after,
            cert_chain_not_after: self.cert_chain_not_after,
        })
    }
}
