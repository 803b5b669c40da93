//! Rows to Parquet: sorted by target and time, in the encodings of the contract.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::schema::{SCHEMA_VERSION, Table};
use super::segment::SegmentName;

/// Rows of a row group: readers work on several at once, and skip some.
const ROW_GROUP_ROWS: usize = 131_072;
/// Rows sorted into place at a time; the sorted form of a segment is never in memory as a whole.
const CHUNK_ROWS: usize = 8_192;
/// What the footer says of the program.
const CREATED_BY: &str = concat!("probity version ", env!("CARGO_PKG_VERSION"));

/// Writes a table's rows as one Parquet file, sorted by (target, `started_at`). Returns the rows.
pub(crate) fn encode<W: Write + Send>(
    table: Table,
    segment: &SegmentName,
    batches: &[RecordBatch],
    out: W,
) -> Result<u64, ParquetError> {
    let order = sorted(batches)?;
    let sources: Vec<&RecordBatch> = batches.iter().collect();
    let mut writer = writer(table, segment, out)?;
    for chunk in order.chunks(CHUNK_ROWS) {
        writer.write(&interleave_record_batch(&sources, chunk)?)?;
    }
    writer.close()?;
    Ok(order.len() as u64)
}

/// A writer of a table's rows, which have to come sorted by (target, `started_at`).
pub(crate) fn writer<W: Write + Send>(
    table: Table,
    segment: &SegmentName,
    out: W,
) -> Result<ArrowWriter<W>, ParquetError> {
    ArrowWriter::try_new(out, table.schema(), Some(properties(table, segment)?))
}

/// Every row as (batch, row), sorted by target, time, number; verdicts of one attempt keep their order.
fn sorted(batches: &[RecordBatch]) -> Result<Vec<(usize, usize)>, ArrowError> {
    let mut rows = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for (at, batch) in batches.iter().enumerate() {
        let targets = column(batch, "target")?.as_string_opt::<i32>().ok_or_else(|| wrong_type("target"))?;
        let started = column(batch, "started_at")?
            .as_primitive_opt::<TimestampMicrosecondType>()
            .ok_or_else(|| wrong_type("started_at"))?;
        let seqs = column(batch, "seq")?.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong_type("seq"))?;
        let keys = targets.iter().zip(started.values()).zip(seqs.values()).enumerate();
        rows.extend(keys.map(|(row, ((target, started), seq))| (target, *started, *seq, (at, row))));
    }
    rows.sort_unstable();
    Ok(rows.into_iter().map(|(_, _, _, place)| place).collect())
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Arc<dyn Array>, ArrowError> {
    batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("no column \"{name}\"")))
}

fn wrong_type(name: &str) -> ArrowError {
    ArrowError::SchemaError(format!("column \"{name}\" has another type"))
}

/// The properties that the contract names; each was measured.
fn properties(table: Table, segment: &SegmentName) -> Result<WriterProperties, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_offset_index_disabled(false)
        .set_bloom_filter_enabled(false)
        .set_created_by(CREATED_BY.to_owned())
        .set_key_value_metadata(Some(footer(segment)))
        .set_sorting_columns(Some(sorting(table)));
    for column in table.columns().iter().filter(|column| column.delta) {
        let path = ColumnPath::from(column.name);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    Ok(properties.build())
}

fn footer(segment: &SegmentName) -> Vec<KeyValue> {
    let entries = [
        ("probity.schema_version", SCHEMA_VERSION.to_string()),
        ("probity.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("probity.segment", segment.to_string()),
        ("probity.runner", segment.runner.clone()),
        ("probity.run_id", segment.run_id.clone()),
    ];
    entries.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect()
}

/// Parquet numbers leaf columns; target and `started_at` stand before or after the first map.
fn sorting(table: Table) -> Vec<SortingColumn> {
    let columns = table.columns();
    let leaf = |name: &str| {
        let at = columns.iter().position(|column| column.name == name)?;
        let maps = columns[..at].iter().filter(|column| (column.data_type)().is_nested()).count();
        i32::try_from(at + maps).ok()
    };
    [leaf("target"), leaf("started_at")]
        .into_iter()
        .flatten()
        .map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: true })
        .collect()
}

#[cfg(test)]
mod tests;
