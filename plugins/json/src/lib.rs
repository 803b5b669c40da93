//! Judges values inside a JSON body, each found by its JSON pointer.
//!
//! Comparisons know types: a text is never a number, integers and floats compare exactly, and what
//! is missing fails every assertion. Every assertion is judged, and every one that failed is told.

mod select;
mod value;

use std::cmp::Ordering;

use probity_check::{
    Check, Findings, JsonSchema, Manifest, Observation, OneOrMany, Pattern, Verdict, excerpt, metric,
    schemars,
};
use serde::Deserialize;
use serde_json::{Number, Value};

use select::{Pointer, Selected, not_json, select};
use value::{Kind, compare, equal, list_kinds, number, shown};

/// The most characters of a text and of the body's begin in a message.
const SHOWN_CHARS: usize = 80;

/// Assertions about values inside a JSON body, all of which must hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["assert"]))]
struct Config {
    /// The assertions.
    #[schemars(length(min = 1))]
    assert: Vec<Assertion>,
}

/// What one value must be. A path alone asks for the value to be there; a missing value fails every
/// assertion.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "assertion")]
struct Assertion {
    /// A JSON pointer (RFC 6901): `/items/0/price`; empty for the whole body.
    path: Pointer,
    /// It is exactly this, in type and value; `1` and `1.0` are one number.
    equals: Option<Value>,
    /// It is not this.
    not_equals: Option<Value>,
    /// It is a number greater than this.
    greater: Option<Number>,
    /// It is a number, this or greater.
    at_least: Option<Number>,
    /// It is a number less than this.
    less: Option<Number>,
    /// It is a number, this or less.
    at_most: Option<Number>,
    /// A string contains this string, an array this value, an object this key.
    contains: Option<Value>,
    /// It is a string that matches this regular expression.
    matches: Option<Pattern>,
    /// It is of one of these types.
    #[serde(default, rename = "type")]
    kinds: OneOrMany<Kind>,
    /// It is there, be it null; a path alone says the same.
    #[schemars(extend("const" = true))]
    exists: Option<bool>,
    /// It is not there, not even as null.
    #[schemars(extend("const" = true))]
    absent: Option<bool>,
    /// The assertion holds where the value is missing; null is not missing.
    #[serde(default)]
    allow_missing: bool,
    /// It is a number, reported as the metric of this name. The unit is in the name: `queue_age_seconds`.
    #[schemars(regex(pattern = r"\S"))]
    metric: Option<String>,
}

/// Whether a bound holds for the order of the value and the bound.
type Holds = fn(Ordering) -> bool;

/// A bound: in words, the number, and when it holds.
type Bound<'a> = (&'static str, &'a Number, Holds);

/// The check, configured.
#[derive(Debug)]
struct Json {
    assertions: Vec<Assertion>,
}

impl Check for Json {
    const MANIFEST: Manifest = Manifest {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        summary: env!("CARGO_PKG_DESCRIPTION"),
        needs_body: true,
    };
    type Config = Config;

    fn configure(config: Config) -> Result<Self, String> {
        let Config { assert: assertions } = config;
        if assertions.is_empty() {
            return Err("nothing to judge: set \"assert\" to a list like [{ path = \"/status\", equals = \
                        \"ok\" }]"
                .to_owned());
        }
        for (index, assertion) in assertions.iter().enumerate() {
            let refused = |problem: String| format!("assert[{index}].{problem}");
            assertion.validate().map_err(refused)?;
            if let Some(name) = &assertion.metric
                && let Some(first) = assertions[..index].iter().position(|a| a.metric.as_ref() == Some(name))
            {
                return Err(refused(format!("metric: \"{name}\" is the metric of assert[{first}]")));
            }
            // One search builds what an expression builds lazily. The runner keeps a picture of the
            // check taken after this, so that no attempt pays for it.
            if let Some(pattern) = &assertion.matches {
                pattern.find(b"\n");
            }
        }
        Ok(Json { assertions })
    }

    fn run(&self, seen: &dyn Observation) -> Result<Verdict, String> {
        if seen.status().is_none() {
            let kind = seen.error().unwrap_or_else(|| "no error kind".to_owned());
            return Ok(Verdict::fail(format!("no response ({kind})")));
        }
        let text = seen.body_text();
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let pointers: Vec<&Pointer> = self.assertions.iter().map(|assertion| &assertion.path).collect();
        let found = match select(text, &pointers) {
            Ok(found) => found,
            // What is missing is behind our own limit: nobody can tell whether it is right.
            Err(error) if error.is_eof() && seen.body_truncated() => {
                let bytes = seen.body_len();
                return Err(format!(
                    "body was cut after {bytes} bytes, before its JSON ended: raise body_limit"
                ));
            }
            Err(error) => return Ok(Verdict::fail(not_json(text, &error, seen.body_truncated()))),
        };
        let mut findings = Findings::new();
        for (assertion, selected) in self.assertions.iter().zip(&found) {
            assertion.judge(selected, &mut findings);
        }
        let assertions = self.assertions.len();
        let plural = if assertions == 1 { "assertion holds" } else { "assertions hold" };
        Ok(findings.into_verdict(format!("{assertions} json {plural}")))
    }
}

probity_check::export!(Json, schema = "schema.json");

