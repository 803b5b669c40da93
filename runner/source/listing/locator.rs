//! Where something stands in a JSON document: a JSON pointer or a path of RFC 9535, checked once.

use std::fmt;

use serde_json::Value;
use serde_json_path::JsonPath;

/// Where something stands in a JSON document.
#[derive(Clone)]
pub struct Locator {
    text: String,
    way: Way,
}

#[derive(Clone)]
enum Way {
    Pointer,
    Path(Box<JsonPath>),
}

impl fmt::Debug for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl Locator {
    /// Reads one as users write it; the error says what is wrong, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let way = match text.chars().next() {
            None | Some('/') => {
                check_pointer(text)?;
                Way::Pointer
            }
            Some('$') => match JsonPath::parse(text) {
                Ok(path) => Way::Path(Box::new(path)),
                Err(error) => {
                    let at = error.position() + 1;
                    return Err(format!("this is not a JSONPath as RFC 9535 has it: look at character {at}"));
                }
            },
            Some(_) => {
                return Err("a JSON pointer begins with \"/\", such as \"/data/url\", and a JSONPath with \
                            \"$\", such as \"$.data.url\""
                    .to_owned());
            }
        };
        Ok(Self { text: text.to_owned(), way })
    }

    /// A pointer that is known to be right.
    pub(super) fn pointer(text: &str) -> Self {
        Self { text: text.to_owned(), way: Way::Pointer }
    }

    /// As it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What stands there; the first of several.
    pub(super) fn first<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        match &self.way {
            Way::Pointer => value.pointer(&self.text),
            Way::Path(path) => path.query(value).first(),
        }
    }

    /// The items that stand there: those of an array, or each match of a path. The error says what stands there
    /// instead.
    pub(super) fn items<'v>(&self, value: &'v Value) -> Result<Vec<&'v Value>, String> {
        let found = match &self.way {
            Way::Pointer => value.pointer(&self.text).into_iter().collect(),
            Way::Path(path) => path.query(value).all(),
        };
        match (found.as_slice(), &self.way) {
            // A path to the array means its items.
            ([Value::Array(items)], _) => Ok(items.iter().collect()),
            ([], Way::Pointer) => Err(format!("there is nothing at {} in the document", self.shown())),
            ([other], Way::Pointer) => {
                Err(format!("{} is {}, not an array of items", self.shown(), kind(other)))
            }
            _ => Ok(found),
        }
    }

    fn shown(&self) -> String {
        if self.text.is_empty() { "the document".to_owned() } else { format!("\"{}\"", self.text) }
    }
}

/// RFC 6901 section 3: `~` stands only before `0` or `1`.
fn check_pointer(text: &str) -> Result<(), String> {
    let mut parts = text.split('~');
    parts.next();
    if parts.all(|part| part.starts_with(['0', '1'])) {
        return Ok(());
    }
    Err("in a JSON pointer \"~\" is written \"~0\", and \"/\" within a key \"~1\"".to_owned())
}

/// What a value is, for messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn pointers_and_paths_lead_to_the_same() {
        let document = json!({ "data": { "children": [{ "n": 1 }, { "n": 2 }], "a/b~c": "x" } });
        for text in ["/data/children", "$.data.children", "$.data.children[*]", "$..children[*]"] {
            let items = Locator::parse(text).unwrap().items(&document).unwrap();
            assert_eq!(items, [&json!({ "n": 1 }), &json!({ "n": 2 })], "{text}");
        }
        assert_eq!(Locator::parse("/data/a~1b~0c").unwrap().first(&document).unwrap(), "x");
        assert_eq!(Locator::parse("$..n").unwrap().first(&document).unwrap(), 1);
    }

    #[test]
    fn what_is_no_array_of_items_is_told() {
        let document = json!({ "data": { "children": {} } });
        let told = |text: &str| Locator::parse(text).unwrap().items(&document).unwrap_err();
        assert_eq!(told("/data/children"), "\"/data/children\" is an object, not an array of items");
        assert_eq!(told("/dat"), "there is nothing at \"/dat\" in the document");
        assert_eq!(told(""), "the document is an object, not an array of items");
        assert!(Locator::parse("$.nothing[*]").unwrap().items(&document).unwrap().is_empty());
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in ["data", "$.", "$[", "/a~b", " /a"] {
            assert!(Locator::parse(text).is_err(), "{text}");
        }
    }
}
