//! Sorted files become one: rows are taken from whichever comes next, so that a few rows of each file are in memory and
//! never a whole one.

use std::fs::File;
use std::hash::Hasher as _;
use std::path::{Path, PathBuf};

use ::parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use ::parquet::arrow::{ArrowWriter, ProjectionMask};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::ParquetMetaData;
use arrow::array::{Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::compute::interleave_record_batch;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use twox_hash::XxHash3_64;

use super::recover::present_columns;
use super::schema::{SCHEMA_VERSION, Table};
use crate::sink::columns;

/// Rows of each file that are in memory.
const READ_ROWS: usize = 1_024;
/// Rows that are written at once.
const WRITE_ROWS: usize = 8_192;

/// Why files could not be merged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MergeError {
    /// A file cannot be read.
    #[error("\"{}\" cannot be read: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        source: ParquetError,
    },
    /// The rows of a file are in another order than it was written in.
    #[error("\"{}\" is not sorted by target and time", .path.display())]
    Unsorted {
        /// The file.
        path: PathBuf,
    },
    /// It has columns that this version would lose.
    #[error("\"{}\" was written by a newer version (schema {schema}); run that version", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        schema: u16,
    },
    /// Columns do not fit together.
    #[error(transparent)]
    Columns(#[from] ArrowError),
    /// The output could not be written.
    #[error(transparent)]
    Write(#[from] ParquetError),
}

impl MergeError {
    fn read(path: &Path) -> impl Fn(ParquetError) -> Self {
        move |source| Self::Read { path: path.to_owned(), source }
    }
}

/// Which rows there are, whatever their order: their number, and a sum over their keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) rows: u64,
    sum: u64,
}

