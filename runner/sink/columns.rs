//! Columns of a batch by name, for those who read batches: one place knows how a column is found, and which
//! verdicts belong to which attempt.

use std::io;
use std::ops::Range;

use arrow::array::{Array, AsArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;

use super::batch::ResultBatch;

/// A column of a known type.
pub(crate) fn column<'a, T>(
    batch: &'a RecordBatch,
    name: &str,
    typed: impl FnOnce(&'a dyn Array) -> Option<&'a T>,
) -> io::Result<&'a T> {
    let found = batch.column_by_name(name).and_then(|column| typed(column.as_ref()));
    found.ok_or_else(|| io::Error::other(format!("no column \"{name}\"")))
}

/// A column of texts.
pub(crate) fn text<'a>(batch: &'a RecordBatch, name: &str) -> io::Result<&'a StringArray> {
    column(batch, name, |column| column.as_string_opt::<i32>())
}

/// A column of 64-bit integers.
pub(crate) fn long<'a>(batch: &'a RecordBatch, name: &str) -> io::Result<&'a Int64Array> {
    column(batch, name, |column| column.as_primitive_opt::<Int64Type>())
}

/// A column of 32-bit integers.
pub(crate) fn int<'a>(batch: &'a RecordBatch, name: &str) -> io::Result<&'a Int32Array> {
    column(batch, name, |column| column.as_primitive_opt::<Int32Type>())
}

/// A column of times.
pub(crate) fn time<'a>(batch: &'a RecordBatch, name: &str) -> io::Result<&'a TimestampMicrosecondArray> {
    column(batch, name, |column| column.as_primitive_opt::<TimestampMicrosecondType>())
}

/// For each row of `probes` its rows of `checks`. Both tables of a batch stand in the same order, so one
/// walk finds them all.
pub(crate) fn verdicts(batch: &ResultBatch) -> io::Result<Vec<Range<usize>>> {
    let (probes, checks) = (long(&batch.probes, "seq")?, long(&batch.checks, "seq")?);
    let mut next = 0;
    let of_row = |row| {
        let first = next;
        while next < checks.len() && checks.value(next) == probes.value(row) {
            next += 1;
        }
        first..next
    };
    Ok((0..probes.len()).map(of_row).collect())
}
