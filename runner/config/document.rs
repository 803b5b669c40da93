//! A TOML file with its text, its tree and a position for everything in it.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeTable;

use super::diagnostic::Snippet;
use super::input::read_input;
use super::mask::Masked;
use super::resolve::Resolved;
use super::secret::SecretTexts;
use super::{Code, Diagnostic, Diagnostics, Place, parse_bytes, parse_duration};

/// The largest pipeline file that is read, in bytes. Parsing is linear but slow in debug builds, and
/// no person writes more; target lists are files of their own.
pub const FILE_LIMIT: u64 = 1 << 20;

/// What to do about a file that cannot be read as it is; it depends on what the file is for.
#[derive(Debug, Clone, Copy)]
pub struct Advice {
    /// Where it is larger than [`FILE_LIMIT`].
    pub too_large: &'static str,
    /// Where it is empty.
    pub empty: &'static str,
}

impl Advice {
    /// For a pipeline file.
    const PIPELINE: Self = Self {
        too_large: "put long lists of targets into a file of their own: [[sources]] type = \"file\"",
        empty: "the shortest pipeline is: [[sources]] and, on the next line, targets = [\"https://…\"]",
    };
}

/// A file's text, and what is needed to point into it.
#[derive(Debug)]
pub struct Document {
    path: Arc<Path>,
    text: String,
    masked: Masked,
    /// Where the last position was told: positions are mostly asked for in the order of the text, and each
    /// is counted on from the one before, so that all of them cost one walk through it.
    cursor: Cell<Cursor>,
    /// Values that stood elsewhere.
    resolved: RefCell<Vec<Resolved>>,
    /// Other files that what it describes is made from.
    inputs: RefCell<Vec<PathBuf>>,
}

/// A position in the text.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    offset: usize,
    line: usize,
    column: usize,
}

impl Cursor {
    const BEGIN: Self = Self { offset: 0, line: 1, column: 1 };
}

impl Document {
    /// A document of a text that is at hand; `path` is what messages call it.
    pub fn new(path: &Path, text: String) -> Self {
        let masked = Masked::scan(&text);
        Self {
            path: path.into(),
            text,
            masked,
            cursor: Cell::new(Cursor::BEGIN),
            resolved: RefCell::default(),
            inputs: RefCell::default(),
        }
    }

    /// Reads a pipeline file. Problems: unreadable, larger than [`FILE_LIMIT`], not UTF-8, empty.
    pub fn read(path: &Path, diagnostics: &mut Diagnostics) -> Option<Self> {
        Self::read_with(path, Advice::PIPELINE, diagnostics)
    }

