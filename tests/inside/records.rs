//! A record is read as it was written: everything that a check can see of an attempt, everything that was
//! said of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use hyper::body::Bytes;
use probity::check::{FaultKind, Observed, Record, RecordKey, RecordRules, RecordedVerdict, as_recorded};
use probity::clock::UnixNanos;
use probity::model::{
    CheckStatus, ErrorKind, Exchange, Failure, Head, Hop, HttpVersion, Outcome, Phases, Severity, Target,
    TlsFacts, Verdict,
};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

fn duration() -> impl Strategy<Value = Option<Duration>> {
    // Records have signed nanoseconds, as rows have.
    of((0..=i64::MAX as u64).prop_map(Duration::from_nanos))
}

fn phases() -> BoxedStrategy<Phases> {
    (duration(), duration(), duration(), duration(), duration(), duration())
        .prop_map(|(dns, connect, tls, first_byte, transfer, total)| Phases {
            dns,
            connect,
            tls,
            first_byte,
            transfer,
            total,
        })
        .boxed()
}

// Boxed, all of them: a strategy of this many parts by value does not fit on a test's stack.

/// Any text, also such as steers a terminal.
fn text() -> BoxedStrategy<String> {
    prop_oneof!["\\PC{0,12}", "[\\x00-\\x1f\\x7f\\u{80}-\\u{9f}\\u{202e}\\u{feff}a\"\\\\]{0,8}"].boxed()
}

fn headers() -> BoxedStrategy<HeaderMap> {
    let value = vec(prop_oneof![Just(b'\t'), 0x20..0x7f_u8, 0x80..=0xff_u8], 0..12);
    vec(("[a-z][a-z-]{0,5}", value), 0..6)
        .prop_map(|pairs| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                headers.append(name, HeaderValue::from_bytes(&value).unwrap());
            }
            headers
        })
        .boxed()
}

fn head() -> BoxedStrategy<Head> {
    let version =
        select(vec![HttpVersion::Http10, HttpVersion::Http11, HttpVersion::Http2, HttpVersion::Http3]);
    (any::<u16>(), version, headers())
        .prop_map(|(status, version, headers)| Head { status, version, headers })
        .boxed()
}

fn tls() -> BoxedStrategy<TlsFacts> {
    let session = (
        of(select(vec!["1.2", "1.3"])),
        of(text()),
        of(text()),
        of(any::<bool>()),
        of(text()),
        of(any::<bool>()),
    );
    let certificate = (of(text()), of(text()), of(text()), of(text()));
    let dates = (of(any::<i64>()), of(any::<i64>()), of(any::<i64>()));
    (session, certificate, dates)
        .prop_map(|(session, certificate, dates)| {
            let (version, cipher, alpn, verified, verify_error, ocsp_stapled) = session;
            let (cert_sha256, cert_subject, cert_issuer, cert_names) = certificate;
            let (cert_not_before, cert_not_after, cert_chain_not_after) = dates;
            TlsFacts {
                version,
                cipher,
                alpn,
                verified,
                verify_error,
                ocsp_stapled,
                cert_sha256,
                cert_subject,
                cert_issuer,
                cert_names,
                cert_not_before,
                cert_not_after,
                cert_chain_not_after,
            }
        })
        .boxed()
}

fn exchange() -> BoxedStrategy<Exchange> {
    let failure = (select(ErrorKind::ALL), text()).prop_map(|(kind, message)| Failure::new(kind, message));
    let body = prop_oneof![vec(any::<u8>(), 0..40), text().prop_map(String::into_bytes)];
    let method = select(vec![Method::GET, Method::POST, Method::from_bytes(b"PURGE").unwrap()]);
    let hop =
        (text(), of(any::<u16>()), phases()).prop_map(|(url, status, phases)| Hop { url, status, phases });
    let sizes = (of(any::<u64>()), of(any::<u64>()), of(any::<u64>()));
    let response = (of(failure), of(head()), body.prop_map(Bytes::from), of(any::<bool>()), sizes, phases());
    let route = (
        of(method),
        of(text()),
        of(any::<u32>()),
        vec(hop, 0..3),
        of(any::<SocketAddr>()),
        of(any::<u32>()),
        of(any::<bool>()),
        of(tls()),
    );
    (response, route)
        .prop_map(|(response, route)| {
            let (failure, head, body, body_truncated, sizes, phases) = response;
            let (header_bytes, body_bytes, decoded_bytes) = sizes;
            let (method, final_url, redirects, hops, remote_addr, dns_answers, connection_reused, tls) =
                route;
            Exchange {
                kept_headers: std::sync::Arc::default(),
                failure,
                head,
                body,
                body_truncated,
                header_bytes,
                body_bytes,
                decoded_bytes,
                phases,
                method,
                final_url,
                redirects,
                hops,
                remote_addr,
                address_index: dns_answers.map(|answers| answers / 2),
                dns_answers,
                connection_reused,
                sent_token: None,
                tls,
            }
        })
        .boxed()
}

