//! Reads a file line by line or record by record within a bound: a quote left open, or a file without
//! line ends, must not be read into memory as one.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};

/// The longest line, row or item in bytes.
pub(super) const MAX_ITEM_BYTES: usize = 1 << 20;

/// The mark that some editors put at the begin of a UTF-8 file.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A buffered reader that stands behind the byte order mark, if there is one.
pub(super) fn skip_mark<R: Read>(reader: R) -> io::Result<BufReader<R>> {
    let mut reader = BufReader::with_capacity(64 * 1024, reader);
    if reader.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
        reader.consume(BYTE_ORDER_MARK.len());
    }
    Ok(reader)
}

/// Lines, one at a time.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    number: u32,
}

/// What a line holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Its text, without the line end.
    Text(&'a str),
    /// It is longer than [`MAX_ITEM_BYTES`] or not UTF-8; the message says which.
    Unreadable(&'static str),
}

impl<R: Read> Lines<R> {
    pub(super) fn new(reader: R) -> io::Result<Self> {
        Ok(Self { reader: skip_mark(reader)?, line: Vec::new(), number: 0 })
    }

    /// The number of the line last read, from 1.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// The next line; none at the end of the file.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let bound = MAX_ITEM_BYTES as u64 + 1;
        let read = self.reader.by_ref().take(bound).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        self.number = self.number.saturating_add(1);
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
            self.line.pop_if(|last| *last == b'\r');
        } else if read > MAX_ITEM_BYTES {
            self.skip_rest()?;
            return Ok(Some(Line::Unreadable("the line is longer than 1 MiB")));
        }
        Ok(Some(str::from_utf8(&self.line).map_or(Line::Unreadable("the line is not UTF-8"), Line::Text)))
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(());
            }
            if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                self.reader.consume(end + 1);
                return Ok(());
            }
            let length = buffer.len();
            self.reader.consume(length);
        }
    }
}

/// Where a reader stands, seen from outside of the parser that holds it.
#[derive(Debug)]
pub(super) struct Cursor {
    line: Cell<u32>,
    column: Cell<u32>,
    item_bytes: Cell<usize>,
    /// The bound of an item.
    most: usize,
    blank: Cell<bool>,
}

impl Cursor {
    pub(super) fn new() -> Self {
        Self::with_bound(MAX_ITEM_BYTES)
    }

    /// With a bound of its own for an item, in bytes.
    pub(super) fn with_bound(most: usize) -> Self {
        Self {
            line: Cell::new(1),
            column: Cell::new(0),
            item_bytes: Cell::new(0),
            most,
            blank: Cell::new(true),
        }
    }

    /// The line of the byte last read, from 1.
    pub(super) fn line(&self) -> u32 {
        self.line.get()
    }

    /// The column of the character last read, from 1; 0 at the begin of a line.
    pub(super) fn column(&self) -> u32 {
        self.column.get()
    }

    /// Says that a new item begins: the bound counts anew.
    pub(super) fn item_begins(&self) {
        self.item_bytes.set(0);
    }

    /// Whether the item went beyond the bound.
    pub(super) fn is_exceeded(&self) -> bool {
        self.item_bytes.get() > self.most
    }

    /// Whether nothing but white space was read so far.
    pub(super) fn is_blank(&self) -> bool {
        self.blank.get()
    }

    fn advance(&self, bytes: &[u8]) {
        self.item_bytes.set(self.item_bytes.get() + bytes.len());
        if !bytes.iter().all(u8::is_ascii_whitespace) {
            self.blank.set(false);
        }
        for byte in bytes {
            if *byte == b'\n' {
                self.line.set(self.line.get().saturating_add(1));
                self.column.set(0);
            } else if byte & 0xC0 != 0x80 {
                // A byte that does not continue a character begins one.
                self.column.set(self.column.get().saturating_add(1));
            }
        }
    }
}

/// A reader that moves a [`Cursor`] and fails once an item goes beyond [`MAX_ITEM_BYTES`].
pub(super) struct Tracked<'c, R> {
    inner: R,
    cursor: &'c Cursor,
}

impl<'c, R: Read> Tracked<'c, R> {
    pub(super) fn new(inner: R, cursor: &'c Cursor) -> Self {
        Self { inner, cursor }
    }
}

impl<R: Read> Read for Tracked<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.cursor.advance(&buffer[..read]);
        if self.cursor.is_exceeded() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the item is longer than 1 MiB"));
        }
        Ok(read)
    }
}
