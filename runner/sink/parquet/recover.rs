//! Reads a journal back, whatever has happened to it: every undamaged batch before and after a damaged
//! stretch, never one that was not written. It reads frame by frame and ends on any input.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use arrow::array::{ArrayRef, new_null_array};
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::journal::{
    FILE_HEADER, FILE_MAGIC, FORMAT_VERSION, FRAME_HEADER, FRAME_MAGIC, FrameHeader, FrameKind,
    schema_message, versions,
};
use super::schema::{SCHEMA_VERSION, Table};
use crate::sink::SinkError;

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

/// Where an undamaged frame stands, and what it holds.
#[derive(Debug, Clone, Copy)]
struct FramePlace {
    start: u64,
    /// Bytes of the payload.
    len: u32,
    rows: u32,
    kind: FrameKind,
}

impl FramePlace {
    /// Where the next one should begin.
    fn end(&self) -> u64 {
        self.start + FRAME_HEADER as u64 + u64::from(self.len)
    }
}

/// One undamaged frame.
struct Frame {
    place: FramePlace,
    payload: Vec<u8>,
}

/// Every undamaged frame of a journal that counts, in its order.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) contents: Contents,
    frames: Vec<FramePlace>,
}

impl Scan {
    /// Bytes of a table's rows.
    pub(crate) fn bytes(&self, table: Table) -> u64 {
        let rows = self.frames.iter().filter(|frame| frame.kind == FrameKind::Rows(table));
        rows.map(|frame| u64::from(frame.len)).sum()
    }
}

/// The rows of one table, read frame by frame.
pub(crate) struct FrameRows<'a> {
    reader: &'a JournalReader,
    frames: std::slice::Iter<'a, FramePlace>,
    decoder: Decoder,
    /// Frames that could not be decoded, so far.
    pub(crate) undecodable: u64,
}

impl FrameRows<'_> {
    /// The rows of the next frame in the present schema, and the bytes that they take; none at the end.
    pub(crate) fn next_batch(&mut self) -> Result<Option<(RecordBatch, u64)>, SinkError> {
        for place in self.frames.by_ref() {
            let table = self.decoder.table;
            if place.kind != FrameKind::Rows(table) && place.kind != FrameKind::Schema(table) {
                continue;
            }
            let again =
                self.reader.frame_at(place.start).map_err(SinkError::io("read", &self.reader.path))?;
            // A disk may give something else than before.
            let Some(frame) = again else {
                self.undecodable += 1;
                continue;
            };
            if let FrameKind::Schema(_) = place.kind {
                self.decoder.learn(frame.payload);
            } else if let Some(rows) = self.decoder.decode(frame) {
                return Ok(Some((rows, u64::from(place.len))));
            } else {
                self.undecodable += 1;
            }
        }
        Ok(None)
    }
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
        self.scan().map(|scan| scan.contents)
    }

    /// Finds every undamaged frame. Fails as [`contents`](Self::contents) does.
    pub(crate) fn scan(&self) -> Result<Scan, SinkError> {
        let mut contents = Contents::default();
        let mut frames = Vec::new();
        let mut end = if self.sound_header { self.len.min(FILE_HEADER as u64) } else { 0 };
        let mut whole = end;
        while let Some(Frame { place, .. }) = self.next_frame(end)? {
            contents.skipped += u64::from(place.start != end);
            end = place.end();
            if place.kind != FrameKind::Rows(Table::Checks) {
                whole = end;
            }
            frames.push(place);
        }
        if frames.is_empty() && !self.sound_header {
            let reason = "it has no undamaged header and no undamaged frame".to_owned();
            return Err(SinkError::UnreadableJournal { path: self.path.clone(), reason });
        }
        // Verdicts count once something sound follows them: at the torn end of a journal they have lost their
        // attempt.
        frames.pop_if(|last| last.kind == FrameKind::Rows(Table::Checks));
        for frame in &frames {
            match frame.kind {
                FrameKind::Rows(Table::Checks) => contents.checks += u64::from(frame.rows),
                FrameKind::Rows(Table::Probes) => contents.probes += u64::from(frame.rows),
                FrameKind::Schema(_) => {}
            }
        }
        contents.torn_bytes = self.len - whole;
        Ok(Scan { contents, frames })
    }

    /// The rows of one table, frame by frame.
    pub(crate) fn rows<'a>(&'a self, scan: &'a Scan, table: Table) -> Result<FrameRows<'a>, SinkError> {
        Ok(FrameRows {
            reader: self,
            frames: scan.frames.iter(),
            decoder: Decoder::new(table)?,
            undecodable: 0,
        })
    }

    /// All rows of one table, in batches of the present schema, and how many frames of it could not be
    /// decoded. For a journal that fits into memory.
    pub fn read(&self, table: Table) -> Result<(Vec<RecordBatch>, u64), SinkError> {
        let scan = self.scan()?;
        let mut rows = self.rows(&scan, table)?;
        let mut batches = Vec::new();
        while let Some((batch, _)) = rows.next_batch()? {
            batches.push(batch);
        }
        Ok((batches, rows.undecodable))
    }

    /// Gives the rows of one table on, frame by frame and in batches of the present schema. Returns how many frames of
    /// it could not be decoded, or stretches of the journal not be read. A journal that is being written is read as far as it went when it was opened.
    pub(crate) fn visit(
        &self,
        table: Table,
        take: &mut dyn FnMut(RecordBatch) -> Result<(), ArrowError>,
    ) -> Result<u64, SinkError> {
        let scan = self.scan()?;
        let mut rows = self.rows(&scan, table)?;
        while let Some((batch, _)) = rows.next_batch()? {
            take(batch)?;
        }
        Ok(rows.undecodable + scan.contents.skipped)
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
        let FrameHeader { kind, len, rows, .. } = header;
        let place = FramePlace { start, len, rows, kind };
        if place.end() > self.len {
            return Ok(None);
        }
        let mut payload = vec![0; header.len as usize];
        self.file.read_exact_at(&mut payload, payload_at)?;
        if crc32c::crc32c(&payload) != header.crc {
            return Ok(None);
        }
        Ok(Some(Frame { place, payload }))
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
pub(crate) struct Decoder {
    table: Table,
    /// The schema's IPC message: the journal's own, or the present one where that is damaged.
    schema: Vec<u8>,
    stream: Option<StreamDecoder>,
}

impl Decoder {
    pub(crate) fn new(table: Table) -> Result<Self, ArrowError> {
        Ok(Self { table, schema: schema_message(table)?, stream: None })
    }

    fn learn(&mut self, schema: Vec<u8>) {
        self.schema = schema;
        self.stream = None;
    }

    /// The rows of a frame; none if they cannot be decoded.
    fn decode(&mut self, frame: Frame) -> Option<RecordBatch> {
        let rows = frame.place.rows as usize;
        let decoded = self.try_decode(frame.payload).ok().flatten().filter(|batch| batch.num_rows() == rows);
        if decoded.is_none() {
            // It may be in the middle of a message.
            self.stream = None;
        }
        decoded
    }

    pub(crate) fn try_decode(&mut self, payload: Vec<u8>) -> Result<Option<RecordBatch>, ArrowError> {
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

#[cfg(test)]
mod damage;
#[cfg(test)]
mod tests;
