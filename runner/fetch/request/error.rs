//! What may be wrong with a request, as the user wrote it.

use super::{MOST_DNS_SERVERS, MOST_RESPONSE_HEADERS};

/// What is wrong with a request; all such problems are reported at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The method is not an HTTP token.
    #[error("\"{method}\" is not an HTTP method")]
    Method {
        /// As the user wrote it.
        method: String,
    },
    /// The header's name is not an HTTP token.
    #[error("\"{name}\" is not a header name")]
    HeaderName {
        /// As the user wrote it.
        name: String,
    },
    /// The header's value has a line break or another control character. The value may be a secret, so
    /// it is not repeated.
    #[error("the value of header \"{name}\" has a line break or a control character in it")]
    HeaderValue {
        /// As the user wrote it.
        name: String,
    },
    /// The header is made from the request itself.
    #[error("header \"{name}\" is set by the runner from the body and cannot be given")]
    HeaderForbidden {
        /// As the user wrote it.
        name: String,
    },
    /// The header may stand once only.
    #[error("header \"{name}\" is given more than once")]
    HeaderRepeated {
        /// As the user wrote it.
        name: String,
    },
    /// A header for rows to keep has a name that none can have.
    #[error("\"{name}\" is not a header name")]
    ResponseHeader {
        /// As the user wrote it.
        name: String,
    },
    /// More headers than rows may keep.
    #[error("rows keep at most {MOST_RESPONSE_HEADERS} headers")]
    ResponseHeaders,
    /// The body limit is zero.
    #[error("body_limit must be at least 1 byte")]
    BodyLimit,
    /// The CA bundle cannot be read.
    #[error("ca_file has no usable certificate: {reason}")]
    CaFile {
        /// What is wrong with it.
        reason: String,
    },
    /// The client certificate cannot be used.
    #[error("cert_file has no usable certificate: {reason}")]
    CertFile {
        /// What is wrong with it.
        reason: String,
    },
    /// The client certificate's key cannot be used.
    #[error("key_file has no usable key: {reason}")]
    KeyFile {
        /// What is wrong with it.
        reason: String,
    },
    /// The server name is neither a DNS name nor an address.
    #[error("\"{name}\" is not a server name")]
    ServerName {
        /// As the user wrote it.
        name: String,
    },
    /// More name servers than are asked.
    #[error("at most {MOST_DNS_SERVERS} name servers are asked")]
    DnsServers,
    /// An address instead of a name cannot be used. It may be a secret, so it is not repeated.
    #[error("the address of \"{key}\" in resolve cannot be used: {reason}")]
    Resolve {
        /// The key as the user wrote it.
        key: String,
        /// What is wrong with it, or with the address.
        reason: &'static str,
    },
    /// The proxy cannot be used. Its URL may be a secret, so it is not repeated.
    #[error("proxy_url cannot be used: {reason}")]
    ProxyUrl {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// What is not to go through the proxy cannot be read.
    #[error("no_proxy cannot be used: {reason}")]
    NoProxy {
        /// Which item of the list.
        index: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The token endpoint cannot be used. Its URL may be a secret, so it is not repeated.
    #[error("token_url cannot be used: {reason}")]
    TokenUrl {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The source address is of another family than `ip_version`.
    #[error("source_address is not of the ip_version that is asked for")]
    SourceAddress,
    /// The header for an attempt's identity cannot be that.
    #[error("\"{name}\" cannot be the header that tells requests apart")]
    RequestIdHeader {
        /// As the user wrote it.
        name: String,
    },
    /// The parameter against caches cannot stand in a query as it is.
    #[error("\"{name}\" cannot be a parameter's name here: letters, digits, \"-\", \".\", \"_\" and \"~\"")]
    CacheBuster {
        /// As the user wrote it.
        name: String,
    },
    /// TLS could not be set up.
    #[error("cannot set up TLS: {reason}")]
    Tls {
        /// What the TLS library says.
        reason: String,
    },
}