impl Assertion {
    /// Refuses an assertion that nobody can mean. The error begins with the key.
    fn validate(&self) -> Result<(), String> {
        for (key, asked) in [("exists", self.exists), ("absent", self.absent)] {
            if asked == Some(false) {
                let other = if key == "exists" { "absent" } else { "exists" };
                return Err(format!("{key}: false is not clear: leave it out, or write {other} = true"));
            }
        }
        let numbers = self.bounds().len();
        let texts = usize::from(self.contains.is_some()) + usize::from(self.matches.is_some());
        let equalities = usize::from(self.equals.is_some()) + usize::from(self.not_equals.is_some());
        let others = usize::from(!self.kinds.0.is_empty()) + usize::from(self.metric.is_some());
        let about_value = numbers + texts + equalities + others;
        if self.absent.is_some() && (about_value > 0 || self.exists.is_some() || self.allow_missing) {
            return Err("absent: it excludes every other key but \"path\"".to_owned());
        }
        if self.allow_missing && self.exists.is_some() {
            return Err("allow_missing: it and \"exists\" exclude each other".to_owned());
        }
        if self.allow_missing && about_value == 0 {
            return Err("allow_missing: alone it asks for nothing: add an assertion".to_owned());
        }
        if self.equals.is_some() && about_value > 1 + usize::from(self.metric.is_some()) {
            return Err("equals: it leaves nothing to the other assertions: remove them".to_owned());
        }
        if self.contains.as_ref().and_then(Value::as_str) == Some("") {
            return Err("contains: every text contains an empty text".to_owned());
        }
        if self.matches.as_ref().is_some_and(|pattern| pattern.as_str().is_empty()) {
            return Err("matches: every text matches an empty expression".to_owned());
        }
        if self.metric.as_ref().is_some_and(|name| name.trim().is_empty()) {
            return Err("metric: the name is empty".to_owned());
        }
        self.validate_range()
    }

    /// Refuses two bounds on one side, and bounds with no number between them.
    fn validate_range(&self) -> Result<(), String> {
        for (one, other, both) in [
            ("greater", "at_least", self.greater.is_some() && self.at_least.is_some()),
            ("less", "at_most", self.less.is_some() && self.at_most.is_some()),
        ] {
            if both {
                return Err(format!("{one}: it and \"{other}\" exclude each other"));
            }
        }
        let low = self.greater.as_ref().or(self.at_least.as_ref());
        let high = self.less.as_ref().or(self.at_most.as_ref());
        let (Some(low), Some(high)) = (low, high) else { return Ok(()) };
        let holds_one = match compare(low, high) {
            Ordering::Less => true,
            Ordering::Equal => self.at_least.is_some() && self.at_most.is_some(),
            Ordering::Greater => false,
        };
        let (low_key, low_words) =
            if self.greater.is_some() { ("greater", "greater than") } else { ("at_least", "at least") };
        let high_words = if self.less.is_some() { "less than" } else { "at most" };
        if holds_one {
            Ok(())
        } else {
            Err(format!("{low_key}: no number is {low_words} {low} and {high_words} {high}"))
        }
    }

    /// The bounds that are set.
    fn bounds(&self) -> Vec<Bound<'_>> {
        let all: [(_, _, Holds); 4] = [
            ("greater than", &self.greater, Ordering::is_gt),
            ("at least", &self.at_least, Ordering::is_ge),
            ("less than", &self.less, Ordering::is_lt),
            ("at most", &self.at_most, Ordering::is_le),
        ];
        all.into_iter().filter_map(|(words, bound, holds)| Some((words, bound.as_ref()?, holds))).collect()
    }

    /// Adds what does not hold for what is at the path.
    fn judge(&self, selected: &Selected, findings: &mut Findings) {
        let place = self.path.place();
        let value = match selected {
            Selected::Value(value) => value,
            Selected::Missing { .. } if self.absent.is_some() || self.allow_missing => return,
            Selected::Missing { depth, stands } => {
                let parent = self.path.parent_place(*depth);
                return findings.fail(format!("{place} is missing: {parent} is {stands}"));
            }
        };
        if let Some(name) = &self.metric
            && let Some(number) = number(value).and_then(Number::as_f64)
        {
            // A number is kept even where it is wrong.
            metric(name, number);
        }
        let complaints = self.complaints(value);
        // The value once, however much is wrong with it.
        if !complaints.is_empty() {
            findings.fail(format!("{place} is {}, {}", shown(value, SHOWN_CHARS), complaints.join(", ")));
        }
    }

    /// What is wrong with a value that is there.
    fn complaints(&self, value: &Value) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut assert = |holds: bool, complaint: String| {
            if !holds {
                complaints.push(complaint);
            }
        };
        assert(self.absent.is_none(), "not absent".to_owned());
        if let Some(wanted) = &self.equals {
            assert(equal(value, wanted), format!("not {}", shown(wanted, SHOWN_CHARS)));
        }
        if let Some(unwanted) = &self.not_equals {
            assert(!equal(value, unwanted), "which it must not be".to_owned());
        }
        let kinds = &self.kinds.0;
        assert(
            kinds.is_empty() || kinds.iter().any(|kind| kind.holds(value)),
            format!("not {}", list_kinds(kinds)),
        );
        let bounds = self.bounds();
        match number(value) {
            Some(number) => {
                for (words, bound, holds) in bounds {
                    assert(holds(compare(number, bound)), format!("not {words} {bound}"));
                }
            }
            None => assert(bounds.is_empty() && self.metric.is_none(), "not a number".to_owned()),
        }
        if let Some(part) = &self.contains {
            assert(value::contains(value, part), format!("without {}", shown(part, SHOWN_CHARS)));
        }
        if let Some(pattern) = &self.matches {
            let wanted = excerpt(pattern.as_str().as_bytes(), SHOWN_CHARS);
            let holds = value.as_str().is_some_and(|text| pattern.is_match(text.as_bytes()));
            let what = if value.is_string() { "not matching" } else { "not a string matching" };
            assert(holds, format!("{what} {wanted}"));
        }
        complaints
    }
}

#[cfg(test)]
mod tests;
