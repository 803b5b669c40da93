//! A toolkit for reading TOML files with positions: it knows no stage and no pipeline.
//!
//! A file is read in two steps. [`Document`] holds the text and its tree, with a span for every
//! value. Types that implement [`FromValue`] take their fields from the tree and tell every problem
//! they meet to [`Diagnostics`], so that a person sees all of them at once. `config_table!` writes
//! that code, and the field's documentation for the reference, from one declaration. In between, values that
//! stand elsewhere (`{ env = "X" }`, `{ file = "path" }`) take their place, and are [`SecretTexts`] from then on.

mod canonical;
mod code;
mod diagnostic;
mod document;
mod input;
mod mask;
pub(crate) mod reference;
mod resolve;
pub(crate) mod schema;
mod secret;
mod suggest;
pub(crate) mod table;
mod value;
mod values;

pub use canonical::canonical;
pub use code::Code;
pub use diagnostic::{Diagnostic, Diagnostics, Level, Place};
pub use document::{Advice, Document, FILE_LIMIT};
pub use input::{open_input, read_input};
pub use reference::{FieldDoc, TableDoc, json_schema, json_schema_with_elsewhere, markdown};
pub use secret::{SECRET_MARK, SecretTexts};
pub use suggest::did_you_mean;
pub use table::Reader;
pub use value::{Context, Duration, FromValue, Hidden, JsonTable, Located};
pub use values::{ByteSize, format_duration, parse_bytes, parse_duration, parse_name};

pub(crate) use table::{config_enum, config_table, config_variants};
