//! What an attempt comes to.

use std::fmt;

/// The sum of an attempt, in the order of precedence: the greatest of several decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The probe was dropped before its first attempt, since it could not start in time.
    Skipped,
    /// A whole response, and every check passed.
    Up,
    /// A check warned.
    Degraded,
    /// It could not be told: our limit or fault, a check in error, a failure between us and them.
    Unknown,
    /// The target is wrong: a check failed, or a failure proven to be the target's.
    Down,
}

impl Outcome {
    /// Every outcome, best first.
    pub const ALL: [Self; 5] = [Self::Up, Self::Degraded, Self::Unknown, Self::Down, Self::Skipped];

    /// The stable name, as in rows, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Unknown => "unknown",
            Self::Down => "down",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
