//! Schedules as pipeline files write them.

use std::path::Path;

use probity::config::{Context, Diagnostics, Document, FromValue};
use toml::Spanned;
use toml::de::DeValue;

/// Takes a table from its text, and does something with it; the problems as a person sees them if there
/// are any.
pub(crate) fn with_table<T: FromValue, R>(
    text: &str,
    take: impl FnOnce(T, &Document, &mut Diagnostics) -> Option<R>,
) -> Result<R, String> {
    let document = Document::new(Path::new("x.toml"), text.to_owned());
    let mut diagnostics = Diagnostics::default();
    let taken = document.parse(&mut diagnostics).and_then(|table| {
        let value = Spanned::new(table.span(), DeValue::Table(table.into_inner()));
        let mut context = Context { document: &document, diagnostics: &mut diagnostics, tag: None };
        let table = T::from_value(&value, &mut context)?;
        take(table, &document, &mut diagnostics)
    });
    let problems = diagnostics.render(false);
    match taken {
        Some(taken) if !diagnostics.has_errors() => Ok(taken),
        _ => Err(problems),
    }
}
