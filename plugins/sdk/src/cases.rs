//! Runs a plugin's `cases.toml`: an observation in, the verdict expected.
//!
//! The format is described in `plugins/README.md`. Unknown keys are errors, every case is judged,
//! and all mismatches are told at once. The configuration's schema is held against the cases too,
//! so that neither can forget a key that the other knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::PathBuf;

use serde::Deserialize;

use crate::{Check, Length, OneOrMany, Phase, TestObservation, config, report, schema, state, unix_seconds};

/// A whole `cases.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    cases: Vec<Case>,
}

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What it shows, in words.
    name: String,
    /// The check's configuration, as in a pipeline file.
    #[serde(default)]
    config: toml::Table,
    /// What was probed.
    #[serde(default)]
    target: Target,
    /// When the attempt began, a date of RFC 3339. The epoch by default.
    started_at: Option<String>,
    /// What earlier attempts saw, in their order: the check remembers what it made of them.
    #[serde(default)]
    before: Vec<Response>,
    /// The error kind of a failed exchange.
    error: Option<String>,
    /// What was seen; none, or a part, where the exchange failed.
    #[serde(default)]
    response: Response,
    /// Limits of one call.
    #[serde(default)]
    #[allow(dead_code, reason = "without a sandbox there are none: here they are only known")]
    limits: Limits,
    /// What the check must say.
    expect: Expect,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(dead_code, reason = "as above")]
