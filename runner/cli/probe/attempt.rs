//! The attempt: fetched and judged as a run does it, then without its secrets.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use http::header::{self, HeaderMap, HeaderValue};
use jiff::Timestamp;

use super::blame::Blame;
use super::body::Body;
use super::subject::Subject;
use crate::check::{CallNote, Observed, Record, RecordRules, is_plain_header};
use crate::cli::shown::{secrets_of_url, shown_name, shown_url};
use crate::clock::{Clock, UnixNanos};
use crate::config::{SECRET_MARK, SecretTexts};
use crate::fetch::{Fetcher, FetcherConfig, Request};
use crate::model::{Exchange, ProbeResult, Target, judge};

/// So much of a body is looked at for what is shown.
const BODY_LOOKED_AT: usize = 64 << 10;

/// What came of a fetch.
pub(super) struct Fetched {
    exchange: Arc<Exchange>,
    started_at: UnixNanos,
}

/// An attempt that has ended. Nothing in it is a secret.
pub(super) struct Attempt {
    /// The row that a run would write, as far as it is known without one.
    pub(super) row: ProbeResult,
    /// Whether a pipeline was named.
    pub(super) has_pipeline: bool,
    /// Whether the target is one of the pipeline's.
    pub(super) is_listed: bool,
    /// XXH3-64 of the body.
    pub(super) body_xxh3: Option<u64>,
    /// What is shown of the body; none without a response.
    pub(super) body: Option<Body>,
    /// The path and query of the first request.
    pub(super) path: String,
    /// The headers of the first request.
    pub(super) request_headers: Vec<(String, String)>,
    /// Bytes of the first request's body.
    pub(super) request_body_bytes: Option<usize>,
    /// How long the attempt might take.
    pub(super) timeout: Duration,
    /// What the maintenance is for, in which the target is.
    pub(super) maintenance_reason: Option<String>,
    /// Who or what is to blame, if it is not up.
    pub(super) blame: Option<Blame>,
}

/// Fetches the subject's target once.
pub(super) async fn fetch(subject: &Subject, clock: &Clock) -> anyhow::Result<Fetched> {
    let fetcher = Fetcher::new(&FetcherConfig::default()).context("cannot probe on this machine")?;
    let started_at = clock.wall();
    let deadline = clock.now() + subject.request.timeout();
    let exchange = fetcher.fetch(&subject.request, &subject.target.url, deadline, clock).await;
    Ok(Fetched { exchange: Arc::new(exchange), started_at })
}

impl Attempt {
    /// Has the exchange judged, on this thread.
    pub(super) fn judge(subject: &Subject, fetched: Fetched, clock: &Clock) -> Self {
        let Fetched { exchange, started_at } = fetched;
        let observed = Observed::new(Arc::clone(&subject.target), Arc::clone(&exchange), started_at);
        let judgement = subject.checks.judge_here(&Arc::new(observed), clock);
        let (pipeline, generation) =
            subject.pipeline.clone().unwrap_or_else(|| (Arc::default(), Arc::default()));
        let body_xxh3 = exchange.body_xxh3();
        let mut row = ProbeResult {
            seq: 0,
            probe_seq: 0,
            pipeline,
            generation,
            in_maintenance: subject.maintenance.covers(started_at, &subject.target),
            runner_overloaded: false,
            target: Arc::clone(&subject.target),
            scheduled_at: started_at,
            started_at,
            lateness: Duration::ZERO,
            missed: 0,
            attempt: 1,
            is_final: true,
            method: subject.request.method().clone(),
            outcome: judge(&exchange, &judgement.verdicts),
            exchange,
            verdicts: judgement.verdicts,
        };
        let secrets = &all_secrets(subject, &row.exchange);
        let has_token = row.exchange.sent_token.is_some();
        let seen = mask(&mut row, &judgement.notes, subject, secrets);
        let reason = subject.maintenance.reason(started_at, &subject.target);
        Self {
            has_pipeline: subject.pipeline.is_some(),
            is_listed: subject.is_listed,
            body_xxh3,
            body: row.exchange.head.is_some().then(|| Body::of(&seen)),
            path: path_of(first_url(&row)),
            request_headers: headers(&subject.request, has_token, &row.target.url, secrets),
            request_body_bytes: subject.request.body().map(hyper::body::Bytes::len),
            timeout: subject.request.timeout(),
            maintenance_reason: reason.map(|reason| secrets.mask(reason).into_owned()),
            blame: Blame::of(&row),
            row,
        }
    }

    /// The host of the last request, where it is a name.
    pub(super) fn host(&self) -> Option<String> {
        let url = self.row.exchange.final_url.as_deref().unwrap_or(&self.row.target.url);
        let url = url::Url::parse(url).ok()?;
        match url.host()? {
            url::Host::Domain(name) => Some(name.to_owned()),
            url::Host::Ipv4(_) | url::Host::Ipv6(_) => None,
        }
    }

    /// Whether the first request went out.
    pub(super) fn was_sent(&self) -> bool {
        let exchange = &self.row.exchange;
        exchange.head.is_some()
            || !exchange.hops.is_empty()
            || self.blame.as_ref().is_none_or(Blame::is_after_sending)
    }

