//! Holds a table against a JSON Schema (2020-12), and tells everything that differs where it stands. The schema
//! is a stranger's text: what is not understood of it is passed over, and there is a bound on depth and number.

use std::cell::Cell;

use serde_json::{Map, Value};

use super::suggest::did_you_mean;

/// Tables within tables; more than this is not looked at.
const DEPTH: usize = 16;
/// Values that are looked at: a schema of alternatives within alternatives would not end in time.
const STEPS: u32 = 10_000;
/// Problems that are told of one table.
const MOST: usize = 20;

/// How a value differs from its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// Where: a JSON pointer (RFC 6901).
    pub(crate) pointer: String,
    /// Which of its parts it is about, and whether that may be shown.
    pub(crate) part: Part,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

/// What of a value a mismatch is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Its key.
    Key,
    /// The value, a word that may be shown.
    Word,
    /// The value, which may be a secret that stands in the wrong place.
    Hidden,
}

/// Everything in which `value` differs from `schema`. `title` is what the table is called in messages.
pub(crate) fn mismatches(schema: &Value, value: &Value, title: &str) -> Vec<Mismatch> {
    let steps = Cell::new(STEPS);
    let mut walk = Walk { root: schema, title, steps: &steps, found: Vec::new() };
    walk.value(schema, value, "", DEPTH);
    walk.found.truncate(MOST);
    walk.found
}

/// The JSON pointer of a path as plugins write it at the begin of a message: `expect[0].name: …`.
pub(crate) fn pointer_of(message: &str) -> Option<String> {
    let (path, _) = message.split_once(": ")?;
    let is_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '[' | ']');
    if path.is_empty() || !path.chars().all(is_path) {
        return None;
    }
    let parts = path.split(['.', '[']).map(|part| part.trim_end_matches(']'));
    Some(parts.fold(String::new(), |pointer, part| format!("{pointer}/{part}")))
}

struct Walk<'s> {
    root: &'s Value,
    title: &'s str,
    /// How many more values are looked at.
    steps: &'s Cell<u32>,
    found: Vec<Mismatch>,
}

impl<'s> Walk<'s> {
    fn tell(&mut self, pointer: &str, part: Part, message: String, hint: Option<String>) {
        if self.found.len() < MOST {
            self.found.push(Mismatch { pointer: pointer.to_owned(), part, message, hint });
        }
    }

    fn value(&mut self, schema: &'s Value, value: &Value, pointer: &str, depth: usize) {
        let schema = self.resolved(schema);
        if depth == 0 || self.steps.get() == 0 || self.found.len() >= MOST {
            return;
        }
        self.steps.set(self.steps.get() - 1);
        let types = types(schema);
        if !types.is_empty() && !types.iter().any(|name| is_type(value, name)) {
            let message = format!("{} is wanted here, not {}", wanted(&types), type_words(value));
            return self.tell(pointer, Part::Hidden, message, None);
        }
        if !self.is_one_of(schema, value, pointer) {
            return;
        }
        match value {
            Value::Object(table) => self.table(schema, table, pointer, depth),
            Value::Array(items) => self.list(schema, items, pointer, depth),
            Value::Number(number) => self.number(schema, number.as_f64(), pointer),
            Value::String(text) => self.text(schema, text, pointer),
            Value::Null | Value::Bool(_) => {}
        }
        for all in schema["allOf"].as_array().into_iter().flatten() {
            self.value(all, value, pointer, depth - 1);
        }
        for key in ["oneOf", "anyOf"] {
            if let Some(choices) = schema[key].as_array() {
                self.choices(choices, value, pointer, depth);
            }
        }
    }

    /// Tells of a value that is none of the words there are; whether it is one of them.
    fn is_one_of(&mut self, schema: &Value, value: &Value, pointer: &str) -> bool {
        let constant = schema.get("const").map(std::slice::from_ref);
        let Some(known) = schema["enum"].as_array().map(Vec::as_slice).or(constant) else { return true };
        if known.contains(value) {
            return true;
        }
        let list = known.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
        let message = match known {
            [_] => format!("only {list} is wanted here"),
            _ => format!("one of {list} is wanted here"),
        };
        let near = value.as_str().and_then(|text| did_you_mean(text, known.iter().filter_map(Value::as_str)));
        let part = if value.is_string() { Part::Word } else { Part::Hidden };
        self.tell(pointer, part, message, near.map(|near| format!("did you mean \"{near}\"?")));
        false
    }