impl Keys {
    fn add(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let (runs, seqs) = (columns::text(batch, "run_id")?, columns::long(batch, "seq")?);
        // Of several verdicts of one attempt each counts.
        let names =
            batch.column_by_name("check_name").map(|_| columns::text(batch, "check_name")).transpose()?;
        for row in 0..batch.num_rows() {
            let mut hasher = XxHash3_64::new();
            hasher.write(runs.value(row).as_bytes());
            hasher.write_i64(seqs.value(row));
            if let Some(names) = names {
                hasher.write(names.value(row).as_bytes());
            }
            self.sum = self.sum.wrapping_add(hasher.finish());
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// These rows and others.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { rows: self.rows + other.rows, sum: self.sum.wrapping_add(other.sum) }
    }

    /// The rows of a file.
    pub(crate) fn of_file(path: &Path) -> Result<Self, MergeError> {
        let builder = open(path)?;
        let key = |name: &str| ["run_id", "seq", "check_name"].contains(&name);
        let fields = builder.schema().fields().iter().enumerate();
        let wanted: Vec<_> = fields.filter(|(_, field)| key(field.name())).map(|(at, _)| at).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
        let mut keys = Self::default();
        for batch in builder.with_projection(mask).build().map_err(MergeError::read(path))? {
            keys.add(&batch?)?;
        }
        Ok(keys)
    }
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, MergeError> {
    let file = File::open(path).map_err(|error| MergeError::read(path)(error.into()))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(MergeError::read(path))
}

/// Merges files of a table into a writer. Returns the rows that went in.
pub(crate) fn merge<W: std::io::Write + Send>(
    table: Table,
    files: &[PathBuf],
    out: &mut ArrowWriter<W>,
) -> Result<Keys, MergeError> {
    let mut keys = Keys::default();
    let mut held = Held { batches: Vec::new(), picked: Vec::with_capacity(WRITE_ROWS) };
    let mut cursors = Vec::new();
    for path in files {
        let reader = open(path)?;
        refuse_newer(path, reader.metadata())?;
        let reader = reader.with_batch_size(READ_ROWS).build().map_err(MergeError::read(path))?;
        cursors.extend(Cursor::next(table, path, reader, None, &mut held, &mut keys)?);
    }
    while let Some((first, limit)) = next_two(&cursors) {
        // Rows of one target stand together, and files follow one another in time: a stretch comes from one file.
        let limit = limit.map(|at| (cursors[at].target(), cursors[at].number()));
        let limit = limit.map(|(target, number)| (target.to_owned(), number));
        let within = |cursor: &Cursor| {
            limit
                .as_ref()
                .is_none_or(|(target, number)| (cursor.target(), cursor.number()) <= (target, *number))
        };
        loop {
            let cursor = &mut cursors[first];
            held.picked.push((cursor.slot, cursor.row));
            if !cursor.step()? {
                let Cursor { path, reader, last, .. } = cursors.swap_remove(first);
                let next = Cursor::next(table, &path, reader, last, &mut held, &mut keys)?;
                cursors.extend(next);
                break;
            }
            if !within(&cursors[first]) {
                break;
            }
        }
        if held.picked.len() >= WRITE_ROWS {
            held.write(&mut cursors, out)?;
        }
    }
    held.write(&mut cursors, out)?;
    Ok(keys)
}

/// The cursor whose row comes first, and the one whose row comes after it.
fn next_two(cursors: &[Cursor]) -> Option<(usize, Option<usize>)> {
    let key = |at: usize| (cursors[at].target(), cursors[at].number());
    let mut found: Option<(usize, Option<usize>)> = None;
    for at in 0..cursors.len() {
        found = Some(match found {
            None => (at, None),
            Some((first, _)) if key(at) < key(first) => (at, Some(first)),
            Some((first, second)) if second.is_none_or(|second| key(at) < key(second)) => (first, Some(at)),
            Some(unchanged) => unchanged,
        });
    }
    found
}

fn refuse_newer(path: &Path, footer: &ParquetMetaData) -> Result<(), MergeError> {
    let entries = footer.file_metadata().key_value_metadata().into_iter().flatten();
    let mut version = entries.filter(|entry| entry.key == "probity.schema_version");
    let schema =
        version.next().and_then(|entry| entry.value.as_ref()?.parse().ok()).unwrap_or(SCHEMA_VERSION);
    if schema > SCHEMA_VERSION { Err(MergeError::Newer { path: path.to_owned(), schema }) } else { Ok(()) }
}

/// Batches that are in memory, and the rows of them that are to be written next.
struct Held {
    batches: Vec<RecordBatch>,
    /// As (batch, row).
    picked: Vec<(usize, usize)>,
}

impl Held {
    /// Writes what is picked, and lets go of what no cursor stands in.
    fn write<W: std::io::Write + Send>(
        &mut self,
        cursors: &mut [Cursor],
        out: &mut ArrowWriter<W>,
    ) -> Result<(), MergeError> {
        for rows in self.picked.chunks(WRITE_ROWS) {
            let batches: Vec<_> = self.batches.iter().collect();
            out.write(&interleave_record_batch(&batches, rows)?)?;
        }
        self.picked.clear();
        let mut batches = Vec::with_capacity(cursors.len());
        for cursor in cursors {
            batches.push(self.batches[cursor.slot].clone());
            cursor.slot = batches.len() - 1;
        }
        self.batches = batches;
        Ok(())
    }
}

/// A row of a file, and where to read on.
struct Cursor {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    /// Where [`Held`] has the batch.
    slot: usize,
    row: usize,
    targets: StringArray,
    started: TimestampMicrosecondArray,
    seqs: Int64Array,
    /// The key of the row before the batch.
    last: Option<(String, (i64, i64))>,
}

impl Cursor {
    /// The first row of the next batch of a file; none at its end.
    fn next(
        table: Table,
        path: &Path,
        mut reader: ParquetRecordBatchReader,
        last: Option<(String, (i64, i64))>,
        held: &mut Held,
        keys: &mut Keys,
    ) -> Result<Option<Self>, MergeError> {
        let Some(batch) = reader.next() else { return Ok(None) };
        let batch = batch.map_err(|error| MergeError::read(path)(error.into()))?;
        if batch.num_rows() == 0 {
            return Ok(None);
        }
        keys.add(&batch)?;
        let cursor = Self {
            path: path.to_owned(),
            reader,
            slot: held.batches.len(),
            row: 0,
            targets: columns::text(&batch, "target").map_err(ArrowError::from)?.clone(),
            started: columns::time(&batch, "started_at").map_err(ArrowError::from)?.clone(),
            seqs: columns::long(&batch, "seq").map_err(ArrowError::from)?.clone(),
            last: None,
        };
        held.batches.push(present_columns(&batch, table)?);
        match last {
            Some((target, number)) if (cursor.target(), cursor.number()) < (target.as_str(), number) => {
                Err(MergeError::Unsorted { path: path.to_owned() })
            }
            _ => Ok(Some(cursor)),
        }
    }

    fn target(&self) -> &str {
        self.targets.value(self.row)
    }

    fn number(&self) -> (i64, i64) {
        (self.started.value(self.row), self.seqs.value(self.row))
    }

    /// To the next row of the batch; false where there is none.
    fn step(&mut self) -> Result<bool, MergeError> {
        if self.row + 1 == self.targets.len() {
            self.last = Some((self.target().to_owned(), self.number()));
            return Ok(false);
        }
        let before = (self.targets.value(self.row), self.number());
        let next = (
            self.targets.value(self.row + 1),
            (self.started.value(self.row + 1), self.seqs.value(self.row + 1)),
        );
        if next < before {
            return Err(MergeError::Unsorted { path: self.path.clone() });
        }
        self.row += 1;
        Ok(true)
    }
}
