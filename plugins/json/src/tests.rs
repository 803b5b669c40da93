//! Tests of the check beyond what `cases.toml` can say.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write as _;

use probity_check::{MESSAGE_BYTES, Status, TestObservation, parse_config};

use super::*;

fn judge(config: &str, body: &str) -> Verdict {
    let check = Json::configure(parse_config(config).unwrap()).unwrap();
    check.run(&TestObservation::new().status(200).body(body)).unwrap()
}

#[test]
fn cases() {
    probity_check::cases::run::<Json>(include_str!("../cases.toml")).unwrap();
}

#[test]
fn a_number_beyond_floats_is_no_json() {
    let verdict = judge(r#"{"assert":[{"path":"/a","greater":1}]}"#, r#"{"a":1e999}"#);
    assert!(verdict.message.starts_with("body is not JSON: number out of range"), "{}", verdict.message);
}

#[test]
fn many_failures_stay_one_bounded_line() {
    let mut all = Vec::new();
    for index in 0..100 {
        all.push(format!(r#"{{"path":"/a{index}","matches":"^{index}$"}}"#));
    }
    let config = format!(r#"{{"assert":[{}]}}"#, all.join(","));
    let verdict = judge(&config, r#"{"a0":"line\nbreak"}"#);
    assert_eq!(verdict.status, Status::Fail);
    assert!(verdict.message.len() <= MESSAGE_BYTES, "{}", verdict.message);
    let begin = r#""/a0" is "line\nbreak", not matching "^0$"; "/a1" is missing: body is an object"#;
    assert!(verdict.message.starts_with(begin), "{}", verdict.message);
}

#[test]
fn a_value_is_cut_to_a_bound() {
    let mut body = String::from("[0");
    for number in 1..100_000 {
        write!(body, ",{number}").unwrap();
    }
    body.push(']');
    let verdict = judge(r#"{"assert":[{"path":"","type":"object"}]}"#, &body);
    assert!(verdict.message.starts_with("body is [0,1,2,3,"), "{}", verdict.message);
    assert!(verdict.message.ends_with("…, not an object"), "{}", verdict.message);
    assert!(verdict.message.chars().count() < 120, "{}", verdict.message);
}

#[test]
fn deep_bodies_are_refused_before_the_stack_ends() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    for path in ["", "/0/0", "/1"] {
        let verdict = judge(&format!(r#"{{"assert":[{{"path":"{path}"}}]}}"#), &deep);
        assert_eq!(verdict.status, Status::Fail, "{path}");
    }
}
