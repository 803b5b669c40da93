//! Builds the request of a pipeline.

use std::time::Duration;

use hyper::body::Bytes;
use twox_hash::XxHash3_64;

use super::Site;
use crate::config::{Code, Diagnostic, Diagnostics, Located, Place, read_input};
use crate::fetch::{
    AddressPolicy, IpVersion, IpVersionText, Request, RequestError, RequestSpec, RequestText, TlsOptions,
};
use crate::pipeline::settings::RunnerSettings;

/// The shortest time-out that can be kept.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);
/// The longest time-out: a probe in flight holds a connection.
const LONGEST_TIMEOUT: Duration = Duration::from_hours(1);
/// The largest file of certificate authorities: the usual bundle has 220 KiB.
const LARGEST_CA_FILE: u64 = 16 << 20;
/// The largest body that is kept: it is held in memory for each probe in flight.
const LARGEST_BODY: u64 = 64 << 20;

/// The request of a pipeline.
pub(super) struct BuiltRequest {
    pub(super) request: Request,
    /// Identifies the certificate authorities of the file's own by their content.
    pub(super) fingerprint: String,
}

pub(super) fn build(
    text: &RequestText,
    settings: &RunnerSettings,
    site: Site<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<BuiltRequest> {
    check_ranges(text, site, diagnostics);
    let tls = tls(text, site, diagnostics)?;
    let fingerprint =
        tls.ca_pem.as_ref().map(|pem| format!("{:016x}", XxHash3_64::oneshot(pem))).unwrap_or_default();
    let spec = RequestSpec {
        method: text.method.value.clone(),
        headers: text
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.value.expose().to_owned()))
            .collect(),
        body: text.body.as_ref().map(|body| Bytes::copy_from_slice(body.expose().as_bytes())),
        timeout: text.timeout.value,
        follow_redirects: text.follow_redirects,
        max_redirects: u32::try_from(text.max_redirects.value).unwrap_or(u32::MAX),
        body_limit: text.body_limit.value.0,
        fail_if_body_over: text.fail_if_body_over.map(|size| size.0),
        tls,
        ip_version: match text.ip_version {
            IpVersionText::Any => IpVersion::Any,
            IpVersionText::V4 => IpVersion::V4,
            IpVersionText::V6 => IpVersion::V6,
        },
        resolve: text.resolve.iter().map(|(key, address)| (key.clone(), address.value.clone())).collect(),
        address_policy: text
            .address_policy
            .clone()
            .map_or_else(|| settings.address_policy.clone(), AddressPolicy::from),
    };
    match Request::build(spec) {
        Ok(request) => Some(BuiltRequest { request, fingerprint }),
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
    let mut add = |place: Place, message: &str| {
        diagnostics.add(Diagnostic::error(Code::BadValue, place, message));
    };
    if !(SHORTEST_TIMEOUT..=LONGEST_TIMEOUT).contains(&text.timeout.value) {
        add(text.timeout.place(site.document), "a time-out is at least 10ms and at most 1h");
    }
    if text.max_redirects.value > 50 {
        add(text.max_redirects.place(site.document), "at most 50 redirects can be followed");
    }
    if text.body_limit.value.0 > LARGEST_BODY {
        add(text.body_limit.place(site.document), "at most 64MiB of a body can be kept");
    }
}

fn tls(text: &RequestText, site: Site<'_>, diagnostics: &mut Diagnostics) -> Option<TlsOptions> {
    let ca_pem = match &text.tls.ca_file {
        None => None,
        Some(path) => Some(read_ca(path, site, diagnostics)?),
    };
    Some(TlsOptions {
        ca_pem,
        insecure_skip_verify: text.tls.insecure_skip_verify,
        server_name: text.tls.server_name.as_ref().map(|name| name.value.clone()),
    })
}

fn read_ca(path: &Located<String>, site: Site<'_>, diagnostics: &mut Diagnostics) -> Option<Bytes> {
    let file = site.base.join(&path.value);
    site.inputs.note(&file);
    match read_input(&file, LARGEST_CA_FILE) {
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
        let span = text.headers.get(name).and_then(|value| value.span.clone());
        span.map_or_else(file, |span| site.document.hidden_place(span))
    };
    match problem {
        RequestError::Method { .. } => text.method.place(site.document),
        RequestError::HeaderName { name }
        | RequestError::HeaderValue { name }
        | RequestError::HeaderForbidden { name }
        | RequestError::HeaderRepeated { name } => header(name),
        RequestError::BodyLimit => text.body_limit.place(site.document),
        RequestError::Resolve { key, .. } => {
            text.resolve.get(key).map_or_else(file, |address| address.place(site.document))
        }
        RequestError::Tls { .. } => file(),
        RequestError::CaFile { .. } => {
            text.tls.ca_file.as_ref().map_or_else(file, |ca| ca.place(site.document))
        }
        RequestError::ServerName { .. } => {
            text.tls.server_name.as_ref().map_or_else(file, |name| name.place(site.document))
        }
    }
}
