//! The reference that is made from the declarations: Markdown for people, JSON Schema for editors.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// Documentation of a table.
#[derive(Debug, Clone)]
pub struct TableDoc {
    /// The table as a person writes it: `[request]`, `[[sources]] type = "file"`.
    pub title: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// Its keys.
    pub fields: Vec<FieldDoc>,
}

/// Documentation of a key.
#[derive(Debug, Clone)]
pub struct FieldDoc {
    /// The key.
    pub name: &'static str,
    /// Its type in words.
    pub type_text: String,
    /// Whether it must be given.
    pub required: bool,
    /// Its default, as TOML text.
    pub default: Option<&'static str>,
    /// What it does.
    pub doc: &'static str,
    /// Its type as JSON Schema.
    pub schema: Value,
}

impl TableDoc {
    /// The table as JSON Schema, with a fixed `type` key for a variant.
    pub fn schema(&self, tag: Option<&str>) -> Value {
        let mut properties = Map::new();
        let mut required: Vec<Value> = Vec::new();
        if let Some(tag) = tag {
            properties.insert("type".to_owned(), json!({ "const": tag }));
        }
        for field in &self.fields {
            let mut schema = field.schema.clone();
            if let Some(object) = schema.as_object_mut() {
                object.insert("description".to_owned(), one_line(field.doc).into());
                if let Some(default) = field.default.and_then(default_json) {
                    object.insert("default".to_owned(), default);
                }
            }
            properties.insert(field.name.to_owned(), schema);
            if field.required {
                required.push(field.name.into());
            }
        }
        let mut schema = json!({
            "type": "object",
            "description": one_line(self.doc),
            "properties": properties,
            "additionalProperties": false,
        });
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        schema
    }
}

/// Tables that are told apart by `type`, as JSON Schema. The default variant may leave it out.
pub(crate) fn variants_schema(variants: &[(&str, TableDoc)], default: Option<&str>) -> Value {
    let any: Vec<Value> = variants
        .iter()
        .map(|(name, doc)| {
            let mut schema = doc.schema(Some(name));
            if default != Some(*name) {
                let mut required = schema["required"].as_array().cloned().unwrap_or_default();
                required.insert(0, "type".into());
                schema["required"] = required.into();
            }
            schema
        })
        .collect();
    json!({ "anyOf": any })
}

/// A whole JSON Schema document.
pub fn json_schema(title: &str, root: &TableDoc) -> String {
    let mut schema = root.schema(None);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = title.into();
    format!("{schema:#}\n")
}

/// The same for files whose values may stand elsewhere: `{ env = "X" }`, `{ file = "path" }`.
pub fn json_schema_with_elsewhere(title: &str, root: &TableDoc) -> String {
    let mut schema = root.schema(None);
    allow_elsewhere(&mut schema);
    schema["$defs"]["elsewhere"] = json!({
        "description": "A value that stands elsewhere: in the environment, or in a file of one line.",
        "oneOf": [
            {
                "type": "object",
                "properties": { "env": { "type": "string" }, "default": { "type": "string" } },
                "required": ["env"],
                "additionalProperties": false,
            },
            {
                "type": "object",
                "properties": { "file": { "type": "string" } },
                "required": ["file"],
                "additionalProperties": false,
            },
        ],
    });
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = title.into();
    format!("{schema:#}\n")
}

/// Lets every text below a schema stand elsewhere.
fn allow_elsewhere(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    if object.get("type").is_some_and(|name| name == "string") || object.contains_key("enum") {
        let mut outer = Map::new();
        for key in ["description", "default"] {
            outer.extend(object.remove(key).map(|value| (key.to_owned(), value)));
        }
        let plain = Value::Object(std::mem::take(object));
        outer.insert("anyOf".to_owned(), json!([plain, { "$ref": "#/$defs/elsewhere" }]));
        *schema = Value::Object(outer);
        return;
    }
    for (key, below) in object {
        match (key.as_str(), below) {
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(allow_elsewhere),
            ("anyOf", Value::Array(choices)) => choices.iter_mut().for_each(allow_elsewhere),
            ("items" | "additionalProperties", below) => allow_elsewhere(below),
            _ => {}
        }
    }
}

/// The tables as a Markdown page.
pub fn markdown(introduction: &str, tables: &[TableDoc]) -> String {
    let mut out = introduction.to_owned();
    for table in tables {
        let _ = write!(out, "\n## {}\n\n{}\n\n", heading(table.title), paragraphs(table.doc));
        out.push_str("| key | type | default | meaning |\n| --- | --- | --- | --- |\n");
        for field in &table.fields {
            let default = match field.default {
                Some(text) => format!("`{text}`"),
                None if field.required => "must be given".to_owned(),
                None => String::new(),
            };
            let (name, doc) = (field.name, one_line(field.doc).replace('|', "\\|"));
            let type_text = field.type_text.replace('|', "\\|");
            let _ = writeln!(out, "| `{name}` | {type_text} | {default} | {doc} |");
        }
    }
    out
}

/// TOML as code, words as a title.
fn heading(title: &str) -> String {
    let mut letters = title.chars();
    match letters.next() {
        Some(first) if first.is_alphabetic() => first.to_uppercase().chain(letters).collect(),
        _ => format!("`{title}`"),
    }
}

fn default_json(text: &str) -> Option<Value> {
    let document: toml::Table = toml::from_str(&format!("value = {text}")).ok()?;
    serde_json::to_value(document.get("value")?).ok()
}

fn one_line(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn paragraphs(doc: &str) -> String {
    doc.lines().map(str::trim).collect::<Vec<_>>().join("\n").trim().to_owned()
}