    fn table(&mut self, schema: &'s Value, table: &Map<String, Value>, pointer: &str, depth: usize) {
        let none = Map::new();
        let known = schema["properties"].as_object();
        for (key, value) in table {
            let below = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
            if let Some(schema) = known.and_then(|known| known.get(key)) {
                self.value(schema, value, &below, depth - 1);
                continue;
            }
            match &schema["additionalProperties"] {
                Value::Bool(false) if schema.get("patternProperties").is_none() => {
                    let keys = known.unwrap_or(&none).keys().map(String::as_str);
                    let hint = match did_you_mean(key, keys.clone()) {
                        Some(near) => format!("did you mean \"{near}\"?"),
                        None => format!("known keys are: {}", keys.collect::<Vec<_>>().join(", ")),
                    };
                    let message = format!("unknown key \"{key}\" in {}", self.title);
                    self.tell(&below, Part::Key, message, Some(hint));
                }
                of @ Value::Object(_) => self.value(of, value, &below, depth - 1),
                _ => {}
            }
        }
        for key in required(schema).filter(|key| !table.contains_key(*key)) {
            let message = format!("the key \"{key}\" is missing in {}", self.title);
            self.tell(pointer, Part::Hidden, message, None);
        }
    }

    fn list(&mut self, schema: &'s Value, items: &[Value], pointer: &str, depth: usize) {
        if let Some(of) = schema.get("items") {
            for (at, item) in items.iter().enumerate() {
                self.value(of, item, &format!("{pointer}/{at}"), depth - 1);
            }
        }
        if let Some(least) = schema["minItems"].as_u64().filter(|least| (items.len() as u64) < *least) {
            let message = match least {
                1 => "the list is empty".to_owned(),
                least => format!("at least {least} items are wanted here"),
            };
            self.tell(pointer, Part::Hidden, message, None);
        }
    }

    fn number(&mut self, schema: &Value, number: Option<f64>, pointer: &str) {
        let Some(number) = number else { return };
        let bound = |key: &str| schema[key].as_f64();
        let told = if let Some(least) = bound("minimum").filter(|least| number < *least) {
            format!("at least {least} is wanted here")
        } else if let Some(most) = bound("maximum").filter(|most| number > *most) {
            format!("at most {most} is wanted here")
        } else if let Some(below) = bound("exclusiveMaximum").filter(|below| number >= *below) {
            format!("less than {below} is wanted here")
        } else if let Some(above) = bound("exclusiveMinimum").filter(|above| number <= *above) {
            format!("more than {above} is wanted here")
        } else {
            return;
        };
        self.tell(pointer, Part::Hidden, told, None);
    }

    fn text(&mut self, schema: &Value, text: &str, pointer: &str) {
        let length = text.chars().count() as u64;
        if schema["minLength"].as_u64().is_some_and(|least| least >= 1 && length == 0) {
            self.tell(pointer, Part::Hidden, "the text is empty".to_owned(), None);
        } else if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
            self.tell(pointer, Part::Hidden, format!("at most {most} characters are wanted here"), None);
        }
    }

    /// Tells of a value that fits none of several schemas, by the one that it was likely meant for.
    fn choices(&mut self, choices: &'s [Value], value: &Value, pointer: &str, depth: usize) {
        let mut likely: Option<Vec<Mismatch>> = None;
        let mut names: Vec<&str> = Vec::new();
        for choice in choices {
            let mut walk = Walk { found: Vec::new(), ..*self };
            walk.value(choice, value, pointer, depth - 1);
            if walk.found.is_empty() {
                return;
            }
            let types = types(walk.resolved(choice));
            if types.iter().any(|name| is_type(value, name)) {
                likely.get_or_insert(walk.found);
            }
            names.extend(types);
        }
        if let Some(likely) = likely {
            self.found.extend(likely);
            return;
        }
        if !names.is_empty() && !names.iter().any(|name| is_type(value, name)) {
            let message = format!("{} is wanted here, not {}", wanted(&names), type_words(value));
            return self.tell(pointer, Part::Hidden, message, None);
        }
        let missing: Vec<_> = choices.iter().flat_map(required).map(|key| format!("\"{key}\"")).collect();
        if missing.len() == choices.len() && value.is_object() {
            let message = format!("one of the keys {} is missing in {}", missing.join(", "), self.title);
            self.tell(pointer, Part::Hidden, message, None);
        }
        // Else the plugin says it better.
    }

    /// What a reference refers to; the schema itself where it is none.
    fn resolved(&self, schema: &'s Value) -> &'s Value {
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
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "null" => value.is_null(),
        _ => true,
    }
}

