//! Results as columns: one Arrow record batch for `probes`, one for `checks`. Every sink gets the same
//! two; there is no row form in between.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::builder::{Int64Builder, MapBuilder, StringBuilder};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use serde_json::{Map, Value};

use super::parquet::schema::{CheckColumns, ProbeColumns, Table};
use crate::model::{CheckStatus, Exchange, Hop, Outcome, Phases, ProbeResult, TlsFacts, Verdict};

/// Some results, as columns.
#[derive(Debug, Clone)]
pub struct ResultBatch {
    /// A row an attempt.
    pub probes: RecordBatch,
    /// A row a verdict; those of one attempt stand together, in the order of `probes`.
    pub checks: RecordBatch,
}

/// Collects results into columns.
pub struct BatchBuilder {
    probes: ProbeColumns,
    checks: CheckColumns,
    runner: Arc<str>,
    run_id: Arc<str>,
    rows: usize,
}

impl BatchBuilder {
    /// A builder with room for `rows` results, all of one run.
    pub fn new(runner: Arc<str>, run_id: Arc<str>, rows: usize) -> Self {
        Self { probes: ProbeColumns::new(rows), checks: CheckColumns::new(rows * 2), runner, run_id, rows: 0 }
    }

    /// Results pushed since the last [`finish`](Self::finish).
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether nothing was pushed since the last [`finish`](Self::finish).
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Adds one result; hashes its body. Fails only if the columns do not fit their schema, which is a
    /// fault of this program.
    pub fn push(&mut self, result: &ProbeResult) -> Result<(), ArrowError> {
        self.push_hashed(result, result.exchange.body_xxh3())
    }

    /// Adds one result whose body was hashed before.
    pub(crate) fn push_hashed(
        &mut self,
        result: &ProbeResult,
        body_hash: Option<u64>,
    ) -> Result<(), ArrowError> {
        self.push_identity(result)?;
        self.push_outcome(result);
        self.push_response(&result.exchange, body_hash)?;
        self.push_route(&result.exchange);
        self.push_phases(&result.exchange.phases);
        self.push_tls(result.exchange.tls.as_ref());
        for verdict in &result.verdicts {
            self.push_verdict(result, verdict)?;
        }
        self.rows += 1;
        Ok(())
    }

    /// What was pushed; the builder is empty afterwards.
    pub fn finish(&mut self) -> Result<ResultBatch, ArrowError> {
        self.rows = 0;
        Ok(ResultBatch {
            probes: RecordBatch::try_new(Table::Probes.schema(), self.probes.finish())?,
            checks: RecordBatch::try_new(Table::Checks.schema(), self.checks.finish())?,
        })
    }

    fn push_identity(&mut self, result: &ProbeResult) -> Result<(), ArrowError> {
        let columns = &mut self.probes;
        columns.started_at.append_value(result.started_at.micros());
        columns.scheduled_at.append_value(result.scheduled_at.micros());
        columns.lateness_us.append_value(micros(result.lateness));
        columns.pipeline.append_value(&result.pipeline);
        columns.target.append_value(&result.target.name);
        columns.url.append_value(&result.target.url);
        columns.method.append_value(result.method.as_str());
        push_texts(&mut columns.labels, result.target.labels.iter().map(|(key, value)| (&**key, &**value)))?;
        columns.runner.append_value(&self.runner);
        columns.run_id.append_value(&self.run_id);
        columns.generation.append_value(&result.generation);
        columns.seq.append_value(result.seq);
        columns.probe_seq.append_value(result.probe_seq);
        columns.attempt.append_value(result.attempt as i32);
        columns.address_index.append_option(result.exchange.address_index.map(|index| index as i32));
        columns.is_final.append_value(result.is_final);
        columns.in_maintenance.append_value(result.in_maintenance);
        columns.runner_overloaded.append_value(result.runner_overloaded);
        columns.missed.append_value(i32::try_from(result.missed).unwrap_or(i32::MAX));
        Ok(())
    }

