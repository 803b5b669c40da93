//! Judges conditions written in CEL, the Common Expression Language.
//!
//! Each condition must be true. One that is false fails, with the values of what it names; one that
//! cannot be evaluated (a key that is not there) could not be judged, and is never false by silence.

mod condition;
mod value;
mod variables;

use std::sync::Arc;

use cel_rust::ExecutionError;
use probity_check::{Check, Findings, JsonSchema, Manifest, Observation, OneOrMany, Verdict, schemars};
use serde::Deserialize;

use condition::{Condition, Judgement, Patterns, context};
use variables::Variables;

/// Conditions in CEL, the Common Expression Language, all of which must be true.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["conditions"]))]
struct Config {
    /// The conditions, over `status`, `headers`, `header_values`, `body`, `json`, `truncated`, `timing`
    /// (seconds), `url`, `method`, `target`, `labels`, `facts` and `error`.
    #[schemars(extend("minItems" = 1))]
    conditions: OneOrMany<Condition>,
}

/// The check, configured.
#[derive(Debug)]
struct Cel {
    conditions: Vec<Condition>,
    /// The regular expressions of all conditions.
    patterns: Arc<Patterns>,
}

impl Check for Cel {
    const MANIFEST: Manifest = Manifest {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        summary: env!("CARGO_PKG_DESCRIPTION"),
        needs_body: true,
    };
    type Config = Config;

    fn configure(config: Config) -> Result<Self, String> {
        let Config { conditions: OneOrMany(conditions) } = config;
        if conditions.is_empty() {
            return Err("nothing to judge: set \"conditions\" to a list like [\"status == 200\"]".to_owned());
        }
        let mut patterns = Patterns::new();
        for condition in &conditions {
            patterns.extend(condition.patterns.clone());
        }
        Ok(Cel { conditions, patterns: Arc::new(patterns) })
    }

    fn run(&self, seen: &dyn Observation) -> Result<Verdict, String> {
        let named = |name: &str| self.conditions.iter().any(|condition| condition.names(name));
        let variables = Variables::observed(seen, &named);
        let context = context(&variables, &self.patterns);
        let mut findings = Findings::new();
        let mut unjudged = Vec::new();
        for condition in &self.conditions {
            match condition.judge(&context, &variables) {
                Judgement::True => {}
                Judgement::False(told) => findings.fail(told),
                Judgement::Error(error) => match (&error, &variables.no_response) {
                    // Without a response there is nothing that could hold.
                    (ExecutionError::UndeclaredReference(_), Some(told)) => findings.fail(told.clone()),
                    _ => unjudged.push(condition.unjudged(&error, &variables)),
                },
            }
        }
        if findings.is_empty() && !unjudged.is_empty() {
            return Err(unjudged.join("; "));
        }
        for told in unjudged {
            findings.fail(told);
        }
        let conditions = self.conditions.len();
        let plural = if conditions == 1 { "condition holds" } else { "conditions hold" };
        Ok(findings.into_verdict(format!("{conditions} {plural}")))
    }
}

probity_check::export!(Cel, schema = "schema.json");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use probity_check::{MESSAGE_BYTES, Status, TestObservation, parse_config};

    use super::*;

    #[test]
    fn cases() {
        probity_check::cases::run::<Cel>(include_str!("../cases.toml")).unwrap();
    }

    #[test]
    fn what_is_told_stays_bounded() {
        let config = parse_config(r#"{"conditions":["json == 1","body == 'x'","headers == {}"]}"#).unwrap();
        let body = format!("[{}0]", "0,".repeat(100_000));
        let seen = TestObservation::new().status(200).header("x-long", "x".repeat(9999)).body(body);
        let verdict = Cel::configure(config).unwrap().run(&seen).unwrap();
        assert_eq!(verdict.status, Status::Fail);
        let parts: Vec<&str> = verdict.message.split("; ").collect();
        assert_eq!(parts.len(), 3, "{}", verdict.message);
        assert!(parts.iter().all(|part| part.len() < 200), "{}", verdict.message);
        assert!(verdict.message.len() < MESSAGE_BYTES, "{}", verdict.message);
    }
}
