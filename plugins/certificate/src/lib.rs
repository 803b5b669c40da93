//! Judges the certificate that was presented: how long it and its chain last, whether it was
//! verified, its names, issuer and fingerprint, and the TLS version.
//!
//! The facts survive a failed handshake, so that with `on_error = true` an expired certificate is
//! described and not only missed. The attempt's begin is the only clock.

mod config;
mod names;
mod span;

use probity_check::{Check, Findings, Manifest, Observation, Verdict, excerpt, metric, unix_seconds};

use config::{Certificate, Config, TlsVersion};
use names::Names;
use span::Span;

/// The most characters of a text from the other side in a message.
const SHOWN_CHARS: usize = 200;
/// The error kinds that say what the facts say: why the certificate was not accepted.
const CERTIFICATE_KINDS: [&str; 6] =
    ["tls_expired", "tls_not_yet_valid", "tls_name", "tls_self_signed", "tls_untrusted", "tls_cert"];

/// What was found so far.
#[derive(Debug, Default)]
struct Judged {
    findings: Findings,
    /// What should be judged and is not known: it matters only where nothing is wrong for certain.
    unknown: Vec<String>,
    /// What a verdict without findings says.
    passed: Vec<String>,
}

impl Check for Certificate {
    const MANIFEST: Manifest = Manifest {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        summary: env!("CARGO_PKG_DESCRIPTION"),
        needs_body: false,
    };
    type Config = Config;

    fn configure(config: Config) -> Result<Self, String> {
        Certificate::from_config(config)
    }

    fn run(&self, seen: &dyn Observation) -> Result<Verdict, String> {
        let Some(end) = seen.fact("cert.not-after") else { return self.judge_without(seen) };
        let mut judged = Judged::default();
        self.judge_dates(seen, &end, &mut judged);
        self.judge_trust(seen, &mut judged);
        self.judge_identity(seen, &mut judged);
        self.judge_version(seen, &mut judged);
        let Judged { mut findings, unknown, passed } = judged;
        if !findings.any_failure() && !unknown.is_empty() {
            return Err(unknown.join("; "));
        }
        for message in unknown {
            findings.fail(message);
        }
        Ok(findings.into_verdict(passed.join(", ")))
    }
}

probity_check::export!(Certificate, schema = "schema.json");

impl Certificate {
    /// No certificate: there was no answer, or no TLS. Neither is "0 days left".
    fn judge_without(&self, seen: &dyn Observation) -> Result<Verdict, String> {
        if let Some(kind) = seen.error() {
            return Ok(Verdict::fail(format!("no certificate was seen: no response ({kind})")));
        }
        match (is_plain(seen), self.allow_plain_http) {
            (true, true) => Ok(Verdict::pass("plain http has no certificate")),
            (true, false) => {
                Ok(Verdict::fail("plain http has no certificate; allow_plain_http = true accepts that"))
            }
            (false, _) => Err("the end of the certificate is not known".to_owned()),
        }
    }

    /// Begin and end of the certificate, and the earliest end in its chain.
    fn judge_dates(&self, seen: &dyn Observation, end: &str, judged: &mut Judged) {
        let now = i64::try_from(seen.started_at_ns() / 1_000_000_000).unwrap_or(i64::MAX);
        let begin = seen.fact("cert.not-before");
        if let (Some(begins), Some(begin)) = (begin.as_deref().and_then(unix_seconds), begin)
            && now < begins
        {
            let wait = Span(begins.abs_diff(now));
            judged.findings.fail(format!("certificate begins in {wait} ({begin})"));
        }
        self.judge_end("certificate", now, end, judged);
        match seen.fact("cert.chain-not-after").filter(|_| !self.ignore_chain) {
            // The certificate is the first of its chain to end, and has been judged.
            Some(chain) if chain == end => {
                if let Some(end) = unix_seconds(end) {
                    metric("chain_days_left", days_left(end, now));
                }
            }
            Some(chain) => self.judge_end("chain", now, &chain, judged),
            None => {}
        }
    }