    fn push_outcome(&mut self, result: &ProbeResult) {
        let columns = &mut self.probes;
        let failure = result.exchange.failure.as_ref();
        columns.outcome.append_value(result.outcome.as_str());
        columns.error_kind.append_option(failure.map(|failure| failure.kind.as_str()));
        columns.error_message.append_option(failure.map(|failure| failure.message.as_str()));
        columns.failed_check.append_option(deciding_verdict(result).map(|verdict| &*verdict.check_name));
        let failed = result.verdicts.iter().filter(|verdict| verdict.status == CheckStatus::Fail).count();
        columns.checks_total.append_value(result.verdicts.len() as i32);
        columns.checks_failed.append_value(failed as i32);
    }

    fn push_response(&mut self, exchange: &Exchange, body_hash: Option<u64>) -> Result<(), ArrowError> {
        let columns = &mut self.probes;
        let head = exchange.head.as_ref();
        columns.http_status.append_option(head.map(|head| i32::from(head.status)));
        columns.http_version.append_option(head.map(|head| head.version.as_str()));
        columns.header_bytes.append_option(exchange.header_bytes.map(|bytes| bytes as i64));
        columns.body_bytes.append_option(exchange.body_bytes.map(|bytes| bytes as i64));
        columns.decoded_bytes.append_option(exchange.decoded_bytes.map(|bytes| bytes as i64));
        columns.body_truncated.append_option(exchange.body_truncated);
        let content_type = head.and_then(|head| head.headers.get(http::header::CONTENT_TYPE));
        columns
            .content_type
            .append_option(content_type.map(|value| String::from_utf8_lossy(value.as_bytes())));
        match body_hash {
            Some(hash) => push_display(&mut columns.body_xxh3, format_args!("{hash:016x}")),
            None => columns.body_xxh3.append_null(),
        }
        match exchange.kept() {
            Some(headers) => push_texts(&mut columns.response_headers, headers),
            None => columns.response_headers.append(false),
        }
    }

    fn push_route(&mut self, exchange: &Exchange) {
        let columns = &mut self.probes;
        match exchange.remote_addr {
            Some(address) => push_display(&mut columns.remote_addr, format_args!("{address}")),
            None => columns.remote_addr.append_null(),
        }
        columns.dns_answers.append_option(exchange.dns_answers.map(|answers| answers as i32));
        columns.redirects.append_option(exchange.redirects.map(|redirects| redirects as i32));
        columns.final_url.append_option(exchange.final_url.as_deref());
        let hops = (!exchange.hops.is_empty()).then(|| hops_json(&exchange.hops));
        columns.hops.append_option(hops);
        columns.connection_reused.append_option(exchange.connection_reused);
    }

    fn push_phases(&mut self, phases: &Phases) {
        let Phases { dns, connect, tls, first_byte, transfer, total } = phases;
        let columns = &mut self.probes;
        push_length(&mut columns.dns_us, *dns);
        push_length(&mut columns.connect_us, *connect);
        push_length(&mut columns.tls_us, *tls);
        push_length(&mut columns.first_byte_us, *first_byte);
        push_length(&mut columns.transfer_us, *transfer);
        push_length(&mut columns.total_us, *total);
    }

    fn push_tls(&mut self, facts: Option<&TlsFacts>) {
        let columns = &mut self.probes;
        let seconds = |read: fn(&TlsFacts) -> Option<i64>| {
            facts.and_then(read).map(|seconds| seconds.saturating_mul(1_000_000))
        };
        columns.tls_version.append_option(facts.and_then(|tls| tls.version));
        columns.tls_cipher.append_option(facts.and_then(|tls| tls.cipher.as_deref()));
        columns.tls_alpn.append_option(facts.and_then(|tls| tls.alpn.as_deref()));
        columns.tls_verify_error.append_option(facts.and_then(|tls| tls.verify_error.as_deref()));
        columns.tls_verified.append_option(facts.and_then(|tls| tls.verified));
        columns.tls_ocsp_stapled.append_option(facts.and_then(|tls| tls.ocsp_stapled));
        columns.cert_sha256.append_option(facts.and_then(|tls| tls.cert_sha256.as_deref()));
        columns.cert_subject.append_option(facts.and_then(|tls| tls.cert_subject.as_deref()));
        columns.cert_issuer.append_option(facts.and_then(|tls| tls.cert_issuer.as_deref()));
        columns.cert_names.append_option(facts.and_then(|tls| tls.cert_names.as_deref()));
        columns.cert_not_before.append_option(seconds(|tls| tls.cert_not_before));
        columns.cert_not_after.append_option(seconds(|tls| tls.cert_not_after));
        columns.cert_chain_not_after.append_option(seconds(|tls| tls.cert_chain_not_after));
    }

