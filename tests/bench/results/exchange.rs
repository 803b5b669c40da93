//! What happens on the wire in one attempt.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, SERVER};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use hyper::body::Bytes;
use probity::model::{ErrorGroup, ErrorKind, Exchange, Failure, Head, Hop, HttpVersion, Phases, TlsFacts};

use super::chance::Chance;
use super::sites::{Certificate, Site};
use super::troubles::{Fault, Weather};

/// The deadline of an attempt, in milliseconds.
const DEADLINE: f64 = 10_000.0;

/// One attempt at a site, begun at `at` (microseconds since the Unix epoch).
pub(crate) fn exchange(site: &Site, at: i64, weather: &Weather, chance: &mut Chance) -> Exchange {
    match fault(site, at, weather, chance) {
        None => answered(site, 200, at, weather, chance),
        Some(Fault::Status(status)) => answered(site, status, at, weather, chance),
        Some(Fault::Kind(kind)) => failed(site, kind, at, weather, chance),
    }
}

fn fault(site: &Site, at: i64, weather: &Weather, chance: &mut Chance) -> Option<Fault> {
    let (region, when) = &weather.cut_off;
    if site.region.name == *region && when.contains(&at) && chance.happens(0.85) {
        return Some(Fault::Kind(ErrorKind::ConnectTimeout));
    }
    if weather.overload.contains(&at) && chance.happens(0.003) {
        return Some(Fault::Kind(ErrorKind::LocalFds));
    }
    let expired = |certificate: &Arc<Certificate>| at >= certificate.not_after * 1_000_000;
    if site.certificate.as_ref().is_some_and(expired) {
        return Some(Fault::Kind(ErrorKind::TlsExpired));
    }
    site.troubles.fault(at, chance)
}

/// A whole response, after the site's redirects.
fn answered(site: &Site, status: u16, at: i64, weather: &Weather, chance: &mut Chance) -> Exchange {
    let hops: Vec<Phases> = (0..=site.redirects).map(|_| hop(site, at, weather, chance)).collect();
    let decoded = if status == 200 { chance.log_normal(site.page, 0.02) } else { 312.0 };
    let compressed = decoded * chance.between(0.22, 0.24);
    // What a page says changes with each answer, or with each release.
    let version = if site.lively { at } else { at / 21_600_000_000 };
    let page = format!("<title>{}</title> {status} {version}", site.target.name);
    Exchange {
        head: Some(Head { status, version: version_of(site), headers: headers(site, chance) }),
        kept_headers: Arc::clone(&site.pipeline.kept_headers),
        body: Bytes::from(page),
        body_truncated: Some(false),
        header_bytes: Some(240 + u64::from(site.address.port()) % 97 + chance.below(6)),
        body_bytes: Some(compressed as u64),
        decoded_bytes: Some(decoded as u64),
        hops: hops_told(site, status, &hops),
        phases: sum(&hops),
        final_url: Some(url_of(site, site.redirects)),
        redirects: Some(site.redirects),
        tls: facts(site, None),
        ..reached(site)
    }
}

/// No whole response; what was reached before the failure stays.
fn failed(site: &Site, kind: ErrorKind, at: i64, weather: &Weather, chance: &mut Chance) -> Exchange {
    let Phases { dns, connect, tls, first_byte, transfer, .. } = hop(site, at, weather, chance);
    let late = matches!(kind, ErrorKind::ConnectTimeout | ErrorKind::Timeout);
    let least = if late { DEADLINE + chance.between(0.1, 3.0) } else { 0.0 };
    let headers = headers(site, chance);
    let whole = |phases| Phases { total: Some(millis(length(phases).max(least))), ..phases };
    let failure = Some(Failure::new(kind, message(site, kind)));
    let exchange = Exchange { failure, ..reached(site) };
    match (kind.group(), kind) {
        (ErrorGroup::Local, _) => Exchange { failure: exchange.failure, ..Exchange::default() },
        (ErrorGroup::Dns, _) => Exchange {
            phases: whole(Phases { dns, ..Phases::default() }),
            remote_addr: None,
            dns_answers: None,
            connection_reused: None,
            ..exchange
        },
        (_, ErrorKind::ConnectRefused) => {
            Exchange { phases: whole(Phases { dns, connect, ..Phases::default() }), ..exchange }
        }
        (_, ErrorKind::ConnectTimeout) => {
            Exchange { phases: whole(Phases { dns, ..Phases::default() }), ..exchange }
        }
        (ErrorGroup::Tls, _) => Exchange {
            phases: whole(Phases { dns, connect, tls, ..Phases::default() }),
            tls: facts(site, Some(kind)),
            ..exchange
        },
        (_, ErrorKind::BodyIncomplete) => Exchange {
            head: Some(Head { status: 200, version: version_of(site), headers }),
            kept_headers: Arc::clone(&site.pipeline.kept_headers),
            body: Bytes::from_static(b"<html>"),
            header_bytes: Some(240),
            body_bytes: Some(6),
            decoded_bytes: Some(6),
            phases: whole(Phases { dns, connect, tls, first_byte, transfer, total: None }),
            tls: facts(site, None),
            ..exchange
        },
        _ => Exchange {
            phases: whole(Phases { dns, connect, tls, ..Phases::default() }),
            tls: facts(site, None),
            ..exchange
        },
    }
}

/// What is known of every attempt that got as far as an address.
fn reached(site: &Site) -> Exchange {
    Exchange {
        method: Some(Method::GET),
        final_url: Some(url_of(site, 0)),
        redirects: Some(0),
        remote_addr: Some(site.address),
        dns_answers: Some(site.addresses),
        connection_reused: Some(false),
        ..Exchange::default()
    }
}

