//! An attempt as a page for people: what it came to, each step as it came, where the time went, what each check
//! said, and what the row would say.

mod phases;

use std::fmt::Write as _;

use super::attempt::{Attempt, civil};
use super::blame::Phase;
use crate::check::MASK;
use crate::config::{SECRET_MARK, format_duration};
use crate::model::{CheckStatus, ErrorKind, Exchange, Hop, Outcome, Severity, TlsFacts, Verdict, harmless};
use crate::sink::stdout::colour_of;

/// Response headers that are shown.
const HEADERS: usize = 40;
/// Characters of one header that are shown.
const HEADER_CHARS: usize = 200;

/// The page.
pub(super) fn text(attempt: &Attempt, colour: bool) -> String {
    let mut page = Page { out: String::new(), colour };
    head(attempt, &mut page);
    names(attempt, &mut page);
    tls(attempt, &mut page);
    request(attempt, &mut page);
    hops(&attempt.row.exchange.hops, &mut page);
    response(attempt, &mut page);
    page.out.push('\n');
    phases::add(attempt, &mut page);
    checks(attempt, &mut page);
    row(attempt, &mut page);
    page.out.replace(MASK, SECRET_MARK)
}

/// The page so far.
struct Page {
    out: String,
    colour: bool,
}

impl Page {
    /// A line under a label; without one it goes on with the one above.
    fn line(&mut self, label: &str, text: &str) {
        let line = format!("{label:10} {}", harmless(text));
        let _ = writeln!(self.out, "{}", line.trim_end());
    }

