//! An attempt as one JSON object: the row that a run would write, by the names of the Parquet columns, and beside
//! it what no row has.

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::attempt::{Attempt, civil};
use super::blame::{Blame, Phase};
use super::body::Body;
use crate::check::{MASK, write_line};
use crate::config::SECRET_MARK;
use crate::sink::{BatchBuilder, Follower as _, Format, StdoutSink};

/// Columns that are about a run.
const OF_A_RUN: [&str; 9] =
    ["runner", "run_id", "seq", "probe_seq", "scheduled_at", "lateness_us", "missed", "attempt", "is_final"];

/// The object, as a line.
pub(super) fn line(attempt: &Attempt) -> anyhow::Result<String> {
    let mut object = row(attempt)?;
    for name in OF_A_RUN {
        object.remove(name);
    }
    if !attempt.has_pipeline {
        object.remove("pipeline");
        object.remove("generation");
    }
    // It is text in a column.
    if let Some(Value::String(hops)) = object.get("hops")
        && let Ok(hops) = serde_json::from_str::<Value>(hops)
    {
        object.insert("hops".to_owned(), hops);
    }
    let mut add = |name: &str, value: Value| {
        if !value.is_null() {
            object.insert(name.to_owned(), value);
        }
    };
    let exchange = &attempt.row.exchange;
    if let Some(kind) = exchange.failure.as_ref().map(|failure| failure.kind) {
        add("error_meaning", kind.meaning().into());
    }
    add("blame", attempt.blame.as_ref().map(blame).into());
    add("host", attempt.host().into());
    add("timeout_us", (attempt.timeout.as_micros() as u64).into());
    add("maintenance_reason", attempt.maintenance_reason.clone().into());
    add("request", request(attempt));
    add("response_headers", response_headers(attempt));
    add("body", attempt.body.as_ref().map(body).into());
    let days = |unix_s: Option<i64>| Value::from(unix_s.map(|unix_s| attempt.days_until(unix_s)));
    if let Some(tls) = &exchange.tls {
        add("cert_days_left", days(tls.cert_not_after));
        // Those of the row have microseconds, which no certificate has.
        let dates = [
            ("cert_not_before", tls.cert_not_before),
            ("cert_not_after", tls.cert_not_after),
            ("cert_chain_not_after", tls.cert_chain_not_after),
        ];
        for (name, date) in dates {
            add(name, date.and_then(civil).into());
        }
    }
    let mut line = Vec::new();
    write_line(&Value::Object(object), &mut line);
    Ok(String::from_utf8_lossy(&line).replace(MASK, SECRET_MARK))
}

/// The row as the JSON sink has it.
fn row(attempt: &Attempt) -> anyhow::Result<Map<String, Value>> {
    let mut columns = BatchBuilder::new("probe".into(), "".into(), 1);
    columns.push_hashed(&attempt.row, attempt.body_xxh3)?;
    let mut text = Vec::new();
    StdoutSink::new(&mut text, Format::Json, false).deliver(&columns.finish()?)?;
    serde_json::from_slice(&text).context("the row is no JSON object")
}

fn blame(blame: &Blame) -> Value {
    let Blame { whose, phase, check, what } = blame;
    json!({
        "whose": whose.as_str(),
        "phase": phase.map(Phase::as_str),
        "check": check,
        "what": what,
    })
}

fn request(attempt: &Attempt) -> Value {
    let headers = attempt.request_headers.iter().map(|(name, value)| json!({ "name": name, "value": value }));
    json!({
        "method": attempt.row.method.as_str(),
        "path": attempt.path,
        "headers": headers.collect::<Vec<_>>(),
        "body_bytes": attempt.request_body_bytes,
        "sent": attempt.was_sent(),
    })
}

fn response_headers(attempt: &Attempt) -> Value {
    let Some(head) = &attempt.row.exchange.head else { return Value::Null };
    let headers = head.headers.iter().map(
        |(name, value)| json!({ "name": name.as_str(), "value": String::from_utf8_lossy(value.as_bytes()) }),
    );
    headers.collect()
}

fn body(body: &Body) -> Value {
    let Body { encoding, is_text, lines, has_more } = body;
    json!({ "encoding": encoding, "is_text": is_text, "first_lines": lines, "has_more": has_more })
}