/// The phases of one request, in full.
fn hop(site: &Site, at: i64, weather: &Weather, chance: &mut Chance) -> Phases {
    let region = site.region;
    let (team, when) = &weather.slow_team;
    let slow = when.contains(&at) && site.target.label("team") == Some(*team);
    let mut thinks = site.thinks * Weather::load(at) * if slow { 4.0 } else { 1.0 };
    // Now and then something else has the server's attention.
    if chance.happens(0.006) {
        thinks *= chance.between(4.0, 25.0);
    }
    let phases = Phases {
        dns: Some(millis(chance.log_normal(region.dns, 0.35))),
        connect: Some(millis(chance.log_normal(region.round_trip, 0.08))),
        tls: site.certificate.is_some().then(|| millis(chance.log_normal(region.tls, 0.1))),
        first_byte: Some(millis(region.round_trip + chance.log_normal(thinks, 0.3))),
        transfer: Some(millis(chance.log_normal(0.3 + site.page / 40_000.0, 0.4))),
        total: None,
    };
    Phases { total: Some(millis(length(phases) + chance.between(0.05, 0.2))), ..phases }
}

fn sum(hops: &[Phases]) -> Phases {
    let sum = |phase: fn(&Phases) -> Option<Duration>| hops.iter().map(phase).sum::<Option<Duration>>();
    Phases {
        dns: sum(|hop| hop.dns),
        connect: sum(|hop| hop.connect),
        tls: sum(|hop| hop.tls),
        first_byte: sum(|hop| hop.first_byte),
        transfer: sum(|hop| hop.transfer),
        total: sum(|hop| hop.total),
    }
}

/// Milliseconds of all phases but the whole.
fn length(phases: Phases) -> f64 {
    let Phases { dns, connect, tls, first_byte, transfer, total: _ } = phases;
    [dns, connect, tls, first_byte, transfer].into_iter().flatten().sum::<Duration>().as_secs_f64() * 1e3
}

fn millis(length: f64) -> Duration {
    Duration::from_nanos((length * 1e6) as u64)
}

fn hops_told(site: &Site, status: u16, hops: &[Phases]) -> Vec<Hop> {
    if hops.len() < 2 {
        return Vec::new();
    }
    let last = hops.len() - 1;
    let told = hops.iter().enumerate().map(|(number, phases)| Hop {
        url: url_of(site, number as u32),
        status: Some(if number == last { status } else { 301 }),
        phases: *phases,
    });
    told.collect()
}

fn url_of(site: &Site, hop: u32) -> String {
    match hop {
        0 => site.target.url.to_string(),
        _ => format!("{}?{}", site.target.url, ["", "lang=en", "lang=en&seen=1"][hop as usize]),
    }
}

fn version_of(site: &Site) -> HttpVersion {
    if site.http2 { HttpVersion::Http2 } else { HttpVersion::Http11 }
}

fn headers(site: &Site, chance: &mut Chance) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(3);
    let json = &*site.pipeline.name == "api";
    let kind = if json { "application/json" } else { "text/html; charset=utf-8" };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(SERVER, HeaderValue::from_static(if site.http2 { "nginx" } else { "Apache/2.4" }));
    let hit = if chance.happens(0.7) { "HIT" } else { "MISS" };
    headers.insert(HeaderName::from_static("x-cache"), HeaderValue::from_static(hit));
    headers
}

fn facts(site: &Site, kind: Option<ErrorKind>) -> Option<TlsFacts> {
    let certificate = site.certificate.as_ref()?;
    let wrong = match kind {
        Some(ErrorKind::TlsExpired) => Some("the certificate has expired".to_owned()),
        Some(_) => Some("the certificate is for another name".to_owned()),
        None => None,
    };
    Some(TlsFacts {
        version: Some(if site.http2 { "1.3" } else { "1.2" }),
        cipher: Some(
            if site.http2 { "TLS13_AES_256_GCM_SHA384" } else { "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" }
                .to_owned(),
        ),
        alpn: Some(if site.http2 { "h2" } else { "http/1.1" }.to_owned()),
        verified: Some(wrong.is_none()),
        verify_error: wrong,
        ocsp_stapled: Some(false),
        cert_sha256: Some(certificate.sha256.clone()),
        cert_subject: Some(certificate.subject.clone()),
        cert_issuer: Some(certificate.issuer.to_owned()),
        cert_names: Some(certificate.names.clone()),
        cert_not_before: Some(certificate.not_before),
        cert_not_after: Some(certificate.not_after),
        cert_chain_not_after: Some(certificate.chain_not_after),
    })
}

fn message(site: &Site, kind: ErrorKind) -> String {
    let (address, name) = (site.address, &site.target.name);
    match kind {
        ErrorKind::ConnectRefused => format!("{address} refused the connection"),
        ErrorKind::ConnectTimeout => format!("{address} did not answer the connection attempt in time"),
        ErrorKind::Timeout => "the response did not come within 10 s".to_owned(),
        ErrorKind::DnsNxdomain => format!("the name \"{name}\" does not exist"),
        ErrorKind::DnsServfail => format!("the resolver failed for \"{name}\""),
        ErrorKind::TlsExpired => format!("the certificate of \"{name}\" has expired"),
        ErrorKind::TlsName => format!("the certificate is not for \"{name}\""),
        other => other.meaning().trim_end_matches('.').to_lowercase(),
    }
}
