//! `.csv`: the first line names the columns. Cells are trimmed; an empty cell counts as absent.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use ::csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder, Trim};

use super::collect::Collector;
use super::lines::{Cursor, Tracked};
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
    let mut rows = Rows {
        // The csv crate skips the byte order mark itself.
        reader: ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .from_reader(Tracked::new(reader, &cursor)),
        cursor: &cursor,
        file,
        record: ByteRecord::new(),
    };
    let Some(header_line) = rows.next(collector) else { return };
    let Some(columns) = read_header(&rows.record, &rows.place(header_line), collector) else { return };
    while let Some(line) = rows.next(collector) {
        match read_row(&rows.record, &columns, rows.place(line)) {
            Ok(Some(target)) => collector.add(target),
            Ok(None) => {}
            Err(problem) => collector.problem(problem),
        }
    }
}

/// The rows of a file, header included.
struct Rows<'c, R> {
    reader: Reader<Tracked<'c, R>>,
    cursor: &'c Cursor,
    file: &'c Arc<Path>,
    record: ByteRecord,
}

impl<R: Read> Rows<'_, R> {
    /// Reads the next row into `record` and gives its line; none at the end or where reading can't go on.
    fn next(&mut self, collector: &mut Collector) -> Option<u32> {
        self.cursor.item_begins();
        let before = self.reader.position().line();
        match self.reader.read_byte_record(&mut self.record) {
            Ok(true) => Some(u32::try_from(row_line(&self.record, before)).unwrap_or(u32::MAX)),
            Ok(false) => None,
            Err(error) => {
                let line = u32::try_from(before).unwrap_or(u32::MAX);
                collector.problem(read_problem(&error, self.cursor, self.place(line)));
                None
            }
        }
    }

    fn place(&self, line: u32) -> Place {
        Place { file: Arc::clone(self.file), line, column: None }
    }
}

fn row_line(record: &ByteRecord, before: u64) -> u64 {
    record.position().map_or(before, ::csv::Position::line)
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
        let word = String::from_utf8_lossy(cell);
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
        unknown: Some(UnknownWord { word: shown.clone(), known: COLUMNS }),
        ..SourceProblem::new(place.clone(), format!("unknown column \"{shown}\"")).hint(hint)
    }
}

/// The target of a row; none for a row of empty cells, as spreadsheets leave them at the end.
fn read_row(
    record: &ByteRecord,
    columns: &[Column],
    place: Place,
) -> Result<Option<TargetText>, SourceProblem> {
    if record.iter().all(<[u8]>::is_empty) {
        return Ok(None);
    }
    if record.len() != columns.len() {
        let what = format!("the row has {} cells, the header {}", record.len(), columns.len());
        return Err(SourceProblem::new(place, what).hint("a cell that holds a comma needs quotes around it"));
    }
    let mut target = TargetText { url: String::new(), name: None, every: None, labels: Vec::new(), place };
    for (cell, column) in record.iter().zip(columns) {
        let Ok(cell) = str::from_utf8(cell) else {
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
