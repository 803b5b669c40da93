//! How a value is taken from a TOML tree.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time;

use serde_json::json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::reference::TableDoc;
use super::values::{ByteSize, parse_bytes, parse_duration};
use super::{Code, Diagnostic, Diagnostics, Document, Place, SECRET_MARK};

/// What reading a value needs: the document to point into and where problems go.
pub struct Context<'a> {
    /// The document that is read.
    pub document: &'a Document,
    /// Where problems go.
    pub diagnostics: &'a mut Diagnostics,
    /// The key that told the next table apart, which that table does not know itself.
    pub tag: Option<&'static str>,
}

impl Context<'_> {
    /// Tells that another type is wanted. The value itself is not shown: it may be a secret that
    /// stands in the wrong place.
    pub fn wrong_type(&mut self, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let place = self.document.hidden_place(value.span());
        let message = format!("{wanted} is wanted here, not {}", type_name(value.get_ref()));
        self.diagnostics.add(Diagnostic::error(Code::WrongType, place, message));
    }

    /// Tells that a value is not allowed, showing it.
    pub fn bad_value(&mut self, span: Range<usize>, message: impl Into<String>, hint: Option<String>) {
        let mut diagnostic = Diagnostic::error(Code::BadValue, self.document.place(span), message);
        if let Some(hint) = hint {
            diagnostic = diagnostic.hint(hint);
        }
        self.diagnostics.add(diagnostic);
    }

    /// The place of a span whose value may be shown.
    pub fn place(&self, span: Range<usize>) -> Place {
        self.document.place(span)
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A type that can be taken from a TOML value.
pub trait FromValue: Sized {
    /// The type in words, for the reference.
    fn type_text() -> String;

    /// The type as JSON Schema 2020-12.
    fn schema() -> serde_json::Value;

    /// The tables below this type, for the reference.
    fn tables(_out: &mut Vec<TableDoc>) {}

    /// Takes the value, or tells what is wrong with it.
    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self>;

    /// Takes a default, which stands in no document.
    fn from_default(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        Self::from_value(value, context)
    }

    /// What stands for a key that is not there; none if it must be.
    fn absent() -> Option<Self> {
        None
    }
}

/// A value that remembers where it stands; no span for a default. Its debug print is the value's, so
/// that what a file says can be told from where it says it.
#[derive(Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its bytes in the document; none for a default.
    pub span: Option<Range<usize>>,
}

impl<T> Located<T> {
    /// The place of the value, or of the whole file for a default.
    pub fn place(&self, document: &Document) -> Place {
        self.span.as_ref().map_or_else(|| Place::file(document.path()), |span| document.place(span.clone()))
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Located<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: FromValue> FromValue for Located<T> {
    fn type_text() -> String {
        T::type_text()
    }

    fn schema() -> serde_json::Value {
        T::schema()
    }

    fn tables(out: &mut Vec<TableDoc>) {
        T::tables(out);
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        Some(Self { value: T::from_value(value, context)?, span: Some(value.span()) })
    }

    fn from_default(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        Some(Self { value: T::from_default(value, context)?, span: None })
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn type_text() -> String {
        T::type_text()
    }

    fn schema() -> serde_json::Value {
        T::schema()
    }

    fn tables(out: &mut Vec<TableDoc>) {
        T::tables(out);
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        T::from_value(value, context).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn type_text() -> String {
        format!("list of {}", T::type_text())
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "array", "items": T::schema() })
    }

    fn tables(out: &mut Vec<TableDoc>) {
        T::tables(out);
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        let DeValue::Array(items) = value.get_ref() else {
            context.wrong_type(value, "a list");
            return None;
        };
        // Items that are wrong have been told of; the others go on, so that their problems are told too.
        Some(items.iter().filter_map(|item| T::from_value(item, context)).collect())
    }

    fn absent() -> Option<Self> {
        Some(Self::new())
    }
}

impl<T: FromValue> FromValue for BTreeMap<String, T> {
    fn type_text() -> String {
        format!("table of {}", T::type_text())
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "object", "additionalProperties": T::schema() })
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        let DeValue::Table(table) = value.get_ref() else {
            context.wrong_type(value, "a table");
            return None;
        };
        let take = |(key, item): (&Spanned<toml::de::DeString<'_>>, _)| {
            Some((key.get_ref().to_string(), T::from_value(item, context)?))
        };
        Some(entries(table).into_iter().filter_map(take).collect())
    }

    fn absent() -> Option<Self> {
        Some(Self::new())
    }
}

/// The entries of a table in the order of the file.
pub(super) fn entries<'t, 'i>(
    table: &'t DeTable<'i>,
) -> Vec<(&'t Spanned<toml::de::DeString<'i>>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

impl FromValue for String {
    fn type_text() -> String {
        "string".to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string" })
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        if let DeValue::String(text) = value.get_ref() {
            return Some(text.to_string());
        }
        context.wrong_type(value, "a string");
        None
    }
}

impl FromValue for bool {
    fn type_text() -> String {
        "true or false".to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "boolean" })
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        if let DeValue::Boolean(found) = value.get_ref() {
            return Some(*found);
        }
        context.wrong_type(value, "true or false");
        None
    }
}

impl FromValue for u64 {
    fn type_text() -> String {
        "integer".to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "integer", "minimum": 0 })
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        let DeValue::Integer(found) = value.get_ref() else {
            context.wrong_type(value, "an integer");
            return None;
        };
        let number = Self::from_str_radix(found.as_str(), found.radix()).ok();
        if number.is_none() {
            context.bad_value(value.span(), "the number is negative or too large", None);
        }
        number
    }
}

