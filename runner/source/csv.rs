//! `.csv`: the first line names the columns. Cells are trimmed; an empty cell counts as absent.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use ::csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder, Terminator};

use super::collect::Collector;
use super::lines::{Cursor, Tracked, skip_mark};
use super::problem::{Place, SourceProblem, UnknownWord};
use super::target::{TargetText, is_label_name};
use super::url::printable_url;

/// The columns, for a "did you mean".
const COLUMNS: &[&str] = &["url", "name", "every", "labels."];

const HEADER_HINT: &str = "the first line names the columns, for example url,name,every,labels.team";

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Column {
    Url,
    Name,
    Every,
    Label(String),
    /// Not known, and reported.
    Unknown,
}

pub(super) fn read<R: Read>(reader: R, file: &Arc<Path>, collector: &mut Collector) {
    let cursor = Cursor::new();
    let place = |line| Place { file: Arc::clone(file), line, column: None };
    let reader = match skip_mark(reader) {
        Ok(reader) => Tracked::new(UnixLines::new(reader), &cursor),
        Err(error) => {
            collector.problem(SourceProblem::new(place(1), format!("reading stopped: {error}")));
            return;
        }
    };
    let mut rows = Rows::new(reader, &cursor);
    let columns = match rows.next() {
        Ok(None) => return,
        Ok(Some(line)) => read_header(&rows.record, &place(line), collector),
        Err((line, error)) => return collector.problem(read_problem(&error, &cursor, place(line))),
    };
    let Some(columns) = columns else { return };
    loop {
        match rows.next() {
            Ok(None) => return,
            Ok(Some(line)) => match read_row(&rows.record, &columns, place(line)) {
                Ok(Some(target)) => collector.add(target),
                Ok(None) => {}
                Err(problem) => collector.problem(problem),
            },
            Err((line, error)) => return collector.problem(read_problem(&error, &cursor, place(line))),
        }
    }
}

/// The rows of a file, header included.
struct Rows<'c, R> {
    reader: Reader<R>,
    cursor: &'c Cursor,
    record: ByteRecord,
}

impl<'c, R: Read> Rows<'c, R> {
    fn new(reader: R, cursor: &'c Cursor) -> Self {
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .terminator(Terminator::Any(b'\n'))
            .from_reader(reader);
        Self { reader, cursor, record: ByteRecord::new() }
    }

    /// Reads the next row into `record` and gives the line on which it begins; none at the end.
    fn next(&mut self) -> Result<Option<u32>, (u32, ::csv::Error)> {
        self.cursor.item_begins();
        let line = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let before = self.reader.position().line();
        let is_row = self.reader.read_byte_record(&mut self.record).map_err(|error| (line(before), error))?;
        // The row's own position would count blank lines before it in. Every row ends in a line end that
        // is read already, and has more only within quotes: its pieces are its lines.
        let inner = self.record.as_slice().split(|byte| *byte == b'\n').count() as u64;
        Ok(is_row.then(|| line(self.reader.position().line().saturating_sub(inner))))
    }
}

/// Gives `\r\n` as `\n`, and a line end at the end of the file if there is none: so that lines can be
/// counted by `\n` alone.
struct UnixLines<R> {
    inner: BufReader<R>,
    /// A `\r` that was read and not yet given.
    is_held: bool,
    last: u8,
}

impl<R: Read> UnixLines<R> {
    fn new(inner: BufReader<R>) -> Self {
        Self { inner, is_held: false, last: b'\n' }
    }
}

impl<R: Read> Read for UnixLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut written = 0;
        while written == 0 && !buffer.is_empty() {
            let input = self.inner.fill_buf()?;
            if input.is_empty() {
                if self.last == b'\n' && !self.is_held {
                    return Ok(0);
                }
                (self.is_held, self.last, buffer[0]) = (false, b'\n', b'\n');
                return Ok(1);
            }
            let mut used = 0;
            while used < input.len() && written < buffer.len() {
                let byte = input[used];
                if self.is_held && byte != b'\n' {
                    (self.is_held, self.last, buffer[written]) = (false, b'\r', b'\r');
                    written += 1;
                    continue;
                }
                self.is_held = byte == b'\r';
                used += 1;
                if !self.is_held {
                    (self.last, buffer[written]) = (byte, byte);
                    written += 1;
                }
            }
            self.inner.consume(used);
        }
        Ok(written)
    }
}

