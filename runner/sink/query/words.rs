//! Texts as numbers: each distinct text is kept once, and rows are compared by number.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, DictionaryArray, StringArray};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

/// Stands for a null.
pub(crate) const NONE: u32 = u32::MAX;

/// Distinct texts, numbered in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Words {
    numbers: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
}

impl Words {
    /// The number of a text.
    pub(crate) fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len() as u32;
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        number
    }

    /// The text of a number; none for [`NONE`].
    pub(crate) fn text(&self, number: u32) -> Option<&Arc<str>> {
        self.texts.get(number as usize)
    }

    /// The number here of every number there.
    pub(crate) fn learn(&mut self, other: &Self) -> Vec<u32> {
        other.texts.iter().map(|text| self.number(text)).collect()
    }
}

/// A text column of a batch, as numbers: each distinct text is looked up once.
pub(crate) struct Numbered<'a> {
    keys: &'a [i32],
    nulls: Option<&'a arrow::buffer::NullBuffer>,
    values: &'a StringArray,
    known: Vec<u32>,
}

impl<'a> Numbered<'a> {
    /// A dictionary column.
    pub(crate) fn of(batch: &'a RecordBatch, name: &str) -> Result<Self, ArrowError> {
        let wrong = || ArrowError::SchemaError(format!("column \"{name}\" is no text"));
        let column = batch.column_by_name(name).ok_or_else(wrong)?;
        let column: &DictionaryArray<Int32Type> = column.as_dictionary_opt().ok_or_else(wrong)?;
        let values = column.values().as_string_opt::<i32>().ok_or_else(wrong)?;
        let known = vec![NONE; values.len()];
        Ok(Self { keys: column.keys().values(), nulls: column.keys().nulls(), values, known })
    }

    /// What tells this row's text from others of this batch; [`i32::MIN`] for null.
    pub(crate) fn key(&self, row: usize) -> i32 {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) { i32::MIN } else { self.keys[row] }
    }

    /// The text of a row.
    pub(crate) fn text(&self, row: usize) -> Option<&'a str> {
        let key = usize::try_from(self.key(row)).ok()?;
        self.values.is_valid(key).then(|| self.values.value(key))
    }

    /// The number of a row's text; [`NONE`] for null.
    pub(crate) fn number(&mut self, row: usize, words: &mut Words) -> u32 {
        let Ok(key) = usize::try_from(self.key(row)) else { return NONE };
        if self.known[key] == NONE && self.values.is_valid(key) {
            self.known[key] = words.number(self.values.value(key));
        }
        self.known[key]
    }
}
