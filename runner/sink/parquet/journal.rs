//! The journal: where a result becomes safe.
//!
//! **Constraints.** A result is finished once the write(2) of its frame has returned; nothing may be
//! shown or acknowledged before. The process may die at any instruction, a write may be short, the disk
//! may be full, a file may come back damaged. One thread writes; a conversion reads what is sealed.
//!
//! **Format.** One file a segment, named after it. All numbers are little endian.
//!
//! ```text
//! file   = header frame*
//! header = magic "F5 PROBJ FF 0A" | format u16 | schema u16 | crc32c u32 of the 12 bytes before
//! frame  = magic "F5 P F FF" | kind u8 | 0 0 0 | len u32 | rows u32 | crc32c u32 of the payload
//!          | crc32c u32 of the 20 bytes before | payload (len bytes)
//! kind   = 1 schema of checks, 2 schema of probes, 3 rows of checks, 4 rows of probes
//! ```
//!
//! A payload is one encapsulated message of the Arrow IPC stream format. The first two frames hold the
//! schemas. A batch is a frame of `checks` (if there are any) and then one of `probes`: the latter makes
//! the batch valid, so that no verdicts are ever seen without their attempt after a crash. The magics
//! contain bytes that UTF-8 never has, so that no text of a target can look like a frame.
//!
//! **Write path.** Header, schemas and the first batch go out in one write, every further batch in one:
//! there is no journal without rows, but for one whose first write failed. After a failed write the file
//! is cut back to its last good length and the batch is written again later; bytes that could not be cut
//! are a damaged stretch that recovery skips.
//!
//! **Recovery** is in `recover.rs`: a torn tail is cut, a damaged frame is skipped and counted, whatever
//! follows it is still found.
//!
//! **Deletion rule.** A journal is unlinked by its conversion, after every file that comes of it has been
//! renamed into place and its folder synced, and by nothing else. One that had damaged frames, or that
//! could not be read at all, is moved to quarantine instead and stays there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::error::ArrowError;
use arrow::ipc::MetadataVersion;
use arrow::ipc::writer::{IpcWriteOptions, StreamEncoder, StreamWriter};
use arrow::record_batch::RecordBatch;

use super::publish::FILE_MODE;
use super::schema::{SCHEMA_VERSION, Table};
use crate::sink::batch::ResultBatch;

/// Raised when older programs cannot read the format any more.
pub(crate) const FORMAT_VERSION: u16 = 1;
pub(crate) const FILE_MAGIC: [u8; 8] = *b"\xF5PROBJ\xFF\n";
pub(crate) const FILE_HEADER: usize = 16;
pub(crate) const FRAME_MAGIC: [u8; 4] = *b"\xF5PF\xFF";
pub(crate) const FRAME_HEADER: usize = 24;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Schema(Table),
    Rows(Table),
}

impl FrameKind {
    fn byte(self) -> u8 {
        match self {
            Self::Schema(Table::Checks) => 1,
            Self::Schema(Table::Probes) => 2,
            Self::Rows(Table::Checks) => 3,
            Self::Rows(Table::Probes) => 4,
        }
    }

    fn of_byte(byte: u8) -> Option<Self> {
        let all = [
            Self::Schema(Table::Checks),
            Self::Schema(Table::Probes),
            Self::Rows(Table::Checks),
            Self::Rows(Table::Probes),
        ];
        all.into_iter().find(|kind| kind.byte() == byte)
    }
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: FrameKind,
    /// Bytes of the payload.
    pub(crate) len: u32,
    /// Rows in the payload; 0 for a schema.
    pub(crate) rows: u32,
    /// CRC-32C of the payload.
    pub(crate) crc: u32,
}

impl FrameHeader {
    fn to_bytes(self) -> [u8; FRAME_HEADER] {
        let mut bytes = [0; FRAME_HEADER];
        bytes[0..4].copy_from_slice(&FRAME_MAGIC);
        bytes[4] = self.kind.byte();
        bytes[8..12].copy_from_slice(&self.len.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.rows.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.crc.to_le_bytes());
        let own = crc32c::crc32c(&bytes[0..20]);
        bytes[20..24].copy_from_slice(&own.to_le_bytes());
        bytes
    }

