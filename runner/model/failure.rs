//! Why an attempt has no whole response: a closed list of kinds with stable names, and the one
//! table that says what each kind means for the outcome.

use std::fmt;

use super::Outcome;
use super::text::cut;

/// Declares the kinds once: variant, stable name, group, outcome, meaning.
macro_rules! error_kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $group:ident, $outcome:ident;)+) => {
        /// Why an attempt has no whole response. The names are stable: rows, metrics, logs and the
        /// check contract use them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorKind { $($(#[doc = $doc])+ $variant,)+ }

        impl ErrorKind {
            /// Every kind, in the order of an attempt.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The group, as `retry = { on = [...] }` names it.
            pub fn group(self) -> ErrorGroup {
                match self { $(Self::$variant => ErrorGroup::$group,)+ }
            }

            /// What a failure of this kind says about the target. Our own faults are never `down`.
            pub fn outcome(self) -> Outcome {
                match self { $(Self::$variant => Outcome::$outcome,)+ }
            }

            /// What the kind means, for the reference.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

error_kinds! {
    /// The resolver says that the name does not exist.
    DnsNxdomain = "dns_nxdomain", Dns, Down;
    /// The name exists but has no address of the wanted family.
    DnsNodata = "dns_nodata", Dns, Down;
    /// The resolver failed (SERVFAIL).
    DnsServfail = "dns_servfail", Dns, Unknown;
    /// The resolver refused to answer.
    DnsRefused = "dns_refused", Dns, Unknown;
    /// No resolver answered in time.
    DnsTimeout = "dns_timeout", Dns, Unknown;
    /// The resolver's answer was cut short, and no whole one came over TCP.
    DnsTruncated = "dns_truncated", Dns, Unknown;
    /// The system names no name server to ask.
    DnsConfig = "dns_config", Dns, Unknown;
    /// The resolver could not be used, or its answer made no sense.
    DnsError = "dns_error", Dns, Unknown;
    /// The target refused the connection.
    ConnectRefused = "connect_refused", Connect, Down;
    /// The target did not answer the connection attempt before the deadline.
    ConnectTimeout = "connect_timeout", Connect, Down;
    /// The connection was reset while it was being made.
    ConnectReset = "connect_reset", Connect, Down;
    /// No route to the network or the host.
    NetworkUnreachable = "network_unreachable", Connect, Unknown;
    /// A local rule forbids the connection.
    ConnectDenied = "connect_denied", Connect, Unknown;
    /// The connection failed in some other way.
    ConnectFailed = "connect_failed", Connect, Unknown;
    /// The proxy cannot be reached, does not connect to the target, or closes the connection before an answer came.
    ProxyRefused = "proxy_refused", Connect, Unknown;
    /// The proxy wants credentials, or others.
    ProxyAuth = "proxy_auth", Connect, Unknown;
    /// The proxy's answer makes no sense.
    ProxyMalformed = "proxy_malformed", Connect, Unknown;
    /// The proxy did not connect, or nothing came through it, before the deadline.
    ProxyTimeout = "proxy_timeout", Connect, Unknown;
    /// There is no OAuth token for the target, which was not asked.
    OAuth = "oauth", Connect, Unknown;
    /// The certificate has expired.
    TlsExpired = "tls_expired", Tls, Down;
    /// The certificate is not valid yet.
    TlsNotYetValid = "tls_not_yet_valid", Tls, Down;
    /// The certificate is for another name.
    TlsName = "tls_name", Tls, Down;
    /// The certificate is signed by itself, and not trusted.
    TlsSelfSigned = "tls_self_signed", Tls, Down;
    /// The certificate's issuer is not trusted or not known.
    TlsUntrusted = "tls_untrusted", Tls, Down;
    /// The certificate is wrong in some other way.
    TlsCert = "tls_cert", Tls, Down;
    /// The target shares no protocol version or cipher with us.
    TlsVersion = "tls_version", Tls, Down;
    /// The target wants a client certificate.
    TlsClientCertRequired = "tls_client_cert_required", Tls, Down;
    /// The other side does not speak TLS.
    TlsNotTls = "tls_not_tls", Tls, Down;
    /// The handshake failed in some other way.
    TlsHandshake = "tls_handshake", Tls, Down;
    /// The handshake did not end before the deadline.
    TlsTimeout = "tls_timeout", Timeout, Down;
    /// The response did not come, or did not end, before the deadline.
    Timeout = "timeout", Timeout, Down;
    /// The target closed the connection without a response.
    ConnectionClosed = "connection_closed", Connect, Down;
    /// The target reset the connection.
    Reset = "reset", Connect, Down;
    /// The response is not valid HTTP.
    HttpMalformed = "http_malformed", Http, Down;
    /// The response has more or longer headers than the limit.
    HttpHeadersTooLarge = "http_headers_too_large", Http, Down;
    /// The target does not speak the version of HTTP that was demanded.
    HttpVersion = "http_version", Http, Down;
    /// More interim (1xx) responses than the limit.
    HttpTooManyInterim = "http_too_many_1xx", Http, Down;
    /// The body ended before its announced length.
    BodyIncomplete = "body_incomplete", Http, Down;
    /// The body is not what its content coding says, or is compressed more than once.
    BodyEncoding = "body_encoding", Http, Down;
    /// The body grew beyond `decompression_ratio_limit` when it was decompressed.
    DecompressBomb = "decompress_bomb", Http, Down;
    /// The body is longer than `fail_if_body_over`.
    BodyTooLarge = "body_too_large", Http, Down;
    /// More redirects than `max_redirects`.
    RedirectLimit = "redirect_limit", Http, Down;
    /// A redirect that cannot be followed: no valid location, or not to http or https.
    RedirectInvalid = "redirect_invalid", Http, Down;
    /// A redirect from https to http, which is refused.
    RedirectDowngrade = "redirect_downgrade", Http, Down;
    /// None of the runner's canaries could be reached either: its own network was gone.
    RunnerOffline = "runner_offline", Local, Unknown;
    /// The runner has no file descriptor left.
    LocalFds = "local_fds", Local, Unknown;
    /// The runner has no local port left.
    LocalPorts = "local_ports", Local, Unknown;
    /// The machine has no such address as the one that requests are to leave from.
    LocalAddress = "local_address", Local, Unknown;
    /// The runner has no memory left for sockets, or for bodies.
    LocalMemory = "local_memory", Local, Unknown;
    /// The exchange met a limit of the runner that an honest target could meet.
    LocalLimit = "local_limit", Local, Unknown;
    /// The runner has no certificate authority to verify with.
    LocalTrust = "local_trust", Local, Unknown;
    /// The runner was stopped before the attempt ended.
    LocalShutdown = "local_shutdown", Local, Unknown;
    /// A fault of the runner itself.
    Internal = "internal", Local, Unknown;
}

/// Groups of kinds, as a retry rule names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorGroup {
    /// Name resolution.
    Dns,
    /// Making or keeping the connection, and what has to be there before: a proxy, a token.
    Connect,
    /// The TLS handshake and the certificate.
    Tls,
    /// The deadline.
    Timeout,
    /// The response as HTTP.
    Http,
    /// Our own limits and faults.
    Local,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why an attempt has no whole response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The stable kind.
    pub kind: ErrorKind,
    /// One line for people: lower case, no full stop, no secret. At most 1 KiB.
    pub message: String,
}

impl Failure {
    /// A failure of `kind`; the message is cut at 1 KiB.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: cut(message.into(), 1_024) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_distinct_and_in_snake_case() {
        let names: HashSet<_> = ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), ErrorKind::ALL.len());
        assert!(
            names
                .iter()
                .all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'))
        );
    }

    #[test]
    fn our_own_faults_are_never_down() {
        for kind in ErrorKind::ALL.iter().filter(|kind| kind.group() == ErrorGroup::Local) {
            assert_eq!(kind.outcome(), Outcome::Unknown, "{kind}");
        }
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let failure = Failure::new(ErrorKind::Internal, "é".repeat(2_000));
        assert!(failure.message.len() <= 1_024 && failure.message.ends_with('…'));
    }
}