    /// Reads a file of another kind; as [`Document::read`], with other advice.
    pub fn read_with(path: &Path, advice: Advice, diagnostics: &mut Diagnostics) -> Option<Self> {
        let problem = |code, message: String| Diagnostic::error(code, Place::file(path), message);
        let bytes = match read_input(path, FILE_LIMIT) {
            Ok(bytes) => bytes,
            Err(reason) => {
                diagnostics.add(problem(Code::Unreadable, format!("cannot read the file: {reason}")));
                return None;
            }
        };
        if bytes.len() as u64 > FILE_LIMIT {
            diagnostics.add(
                problem(Code::TooLarge, "the file is larger than 1MiB".to_owned()).hint(advice.too_large),
            );
            return None;
        }
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let line = error.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1;
                diagnostics.add(problem(Code::NotUtf8, format!("line {line} is not valid UTF-8")));
                return None;
            }
        };
        if text.trim_start_matches('\u{feff}').trim().is_empty() {
            diagnostics.add(problem(Code::Empty, "the file is empty".to_owned()).hint(advice.empty));
            return None;
        }
        Some(Self::new(path, text))
    }

    /// The tree. Syntax problems are told in our own words: the parser's own text quotes whole lines,
    /// secrets included.
    pub fn parse(&self, diagnostics: &mut Diagnostics) -> Option<Spanned<DeTable<'_>>> {
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        let mut last_line = 0;
        for error in &errors {
            let span = error.span().unwrap_or(0..0);
            let place = self.syntax_place(span.clone());
            // One mistake tends to make several errors on a line; the first says it best.
            if place.line() == last_line {
                continue;
            }
            last_line = place.line();
            let mut diagnostic = Diagnostic::error(Code::Syntax, place, plain_message(error.message()));
            if let Some(hint) = self.syntax_hint(&span, error.message()) {
                diagnostic = diagnostic.hint(hint);
            }
            diagnostics.add(diagnostic);
        }
        errors.is_empty().then_some(table)
    }

    /// The file's path, as given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A place whose own value may be shown. Of one that stood elsewhere, the name it stood under is.
    pub fn place(&self, span: Range<usize>) -> Place {
        let source = self.resolved.borrow().iter().find(|found| found.span == span).map(|f| f.source.clone());
        self.place_of(&span, Some(source.as_ref().unwrap_or(&span)), false)
    }

    /// Notes a file that what the document describes is made from.
    pub fn note_input(&self, path: &Path) {
        let mut inputs = self.inputs.borrow_mut();
        if !inputs.iter().any(|known| known == path) {
            inputs.push(path.to_owned());
        }
    }

    /// Every other file that what the document describes is made from.
    pub fn inputs(&self) -> Vec<PathBuf> {
        self.inputs.borrow().clone()
    }

    pub(super) fn note_resolved(&self, found: Resolved) {
        self.resolved.borrow_mut().push(found);
    }

    /// Whether the value of this span stood elsewhere, in the environment or in a file.
    pub fn is_resolved(&self, span: &Range<usize>) -> bool {
        self.resolved.borrow().iter().any(|found| found.span == *span)
    }

    /// The texts of all values that stood elsewhere, in their order: for telling whether one has changed.
    pub fn resolved_texts(&self) -> Vec<String> {
        self.resolved.borrow().iter().map(|found| found.text.clone()).collect()
    }

    /// What must never be shown: values that stood elsewhere, but for defaults, which stand in the document,
    /// and for durations and sizes, which nobody keeps secret.
    pub fn secrets(&self) -> SecretTexts {
        let resolved = self.resolved.borrow();
        let is_plain = |text: &str| parse_duration(text).is_ok() || parse_bytes(text).is_ok();
        let secret = resolved.iter().filter(|found| found.is_secret && !is_plain(&found.text));
        SecretTexts::new(secret.map(|found| found.text.as_str()))
    }

    /// Whether a table of this span is written inline.
    pub(super) fn is_inline(&self, span: &Range<usize>) -> bool {
        self.text[self.clamp(span)].starts_with('{')
    }

    /// A place whose value may be a secret.
    pub fn hidden_place(&self, span: Range<usize>) -> Place {
        self.place_of(&span, None, false)
    }

    /// The same for a value that may stand nowhere, as a default does: then it is the file.
    pub fn hidden_place_or_file(&self, span: Option<&Range<usize>>) -> Place {
        span.map_or_else(|| Place::file(self.path()), |span| self.hidden_place(span.clone()))
    }

    /// A place whose value is a URL: shown unless it has what may be a secret, user information or a
    /// query.
    pub fn url_place(&self, span: Range<usize>) -> Place {
        let text = &self.text[self.clamp(&span)];
        if text.contains(['@', '?']) { self.hidden_place(span) } else { self.place(span) }
    }

    /// The span of the value that begins at a line and column (both from 1, in characters).
    pub fn span_at(&self, line: usize, column: usize) -> Range<usize> {
        let begin = match line {
            0 | 1 => 0,
            _ => self.text.match_indices('\n').nth(line - 2).map_or(self.text.len(), |(at, _)| at + 1),
        };
        let offset: usize =
            self.text[begin..].chars().take(column.saturating_sub(1)).map(char::len_utf8).sum();
        let start = begin + offset;
        start..self.masked.string_end(start).unwrap_or(start)
    }

    /// The line and column (both from 1, in characters) at which a span begins.
    pub fn line_and_column(&self, span: &Range<usize>) -> (usize, usize) {
        let start = self.clamp(span).start;
        let mut at = self.cursor.get();
        if at.offset > start {
            at = Cursor::BEGIN;
        }
        for character in self.text[at.offset..start].chars() {
            at = match character {
                '\n' => Cursor { offset: at.offset + 1, line: at.line + 1, column: 1 },
                _ => Cursor { offset: at.offset + character.len_utf8(), column: at.column + 1, ..at },
            };
        }
        self.cursor.set(at);
        (at.line, at.column)
    }

    fn syntax_place(&self, span: Range<usize>) -> Place {
        let shown = is_harmless(&self.text[self.clamp(&span)]).then_some(&span);
        self.place_of(&span, shown, true)
    }

    fn place_of(&self, span: &Range<usize>, revealed: Option<&Range<usize>>, keys_only: bool) -> Place {
        let span = self.clamp(span);
        let begin = self.text[..span.start].rfind('\n').map_or(0, |n| n + 1);
        let end = self.text[begin..].find('\n').map_or(self.text.len(), |n| begin + n);
        let end = if self.text[begin..end].ends_with('\r') { end - 1 } else { end };
        let (line, column) = self.line_and_column(&(span.start..span.start));
        let (text, caret) = self.masked.show(&self.text, begin..end, &span, revealed, keys_only);
        // What goes on beyond the line is told up to the line's end.
        let length = self.text[span.start..span.end.clamp(span.start, end.max(span.start))].chars().count();
        let columns = column..column + length.max(1);
        Place::new(Arc::clone(&self.path), line, columns, Snippet { text, caret })
    }

    /// A span that lies inside the text, on character boundaries.
    fn clamp(&self, span: &Range<usize>) -> Range<usize> {
        let floor = |mut at: usize| {
            at = at.min(self.text.len());
            while !self.text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = floor(span.start);
        start..floor(span.end).max(start)
    }

    fn syntax_hint(&self, span: &Range<usize>, message: &str) -> Option<&'static str> {
        let found = &self.text[self.clamp(span)];
        if found.starts_with(|c: char| c.is_ascii_digit()) && is_harmless(found) {
            return Some("durations and sizes are strings: put double quotes around the value");
        }
        match message {
            m if m.contains("duplicate key") => {
                Some("give a table or key once, and put all its values there")
            }
            m if m.contains("unclosed array") => Some("close the list with \"]\""),
            m if m.contains("basic string") || m.contains("literal string") => {
                Some("close the string on the same line")
            }
            _ => None,
        }
    }
}