struct Limits {
    time: Option<Length>,
    memory: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Target {
    name: Option<String>,
    url: Option<String>,
    method: Option<String>,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Response {
    status: Option<u16>,
    /// A header with a list of values was sent as often.
    headers: BTreeMap<String, OneOrMany<String>>,
    body: Option<String>,
    /// A file with the body. Its path is relative to the package, where `cases.toml` stands.
    body_file: Option<String>,
    /// The body was cut at the body limit.
    body_truncated: bool,
    /// Lengths of phases: `{ total = "120ms" }`.
    timing: BTreeMap<String, Length>,
    /// Facts by name: `{ "tls.version" = "1.3" }`.
    facts: BTreeMap<String, String>,
}

/// Exactly one of `status`, `error` and `config_error`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Expect {
    /// `pass`, `warn` or `fail`.
    status: Option<String>,
    /// The whole message.
    message: Option<String>,
    /// All metrics, by name.
    metrics: Option<BTreeMap<String, f64>>,
    /// All annotations, by name.
    annotations: Option<BTreeMap<String, String>>,
    /// The check could not judge, for this reason.
    error: Option<String>,
    /// The configuration is refused, for this reason.
    config_error: Option<String>,
}

/// Runs every case of `text` with the check. The error lists every mismatch, a line each.
pub fn run<Plugin: Check>(text: &str) -> Result<(), String> {
    let file: File = toml::from_str(text).map_err(|error| format!("cases.toml: {error}"))?;
    let mut mismatches = Vec::new();
    let mut configured_keys = BTreeSet::new();
    for case in &file.cases {
        if case.expect.config_error.is_none() {
            configured_keys.extend(case.config.keys().cloned());
        }
        if let Err(mismatch) = run_case::<Plugin>(case) {
            mismatches.push(format!("{}: {mismatch}", case.name));
        }
    }
    if let Err(mismatch) = compare_with_schema(&schema::of::<Plugin>(), &configured_keys) {
        mismatches.push(mismatch);
    }
    if mismatches.is_empty() { Ok(()) } else { Err(mismatches.join("\n")) }
}

/// Configures the check, shows it the case's observations and compares what it says of the last one.
fn run_case<Plugin: Check>(case: &Case) -> Result<(), String> {
    let seen = observation(case, &case.response, case.error.as_deref())?;
    let json = serde_json::to_string(&case.config).map_err(|error| error.to_string())?;
    report::take();
    state::forget();
    let configured = config::parse(&json).and_then(Plugin::configure);
    if let Ok(check) = &configured {
        for (index, response) in case.before.iter().enumerate() {
            let earlier = observation(case, response, None)?;
            check.run(&earlier).map_err(|error| format!("before[{index}]: could not judge: {error}"))?;
        }
        report::take();
    }
    compare_answer(&case.expect, configured, &seen)
}

/// Judges the last observation and holds the answer against what is expected.
fn compare_answer<Plugin: Check>(
    expect: &Expect,
    configured: Result<Plugin, String>,
    seen: &TestObservation,
) -> Result<(), String> {
    let Expect { status, message, metrics, annotations, error, config_error } = expect;
    match (status, error, config_error) {
        (None, None, Some(expected)) => match configured {
            Ok(_) => Err(format!("expected the configuration to be refused: {expected}")),
            Err(refusal) => compare("config_error", expected, &refusal),
        },
        (None, Some(expected), None) => match configured?.run(seen) {
            Ok(verdict) => Err(format!("expected the error {expected:?}, got {verdict:?}")),
            Err(error) => compare("error", expected, &error),
        },
        (Some(expected), None, None) => {
            let verdict = configured?.run(seen).map_err(|error| format!("could not judge: {error}"))?;
            compare("status", expected, verdict.status.name())
                .map_err(|mismatch| format!("{mismatch} ({})", verdict.message))?;
            if let Some(message) = message {
                compare("message", message, &verdict.message)?;
            }
            let reported = report::take();
            compare_all("metrics", metrics.as_ref(), reported.metrics)?;
            compare_all("annotations", annotations.as_ref(), reported.annotations)
        }
        _ => Err("expect needs exactly one of status, error and config_error".to_owned()),
    }
}

fn compare(what: &str, expected: &str, got: &str) -> Result<(), String> {
    if expected == got { Ok(()) } else { Err(format!("expected the {what} {expected:?}, got {got:?}")) }
}

/// Compares all that was reported with what is expected, where anything is.
fn compare_all<Value: PartialEq + Debug>(
    what: &str,
    expected: Option<&BTreeMap<String, Value>>,
    reported: Vec<(String, Value)>,
) -> Result<(), String> {
    let reported: BTreeMap<String, Value> = reported.into_iter().collect();
    match expected {
        Some(expected) if *expected != reported => {
            Err(format!("expected the {what} {expected:?}, got {reported:?}"))
        }
        _ => Ok(()),
    }
}

/// The observation that a response of a case describes.
fn observation(case: &Case, response: &Response, error: Option<&str>) -> Result<TestObservation, String> {
    let Case {
        name: _,
        config: _,
        target,
        started_at,
        before: _,
        error: _,
        response: _,
        limits: _,
        expect: _,
    } = case;
    let Target { name, url, method, labels } = target;
    let Response { status, headers, body, body_file, body_truncated, timing, facts } = response;
    let mut seen = TestObservation::new().body(read_body(body.as_deref(), body_file.as_deref())?);
    if let (Some((header, _)), None) = (headers.first_key_value(), status) {
        return Err(format!("the header \"{header}\" has come without a status: give the response one"));
    }
    if let Some(date) = started_at {
        let seconds = unix_seconds(date).and_then(|seconds| u64::try_from(seconds).ok());
        let seconds =
            seconds.ok_or_else(|| format!("started_at: {date:?} is no date of RFC 3339 since 1970"))?;
        seen = seen.started_at_ns(seconds * 1_000_000_000);
    }
    for (text, set) in [
        (name.as_deref(), TestObservation::target as fn(TestObservation, &str) -> TestObservation),
        (url.as_deref(), TestObservation::url),
        (method.as_deref(), TestObservation::method),
        (error, TestObservation::error),
    ] {
        if let Some(text) = text {
            seen = set(seen, text);
        }
    }
    for (label, value) in labels {
        seen = seen.label(label, value);
    }
    if let Some(status) = status {
        seen = seen.status(*status);
    }
    for (header, OneOrMany(values)) in headers {
        seen = values.iter().fold(seen, |seen, value| seen.header(header, value));
    }
    if *body_truncated {
        seen = seen.body_truncated();
    }
    for (phase, Length(length)) in timing {
        let phase =
            Phase::from_name(phase).ok_or_else(|| format!("timing: there is no phase \"{phase}\""))?;
        seen = seen.timing(phase, *length);
    }
    for (fact, value) in facts {
        seen = seen.fact(fact, value);
    }
    Ok(seen)
}

/// The bytes of a body that stands in the case, or in a file.
fn read_body(text: Option<&str>, file: Option<&str>) -> Result<Vec<u8>, String> {
    let file = match (text, file) {
        (Some(_), Some(_)) => return Err("\"body\" and \"body_file\" exclude each other".to_owned()),
        (None, Some(file)) => file,
        (text, None) => return Ok(text.unwrap_or_default().into()),
    };
    // Cargo names the package's folder to the tests that it runs, and runs them there.
    let folder = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(PathBuf::new, PathBuf::from);
    std::fs::read(folder.join(file)).map_err(|error| format!("body_file \"{file}\": {error}"))
}

/// Holds the configuration's keys against those that the cases use.
fn compare_with_schema(schema: &str, configured_keys: &BTreeSet<String>) -> Result<(), String> {
    let schema: serde_json::Value =
        serde_json::from_str(schema).map_err(|error| format!("the schema is not JSON: {error}"))?;
    if schema["additionalProperties"] != false {
        return Err("a mistyped key would be passed over: put #[serde(deny_unknown_fields)] on the \
                    configuration"
            .to_owned());
    }
    let known: BTreeSet<String> =
        schema["properties"].as_object().into_iter().flat_map(|all| all.keys().cloned()).collect();
    if known == *configured_keys {
        return Ok(());
    }
    let (unknown, unused): (Vec<_>, Vec<_>) =
        (configured_keys.difference(&known).collect(), known.difference(configured_keys).collect());
    Err(format!("keys of cases that the configuration lacks: {unknown:?}; keys without a case: {unused:?}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::{JsonSchema, Manifest, Observation, Verdict, annotate, metric};

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Limits {
        max: u16,
    }

    struct Small(u16);

    impl Check for Small {
        const MANIFEST: Manifest =
            Manifest { name: "small", version: "0", summary: "a small status", needs_body: false };
        type Config = Limits;

        fn configure(Limits { max }: Limits) -> Result<Self, String> {
            Ok(Small(max))
        }

        fn run(&self, seen: &dyn Observation) -> Result<Verdict, String> {
            let status = seen.status().ok_or("no status")?;
            metric("status", status.into());
            Ok(if status <= self.0 { Verdict::pass("small") } else { Verdict::fail("large") })
        }
    }

    #[test]
    fn cases_that_hold_pass() {
        let text = r#"
            [[cases]]
            name = "small"
            config = { max = 300 }
            response = { status = 200 }
            expect = { status = "pass", message = "small", metrics = { status = 200.0 } }
            [[cases]]
            name = "no response"
            config = { max = 300 }
            expect = { error = "no status" }
            [[cases]]
            name = "no limit"
            expect = { config_error = 'missing key "max"' }
        "#;
        assert_eq!(run::<Small>(text), Ok(()));
    }

    #[test]
    fn a_body_may_stand_in_a_file_and_limits_are_known() {
        let text = r#"
            [[cases]]
            name = "this package's manifest"
            limits = { time = "10ms", memory = "8MiB" }
            response = { status = 200, body_file = "Cargo.toml" }
            expect = { status = "pass" }
        "#;
        assert_eq!(run::<Counting>(text), Ok(()));
        for (from, to, part) in [
            ("body_file =", "body = \"x\", body_file =", "exclude each other"),
            ("Cargo.toml", "no-such-file", "body_file \"no-such-file\": "),
            ("status = 200,", "headers = { a = \"1\" },", "the header \"a\" has come without a status"),
            ("memory", "memry", "memry"),
        ] {
            let error = run::<Counting>(&text.replace(from, to)).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn every_mismatch_is_told() {
        let text = r#"
            [[cases]]
            name = "one"
            config = { max = 100 }
            response = { status = 200 }
            expect = { status = "pass" }
            [[cases]]
            name = "two"
            config = { mx = 100 }
            expect = { config_error = "no" }
        "#;
        let error = run::<Small>(text).unwrap_err();
        assert!(error.contains("one: expected the status \"pass\", got \"fail\" (large)\ntwo: expected the config_error \"no\""), "{error}");
        assert!(run::<Small>("[[cases]]\nnam = 1").unwrap_err().contains("nam"));
        assert!(run::<Lenient>("cases = []").unwrap_err().contains("deny_unknown_fields"));
        assert!(run::<Small>("cases = []").unwrap_err().contains("keys without a case: [\"max\"]"));
    }

    struct Lenient;

    impl Check for Lenient {
        const MANIFEST: Manifest = Small::MANIFEST;
        type Config = BTreeMap<String, String>;

        fn configure(_: Self::Config) -> Result<Self, String> {
            Ok(Lenient)
        }

        fn run(&self, _: &dyn Observation) -> Result<Verdict, String> {
            Ok(Verdict::pass("anything"))
        }
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}

    /// Remembers how many attempts it has seen.
    struct Counting;

    impl Check for Counting {
        const MANIFEST: Manifest = Small::MANIFEST;
        type Config = Nothing;

        fn configure(Nothing {}: Nothing) -> Result<Self, String> {
            Ok(Counting)
        }

        fn run(&self, seen: &dyn Observation) -> Result<Verdict, String> {
            let mut bodies = state::get("bodies").unwrap_or_default();
            bodies.extend(seen.body());
            state::set("bodies", &bodies)?;
            annotate("bodies", &String::from_utf8_lossy(&bodies));
            Ok(Verdict::pass(format!("{} ns", seen.started_at_ns())))
        }
    }

    #[test]
    fn a_case_remembers_what_came_before_and_nothing_of_other_cases() {
        let text = r#"
            [[cases]]
            name = "the third attempt"
            started_at = "1970-01-01T00:00:02Z"
            before = [{ body = "a" }, { body = "b" }]
            response = { body = "c" }
            expect = { status = "pass", message = "2000000000 ns", annotations = { bodies = "abc" } }
            [[cases]]
            name = "the first attempt"
            response = { body = "d" }
            expect = { status = "pass", message = "0 ns", annotations = { bodies = "d" } }
        "#;
        assert_eq!(run::<Counting>(text), Ok(()));
        let other = text.replace("abc", "ab").replace("00:02Z", "02Z");
        assert_eq!(
            run::<Counting>(&other),
            Err("the third attempt: started_at: \"1970-01-01T00:02Z\" is no date of RFC 3339 since 1970"
                .into())
        );
        let other = text.replace("abc", "ab");
        let error = run::<Counting>(&other).unwrap_err();
        assert!(
            error.contains(r#"expected the annotations {"bodies": "ab"}, got {"bodies": "abc"}"#),
            "{error}"
        );
    }
}
