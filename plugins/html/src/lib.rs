//! Judges an HTML page: its title, which elements are there and how many, their text, mixed content.
//!
//! The page is read as browsers read broken ones too, in one pass and in bounded memory: there is no
//! tree. Every assertion is judged, and every one that failed is told.

mod config;
mod mixed;
mod page;
mod selector;
mod watch;

use probity_check::{Check, Findings, Manifest, Observation, Verdict, metric};

use config::{Config, Html, Purpose, Severity};
use page::Page;
use watch::{Note, Watch};

impl Check for Html {
    const MANIFEST: Manifest = Manifest {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        summary: env!("CARGO_PKG_DESCRIPTION"),
        needs_body: true,
    };
    type Config = Config;

    fn configure(config: Config) -> Result<Self, String> {
        Html::from_config(config)
    }

    fn run(&self, seen: &dyn Observation) -> Result<Verdict, String> {
        if seen.status().is_none() {
            let kind = seen.error().unwrap_or_else(|| "no error kind".to_owned());
            return Ok(Verdict::fail(format!("no response ({kind})")));
        }
        let text = seen.body_text();
        let page = Page::read(&text, &self.watches);
        let mut findings = Findings::new();
        let judged = self.watches.iter().zip(&self.purposes).zip(&page.notes);
        for ((watch, purpose), note) in judged {
            judge(watch, purpose, note, &mut findings);
        }
        if let Some(severity) = self.mixed_content {
            judge_mixed(seen, &page, severity, &mut findings);
        }
        if findings.any_failure() && page.is_exhausted {
            findings.fail("not all texts were compared: they are too long together");
        }
        if findings.any_failure() && seen.body_truncated() {
            findings.fail(format!("the body was cut at {} bytes by body_limit", seen.body_len()));
        }
        let assertions = self.watches.len() + usize::from(self.mixed_content.is_some());
        let plural = if assertions == 1 { "assertion holds" } else { "assertions hold" };
        Ok(findings.into_verdict(format!("{assertions} html {plural}")))
    }
}

probity_check::export!(Html, schema = "schema.json");

/// Judges one watch.
#[allow(clippy::cast_precision_loss, reason = "a page has no 2^53 elements")]
fn judge(watch: &Watch, purpose: &Purpose, note: &Note, findings: &mut Findings) {
    let (selector, count) = (&watch.selector, note.count);
    let elements =
        if count == 1 { "1 element matches".to_owned() } else { format!("{count} elements match") };
    match purpose {
        Purpose::Present if count == 0 => findings.fail(format!("no element matches {selector}")),
        Purpose::Absent if count > 0 => {
            let first = note.first.as_deref().unwrap_or_default();
            findings.fail(format!("{elements} {selector}: {first}"));
        }
        Purpose::Present | Purpose::Absent => {}
        Purpose::Text => judge_text(watch, note, findings),
        Purpose::Count { min, max, metric: name } => {
            if let Some(name) = name {
                metric(name, count as f64);
            }
            if let Some(min) = min.filter(|min| count < *min) {
                findings.fail(format!("{elements} {selector}, fewer than min {min}"));
            }
            if let Some(max) = max.filter(|max| count > *max) {
                findings.fail(format!("{elements} {selector}, more than max {max}"));
            }
        }
    }
}

/// Judges the texts of the elements that match: one of them must be as wanted.
fn judge_text(watch: &Watch, note: &Note, findings: &mut Findings) {
    if note.is_satisfied {
        return;
    }
    let what = if watch.is_title { "title".to_owned() } else { format!("text of {}", watch.selector) };
    let Some((misses, text)) = &note.misses else {
        let missing = || format!("no element matches {}", watch.selector);
        findings.fail(if watch.is_title { "title is missing".to_owned() } else { missing() });
        return;
    };
    let others = match note.count {
        0 | 1 => String::new(),
        count => format!(" (the first of {count})"),
    };
    for miss in misses {
        findings.fail(format!("{what} {miss}: {text}{others}"));
    }
}

/// Judges what a page that came with TLS loads without it.
fn judge_mixed(seen: &dyn Observation, page: &Page<'_>, severity: Severity, findings: &mut Findings) {
    let is_tls = seen.url().get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
    // With this the browser asks by https:// whatever the page says.
    let upgrades = seen.header_values("content-security-policy").iter().any(|value| {
        memchr::memmem::find(&value.to_ascii_lowercase(), b"upgrade-insecure-requests").is_some()
    });
    let Some(first) = page.mixed.first.as_ref().filter(|_| is_tls && !upgrades) else { return };
    let message = match page.mixed.count {
        1 => format!("mixed content: {first}"),
        count => format!("mixed content: {count} times, the first is {first}"),
    };
    match severity {
        Severity::Warn => findings.warn(message),
        Severity::Fail => findings.fail(message),
    }
}

#[cfg(test)]
mod tests;
