//! The table of a pipeline file that says how each target is asked.

use std::collections::BTreeMap;
use std::net::IpAddr;

use toml::Spanned;
use toml::de::DeValue;

use super::canaries::Canary;
use super::name_servers::DnsServer;
use super::policy::{AddressPolicy, Network};
use crate::config::{
    ByteSize, Context, Duration, FromValue, Hidden, JsonTable, Located, TableDoc, config_enum, config_table,
};

config_table! {
    /// How each target is asked.
    pub struct RequestText, "[request]" {
        /// The HTTP method.
        method: Located<String> = r#""GET""#,
        /// The absolute limit of one attempt, from name resolution to the last check; at least 10 ms, at
        /// most 1 h.
        timeout: Located<Duration> = r#""10s""#,
        /// Headers to send. Values are never shown in messages or logs. Unless there is another
        /// `accept-encoding`, `gzip, br, zstd` is sent; whatever comes of these, or deflate, is decompressed.
        headers: BTreeMap<String, Located<Hidden>>,
        /// Who asks.
        auth: Option<Located<AuthText>>,
        /// A header, such as `"x-request-id"`, that tells the requests of each attempt from all others: its value is
        /// `<run_id>-<probe_seq>-<attempt>`, so that lines of the server's log can be joined with rows.
        request_id_header: Option<Located<String>>,
        /// A parameter that is added to the URL's query with that value, so that no cache answers.
        cache_buster: Option<Located<String>>,
        /// The body to send. Without a header `content-type`, the type of a body is guessed: JSON, text or
        /// bytes.
        body: Option<Located<Hidden>>,
        /// A file with the body to send, relative to the pipeline file; at most 16 MiB.
        body_file: Option<Located<String>>,
        /// The body to send, as the fields of a form (`application/x-www-form-urlencoded`).
        form: BTreeMap<String, Located<Hidden>>,
        /// The body to send, as JSON: a table.
        json: Option<Located<JsonTable>>,
        /// Whether redirects are followed. Credentials never cross an origin.
        follow_redirects: bool = "true",
        /// How many redirects are followed before the attempt is `down` with `redirect_limit`;
        /// at most 50.
        max_redirects: Located<u64> = "10",
        /// How much of a body is kept for the checks, after decompression; what is longer is cut and marked. At
        /// least 1 byte, at most 64 MiB; it is held in memory for each probe in flight.
        body_limit: Located<ByteSize> = r#""1MiB""#,
        /// A body longer than this after decompression is `down` with `body_too_large`.
        fail_if_body_over: Option<ByteSize>,
        /// How long a response's headers may be together, names and values; beyond it, it is `down` with
        /// `http_headers_too_large`. At least 1KiB, at most 1MiB.
        header_limit: Located<ByteSize> = r#""64KiB""#,
        /// How many headers a response may have; beyond it, it is `down` with `http_headers_too_large`. At
        /// least 1, at most 4096.
        max_headers: Located<u64> = "256",
        /// The response's headers that rows keep, in the column `response_headers`; at most 32. A value of
        /// more than 1 KiB is cut.
        response_headers: Vec<Located<String>>,
        /// How many times longer a body may become when it is decompressed; beyond it, and beyond 64 KiB, it
        /// is `down` with `decompress_bomb`. At least 1.
        decompression_ratio_limit: Located<u64> = "200",
        /// Which version of HTTP is spoken.
        http_version: HttpVersionText = r#""auto""#,
        /// Whether each probe makes a connection of its own.
        connection: ConnectionText = r#""fresh""#,
        /// Which IP version is used.
        ip_version: IpVersionText = r#""any""#,
        /// The address of this machine that connections leave from, where it has several; targets are then reached by
        /// its IP version only. Where the machine has no such address, they are `unknown` with `local_address`.
        source_address: Option<Located<IpAddr>>,
        /// Who is asked for addresses.
        dns: DnsText,
        /// Which addresses of a target's name are asked.
        addresses: AddressesText = r#""first""#,
        /// Addresses to connect to instead of resolving the name: `{ "shop.example:443" = "10.1.2.3" }`, or
        /// `"10.1.2.3:8443"`. Of the URL and of every redirect; the name that is asked for and verified stays
        /// the URL's, and the address policy holds.
        resolve: BTreeMap<String, Located<String>>,
        /// Which addresses may be connected to, by every connection and every redirect: `"no_metadata"` is
        /// all but those where clouds keep credentials (the default), `"public_only"` those of the public
        /// Internet; or a table with `allow` and `deny`. Another one is `unknown` with `connect_denied`.
        address_policy: Option<AddressPolicyText>,
        /// A proxy to go through: `"http://host:port"`, `"socks5://host:port"` (names are resolved here) or
        /// `"socks5h://host:port"` (names are resolved by the proxy), with `user:password@` before the host where it
        /// wants that; empty for none. An HTTP proxy is asked to connect (CONNECT) for https, and is sent the
        /// request in absolute form for http: what it answers itself to that, such as a 502, is the response. The
        /// phase `connect` is to the proxy and through it, `remote_addr` is the proxy's address. Until something
        /// comes from beyond it, a failure is `unknown` with `proxy_refused`, `proxy_auth`, `proxy_malformed` or
        /// `proxy_timeout`. `address_policy` holds for the proxy's own address, and for the target's where it is
        /// resolved here or stands in the URL; `ip_version` for the target's where it is resolved here; `resolve`
        /// for the proxy's host as well. Variables such as `HTTP_PROXY` count only where they are named:
        /// `{ env = "HTTPS_PROXY", default = "" }`.
        proxy_url: Option<Located<Hidden>>,
        /// What does not go through the proxy: names with all below them (`"shop.example"`), what is below a name
        /// (`"*.internal"`), networks of addresses in URLs (`"10.0.0.0/8"`), each of them with a port if it is for
        /// that only (`"shop.example:8443"`), `"*"` for everything. A text may have several with commas between
        /// them, as the variable `NO_PROXY` does.
        no_proxy: Vec<Located<String>>,
        /// How TLS is done.
        tls: TlsText,
        /// Whether and when a probe that failed is tried again.
        retry: RetryText,
    }
}

