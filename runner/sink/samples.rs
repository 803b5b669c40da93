//! Results for tests.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use http::{HeaderMap, HeaderValue, Method};
use hyper::body::Bytes;

use super::batch::{BatchBuilder, ResultBatch};
use super::parquet::journal::FrameEncoder;
use super::parquet::{Folders, SegmentName, Table};
use crate::clock::UnixNanos;
use crate::model::{
    CheckStatus, ErrorKind, Exchange, Failure, Head, Hop, HttpVersion, Outcome, Phases, ProbeResult,
    Severity, Target, TlsFacts, Verdict,
};

/// 2026-09-01 05:00:00.123456 UTC.
pub(crate) const MORNING: UnixNanos = UnixNanos(1_788_238_800_123_456_789);
pub(crate) const RUN: &str = "0198f0a0-0000-7000-8000-000000000001";

pub(crate) fn target(name: &str) -> Arc<Target> {
    Arc::new(Target {
        name: name.into(),
        url: format!("https://{name}.example/").into(),
        labels: [("region".into(), "eu".into()), ("team".into(), "core".into())].into(),
        every: None,
    })
}

pub(crate) fn verdict(name: &str, status: CheckStatus) -> Verdict {
    Verdict {
        check_name: name.into(),
        plugin: "status".into(),
        status,
        severity: Severity::Fail,
        message: format!("{name} says {status}"),
        duration: Duration::from_micros(250),
        metrics: vec![("price_gbp".to_owned(), 1.5), ("age_seconds".to_owned(), 60.0)],
        annotations: vec![("version".to_owned(), "1.2.3".to_owned())],
    }
}

/// A result in which everything has happened.
pub(crate) fn full(seq: i64) -> ProbeResult {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("text/html; charset=utf-8"));
    let phases = Phases {
        dns: Some(Duration::from_micros(1)),
        connect: Some(Duration::from_micros(2)),
        tls: Some(Duration::from_micros(3)),
        first_byte: Some(Duration::from_micros(4)),
        transfer: Some(Duration::from_micros(5)),
        total: Some(Duration::from_micros(15)),
    };
    let hop = |url: &str, status| Hop { url: url.to_owned(), status, phases };
    let exchange = Exchange {
        failure: None,
        head: Some(Head { status: 200, version: HttpVersion::Http11, headers }),
        kept_headers: Arc::new([http::header::CONTENT_TYPE, http::header::AGE]),
        body: Bytes::from_static(b"<html>"),
        body_truncated: Some(false),
        header_bytes: Some(100),
        body_bytes: Some(6),
        decoded_bytes: Some(6),
        phases,
        method: Some(Method::GET),
        final_url: Some("https://a.example/home".to_owned()),
        redirects: Some(1),
        hops: vec![hop("https://a.example/", Some(302)), hop("https://a.example/home", Some(200))],
        remote_addr: Some(SocketAddr::from(([127, 0, 0, 1], 443))),
        address_index: Some(1),
        dns_answers: Some(2),
        connection_reused: Some(false),
        sent_token: None,
        tls: Some(tls()),
    };
    ProbeResult { exchange: Arc::new(exchange), ..empty(seq) }
}

fn tls() -> TlsFacts {
    TlsFacts {
        version: Some("1.3"),
        cipher: Some("TLS13_AES_256_GCM_SHA384".to_owned()),
        alpn: Some("http/1.1".to_owned()),
        verified: Some(true),
        verify_error: None,
        ocsp_stapled: Some(false),
        cert_sha256: Some("ab".repeat(32)),
        cert_subject: Some("CN=a.example".to_owned()),
        cert_issuer: Some("CN=ca".to_owned()),
        cert_names: Some("a.example".to_owned()),
        cert_not_before: Some(1_700_000_000),
        cert_not_after: Some(1_800_000_000),
        cert_chain_not_after: Some(1_800_000_000),
    }
}

/// A result in which nothing has happened on the wire, with one passing verdict.
pub(crate) fn empty(seq: i64) -> ProbeResult {
    ProbeResult {
        seq,
        probe_seq: seq,
        pipeline: "shop".into(),
        generation: "0123456789abcdef".into(),
        target: target(["c", "a", "b"][seq as usize % 3]),
        scheduled_at: MORNING,
        started_at: MORNING.plus(Duration::from_millis(seq as u64)),
        lateness: Duration::from_micros(7),
        missed: 0,
        attempt: 1,
        is_final: true,
        in_maintenance: false,
        runner_overloaded: false,
        method: Method::GET,
        outcome: Outcome::Up,
        exchange: Arc::new(Exchange::default()),
        verdicts: vec![verdict("status", CheckStatus::Pass)],
    }
}

/// A failed one without verdicts.
pub(crate) fn refused(seq: i64) -> ProbeResult {
    let failure = Some(Failure::new(ErrorKind::ConnectRefused, "nobody listens\u{1b}[31m"));
    ProbeResult {
        outcome: Outcome::Down,
        exchange: Arc::new(Exchange { failure, ..Exchange::default() }),
        verdicts: Vec::new(),
        ..empty(seq)
    }
}

pub(crate) fn batch(results: &[ProbeResult]) -> ResultBatch {
    let mut builder = BatchBuilder::new("main".into(), RUN.into(), results.len());
    for result in results {
        builder.push(result).unwrap();
    }
    builder.finish().unwrap()
}

/// The rows of a table below a results folder, as (date folder, numbers in their order), file by file.
pub(crate) fn published(results: &Path, table: Table) -> Vec<(String, Vec<i64>)> {
    let mut files = Vec::new();
    let Ok(dates) = fs::read_dir(results.join(table.name())) else { return Vec::new() };
    for date in dates.map(|date| date.unwrap().path()) {
        for file in fs::read_dir(&date).unwrap().map(|file| file.unwrap().path()) {
            files.push((date.file_name().unwrap().to_str().unwrap().to_owned(), file));
        }
    }
    files.sort();
    files.into_iter().map(|(date, file)| (date, seqs(&file))).collect()
}

/// Every number of a table below a results folder, sorted.
pub(crate) fn all_seqs(results: &Path, table: Table) -> Vec<i64> {
    let mut all: Vec<_> = published(results, table).into_iter().flat_map(|(_, seqs)| seqs).collect();
    all.sort_unstable();
    all
}

fn seqs(file: &Path) -> Vec<i64> {
    let opened = fs::File::open(file).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(opened).unwrap().build().unwrap();
    reader.flat_map(|batch| batch.unwrap()["seq"].as_primitive::<Int64Type>().values().to_vec()).collect()
}

/// Every file below a folder, relative to it, sorted.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(&next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// A journal as a crashed run leaves it: one batch for each slice.
pub(crate) fn left_journal(folders: &Folders, number: u32, batches: &[&[ProbeResult]]) -> PathBuf {
    let mut encoder = FrameEncoder::new().unwrap();
    let mut bytes = encoder.preamble().to_vec();
    for results in batches {
        encoder.encode(&batch(results), &mut bytes).unwrap();
    }
    let path = folders.journal_of(&SegmentName::new(MORNING, &folders.runner, RUN, number));
    fs::create_dir_all(folders.journal()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}
