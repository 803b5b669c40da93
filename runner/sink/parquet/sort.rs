//! Rows sorted by (target, `started_at`, `seq`), however many there are: up to [`CHUNK_BYTES`] in memory, and
//! beyond it in sorted runs that wait in a file and are merged (`spill.rs`). So a conversion takes the same
//! memory for a journal of any length.
//!
//! A journal that was damaged may hold a frame twice. All rows of one attempt stand in one frame, so that
//! those of the same attempt in another frame are doubles: they are dropped and counted.

use arrow::array::{Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::compute::{concat_batches, interleave_record_batch};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::folders::Folders;
use super::schema::Table;
use super::spill::{Merge, Spill};
use crate::sink::{SinkError, columns};

/// Bytes of rows that are sorted in memory.
const CHUNK_BYTES: u64 = 16 << 20;
/// Rows handed on at a time.
pub(crate) const ROWS_AT_A_TIME: usize = 4_096;
/// Small batches are joined up to this many rows: each column of each batch has a fixed cost.
const JOINED_ROWS: usize = 8_192;

/// Collects the rows of one table, frame by frame.
pub(crate) struct Sorter<'a> {
    table: Table,
    folders: &'a Folders,
    /// The spill's name, where one is needed.
    name: String,
    /// Bytes of frames that will come, about.
    expected: u64,
    chunk_limit: u64,
    chunk: Chunk,
    spill: Option<Spill>,
    doubled: u64,
}

/// Rows in their order.
pub(crate) struct Sorted {
    source: Source,
    /// Rows that stood in the journal twice, so far.
    pub(crate) doubled: u64,
}

enum Source {
    Memory { batches: Vec<RecordBatch>, order: Vec<Place>, at: usize },
    Merge(Box<Merge>),
}

/// A row: batch, row in it.
type Place = (u32, u32);

impl<'a> Sorter<'a> {
    /// For about `expected` bytes of frames. Where they do not fit into memory, runs are kept in the folder for
    /// files on their way, in a file that has no name any more and so goes with the process.
    pub(crate) fn new(table: Table, folders: &'a Folders, name: &str, expected: u64) -> Self {
        let name = format!("{name}.runs");
        let chunk = Chunk::new(table);
        Self { table, folders, name, expected, chunk_limit: CHUNK_BYTES, chunk, spill: None, doubled: 0 }
    }

    /// Adds the rows of one frame, which took so many bytes.
    pub(crate) fn push(&mut self, batch: RecordBatch, bytes: u64) -> Result<(), SinkError> {
        self.chunk.push(batch, bytes)?;
        if self.chunk.bytes >= self.chunk_limit { self.spill_chunk() } else { Ok(()) }
    }

    /// What was added, in its order; none if that is nothing.
    pub(crate) fn finish(mut self) -> Result<Option<Sorted>, SinkError> {
        if self.spill.is_some() {
            self.spill_chunk()?;
        }
        let source = match self.spill {
            Some(spill) => Source::Merge(Box::new(spill.merge()?)),
            None if self.chunk.is_empty() => return Ok(None),
            None => {
                let (batches, order, doubled) = self.chunk.sorted()?;
                self.doubled += doubled;
                Source::Memory { batches, order, at: 0 }
            }
        };
        Ok(Some(Sorted { source, doubled: self.doubled }))
    }

    fn spill_chunk(&mut self) -> Result<(), SinkError> {
        let chunk = std::mem::replace(&mut self.chunk, Chunk::new(self.table));
        if chunk.is_empty() {
            return Ok(());
        }
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => {
                let runs = self.expected / self.chunk_limit + 1;
                // A block of each run is in memory when they are merged.
                none.insert(Spill::begin(self.table, self.folders, &self.name, self.chunk_limit / runs)?)
            }
        };
        let bytes = chunk.bytes;
        let (batches, order, doubled) = chunk.sorted()?;
        self.doubled += doubled;
        let row_bytes = bytes / (order.len() as u64).max(1);
        let sources: Vec<&RecordBatch> = batches.iter().collect();
        spill.begin_run();
        for part in order.chunks(spill.block_rows(row_bytes)) {
            spill.add(&rows_at(&sources, part)?)?;
        }
        Ok(())
    }

    /// As if there were as much memory for rows as this, in bytes.
    pub(crate) fn with_chunk_limit(self, chunk_limit: u64) -> Self {
        Self { chunk_limit, ..self }
    }
}

