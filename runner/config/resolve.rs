//! Values that stand elsewhere: `{ env = "X" }`, with or without `default`, and `{ file = "path" }`. Wherever a
//! value may stand, such an inline table is replaced by the text it names before anything else is read.
//!
//! Nothing here quotes a text that was found: only the name it was found under.

use std::borrow::Cow;
use std::ffi::OsString;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::input::read_input;
use super::suggest::did_you_mean;
use super::value::entries;
use super::{Code, Diagnostic, Diagnostics, Document};

/// The largest file that holds one value, in bytes.
const VALUE_FILE_LIMIT: u64 = 64 << 10;
/// The keys of such a table.
const KEYS: [&str; 3] = ["env", "file", "default"];
/// Tables whose keys the user chooses: `labels = { env = "prod" }` is a label. What stands under their keys may
/// stand elsewhere all the same.
const OWN_NAMES: [&str; 7] = ["labels", "headers", "config", "facts", "annotations", "metrics", "checks"];

/// A value that stood elsewhere.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    /// The table in the document.
    pub(super) span: Range<usize>,
    /// The name in it, which may be shown.
    pub(super) source: Range<usize>,
    /// What it was replaced by.
    pub(super) text: String,
    /// Whether it was found elsewhere; a default stands in the document.
    pub(super) is_secret: bool,
}

impl Document {
    /// Replaces every value that stands elsewhere, in the environment or in a file (relative to `base`), and
    /// remembers it. One that cannot be had is told of and taken out.
    pub fn resolve(
        &self,
        table: &mut Spanned<DeTable<'_>>,
        base: &Path,
        environment: &dyn Fn(&str) -> Option<OsString>,
        diagnostics: &mut Diagnostics,
    ) {
        Resolver { document: self, base, environment, diagnostics }.table(table.get_mut(), false);
    }
}

struct Resolver<'a> {
    document: &'a Document,
    base: &'a Path,
    environment: &'a dyn Fn(&str) -> Option<OsString>,
    diagnostics: &'a mut Diagnostics,
}

/// What became of a value.
enum Fate {
    Stays,
    Goes,
}

