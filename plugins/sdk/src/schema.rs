//! The JSON Schema of a check's configuration, made from the type that reads it, so that the two
//! cannot differ.

use schemars::transform::{RecursiveTransform, Transform as _};
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use crate::Check;

/// The schema (JSON Schema 2020-12) of a check's configuration, as text: what `describe` tells. Doc
/// comments are its descriptions.
pub fn of<Plugin: Check>() -> String {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<Plugin::Config>();
    schema.insert("title".to_owned(), Plugin::MANIFEST.name.into());
    RecursiveTransform(as_written).transform(&mut schema);
    // Nothing in a schema fails to be written.
    serde_json::to_string_pretty(&schema).unwrap_or_default()
}

/// Adds a keyword to the schema of every text in a key that holds one text or a list:
/// `#[schemars(transform = each_text("minLength", 1))]`.
pub fn each_text(keyword: &'static str, value: impl Into<Value>) -> impl FnMut(&mut Schema) {
    let value = value.into();
    move |schema| {
        RecursiveTransform(|part: &mut Schema| {
            if part.get("type").is_some_and(|name| name == "string") {
                part.insert(keyword.to_owned(), value.clone());
            }
        })
        .transform(schema);
    }
}

/// Takes away what nobody can write in a pipeline file, which has no null; the widths of numbers in
/// memory; defaults of what is required; and where a doc comment's lines were broken.
fn as_written(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        let paragraphs: Vec<String> = text.split("\n\n").map(|lines| lines.replace('\n', " ")).collect();
        *text = paragraphs.join("\n\n");
    }
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    for name in required.iter().filter_map(Value::as_str) {
        if let Some(Value::Object(key)) = schema.get_mut("properties").and_then(|keys| keys.get_mut(name)) {
            key.remove("default");
        }
    }
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if schema.get("format").and_then(Value::as_str).is_some_and(is_width) {
        schema.remove("format");
    }
    if let Some(types) = schema.get_mut("type")
        && let Value::Array(names) = types
    {
        names.retain(|name| name != "null");
        if let [only] = names.as_slice() {
            *types = only.clone();
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
        if let [Value::Object(only)] = choices.as_mut_slice() {
            let only = std::mem::take(only);
            schema.remove("anyOf");
            for (key, value) in only {
                schema.ensure_object().entry(key).or_insert(value);
            }
        }
    }
}

/// Whether a format tells the width of a number: `uint16`, `double`.
fn is_width(format: &str) -> bool {
    format.starts_with("uint") || format.starts_with("int") || ["float", "double"].contains(&format)
}

#[cfg(not(target_arch = "wasm32"))]
pub use file::is_fresh;

#[cfg(not(target_arch = "wasm32"))]
mod file {
    use std::fs;

    use crate::Check;

    /// Holds a file, as `export!(…, schema = …)` names it, against the schema. With `PROBITY_BLESS=1` in
    /// the environment it writes the file instead.
    pub fn is_fresh<Plugin: Check>(path: &str) -> Result<(), String> {
        let text = super::of::<Plugin>() + "\n";
        if std::env::var_os("PROBITY_BLESS").is_some() {
            return fs::write(path, text).map_err(|error| format!("cannot write {path}: {error}"));
        }
        compare(path, &text)
    }

    /// Holds a file against the text that it must be.
    pub(super) fn compare(path: &str, text: &str) -> Result<(), String> {
        let problem = match fs::read_to_string(path) {
            Ok(found) if found == text => return Ok(()),
            Ok(_) => format!("{path} is stale"),
            Err(error) => format!("cannot read {path} ({error})"),
        };
        Err(format!("{problem}; write it anew: PROBITY_BLESS=1 cargo test config_schema"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    #![allow(dead_code, reason = "only the schema is looked at")]

    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::{Length, Manifest, Observation, OneOrMany, Verdict};

    /// What a page
    /// must show.
    #[derive(Default, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    #[schemars(extend("required" = ["needed"]))]
    struct Config {
        /// How long it may take.
        max: Option<Length>,
        /// Words that are there.
        #[schemars(transform = each_text("minLength", 1))]
        words: OneOrMany<String>,
        /// What is looked at.
        part: Option<Part>,
        #[serde(rename = "at-least")]
        at_least: u16,
        needed: String,
        share: Option<f64>,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Part {
        Head,
        WholeBody,
    }

    struct Page;

    impl Check for Page {
        const MANIFEST: Manifest =
            Manifest { name: "page", version: "0", summary: "a page", needs_body: true };
        type Config = Config;

        fn configure(_: Config) -> Result<Self, String> {
            Ok(Page)
        }

        fn run(&self, _: &dyn Observation) -> Result<Verdict, String> {
            Ok(Verdict::pass("a page"))
        }
    }

    #[test]
    fn a_schema_is_what_can_be_written() {
        let schema: Value = serde_json::from_str(&of::<Page>()).unwrap();
        let mut duration = schema["$defs"]["duration"].clone();
        assert!(duration["description"].take().as_str().unwrap().contains("1m30s"));
        assert_eq!(
            schema,
            json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "title": "page",
                "description": "What a page must show.",
                "type": "object",
                "additionalProperties": false,
                "required": ["needed"],
                "properties": {
                    "max": { "description": "How long it may take.", "$ref": "#/$defs/duration" },
                    "words": {
                        "description": "Words that are there.",
                        "oneOf": [
                            { "type": "string", "minLength": 1 },
                            { "type": "array", "items": { "type": "string", "minLength": 1 } },
                        ],
                        "default": [],
                    },
                    "part": { "description": "What is looked at.", "$ref": "#/$defs/Part" },
                    "at-least": { "type": "integer", "minimum": 0, "maximum": 65535, "default": 0 },
                    "needed": { "type": "string" },
                    "share": { "type": "number" },
                },
                "$defs": {
                    "duration": schema["$defs"]["duration"],
                    "Part": { "type": "string", "enum": ["head", "whole_body"] },
                },
            })
        );
        assert_eq!(duration["type"], "string");
    }

    #[test]
    fn a_file_is_fresh_or_it_is_told_what_to_do() {
        let path = std::env::temp_dir().join(format!("probity-schema-{}.json", std::process::id()));
        let path = path.to_str().unwrap();
        assert!(file::compare(path, "{}").unwrap_err().starts_with("cannot read "));
        std::fs::write(path, "{}").unwrap();
        assert_eq!(file::compare(path, "{}"), Ok(()));
        assert!(file::compare(path, "{}\n").unwrap_err().contains("PROBITY_BLESS=1"));
        std::fs::remove_file(path).unwrap();
    }
}