fn observed() -> BoxedStrategy<Observed> {
    let labels = btree_map(text(), text(), 0..3);
    let target = (text(), text(), labels, duration()).prop_map(|(name, url, labels, every)| Target {
        name: name.into(),
        url: url.into(),
        labels: labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        every,
    });
    (target, exchange(), any::<i64>())
        .prop_map(|(target, exchange, at)| Observed::new(Arc::new(target), Arc::new(exchange), UnixNanos(at)))
        .boxed()
}

fn verdict() -> BoxedStrategy<RecordedVerdict> {
    let status = select(vec![CheckStatus::Pass, CheckStatus::Warn, CheckStatus::Fail, CheckStatus::Error]);
    let number = prop::num::f64::NORMAL | prop::num::f64::ZERO;
    let told = (vec((text(), number), 0..3), vec((text(), text()), 0..3));
    let said = (text(), text(), status, any::<bool>(), text(), duration());
    let state = of(btree_map(text(), vec(any::<u8>(), 0..20), 0..3));
    (said, told, any::<u64>(), of(select(FaultKind::ALL)), state)
        .prop_map(|(said, (metrics, annotations), fingerprint, fault, remembered)| {
            let (check_name, plugin, status, warns, message, duration) = said;
            RecordedVerdict {
                verdict: Verdict {
                    check_name: check_name.into(),
                    plugin: plugin.into(),
                    status,
                    severity: if warns { Severity::Warn } else { Severity::Fail },
                    message,
                    duration: duration.unwrap_or_default(),
                    metrics,
                    annotations,
                },
                fingerprint,
                fault,
                remembered: remembered.map(Arc::new),
            }
        })
        .boxed()
}

fn record() -> BoxedStrategy<Record> {
    let identity = (text(), text(), text(), any::<i64>(), any::<u32>(), any::<bool>());
    let rest = (select(Outcome::ALL.to_vec()), of(any::<u64>()), vec(text(), 0..3), vec(verdict(), 0..3));
    (identity, observed(), rest)
        .prop_map(|(identity, observed, rest)| {
            let (pipeline, generation, run_id, seq, attempt, is_final) = identity;
            let (outcome, body_cut_from, masked, verdicts) = rest;
            Record {
                pipeline: pipeline.into(),
                generation: generation.into(),
                run_id: run_id.into(),
                seq,
                attempt,
                is_final,
                outcome,
                observed: Arc::new(observed),
                body_cut_from,
                masked,
                verdicts,
            }
        })
        .boxed()
}

/// Numbers as they are after they were written and read.
fn with_recorded_numbers(mut record: Record) -> Record {
    for recorded in &mut record.verdicts {
        for (_, number) in &mut recorded.verdict.metrics {
            *number = as_recorded(*number);
        }
    }
    record
}