    fn push_verdict(&mut self, result: &ProbeResult, verdict: &Verdict) -> Result<(), ArrowError> {
        let columns = &mut self.checks;
        columns.started_at.append_value(result.started_at.micros());
        columns.pipeline.append_value(&result.pipeline);
        columns.target.append_value(&result.target.name);
        columns.runner.append_value(&self.runner);
        columns.run_id.append_value(&self.run_id);
        columns.seq.append_value(result.seq);
        columns.check_name.append_value(&verdict.check_name);
        columns.plugin.append_value(&verdict.plugin);
        columns.status.append_value(verdict.status.as_str());
        columns.severity.append_value(verdict.severity.as_str());
        columns.message.append_value(&verdict.message);
        columns.duration_us.append_value(micros(verdict.duration));
        for (key, value) in last_of_each_name(&verdict.metrics) {
            columns.metrics.keys().append_value(key);
            columns.metrics.values().append_value(*value);
        }
        columns.metrics.append(true)?;
        push_texts(
            &mut columns.annotations,
            last_of_each_name(&verdict.annotations).map(|(key, value)| (key.as_str(), value.as_str())),
        )
    }
}

/// The first verdict that decided an outcome of down or unknown.
fn deciding_verdict(result: &ProbeResult) -> Option<&Verdict> {
    if !matches!(result.outcome, Outcome::Down | Outcome::Unknown) {
        return None;
    }
    result.verdicts.iter().find(|verdict| verdict.outcome() == result.outcome)
}

/// A name told twice keeps its last value: readers refuse maps with a key twice.
fn last_of_each_name<V>(entries: &[(String, V)]) -> impl Iterator<Item = &(String, V)> {
    let is_last = |at: usize, name: &str| !entries[at + 1..].iter().any(|(later, _)| later == name);
    entries.iter().enumerate().filter(move |(at, (name, _))| is_last(*at, name)).map(|(_, entry)| entry)
}

fn push_texts<'a>(
    column: &mut MapBuilder<StringBuilder, StringBuilder>,
    entries: impl Iterator<Item = (&'a str, impl AsRef<str>)>,
) -> Result<(), ArrowError> {
    for (key, value) in entries {
        column.keys().append_value(key);
        column.values().append_value(value.as_ref());
    }
    column.append(true)
}

/// Appends a text that is not there yet, without an allocation of its own.
fn push_display(column: &mut StringBuilder, text: fmt::Arguments<'_>) {
    // Writing into a builder cannot fail; the empty value ends what was written.
    let _ = column.write_fmt(text);
    column.append_value("");
}

fn push_length(column: &mut Int64Builder, length: Option<Duration>) {
    column.append_option(length.map(micros));
}

fn micros(length: Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX)
}

/// `[{"url": …, "status": …, "dns_us": …}, …]`; what did not happen is left out.
fn hops_json(hops: &[Hop]) -> String {
    let hops = hops.iter().map(|hop| {
        let Hop { url, status, phases } = hop;
        let Phases { dns, connect, tls, first_byte, transfer, total } = *phases;
        let mut object = Map::new();
        object.insert("url".to_owned(), url.as_str().into());
        if let Some(status) = *status {
            object.insert("status".to_owned(), status.into());
        }
        let lengths = [
            ("dns_us", dns),
            ("connect_us", connect),
            ("tls_us", tls),
            ("first_byte_us", first_byte),
            ("transfer_us", transfer),
            ("total_us", total),
        ];
        for (name, length) in lengths {
            if let Some(length) = length {
                object.insert(name.to_owned(), micros(length).into());
            }
        }
        Value::Object(object)
    });
    Value::Array(hops.collect()).to_string()
}

#[cfg(test)]
mod tests;