fn read_problem(error: &::csv::Error, cursor: &Cursor, place: Place) -> SourceProblem {
    if cursor.is_exceeded() {
        return SourceProblem::new(place, "the row is longer than 1 MiB").hint("is a quote left open?");
    }
    let why = match error.kind() {
        ErrorKind::Io(error) => error.to_string(),
        _ => error.to_string(),
    };
    SourceProblem::new(place, format!("reading stopped: {why}"))
}

/// What the columns hold; none where rows would make no sense.
fn read_header(record: &ByteRecord, place: &Place, collector: &mut Collector) -> Option<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::with_capacity(record.len());
    for cell in record {
        let word = String::from_utf8_lossy(cell.trim_ascii());
        let column = match word.as_ref() {
            "url" => Column::Url,
            "name" => Column::Name,
            "every" => Column::Every,
            _ => word.strip_prefix("labels.").filter(|label| is_label_name(label)).map_or_else(
                || {
                    collector.problem(unknown_column(&word, place));
                    Column::Unknown
                },
                |label| Column::Label(label.to_owned()),
            ),
        };
        if column != Column::Unknown && columns.contains(&column) {
            let what = format!("there are two columns \"{}\"", printable_url(&word));
            collector.problem(SourceProblem::new(place.clone(), what).hint("remove one"));
        }
        columns.push(column);
    }
    if columns.contains(&Column::Url) {
        return Some(columns);
    }
    let problem = SourceProblem::new(place.clone(), "there is no column \"url\"").hint(HEADER_HINT);
    collector.problem(problem);
    None
}

fn unknown_column(word: &str, place: &Place) -> SourceProblem {
    let shown = printable_url(word);
    if word.starts_with("labels.") {
        return SourceProblem::new(place.clone(), format!("\"{shown}\" does not end in a name of a label"))
            .hint("use letters, digits and _, and do not begin with a digit");
    }
    let hint = if word.contains([';', '\t']) {
        "columns are separated by commas"
    } else {
        "the columns are url, name, every and labels.<name>"
    };
    SourceProblem {
        unknown: Some(Box::new(UnknownWord { word: shown.clone(), known: COLUMNS })),
        ..SourceProblem::new(place.clone(), format!("unknown column \"{shown}\"")).hint(hint)
    }
}

/// The target of a row; none for a row of empty cells, as spreadsheets leave them at the end.
fn read_row(
    record: &ByteRecord,
    columns: &[Column],
    place: Place,
) -> Result<Option<TargetText>, SourceProblem> {
    if record.iter().all(|cell| cell.trim_ascii().is_empty()) {
        return Ok(None);
    }
    if record.len() != columns.len() {
        let what = format!("the row has {} cells, the header {}", record.len(), columns.len());
        return Err(SourceProblem::new(place, what).hint("a cell that holds a comma needs quotes around it"));
    }
    let mut target = TargetText { url: String::new(), name: None, every: None, labels: Vec::new(), place };
    for (cell, column) in record.iter().zip(columns) {
        let Ok(cell) = str::from_utf8(cell.trim_ascii()) else {
            return Err(SourceProblem::new(target.place, "the row is not UTF-8"));
        };
        if cell.is_empty() {
            continue;
        }
        match column {
            Column::Url => cell.clone_into(&mut target.url),
            Column::Name => target.name = Some(cell.to_owned()),
            Column::Every => target.every = Some(cell.to_owned()),
            Column::Label(name) => target.labels.push((name.clone(), cell.to_owned())),
            Column::Unknown => {}
        }
    }
    Ok(Some(target))
}
