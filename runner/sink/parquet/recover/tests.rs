//! Journals read back after every kind of damage.

use std::fs;

use arrow::array::AsArray;
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;

use super::*;
use crate::sink::parquet::journal::FrameEncoder;
use crate::sink::samples;

/// A journal of four batches, and where each frame ends: (kind, end).
struct Sample {
    bytes: Vec<u8>,
    frames: Vec<(FrameKind, usize, usize)>,
}

/// Batches of 2 results with 2 verdicts, 1 with 1, 1 without any, 1 with 1.
fn sample() -> Sample {
    let mut encoder = FrameEncoder::new().unwrap();
    let mut bytes = encoder.preamble().to_vec();
    let batches = [
        vec![samples::full(1), samples::empty(2)],
        vec![samples::full(3)],
        vec![samples::refused(4)],
        vec![samples::empty(5)],
    ];
    for results in &batches {
        encoder.encode(&samples::batch(results), &mut bytes).unwrap();
    }
    let mut frames = Vec::new();
    let mut at = FILE_HEADER;
    while at < bytes.len() {
        let header = FrameHeader::of_bytes(bytes[at..at + FRAME_HEADER].try_into().unwrap()).unwrap();
        let end = at + FRAME_HEADER + header.len as usize;
        frames.push((header.kind, at, end));
        at = end;
    }
    let kinds: Vec<_> = frames.iter().map(|(kind, ..)| *kind).collect();
    let (checks, probes) = (FrameKind::Rows(Table::Checks), FrameKind::Rows(Table::Probes));
    let schemas = [FrameKind::Schema(Table::Checks), FrameKind::Schema(Table::Probes)];
    assert_eq!(kinds, [&schemas[..], &[checks, probes, checks, probes, probes, checks, probes]].concat());
    Sample { bytes, frames }
}

const PROBES_OF: [(usize, u64); 4] = [(3, 2), (5, 1), (6, 1), (8, 1)];
const CHECKS_OF: [(usize, u64); 3] = [(2, 2), (4, 1), (7, 1)];

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self, bytes: &[u8]) -> Result<JournalReader, SinkError> {
        let path = self.0.path().join("journal");
        fs::write(&path, bytes).unwrap();
        JournalReader::open(&path)
    }
}

fn seqs(reader: &JournalReader, table: Table) -> Vec<i64> {
    let (batches, undecodable) = reader.read(table).unwrap();
    assert_eq!(undecodable, 0);
    let column = |batch: &RecordBatch| batch["seq"].as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flat_map(column).collect()
}

#[test]
fn a_whole_journal_is_read_back() {
    let Sample { bytes, .. } = sample();
    let reader = Folder::new().open(&bytes).unwrap();
    assert_eq!(reader.contents().unwrap(), Contents { probes: 5, checks: 4, skipped: 0, torn_bytes: 0 });
    assert_eq!(seqs(&reader, Table::Probes), [1, 2, 3, 4, 5]);
    assert_eq!(seqs(&reader, Table::Checks), [1, 2, 3, 5]);
    let (batches, _) = reader.read(Table::Probes).unwrap();
    let whole =
        [samples::full(1), samples::empty(2), samples::full(3), samples::refused(4), samples::empty(5)];
    let batches = concat_batches(&Table::Probes.schema(), &batches).unwrap();
    assert_eq!(batches, samples::batch(&whole).probes);
}

#[test]
fn a_torn_tail_is_cut_at_every_offset() {
    let Sample { bytes, frames } = sample();
    let folder = Folder::new();
    // Two batches with verdicts are enough, and each offset costs.
    let longest = frames[5].2;
    folder.open(&bytes[..longest]).unwrap();
    let path = folder.0.path().join("journal");
    for len in (0..longest).rev() {
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(len as u64).unwrap();
        let reader = JournalReader::open(&path).unwrap();
        let contents = reader.contents().unwrap();
        let whole = |frame: usize| frames[frame].2 <= len;
        let probes: u64 = PROBES_OF.iter().filter(|(frame, _)| whole(*frame)).map(|(_, rows)| rows).sum();
        // Verdicts count with the attempt behind them.
        let checks: u64 = CHECKS_OF.iter().filter(|(frame, _)| whole(frame + 1)).map(|(_, rows)| rows).sum();
        assert_eq!((contents.probes, contents.checks, contents.skipped), (probes, checks, 0), "cut at {len}");
        let near_an_end = frames.iter().any(|(_, _, end)| end.abs_diff(len) < 2);
        if near_an_end || len % 499 == 0 {
            assert_eq!(seqs(&reader, Table::Probes), (1..=probes as i64).collect::<Vec<_>>(), "cut at {len}");
            assert_eq!(seqs(&reader, Table::Checks).len() as u64, checks, "cut at {len}");
        }
    }
}

