//! Judges response headers by a list of rules, each about one header name.
//!
//! A header may have several values. What is asked for (`equals`, `contains`, `matches`) must hold
//! for at least one of them; what is forbidden (`not_...`) must hold for none.

use std::fmt::Write as _;

use memchr::memmem;
use probity_check::{
    Check, Findings, JsonSchema, Manifest, Observation, Pattern, Verdict, excerpt, schemars,
};
use serde::Deserialize;

/// The most characters of one value, and the most values, in a message.
const SHOWN_CHARS: usize = 80;
const SHOWN_VALUES: usize = 4;

/// Rules about response headers, all of which must hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["require"]))]
pub struct Config {
    /// The rules.
    #[schemars(length(min = 1))]
    require: Vec<Rule>,
}

/// What one header must be; of several values, one must be as asked for, and none as forbidden. A name
/// alone asks for the header to be there.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "rule", extend("required" = ["name"]))]
struct Rule {
    /// The header's name, in any case.
    #[schemars(regex(pattern = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"))]
    name: String,
    /// A value is exactly this.
    equals: Option<String>,
    /// No value is exactly this.
    not_equals: Option<String>,
    /// A value contains this.
    #[schemars(length(min = 1))]
    contains: Option<String>,
    /// No value contains this.
    #[schemars(length(min = 1))]
    not_contains: Option<String>,
    /// A value matches this regular expression.
    matches: Option<Pattern>,
    /// No value matches this regular expression.
    not_matches: Option<Pattern>,
    /// The header is not there at all.
    absent: bool,
    /// The rule holds where the header is missing; an empty value is not missing.
    allow_missing: bool,
}

/// The check, configured.
#[derive(Debug)]
pub struct Header {
    rules: Vec<Rule>,
}

impl Check for Header {
    const MANIFEST: Manifest = Manifest {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        summary: env!("CARGO_PKG_DESCRIPTION"),
        needs_body: false,
    };
    type Config = Config;

    fn configure(config: Config) -> Result<Self, String> {
        let Config { require } = config;
        if require.is_empty() {
            return Err(
                "nothing to judge: set \"require\" to a list like [{ name = \"content-type\" }]".to_owned()
            );
        }
        for (index, rule) in require.iter().enumerate() {
            rule.validate().map_err(|problem| format!("require[{index}]: {problem}"))?;
        }
        Ok(Header { rules: require })
    }

    fn run(&self, seen: &dyn Observation) -> Result<Verdict, String> {
        if seen.status().is_none() {
            let kind = seen.error().unwrap_or_else(|| "no error kind".to_owned());
            return Ok(Verdict::fail(format!("no response ({kind})")));
        }
        let mut findings = Findings::new();
        for rule in &self.rules {
            rule.judge(&seen.header_values(&rule.name), &mut findings);
        }
        let rules = self.rules.len();
        let plural = if rules == 1 { "rule holds" } else { "rules hold" };
        Ok(findings.into_verdict(format!("{rules} header {plural}")))
    }
}

#[cfg(not(feature = "member"))]
probity_check::export!(Header, schema = "schema.json");

impl Rule {
    /// Refuses a rule that nobody can mean.
    fn validate(&self) -> Result<(), String> {
        let Rule {
            name,
            equals,
            not_equals,
            contains,
            not_contains,
            matches,
            not_matches,
            absent,
            allow_missing,
        } = self;
        if name.is_empty() {
            return Err("a rule needs the \"name\" of a header".to_owned());
        }
        if !name.bytes().all(is_token) {
            return Err(format!("name: \"{name}\" is not the name of a header"));
        }
        for (key, text) in [("contains", contains), ("not_contains", not_contains)] {
            if text.as_deref() == Some("") {
                return Err(format!("{key}: every value contains an empty text"));
            }
        }
        let texts = [equals, not_equals, contains, not_contains].into_iter().flatten().count();
        let patterns = [matches, not_matches].into_iter().flatten().count();
        let assertions = texts + patterns;
        match (*absent, *allow_missing) {
            (true, true) => Err("\"absent\" and \"allow_missing\" exclude each other".to_owned()),
            (true, false) if assertions > 0 => Err("\"absent\" excludes every other assertion".to_owned()),
            (false, true) if assertions == 0 => {
                Err("\"allow_missing\" alone asks for nothing: add an assertion".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Adds what does not hold for these values of the header.
    fn judge(&self, values: &[Vec<u8>], findings: &mut Findings) {
        let name = self.name.to_ascii_lowercase();
        if values.is_empty() {
            if !self.absent && !self.allow_missing {
                findings.fail(format!("header {name} is missing"));
            }
            return;
        }
        if self.absent {
            findings.fail(format!("header {name} is there: {}", shown(values)));
        }
        let mut assert = |asked: bool, holds: &dyn Fn(&[u8]) -> bool, complaint: String| {
            if values.iter().any(|value| holds(value)) != asked {
                findings.fail(format!("header {name} {complaint}: {}", shown(values)));
            }
        };
        if let Some(text) = &self.equals {
            assert(true, &|value| value == text.as_bytes(), format!("is not {}", quoted(text)));
        }
        if let Some(text) = &self.not_equals {
            assert(false, &|value| value == text.as_bytes(), format!("is {}", quoted(text)));
        }
        if let Some(text) = &self.contains {
            assert(true, &|value| contains(value, text), format!("does not contain {}", quoted(text)));
        }
        if let Some(text) = &self.not_contains {
            assert(false, &|value| contains(value, text), format!("contains {}", quoted(text)));
        }
        if let Some(pattern) = &self.matches {
            assert(
                true,
                &|value| pattern.is_match(value),
                format!("does not match {}", quoted(pattern.as_str())),
            );
        }
        if let Some(pattern) = &self.not_matches {
            assert(false, &|value| pattern.is_match(value), format!("matches {}", quoted(pattern.as_str())));
        }
    }
}

/// Whether a byte may stand in a header's name (RFC 9110, "token").
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn contains(value: &[u8], text: &str) -> bool {
    memmem::find(value, text.as_bytes()).is_some()
}

fn quoted(text: &str) -> String {
    excerpt(text.as_bytes(), SHOWN_CHARS)
}

/// The values that were seen, for a message.
fn shown(values: &[Vec<u8>]) -> String {
    let first: Vec<String> =
        values.iter().take(SHOWN_VALUES).map(|value| excerpt(value, SHOWN_CHARS)).collect();
    let mut all = first.join(", ");
    if let Some(more) = values.len().checked_sub(SHOWN_VALUES).filter(|more| *more > 0) {
        // Writing to a string cannot fail.
        let _ = write!(all, " and {more} more");
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use probity_check::TestObservation;

    use super::*;

    #[test]
    fn cases() {
        probity_check::cases::run::<Header>(include_str!("../cases.toml")).unwrap();
    }

    #[test]
    fn a_message_shows_a_few_values_of_many() {
        let rule = Rule { name: "Set-Cookie".to_owned(), absent: true, ..Rule::default() };
        let mut seen = TestObservation::new().status(200);
        for cookie in 0..9 {
            seen = seen.header("set-cookie", format!("c={cookie}"));
        }
        let verdict = Header { rules: vec![rule] }.run(&seen).unwrap();
        assert_eq!(verdict.message, r#"header set-cookie is there: "c=0", "c=1", "c=2", "c=3" and 5 more"#);
    }
}
