//! The shape of a line: what `RECORDS.md` documents. Keys are only ever added.
//!
//! Names are those of the Parquet columns where both tell of the same. What did not happen is left out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::error::Category;

use super::bytes::AnyBytes;
use super::exchange::ExchangeLine;
use super::pairs::Pairs;
use super::{RECORD_FORMAT, Record, RecordError, RecordKey, RecordedVerdict};
use crate::check::fault::FaultKind;
use crate::check::observed::Observed;
use crate::check::state::StateEntries;
use crate::config::{format_duration, parse_duration};
use crate::model::{CheckStatus, Outcome, Severity, Target, UnixNanos, Verdict, nanos, steers_a_terminal};

#[derive(Serialize, Deserialize)]
struct RecordLine {
    format: u32,
    pipeline: Arc<str>,
    generation: Arc<str>,
    run_id: Arc<str>,
    seq: i64,
    attempt: u32,
    is_final: bool,
    outcome: String,
    started_at: String,
    target: TargetLine,
    exchange: ExchangeLine,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_cut_from: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    masked: Vec<String>,
    verdicts: Vec<VerdictLine>,
}

#[derive(Serialize, Deserialize)]
struct TargetLine {
    name: Arc<str>,
    url: Arc<str>,
    #[serde(default, skip_serializing_if = "Pairs::is_empty")]
    labels: Pairs<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct VerdictLine {
    check_name: Arc<str>,
    plugin: Arc<str>,
    fingerprint: String,
    status: String,
    severity: String,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    duration_ns: i64,
    #[serde(default, skip_serializing_if = "Pairs::is_empty")]
    metrics: Pairs<f64>,
    #[serde(default, skip_serializing_if = "Pairs::is_empty")]
    annotations: Pairs<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    remembered: Option<Pairs<AnyBytes>>,
}

/// What is looked at first, to say what else is wrong with a line.
#[derive(Deserialize)]
struct FormatLine {
    format: u32,
}

#[derive(Deserialize)]
struct KeyLine {
    format: u32,
    pipeline: String,
    started_at: String,
    seq: i64,
    target: NameLine,
}

#[derive(Deserialize)]
struct NameLine {
    name: String,
}

pub(super) fn write(record: &Record) -> Vec<u8> {
    let body = record.observed.exchange.body.len();
    let mut line = Vec::with_capacity(body + body / 8 + 2_048);
    write_line(&RecordLine::of(record), &mut line);
    line
}

/// Appends a value as a line of JSON in which nothing steers a terminal.
pub fn write_line<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, Harmless);
    // Fails for keys that are no texts, and for a writer that fails: there is neither.
    let _ = value.serialize(&mut serializer);
    out.push(b'\n');
}

pub(super) fn read(line: &[u8]) -> Result<Record, RecordError> {
    let found = serde_json::from_slice::<RecordLine>(line).map_err(|error| wrong(line, &error))?;
    newer(found.format)?;
    found.into_record()
}

pub(super) fn read_key(line: &[u8]) -> Result<RecordKey, RecordError> {
    let found = serde_json::from_slice::<KeyLine>(line).map_err(|error| wrong(line, &error))?;
    newer(found.format)?;
    Ok(RecordKey {
        pipeline: found.pipeline,
        target: found.target.name,
        started_at: moment(&found.started_at)?,
        seq: found.seq,
    })
}

fn newer(format: u32) -> Result<(), RecordError> {
    if format > RECORD_FORMAT { Err(RecordError::Newer { format }) } else { Ok(()) }
}

fn wrong(line: &[u8], error: &serde_json::Error) -> RecordError {
    let column = error.column();
    match error.classify() {
        Category::Data => match serde_json::from_slice::<FormatLine>(line) {
            Ok(FormatLine { format }) if format > RECORD_FORMAT => RecordError::Newer { format },
            _ => RecordError::Shape { column },
        },
        Category::Syntax | Category::Eof | Category::Io => RecordError::NotJson { column },
    }
}

impl RecordLine {
    fn of(record: &Record) -> Self {
        let Record {
            pipeline,
            generation,
            run_id,
            seq,
            attempt,
            is_final,
            outcome,
            observed,
            body_cut_from,
            masked,
            verdicts,
        } = record;
        let Observed { target, exchange, started_at, .. } = &**observed;
        Self {
            format: RECORD_FORMAT,
            pipeline: Arc::clone(pipeline),
            generation: Arc::clone(generation),
            run_id: Arc::clone(run_id),
            seq: *seq,
            attempt: *attempt,
            is_final: *is_final,
            outcome: outcome.as_str().to_owned(),
            started_at: date(*started_at),
            target: TargetLine::of(target),
            exchange: ExchangeLine::of(exchange),
            body_cut_from: *body_cut_from,
            masked: masked.clone(),
            verdicts: verdicts.iter().map(VerdictLine::of).collect(),
        }
    }

    fn into_record(self) -> Result<Record, RecordError> {
        let target = Arc::new(self.target.into_target()?);
        let exchange = Arc::new(self.exchange.into_exchange()?);
        let observed = Observed::new(target, exchange, moment(&self.started_at)?);
        Ok(Record {
            pipeline: self.pipeline,
            generation: self.generation,
            run_id: self.run_id,
            seq: self.seq,
            attempt: self.attempt,
            is_final: self.is_final,
            outcome: known("outcome", &Outcome::ALL, Outcome::as_str, &self.outcome)?,
            observed: Arc::new(observed),
            body_cut_from: self.body_cut_from,
            masked: self.masked,
            verdicts: self.verdicts.into_iter().map(VerdictLine::into_verdict).collect::<Result<_, _>>()?,
        })
    }
}

