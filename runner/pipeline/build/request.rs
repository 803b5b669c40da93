//! Builds the request of a pipeline.

mod auth;
mod oauth;
mod payload;

use std::time::Duration;

use hyper::body::Bytes;
use twox_hash::XxHash3_64;

use super::Site;
use crate::config::{Code, Diagnostic, Diagnostics, Located, Place, read_input};
use crate::fetch::{
    AddressPolicy, AddressesText, ClientPem, ConnectionText, HttpVersionText, HttpVersions, IpVersion,
    IpVersionText, Request, RequestError, RequestSpec, RequestText, TlsOptions, TlsVersionText,
};
use crate::pipeline::settings::RunnerSettings;

/// The shortest time-out that can be kept.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);
/// The longest time-out: a probe in flight holds a connection.
const LONGEST_TIMEOUT: Duration = Duration::from_hours(1);
/// The largest file of certificates or a key: the usual bundle of authorities has 220 KiB.
const LARGEST_PEM_FILE: u64 = 16 << 20;
/// The largest body that is kept: it is held in memory for each probe in flight.
const LARGEST_BODY: u64 = 64 << 20;

/// The request of a pipeline.
pub(super) struct BuiltRequest {
    pub(super) request: Request,
    /// Identifies the files that it is made of by their content, but for the key.
    pub(super) fingerprint: String,
    /// Identifies the key by its content: for comparison within this process only.
    pub(super) key_print: String,
}

