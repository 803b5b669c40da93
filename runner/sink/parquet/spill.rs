//! Sorted runs of rows that do not fit into memory: written to one file block by block, and merged.
//!
//! The file loses its name as soon as it is open, so that nothing is left of it whatever happens. Nothing in
//! it has to survive: after a crash the conversion begins anew.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::compute::interleave_record_batch;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamEncoder;
use arrow::record_batch::RecordBatch;

use super::folders::{Folders, make_folder};
use super::journal::rows_encoder;
use super::publish::FILE_MODE;
use super::recover::Decoder;
use super::schema::Table;
use super::sort::{Keys, ROWS_AT_A_TIME};
use crate::sink::SinkError;

/// Fewer rows a block would spend more on columns than on rows.
const SMALLEST_BLOCK: usize = 64;

/// Runs that are being written.
pub(crate) struct Spill {
    table: Table,
    file: File,
    path: PathBuf,
    encoder: StreamEncoder,
    block_bytes: u64,
    len: u64,
    runs: Vec<VecDeque<Block>>,
    buffer: Vec<u8>,
}

/// Where some rows of a run stand in the file.
#[derive(Debug, Clone, Copy)]
struct Block {
    start: u64,
    len: usize,
}

impl Spill {
    /// A file without a name for runs whose blocks have about `block_bytes`.
    pub(crate) fn begin(
        table: Table,
        folders: &Folders,
        name: &str,
        block_bytes: u64,
    ) -> Result<Self, SinkError> {
        let folder = folders.tmp();
        make_folder(&folder).map_err(SinkError::io("create", &folder))?;
        let path = folder.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(SinkError::io("create", &path))?;
        fs::remove_file(&path).map_err(SinkError::io("remove", &path))?;
        let encoder = rows_encoder(table)?;
        Ok(Self { table, file, path, encoder, block_bytes, len: 0, runs: Vec::new(), buffer: Vec::new() })
    }

    /// How many rows of `row_bytes` make a block.
    pub(crate) fn block_rows(&self, row_bytes: u64) -> usize {
        let rows = self.block_bytes / row_bytes.max(1);
        (rows as usize).clamp(SMALLEST_BLOCK, ROWS_AT_A_TIME)
    }

    /// Begins a run: what is added from now on is sorted in itself.
    pub(crate) fn begin_run(&mut self) {
        self.runs.push(VecDeque::new());
    }

    /// Adds the next rows of the run.
    pub(crate) fn add(&mut self, rows: &RecordBatch) -> Result<(), SinkError> {
        self.buffer.clear();
        for part in self.encoder.encode(rows)? {
            self.buffer.extend_from_slice(part.as_slice());
        }
        self.file.write_all(&self.buffer).map_err(SinkError::io("write to", &self.path))?;
        let block = Block { start: self.len, len: self.buffer.len() };
        self.len += self.buffer.len() as u64;
        if let Some(run) = self.runs.last_mut() {
            run.push_back(block);
        }
        Ok(())
    }

    /// The rows of all runs, in order.
    pub(crate) fn merge(self) -> Result<Merge, SinkError> {
        let mut merge = Merge {
            file: self.file,
            path: self.path,
            decoder: Decoder::new(self.table)?,
            runs: Vec::with_capacity(self.runs.len()),
            heads: BinaryHeap::with_capacity(self.runs.len()),
            last: None,
            doubled: 0,
        };
        for (number, mut blocks) in self.runs.into_iter().enumerate() {
            let Some(first) = blocks.pop_front() else { continue };
            let rows = merge.read(first)?;
            let mut run = Run { blocks, keys: Keys::of(&rows)?, rows, next: 0, target: None };
            merge.heads.push(Reverse((run.key(), number)));
            merge.runs.push(run);
        }
        Ok(merge)
    }
}

/// Runs that are being merged: a block of each is in memory.
pub(crate) struct Merge {
    file: File,
    path: PathBuf,
    decoder: Decoder,
    runs: Vec<Run>,
    /// The next row of each run, the first of all on top.
    heads: BinaryHeap<Reverse<(OwnedKey, usize)>>,
    /// The row that was handed on last, and its run.
    last: Option<(OwnedKey, usize)>,
    /// Rows that stood in two runs, since this was last asked for.
    pub(crate) doubled: u64,
}

/// As [`Key`](super::sort::Key), for longer than its block.
type OwnedKey = (Option<Arc<str>>, i64, i64);

struct Run {
    /// Blocks that were not read yet.
    blocks: VecDeque<Block>,
    rows: RecordBatch,
    keys: Keys,
    /// The next row.
    next: usize,
    /// The target of the row before: most rows have the same.
    target: Option<Arc<str>>,
}

impl Run {
    fn key(&mut self) -> OwnedKey {
        let (target, started, seq) = self.keys.key(self.next);
        if self.target.as_deref() != target {
            self.target = target.map(Arc::from);
        }
        (self.target.clone(), started, seq)
    }
}

impl Merge {
    /// The next rows; none at the end.
    pub(crate) fn next_rows(&mut self) -> Result<Option<RecordBatch>, SinkError> {
        let mut sources: Vec<RecordBatch> = Vec::new();
        // Of each run, where its present block stands among the sources.
        let mut source_of: Vec<Option<usize>> = vec![None; self.runs.len()];
        let mut places = Vec::with_capacity(ROWS_AT_A_TIME);
        while places.len() < ROWS_AT_A_TIME
            && let Some(Reverse((key, number))) = self.heads.pop()
        {
            let run = &mut self.runs[number];
            if self.last.as_ref().is_some_and(|(last, of)| *last == key && *of != number) {
                self.doubled += 1;
            } else {
                let source = *source_of[number].get_or_insert_with(|| {
                    sources.push(run.rows.clone());
                    sources.len() - 1
                });
                places.push((source, run.next));
                self.last = Some((key, number));
            }
            run.next += 1;
            if run.next == run.rows.num_rows() {
                source_of[number] = None;
                let Some(block) = run.blocks.pop_front() else { continue };
                let rows = self.read(block)?;
                let run = &mut self.runs[number];
                (run.keys, run.rows, run.next) = (Keys::of(&rows)?, rows, 0);
            }
            let key = self.runs[number].key();
            self.heads.push(Reverse((key, number)));
        }
        if places.is_empty() {
            return Ok(None);
        }
        let sources: Vec<&RecordBatch> = sources.iter().collect();
        Ok(Some(interleave_record_batch(&sources, &places)?))
    }

    fn read(&mut self, block: Block) -> Result<RecordBatch, SinkError> {
        let mut bytes = vec![0; block.len];
        self.file.read_exact_at(&mut bytes, block.start).map_err(SinkError::io("read", &self.path))?;
        let rows = self.decoder.try_decode(bytes)?;
        rows.ok_or_else(|| SinkError::Columns(ArrowError::IpcError("a block without rows".to_owned())))
    }
}