config_table! {
    /// Who is asked for the addresses of a name. The system's hosts file comes first, whoever is asked. What the
    /// system is set to is looked at again every few seconds; where it names no server, targets with names are
    /// `unknown` with `dns_config`.
    pub struct DnsText, "[request.dns]" {
        /// Name servers to ask instead of those that the system is set to, at most 8: addresses, with a port where
        /// it is not 53, such as `"10.0.0.53"`, `"127.0.0.1:5353"` or `"[::1]:53"`. They are asked over UDP, and
        /// over TCP where an answer does not fit.
        servers: Option<Located<Vec<DnsServer>>>,
    }
}

config_table! {
    /// Who asks. It is sent to the target's own origin only, never along a redirect to another one.
    pub struct AuthText, "auth" {
        /// A bearer token (RFC 6750).
        bearer: Option<Hidden>,
        /// A user's name and password (RFC 7617).
        basic: Option<BasicText>,
        /// A token that is fetched first (RFC 6749 section 4.4).
        oauth2: Option<OAuthText>,
    }
}

config_table! {
    /// A user's name and password.
    pub struct BasicText, "basic" {
        /// The user's name, without a colon.
        username: Hidden,
        /// The password.
        password: Hidden,
    }
}

config_table! {
    /// A bearer token by the credentials of a client of its own. It is fetched within the attempt's time when there is
    /// none, once for all targets, kept until shortly before it expires (5 minutes where the endpoint does not say
    /// when), and dropped when a target answers with 401. The endpoint is asked as targets are (`dns`, `resolve`,
    /// `proxy_url`, `address_policy`, `tls.ca_file`, `tls.min_version`), and its certificate is always verified. Where
    /// there is no token, the target is not asked: the attempt is `unknown` with `oauth`.
    pub struct OAuthText, "oauth2" {
        /// Where tokens come from.
        token_url: Located<String>,
        /// Who asks.
        client_id: Hidden,
        /// Its secret.
        client_secret: Hidden,
        /// What for: `scope`.
        scopes: Vec<Located<String>>,
        /// Whom the token is for: the parameter `audience`, which some providers want.
        audience: Option<Hidden>,
        /// More parameters, as the provider wants them.
        params: BTreeMap<String, Located<Hidden>>,
        /// Where the credentials are.
        auth_style: OAuthStyleText = r#""basic""#,
    }
}

