//! The schema of a check's configuration (JSON Schema 2020-12) as a list of keys for people. It is a
//! stranger's text: what cannot be told in a few words is told as "any value", and there is a bound on how
//! deep and how long the list becomes.

use serde_json::Value;

use crate::model::harmless;

/// Tables within tables, `a[].b.c`: more than this is not unfolded.
const DEPTH: usize = 5;
/// Keys in the list.
const KEYS: usize = 200;

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// Where it stands: `assert[].path`.
    pub(super) path: String,
    /// Its type in words.
    pub(super) type_text: String,
    /// Whether it must be given.
    pub(super) is_required: bool,
    /// Its default, as JSON; none where there is none, or an empty one.
    pub(super) default: Option<String>,
    /// What it is for; empty where the schema does not say.
    pub(super) description: String,
}

/// The keys of a configuration, those of tables below their own.
pub(super) fn keys(schema: &Value) -> Vec<Key> {
    let mut keys = Vec::new();
    Walk { root: schema, keys: &mut keys }.table(schema, "", DEPTH);
    keys
}

struct Walk<'a> {
    root: &'a Value,
    keys: &'a mut Vec<Key>,
}

impl<'a> Walk<'a> {
    /// Adds the keys of a table.
    fn table(&mut self, table: &'a Value, prefix: &str, depth: usize) {
        let Some(properties) = table["properties"].as_object() else { return };
        let required = table["required"].as_array();
        for (name, schema) in properties {
            if self.keys.len() >= KEYS {
                return;
            }
            let path = format!("{prefix}{}", harmless(name));
            let is_empty = |value: &Value| {
                value.is_null() || value.as_array().is_some_and(Vec::is_empty) || *value == ""
            };
            let default = schema.get("default").filter(|value| !is_empty(value)).map(Value::to_string);
            let description = schema["description"].as_str().unwrap_or_default();
            self.keys.push(Key {
                path: path.clone(),
                type_text: harmless(&self.words(schema, DEPTH)),
                is_required: required.is_some_and(|all| all.iter().any(|one| one == name)),
                default: default.as_deref().map(harmless),
                description: harmless(&description.split_whitespace().collect::<Vec<_>>().join(" ")),
            });
            if depth > 0
                && let Some((below, mark)) = self.table_below(schema)
            {
                self.table(below, &format!("{path}{mark}."), depth - 1);
            }
        }
    }

    /// The table that a value is, or that the items of a list are, with the mark that its path gets.
    fn table_below(&self, schema: &'a Value) -> Option<(&'a Value, &'static str)> {
        let is_table = |schema: &&Value| schema["properties"].is_object();
        let schema = self.resolved(schema);
        if is_table(&schema) {
            return Some((schema, ""));
        }
        let item = |schema: &'a Value| Some(self.resolved(schema.get("items")?)).filter(is_table);
        if let Some(item) = item(schema) {
            return Some((item, "[]"));
        }
        let mut variants = variants(schema).iter().map(|variant| self.resolved(variant));
        variants.find_map(|variant| {
            item(variant).map(|item| (item, "[]")).or_else(|| is_table(&variant).then_some((variant, "")))
        })
    }

    /// What a reference refers to; the schema itself where it is none.
    fn resolved(&self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        for _ in 0..DEPTH {
            let pointer = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
            match pointer.and_then(|pointer| self.root.pointer(pointer)) {
                Some(next) => schema = next,
                None => break,
            }
        }
        schema
    }

    /// A type in words.
    fn words(&self, schema: &'a Value, depth: usize) -> String {
        if depth == 0 {
            return "any value".to_owned();
        }
        if let Some(reference) = schema["$ref"].as_str() {
            let resolved = self.resolved(schema);
            if resolved["properties"].is_object() || resolved["$ref"].is_string() {
                return self.plain(resolved, depth);
            }
            // A type with a name says more than "string".
            let name = reference.rsplit('/').next().unwrap_or_default();
            return name.replace('_', " ");
        }
        let variants = variants(schema);
        if variants.is_empty() {
            return self.plain(schema, depth);
        }
        let mut words: Vec<String> = Vec::new();
        for variant in variants {
            let word = self.words(variant, depth - 1);
            if !words.contains(&word) && variant["type"] != "null" {
                words.push(word);
            }
        }
        words.join(" or ")
    }