/// A number, whole or not, and finite.
impl FromValue for f64 {
    fn type_text() -> String {
        "number".to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "number" })
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        let number = match value.get_ref() {
            DeValue::Integer(found) => {
                i64::from_str_radix(found.as_str(), found.radix()).ok().map(|whole| whole as Self)
            }
            DeValue::Float(found) => found.as_str().parse().ok().filter(|number: &Self| number.is_finite()),
            _ => {
                context.wrong_type(value, "a number");
                return None;
            }
        };
        if number.is_none() {
            context.bad_value(value.span(), "the number is not finite or too large", None);
        }
        number
    }
}

/// A duration with a unit, such as `"30s"`.
pub type Duration = time::Duration;

impl FromValue for Duration {
    fn type_text() -> String {
        "duration".to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^([0-9]+(\\.[0-9]+)?(ns|us|ms|s|m|h|d))+$" })
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        unit_value(value, context, "a duration in double quotes, such as \"30s\",", parse_duration)
    }
}

impl FromValue for ByteSize {
    fn type_text() -> String {
        "size".to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)? ?(B|[KMGT]iB|kB|MB|GB|TB)$" })
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        unit_value(value, context, "a size in double quotes, such as \"1MiB\",", parse_bytes)
    }
}

fn unit_value<T>(
    value: &Spanned<DeValue<'_>>,
    context: &mut Context<'_>,
    wanted: &str,
    parse: fn(&str) -> Result<T, String>,
) -> Option<T> {
    let DeValue::String(text) = value.get_ref() else {
        context.wrong_type(value, wanted);
        return None;
    };
    parse(text).map_err(|message| context.bad_value(value.span(), message, None)).ok()
}

/// A text that may be a secret: never shown in a message, a log line or a debug print.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(Arc<str>);

impl Hidden {
    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

impl FromValue for Hidden {
    fn type_text() -> String {
        "string".to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string" })
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        String::from_value(value, context).map(|text| Self(text.into()))
    }
}

/// Any table, as JSON.
impl FromValue for serde_json::Value {
    fn type_text() -> String {
        "table".to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "object" })
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        let table = JsonTable::from_value(value, context)?;
        table.is_whole.then_some(table.value)
    }
}

/// Any table, as JSON: a plugin's own configuration. Prints without what stood elsewhere.
#[derive(Clone, PartialEq)]
pub struct JsonTable {
    /// The table.
    pub value: serde_json::Value,
    /// The table with [`SECRET_MARK`] for every value that stood elsewhere; none where none did.
    pub shown: Option<serde_json::Value>,
    /// Whether all of it could be read; what could not has been told of.
    pub is_whole: bool,
    /// Where each value below stands, by its JSON pointer: its key (of an item, itself), and it.
    places: Vec<(String, Range<usize>, Range<usize>)>,
}

impl JsonTable {
    /// Where the key and the value of a JSON pointer stand.
    pub fn spans(&self, pointer: &str) -> Option<(Range<usize>, Range<usize>)> {
        let found = self.places.iter().find(|(known, _, _)| known == pointer);
        found.map(|(_, key, value)| (key.clone(), value.clone()))
    }
}

impl std::fmt::Debug for JsonTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.shown.as_ref().unwrap_or(&self.value).fmt(f)
    }
}

impl FromValue for JsonTable {
    fn type_text() -> String {
        "table".to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "object" })
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        if !matches!(value.get_ref(), DeValue::Table(_)) {
            context.wrong_type(value, "a table");
            return None;
        }
        let mut places = Vec::new();
        note_places(value, "", &mut places);
        let Some(table) = to_json(value, context, false) else {
            return Some(Self { value: json!({}), shown: None, is_whole: false, places });
        };
        let shown = to_json(value, context, true)?;
        Some(Self { shown: (shown != table).then_some(shown), value: table, is_whole: true, places })
    }
}

fn note_places(
    value: &Spanned<DeValue<'_>>,
    pointer: &str,
    places: &mut Vec<(String, Range<usize>, Range<usize>)>,
) {
    let mut note = |part: &str, key: Range<usize>, item: &Spanned<DeValue<'_>>| {
        let below = format!("{pointer}/{}", part.replace('~', "~0").replace('/', "~1"));
        places.push((below.clone(), key, item.span()));
        note_places(item, &below, places);
    };
    match value.get_ref() {
        DeValue::Table(table) => {
            for (key, item) in entries(table) {
                note(key.get_ref(), key.span(), item);
            }
        }
        DeValue::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| note(&at.to_string(), item.span(), item));
        }
        _ => {}
    }
}

/// The value; `hide`: with a mark for every value that stood elsewhere.
fn to_json(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>, hide: bool) -> Option<serde_json::Value> {
    Some(match value.get_ref() {
        DeValue::String(_) if hide && context.document.is_resolved(&value.span()) => SECRET_MARK.into(),
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Boolean(found) => (*found).into(),
        DeValue::Datetime(date) => date.to_string().into(),
        DeValue::Integer(found) => match i64::from_str_radix(found.as_str(), found.radix()) {
            Ok(number) => number.into(),
            Err(_) => {
                context.bad_value(value.span(), "the number is too large", None);
                return None;
            }
        },
        DeValue::Float(found) => {
            let number = found.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64);
            let Some(number) = number else {
                context.bad_value(value.span(), "the number is not finite", None);
                return None;
            };
            number.into()
        }
        DeValue::Array(items) => {
            let taken: Vec<_> = items.iter().map(|item| to_json(item, context, hide)).collect();
            taken.into_iter().collect::<Option<Vec<_>>>()?.into()
        }
        DeValue::Table(table) => {
            let taken: Vec<_> = entries(table)
                .into_iter()
                .map(|(key, item)| Some((key.get_ref().to_string(), to_json(item, context, hide)?)))
                .collect();
            serde_json::Value::Object(taken.into_iter().collect::<Option<_>>()?)
        }
    })
}