impl Sorted {
    /// The next rows; none at the end.
    pub(crate) fn next_rows(&mut self) -> Result<Option<RecordBatch>, SinkError> {
        match &mut self.source {
            Source::Memory { batches, order, at } => {
                let part = &order[*at..order.len().min(*at + ROWS_AT_A_TIME)];
                *at += part.len();
                let sources: Vec<&RecordBatch> = batches.iter().collect();
                if part.is_empty() { Ok(None) } else { Ok(Some(rows_at(&sources, part)?)) }
            }
            Source::Merge(merge) => {
                let rows = merge.next_rows()?;
                self.doubled += std::mem::take(&mut merge.doubled);
                Ok(rows)
            }
        }
    }
}

fn rows_at(sources: &[&RecordBatch], places: &[Place]) -> Result<RecordBatch, ArrowError> {
    let places: Vec<_> = places.iter().map(|(batch, row)| (*batch as usize, *row as usize)).collect();
    interleave_record_batch(sources, &places)
}

/// Rows in memory, not sorted yet.
struct Chunk {
    table: Table,
    done: Vec<RecordBatch>,
    small: Vec<RecordBatch>,
    small_rows: usize,
    /// For each row, the frame that it stood in.
    frames: Vec<u32>,
    next_frame: u32,
    bytes: u64,
}

/// A row to be sorted: its key, its frame, its place.
type Keyed<'a> = (Key<'a>, u32, Place);
/// Target, `started_at`, `seq`.
pub(crate) type Key<'a> = (Option<&'a str>, i64, i64);

impl Chunk {
    fn new(table: Table) -> Self {
        let (done, small) = (Vec::new(), Vec::new());
        Self { table, done, small, small_rows: 0, frames: Vec::new(), next_frame: 0, bytes: 0 }
    }

    fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    fn push(&mut self, batch: RecordBatch, bytes: u64) -> Result<(), ArrowError> {
        self.bytes += bytes;
        self.frames.resize(self.frames.len() + batch.num_rows(), self.next_frame);
        self.next_frame += 1;
        self.small_rows += batch.num_rows();
        self.small.push(batch);
        if self.small_rows >= JOINED_ROWS { self.join() } else { Ok(()) }
    }

    fn join(&mut self) -> Result<(), ArrowError> {
        self.small_rows = 0;
        let small = std::mem::take(&mut self.small);
        match small.as_slice() {
            [] => {}
            [one] => self.done.push(one.clone()),
            several => self.done.push(concat_batches(&self.table.schema(), several)?),
        }
        Ok(())
    }

    /// The batches, the places of their rows in order, and how many rows were doubles.
    fn sorted(mut self) -> Result<(Vec<RecordBatch>, Vec<Place>, u64), ArrowError> {
        self.join()?;
        let keys = self.done.iter().map(Keys::of).collect::<Result<Vec<_>, _>>()?;
        let lengths = self.done.iter().map(RecordBatch::num_rows).enumerate();
        let places = lengths.flat_map(|(at, rows)| (0..rows as u32).map(move |row| (at as u32, row)));
        let keyed = |place: Place| keys[place.0 as usize].key(place.1 as usize);
        let frames = self.frames.iter().copied();
        let mut rows: Vec<Keyed> =
            places.zip(frames).map(|(place, frame)| (keyed(place), frame, place)).collect();
        rows.sort_unstable();
        let mut order = Vec::with_capacity(rows.len());
        let mut kept: Option<(Key, u32)> = None;
        for (key, frame, place) in &rows {
            match kept {
                Some((before, of)) if before == *key && of != *frame => {}
                _ => {
                    kept = Some((*key, *frame));
                    order.push(*place);
                }
            }
        }
        let doubled = (rows.len() - order.len()) as u64;
        Ok((self.done, order, doubled))
    }
}

/// The columns that rows are sorted by.
pub(crate) struct Keys {
    targets: StringArray,
    started: TimestampMicrosecondArray,
    seqs: Int64Array,
}

impl Keys {
    pub(crate) fn of(batch: &RecordBatch) -> Result<Self, ArrowError> {
        Ok(Self {
            targets: columns::text(batch, "target")?.clone(),
            started: columns::time(batch, "started_at")?.clone(),
            seqs: columns::long(batch, "seq")?.clone(),
        })
    }

    /// The key of a row.
    pub(crate) fn key(&self, row: usize) -> Key<'_> {
        let target = self.targets.is_valid(row).then(|| self.targets.value(row));
        (target, self.started.value(row), self.seqs.value(row))
    }
}

#[cfg(test)]
mod tests;
