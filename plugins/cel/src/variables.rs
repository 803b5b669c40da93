//! The names that a condition may use, filled from an observation.

use std::collections::HashMap;

use cel_rust::Value;
use probity_check::{Observation, Phase};

use super::value::{self, Json};

/// Every name; a condition with another one is refused.
pub(crate) const NAMES: [&str; 13] = [
    "status",
    "headers",
    "header_values",
    "body",
    "json",
    "truncated",
    "timing",
    "url",
    "method",
    "target",
    "labels",
    "facts",
    "error",
];

/// The names with their values, for one response.
pub(crate) struct Variables {
    /// What is not here cannot be used: evaluation fails.
    pub(crate) values: Vec<(&'static str, Value)>,
    /// The body was longer than the body limit.
    pub(crate) body_cut: bool,
    /// Why there is no `json`.
    pub(crate) no_json: Option<String>,
    /// That there is no response, and so none of its variables.
    pub(crate) no_response: Option<String>,
}

impl Variables {
    /// What was seen; only what is `named` is fetched from the host.
    pub(crate) fn observed(seen: &dyn Observation, named: &dyn Fn(&str) -> bool) -> Self {
        let mut all = Variables {
            values: Vec::new(),
            body_cut: seen.body_truncated(),
            no_json: None,
            no_response: None,
        };
        let mut add = |name: &'static str, value: &dyn Fn() -> Value| {
            if named(name) {
                all.values.push((name, value()));
            }
        };
        add("url", &|| seen.url().into());
        add("method", &|| seen.method().into());
        add("target", &|| seen.target().into());
        add("labels", &|| texts(seen.labels()));
        add("facts", &|| texts(seen.facts()));
        add("error", &|| seen.error().into());
        add("truncated", &|| seen.body_truncated().into());
        add("timing", &|| {
            let took = |phase: Phase| Some((phase.name(), seen.timing(phase)?.as_secs_f64()));
            Phase::ALL.into_iter().filter_map(took).collect::<HashMap<_, f64>>().into()
        });
        let Some(status) = seen.status() else {
            let kind = seen.error().unwrap_or_else(|| "no error kind".to_owned());
            all.no_response = Some(format!("no response ({kind})"));
            return all;
        };
        add("status", &|| i64::from(status).into());
        // From the last to the first: the first value of a name is the one that stays.
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        add("headers", &|| {
            texts(seen.headers().iter().rev().map(|(name, value)| (name.clone(), text(value))).collect())
        });
        add("header_values", &|| {
            let mut values: HashMap<String, Vec<String>> = HashMap::new();
            for (name, value) in seen.headers() {
                values.entry(name).or_default().push(text(&value));
            }
            values.into()
        });
        if named("body") || named("json") {
            let body = seen.body_text();
            if named("json") {
                match value::parse(&body) {
                    Ok(Json(json)) => all.values.push(("json", json)),
                    Err(error) => all.no_json = Some(no_json(&error, &body, seen.body_truncated())),
                }
            }
            if named("body") {
                all.values.push(("body", body.into()));
            }
        }
        all
    }

    /// Values of the right types, to try a condition with. There is no `json`: it may be anything.
    pub(crate) fn sample() -> Self {
        let nothing = || texts(Vec::new());
        let text = || Value::from("x");
        let phases: HashMap<_, f64> = Phase::ALL.into_iter().map(|phase| (phase.name(), 0.1)).collect();
        let values = vec![
            ("status", 200_i64.into()),
            ("headers", nothing()),
            ("header_values", nothing()),
            ("body", text()),
            ("truncated", false.into()),
            ("timing", phases.into()),
            ("url", text()),
            ("method", text()),
            ("target", text()),
            ("labels", nothing()),
            ("facts", nothing()),
            ("error", text()),
        ];
        Variables { values, body_cut: false, no_json: None, no_response: None }
    }
}

fn texts(pairs: Vec<(String, String)>) -> Value {
    pairs.into_iter().collect::<HashMap<_, _>>().into()
}

/// Why the body cannot be read as JSON.
fn no_json(error: &serde_json::Error, body: &str, truncated: bool) -> String {
    // It quotes with backticks.
    let error = error.to_string().replace('`', "\"");
    match (body.is_empty(), truncated) {
        (true, false) => "body is empty, not JSON".to_owned(),
        (false, false) => format!("body is not JSON: {error}"),
        (_, true) => {
            let bytes = body.len();
            format!("body was cut after {bytes} bytes by body_limit, and is not JSON: {error}")
        }
    }
}
