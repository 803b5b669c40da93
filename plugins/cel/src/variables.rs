//! The names that a condition may use, filled from an observation.

use std::collections::HashMap;

use cel_rust::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString};
use probity_check::{Observation, Phase};

use super::needs::{Keys, Needs};
use super::value::{self, Item};

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
pub(crate) struct Variables<'v> {
    /// What is not here cannot be used: evaluation fails.
    pub(crate) values: Vec<(&'static str, Item<'v>)>,
    /// Why there are not all of them, and what else is told.
    pub(crate) remarks: Remarks,
}

/// What is told of the variables besides their values.
#[derive(Debug, Default)]
pub(crate) struct Remarks {
    /// The body was longer than the body limit.
    pub(crate) body_cut: bool,
    /// Why there is no `json`.
    pub(crate) no_json: Option<String>,
    /// That there is no response, and so none of its variables.
    pub(crate) no_response: Option<String>,
}

impl<'v> Variables<'v> {
    /// What was seen; only what is used is fetched from the host. `body` is the body's text where
    /// `body` or `json` is used.
    pub(crate) fn observed(seen: &dyn Observation, needs: &Needs, body: &'v str) -> Self {
        let remarks = Remarks { body_cut: seen.body_truncated(), ..Remarks::default() };
        let mut all = Variables { values: Vec::new(), remarks };
        let mut add = |name: &'static str, value: &dyn Fn(&Keys) -> Item<'v>| {
            if let Some(keys) = needs.of(name) {
                all.values.push((name, value(keys)));
            }
        };
        add("url", &|_| text(seen.url()));
        add("method", &|_| text(seen.method()));
        add("target", &|_| text(seen.target()));
        add("labels", &|keys| some_texts(keys, &|name| seen.label(name), &|| seen.labels()));
        add("facts", &|keys| some_texts(keys, &|name| seen.fact(name), &|| seen.facts()));
        add("error", &|_| seen.error().map_or_else(|| Box::new(CelNull) as Item<'v>, text));
        add("truncated", &|_| Box::new(CelBool::from(seen.body_truncated())));
        add("timing", &|keys| {
            let phases = Phase::ALL.into_iter().filter(|phase| keys.has(phase.name()));
            map(phases.filter_map(|phase| {
                let took = seen.timing(phase)?.as_secs_f64();
                Some((phase.name().to_owned(), Box::new(CelDouble::from(took)) as Item<'v>))
            }))
        });
        let Some(status) = seen.status() else {
            let kind = seen.error().unwrap_or_else(|| "no error kind".to_owned());
            all.remarks.no_response = Some(format!("no response ({kind})"));
            return all;
        };
        add("status", &|_| Box::new(CelInt::from(i64::from(status))));
        add("headers", &|keys| some_texts(keys, &|name| seen.header(name), &|| first_values(seen)));
        add("header_values", &|keys| header_values(seen, keys));
        if let Some(keys) = needs.of("json") {
            match value::parse(body, keys) {
                Ok(json) => all.values.push(("json", json)),
                Err(error) => all.remarks.no_json = Some(no_json(&error, body, all.remarks.body_cut)),
            }
        }
        if needs.of("body").is_some() {
            all.values.push(("body", Box::new(CelString::from(body))));
        }
        all
    }

    /// Values of the right types, to try a condition with. There is no `json`: it may be anything.
    pub(crate) fn sample() -> Self {
        let nothing = || map(std::iter::empty());
        let any = || text("x".to_owned());
        let phases = Phase::ALL
            .into_iter()
            .map(|phase| (phase.name().to_owned(), Box::new(CelDouble::from(0.1)) as Item<'v>));
        let values: Vec<(&'static str, Item<'v>)> = vec![
            ("status", Box::new(CelInt::from(200))),
            ("headers", nothing()),
            ("header_values", nothing()),
            ("body", any()),
            ("truncated", Box::new(CelBool::from(false))),
            ("timing", map(phases)),
            ("url", any()),
            ("method", any()),
            ("target", any()),
            ("labels", nothing()),
            ("facts", nothing()),
            ("error", any()),
        ];
        Variables { values, remarks: Remarks::default() }
    }
}

fn text<'v>(text: String) -> Item<'v> {
    Box::new(CelString::from(text))
}

fn map<'v>(entries: impl Iterator<Item = (String, Item<'v>)>) -> Item<'v> {
    let entries = entries.map(|(key, value)| (CelMapKey::from(key), value));
    Box::new(CelMap::from(entries.collect::<HashMap<_, _>>()))
}

/// A map of texts: those that are used, or all.
fn some_texts<'v>(
    keys: &Keys,
    one: &dyn Fn(&str) -> Option<String>,
    all: &dyn Fn() -> Vec<(String, String)>,
) -> Item<'v> {
    match keys {
        Keys::Only(keys) => map(keys.iter().filter_map(|key| Some((key.clone(), text(one(key)?))))),
        Keys::All => map(all().into_iter().map(|(key, value)| (key, text(value)))),
    }
}

/// All headers, the first value of each.
fn first_values(seen: &dyn Observation) -> Vec<(String, String)> {
    // From the last to the first: in a map, the one that comes later stays.
    seen.headers().into_iter().rev().map(|(name, value)| (name, lossy(&value))).collect()
}

fn header_values<'v>(seen: &dyn Observation, keys: &Keys) -> Item<'v> {
    let mut values: HashMap<String, Vec<Item<'v>>> = HashMap::new();
    match keys {
        Keys::Only(keys) => {
            for key in keys {
                let all = seen.header_values(key);
                if !all.is_empty() {
                    values.insert(key.clone(), all.iter().map(|value| text(lossy(value))).collect());
                }
            }
        }
        Keys::All => {
            for (name, value) in seen.headers() {
                values.entry(name).or_default().push(text(lossy(&value)));
            }
        }
    }
    map(values.into_iter().map(|(name, values)| (name, Box::new(CelList::from(values)) as Item<'v>)))
}

fn lossy(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
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