    /// Reads a header; none if these bytes are not a whole and undamaged one.
    pub(crate) fn of_bytes(bytes: &[u8; FRAME_HEADER]) -> Option<Self> {
        let sound = bytes.starts_with(&FRAME_MAGIC) && crc32c::crc32c(&bytes[0..20]) == number(bytes, 20);
        let kind = FrameKind::of_byte(bytes[4]).filter(|_| sound)?;
        Some(Self { kind, len: number(bytes, 8), rows: number(bytes, 12), crc: number(bytes, 16) })
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The header of a journal of this version.
pub(crate) fn file_header() -> [u8; FILE_HEADER] {
    let mut bytes = [0; FILE_HEADER];
    bytes[0..8].copy_from_slice(&FILE_MAGIC);
    bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes[10..12].copy_from_slice(&SCHEMA_VERSION.to_le_bytes());
    let own = crc32c::crc32c(&bytes[0..12]);
    bytes[12..16].copy_from_slice(&own.to_le_bytes());
    bytes
}

/// Format and schema version of a journal; none if its header is damaged.
pub(crate) fn versions(header: &[u8; FILE_HEADER]) -> Option<(u16, u16)> {
    let sound = header.starts_with(&FILE_MAGIC) && crc32c::crc32c(&header[0..12]) == number(header, 12);
    sound.then(|| (u16::from_le_bytes([header[8], header[9]]), u16::from_le_bytes([header[10], header[11]])))
}

/// Makes frames of batches.
pub(crate) struct FrameEncoder {
    checks: StreamEncoder,
    probes: StreamEncoder,
    preamble: Vec<u8>,
}

impl FrameEncoder {
    pub(crate) fn new() -> Result<Self, ArrowError> {
        let mut preamble = file_header().to_vec();
        for table in Table::ALL {
            let message = schema_message(table)?;
            frame(&mut preamble, FrameKind::Schema(table), 0, |out| {
                out.extend_from_slice(&message);
                Ok(())
            })?;
        }
        Ok(Self { checks: rows_encoder(Table::Checks)?, probes: rows_encoder(Table::Probes)?, preamble })
    }

    /// What a journal begins with: its header and the schemas.
    pub(crate) fn preamble(&self) -> &[u8] {
        &self.preamble
    }

    /// Appends the frames of one batch to `out`.
    pub(crate) fn encode(&mut self, batch: &ResultBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        if batch.checks.num_rows() > 0 {
            rows_frame(out, Table::Checks, &mut self.checks, &batch.checks)?;
        }
        rows_frame(out, Table::Probes, &mut self.probes, &batch.probes)
    }
}

/// The schema of a table as an IPC message.
pub(crate) fn schema_message(table: Table) -> Result<Vec<u8>, ArrowError> {
    // The writer writes the schema when it is made; only its end would add more.
    let writer = StreamWriter::try_new_with_options(Vec::new(), &table.schema(), options()?)?;
    Ok(writer.get_ref().clone())
}

/// 8 bytes of alignment rather than 64: a frame of few rows has some 150 buffers.
fn options() -> Result<IpcWriteOptions, ArrowError> {
    IpcWriteOptions::try_new(8, false, MetadataVersion::V5)
}

/// An encoder that has its schema behind it, so that it makes messages of rows only.
pub(crate) fn rows_encoder(table: Table) -> Result<StreamEncoder, ArrowError> {
    let schema = table.schema();
    let mut encoder = StreamEncoder::try_new_with_options(&schema, options()?)?;
    encoder.encode(&RecordBatch::new_empty(schema))?;
    Ok(encoder)
}

fn rows_frame(
    out: &mut Vec<u8>,
    table: Table,
    encoder: &mut StreamEncoder,
    rows: &RecordBatch,
) -> Result<(), ArrowError> {
    frame(out, FrameKind::Rows(table), rows.num_rows() as u32, |out| {
        for buffer in encoder.encode(rows)? {
            out.extend_from_slice(buffer.as_slice());
        }
        Ok(())
    })
}

/// Appends a frame whose payload `fill` appends.
fn frame(
    out: &mut Vec<u8>,
    kind: FrameKind,
    rows: u32,
    fill: impl FnOnce(&mut Vec<u8>) -> Result<(), ArrowError>,
) -> Result<(), ArrowError> {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEADER]);
    fill(out)?;
    let payload = &out[start + FRAME_HEADER..];
    let len = u32::try_from(payload.len())
        .map_err(|_| ArrowError::InvalidArgumentError("a batch is longer than 4 GiB".to_owned()))?;
    let header = FrameHeader { kind, len, rows, crc: crc32c::crc32c(payload) };
    out[start..start + FRAME_HEADER].copy_from_slice(&header.to_bytes());
    Ok(())
}

const COPIED_AT_A_TIME: usize = 256 << 10;

/// What became of a journal's name while it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    There,
    /// Somebody has removed it.
    Removed,
    /// Somebody has moved it away, with its folder or alone.
    Moved,
}

