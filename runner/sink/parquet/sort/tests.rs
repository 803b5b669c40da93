//! Rows sorted with much memory and with little.

use arrow::compute::concat_batches;

use arrow::array::AsArray;

use super::*;
use crate::model::ProbeResult;
use crate::sink::samples;

/// All rows in order, and how many were doubles. Each frame counts as one byte.
fn sorted(table: Table, frames: &[RecordBatch], frames_in_memory: u64) -> (RecordBatch, u64) {
    let folder = tempfile::tempdir().unwrap();
    let folders = Folders::new(&folder.path().join("results"), "main").unwrap();
    let mut collected =
        Sorter::new(table, &folders, "x", frames.len() as u64).with_chunk_limit(frames_in_memory);
    for frame in frames {
        collected.push(frame.clone(), 1).unwrap();
    }
    let mut sorted = collected.finish().unwrap().unwrap();
    let mut parts = Vec::new();
    while let Some(rows) = sorted.next_rows().unwrap() {
        assert!(rows.num_rows() <= ROWS_AT_A_TIME);
        parts.push(rows);
    }
    assert_eq!(samples::files_below(folder.path()), Vec::<std::path::PathBuf>::new(), "nothing is left");
    (concat_batches(&table.schema(), &parts).unwrap(), sorted.doubled)
}

/// 60 frames of 1 to 7 results, whose times and targets are mixed.
fn frames() -> Vec<(RecordBatch, RecordBatch)> {
    let mut seq = 0;
    let frame = |number: i64| {
        let results: Vec<ProbeResult> = (0..=number % 7)
            .map(|_| {
                seq += 1;
                let shuffled = seq * 37 % 239;
                let started_at = samples::empty(shuffled).started_at;
                ProbeResult {
                    started_at,
                    ..if seq % 5 == 0 { samples::full(seq) } else { samples::empty(seq) }
                }
            })
            .collect();
        let batch = samples::batch(&results);
        (batch.probes, batch.checks)
    };
    (0..60).map(frame).collect()
}

#[test]
fn d20_little_memory_gives_the_same_rows_as_much() {
    let frames = frames();
    for table in Table::ALL {
        let of_table: Vec<_> = frames
            .iter()
            .map(|(probes, checks)| if table == Table::Probes { probes.clone() } else { checks.clone() })
            .collect();
        let (expected, _) = sorted(table, &of_table, u64::MAX);
        assert_eq!(expected.num_rows(), of_table.iter().map(RecordBatch::num_rows).sum::<usize>());
        let keys = Keys::of(&expected).unwrap();
        assert!((1..expected.num_rows()).all(|row| keys.key(row - 1) < keys.key(row)));
        for frames_in_memory in [1, 7, 25, 59, 60] {
            assert_eq!(
                sorted(table, &of_table, frames_in_memory),
                (expected.clone(), 0),
                "{frames_in_memory}"
            );
        }
    }
}

#[test]
fn d19_d24_a_frame_that_comes_twice_counts_once() {
    let frames = frames();
    for table in Table::ALL {
        let once: Vec<_> = frames
            .iter()
            .map(|(probes, checks)| if table == Table::Probes { probes.clone() } else { checks.clone() })
            .collect();
        let (expected, _) = sorted(table, &once, u64::MAX);
        let twice = [&once[..20], &once[3..9], &once[20..], &once[..2]].concat();
        let doubles = [&once[3..9], &once[..2]].concat().iter().map(RecordBatch::num_rows).sum::<usize>();
        for frames_in_memory in [1, 7, 25, 1_000] {
            let found = sorted(table, &twice, frames_in_memory);
            assert_eq!(found, (expected.clone(), doubles as u64), "{frames_in_memory}");
        }
    }
}

/// Two verdicts of one attempt have one key, and are no doubles.
#[test]
fn verdicts_of_one_attempt_keep_their_order() {
    let mut result = samples::full(1);
    let names = ["z", "a", "m"];
    result.verdicts = names.map(|name| samples::verdict(name, crate::model::CheckStatus::Pass)).to_vec();
    let frames = [samples::batch(&[result]).checks, samples::batch(&[samples::empty(4)]).checks];
    for frames_in_memory in [1, 10] {
        let (rows, doubled) = sorted(Table::Checks, &frames, frames_in_memory);
        let found: Vec<_> = rows["check_name"].as_string::<i32>().iter().flatten().collect();
        assert_eq!((found, doubled), (["z", "a", "m", "status"].to_vec(), 0), "{frames_in_memory}");
    }
}
