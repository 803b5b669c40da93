//! What is wrong with a source, and where. Messages never quote whole lines or queries of URLs: a target
//! list may hold secrets.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Problems that are kept word by word; those beyond are counted. Nobody mends more than these from one
/// print, and a million bad lines must not fill the memory.
pub const MAX_PROBLEMS: usize = 50;

/// Where something is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as it shall be printed.
    pub file: Arc<Path>,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1, where it is known.
    pub column: Option<u32>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)?;
        self.column.map_or(Ok(()), |column| write!(f, ":{column}"))
    }
}

/// One thing that is wrong, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceProblem {
    /// Where it is.
    pub place: Place,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The word that is not known and those that are, where this is the problem: for a "did you mean".
    pub unknown: Option<Box<UnknownWord>>,
    /// Whether it is about two targets that are the same or share a name.
    pub is_duplicate: bool,
}

/// A word that stands where only some are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownWord {
    /// As it is written.
    pub word: String,
    /// What could stand there.
    pub known: &'static [&'static str],
}

impl SourceProblem {
    /// A problem without a hint.
    pub fn new(place: Place, what: impl Into<String>) -> Self {
        Self { place, what: what.into(), hint: None, unknown: None, is_duplicate: false }
    }

    /// The same, as one about two targets.
    #[must_use]
    pub fn duplicate(self) -> Self {
        Self { is_duplicate: true, ..self }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Problems in the order in which they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    /// The first [`MAX_PROBLEMS`].
    pub list: Vec<SourceProblem>,
    /// How many there are beyond those.
    pub beyond: usize,
}

impl Problems {
    /// Keeps a problem, or counts it.
    pub fn push(&mut self, problem: SourceProblem) {
        if self.list.len() < MAX_PROBLEMS {
            self.list.push(problem);
        } else {
            self.beyond += 1;
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them, those beyond the list included.
    pub fn count(&self) -> usize {
        self.list.len() + self.beyond
    }
}
