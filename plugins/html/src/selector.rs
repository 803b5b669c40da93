//! CSS selectors, matched while the page is read: of every open element it is known which steps of a
//! selector it has reached, so that no tree is needed.

use std::fmt::{self, Display};

use probity_check::{JsonSchema, excerpt, schemars};
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// The most steps of a selector: one bit each.
const MAX_STEPS: usize = 16;

/// A start tag.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element<'page> {
    /// In lower case.
    pub(crate) name: &'page [u8],
    /// Names in lower case, and values.
    pub(crate) attributes: &'page [(Vec<u8>, Vec<u8>)],
}

impl<'page> Element<'page> {
    /// The value of an attribute; the first where it was written twice.
    pub(crate) fn attribute(&self, name: &[u8]) -> Option<&'page [u8]> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_slice())
    }
}

/// CSS: names, `#id`, `.class`, `[attribute]`, four combinators, commas; no pseudo-classes.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(with = "String", rename = "selector", extend("minLength" = 1))]
pub(crate) struct Selector {
    text: String,
    pub(crate) paths: Vec<Path>,
}

/// Steps from an ancestor, or an element before, to the element that is meant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Path {
    steps: Vec<(Relation, Step)>,
}

/// How a step's element stands to that of the step before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// `a b`: anywhere in it.
    Inside,
    /// `a > b`
    Child,
    /// `a + b`: right behind it.
    Next,
    /// `a ~ b`: behind it.
    Later,
}

/// What one element must be.
#[derive(Debug, Clone, Default)]
struct Step {
    /// In lower case; any where there is none.
    name: Option<Vec<u8>>,
    tests: Vec<Test>,
}

#[derive(Debug, Clone)]
struct Test {
    /// In lower case.
    attribute: Vec<u8>,
    comparison: Comparison,
    value: Vec<u8>,
    ignore_case: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Exists,
    Equals,
    /// `~=`: a word of it.
    Word,
    /// `|=`: it, or it and a hyphen.
    Language,
    Begins,
    Ends,
    Contains,
}

/// Which steps of a path an open element has reached, a bit each.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reached {
    here: u16,
    /// Here or in an element around.
    around: u16,
    last_child: u16,
    any_child: u16,
}

impl Path {
    /// Enters an element in the one that `outer` belongs to: what it has reached, and whether it is
    /// meant.
    pub(crate) fn enter(&self, outer: &mut Reached, element: Element<'_>) -> (Reached, bool) {
        let mut here = 0_u16;
        for (index, (relation, step)) in self.steps.iter().enumerate() {
            let before = match relation {
                _ if index == 0 => 1,
                Relation::Inside => outer.around >> (index - 1),
                Relation::Child => outer.here >> (index - 1),
                Relation::Next => outer.last_child >> (index - 1),
                Relation::Later => outer.any_child >> (index - 1),
            };
            if before & 1 == 1 && step.matches(element) {
                here |= 1 << index;
            }
        }
        outer.last_child = here;
        outer.any_child |= here;
        let is_meant = self.steps.len().checked_sub(1).is_some_and(|last| here >> last & 1 == 1);
        (Reached { here, around: outer.around | here, ..Reached::default() }, is_meant)
    }
}

impl Step {
    fn matches(&self, element: Element<'_>) -> bool {
        self.name.as_deref().is_none_or(|name| name == element.name)
            && self
                .tests
                .iter()
                .all(|test| element.attribute(&test.attribute).is_some_and(|value| test.matches(value)))
    }
}

impl Test {
    fn matches(&self, value: &[u8]) -> bool {
        let wanted = self.value.as_slice();
        let same = |part: &[u8]| {
            if self.ignore_case { part.eq_ignore_ascii_case(wanted) } else { part == wanted }
        };
        // `[a^=""]` and the like match nothing.
        let length = wanted.len();
        let is_possible = length > 0 && length <= value.len();
        match self.comparison {
            Comparison::Exists => true,
            Comparison::Equals => same(value),
            Comparison::Word => {
                value.split(u8::is_ascii_whitespace).any(|word| !word.is_empty() && same(word))
            }
            Comparison::Language => same(value) || value.get(length) == Some(&b'-') && same(&value[..length]),
            Comparison::Begins => is_possible && same(&value[..length]),
            Comparison::Ends => is_possible && same(&value[value.len() - length..]),
            Comparison::Contains => is_possible && value.windows(length).any(same),
        }
    }
}

