//! What is wrong, where, why, and what to do: one type for every problem of every file.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Code, SecretTexts};
use crate::model::harmless;

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It works, but is likely not what was meant.
    Warning,
    /// It cannot be run.
    Error,
}

/// A line as it may be shown, with the characters to point at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snippet {
    pub(super) text: String,
    pub(super) caret: Range<usize>,
}

/// Where something stands: a file, or a line and column (from 1, in characters) in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    path: Arc<Path>,
    line: usize,
    column: usize,
    /// The column after the last character, on the same line; 0 where it is not known.
    end_column: usize,
    snippet: Option<Snippet>,
}

impl Place {
    /// A file as a whole.
    pub fn file(path: &Path) -> Self {
        Self::line_of(path.into(), 0, 0)
    }

    /// A line and column of a file that is not TOML; 0 where one is not known.
    pub fn line_of(path: Arc<Path>, line: usize, column: usize) -> Self {
        Self { path, line, column, end_column: 0, snippet: None }
    }

    /// Columns of a line with its text.
    pub(super) fn new(path: Arc<Path>, line: usize, columns: Range<usize>, snippet: Snippet) -> Self {
        Self { path, line, column: columns.start, end_column: columns.end, snippet: Some(snippet) }
    }

    /// Adds it to a JSON object; what is not known is null.
    fn to_json(&self, into: &mut Map<String, Value>) {
        let known = |number: usize| (number > 0).then_some(number);
        into.insert("file".to_owned(), harmless(&self.path.display().to_string()).into());
        into.insert("line".to_owned(), known(self.line).into());
        into.insert("column".to_owned(), known(self.column).into());
        into.insert("end_column".to_owned(), known(self.end_column).into());
    }

    /// The line, from 1; 0 for the file as a whole.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&harmless(&self.path.display().to_string()))?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.line > 0 && self.column > 0 {
            write!(f, ":{}", self.column)?;
        }
        Ok(())
    }
}

/// A problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    level: Level,
    code: Code,
    place: Place,
    message: String,
    others: Vec<(String, Place)>,
    hint: Option<String>,
    /// Whether several may find it, and it is told once.
    is_shared: bool,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(code: Code, place: Place, message: impl Into<String>) -> Self {
        Self::new(Level::Error, code, place, message)
    }

    /// A warning at a place.
    pub fn warning(code: Code, place: Place, message: impl Into<String>) -> Self {
        Self::new(Level::Warning, code, place, message)
    }

    /// A problem of a level at a place.
    pub fn new(level: Level, code: Code, place: Place, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { level, code, place, message, others: Vec::new(), hint: None, is_shared: false }
    }

    /// Adds a second place that belongs to the problem, and what it is.
    #[must_use]
    pub fn also(mut self, what: impl Into<String>, place: Place) -> Self {
        self.others.push((what.into(), place));
        self
    }

    /// Has it told once, though several may find it.
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.is_shared = true;
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The problem as a JSON object: `code`, `level`, `file`, `line`, `column`, `end_column` (the first column
    /// behind it), `message`, `detail` (what the code means), `hint`, `others` (places that belong to it, each
    /// with `message` and its place). Lines and columns count from 1, in characters; what is not known is null.
    pub fn to_json(&self) -> Value {
        let Self { level, code, place, message, others, hint, is_shared: _ } = self;
        let mut object = Map::new();
        object.insert("code".to_owned(), code.as_str().into());
        let level = match level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        object.insert("level".to_owned(), level.into());
        place.to_json(&mut object);
        object.insert("message".to_owned(), harmless(message).into());
        object.insert("detail".to_owned(), code.meaning().into());
        object.insert("hint".to_owned(), hint.as_deref().map(harmless).into());
        let others = others.iter().map(|(what, place)| {
            let mut other = Map::from_iter([("message".to_owned(), harmless(what).into())]);
            place.to_json(&mut other);
            Value::Object(other)
        });
        object.insert("others".to_owned(), others.collect());
        Value::Object(object)
    }

    fn render(&self, out: &mut String, colour: bool) {
        let paint = Paint { colour };
        let (word, style) = match self.level {
            Level::Error => ("error", "1;31"),
            Level::Warning => ("warning", "1;33"),
        };
        let head = paint.with(style, &format!("{word}[{}]", self.code));
        let _ = writeln!(out, "{head}: {}", harmless(&self.message));
        render_place(out, &self.place, "-->", paint);
        for (what, place) in &self.others {
            let _ = writeln!(out, "{} {}", paint.with("1;34", "note:"), harmless(what));
            render_place(out, place, "-->", paint);
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(out, "  {} {}", paint.with("1;36", "help:"), harmless(hint));
        }
    }
}