/// A journal that is being written.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Arc<File>,
    path: PathBuf,
    /// Bytes that are whole batches.
    len: u64,
    /// Whether there may be more in the file, which could not be cut off.
    has_rest: bool,
    /// Set by the syncing thread once the disk has refused data that it had taken: nothing more may be
    /// entrusted to this file.
    poisoned: Arc<AtomicBool>,
}

impl Journal {
    /// Makes an empty journal.
    pub(crate) fn create(path: PathBuf) -> io::Result<Self> {
        // Read, should its name go away: `written_anew`.
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).open(&path)?;
        Ok(Self { file: Arc::new(file), path, len: 0, has_rest: false, poisoned: Arc::default() })
    }

    /// Appends whole frames: all of them or, after an error, none.
    pub(crate) fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        let rest = self.cut_rest();
        let mut file = &*self.file;
        if rest.is_err() {
            // Overwritten, then: what is longer than these frames is a damaged stretch.
            file.seek(SeekFrom::Start(self.len))?;
        }
        match file.write_all(frames) {
            Ok(()) => {
                self.len += frames.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.has_rest = true;
                // It is tried again before the next append; without one, a part of a batch is a torn tail.
                let _ = self.cut_rest();
                Err(error)
            }
        }
    }

    /// Back to the last good length, where there may be more.
    pub(crate) fn cut_rest(&mut self) -> io::Result<()> {
        if self.has_rest {
            let mut file = &*self.file;
            file.set_len(self.len)?;
            file.seek(SeekFrom::Start(self.len))?;
            self.has_rest = false;
        }
        Ok(())
    }

    /// Undoes the last append, of `bytes` bytes. It may be that it cannot: see [`cut_rest`](Self::cut_rest).
    pub(crate) fn take_back(&mut self, bytes: u64) {
        self.len = self.len.saturating_sub(bytes);
        self.has_rest = true;
        let _ = self.cut_rest();
    }

    /// Forces what was appended to the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Whether its name still leads to it.
    pub(crate) fn presence(&self) -> io::Result<Presence> {
        let own = self.file.metadata()?;
        if own.nlink() == 0 {
            return Ok(Presence::Removed);
        }
        match fs::metadata(&self.path) {
            Ok(named) if (named.dev(), named.ino()) == (own.dev(), own.ino()) => Ok(Presence::There),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(Presence::Moved),
        }
    }

    /// The same rows under the same name, which has gone away: as long as the file is open, they are there.
    /// Leaves nothing behind where it fails.
    pub(crate) fn written_anew(&self) -> io::Result<Self> {
        let mut anew = Self::create(self.path.clone())?;
        let copied = anew.copy_of(self);
        if copied.is_err() {
            let _ = fs::remove_file(&self.path);
        }
        copied.map(|()| anew)
    }

    fn copy_of(&mut self, other: &Self) -> io::Result<()> {
        let mut part = vec![0; COPIED_AT_A_TIME];
        while self.len < other.len {
            let rest = (other.len - self.len).min(part.len() as u64) as usize;
            other.file.read_exact_at(&mut part[..rest], self.len)?;
            self.append(&part[..rest])?;
        }
        self.sync()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The file, for the thread that syncs it.
    pub(crate) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// The mark that the syncing thread sets.
    pub(crate) fn poison(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.poisoned)
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_takes_nothing_and_can_be_asked_again() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut journal = Journal {
            file: Arc::new(full),
            path: "/dev/full".into(),
            len: 0,
            has_rest: false,
            poisoned: Arc::default(),
        };
        for _ in 0..2 {
            assert_eq!(journal.append(b"frames").unwrap_err().kind(), io::ErrorKind::StorageFull);
            assert_eq!(journal.len(), 0);
        }
    }

    #[test]
    fn what_is_taken_back_is_gone_and_the_next_stands_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::create(path.clone()).unwrap();
        for frames in [&b"first"[..], b"second, longer", b"third"] {
            journal.append(frames).unwrap();
            if frames.starts_with(b"second") {
                journal.take_back(frames.len() as u64);
            }
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"firstthird");
        assert_eq!(Journal::create(path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn headers_know_their_damage() {
        let header = FrameHeader { kind: FrameKind::Rows(Table::Probes), len: 7, rows: 3, crc: 9 };
        let bytes = header.to_bytes();
        assert_eq!(FrameHeader::of_bytes(&bytes), Some(header));
        for at in 0..FRAME_HEADER {
            let mut damaged = bytes;
            damaged[at] ^= 1;
            assert_eq!(FrameHeader::of_bytes(&damaged), None, "{at}");
        }
        assert_eq!(versions(&file_header()), Some((FORMAT_VERSION, SCHEMA_VERSION)));
    }
}