impl Selector {
    /// Reads selectors separated by commas. The error says what is wrong, or not supported.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { rest: text };
        let paths = parser.list().map_err(|reason| format!("\"{text}\" is not a selector: {reason}"))?;
        Ok(Selector { text: text.to_owned(), paths })
    }
}

impl Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&excerpt(self.text.as_bytes(), 80))
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Selector;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a CSS selector")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Selector, E> {
                Selector::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

struct Parser<'text> {
    rest: &'text str,
}

impl Parser<'_> {
    fn list(&mut self) -> Result<Vec<Path>, String> {
        let mut paths = vec![self.path()?];
        while self.eat(",") {
            paths.push(self.path()?);
        }
        if self.rest.is_empty() { Ok(paths) } else { Err(self.unexpected()) }
    }

    fn path(&mut self) -> Result<Path, String> {
        let mut path = Path::default();
        let mut relation = Relation::Inside;
        self.space();
        loop {
            if path.steps.len() == MAX_STEPS {
                return Err(format!("it has more than {MAX_STEPS} steps"));
            }
            path.steps.push((relation, self.step()?));
            let had_space = self.space();
            relation = match self.rest.chars().next() {
                None | Some(',') => return Ok(path),
                Some('>') => Relation::Child,
                Some('+') => Relation::Next,
                Some('~') => Relation::Later,
                Some(_) if had_space => Relation::Inside,
                Some(_) => return Err(self.unexpected()),
            };
            if relation != Relation::Inside {
                self.rest = &self.rest[1..];
                self.space();
            }
        }
    }

    fn step(&mut self) -> Result<Step, String> {
        let mut step = Step::default();
        let start = self.rest;
        if !self.eat("*") && self.rest.starts_with(is_name) {
            step.name = Some(self.name()?.to_ascii_lowercase());
        }
        loop {
            let (attribute, comparison) = if self.eat("#") {
                ("id", Comparison::Equals)
            } else if self.eat(".") {
                ("class", Comparison::Word)
            } else if self.eat("[") {
                step.tests.push(self.attribute()?);
                continue;
            } else if self.rest.starts_with(':') {
                return Err("pseudo-classes and pseudo-elements (\":…\") are not supported".to_owned());
            } else if self.rest.len() == start.len() {
                return Err(self.unexpected());
            } else {
                return Ok(step);
            };
            let value = self.name()?;
            step.tests.push(Test { attribute: attribute.into(), comparison, value, ignore_case: false });
        }
    }

    /// What follows `[`.
    fn attribute(&mut self) -> Result<Test, String> {
        self.space();
        let attribute = self.name()?.to_ascii_lowercase();
        self.space();
        let operators = [
            ("=", Comparison::Equals),
            ("~=", Comparison::Word),
            ("|=", Comparison::Language),
            ("^=", Comparison::Begins),
            ("$=", Comparison::Ends),
            ("*=", Comparison::Contains),
        ];
        let found = operators.into_iter().find(|(operator, _)| self.eat(operator));
        let Some((_, comparison)) = found else {
            let test = Test { attribute, comparison: Comparison::Exists, value: vec![], ignore_case: false };
            return if self.eat("]") { Ok(test) } else { Err(self.unexpected()) };
        };
        self.space();
        let value = match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let (value, rest) = self.rest[1..].split_once(quote).ok_or("a quote is not closed")?;
                self.rest = rest;
                value.as_bytes().to_vec()
            }
            _ => self.name()?,
        };
        self.space();
        let ignore_case = self.eat("i") || self.eat("I");
        self.space();
        let test = Test { attribute, comparison, value, ignore_case };
        if self.eat("]") { Ok(test) } else { Err(self.unexpected()) }
    }

    /// A name; a backslash takes the next character as it is: `.md\:flex`.
    fn name(&mut self) -> Result<Vec<u8>, String> {
        let mut name = String::new();
        let mut characters = self.rest.chars();
        while let Some(character) = characters.next() {
            match character {
                '\\' => name.extend(characters.next()),
                character if is_name(character) => name.push(character),
                _ => break,
            }
            self.rest = characters.as_str();
        }
        if name.is_empty() { Err(self.unexpected()) } else { Ok(name.into_bytes()) }
    }

    fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn space(&mut self) -> bool {
        let rest = self.rest.trim_ascii_start();
        let had_space = rest.len() < self.rest.len();
        self.rest = rest;
        had_space
    }

    fn unexpected(&self) -> String {
        match self.rest.chars().next() {
            Some(character) => format!("unexpected \"{character}\""),
            None => "something is missing at its end".to_owned(),
        }
    }
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '\\') || !character.is_ascii()
}