proptest! {
    #[test]
    fn what_is_written_is_read(record in record()) {
        let line = record.to_line();
        let (end, whole) = line.split_last().unwrap();
        prop_assert_eq!(*end, b'\n');
        let text = std::str::from_utf8(whole).unwrap();
        prop_assert!(!text.contains(probity::model::steers_a_terminal), "{}", text);
        let read = Record::from_line(&line).unwrap();
        // A debug print has every field, and every byte of the headers.
        prop_assert_eq!(format!("{read:#?}"), format!("{:#?}", with_recorded_numbers(record.clone())));
        let headers = |record: &Record| {
            let head = record.observed.exchange.head.clone()?;
            Some(head.headers.iter().map(|(name, value)| (name.clone(), value.as_bytes().to_vec())).collect::<Vec<_>>())
        };
        prop_assert_eq!(headers(&read), headers(&record));
        // Read once more, it is the same line: nothing creeps.
        prop_assert_eq!(read.to_line(), with_recorded_numbers(record.clone()).to_line());
        let key = RecordKey::from_line(&line).unwrap();
        prop_assert_eq!(key.started_at, record.observed.started_at);
        prop_assert_eq!((key.pipeline.as_str(), key.seq), (&*record.pipeline, record.seq));
        prop_assert_eq!(key.target.as_str(), &*record.observed.target.name);
    }

    #[test]
    fn a_line_that_is_damaged_is_an_error_or_another_record(record in record(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut line = record.to_line();
        let at = at.index(line.len());
        line[at] = byte;
        let _ = Record::from_line(&line);
        let _ = RecordKey::from_line(&line);
        prop_assert!(Record::from_line(&line[..at.min(line.len() - 2)]).is_err());
    }

    #[test]
    fn rules_without_secrets_leave_an_attempt_as_it_was(record in record()) {
        // Names that tell of a secret are masked whatever the rules.
        prop_assume!(record.observed.exchange.head.as_ref().is_none_or(|head| {
            head.headers.keys().all(|name| ["cookie", "jwt", "csrf", "token"].iter().all(|word| !name.as_str().contains(word)))
        }));
        let before = format!("{record:#?}");
        prop_assume!(!before.contains('@'));
        let mut after = Record { masked: Vec::new(), body_cut_from: None, ..record.clone() };
        RecordRules::new(usize::MAX, Vec::new(), [("accept", "text/html")], None).apply(&mut after);
        prop_assert_eq!(&after.masked, &Vec::<String>::new());
        prop_assert_eq!(format!("{:#?}", after.observed), format!("{:#?}", record.observed));
        prop_assert_eq!(format!("{:#?}", after.verdicts), format!("{:#?}", record.verdicts));
    }
}

#[test]
fn a_key_of_tomorrow_is_passed_over() {
    let line = r#"{"format":1,"moon":"full","pipeline":"p","generation":"g","run_id":"r","seq":1,"attempt":1,
        "is_final":true,"outcome":"up","started_at":"2026-11-22T03:12:05Z","target":{"name":"t","url":"http://t/"},
        "exchange":{"weather":{},"body":"x"},"verdicts":[]}"#;
    let record = Record::from_line(line.as_bytes()).unwrap();
    assert_eq!((&*record.observed.target.url, &*record.observed.exchange.body), ("http://t/", &b"x"[..]));
    assert_eq!(record.observed.started_at.0, 1_795_317_125_000_000_000);
}

#[test]
fn a_body_that_was_cut_for_the_record_is_seen_as_cut() {
    let line = r#"{"format":1,"pipeline":"p","generation":"g","run_id":"r","seq":1,"attempt":1,"is_final":true,
        "outcome":"up","started_at":"2026-11-22T03:12:05Z","target":{"name":"t","url":"http://t/"},
        "exchange":{"body":"x","body_truncated":false},"body_cut_from":9,"verdicts":[]}"#;
    let record = Record::from_line(line.as_bytes()).unwrap();
    assert_eq!(record.observed.exchange.body_truncated, Some(false));
    assert_eq!(record.seen().exchange.body_truncated, Some(true));
}

/// The keys of a record, those inside it included, without names that people give.
fn keys(value: &serde_json::Value, out: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(object) => {
            for (key, value) in object {
                out.push(key.clone());
                if !["labels", "metrics", "annotations", "remembered"].contains(&key.as_str()) {
                    keys(value, out);
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| keys(item, out)),
        _ => {}
    }
}

#[test]
fn the_page_shows_a_whole_record_and_names_every_key() {
    let page = std::fs::read_to_string(crate::tree::root().join("runner/check/RECORDS.md")).unwrap();
    let from = page.find("```json").unwrap() + 7;
    let example = &page[from..from + page[from..].find("```").unwrap()];
    let record = Record::from_line(example.as_bytes()).unwrap();
    let shown: serde_json::Value = serde_json::from_str(example).unwrap();
    let written: serde_json::Value = serde_json::from_slice(&record.to_line()).unwrap();
    let list = |value: &serde_json::Value| {
        let mut found = Vec::new();
        keys(value, &mut found);
        found.sort();
        found.dedup();
        found
    };
    assert_eq!(list(&shown), list(&written), "the example has every key, and no other");
    let tables = &page[page.find("| key |").unwrap()..];
    for key in list(&written).iter().filter(|key| !key.starts_with("cert_") && *key != "base64") {
        assert!(page.contains(&format!("`{key}`")), "{key}");
    }
    for fault in FaultKind::ALL {
        assert!(tables.contains(&format!("`{}`", fault.as_str())), "{fault:?}");
    }
}
