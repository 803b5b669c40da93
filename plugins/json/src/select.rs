//! JSON pointers (RFC 6901), and finding what they name in one pass over a text.
//!
//! Only what is named is kept: a body of a million small objects costs no memory for the rest.

use std::fmt;

use probity_check::{JsonSchema, excerpt, schemars};
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::SHOWN_CHARS;

/// A JSON pointer: `/items/0/price`; the empty one is the whole body.
#[derive(Debug, Default, JsonSchema)]
#[schemars(with = "String", inline, extend("pattern" = "^(/([^~]|~[01])*)?$"))]
pub(crate) struct Pointer {
    text: String,
    tokens: Vec<String>,
}

impl Pointer {
    /// Reads a pointer. The error says what is expected.
    fn parse(text: &str) -> Result<Self, String> {
        let refusal = |why: &str| Err(format!("\"{text}\" is not a JSON pointer: {why}"));
        let tokens = match text.strip_prefix('/') {
            None if text.is_empty() => Vec::new(),
            None => return refusal(&format!("write \"{}\"", as_pointer(text))),
            Some(rest) => match rest.split('/').map(unescape).collect() {
                Some(tokens) => tokens,
                None => return refusal("\"~\" is written \"~0\", and \"/\" inside a key \"~1\""),
            },
        };
        Ok(Pointer { text: text.to_owned(), tokens })
    }

    /// The place in a message.
    pub(crate) fn place(&self) -> String {
        place(&self.text)
    }

    /// The place of the first `depth` steps.
    pub(crate) fn parent_place(&self, depth: usize) -> String {
        let end = self.text.match_indices('/').nth(depth).map_or(self.text.len(), |(at, _)| at);
        place(&self.text[..end])
    }
}

fn place(pointer: &str) -> String {
    if pointer.is_empty() { "body".to_owned() } else { excerpt(pointer.as_bytes(), SHOWN_CHARS) }
}

/// `~1` is a slash and `~0` a tilde; no other use of a tilde is allowed.
fn unescape(token: &str) -> Option<String> {
    let mut parts = token.split('~');
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (escaped, rest) = match part.as_bytes().first()? {
            b'0' => ('~', &part[1..]),
            b'1' => ('/', &part[1..]),
            _ => return None,
        };
        all.push(escaped);
        all.push_str(rest);
    }
    Some(all)
}

/// What somebody who wrote `$.items[0].price` or `items.0.price` may have meant.
fn as_pointer(path: &str) -> String {
    let steps =
        path.trim_start_matches('$').split(['.', '[', ']', '"', '\'']).filter(|step| !step.is_empty());
    steps.flat_map(|step| ["/", step]).collect()
}

impl<'de> Deserialize<'de> for Pointer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Pointer;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON pointer, like \"/items/0/price\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Pointer, E> {
                Pointer::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// What is at a pointer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Selected {
    /// The value.
    Value(Value),
    /// Nothing; what stands after `depth` steps of the pointer, the last that could be taken.
    Missing { depth: usize, stands: String },
}

/// Reads a whole JSON text, and finds what each pointer names, in the order of the pointers.
pub(crate) fn select(text: &str, pointers: &[&Pointer]) -> Result<Vec<Selected>, serde_json::Error> {
    let mut found = vec![Selected::Missing { depth: 0, stands: String::new() }; pointers.len()];
    let mut reader = serde_json::Deserializer::from_str(text);
    let wanted = (0..pointers.len()).collect();
    Search { pointers, found: &mut found, wanted, depth: 0 }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(found)
}

/// Why the body cannot be read, and what it is instead.
pub(crate) fn not_json(text: &str, error: &serde_json::Error, truncated: bool) -> String {
    let cut = if truncated { " (cut there by body_limit, there was more)" } else { "" };
    match text.len() {
        0 => format!("body is empty{cut}, not JSON"),
        bytes => {
            let begin = excerpt(text.as_bytes(), SHOWN_CHARS);
            // It quotes with backticks.
            let error = error.to_string().replace('`', "\"");
            format!("body is not JSON: {error}; body of {bytes} bytes{cut} begins {begin}")
        }
    }
}

/// The search at one value, for the pointers whose first `depth` steps led to it.
struct Search<'a> {
    pointers: &'a [&'a Pointer],
    found: &'a mut [Selected],
    /// Places of these pointers in `pointers`.
    wanted: Vec<usize>,
    depth: usize,
}

impl Search<'_> {
    /// Notes what stands here for those that want to go on. A key that comes twice is noted twice:
    /// the last one counts.
    fn note(&mut self, stands: &str) {
        for index in &self.wanted {
            self.found[*index] = Selected::Missing { depth: self.depth, stands: stands.to_owned() };
        }
    }

    /// The pointers whose next step is this key.
    fn wanted_below(&self, key: &str) -> Vec<usize> {
        let next = |index: &usize| self.pointers[*index].tokens[self.depth] == key;
        self.wanted.iter().copied().filter(next).collect()
    }

    fn below(&mut self, wanted: Vec<usize>) -> Search<'_> {
        Search { pointers: self.pointers, found: self.found, wanted, depth: self.depth + 1 }
    }
}

impl<'de> DeserializeSeed<'de> for Search<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.wanted.is_empty() {
            return IgnoredAny::deserialize(deserializer).map(|_| ());
        }
        if self.wanted.iter().all(|index| self.pointers[*index].tokens.len() > self.depth) {
            return deserializer.deserialize_any(self);
        }
        // Somebody wants this value as it is: the others look into it.
        let value = Value::deserialize(deserializer)?;
        let Search { pointers, found, wanted, depth } = self;
        for index in wanted {
            found[index] = look_up(&value, &pointers[index].tokens, depth);
        }
        Ok(())
    }
}