impl TargetLine {
    fn of(target: &Target) -> Self {
        let Target { name, url, labels, every } = target;
        let labels = labels.iter().map(|(name, value)| (name.to_string(), Arc::clone(value)));
        Self {
            name: Arc::clone(name),
            url: Arc::clone(url),
            labels: labels.collect(),
            every: every.map(format_duration),
        }
    }

    fn into_target(self) -> Result<Target, RecordError> {
        let mut labels: Vec<(Arc<str>, Arc<str>)> =
            self.labels.0.into_iter().map(|(name, value)| (name.into(), value)).collect();
        labels.sort();
        let every = self.every.map(|text| parse_duration(&text).map_err(|_| unknown("duration", &text)));
        Ok(Target { name: self.name, url: self.url, labels: labels.into(), every: every.transpose()? })
    }
}

/// Every status of a verdict, and both severities.
const STATUSES: [CheckStatus; 4] =
    [CheckStatus::Pass, CheckStatus::Warn, CheckStatus::Fail, CheckStatus::Error];
const SEVERITIES: [Severity; 2] = [Severity::Fail, Severity::Warn];

impl VerdictLine {
    fn of(recorded: &RecordedVerdict) -> Self {
        let RecordedVerdict { verdict, fingerprint, fault, remembered } = recorded;
        let entries = |entries: &Arc<StateEntries>| {
            let value = |value: &Vec<u8>| AnyBytes(value.clone().into());
            entries.iter().map(|(key, bytes)| (key.clone(), value(bytes))).collect()
        };
        Self {
            check_name: Arc::clone(&verdict.check_name),
            plugin: Arc::clone(&verdict.plugin),
            fingerprint: format!("{fingerprint:016x}"),
            status: verdict.status.as_str().to_owned(),
            severity: verdict.severity.as_str().to_owned(),
            message: verdict.message.clone(),
            fault: fault.map(|fault| fault.as_str().to_owned()),
            duration_ns: nanos(verdict.duration),
            // JSON has no others; a report has none either.
            metrics: verdict.metrics.iter().filter(|(_, value)| value.is_finite()).cloned().collect(),
            annotations: verdict.annotations.iter().cloned().collect(),
            remembered: remembered.as_ref().map(entries),
        }
    }

    fn into_verdict(self) -> Result<RecordedVerdict, RecordError> {
        let fingerprint = u64::from_str_radix(&self.fingerprint, 16);
        let entries = |pairs: Pairs<AnyBytes>| {
            pairs.0.into_iter().map(|(key, AnyBytes(bytes))| (key, bytes.to_vec())).collect()
        };
        let fault = |name: String| known("fault", FaultKind::ALL, FaultKind::as_str, &name);
        Ok(RecordedVerdict {
            fingerprint: fingerprint.map_err(|_| unknown("fingerprint", &self.fingerprint))?,
            fault: self.fault.map(fault).transpose()?,
            remembered: self.remembered.map(|pairs| Arc::new(entries(pairs))),
            verdict: Verdict {
                check_name: self.check_name,
                plugin: self.plugin,
                status: known("status", &STATUSES, CheckStatus::as_str, &self.status)?,
                severity: known("severity", &SEVERITIES, Severity::as_str, &self.severity)?,
                message: self.message,
                duration: Duration::from_nanos(self.duration_ns.try_into().unwrap_or(0)),
                metrics: self.metrics.0,
                annotations: self.annotations.0,
            },
        })
    }
}

/// The value of a closed list that bears this name.
pub(super) fn known<T: Copy>(
    what: &'static str,
    all: &[T],
    name: fn(T) -> &'static str,
    text: &str,
) -> Result<T, RecordError> {
    all.iter().copied().find(|value| name(*value) == text).ok_or_else(|| unknown(what, text))
}

pub(super) fn unknown(what: &'static str, text: &str) -> RecordError {
    let text = text.chars().take(100).map(|c| if steers_a_terminal(c) { '\u{fffd}' } else { c });
    RecordError::Unknown { what, text: text.collect() }
}

/// RFC 3339 in UTC with nanoseconds, so that lines sort by it.
fn date(at: UnixNanos) -> String {
    // Every 64-bit number of nanoseconds is a date between 1677 and 2262.
    jiff::Timestamp::from_nanosecond(i128::from(at.0)).map(|at| format!("{at:.9}")).unwrap_or_default()
}

fn moment(text: &str) -> Result<UnixNanos, RecordError> {
    let parsed = text.parse::<jiff::Timestamp>().ok();
    let nanos = parsed.and_then(|at| i64::try_from(at.as_nanosecond()).ok());
    nanos.map(UnixNanos).ok_or_else(|| unknown("moment of time", text))
}

/// JSON on one line in which nothing steers a terminal.
struct Harmless;

impl serde_json::ser::Formatter for Harmless {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(steers_a_terminal) {
            let (plain, from) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut chars = from.chars();
            if let Some(c) = chars.next() {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}
