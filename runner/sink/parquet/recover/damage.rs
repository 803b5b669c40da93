//! D19: a journal that was damaged in any way and at every offset. Recovery gives exactly the frames that are
//! still whole, each once, and ends.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use proptest::prelude::{Just, Strategy, any, prop_oneof};

use super::*;
use crate::sink::parquet::convert::convert;
use crate::sink::parquet::folders::Folders;
use crate::sink::parquet::journal::FrameEncoder;
use crate::sink::samples;

/// A small journal, and each of its frames of rows: kind, begin, end, numbers of its rows.
struct Sample {
    bytes: Vec<u8>,
    frames: Vec<(FrameKind, usize, usize, Vec<i64>)>,
}

/// Three batches: one row with a verdict, one without, one with again.
fn sample() -> Sample {
    let mut encoder = FrameEncoder::new().unwrap();
    let mut bytes = encoder.preamble().to_vec();
    for result in [samples::empty(1), samples::refused(2), samples::empty(3)] {
        encoder.encode(&samples::batch(&[result]), &mut bytes).unwrap();
    }
    let mut frames = Vec::new();
    let (mut at, mut seq) = (FILE_HEADER, 0);
    while at < bytes.len() {
        let header = FrameHeader::of_bytes(bytes[at..at + FRAME_HEADER].try_into().unwrap()).unwrap();
        let end = at + FRAME_HEADER + header.len as usize;
        match header.kind {
            FrameKind::Schema(_) => frames.push((header.kind, at, end, Vec::new())),
            // Verdicts stand before their attempt.
            FrameKind::Rows(Table::Checks) => frames.push((header.kind, at, end, vec![seq + 1])),
            FrameKind::Rows(Table::Probes) => {
                seq += 1;
                frames.push((header.kind, at, end, vec![seq]));
            }
        }
        at = end;
    }
    assert_eq!((frames.len(), seq), (7, 3));
    assert!(frames[..2].iter().all(|(kind, ..)| matches!(kind, FrameKind::Schema(_))));
    Sample { bytes, frames }
}

impl Sample {
    /// What a journal of these bytes has to give: the numbers of each table, of every frame that stands in it
    /// whole. Verdicts that nothing sound follows have lost their attempt.
    fn expected(&self, damaged: &[u8]) -> (BTreeSet<i64>, BTreeSet<i64>) {
        let mut found: Vec<(usize, FrameKind, &[i64])> = Vec::new();
        for (kind, start, end, seqs) in &self.frames {
            let frame = &self.bytes[*start..*end];
            let places = damaged.windows(frame.len()).enumerate().filter(|(_, window)| *window == frame);
            found.extend(places.map(|(at, _)| (at, *kind, seqs.as_slice())));
        }
        found.sort_unstable_by_key(|(at, ..)| *at);
        if found.last().is_some_and(|(_, kind, _)| *kind == FrameKind::Rows(Table::Checks)) {
            found.pop();
        }
        let of = |table| {
            let frames = found.iter().filter(|(_, kind, _)| *kind == FrameKind::Rows(table));
            frames.flat_map(|(_, _, seqs)| seqs.iter().copied()).collect()
        };
        (of(Table::Probes), of(Table::Checks))
    }

    /// How many rows of each table are in the frames that `hit` does not touch.
    fn rows_beside(&self, hit: impl Fn(usize, usize) -> bool) -> (u64, u64) {
        let whole: Vec<_> = self.frames.iter().filter(|(_, start, end, _)| !hit(*start, *end)).collect();
        let counted = match whole.as_slice() {
            [before @ .., (FrameKind::Rows(Table::Checks), ..)] => before,
            all => all,
        };
        let of = |table| counted.iter().filter(|(kind, ..)| *kind == FrameKind::Rows(table)).count() as u64;
        (of(Table::Probes), of(Table::Checks))
    }
}

fn seqs(reader: &JournalReader, table: Table) -> Vec<i64> {
    let (batches, undecodable) = reader.read(table).unwrap();
    assert_eq!(undecodable, 0);
    let column = |batch: &RecordBatch| {
        use arrow::array::AsArray;
        batch["seq"].as_primitive::<arrow::datatypes::Int64Type>().values().to_vec()
    };
    batches.iter().flat_map(column).collect()
}

/// A journal on the disk, to be damaged in place.
struct OnDisk {
    _folder: tempfile::TempDir,
    path: PathBuf,
    file: fs::File,
}

