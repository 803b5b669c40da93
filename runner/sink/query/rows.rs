//! The rows of one segment, in batches of one form whatever they come from: the columns that are asked for, in that
//! order, texts as dictionaries, null where an older file has no such column.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use ::parquet::file::statistics::Statistics;
use arrow::array::{ArrayRef, new_null_array};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::Window;
use super::segments::Source;
use crate::sink::SinkError;
use crate::sink::parquet::Table;
use crate::sink::parquet::recover::JournalReader;

/// Rows of a batch.
const BATCH_ROWS: usize = 8_192;

/// What is asked of every segment.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    table: Table,
    window: Window,
    schema: SchemaRef,
}

impl Wanted {
    /// These columns of a table, of row groups that may have rows in the window. Which rows lie in it is up to whoever
    /// takes the batches.
    pub(crate) fn new(table: Table, columns: &[&str], window: Window) -> Self {
        let known = table.schema();
        let fields = columns.iter().filter_map(|name| known.field_with_name(name).ok());
        let fields = fields.map(|field| Field::new(field.name(), uniform(field.data_type()), true));
        Self { table, window, schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())) }
    }
}

/// The type in which a column is given on.
fn uniform(stored: &DataType) -> DataType {
    match stored {
        DataType::Utf8 => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        other => other.clone(),
    }
}

/// Why a segment could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// It is not there any more.
    #[error("it is gone")]
    Gone,
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is damaged, or no file of ours.
    #[error(transparent)]
    Parquet(#[from] ParquetError),
    /// Its columns are not those of the contract.
    #[error(transparent)]
    Columns(#[from] ArrowError),
    /// The journal could not be read.
    #[error(transparent)]
    Journal(SinkError),
    /// Parts of a journal are damaged; the rest was read.
    #[error("{0} damaged stretches of the journal are left out")]
    Damaged(u64),
}

impl From<SinkError> for ReadError {
    fn from(error: SinkError) -> Self {
        match error {
            SinkError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Self::Gone,
            error => Self::Journal(error),
        }
    }
}

/// Takes batches.
pub(crate) type Take<'a> = &'a mut dyn FnMut(&RecordBatch) -> Result<(), ArrowError>;

/// Reads what of a segment begins within a range of its bytes: who reads all of a file in several ranges reads each
/// row once.
pub(crate) fn read(
    source: &Source,
    share: &Range<u64>,
    wanted: &Wanted,
    take: Take<'_>,
) -> Result<(), ReadError> {
    match source.is_journal {
        true if share.contains(&0) => journal(source, wanted, take),
        true => Ok(()),
        false => file(source, share, wanted, take),
    }
}

fn file(source: &Source, share: &Range<u64>, wanted: &Wanted, take: Take<'_>) -> Result<(), ReadError> {
    let file = match File::open(&source.path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ReadError::Gone),
        file => file?,
    };
    let stored = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
    let fields = stored.schema().fields().iter().map(|field| {
        let named = wanted.schema.field_with_name(field.name());
        let wished = named.map_or(field.data_type(), Field::data_type);
        // Only texts can come in another form than the stored one.
        if uniform(field.data_type()) == *wished {
            Arc::new(field.as_ref().clone().with_data_type(wished.clone()))
        } else {
            Arc::clone(field)
        }
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = ArrowReaderOptions::new().with_schema(schema);
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(stored.metadata()), options)?;
    let groups = groups(metadata.metadata(), share, wanted.window);
    if groups.is_empty() {
        return Ok(());
    }
    let fields = stored.schema().fields().iter().enumerate();
    let columns = fields.filter(|(_, field)| wanted.schema.field_with_name(field.name()).is_ok());
    let mask = ProjectionMask::roots(metadata.parquet_schema(), columns.map(|(at, _)| at));
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
        .with_projection(mask)
        .with_row_groups(groups)
        .with_batch_size(BATCH_ROWS)
        .build()?;
    for batch in reader {
        take(&in_form(&batch?, &wanted.schema)?)?;
    }
    Ok(())
}

/// The row groups that begin in the share and may have rows in the window.
fn groups(footer: &ParquetMetaData, share: &Range<u64>, window: Window) -> Vec<usize> {
    let is_wanted = |group: &RowGroupMetaData| {
        let begin = group.columns().iter().map(|column| column.byte_range().0).min().unwrap_or(0);
        share.contains(&begin) && may_hold(group, window)
    };
    let groups = footer.row_groups().iter().enumerate();
    groups.filter(|(_, group)| is_wanted(group)).map(|(at, _)| at).collect()
}

/// Whether a row group may have rows in the window, by its statistics.
fn may_hold(group: &RowGroupMetaData, window: Window) -> bool {
    let started = group.columns().iter().find(|column| column.column_path().parts() == ["started_at"]);
    let Some(Statistics::Int64(range)) = started.and_then(|column| column.statistics()) else { return true };
    let (Some(min), Some(max)) = (range.min_opt(), range.max_opt()) else { return true };
    *min < window.until.micros() && window.since.micros() <= *max
}

fn journal(source: &Source, wanted: &Wanted, take: Take<'_>) -> Result<(), ReadError> {
    let reader = JournalReader::open(&source.path)?;
    let mut small: Vec<RecordBatch> = Vec::new();
    let mut rows = 0;
    let undecodable = reader.visit(wanted.table, &mut |batch| {
        rows += batch.num_rows();
        small.push(in_form(&batch, &wanted.schema)?);
        if rows < BATCH_ROWS {
            return Ok(());
        }
        rows = 0;
        take(&concat_batches(&wanted.schema, &std::mem::take(&mut small))?)
    })?;
    if !small.is_empty() {
        take(&concat_batches(&wanted.schema, &small)?)?;
    }
    if undecodable > 0 { Err(ReadError::Damaged(undecodable)) } else { Ok(()) }
}

/// A batch in the form that is asked for.
fn in_form(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let rows = batch.num_rows();
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        None => Ok(new_null_array(field.data_type(), rows)),
        Some(column) if column.data_type() == field.data_type() => Ok(ArrayRef::clone(column)),
        Some(column) if column.data_type() == &DataType::Utf8 => cast(column, field.data_type()),
        Some(column) => {
            let (name, found) = (field.name(), column.data_type());
            Err(ArrowError::SchemaError(format!("column \"{name}\" is of the type {found}")))
        }
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}
