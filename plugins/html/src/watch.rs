//! What is looked for in a page, and what was found.

use std::fmt::Write as _;

use probity_check::schema::each_text;
use probity_check::{JsonSchema, OneOrMany, Pattern, excerpt, schemars};
use serde::Deserialize;

use crate::selector::{Element, Selector};

/// The most characters of a text in a message.
const SHOWN_CHARS: usize = 80;

/// Elements that are counted, and whose text may be compared.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) selector: Selector,
    pub(crate) text: Option<TextRule>,
    /// The page's title: the first alone.
    pub(crate) is_title: bool,
}

/// What a text must be. All that is given must hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline, extend("minProperties" = 1))]
pub(crate) struct TextRule {
    /// The whole text, its white space folded.
    equals: Option<String>,
    /// Texts that must all be in it.
    #[schemars(transform = each_text("minLength", 1))]
    contains: OneOrMany<String>,
    /// Regular expressions that must all match in it.
    matches: OneOrMany<Pattern>,
}

impl TextRule {
    /// The rule, where it asks for anything. The error says what is missing or in vain.
    pub(crate) fn checked(
        equals: Option<String>,
        contains: OneOrMany<String>,
        matches: OneOrMany<Pattern>,
    ) -> Result<Self, String> {
        TextRule { equals, contains, matches }.check()
    }

    pub(crate) fn check(mut self) -> Result<Self, String> {
        let TextRule { equals, contains: OneOrMany(contains), matches: OneOrMany(matches) } = &mut self;
        if equals.is_none() && contains.is_empty() && matches.is_empty() {
            return Err("nothing to judge: set \"equals\", \"contains\" or \"matches\"".to_owned());
        }
        for text in equals.iter_mut().chain(contains.iter_mut()) {
            // The page's white space is folded too.
            *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        if contains.iter().any(String::is_empty) {
            return Err("contains: every text contains an empty one".to_owned());
        }
        // One search builds what an expression builds lazily.
        for pattern in matches {
            pattern.find(b"\n");
        }
        Ok(self)
    }

    /// What does not hold of a text, in words: `is not "Basket"`.
    fn misses(&self, text: &[u8]) -> Vec<String> {
        let TextRule { equals, contains: OneOrMany(contains), matches: OneOrMany(matches) } = self;
        let mut misses = Vec::new();
        if let Some(equals) = equals.as_ref().filter(|equals| equals.as_bytes() != text) {
            misses.push(format!("is not {}", quoted(equals.as_bytes())));
        }
        for wanted in contains.iter().filter(|wanted| memchr::memmem::find(text, wanted.as_bytes()).is_none())
        {
            misses.push(format!("does not contain {}", quoted(wanted.as_bytes())));
        }
        for pattern in matches.iter().filter(|pattern| !pattern.is_match(text)) {
            misses.push(format!("does not match {}", quoted(pattern.as_str().as_bytes())));
        }
        misses
    }
}

/// What was found for a watch.
#[derive(Debug, Default)]
pub(crate) struct Note {
    /// Elements that match.
    pub(crate) count: u64,
    /// The first of them, as a start tag.
    pub(crate) first: Option<String>,
    /// One of them has the text that is wanted.
    pub(crate) is_satisfied: bool,
    /// What does not hold of the first text that was read, and the text.
    pub(crate) misses: Option<(Vec<String>, String)>,
}

impl Note {
    /// An element matches.
    pub(crate) fn see(&mut self, element: Element<'_>) {
        self.count += 1;
        if self.first.is_none() {
            let mut tag =
                format!("<{}", String::from_utf8_lossy(&element.name[..element.name.len().min(40)]));
            for name in ["id", "class"] {
                if let Some(value) = element.attribute(name.as_bytes()) {
                    let _ = write!(tag, " {name}={}", quoted(value));
                }
            }
            tag.push('>');
            self.first = Some(tag);
        }
    }

    /// The text of an element that matches is complete.
    pub(crate) fn read(&mut self, text: &[u8], wanted: &TextRule) {
        let misses = wanted.misses(text);
        self.is_satisfied |= misses.is_empty();
        if self.misses.is_none() {
            self.misses = Some((misses, quoted(text)));
        }
    }
}

pub(crate) fn quoted(bytes: &[u8]) -> String {
    excerpt(bytes, SHOWN_CHARS)
}