config_enum! {
    /// Where a client's credentials are.
    pub enum OAuthStyleText {
        /// In a header, as a user's name and password.
        Basic = "basic",
        /// In the body, as `client_id` and `client_secret`.
        Body = "body",
    }
}

config_table! {
    /// Whether and when a probe that failed (`down` or `unknown`) is tried again. Every attempt is a row;
    /// `is_final` marks the one that decides. No attempt begins that could not end before the target is due
    /// again.
    pub struct RetryText, "[request.retry]" {
        /// How many attempts a probe has at most, the first one included; 1 to 64.
        attempts: Located<u64> = "1",
        /// The longest pause before the second attempt; it doubles for each one after. A pause is drawn by
        /// chance from nothing to that, so that targets that failed together do not come back together.
        backoff: Located<Duration> = r#""500ms""#,
        /// What the pauses grow to at most; at most 1 h.
        backoff_max: Located<Duration> = r#""30s""#,
        /// What is tried again.
        on: Vec<RetryOnText> = r#"["connect", "timeout", "5xx"]"#,
    }
}

config_enum! {
    /// What is tried again: groups of error kinds, responses, verdicts.
    pub enum RetryOnText {
        /// Name resolution.
        Dns = "dns",
        /// Making or keeping the connection; a proxy's faults, and a token that could not be fetched, too.
        Connect = "connect",
        /// The TLS handshake and the certificate.
        Tls = "tls",
        /// The deadline.
        Timeout = "timeout",
        /// A response that is no valid HTTP, or not whole.
        Http = "http",
        /// Limits and faults of the runner itself.
        Local = "local",
        /// A response with a status of 500 to 599, where the checks call it down.
        ServerError = "5xx",
        /// Any verdict that makes the target down or unknown.
        Check = "check",
    }
}

config_enum! {
    /// Which addresses may be connected to, in a word.
    pub enum AddressPolicyWord {
        /// All but those where clouds keep credentials.
        NoMetadata = "no_metadata",
        /// Those of the public Internet only.
        PublicOnly = "public_only",
    }
}

config_table! {
    /// Which addresses may be connected to, as networks: `"10.0.0.0/8"`, `"fd00::/8"`, `"10.1.2.3"`.
    pub struct NetworksText, "address_policy" {
        /// Where this is given, no others. An address where a cloud keeps credentials has to stand here by
        /// itself.
        allow: Vec<Network>,
        /// None of these, whatever is allowed.
        deny: Vec<Network>,
    }
}

/// Which addresses may be connected to: a word, or networks.
#[derive(Debug, Clone)]
pub enum AddressPolicyText {
    /// A word.
    Word(AddressPolicyWord),
    /// Networks.
    Networks(NetworksText),
}

impl From<AddressPolicyText> for AddressPolicy {
    fn from(text: AddressPolicyText) -> Self {
        match text {
            AddressPolicyText::Word(AddressPolicyWord::NoMetadata) => Self::NoMetadata,
            AddressPolicyText::Word(AddressPolicyWord::PublicOnly) => Self::PublicOnly,
            AddressPolicyText::Networks(NetworksText { allow, deny }) => Self::Networks { allow, deny },
        }
    }
}

impl FromValue for AddressPolicyText {
    fn type_text() -> String {
        format!("{}, or table of networks", AddressPolicyWord::type_text())
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "anyOf": [AddressPolicyWord::schema(), NetworksText::schema()] })
    }

    fn tables(out: &mut Vec<TableDoc>) {
        NetworksText::tables(out);
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(_) => AddressPolicyWord::from_value(value, context).map(Self::Word),
            DeValue::Table(_) => NetworksText::from_value(value, context).map(Self::Networks),
            _ => {
                context.wrong_type(value, "a word or a table of networks");
                None
            }
        }
    }
}