/// Follows a pointer's steps from `depth` on.
fn look_up(mut value: &Value, tokens: &[String], depth: usize) -> Selected {
    for (step, token) in tokens.iter().enumerate().skip(depth) {
        let next = match value {
            Value::Object(entries) => entries.get(token),
            Value::Array(items) => index(token).and_then(|index| items.get(index)),
            _ => None,
        };
        let Some(next) = next else {
            let stands = match value {
                Value::Null => "null".to_owned(),
                Value::Bool(_) => "a boolean".to_owned(),
                Value::Number(_) => "a number".to_owned(),
                Value::String(_) => "a string".to_owned(),
                Value::Array(items) => array_of(items.len()),
                Value::Object(_) => "an object".to_owned(),
            };
            return Selected::Missing { depth: step, stands };
        };
        value = next;
    }
    Selected::Value(value.clone())
}

fn array_of(items: usize) -> String {
    format!("an array of {items}")
}

/// An index is written without leading zeros (RFC 6901, 4).
fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || !token.starts_with(['0', '+']);
    token.parse().ok().filter(|_| plain)
}

impl<'de> Visitor<'de> for Search<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(mut self) -> Result<(), E> {
        self.note("null");
        Ok(())
    }

    fn visit_bool<E>(mut self, _: bool) -> Result<(), E> {
        self.note("a boolean");
        Ok(())
    }

    fn visit_i64<E>(mut self, _: i64) -> Result<(), E> {
        self.note("a number");
        Ok(())
    }

    fn visit_u64<E>(mut self, _: u64) -> Result<(), E> {
        self.note("a number");
        Ok(())
    }

    fn visit_f64<E>(mut self, _: f64) -> Result<(), E> {
        self.note("a number");
        Ok(())
    }

    fn visit_str<E>(mut self, _: &str) -> Result<(), E> {
        self.note("a string");
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let asked: Vec<(usize, usize)> = (self.wanted.iter())
            .filter_map(|pointer| Some((index(&self.pointers[*pointer].tokens[self.depth])?, *pointer)))
            .collect();
        let mut length = 0;
        loop {
            let wanted = asked.iter().filter(|(at, _)| *at == length).map(|(_, pointer)| *pointer).collect();
            if items.next_element_seed(self.below(wanted))?.is_none() {
                break;
            }
            length += 1;
        }
        // Those whose item came have their answer.
        let answered = |pointer: &usize| asked.iter().any(|(at, asking)| asking == pointer && *at < length);
        self.wanted.retain(|pointer| !answered(pointer));
        self.note(&array_of(length));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        self.note("an object");
        while let Some(key) = entries.next_key::<String>()? {
            let wanted = self.wanted_below(&key);
            entries.next_value_seed(self.below(wanted))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn one(text: &str, pointer: &str) -> Selected {
        let pointer = Pointer::parse(pointer).unwrap();
        select(text, &[&pointer]).unwrap().remove(0)
    }

    /// The examples of RFC 6901, 5.
    #[test]
    fn pointers_of_the_standard() {
        let text =
            r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#;
        let whole: Value = serde_json::from_str(text).unwrap();
        for (pointer, value) in [
            ("", whole.clone()),
            ("/foo", serde_json::json!(["bar", "baz"])),
            ("/foo/0", "bar".into()),
            ("/", 0.into()),
            ("/a~1b", 1.into()),
            ("/c%d", 2.into()),
            ("/e^f", 3.into()),
            ("/g|h", 4.into()),
            ("/i\\j", 5.into()),
            ("/k\"l", 6.into()),
            ("/ ", 7.into()),
            ("/m~0n", 8.into()),
        ] {
            assert_eq!(one(text, pointer), Selected::Value(value.clone()), "{pointer}");
            // The same where somebody else wants the whole body.
            let (root, pointer) = (Pointer::default(), Pointer::parse(pointer).unwrap());
            let both = select(text, &[&root, &pointer]).unwrap();
            assert_eq!(both, [Selected::Value(whole.clone()), Selected::Value(value)]);
        }
    }

    #[test]
    fn what_is_missing_says_how_far_the_pointer_leads() {
        let text = r#"{"a":{"b":[1,2],"c":null,"d":"x"}}"#;
        for (pointer, depth, stands) in [
            ("/x", 0, "an object"),
            ("/a/x/y", 1, "an object"),
            ("/a/b/2", 2, "an array of 2"),
            ("/a/b/01", 2, "an array of 2"),
            ("/a/b/-", 2, "an array of 2"),
            ("/a/b/0/x", 3, "a number"),
            ("/a/c/x", 2, "null"),
            ("/a/d/x", 2, "a string"),
        ] {
            let missing = Selected::Missing { depth, stands: stands.to_owned() };
            assert_eq!(one(text, pointer), missing, "{pointer}");
            let (root, pointer) = (Pointer::default(), Pointer::parse(pointer).unwrap());
            assert_eq!(select(text, &[&root, &pointer]).unwrap()[1], missing);
        }
    }

    #[test]
    fn the_last_of_two_equal_keys_counts() {
        let text = r#"{"a":{"b":1},"a":{"c":2}}"#;
        assert_eq!(one(text, "/a/b"), Selected::Missing { depth: 1, stands: "an object".to_owned() });
        assert_eq!(one(text, "/a/c"), Selected::Value(2.into()));
    }

    #[test]
    fn the_rest_of_the_text_is_read_too() {
        for text in ["", " ", "{", r#"{"a":1"#, r#"{"a":1}x"#, r#"{"a":1,}"#, r#"{"b":[1,}"#, "nul"] {
            assert!(select(text, &[&Pointer::parse("/a").unwrap()]).is_err(), "{text}");
        }
    }
}