impl Resolver<'_> {
    /// `in_config`: below a plugin's own configuration, whose tables are not ours to judge.
    fn table(&mut self, table: &mut DeTable<'_>, in_config: bool) {
        let mut gone: Vec<String> = Vec::new();
        for (key, value) in table.iter_mut() {
            let key = key.get_ref().as_ref();
            let in_config = in_config || key == "config";
            let fate = if OWN_NAMES.contains(&key) && value.get_ref().is_table() {
                self.below(value, in_config);
                Fate::Stays
            } else {
                self.value(value, in_config)
            };
            if matches!(fate, Fate::Goes) {
                gone.push(key.to_owned());
            }
        }
        for key in gone {
            table.remove(key.as_str());
        }
    }

    fn value(&mut self, value: &mut Spanned<DeValue<'_>>, in_config: bool) -> Fate {
        let found = match value.get_ref() {
            DeValue::Table(table) if self.is_meant(table, &value.span(), in_config) => {
                self.resolved(table, &value.span())
            }
            _ => {
                self.below(value, in_config);
                return Fate::Stays;
            }
        };
        let Some(found) = found else { return Fate::Goes };
        *value.get_mut() = DeValue::String(Cow::Owned(found.text.clone()));
        self.document.note_resolved(found);
        Fate::Stays
    }

    fn below(&mut self, value: &mut Spanned<DeValue<'_>>, in_config: bool) {
        match value.get_mut() {
            DeValue::Table(table) => self.table(table, in_config),
            DeValue::Array(items) => {
                let whole = std::mem::replace(items, DeArray::new()).into_iter();
                *items = whole
                    .filter_map(|mut item| match self.value(&mut item, in_config) {
                        Fate::Stays => Some(item),
                        Fate::Goes => None,
                    })
                    .collect();
            }
            _ => {}
        }
    }

    /// Whether a table names a value that stands elsewhere: an inline one with `env` or `file`. A plugin's
    /// configuration may have such keys of its own, beside others.
    fn is_meant(&self, table: &DeTable<'_>, span: &Range<usize>, in_config: bool) -> bool {
        let names = |key: &str| table.get(key).is_some_and(|value| value.get_ref().is_str());
        if !(names("env") || names("file")) || !self.document.is_inline(span) || table.contains_key("type") {
            return false;
        }
        !in_config || table.keys().all(|key| did_you_mean(key.get_ref(), KEYS).is_some())
    }

    fn resolved(&mut self, table: &DeTable<'_>, span: &Range<usize>) -> Option<Resolved> {
        let errors = self.diagnostics.count(super::Level::Error);
        self.refuse_other_keys(table);
        let (env, file, default) = (table.get("env"), table.get("file"), table.get("default"));
        if let (Some(_), Some(file)) = (env, file) {
            let message = "\"env\" and \"file\" exclude each other";
            self.tell(Code::Conflict, &file.span(), message, "leave one of them out");
        }
        if let (None, Some(default)) = (env, default) {
            let hint = "leave it out: a file that is missing is an error";
            self.tell(Code::Conflict, &default.span(), "a value from a file has no default", hint);
        }
        if let Some(default) = default.filter(|default| !default.get_ref().is_str()) {
            let hint = "what comes from the environment is a string, so its default is one too";
            self.tell(Code::WrongType, &default.span(), "a string is wanted here", hint);
        }
        if self.diagnostics.count(super::Level::Error) > errors {
            return None;
        }
        let source = env.or(file)?;
        let name = source.get_ref().as_str()?;
        let default = default.and_then(|default| default.get_ref().as_str());
        let text = match env {
            Some(_) => self.environment_value(name, default),
            None => self.file_value(name).map(Some),
        };
        match text {
            Ok(text) => Some(Resolved {
                span: span.clone(),
                source: source.span(),
                is_secret: text.is_some(),
                text: text.or_else(|| default.map(str::to_owned))?,
            }),
            Err((message, hint)) => {
                self.tell(Code::Unresolved, &source.span(), message, hint);
                None
            }
        }
    }

    fn refuse_other_keys(&mut self, table: &DeTable<'_>) {
        for (key, _) in entries(table) {
            let word = key.get_ref().as_ref();
            if KEYS.contains(&word) {
                continue;
            }
            let hint = match did_you_mean(word, KEYS) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "a value from elsewhere is { env = \"…\" }, { env = \"…\", default = \"…\" } or \
                         { file = \"…\" }"
                    .to_owned(),
            };
            let message = format!("unknown key \"{word}\" in a value from elsewhere");
            self.tell(Code::UnknownKey, &key.span(), message, hint);
        }
    }

    /// The variable's value; none where the default takes its place.
    fn environment_value(
        &self,
        name: &str,
        default: Option<&str>,
    ) -> Result<Option<String>, (String, String)> {
        if name.is_empty() || name.contains(['=', '\0']) {
            let message = format!("\"{name}\" cannot be the name of an environment variable");
            return Err((message, "a name has letters, digits and \"_\"".to_owned()));
        }
        let what = format!("the environment variable \"{name}\"");
        match (self.environment)(name) {
            None if default.is_some() => Ok(None),
            None => Err((
                format!("{what} is not set"),
                format!("set it, or give a default: {{ env = \"{name}\", default = \"…\" }}"),
            )),
            Some(value) => match value.into_string() {
                Ok(value) => one_line(value, &what).map(Some),
                Err(_) => Err((format!("{what} is not valid UTF-8"), "set it to a text".to_owned())),
            },
        }
    }

    fn file_value(&self, name: &str) -> Result<String, (String, String)> {
        let path = self.base.join(name);
        self.document.note_input(&path);
        let what = format!("the file \"{name}\"");
        let bytes = read_input(&path, VALUE_FILE_LIMIT).map_err(|reason| {
            (format!("{what} cannot be read: {reason}"), "the path is relative to this file".to_owned())
        })?;
        if bytes.len() as u64 > VALUE_FILE_LIMIT {
            let hint = "a file here holds one value, such as a token".to_owned();
            return Err((format!("{what} is larger than 64KiB"), hint));
        }
        let mut text = String::from_utf8(bytes)
            .map_err(|_| (format!("{what} is not valid UTF-8"), "it has to hold a text".to_owned()))?;
        // Editors and `echo` end a file with a line break.
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        one_line(text, &what)
    }

    fn tell(&mut self, code: Code, span: &Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        let place = match code {
            Code::Unresolved | Code::UnknownKey => self.document.place(span.clone()),
            _ => self.document.hidden_place(span.clone()),
        };
        self.diagnostics.add(Diagnostic::error(code, place, message).hint(hint));
    }
}

/// A value of one line that is not empty. A line break in a header or a URL is never meant.
fn one_line(text: String, what: &str) -> Result<String, (String, String)> {
    if text.trim().is_empty() {
        return Err((
            format!("{what} is empty"),
            "give it a value, or take it away to have a default".to_owned(),
        ));
    }
    if text.contains(['\n', '\r', '\0']) {
        let message = format!("{what} holds a line break");
        return Err((message, "a value is one line; only a file may end with a line break".to_owned()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
