//! What the configuration may ask for, and what becomes of it.

use probity_check::schema::each_text;
use probity_check::{JsonSchema, OneOrMany, schemars};
use serde::Deserialize;

use crate::shown;
use crate::span::Span;

/// Certificates of 90 days are renewed 30 days before their end: with half of that left, renewal is stuck.
const WARN_BEFORE: Span = Span::days(14);

/// The certificate that was presented: how long it and its chain last, whether it was verified, its names,
/// issuer and fingerprint, and the TLS version. Works without any key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Warns when the end is nearer than this; longer than `fail_before`. `"0d"` never warns.
    #[schemars(extend("default" = "14d"))]
    warn_before: Option<Span>,
    /// Fails when the end is nearer than this; in any case when it has passed.
    #[schemars(extend("default" = "0d"))]
    fail_before: Option<Span>,
    /// Does not judge the ends of the other certificates that were presented.
    ignore_chain: bool,
    /// Host names and addresses that the certificate must all be for.
    #[schemars(transform = each_text("minLength", 1))]
    names: OneOrMany<String>,
    /// Texts of which one must be in the issuer, as RFC 4514 writes it.
    #[schemars(transform = each_text("minLength", 1))]
    issuers: OneOrMany<String>,
    /// Fingerprints of which one must be the certificate's: 64 hex digits, with or without colons.
    #[schemars(transform = each_text("pattern", "^(:*[0-9A-Fa-f]){64}:*$"))]
    sha256: OneOrMany<String>,
    /// The oldest TLS version that passes.
    min_version: Option<TlsVersion>,
    /// A certificate that was not verified (self-signed, another name) passes; its end is still judged.
    allow_unverified: bool,
    /// A response without TLS passes.
    allow_plain_http: bool,
}

/// The versions that the runner speaks, the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[schemars(inline)]
pub(crate) enum TlsVersion {
    #[serde(rename = "1.2")]
    V1_2,
    #[serde(rename = "1.3")]
    V1_3,
}

impl TlsVersion {
    pub(crate) fn name(self) -> &'static str {
        match self {
            TlsVersion::V1_2 => "1.2",
            TlsVersion::V1_3 => "1.3",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [TlsVersion::V1_2, TlsVersion::V1_3].into_iter().find(|version| version.name() == name)
    }
}

/// The check, configured.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) warn_before: Span,
    pub(crate) fail_before: Span,
    pub(crate) ignore_chain: bool,
    pub(crate) names: Vec<String>,
    pub(crate) issuers: Vec<String>,
    /// 64 hex digits each, in lower case.
    pub(crate) sha256: Vec<String>,
    pub(crate) min_version: Option<TlsVersion>,
    pub(crate) allow_unverified: bool,
    pub(crate) allow_plain_http: bool,
}

impl Certificate {
    /// Checks the configuration. The error names the key.
    pub(crate) fn from_config(config: Config) -> Result<Self, String> {
        let Config {
            warn_before,
            fail_before,
            ignore_chain,
            names: OneOrMany(names),
            issuers: OneOrMany(issuers),
            sha256: OneOrMany(mut sha256),
            min_version,
            allow_unverified,
            allow_plain_http,
        } = config;
        if let (Some(warn), Some(fail)) = (warn_before, fail_before)
            && warn <= fail
        {
            return Err(format!("warn_before: {warn} must be longer than fail_before, which is {fail}"));
        }
        for (key, texts) in [("names", &names), ("issuers", &issuers)] {
            if let Some(index) = texts.iter().position(String::is_empty) {
                return Err(format!("{key}[{index}]: must not be empty"));
            }
        }
        for (index, fingerprint) in sha256.iter_mut().enumerate() {
            *fingerprint = hex_digits(fingerprint).map_err(|reason| format!("sha256[{index}]: {reason}"))?;
        }
        Ok(Certificate {
            warn_before: warn_before.unwrap_or(WARN_BEFORE),
            fail_before: fail_before.unwrap_or(Span::days(0)),
            ignore_chain,
            names,
            issuers,
            sha256,
            min_version,
            allow_unverified,
            allow_plain_http,
        })
    }
}

/// A SHA-256 as 64 hex digits in lower case; it may be written with colons, as openssl prints it.
fn hex_digits(fingerprint: &str) -> Result<String, String> {
    let digits = fingerprint.replace(':', "").to_ascii_lowercase();
    if digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Ok(digits);
    }
    Err(format!("{} is not a fingerprint of 64 hex digits", shown(fingerprint)))
}