pub(super) fn build(
    text: &RequestText,
    settings: &RunnerSettings,
    site: Site<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<BuiltRequest> {
    check_ranges(text, site, diagnostics);
    let payload = payload::payload(text, site, diagnostics);
    let authorization = auth::authorization(text, site, diagnostics);
    let oauth = oauth::oauth(text, site, diagnostics);
    let tls = tls(text, site, diagnostics)?;
    let print = |bytes: Option<&Bytes>| {
        bytes.map(|bytes| format!("{:016x}", XxHash3_64::oneshot(bytes))).unwrap_or_default()
    };
    let body_file = payload.as_ref().filter(|_| text.body_file.is_some()).map(|payload| &payload.bytes);
    let fingerprint = [
        print(tls.ca_pem.as_ref()),
        print(tls.client.as_ref().map(|client| &client.certificates)),
        print(body_file),
    ]
    .join(" ");
    let key_print = print(tls.client.as_ref().map(|client| &client.key));
    let mut headers: Vec<(String, String)> =
        text.headers.iter().map(|(name, value)| (name.clone(), value.value.expose().to_owned())).collect();
    let has_type = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    if let Some(payload) = payload.as_ref().filter(|_| !has_type) {
        headers.push(("content-type".to_owned(), payload.content_type.to_owned()));
    }
    headers.extend(authorization.map(|value| ("authorization".to_owned(), value)));
    let spec = RequestSpec {
        method: text.method.value.clone(),
        headers,
        body: payload.map(|payload| payload.bytes),
        timeout: text.timeout.value,
        follow_redirects: text.follow_redirects,
        max_redirects: u32::try_from(text.max_redirects.value).unwrap_or(u32::MAX),
        body_limit: text.body_limit.value.0,
        fail_if_body_over: text.fail_if_body_over.map(|size| size.0),
        header_limit: text.header_limit.value.0,
        max_headers: u32::try_from(text.max_headers.value).unwrap_or(u32::MAX),
        response_headers: text.response_headers.iter().map(|name| name.value.clone()).collect(),
        decompression_ratio_limit: text.decompression_ratio_limit.value,
        tls,
        http_version: match text.http_version {
            HttpVersionText::Auto => HttpVersions::Auto,
            HttpVersionText::Http11 => HttpVersions::Http11,
            HttpVersionText::Http2 => HttpVersions::Http2,
        },
        all_addresses: text.addresses == AddressesText::All,
        reuse_connections: text.connection == ConnectionText::Reuse,
        ip_version: match text.ip_version {
            IpVersionText::Any => IpVersion::Any,
            IpVersionText::V4 => IpVersion::V4,
            IpVersionText::V6 => IpVersion::V6,
        },
        dns_servers: text.dns.servers.iter().flat_map(|list| &list.value).map(|server| server.0).collect(),
        resolve: text.resolve.iter().map(|(key, address)| (key.clone(), address.value.clone())).collect(),
        address_policy: text
            .address_policy
            .clone()
            .map_or_else(|| settings.address_policy.clone(), AddressPolicy::from),
        proxy_url: text.proxy_url.as_ref().map(|url| url.value.expose().to_owned()),
        no_proxy: text.no_proxy.iter().map(|entry| entry.value.clone()).collect(),
        oauth,
        source_address: text.source_address.as_ref().map(|address| address.value),
        request_id_header: text.request_id_header.as_ref().map(|name| name.value.clone()),
        cache_buster: text.cache_buster.as_ref().map(|name| name.value.clone()),
    };
    match Request::build(spec) {
        Ok(request) => Some(BuiltRequest { request, fingerprint, key_print }),
        Err(problems) => {
            for problem in problems {
                let place = place_of(&problem, text, site);
                diagnostics.add(Diagnostic::error(Code::RequestUnusable, place, problem.to_string()));
            }
            None
        }
    }
}

fn check_ranges(text: &RequestText, site: Site<'_>, diagnostics: &mut Diagnostics) {
    if let Some(entry) = text.no_proxy.first().filter(|_| text.proxy_url.is_none()) {
        let message = "\"no_proxy\" says what does not go through \"proxy_url\", which is not given";
        diagnostics.add(Diagnostic::warning(Code::Suspicious, entry.place(site.document), message));
    }
    let mut add = |place: Place, message: &str| {
        diagnostics.add(Diagnostic::error(Code::BadValue, place, message));
    };
    if !(SHORTEST_TIMEOUT..=LONGEST_TIMEOUT).contains(&text.timeout.value) {
        add(text.timeout.place(site.document), "a time-out is at least 10ms and at most 1h");
    }
    if text.max_redirects.value > 50 {
        add(text.max_redirects.place(site.document), "at most 50 redirects can be followed");
    }
    if text.decompression_ratio_limit.value == 0 {
        add(text.decompression_ratio_limit.place(site.document), "decompression_ratio_limit is at least 1");
    }
    if let Some(servers) = text.dns.servers.as_ref().filter(|servers| servers.value.is_empty()) {
        add(
            servers.place(site.document),
            "there is no name server in the list: without the list, the system's are asked",
        );
    }
    if !(1 << 10..=1 << 20).contains(&text.header_limit.value.0) {
        add(text.header_limit.place(site.document), "header_limit is at least 1KiB and at most 1MiB");
    }
    if !(1..=4_096).contains(&text.max_headers.value) {
        add(text.max_headers.place(site.document), "max_headers is at least 1 and at most 4096");
    }
    if text.body_limit.value.0 > LARGEST_BODY {
        add(text.body_limit.place(site.document), "at most 64MiB of a body can be kept");
    }
}

fn tls(text: &RequestText, site: Site<'_>, diagnostics: &mut Diagnostics) -> Option<TlsOptions> {
    let ca_pem = match &text.tls.ca_file {
        None => None,
        Some(path) => Some(read_file(path, LARGEST_PEM_FILE, site, diagnostics)?),
    };
    let client = match (&text.tls.cert_file, &text.tls.key_file) {
        (None, None) => None,
        (Some(certificates), Some(key)) => {
            let certificates = read_file(certificates, LARGEST_PEM_FILE, site, diagnostics);
            let key = read_file(key, LARGEST_PEM_FILE, site, diagnostics);
            Some(ClientPem { certificates: certificates?, key: key? })
        }
        (Some(one), None) | (None, Some(one)) => {
            let message = "a client certificate needs both \"cert_file\" and \"key_file\"";
            diagnostics.add(
                Diagnostic::error(Code::BadValue, one.place(site.document), message)
                    .hint("where both are in one file, name it twice"),
            );
            return None;
        }
    };
    Some(TlsOptions {
        ca_pem,
        client,
        only_tls13: text.tls.min_version == TlsVersionText::Tls13,
        insecure_skip_verify: text.tls.insecure_skip_verify,
        server_name: text.tls.server_name.as_ref().map(|name| name.value.clone()),
    })
}

/// The content of a file that the table names.
fn read_file(
    path: &Located<String>,
    most: u64,
    site: Site<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Bytes> {
    let file = site.base.join(&path.value);
    site.inputs.note(&file);
    match read_input(&file, most) {
        Ok(bytes) if bytes.len() as u64 > most => {
            let message =
                format!("the file \"{}\" is longer than {}", file.display(), crate::config::ByteSize(most));
            diagnostics.add(Diagnostic::error(Code::BadValue, path.place(site.document), message));
            None
        }
        Ok(bytes) => Some(bytes.into()),
        Err(reason) => {
            let message = format!("the file \"{}\" cannot be read: {reason}", file.display());
            diagnostics.add(
                Diagnostic::error(Code::Unreadable, path.place(site.document), message)
                    .hint("the path is relative to the pipeline file"),
            );
            None
        }
    }
}

/// Where the value stands that a problem is about.
fn place_of(problem: &RequestError, text: &RequestText, site: Site<'_>) -> Place {
    let file = || Place::file(site.document.path());
    let header = |name: &String| {
        site.document.hidden_place_or_file(text.headers.get(name).and_then(|value| value.span.as_ref()))
    };
    match problem {
        RequestError::Method { .. } => text.method.place(site.document),
        RequestError::HeaderName { name }
        | RequestError::HeaderValue { name }
        | RequestError::HeaderForbidden { name }
        | RequestError::HeaderRepeated { name } => header(name),
        RequestError::ResponseHeader { name } => {
            let given = text.response_headers.iter().find(|given| given.value == *name);
            given.map_or_else(file, |given| given.place(site.document))
        }
        RequestError::ResponseHeaders => {
            let beyond = text.response_headers.last();
            beyond.map_or_else(file, |given| given.place(site.document))
        }
        RequestError::BodyLimit => text.body_limit.place(site.document),
        RequestError::DnsServers => {
            text.dns.servers.as_ref().map_or_else(file, |servers| servers.place(site.document))
        }
        RequestError::Resolve { key, .. } => {
            text.resolve.get(key).map_or_else(file, |address| address.place(site.document))
        }
        RequestError::ProxyUrl { .. } => {
            site.document.hidden_place_or_file(text.proxy_url.as_ref().and_then(|url| url.span.as_ref()))
        }
        RequestError::NoProxy { index, .. } => {
            text.no_proxy.get(*index).map_or_else(file, |entry| entry.place(site.document))
        }
        RequestError::TokenUrl { .. } => {
            let oauth = text.auth.as_ref().and_then(|auth| auth.value.oauth2.as_ref());
            site.document.hidden_place_or_file(oauth.and_then(|oauth| oauth.token_url.span.as_ref()))
        }
        RequestError::SourceAddress => {
            text.source_address.as_ref().map_or_else(file, |address| address.place(site.document))
        }
        RequestError::RequestIdHeader { .. } => {
            text.request_id_header.as_ref().map_or_else(file, |name| name.place(site.document))
        }
        RequestError::CacheBuster { .. } => {
            text.cache_buster.as_ref().map_or_else(file, |name| name.place(site.document))
        }
        RequestError::Tls { .. } => file(),
        RequestError::CaFile { .. } => {
            text.tls.ca_file.as_ref().map_or_else(file, |ca| ca.place(site.document))
        }
        RequestError::CertFile { .. } => {
            text.tls.cert_file.as_ref().map_or_else(file, |path| path.place(site.document))
        }
        RequestError::KeyFile { .. } => {
            text.tls.key_file.as_ref().map_or_else(file, |path| path.place(site.document))
        }
        RequestError::ServerName { .. } => {
            text.tls.server_name.as_ref().map_or_else(file, |name| name.place(site.document))
        }
    }
}