/// The types that a person can write, in words.
fn wanted(names: &[&str]) -> String {
    let mut words: Vec<&str> = Vec::new();
    for name in names {
        let word = match *name {
            "object" => "a table",
            "array" => "a list",
            "string" => "a string",
            "boolean" => "true or false",
            "integer" => "an integer",
            "number" => "a number",
            _ => continue,
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.join(" or ")
}

fn type_words(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(schema: &Value, value: &Value) -> Vec<String> {
        let line = |found: Mismatch| {
            let hint = found.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("{}: {}{hint}", found.pointer, found.message)
        };
        mismatches(schema, value, "it").into_iter().map(line).collect()
    }

    #[test]
    fn everything_that_differs_is_told_where_it_stands() {
        let schema = json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["name"],
            "properties": {
                "name": { "type": "string", "minLength": 1 },
                "phase": { "enum": ["total", "tls"] },
                "count": { "type": "integer", "minimum": 1, "maximum": 9 },
                "rules": { "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/rule" } },
                "text": { "oneOf": [{ "$ref": "#/$defs/text" }, { "type": "array", "items": { "$ref": "#/$defs/text" } }] },
            },
            "$defs": {
                "rule": {
                    "type": "object", "additionalProperties": false,
                    "properties": { "path": { "type": "string" }, "exists": { "const": true } },
                },
                "text": { "type": "string", "minLength": 1 },
            },
        });
        assert_eq!(
            told(&schema, &json!({ "name": "x", "text": ["a"], "rules": [{ "path": "/" }] })),
            [""; 0]
        );
        let wrong = json!({
            "phase": "totl",
            "count": 10,
            "rules": [{ "pth": "/" }, { "path": 1 }, { "exists": false }],
            "text": ["a", ""],
            "x": 1,
        });
        assert_eq!(
            told(&schema, &wrong),
            [
                "/count: at most 9 is wanted here",
                "/phase: one of \"total\", \"tls\" is wanted here (did you mean \"total\"?)",
                "/rules/0/pth: unknown key \"pth\" in it (did you mean \"path\"?)",
                "/rules/1/path: a string is wanted here, not an integer",
                "/rules/2/exists: only true is wanted here",
                "/text/1: the text is empty",
                "/x: unknown key \"x\" in it (known keys are: count, name, phase, rules, text)",
                ": the key \"name\" is missing in it",
            ]
        );
        assert_eq!(
            told(&schema, &json!({ "name": "", "text": 1, "rules": [] })),
            [
                "/name: the text is empty",
                "/rules: the list is empty",
                "/text: a string or a list is wanted here, not an integer",
            ]
        );
    }

    #[test]
    fn one_of_several_keys() {
        let schema =
            json!({ "type": "object", "anyOf": [{ "required": ["max"] }, { "required": ["warn"] }] });
        assert_eq!(told(&schema, &json!({ "warn": 1 })), [""; 0]);
        assert_eq!(told(&schema, &json!({})), [": one of the keys \"max\", \"warn\" is missing in it"]);
    }

    #[test]
    fn a_strange_schema_tells_nothing_and_ends() {
        let turning = json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/a" } } });
        let deep = json!({ "additionalProperties": { "$ref": "#" }, "allOf": [{ "$ref": "#" }] });
        let value = json!({ "a": { "a": { "a": 1 } } });
        for schema in [&turning, &deep, &json!("no schema"), &json!({ "type": "moon", "not": {} })] {
            assert_eq!(told(schema, &value), [""; 0]);
        }
        let choices: Vec<_> = (0..10).map(|_| json!({ "$ref": "#" })).collect();
        let many = json!({ "anyOf": choices, "type": "object", "required": ["b"] });
        assert_eq!(told(&many, &value).len(), 1);
        let keys: Map<_, _> = (0..100).map(|number| (number.to_string(), Value::Null)).collect();
        assert_eq!(told(&json!({ "additionalProperties": false }), &Value::Object(keys)).len(), MOST);
    }

    #[test]
    fn paths_of_plugins() {
        assert_eq!(pointer_of("expect[0]: \"2xy\" is not a status").as_deref(), Some("/expect/0"));
        assert_eq!(pointer_of("assert[1].path: no").as_deref(), Some("/assert/1/path"));
        assert_eq!(pointer_of("warn: 2s").as_deref(), Some("/warn"));
        for text in ["nothing to judge", "nothing to judge: set it", ": x"] {
            assert_eq!(pointer_of(text), None, "{text}");
        }
    }
}
