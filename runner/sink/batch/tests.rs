//! Columns of results.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};

use twox_hash::XxHash3_64;

use super::*;
use crate::model::{ErrorKind, Failure, Severity};
use crate::sink::samples::{self, MORNING};

fn text(batch: &RecordBatch, name: &str, row: usize) -> Option<String> {
    let column = batch.column_by_name(name).unwrap().as_string::<i32>();
    column.is_valid(row).then(|| column.value(row).to_owned())
}

fn long(batch: &RecordBatch, name: &str, row: usize) -> Option<i64> {
    let column = batch.column_by_name(name).unwrap().as_primitive::<Int64Type>();
    column.is_valid(row).then(|| column.value(row))
}

#[test]
fn a_whole_result_fills_its_columns() {
    let ResultBatch { probes, checks } = samples::batch(&[samples::full(1)]);
    let null = ["error_kind", "error_message", "failed_check", "tls_verify_error"];
    for field in probes.schema().fields() {
        let column = probes.column_by_name(field.name()).unwrap();
        assert_eq!(column.is_null(0), null.contains(&field.name().as_str()), "{}", field.name());
    }
    let started = probes.column(0).as_primitive::<TimestampMicrosecondType>().value(0);
    assert_eq!(started, MORNING.micros() + 1_000);
    assert_eq!(text(&probes, "remote_addr", 0).unwrap(), "127.0.0.1:443");
    assert_eq!(text(&probes, "content_type", 0).unwrap(), "text/html; charset=utf-8");
    assert_eq!(text(&probes, "body_xxh3", 0).unwrap(), format!("{:016x}", XxHash3_64::oneshot(b"<html>")));
    let kept = probes.column_by_name("response_headers").unwrap().as_map().value(0);
    let column = |index: usize| kept.column(index).as_string::<i32>().iter().flatten().collect::<Vec<_>>();
    assert_eq!((column(0), column(1)), (vec!["content-type"], vec!["text/html; charset=utf-8"]));
    assert_eq!(long(&probes, "total_us", 0), Some(15));
    let hops: Value = serde_json::from_str(&text(&probes, "hops", 0).unwrap()).unwrap();
    assert_eq!(hops[1]["status"], 200);
    assert_eq!(hops[0]["first_byte_us"], 4);
    let not_after =
        probes.column_by_name("cert_not_after").unwrap().as_primitive::<TimestampMicrosecondType>();
    assert_eq!(not_after.value(0), 1_800_000_000_000_000);
    assert_eq!(checks.num_rows(), 1);
    assert_eq!(long(&checks, "seq", 0), Some(1));
    assert_eq!(text(&checks, "run_id", 0).unwrap(), samples::RUN);
}

#[test]
fn what_did_not_happen_is_null() {
    let ResultBatch { probes, .. } = samples::batch(&[samples::empty(1)]);
    for name in
        ["http_status", "body_xxh3", "hops", "dns_us", "total_us", "remote_addr", "redirects", "tls_verified"]
    {
        assert!(probes.column_by_name(name).unwrap().is_null(0), "{name}");
    }
}

#[test]
fn an_empty_body_has_the_hash_of_nothing() {
    let mut result = samples::full(1);
    Arc::get_mut(&mut result.exchange).unwrap().body = hyper::body::Bytes::new();
    let ResultBatch { probes, .. } = samples::batch(&[result]);
    assert_eq!(text(&probes, "body_xxh3", 0).unwrap(), "2d06800538d394c2", "the vector of the specification");
}

#[test]
fn the_check_that_decided_is_named() {
    use CheckStatus::{Error, Fail, Pass, Warn};
    let cases: [(&[CheckStatus], Option<&str>, i32); 5] = [
        (&[Pass, Fail, Fail], Some("1"), 2),
        (&[Error, Fail], Some("1"), 1),
        (&[Warn, Error, Error], Some("1"), 0),
        (&[Warn], None, 0),
        (&[Pass], None, 0),
    ];
    for (statuses, expected, failed) in cases {
        let verdicts: Vec<_> = statuses
            .iter()
            .enumerate()
            .map(|(at, status)| samples::verdict(&at.to_string(), *status))
            .collect();
        let exchange = Exchange::default();
        let outcome = crate::model::judge(&exchange, &verdicts);
        let result = ProbeResult { outcome, verdicts, ..samples::empty(1) };
        let ResultBatch { probes, .. } = samples::batch(&[result]);
        assert_eq!(text(&probes, "failed_check", 0).as_deref(), expected, "{statuses:?}");
        let count = |name: &str| probes.column_by_name(name).unwrap().as_primitive::<Int32Type>().value(0);
        assert_eq!(count("checks_failed"), failed, "{statuses:?}");
        assert_eq!(count("checks_total"), statuses.len() as i32);
    }
}

#[test]
fn a_failure_that_decided_leaves_no_check() {
    let failure = Some(Failure::new(ErrorKind::Timeout, "no answer"));
    let soft = Verdict { severity: Severity::Warn, ..samples::verdict("soft", CheckStatus::Fail) };
    let result = ProbeResult {
        exchange: Arc::new(Exchange { failure, ..Exchange::default() }),
        outcome: Outcome::Down,
        verdicts: vec![soft],
        ..samples::empty(1)
    };
    let ResultBatch { probes, .. } = samples::batch(&[result]);
    assert_eq!(text(&probes, "failed_check", 0), None);
    assert_eq!(text(&probes, "error_kind", 0).unwrap(), "timeout");
}

#[test]
fn a_metric_told_twice_keeps_its_last_value() {
    let mut result = samples::empty(1);
    result.verdicts[0].metrics = vec![("a".to_owned(), 1.0), ("b".to_owned(), 2.0), ("a".to_owned(), 3.0)];
    let ResultBatch { checks, .. } = samples::batch(&[result]);
    let entries = checks.column_by_name("metrics").unwrap().as_map().value(0);
    let keys: Vec<_> = entries.column(0).as_string::<i32>().iter().flatten().collect();
    assert_eq!(keys, ["b", "a"]);
    assert_eq!(entries.column(1).as_primitive::<Float64Type>().values(), &[2.0, 3.0]);
}

#[test]
fn a_builder_is_empty_after_finish() {
    let mut builder = BatchBuilder::new("main".into(), samples::RUN.into(), 8);
    for round in 1..4 {
        assert!(builder.is_empty());
        builder.push(&samples::full(round)).unwrap();
        builder.push(&samples::refused(round)).unwrap();
        assert_eq!(builder.len(), 2);
        let batch = builder.finish().unwrap();
        assert_eq!((batch.probes.num_rows(), batch.checks.num_rows()), (2, 1));
    }
}
