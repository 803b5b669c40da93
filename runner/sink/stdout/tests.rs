//! What is printed.

use serde_json::Value;

use super::*;
use crate::model::{CheckStatus, Outcome, ProbeResult};
use crate::sink::samples;

fn printed(results: &[ProbeResult], format: Format, colour: bool) -> String {
    let mut out = Vec::new();
    StdoutSink::new(&mut out, format, colour).deliver(&samples::batch(results)).unwrap();
    String::from_utf8(out).unwrap()
}

fn failing(seq: i64) -> ProbeResult {
    let verdicts =
        vec![samples::verdict("status", CheckStatus::Pass), samples::verdict("cart", CheckStatus::Fail)];
    ProbeResult { outcome: Outcome::Down, verdicts, ..samples::full(seq) }
}

#[test]
fn lines_are_aligned_and_say_why() {
    let text = printed(&[samples::full(1), failing(2), samples::refused(3)], Format::Lines, false);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "05:00:00Z  up        200                       0.0 ms  shop/a");
    assert_eq!(
        lines[1],
        "05:00:00Z  down      200                       0.0 ms  shop/b                            cart: cart says fail"
    );
    assert_eq!(
        lines[2],
        "05:00:00Z  down      connect_refused                -  shop/c                            nobody listens\\u{1b}[31m"
    );
}

#[test]
fn only_lines_that_may_have_colour_do() {
    assert!(printed(&[samples::full(1)], Format::Lines, true).contains("\x1b[32mup      \x1b[0m"));
    assert!(!printed(&[samples::refused(1)], Format::Lines, false).contains('\x1b'));
    assert!(!printed(&[samples::refused(1)], Format::Json, true).contains('\x1b'));
}

#[test]
fn a_json_line_has_the_columns_and_the_verdicts_inside() {
    let text = printed(&[samples::refused(1), failing(2), samples::full(3)], Format::Json, false);
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0]["checks"], Value::Array(vec![]));
    assert_eq!(rows[0]["error_message"], "nobody listens\u{1b}[31m");
    assert!(rows[0].get("http_status").is_none(), "nulls are left out");
    assert_eq!(rows[1]["checks"][1]["check_name"], "cart");
    assert_eq!(rows[1]["checks"][1]["metrics"]["price_gbp"], 1.5);
    assert!(rows[1]["checks"][0].get("seq").is_none(), "the row around it has it");
    assert_eq!(rows[1]["failed_check"], "cart");
    assert_eq!(rows[2]["started_at"], "2026-09-01T05:00:00.126456Z");
    assert_eq!(rows[2]["labels"]["team"], "core");
    assert_eq!(rows[2]["run_id"], samples::RUN);
    assert_eq!(rows[2]["seq"], 3);
    assert_eq!(rows[2]["is_final"], true);
}

#[test]
fn json_survives_any_text() {
    let hostile = "a\"b\\c\nd\u{7f}e\u{9b}f\u{202e}g\u{feff}😀\u{0}";
    let mut result = samples::full(1);
    result.verdicts[0].message = hostile.to_owned();
    result.verdicts[0].metrics = vec![("inf".to_owned(), f64::INFINITY), ("nan".to_owned(), f64::NAN)];
    let text = printed(&[result], Format::Json, false);
    assert_eq!(text.lines().count(), 1);
    assert!(!text.trim_end().chars().any(steers_a_terminal));
    let row: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(row["checks"][0]["message"], hostile);
    assert_eq!(row["checks"][0]["metrics"]["inf"], Value::Null);
}

#[test]
fn a_reader_that_went_away_is_told_as_such() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error =
        StdoutSink::new(Gone, Format::Json, false).deliver(&samples::batch(&[samples::full(1)])).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}