fn render_place(out: &mut String, place: &Place, arrow: &str, paint: Paint) {
    let _ = writeln!(out, "  {} {place}", paint.with("1;34", arrow));
    let Some(Snippet { text, caret }) = &place.snippet else { return };
    let number = place.line.to_string();
    let gap = " ".repeat(number.len());
    let bar = paint.with("1;34", "|");
    let _ = writeln!(out, "{gap} {bar}");
    let _ = writeln!(out, "{} {bar} {text}", paint.with("1;34", &number));
    let marks = "^".repeat(caret.len().max(1));
    let _ = writeln!(out, "{gap} {bar} {}{}", " ".repeat(caret.start), paint.with("1;31", &marks));
}

#[derive(Clone, Copy)]
struct Paint {
    colour: bool,
}

impl Paint {
    fn with(self, style: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// All problems found so far.
#[derive(Debug, Default)]
pub struct Diagnostics {
    all: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Adds a problem.
    pub fn add(&mut self, diagnostic: Diagnostic) {
        if !(diagnostic.is_shared && self.all.contains(&diagnostic)) {
            self.all.push(diagnostic);
        }
    }

    /// The same problems, each told once though several may find it.
    #[must_use]
    pub fn shared(self) -> Self {
        Self { all: self.all.into_iter().map(Diagnostic::shared).collect() }
    }

    /// Whether anything cannot be run.
    pub fn has_errors(&self) -> bool {
        self.count(Level::Error) > 0
    }

    /// How many problems of a level there are.
    pub fn count(&self, level: Level) -> usize {
        self.all.iter().filter(|diagnostic| diagnostic.level == level).count()
    }

    /// The problems, file by file, in the order of their lines.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        let mut sorted: Vec<_> = self.all.iter().collect();
        sorted.sort_by(|a, b| {
            let key = |d: &Diagnostic| (Arc::clone(&d.place.path), d.place.line, d.place.column);
            key(a).cmp(&key(b))
        });
        sorted.into_iter()
    }

    /// The problems as text for a person, with ANSI colours if told so.
    pub fn render(&self, colour: bool) -> String {
        let mut out = String::new();
        for diagnostic in self.iter() {
            diagnostic.render(&mut out, colour);
            out.push('\n');
        }
        out
    }

    /// Masks secrets in all that was told so far.
    pub fn mask(&mut self, secrets: &SecretTexts) {
        if secrets.is_empty() {
            return;
        }
        for Diagnostic { level: _, code: _, place: _, message, others, hint, is_shared: _ } in &mut self.all {
            secrets.mask_quoted_in(message);
            for text in hint.iter_mut().chain(others.iter_mut().map(|(what, _)| what)) {
                secrets.mask_quoted_in(text);
            }
        }
    }

    /// What the warnings are, wherever they stand.
    pub fn warnings(&self) -> Vec<(Code, String)> {
        let warnings = self.all.iter().filter(|diagnostic| diagnostic.level == Level::Warning);
        warnings.map(|diagnostic| (diagnostic.code, diagnostic.message.clone())).collect()
    }

    /// Leaves out warnings that were told before.
    pub fn leave_out(&mut self, told: &[(Code, String)]) {
        let is_told = |diagnostic: &Diagnostic| {
            told.iter().any(|(code, message)| *code == diagnostic.code && *message == diagnostic.message)
        };
        self.all.retain(|diagnostic| diagnostic.level == Level::Error || !is_told(diagnostic));
    }

    /// Takes over the problems of another collection.
    pub fn absorb(&mut self, other: Self) {
        other.all.into_iter().for_each(|diagnostic| self.add(diagnostic));
    }
}
