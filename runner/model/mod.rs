//! Plain values that pass between the stages: what is probed, what happened, what was judged.
//!
//! Nothing here does I/O, reads a clock, or knows a stage.

mod exchange;
mod failure;
mod outcome;
mod result;
mod secret;
mod target;
mod text;
mod time;
mod verdict;

pub use exchange::{Exchange, Head, Hop, HttpVersion, Phases, TlsFacts};
pub use failure::{ErrorGroup, ErrorKind, Failure};
pub use outcome::Outcome;
pub use result::{ProbeResult, judge};
pub use secret::Secret;
pub use target::{Labels, Target};
pub use text::{harmless, steers_a_terminal};
pub use time::UnixNanos;
pub(crate) use time::nanos;
pub use verdict::{CheckStatus, Severity, Verdict};
