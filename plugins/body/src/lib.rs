//! Judges the response body: texts and regular expressions that it must or must not contain.
//!
//! The body is searched as bytes, so that invalid UTF-8 is no obstacle. Every assertion is judged,
//! and every one that failed is told.

use memchr::memmem;
use probity_check::schema::each_text;
use probity_check::{
    Check, Findings, JsonSchema, Manifest, Observation, OneOrMany, Pattern, Verdict, excerpt, schemars,
};
use serde::Deserialize;

/// The most characters of a text, of a match and of the body's begin in a message.
const SHOWN_CHARS: usize = 80;

/// Texts and regular expressions that the response body must or must not contain. At least one assertion
/// is needed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("minProperties" = 1))]
pub struct Config {
    /// Texts that must all be there.
    #[schemars(transform = each_text("minLength", 1))]
    contains: OneOrMany<String>,
    /// Texts of which none may be there.
    #[schemars(transform = each_text("minLength", 1))]
    not_contains: OneOrMany<String>,
    /// Regular expressions that must all match.
    matches: OneOrMany<Pattern>,
    /// Regular expressions of which none may match.
    not_matches: OneOrMany<Pattern>,
}

/// The check, configured.
#[derive(Debug)]
pub struct Body {
    contains: Vec<String>,
    not_contains: Vec<String>,
    matches: Vec<Pattern>,
    not_matches: Vec<Pattern>,
}

impl Check for Body {
    const MANIFEST: Manifest = Manifest {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        summary: env!("CARGO_PKG_DESCRIPTION"),
        needs_body: true,
    };
    type Config = Config;

    fn configure(config: Config) -> Result<Self, String> {
        let Config {
            contains: OneOrMany(contains),
            not_contains: OneOrMany(not_contains),
            matches: OneOrMany(matches),
            not_matches: OneOrMany(not_matches),
        } = config;
        for (key, texts) in [("contains", &contains), ("not_contains", &not_contains)] {
            if texts.iter().any(String::is_empty) {
                return Err(format!("{key}: every body contains an empty text"));
            }
        }
        for (key, patterns) in [("matches", &matches), ("not_matches", &not_matches)] {
            if patterns.iter().any(|pattern| pattern.as_str().is_empty()) {
                return Err(format!("{key}: every body matches an empty expression"));
            }
        }
        let body = Body { contains, not_contains, matches, not_matches };
        if body.assertions() == 0 {
            return Err(
                "nothing to judge: set \"contains\", \"not_contains\", \"matches\" or \"not_matches\""
                    .to_owned(),
            );
        }
        Ok(body)
    }

    fn run(&self, seen: &dyn Observation) -> Result<Verdict, String> {
        if seen.status().is_none() {
            let kind = seen.error().unwrap_or_else(|| "no error kind".to_owned());
            return Ok(Verdict::fail(format!("no response ({kind})")));
        }
        let body = seen.body();
        let mut findings = Findings::new();
        self.judge_presence(&body, &mut findings);
        if findings.any_failure() {
            // What was there instead, once for all assertions.
            findings.fail(begin(&body, seen.body_truncated()));
        }
        self.judge_absence(&body, &mut findings);
        let assertions = self.assertions();
        let plural = if assertions == 1 { "assertion holds" } else { "assertions hold" };
        Ok(findings.into_verdict(format!("{assertions} body {plural}")))
    }
}

#[cfg(not(feature = "member"))]
probity_check::export!(Body, schema = "schema.json");

impl Body {
    /// How many assertions there are.
    fn assertions(&self) -> usize {
        let Body { contains, not_contains, matches, not_matches } = self;
        contains.len() + not_contains.len() + matches.len() + not_matches.len()
    }

    /// Adds every text and expression that should be there and is not.
    fn judge_presence(&self, body: &[u8], findings: &mut Findings) {
        for text in &self.contains {
            if memmem::find(body, text.as_bytes()).is_none() {
                findings.fail(format!("body does not contain {}", quoted(text)));
            }
        }
        for pattern in &self.matches {
            if !pattern.is_match(body) {
                findings.fail(format!("body does not match {}", quoted(pattern.as_str())));
            }
        }
    }

    /// Adds every text and expression that should not be there and is.
    fn judge_absence(&self, body: &[u8], findings: &mut Findings) {
        for text in &self.not_contains {
            if let Some(at) = memmem::find(body, text.as_bytes()) {
                findings.fail(format!("body contains {} at byte {at}", quoted(text)));
            }
        }
        for pattern in &self.not_matches {
            if let Some((at, found)) = pattern.find(body) {
                let (wanted, found) = (quoted(pattern.as_str()), excerpt(found, SHOWN_CHARS));
                findings.fail(format!("body matches {wanted} at byte {at}: {found}"));
            }
        }
    }
}

fn quoted(text: &str) -> String {
    excerpt(text.as_bytes(), SHOWN_CHARS)
}

/// What the body is, for a message.
fn begin(body: &[u8], truncated: bool) -> String {
    let bytes = body.len();
    let cut = if truncated { " (cut there by body_limit, there was more)" } else { "" };
    match bytes {
        0 => format!("body is empty{cut}"),
        _ => format!("body of {bytes} bytes{cut} begins {}", excerpt(body, SHOWN_CHARS)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use probity_check::{MESSAGE_BYTES, Status, TestObservation};

    use super::*;

    #[test]
    fn cases() {
        probity_check::cases::run::<Body>(include_str!("../cases.toml")).unwrap();
    }

    #[test]
    fn many_failures_stay_one_bounded_line() {
        let contains = (0..100).map(|index| format!("line\n{index}")).collect();
        let config = Config { contains: OneOrMany(contains), ..Config::default() };
        let verdict = Body::configure(config).unwrap().run(&TestObservation::new().status(200)).unwrap();
        assert_eq!(verdict.status, Status::Fail);
        assert!(
            verdict.message.len() <= MESSAGE_BYTES && !verdict.message.contains('\n'),
            "{}",
            verdict.message
        );
        assert!(
            verdict.message.starts_with(r#"body does not contain "line\n0"; body"#),
            "{}",
            verdict.message
        );
    }
}