    /// Days from the attempt to a moment in Unix seconds; negative where it has passed.
    pub(super) fn days_until(&self, unix_s: i64) -> i64 {
        (unix_s - self.row.started_at.seconds()).div_euclid(86_400)
    }
}

/// A moment in Unix seconds, as RFC 3339 has it; none beyond the year 9999.
pub(super) fn civil(unix_s: i64) -> Option<String> {
    Timestamp::from_second(unix_s).ok().map(|moment| moment.to_string())
}

/// What is known to be secret, with what the addresses of redirects have in their queries.
fn all_secrets(subject: &Subject, exchange: &Exchange) -> SecretTexts {
    let urls = exchange.hops.iter().map(|hop| &hop.url).chain(&exchange.final_url);
    let token = exchange.sent_token.iter().map(crate::model::Secret::expose);
    SecretTexts::new(subject.secrets.expose().chain(token).chain(urls.flat_map(|url| secrets_of_url(url))))
}

/// Takes all that may be a secret out of a row, by the rules of records: those that the pipeline names, those that
/// the request sends, and those that a response shows. What the checks saw of it, without its secrets.
fn mask(
    row: &mut ProbeResult,
    notes: &[CallNote],
    subject: &Subject,
    secrets: &SecretTexts,
) -> Arc<Observed> {
    let request = &subject.request;
    let sent: Vec<(String, String)> = request
        .headers()
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .chain(request.other_secrets().into_iter().map(|text| ("proxy-authorization".to_owned(), text)))
        .collect();
    let sent = sent.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let body = request.body().map(|body| String::from_utf8_lossy(body));
    let rules = RecordRules::with_secrets(BODY_LOOKED_AT, Vec::new(), sent, body.as_deref(), secrets);
    let mut record = Record::new(row, notes, &subject.checks, &Arc::default());
    rules.apply(&mut record);
    let mut exchange = Exchange::clone(&record.observed.exchange);
    let urls = exchange.final_url.iter_mut().chain(exchange.hops.iter_mut().map(|hop| &mut hop.url));
    for url in urls {
        *url = shown_url(url, secrets);
    }
    if let Some(head) = &mut exchange.head {
        mask_locations(&mut head.headers, secrets);
    }
    if let Some(reason) = exchange.tls.as_mut().and_then(|tls| tls.verify_error.as_mut()) {
        secrets.mask_in(reason);
    }
    let Target { name, url, labels, every } = &*row.target;
    row.target = Arc::new(Target {
        name: shown_name(name, secrets).into(),
        url: shown_url(url, secrets).into(),
        labels: labels
            .iter()
            .map(|(name, value)| (Arc::clone(name), (*secrets.mask(value)).into()))
            .collect(),
        every: *every,
    });
    row.exchange = Arc::new(exchange);
    row.verdicts = record.verdicts.into_iter().map(|recorded| recorded.verdict).collect();
    record.observed
}

/// The addresses in a response's head may have secrets in their queries, as any other.
fn mask_locations(headers: &mut HeaderMap, secrets: &SecretTexts) {
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let Some(value) = headers.get_mut(&name) else { continue };
        let shown = shown_url(&String::from_utf8_lossy(value.as_bytes()), secrets);
        if let Ok(shown) = HeaderValue::from_bytes(shown.as_bytes()) {
            *value = shown;
        }
    }
}

/// The path and query of a URL that may be shown; the whole of what is none.
/// The URL of the first request, as it was sent.
fn first_url(row: &ProbeResult) -> &str {
    let ProbeResult { exchange, target, .. } = row;
    let first = exchange.hops.first().map(|hop| hop.url.as_str());
    first.or(exchange.final_url.as_deref()).unwrap_or(&target.url)
}

fn path_of(url: &str) -> String {
    let Some((_, rest)) = url.split_once("://") else { return url.to_owned() };
    match rest.find(['/', '?']) {
        Some(at) => rest[at..].to_owned(),
        None => "/".to_owned(),
    }
}

/// The headers as they are sent, `host` first, the values of those that may be secrets hidden.
fn headers(
    request: &Request,
    has_token: bool,
    shown_url: &str,
    secrets: &SecretTexts,
) -> Vec<(String, String)> {
    let given: &HeaderMap = request.headers();
    let mut headers = Vec::with_capacity(given.len() + 1);
    if !given.contains_key(header::HOST) {
        let authority = shown_url.split_once("://").map_or(shown_url, |(_, rest)| rest);
        let end = authority.find(['/', '?']).unwrap_or(authority.len());
        headers.push(("host".to_owned(), authority[..end].to_owned()));
    }
    for (name, value) in given {
        let text = String::from_utf8_lossy(value.as_bytes());
        let shown =
            if is_plain_header(name.as_str()) { shown_name(&text, secrets) } else { SECRET_MARK.to_owned() };
        headers.push((name.as_str().to_owned(), shown));
    }
    if has_token {
        headers.push((header::AUTHORIZATION.as_str().to_owned(), SECRET_MARK.to_owned()));
    }
    if let Some(body) = request.body().filter(|body| !body.is_empty()) {
        headers.push(("content-length".to_owned(), body.len().to_string()));
    }
    headers
}