impl FromValue for Network {
    fn type_text() -> String {
        "network".to_owned()
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string" })
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        let text = String::from_value(value, context)?;
        Self::parse(&text).map_err(|reason| context.bad_value(value.span(), reason, None)).ok()
    }
}

impl FromValue for IpAddr {
    fn type_text() -> String {
        "IP address".to_owned()
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string" })
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        let text = String::from_value(value, context)?;
        let reason = "this is no IP address: \"192.0.2.7\", \"2001:db8::7\"";
        text.parse().map_err(|_| context.bad_value(value.span(), reason, None)).ok()
    }
}

impl FromValue for Canary {
    fn type_text() -> String {
        "host:port".to_owned()
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string" })
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        let text = String::from_value(value, context)?;
        Self::parse(&text).map_err(|reason| context.bad_value(value.span(), reason, None)).ok()
    }
}

impl FromValue for DnsServer {
    fn type_text() -> String {
        "name server".to_owned()
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string" })
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        let text = String::from_value(value, context)?;
        Self::parse(&text).map_err(|reason| context.bad_value(value.span(), reason, None)).ok()
    }
}

config_enum! {
    /// Which addresses of a target's name are asked.
    pub enum AddressesText {
        /// The first that answers, as clients do.
        First = "first",
        /// Each of them, at most 16, at the same time (not through a proxy): an attempt has a row for each, with its number in
        /// `address_index`. The worst of them decides the probe: its row is the last one, `is_final` marks it, and
        /// what checks remember is kept of it.
        All = "all",
    }
}

config_enum! {
    /// Whether each probe makes a connection of its own.
    pub enum ConnectionText {
        /// Yes: name resolution, connecting and TLS are measured and verified every time.
        Fresh = "fresh",
        /// A connection is kept for the next probe of its origin, for 90 s and at most 1 h; a row says so in
        /// `connection_reused`, and those phases are null. For methods that may be sent twice (GET, HEAD,
        /// OPTIONS, PUT, DELETE, TRACE); others go by a fresh connection.
        Reuse = "reuse",
    }
}

config_enum! {
    /// Which version of HTTP is spoken.
    pub enum HttpVersionText {
        /// What the target picks while TLS is set up (ALPN), HTTP/2 before HTTP/1.1. Without TLS, HTTP/1.1.
        Auto = "auto",
        /// HTTP/1.1.
        Http11 = "1.1",
        /// HTTP/2; without TLS, by prior knowledge. A target that does not speak it is `down` with
        /// `http_version`.
        Http2 = "2",
    }
}

config_enum! {
    /// Which IP version is used.
    pub enum IpVersionText {
        /// Whichever answers first.
        Any = "any",
        /// IPv4 only.
        V4 = "4",
        /// IPv6 only.
        V6 = "6",
    }
}

config_enum! {
    /// A version of TLS.
    pub enum TlsVersionText {
        /// TLS 1.2 (RFC 5246).
        Tls12 = "1.2",
        /// TLS 1.3 (RFC 8446).
        Tls13 = "1.3",
    }
}

config_table! {
    /// How TLS is done.
    pub struct TlsText, "[request.tls]" {
        /// A PEM file with the certificate authorities to trust instead of the system's, relative to
        /// the pipeline file.
        ca_file: Option<Located<String>>,
        /// The name to ask for (SNI) and to verify, instead of the URL's host.
        server_name: Option<Located<String>>,
        /// A PEM file with the certificate to show to a target that asks for one, and those above it, relative
        /// to the pipeline file. Never shown to another origin.
        cert_file: Option<Located<String>>,
        /// A PEM file with the key of that certificate (PKCS #8, PKCS #1 or SEC 1), relative to the pipeline
        /// file.
        key_file: Option<Located<String>>,
        /// The oldest version of TLS that is spoken.
        min_version: TlsVersionText = r#""1.2""#,
        /// Accept any certificate. Facts of the certificate are recorded all the same.
        insecure_skip_verify: bool = "false",
    }
}