    /// One end: the first of it that holds of "has passed", "is near" and "comes nearer".
    fn judge_end(&self, what: &str, now: i64, date: &str, judged: &mut Judged) {
        let Some(end) = unix_seconds(date) else {
            judged.unknown.push(format!("the end of the {what} is no date: {}", shown(date)));
            return;
        };
        metric(&format!("{what}_days_left"), days_left(end, now));
        let span = Span(end.abs_diff(now));
        // The last second still counts: the end is the last moment at which it is valid.
        if end < now {
            judged.findings.fail(format!("{what} ended {span} ago ({date})"));
        } else if span < self.fail_before {
            judged.findings.fail(format!(
                "{what} ends in {span} ({date}), sooner than fail_before {}",
                self.fail_before
            ));
        } else if span < self.warn_before {
            judged.findings.warn(format!(
                "{what} ends in {span} ({date}), sooner than warn_before {}",
                self.warn_before
            ));
        } else {
            judged.passed.push(format!("{what} ends in {span} ({date})"));
        }
    }

    /// Whether the certificate was accepted, and whether anything else went wrong.
    fn judge_trust(&self, seen: &dyn Observation, judged: &mut Judged) {
        let is_unverified = seen.fact("tls.verified").is_some_and(|verified| verified != "true");
        if is_unverified && !self.allow_unverified {
            let reason = seen.fact("tls.verify-error").unwrap_or_else(|| "no reason is known".to_owned());
            judged.findings.fail(format!("certificate is not verified: {reason}"));
        }
        // Called with `on_error`, this check answers for the failure: only one that is about the
        // certificate is told by what has been judged.
        if let Some(kind) = seen.error()
            && !(is_unverified && CERTIFICATE_KINDS.contains(&kind.as_str()))
        {
            judged.findings.fail(format!("no response ({kind})"));
        }
        // The certificate is one of before the redirect.
        if seen.error().is_none() && is_plain(seen) && !self.allow_plain_http {
            judged.findings.fail("the response came over plain http; allow_plain_http = true accepts that");
        }
    }

    /// Whose certificate it is: names, issuer, fingerprint.
    fn judge_identity(&self, seen: &dyn Observation, judged: &mut Judged) {
        if !self.names.is_empty() {
            let fact = seen.fact("cert.names").unwrap_or_default();
            let names = Names::parse(&fact);
            for wanted in self.names.iter().filter(|wanted| !names.cover(wanted)) {
                let message = format!("certificate is not for {}, but for {}", shown(wanted), shown(&fact));
                if names.is_cut { judged.unknown.push(message) } else { judged.findings.fail(message) }
            }
        }
        if !self.issuers.is_empty() {
            let issuer = seen.fact("cert.issuer").unwrap_or_default();
            if !self.issuers.iter().any(|wanted| issuer.contains(wanted.as_str())) {
                let wanted: Vec<String> = self.issuers.iter().map(|wanted| shown(wanted)).collect();
                judged.findings.fail(format!(
                    "issuer does not contain {}: {}",
                    wanted.join(" or "),
                    shown(&issuer)
                ));
            }
        }
        if !self.sha256.is_empty() {
            let fingerprint = seen.fact("cert.sha256").unwrap_or_default();
            if !self.sha256.contains(&fingerprint) {
                judged.findings.fail(format!("fingerprint is not in sha256: {}", shown(&fingerprint)));
            }
        }
    }

    fn judge_version(&self, seen: &dyn Observation, judged: &mut Judged) {
        let Some(oldest) = self.min_version else { return };
        match seen.fact("tls.version") {
            Some(version) if TlsVersion::from_name(&version).is_some_and(|version| version >= oldest) => {}
            Some(version) => {
                judged
                    .findings
                    .fail(format!("tls version is {version}, older than min_version {}", oldest.name()));
            }
            None => judged.unknown.push("the tls version is not known".to_owned()),
        }
    }
}

/// Days from one second to another, with a fraction; negative where the end has passed.
fn days_left(end: i64, now: i64) -> f64 {
    let days = Span(end.abs_diff(now)).as_days();
    if end < now { -days } else { days }
}

/// Whether the response came, at last, without TLS.
fn is_plain(seen: &dyn Observation) -> bool {
    seen.url().get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"))
}

/// A text from the other side or from the configuration, for a message.
fn shown(text: &str) -> String {
    excerpt(text.as_bytes(), SHOWN_CHARS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn cases() {
        probity_check::cases::run::<Certificate>(include_str!("../cases.toml")).unwrap();
    }
}