#[test]
fn a_tail_of_zeros_is_cut() {
    let Sample { mut bytes, .. } = sample();
    bytes.resize(bytes.len() + 100_000, 0);
    let contents = Folder::new().open(&bytes).unwrap().contents().unwrap();
    assert_eq!(contents, Contents { probes: 5, checks: 4, skipped: 0, torn_bytes: 100_000 });
}

#[test]
fn damage_costs_the_frame_that_it_hits_and_no_other() {
    let Sample { bytes, frames } = sample();
    let folder = Folder::new();
    for at in (0..bytes.len())
        .step_by(13)
        .chain(frames.iter().flat_map(|(_, start, _)| *start..start + FRAME_HEADER))
    {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        let Ok(reader) = folder.open(&damaged) else { panic!("damaged at {at}") };
        let contents = reader.contents().unwrap();
        let hit = frames.iter().position(|(_, start, end)| (*start..*end).contains(&at));
        let probes: u64 =
            PROBES_OF.iter().filter(|(frame, _)| Some(*frame) != hit).map(|(_, rows)| rows).sum();
        // The last verdicts have lost what makes them valid.
        let lost = |frame: usize| Some(frame) == hit || (frame == 7 && hit == Some(8));
        let checks: u64 = CHECKS_OF.iter().filter(|(frame, _)| !lost(*frame)).map(|(_, rows)| rows).sum();
        assert_eq!((contents.probes, contents.checks), (probes, checks), "damaged at {at}");
        let at_the_end = hit == Some(frames.len() - 1);
        assert_eq!(contents.skipped, u64::from(!at_the_end), "damaged at {at}");
        assert_eq!(contents.torn_bytes > 0, at_the_end, "damaged at {at}");
        if at % 41 == 0 {
            assert_eq!(seqs(&reader, Table::Probes).len() as u64, probes, "damaged at {at}");
            assert_eq!(seqs(&reader, Table::Checks).len() as u64, checks, "damaged at {at}");
        }
    }
}

#[test]
fn missing_and_repeated_stretches_cost_what_they_hit() {
    let Sample { bytes, frames } = sample();
    let folder = Folder::new();
    let (_, start, end) = frames[5];
    // The middle of one frame is gone: those behind it have moved.
    let missing = [&bytes[..start + 100], &bytes[start + 200..]].concat();
    let reader = folder.open(&missing).unwrap();
    assert_eq!(seqs(&reader, Table::Probes), [1, 2, 4, 5]);
    assert_eq!(reader.contents().unwrap().skipped, 1);
    // Rubbish between two frames.
    let rubbish =
        [&bytes[..end], &b"rubbish \xF5PF\xFF and more of it, longer than a header"[..], &bytes[end..]]
            .concat();
    let reader = folder.open(&rubbish).unwrap();
    assert_eq!(seqs(&reader, Table::Probes), [1, 2, 3, 4, 5]);
    assert_eq!(reader.contents().unwrap().skipped, 1);
}

#[test]
fn what_is_no_journal_is_refused_and_a_newer_one_too() {
    let folder = Folder::new();
    for bytes in [&[0_u8; 4_096][..], b"x", b"PAR1PAR1PAR1PAR1PAR1PAR1"] {
        let refused = folder.open(bytes).unwrap().contents();
        assert!(matches!(refused, Err(SinkError::UnreadableJournal { .. })));
    }
    let Sample { mut bytes, .. } = sample();
    bytes[10..12].copy_from_slice(&(SCHEMA_VERSION + 1).to_le_bytes());
    let sum = crc32c::crc32c(&bytes[0..12]);
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    assert!(matches!(folder.open(&bytes), Err(SinkError::NewerJournal { schema: 2, .. })));
}

#[test]
fn an_older_schema_gets_nulls_for_what_it_did_not_have() {
    let batch = samples::batch(&[samples::full(1)]).probes;
    let kept: Vec<_> = (0..batch.num_columns() - 2).collect();
    let present = present_columns(&batch.project(&kept).unwrap(), Table::Probes).unwrap();
    assert_eq!(present.schema(), Table::Probes.schema());
    assert_eq!(present["checks_failed"].null_count(), 1);
    assert_eq!(&present["seq"], &batch["seq"]);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    /// Whatever happens to a journal: reading it ends, and gives nothing that was not written.
    #[test]
    fn no_damage_invents_rows(
        edits in proptest::collection::vec((0_usize..30_000, proptest::prelude::any::<u8>()), 0..40),
        cut in 0_usize..30_000,
    ) {
        let Sample { mut bytes, .. } = sample();
        for (at, value) in edits {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        bytes.truncate(cut.max(1));
        if let Ok(reader) = Folder::new().open(&bytes) && let Ok(contents) = reader.contents() {
            let found = seqs(&reader, Table::Probes);
            proptest::prop_assert_eq!(found.len() as u64, contents.probes);
            proptest::prop_assert!(found.is_sorted() && found.iter().all(|seq| (1..=5).contains(seq)));
        }
    }
}
