//! Reads a journal back, whatever has happened to it: every undamaged batch before and after a damaged
//! stretch, never one that was not written. It reads frame by frame and ends on any input.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use arrow::array::{ArrayRef, new_null_array};
use arrow::buffer::Buffer;
use arrow::compute::concat_batches;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::journal::{
    FILE_HEADER, FILE_MAGIC, FORMAT_VERSION, FRAME_HEADER, FRAME_MAGIC, FrameHeader, FrameKind,
    schema_message, versions,
};
use super::schema::{SCHEMA_VERSION, Table};
use crate::sink::SinkError;

/// Small batches are joined up to this many rows: each column of each batch has a fixed cost.
const JOINED_ROWS: usize = 8_192;

/// What a journal holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contents {
    /// Rows of `probes` in undamaged frames.
    pub probes: u64,
    /// Rows of `checks` in undamaged frames.
    pub checks: u64,
    /// Damaged stretches with undamaged frames behind them.
    pub skipped: u64,
    /// Bytes at the end that are no whole batch.
    pub torn_bytes: u64,
}

/// A journal that is being read.
#[derive(Debug)]
pub struct JournalReader {
    file: File,
    path: PathBuf,
    len: u64,
    /// Whether the file's own header is sound.
    sound_header: bool,
}

/// One undamaged frame.
struct Frame {
    kind: FrameKind,
    rows: u32,
    payload: Vec<u8>,
    /// Where it begins, and where the next one should.
    start: u64,
    end: u64,
}

impl JournalReader {
    /// Opens a journal. Fails on one of a newer version, and on a file without a journal's begin.
    pub fn open(path: &Path) -> Result<Self, SinkError> {
        let file = File::open(path).map_err(SinkError::io("open", path))?;
        let len = file.metadata().map_err(SinkError::io("look at", path))?.len();
        let mut header = [0; FILE_HEADER];
        let known = len.min(FILE_HEADER as u64) as usize;
        file.read_exact_at(&mut header[..known], 0).map_err(SinkError::io("read", path))?;
        let versions = versions(&header);
        if let Some((format, schema)) = versions
            && (format > FORMAT_VERSION || schema > SCHEMA_VERSION)
        {
            return Err(SinkError::NewerJournal { path: path.to_owned(), format, schema });
        }
        let torn_at_birth = known < FILE_HEADER && header[..known.min(8)] == FILE_MAGIC[..known.min(8)];
        let reader =
            Self { file, path: path.to_owned(), len, sound_header: versions.is_some() || torn_at_birth };
        Ok(reader)
    }

    /// Counts what is there, without decoding it. Fails if neither the header nor any frame is sound.
    pub fn contents(&self) -> Result<Contents, SinkError> {
        let mut contents = Contents::default();
        let mut end = if self.sound_header { self.len.min(FILE_HEADER as u64) } else { 0 };
        let mut whole = end;
        let mut pending_checks = 0;
        let mut frames = 0_u64;
        while let Some(frame) = self.next_frame(end)? {
            frames += 1;
            contents.skipped += u64::from(frame.start != end);
            contents.checks += std::mem::take(&mut pending_checks);
            end = frame.end;
            match frame.kind {
                FrameKind::Rows(Table::Checks) => pending_checks = u64::from(frame.rows),
                FrameKind::Rows(Table::Probes) => contents.probes += u64::from(frame.rows),
                FrameKind::Schema(_) => {}
            }
            if frame.kind != FrameKind::Rows(Table::Checks) {
                whole = end;
            }
        }
        if frames == 0 && !self.sound_header {
            let reason = "it has no undamaged header and no undamaged frame".to_owned();
            return Err(SinkError::UnreadableJournal { path: self.path.clone(), reason });
        }
        contents.torn_bytes = self.len - whole;
        Ok(contents)
    }

    /// The rows of one table, in batches of the present schema, and how many frames of it could not be
    /// decoded.
    pub fn read(&self, table: Table) -> Result<(Vec<RecordBatch>, u64), SinkError> {
        let mut rows = Joining::new(table);
        let undecodable = self.visit(table, &mut |batch| rows.push(batch))?;
        Ok((rows.finish()?, undecodable))
    }

    /// Gives the rows of one table on, frame by frame and in batches of the present schema. Returns how many frames of
    /// it could not be decoded. A journal that is being written is read as far as it went when it was opened.
    pub(crate) fn visit(
        &self,
        table: Table,
        take: &mut dyn FnMut(RecordBatch) -> Result<(), ArrowError>,
    ) -> Result<u64, SinkError> {
        let mut undecodable = 0;
        let mut give = |batch: Option<RecordBatch>| match batch {
            Some(batch) => take(batch),
            None => {
                undecodable += 1;
                Ok(())
            }
        };
        let mut decoder = Decoder { table, schema: schema_message(table)?, stream: None };
        let mut pending: Option<Frame> = None;
        let mut end = if self.sound_header { self.len.min(FILE_HEADER as u64) } else { 0 };
        while let Some(frame) = self.next_frame(end)? {
            end = frame.end;
            // Verdicts count once something sound follows them: at the torn end of a journal they
            // have lost their attempt.
            if let Some(verdicts) = pending.take() {
                give(decoder.decode(verdicts))?;
            }
            match frame.kind {
                FrameKind::Schema(of) if of == table => decoder.learn(frame.payload),
                FrameKind::Rows(of) if of == table && table == Table::Checks => pending = Some(frame),
                FrameKind::Rows(of) if of == table => {
                    give(decoder.decode(frame))?;
                }
                FrameKind::Schema(_) | FrameKind::Rows(_) => {}
            }
        }
        Ok(undecodable)
    }