impl OnDisk {
    fn new(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        fs::write(&path, bytes).unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        Self { _folder: folder, path, file }
    }

    fn contents(&self) -> Contents {
        JournalReader::open(&self.path).unwrap().contents().unwrap()
    }
}

/// The same without the schemas, of which most of it is.
fn small() -> Sample {
    let Sample { bytes, frames } = sample();
    let rows_at = frames[2].1;
    let less = rows_at - FILE_HEADER;
    let moved =
        frames.into_iter().skip(2).map(|(kind, start, end, seqs)| (kind, start - less, end - less, seqs));
    Sample { bytes: [&bytes[..FILE_HEADER], &bytes[rows_at..]].concat(), frames: moved.collect() }
}

const PATTERNS: [u8; 3] = [0xff, 0x01, 0x80];

#[test]
fn d19_a_damaged_byte_costs_its_frame_and_no_other() {
    let sample = small();
    let disk = OnDisk::new(&sample.bytes);
    for (at, byte) in sample.bytes.iter().enumerate() {
        let expected = sample.rows_beside(|start, end| (start..end).contains(&at));
        let in_header = at < FILE_HEADER
            || sample.frames.iter().any(|(_, start, ..)| (*start..start + FRAME_HEADER).contains(&at));
        // In a payload all are the same to its checksum: one at a time, in turns.
        for pattern in
            PATTERNS.into_iter().skip(if in_header { 0 } else { at % 3 }).take(if in_header { 3 } else { 1 })
        {
            disk.file.write_all_at(&[byte ^ pattern], at as u64).unwrap();
            let contents = disk.contents();
            assert_eq!((contents.probes, contents.checks), expected, "{at} ^ {pattern:#x}");
        }
        disk.file.write_all_at(&[*byte], at as u64).unwrap();
    }
    assert_eq!(disk.contents(), Contents { probes: 3, checks: 2, skipped: 0, torn_bytes: 0 });
}

#[test]
fn d19_a_tail_of_zeros_from_every_offset_is_cut() {
    let sample = small();
    let disk = OnDisk::new(&sample.bytes);
    for at in (FILE_HEADER..sample.bytes.len()).rev() {
        disk.file.write_all_at(&[0], at as u64).unwrap();
        let contents = disk.contents();
        // Where a frame ends in zeros, it is whole until something else is lost.
        let lost = (at..sample.bytes.len()).find(|at| sample.bytes[*at] != 0).unwrap_or(usize::MAX);
        let expected = sample.rows_beside(|_, end| end > lost);
        assert_eq!((contents.probes, contents.checks), expected, "zeros from {at}");
        assert_eq!(contents.skipped, 0, "zeros from {at}");
    }
}

/// One way to damage a journal. Places and lengths are taken modulo what is there.
#[derive(Debug, Clone)]
enum Damage {
    Flip(usize, u8),
    Zero(usize, usize),
    Cut(usize),
    Remove(usize, usize),
    /// A stretch comes again, at another place.
    Repeat(usize, usize, usize),
    Insert(usize, Vec<u8>),
    /// Two frames change places, whole.
    Swap(usize, usize),
    /// A frame comes again at the end.
    RepeatFrame(usize),
}

