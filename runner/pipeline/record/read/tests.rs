//! Records are found in their order, whatever else lies beside them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::sync::Arc;

use super::*;
use crate::check::Observed;
use crate::model::{Exchange, Outcome, Target};

fn record(pipeline: &str, target: &str, at: i64, seq: i64) -> Vec<u8> {
    let target = Target { name: target.into(), url: "http://t/".into(), labels: [].into(), every: None };
    let observed = Observed::new(Arc::new(target), Arc::new(Exchange::default()), UnixNanos(at));
    let record = Record {
        pipeline: pipeline.into(),
        generation: "0".into(),
        run_id: "r".into(),
        seq,
        attempt: 1,
        is_final: true,
        outcome: Outcome::Up,
        observed: Arc::new(observed),
        body_cut_from: None,
        masked: Vec::new(),
        verdicts: Vec::new(),
    };
    record.to_line()
}

fn seqs(reader: &mut RecordReader) -> Vec<i64> {
    reader.map(|record| record.seq).collect()
}

#[test]
fn records_come_in_the_order_of_their_attempts_from_all_files() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("main/records/shop");
    fs::create_dir_all(&below).unwrap();
    let one = below.join("1.jsonl");
    fs::write(&one, [record("a", "t", 30, 3), record("a", "t", 10, 1)].concat()).unwrap();
    fs::write(below.join("2.jsonl"), [record("b", "t", 20, 9), record("a", "u", 20, 2)].concat()).unwrap();
    fs::write(below.join("3.txt"), record("a", "t", 40, 4)).unwrap();
    let everything = Selection::default();
    let open = |paths: &[PathBuf], selection: &Selection| RecordReader::open(paths, selection).unwrap();
    assert_eq!(seqs(&mut open(&[folder.path().to_owned()], &everything)), [1, 2, 9, 3]);
    // A file that is named twice is one; one that is named needs no ending.
    assert_eq!(seqs(&mut open(&[below.clone(), one, below.join("3.txt")], &everything)), [1, 2, 9, 3, 4]);

    let of = |name: &str| Some(BTreeSet::from([name.to_owned()]));
    let mut only_a =
        open(std::slice::from_ref(&below), &Selection { pipelines: of("a"), ..Selection::default() });
    assert_eq!((only_a.pipelines["a"], only_a.passed_over["b"]), (3, 1));
    assert_eq!(seqs(&mut only_a), [1, 2, 3]);
    assert_eq!(
        seqs(&mut open(
            std::slice::from_ref(&below),
            &Selection { targets: of("u"), ..Selection::default() }
        )),
        [2]
    );
    let some = Selection { since: Some(UnixNanos(20)), until: Some(UnixNanos(30)), ..Selection::default() };
    assert_eq!(seqs(&mut open(&[below], &some)), [2, 9]);
}

#[test]
fn what_is_no_record_is_told_with_its_place_and_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let good = record("a", "t", 1, 1);
    let text = String::from_utf8(good.clone()).unwrap();
    let lines = [
        text.as_bytes(),
        b"\n",
        b"hello\n",
        b"\0\0\0\n",
        b"{\"format\":1}\n",
        b"{\"format\":2,\"shape\":\"of tomorrow\"}\n",
        &record("a", "t", 2, 2),
        text.replace("1970-01-01T00:00:00.000000001Z", "yesterday\\u001b[31m").as_bytes(),
        &good[..good.len() / 2],
    ]
    .concat();
    let path = folder.path().join("x.jsonl");
    fs::write(&path, lines).unwrap();
    let mut reader = RecordReader::open(std::slice::from_ref(&path), &Selection::default()).unwrap();
    let told: Vec<_> = reader.unreadable.iter().map(ToString::to_string).collect();
    let expected = [
        (2, "not JSON"),
        (3, "not JSON"),
        (4, "not JSON"),
        (5, "not a record: something is missing"),
        (6, "format 2, but this version reads up to 1"),
        (8, "\"yesterday\u{fffd}[31m\" is no moment of time"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (told, (line, reason)) in told.iter().zip(expected) {
        assert!(told.contains(&format!("x.jsonl:{line}: ")) && told.contains(reason), "{told}");
    }
    assert_eq!((reader.unreadable_lines, reader.torn.len()), (6, 1));
    assert_eq!(seqs(&mut reader), [1, 2]);
}

#[test]
fn a_record_that_went_away_in_between_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    fs::write(&path, record("a", "t", 1, 1)).unwrap();
    let mut reader = RecordReader::open(std::slice::from_ref(&path), &Selection::default()).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(reader.next().is_none());
    assert!(matches!(reader.unreadable[..], [Unreadable { line: 1, reason: Wrong::Io(_), .. }]));
    assert!(RecordReader::open(&[path], &Selection::default()).is_err());
}