    /// A text in the colour of an outcome.
    fn paint(&self, outcome: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{}m{text}\u{1b}[0m", colour_of(outcome)) } else { text.to_owned() }
    }
}

/// A time in milliseconds.
fn ms(time: std::time::Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}

/// What it came to, and whose fault that is.
fn head(attempt: &Attempt, page: &mut Page) {
    let row = &attempt.row;
    let total = row.exchange.phases.total.map(|total| format!(" in {}", ms(total))).unwrap_or_default();
    let outcome = page.paint(row.outcome.as_str(), &row.outcome.as_str().to_uppercase());
    let what = match &attempt.blame {
        Some(blame) => harmless(&blame.what),
        None => "every check passed".to_owned(),
    };
    let _ = writeln!(page.out, "{outcome}{total}: {what}");
    if let Some(blame) = &attempt.blame {
        let words = if row.outcome == Outcome::Degraded {
            "it works, and is worth a look"
        } else {
            blame.whose.words()
        };
        let place = match (&blame.check, blame.phase) {
            (Some(check), _) => format!("the check \"{check}\" decided"),
            (None, Some(phase)) => format!("it failed in {}", phase.as_str()),
            (None, None) => "the attempt itself failed".to_owned(),
        };
        page.line("", &format!("{words}; {place}"));
    }
    if let Some(kind) = row.exchange.failure.as_ref().map(|failure| failure.kind) {
        page.line("", &format!("{kind} means: {}", meaning(kind)));
    }
    page.out.push('\n');
    page.line("target", &row.target.name);
    if row.target.name != row.target.url {
        page.line("url", &row.target.url);
    }
    let labels: Vec<_> = row.target.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if !labels.is_empty() {
        page.line("labels", &labels.join(" "));
    }
    if attempt.has_pipeline {
        let mut text = format!("{}, generation {}", row.pipeline, row.generation);
        if !attempt.is_listed {
            text.push_str("; the target is none of its own");
        }
        page.line("pipeline", &text);
    }
    if row.in_maintenance {
        let reason = attempt.maintenance_reason.as_ref().map(|reason| format!(": {reason}"));
        page.line("", &format!("in maintenance{}", reason.unwrap_or_default()));
    }
}

/// What a kind means, as the middle of a sentence.
fn meaning(kind: ErrorKind) -> String {
    let meaning = kind.meaning().trim_end_matches('.');
    let mut chars = meaning.chars();
    match chars.next() {
        Some(first) if !meaning.starts_with("HTTP") => first.to_lowercase().chain(chars).collect(),
        _ => meaning.to_owned(),
    }
}

/// Names and addresses.
fn names(attempt: &Attempt, page: &mut Page) {
    let exchange = &attempt.row.exchange;
    match (attempt.host(), exchange.phases.dns) {
        (None, _) => page.line("dns", "none: the URL has an address"),
        (Some(host), None) if exchange.remote_addr.is_some() => {
            page.line("dns", &format!("{host} was not resolved here"));
        }
        (Some(host), took) => {
            let answers = match exchange.dns_answers {
                Some(1) => "1 address".to_owned(),
                Some(answers) => format!("{answers} addresses"),
                None => "no answer".to_owned(),
            };
            let took = took.map(|took| format!(" in {}", ms(took))).unwrap_or_default();
            page.line("dns", &format!("{host}: {answers}{took}"));
        }
    }
    let Some(address) = exchange.remote_addr else { return page.line("connect", "no address was tried") };
    match (exchange.phases.connect, exchange.connection_reused) {
        (Some(took), Some(_)) => page.line("connect", &format!("{address} in {}", ms(took))),
        _ => page.line("connect", &format!("{address} was tried, there is no connection")),
    }
}

/// What the handshake showed.
fn tls(attempt: &Attempt, page: &mut Page) {
    let exchange = &attempt.row.exchange;
    let Some(facts) = &exchange.tls else { return };
    let TlsFacts { version, cipher, alpn, verified, verify_error, cert_sha256, .. } = facts;
    let session = match version {
        Some(version) => {
            let cipher = cipher.as_deref().unwrap_or("unknown cipher");
            let alpn = alpn.as_deref().unwrap_or("none");
            format!("{version}, {cipher}, ALPN {alpn}")
        }
        None => "the handshake did not end".to_owned(),
    };
    let took = exchange.phases.tls.map(|took| format!(" in {}", ms(took))).unwrap_or_default();
    page.line("tls", &format!("{session}{took}"));
    match (verified, verify_error) {
        (Some(true), _) => page.line("", "the certificate is verified"),
        (_, Some(reason)) => page.line("", &format!("the certificate is NOT verified: {reason}")),
        (Some(false), None) => page.line("", "the certificate is NOT verified"),
        (None, None) => {}
    }
    certificate(facts, attempt, page);
    if let Some(digest) = cert_sha256 {
        page.line("", &format!("sha256   {digest}"));
    }
}

fn certificate(facts: &TlsFacts, attempt: &Attempt, page: &mut Page) {
    let texts =
        [("subject", &facts.cert_subject), ("issuer", &facts.cert_issuer), ("names", &facts.cert_names)];
    for (label, text) in texts {
        if let Some(text) = text {
            page.line("", &format!("{label:8} {text}"));
        }
    }
    if let (Some(from), Some(to)) = (facts.cert_not_before, facts.cert_not_after) {
        let until = |unix_s: i64| match attempt.days_until(unix_s) {
            days @ 0.. => format!("{days} days left"),
            days => format!("EXPIRED {} days ago", -days),
        };
        let (begin, end) = (civil(from).unwrap_or_default(), civil(to).unwrap_or_default());
        let early = if from > attempt.row.started_at.seconds() { "NOT YET VALID, " } else { "" };
        page.line("", &format!("valid    {begin} to {end}, {early}{}", until(to)));
        if let Some(chain) = facts.cert_chain_not_after.filter(|chain| *chain != to) {
            page.line("", &format!("chain    ends {}, {}", civil(chain).unwrap_or_default(), until(chain)));
        }
    }
}

/// The head of the first request.
fn request(attempt: &Attempt, page: &mut Page) {
    let sent = if attempt.was_sent() { "" } else { "  (was not sent)" };
    page.line("request", &format!("{} {} HTTP/1.1{sent}", attempt.row.method, attempt.path));
    for (name, value) in &attempt.request_headers {
        page.line("", &format!("{name}: {value}"));
    }
    if let Some(bytes) = attempt.request_body_bytes {
        page.line("", &format!("<{bytes} bytes>"));
    }
}

/// Every request of the attempt, where there were several.
fn hops(hops: &[Hop], page: &mut Page) {
    for (index, Hop { url, status, phases }) in hops.iter().enumerate() {
        let label = if index == 0 { "redirects" } else { "" };
        let status = status.map_or("no answer".to_owned(), |status| status.to_string());
        let named = [
            ("dns", phases.dns),
            ("connect", phases.connect),
            ("tls", phases.tls),
            ("first_byte", phases.first_byte),
            ("transfer", phases.transfer),
        ];
        let named = named.into_iter().filter_map(|(name, time)| Some(format!("{name} {}", ms(time?))));
        let total = phases.total.map(ms).unwrap_or_default();
        page.line(label, &format!("{}. {status} {url}", index + 1));
        page.line("", &format!("   {total}: {}", named.collect::<Vec<_>>().join(", ")));
    }
}

/// The head of the last response, and how its body begins.
fn response(attempt: &Attempt, page: &mut Page) {
    let exchange = &attempt.row.exchange;
    let Some(head) = &exchange.head else { return page.line("response", "none") };
    let reason = http::StatusCode::from_u16(head.status).ok().and_then(|status| status.canonical_reason());
    page.line(
        "response",
        &format!("HTTP/{} {} {}", head.version.as_str(), head.status, reason.unwrap_or_default()),
    );
    for (name, value) in head.headers.iter().take(HEADERS) {
        let value = String::from_utf8_lossy(value.as_bytes());
        let mut shown: String = value.chars().take(HEADER_CHARS).collect();
        if value.chars().nth(HEADER_CHARS).is_some() {
            shown.push('…');
        }
        page.line("", &format!("{name}: {shown}"));
    }
    if head.headers.len() > HEADERS {
        page.line("", &format!("… and {} more headers", head.headers.len() - HEADERS));
    }
    body(attempt, exchange, page);
}

fn body(attempt: &Attempt, exchange: &Exchange, page: &mut Page) {
    let (Some(body), Some(bytes)) = (&attempt.body, exchange.decoded_bytes) else { return };
    let cut = if exchange.body_truncated == Some(true) { ", cut at body_limit" } else { "" };
    let ended = if exchange.failure.is_some() { ", not whole" } else { "" };
    let kind = if body.is_text { format!("text in {}", body.encoding) } else { "no text".to_owned() };
    let kind = if bytes == 0 { String::new() } else { format!(", {kind}") };
    page.line("body", &format!("{bytes} bytes{kind}{cut}{ended}"));
    for line in &body.lines {
        page.line("", &format!("| {line}"));
    }
    if body.has_more {
        page.line("", "| …");
    }
}

/// What each check said.
fn checks(attempt: &Attempt, page: &mut Page) {
    let verdicts = &attempt.row.verdicts;
    if verdicts.is_empty() {
        let why = match attempt.row.exchange.failure {
            Some(_) => "not called: there is no whole response, and none has on_error = true",
            None => "there is none",
        };
        return page.line("checks", why);
    }
    let width = verdicts.iter().map(|verdict| verdict.check_name.len()).max().unwrap_or_default();
    for (index, verdict) in verdicts.iter().enumerate() {
        let Verdict { check_name, status, severity, message, duration, metrics, annotations, .. } = verdict;
        let label = if index == 0 { "checks" } else { "" };
        let word = page.paint(verdict.outcome().as_str(), &format!("{status:5}"));
        let softened = matches!((status, severity), (CheckStatus::Fail, Severity::Warn));
        let softened = if softened { " (severity = \"warn\": it only degrades)" } else { "" };
        let told = harmless(&format!("{check_name:width$}  {:>9}  {message}{softened}", ms(*duration)));
        let _ = writeln!(page.out, "{label:10} {word}  {}", told.trim_end());
        for (name, value) in metrics {
            page.line("", &format!("         {name} = {value}"));
        }
        for (name, value) in annotations {
            page.line("", &format!("         {name}: {value}"));
        }
    }
}

/// What the row would say.
fn row(attempt: &Attempt, page: &mut Page) {
    let row = &attempt.row;
    let mut columns = vec![format!("outcome = '{}'", row.outcome)];
    if let Some(failure) = &row.exchange.failure {
        columns.push(format!("error_kind = '{}'", failure.kind));
    }
    let decides = matches!(row.outcome, Outcome::Down | Outcome::Unknown);
    if let Some(check) = attempt.blame.as_ref().and_then(|blame| blame.check.as_ref()).filter(|_| decides) {
        columns.push(format!("failed_check = '{check}'"));
    }
    if let Some(head) = &row.exchange.head {
        columns.push(format!("http_status = {}", head.status));
    }
    if let Some(total) = row.exchange.phases.total {
        columns.push(format!("total_us = {}", total.as_micros()));
    }
    page.line("row", &columns.join(", "));
    page.line("", &format!("timeout {}; one attempt, nothing was written", format_duration(attempt.timeout)));
}

/// The time of a phase.
fn time_of(exchange: &Exchange, phase: Phase) -> Option<std::time::Duration> {
    let phases = &exchange.phases;
    match phase {
        Phase::Dns => phases.dns,
        Phase::Connect => phases.connect,
        Phase::Tls => phases.tls,
        Phase::FirstByte => phases.first_byte,
        Phase::Transfer => phases.transfer,
    }
}