impl Damage {
    fn apply(&self, sample: &Sample, bytes: &mut Vec<u8>) {
        let len = bytes.len().max(1);
        let stretch = |at: usize, length: usize| {
            let start = at % len;
            start.min(bytes.len())..(start + length % 4_000).min(bytes.len())
        };
        match self {
            Self::Flip(at, pattern) => {
                if let Some(byte) = bytes.get_mut(at % len) {
                    *byte ^= pattern;
                }
            }
            Self::Zero(at, length) => {
                let range = stretch(*at, *length);
                bytes[range].fill(0);
            }
            Self::Cut(at) => bytes.truncate(at % len),
            Self::Remove(at, length) => drop(bytes.drain(stretch(*at, *length))),
            Self::Repeat(at, length, to) => {
                let copy = bytes[stretch(*at, *length)].to_vec();
                let to = to % len;
                drop(bytes.splice(to.min(bytes.len())..to.min(bytes.len()), copy));
            }
            Self::Insert(at, rubbish) => {
                let at = (at % len).min(bytes.len());
                drop(bytes.splice(at..at, rubbish.iter().copied()));
            }
            Self::Swap(one, other) => {
                // Of the undamaged journal: what was done to it before is undone.
                let mut order: Vec<_> = (0..sample.frames.len()).collect();
                let count = order.len();
                order.swap(one % count, other % count);
                let frames = order.iter().map(|at| &sample.frames[*at]);
                let moved = frames.flat_map(|(_, start, end, _)| sample.bytes[*start..*end].to_vec());
                *bytes = sample.bytes[..FILE_HEADER].iter().copied().chain(moved).collect();
            }
            Self::RepeatFrame(number) => {
                let (_, start, end, _) = sample.frames[number % sample.frames.len()];
                bytes.extend_from_slice(&sample.bytes[start..end]);
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = 0_usize..40_000;
    let pattern = prop_oneof![Just(0xff_u8), Just(0x01), Just(0x80), 1_u8..];
    // With the begin of a frame in it, now and then.
    let rubbish = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..100),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(|rest| [&FRAME_MAGIC[..], &rest].concat()),
    ];
    prop_oneof![
        (place.clone(), pattern).prop_map(|(at, pattern)| Damage::Flip(at, pattern)),
        (place.clone(), place.clone()).prop_map(|(at, length)| Damage::Zero(at, length)),
        place.clone().prop_map(Damage::Cut),
        (place.clone(), place.clone()).prop_map(|(at, length)| Damage::Remove(at, length)),
        (place.clone(), place.clone(), place.clone())
            .prop_map(|(at, length, to)| Damage::Repeat(at, length, to)),
        (place.clone(), rubbish).prop_map(|(at, rubbish)| Damage::Insert(at, rubbish)),
        (place.clone(), place.clone()).prop_map(|(one, other)| Damage::Swap(one, other)),
        place.prop_map(Damage::RepeatFrame),
    ]
}

/// The number of cases: `PROPTEST_CASES` for more.
fn cases(usual: u32) -> proptest::prelude::ProptestConfig {
    let wanted = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    proptest::prelude::ProptestConfig::with_cases(wanted.unwrap_or(usual))
}

proptest::proptest! {
    #![proptest_config(cases(256))]
    /// What is read is what is whole: every such frame, as often as it stands there, and nothing else.
    #[test]
    fn f_journal_what_is_whole_is_read(all in proptest::collection::vec(damage(), 1..6)) {
        let sample = sample();
        let mut bytes = sample.bytes.clone();
        for damage in &all {
            damage.apply(&sample, &mut bytes);
        }
        let (probes, checks) = sample.expected(&bytes);
        let disk = OnDisk::new(&bytes);
        let reader = JournalReader::open(&disk.path).unwrap();
        if reader.contents().is_err() {
            proptest::prop_assert!(probes.is_empty() && checks.is_empty());
            return Ok(());
        }
        proptest::prop_assert_eq!(seqs(&reader, Table::Probes).into_iter().collect::<BTreeSet<_>>(), probes);
        proptest::prop_assert_eq!(seqs(&reader, Table::Checks).into_iter().collect::<BTreeSet<_>>(), checks);
    }
}

proptest::proptest! {
    #![proptest_config(cases(24))]
    /// And what is published is that, each row once. The damaged journal stays in quarantine.
    #[test]
    fn f_journal_what_is_whole_is_published_once(all in proptest::collection::vec(damage(), 1..4)) {
        let sample = sample();
        let mut bytes = sample.bytes.clone();
        for damage in &all {
            damage.apply(&sample, &mut bytes);
        }
        let (probes, checks) = sample.expected(&bytes);
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders::new(&folder.path().join("results"), "main").unwrap();
        folders.make().unwrap();
        let journal = samples::left_journal(&folders, 1, &[]);
        fs::write(&journal, &bytes).unwrap();
        match convert(&folders, &journal) {
            Err(error) => {
                proptest::prop_assert!(matches!(error, SinkError::UnreadableJournal { .. }), "{}", error);
                proptest::prop_assert!(probes.is_empty() && checks.is_empty() && journal.exists());
            }
            Ok(done) => {
                proptest::prop_assert!(!journal.exists());
                let kept = folders.quarantine().join(journal.file_name().unwrap());
                proptest::prop_assert_eq!(done.quarantined, kept.exists());
                if done.quarantined {
                    proptest::prop_assert_eq!(fs::read(kept).unwrap(), bytes);
                }
                let found = |table| samples::all_seqs(&folders.results, table);
                proptest::prop_assert_eq!(found(Table::Probes), probes.into_iter().collect::<Vec<_>>());
                proptest::prop_assert_eq!(found(Table::Checks), checks.into_iter().collect::<Vec<_>>());
            }
        }
    }
}