    fn plain(&self, schema: &'a Value, depth: usize) -> String {
        if let Some(values) = schema["enum"].as_array() {
            let values = values.iter().filter(|value| !value.is_null()).map(Value::to_string);
            return values.collect::<Vec<_>>().join(" or ");
        }
        if let Some(value) = schema.get("const") {
            return value.to_string();
        }
        let names: Vec<&str> = match &schema["type"] {
            Value::String(name) => vec![name],
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let words = names.into_iter().filter(|name| *name != "null").map(|name| match name {
            "array" => match schema.get("items") {
                Some(items) => format!("list of {}", self.words(items, depth - 1)),
                None => "list".to_owned(),
            },
            "object" => match &schema["additionalProperties"] {
                of @ Value::Object(_) => format!("table of {}", self.words(of, depth - 1)),
                _ => "table".to_owned(),
            },
            "boolean" => "true or false".to_owned(),
            other => other.to_owned(),
        });
        let words = words.collect::<Vec<_>>().join(" or ");
        if words.is_empty() { "any value".to_owned() } else { words }
    }
}

/// The schemas of which a value has to fit one.
fn variants(schema: &Value) -> &[Value] {
    let either = ["oneOf", "anyOf"].iter().find_map(|key| schema[*key].as_array());
    either.map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(schema: &Value) -> Vec<String> {
        let line = |key: Key| {
            let default = key.default.map(|default| format!(" = {default}")).unwrap_or_default();
            let required = if key.is_required { "!" } else { "" };
            format!("{}{required}: {}{default} {}", key.path, key.type_text, key.description)
        };
        keys(schema).into_iter().map(line).collect()
    }

    #[test]
    fn keys_are_told_with_type_default_and_description() {
        let one_or_many = |item: Value| json!({ "oneOf": [item, { "type": "array", "items": item }] });
        let schema = json!({
            "type": "object",
            "required": ["assert"],
            "properties": {
                "a": { "type": "integer", "default": 3, "description": "A number,\n or two." },
                "assert": { "type": "array", "items": { "$ref": "#/$defs/assertion" }, "default": [] },
                "b": { "enum": ["warn", "fail"] },
                "c": { "type": ["string", "null"] },
                "d": one_or_many(json!({ "$ref": "#/$defs/regular_expression" })),
                "e": { "anyOf": [{ "type": "number" }, { "type": "null" }] },
                "f": { "type": "object", "additionalProperties": { "type": "boolean" } },
                "g": {},
                "h": { "properties": { "x": { "const": true } }, "type": "object" },
            },
            "$defs": {
                "assertion": { "type": "object", "properties": { "path": { "type": "string" } } },
                "regular_expression": { "type": "string" },
            },
        });
        assert_eq!(
            lines(&schema),
            [
                "a: integer = 3 A number, or two.",
                "assert!: list of table ",
                "assert[].path: string ",
                "b: \"warn\" or \"fail\" ",
                "c: string ",
                "d: regular expression or list of regular expression ",
                "e: number ",
                "f: table of true or false ",
                "g: any value ",
                "h: table ",
                "h.x: true "
            ]
        );
    }

    #[test]
    fn a_schema_that_turns_on_itself_ends() {
        let schema = json!({
            "properties": { "a": { "$ref": "#" }, "b": { "$ref": "#/$defs/x" } },
            "$defs": { "x": { "$ref": "#/$defs/x" } },
        });
        let told = lines(&schema);
        assert!(told.len() <= KEYS && told.len() > 2, "{told:?}");
        assert!(keys(&json!("no schema")).is_empty());
        assert!(
            keys(&json!({ "properties": { "\u{1b}[31m": { "type": "string" } } }))[0]
                .path
                .starts_with('\u{fffd}')
        );
    }
}