/// The parser's message in our style. Its messages are fixed texts without input (a test plants
/// canaries to keep it so).
fn plain_message(message: &str) -> String {
    let mut characters = message.trim().chars();
    let first = characters.next().map(|c| c.to_ascii_lowercase());
    let plain: String = first.into_iter().chain(characters).take(200).collect();
    format!("not valid TOML: {}", plain.replace('`', "\""))
}

/// Whether an unquoted text is too short and plain to be a secret: `30s`, `1MiB`, `yes`.
fn is_harmless(text: &str) -> bool {
    let units = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    text.len() <= 12
        && text.len() > units.len()
        && units.len() <= 3
        && units.bytes().all(|b| b.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problems(text: &str) -> String {
        let mut diagnostics = Diagnostics::default();
        let document = Document::new(Path::new("x.toml"), text.to_owned());
        document.parse(&mut diagnostics);
        diagnostics.render(false)
    }

    #[test]
    fn a_syntax_error_never_quotes_a_canary() {
        let inputs = [
            "token = \"CANARY",
            "a = \"CANARY\" b = \"CANARY\"",
            "a = CANARY",
            "a = [\"CANARY\" \"CANARY\"]",
            "a = { b = \"CANARY\", b = \"CANARY\" }",
            "a = '''CANARY",
            "a = 2020-13-45TCANARY",
            "a = 1CANARY",
            "[a]\nb = \"CANARY\"\n[a]\nc = \"CANARY\" x",
        ];
        for input in inputs {
            let text = problems(input);
            assert!(text.contains("error[P0105]"), "{input}: {text}");
            assert!(!text.contains("CANARY"), "{input}: {text}");
        }
    }

    #[test]
    fn a_bare_duration_gets_a_hint_and_is_shown() {
        let text = problems("[schedule]\nevery = 30s\n");
        assert!(
            text.contains("x.toml:2:9") && text.contains("every = 30s") && text.contains("double quotes"),
            "{text}"
        );
    }

    #[test]
    fn positions_are_the_same_in_any_order() {
        let document = Document::new(Path::new("x.toml"), "é = 1\nbb = 2\n\nc = 3".to_owned());
        let expected = [(0, (1, 1)), (3, (1, 3)), (7, (2, 1)), (12, (2, 6)), (14, (3, 1)), (15, (4, 1))];
        for (offset, place) in expected.iter().chain(expected.iter().rev()) {
            let span = *offset..*offset;
            assert_eq!(document.line_and_column(&span), *place, "{offset}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics_and_every_error_has_a_place(text in "(\\PC|[\n\r\"'=\\[\\]{}#,.]){0,80}") {
            let document = Document::new(Path::new("x.toml"), text);
            let mut diagnostics = Diagnostics::default();
            let parsed = document.parse(&mut diagnostics);
            prop_assert_eq!(parsed.is_none(), diagnostics.has_errors());
            diagnostics.render(false);
        }
    }
}