    /// The first undamaged frame at or after `from`.
    fn next_frame(&self, from: u64) -> Result<Option<Frame>, SinkError> {
        let mut at = from;
        loop {
            if let Some(frame) = self.frame_at(at).map_err(SinkError::io("read", &self.path))? {
                return Ok(Some(frame));
            }
            match self.next_header(at + 1).map_err(SinkError::io("read", &self.path))? {
                Some(candidate) => at = candidate,
                None => return Ok(None),
            }
        }
    }

    /// The frame at `start`; none if there is no whole and undamaged one.
    fn frame_at(&self, start: u64) -> io::Result<Option<Frame>> {
        let mut header = [0; FRAME_HEADER];
        let payload_at = start + FRAME_HEADER as u64;
        if payload_at > self.len {
            return Ok(None);
        }
        self.file.read_exact_at(&mut header, start)?;
        let Some(header) = FrameHeader::of_bytes(&header) else { return Ok(None) };
        let end = payload_at + u64::from(header.len);
        if end > self.len {
            return Ok(None);
        }
        let mut payload = vec![0; header.len as usize];
        self.file.read_exact_at(&mut payload, payload_at)?;
        if crc32c::crc32c(&payload) != header.crc {
            return Ok(None);
        }
        Ok(Some(Frame { kind: header.kind, rows: header.rows, payload, start, end }))
    }

    /// Where an undamaged header of a frame stands next, at or after `from`.
    fn next_header(&self, from: u64) -> io::Result<Option<u64>> {
        let mut window = Vec::new();
        let mut at = from;
        while at + FRAME_HEADER as u64 <= self.len {
            window.resize((self.len - at).min(64 << 10) as usize, 0);
            self.file.read_exact_at(&mut window, at)?;
            if let Some(found) = header_in(&window) {
                return Ok(Some(at + found as u64));
            }
            // One may begin in the last bytes of this window.
            at += (window.len() - (FRAME_HEADER - 1)) as u64;
        }
        Ok(None)
    }
}

/// Where in these bytes an undamaged header of a frame stands first.
fn header_in(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(next) = bytes[from..].iter().position(|byte| *byte == FRAME_MAGIC[0]) {
        from += next;
        let header = bytes.get(from..from + FRAME_HEADER)?;
        if header.try_into().is_ok_and(|header| FrameHeader::of_bytes(header).is_some()) {
            return Some(from);
        }
        from += 1;
    }
    None
}

/// Decodes the frames of one table.
struct Decoder {
    table: Table,
    /// The schema's IPC message: the journal's own, or the present one where that is damaged.
    schema: Vec<u8>,
    stream: Option<StreamDecoder>,
}

impl Decoder {
    fn learn(&mut self, schema: Vec<u8>) {
        self.schema = schema;
        self.stream = None;
    }

    /// The rows of a frame; none if they cannot be decoded.
    fn decode(&mut self, frame: Frame) -> Option<RecordBatch> {
        let rows = frame.rows as usize;
        let decoded = self.try_decode(frame.payload).ok().flatten().filter(|batch| batch.num_rows() == rows);
        if decoded.is_none() {
            // It may be in the middle of a message.
            self.stream = None;
        }
        decoded
    }

    fn try_decode(&mut self, payload: Vec<u8>) -> Result<Option<RecordBatch>, ArrowError> {
        let decoder = match &mut self.stream {
            Some(decoder) => decoder,
            none => {
                let mut decoder = StreamDecoder::new();
                decoder.decode(&mut Buffer::from(self.schema.as_slice()))?;
                none.insert(decoder)
            }
        };
        let batch = decoder.decode(&mut Buffer::from_vec(payload))?;
        batch.map(|batch| present_columns(&batch, self.table)).transpose()
    }
}

/// The same rows in the present schema: columns that an older one did not have are null.
pub(crate) fn present_columns(batch: &RecordBatch, table: Table) -> Result<RecordBatch, ArrowError> {
    let schema = table.schema();
    let columns = schema.fields().iter().map(|field| {
        batch
            .column_by_name(field.name())
            .map_or_else(|| new_null_array(field.data_type(), batch.num_rows()), ArrayRef::clone)
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(std::sync::Arc::clone(&schema), columns.collect(), &options)
}

/// Joins small batches.
struct Joining {
    table: Table,
    done: Vec<RecordBatch>,
    small: Vec<RecordBatch>,
    small_rows: usize,
}

impl Joining {
    fn new(table: Table) -> Self {
        Self { table, done: Vec::new(), small: Vec::new(), small_rows: 0 }
    }

    fn push(&mut self, batch: RecordBatch) -> Result<(), ArrowError> {
        self.small_rows += batch.num_rows();
        self.small.push(batch);
        if self.small_rows >= JOINED_ROWS {
            self.join()?;
        }
        Ok(())
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

    fn finish(mut self) -> Result<Vec<RecordBatch>, ArrowError> {
        self.join()?;
        Ok(self.done)
    }
}

#[cfg(test)]
mod tests;
