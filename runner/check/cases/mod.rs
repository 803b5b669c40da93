//! Cases: what a check must say of an observation, as data. A plugin's `cases.toml` holds them; here they
//! are read, judged in the sandbox, and compared with what the check says.
//!
//! The kit for Rust reads the same files without WebAssembly (`plugins/sdk/src/cases.rs`): a key that is
//! new here has to be known there.
//!
//! In reading order: the tables of the file (`text`), the cases that they describe (`case`), what the
//! check makes of them (`judge`), and how that differs from what it must say (`compare`).

mod text;
mod case;
mod compare;
mod judge;

pub use case::{Case, Cases, Expectation};
pub use compare::Mismatch;
pub use judge::{Answer, CaseReport};
pub use text::CasesText;
