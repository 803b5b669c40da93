//! Targets from a document that lists things: JSON, RSS or Atom.
//!
//! A document is read page by page into a [`Listing`], which checks every item, gives it its name and knows
//! what came twice. Fetching the pages and remembering what was seen is the pipeline's work.

mod feed;
mod locator;
mod paging;
mod text;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;
use url::Url;

pub use self::locator::Locator;
pub use self::paging::{next_of_links, with_parameter};

use self::locator::kind;
use super::ParseDuration;
use super::intern::Interner;
use super::problem::{Place, Problems, SourceProblem};
use super::target::{MAX_LABEL_CHARS, MAX_NAME_CHARS, TargetText, check};
use crate::model::{Labels, Target};

/// The `[[sources]]` table as a user would write it.
pub const LISTING_SAMPLE: &str = include_str!("../listing.toml");

/// The most items of a document, or of the pages of one look.
pub const MAX_ITEMS: usize = 1_000_000;

/// Where everything stands in a document.
#[derive(Debug, Clone, Default)]
pub struct ListingShape {
    /// The items; none for the document itself.
    pub items: Option<Locator>,
    /// An item's URL; none for the default.
    pub url: Option<Locator>,
    /// An item's name; none for the default.
    pub name: Option<Locator>,
    /// What an item is known again by; none for the default.
    pub id: Option<Locator>,
    /// An item's labels.
    pub labels: Vec<(String, Locator)>,
    /// What the next page is.
    pub next: Option<Locator>,
}

/// One item, checked.
#[derive(Debug, Clone)]
pub struct ListedItem {
    /// What it is known again by.
    pub id: String,
    /// What to probe; items of one name share it.
    pub target: Arc<Target>,
}

/// The items of the pages read so far.
pub struct Listing {
    shape: Arc<ListingShape>,
    parse_duration: ParseDuration,
    interner: Interner,
    ids: HashSet<String>,
    names: HashMap<Arc<str>, Arc<Target>>,
    items: Vec<ListedItem>,
    seen_items: usize,
    problems: Problems,
}

/// The parts of an item's place in the kinds of documents.
struct Defaults {
    url: Locator,
    name: Option<Locator>,
    ids: Vec<Locator>,
}

impl Defaults {
    fn json() -> Self {
        Self { url: Locator::pointer("/url"), name: None, ids: Vec::new() }
    }

    fn feed() -> Self {
        let ids = ["/guid", "/id", "/@rdf:about"].map(Locator::pointer);
        Self { url: Locator::pointer("/link"), name: Some(Locator::pointer("/title")), ids: ids.into() }
    }
}

impl Listing {
    /// Nothing read yet.
    pub fn new(shape: Arc<ListingShape>, parse_duration: ParseDuration) -> Self {
        Self {
            shape,
            parse_duration,
            interner: Interner::default(),
            ids: HashSet::new(),
            names: HashMap::new(),
            items: Vec::new(),
            seen_items: 0,
            problems: Problems::default(),
        }
    }

    /// Reads a page that was fetched from `base`. Gives what it says of the next one, if anything. The error says
    /// why the page as a whole cannot be read; nothing of it is kept then.
    pub fn read_page(
        &mut self,
        bytes: &[u8],
        content_type: Option<&str>,
        base: &Url,
    ) -> Result<Option<String>, String> {
        let begin = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes).trim_ascii_start();
        // As UTF-16 has it, behind its mark.
        let is_markup = matches!(begin, [b'<', ..] | [0xFF, 0xFE, b'<', ..] | [0xFE, 0xFF, 0, b'<', ..]);
        if is_markup { self.read_feed(bytes, content_type, base) } else { self.read_json(begin, base) }
    }

    /// Tells of something that is wrong with the pages as they follow each other; so far, so many items were read.
    pub fn problem(&mut self, what: String) {
        let place = Place {
            file: Arc::from(std::path::Path::new("items")),
            line: self.seen_items as u32,
            column: None,
        };
        self.problems.push(SourceProblem::new(place, what));
    }

    /// The items in the order of the document, each id once, and what was left out.
    pub fn finish(self) -> (Vec<ListedItem>, Problems) {
        (self.items, self.problems)
    }

    fn read_json(&mut self, bytes: &[u8], base: &Url) -> Result<Option<String>, String> {
        if bytes.is_empty() {
            return Err("the document is empty".to_owned());
        }
        let document: Value = serde_json::from_slice(bytes)
            // These messages quote nothing of the document: any value is taken.
            .map_err(|error| format!("this is not JSON: {error}"))?;
        let root = Locator::pointer("");
        let shape = Arc::clone(&self.shape);
        let items = shape.items.as_ref().unwrap_or(&root).items(&document).map_err(|why| {
            if shape.items.is_some() { why } else { format!("{why}; say with \"items\" where they stand") }
        })?;
        self.add_all(items.into_iter(), &Defaults::json(), base)?;
        let next = shape.next.as_ref().and_then(|next| next.first(&document));
        Ok(next.and_then(scalar).filter(|next| !next.is_empty()))
    }

    fn read_feed(
        &mut self,
        bytes: &[u8],
        content_type: Option<&str>,
        base: &Url,
    ) -> Result<Option<String>, String> {
        if self.shape.items.is_some() {
            return Err("this is not JSON, and \"items\" is for JSON: feeds have their items where they are"
                .to_owned());
        }
        let feed = feed::read(&text::decode(bytes, content_type), MAX_ITEMS)?;
        self.add_all(feed.items.iter(), &Defaults::feed(), base)?;
        Ok(feed.next)
    }

    fn add_all<'v>(
        &mut self,
        items: impl ExactSizeIterator<Item = &'v Value>,
        defaults: &Defaults,
        base: &Url,
    ) -> Result<(), String> {
        if self.seen_items + items.len() > MAX_ITEMS {
            return Err(format!("there are more than {MAX_ITEMS} items"));
        }
        let place: Arc<std::path::Path> = Arc::from(std::path::Path::new("items"));
        for item in items {
            self.seen_items += 1;
            let place = Place { file: Arc::clone(&place), line: self.seen_items as u32, column: None };
            if let Err(problems) = self.add(item, defaults, base, &place) {
                for problem in problems {
                    self.problems.push(problem);
                }
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        item: &Value,
        defaults: &Defaults,
        base: &Url,
        place: &Place,
    ) -> Result<(), Vec<SourceProblem>> {
        let one = |what: String| vec![SourceProblem::new(place.clone(), what)];
        let url = self.url_of(item, defaults, base).map_err(one)?;
        let shape = Arc::clone(&self.shape);
        let name = shape.name.as_ref().or(defaults.name.as_ref()).and_then(|at| at.first(item));
        let name = name.and_then(scalar).map(|name| one_line(&name, MAX_NAME_CHARS));
        let labels = labels_of(item, &shape).map_err(one)?;
        let id = match &shape.id {
            Some(at) => {
                Some(at.first(item).and_then(scalar).filter(|id| !id.is_empty()).ok_or_else(|| {
                    one(format!("there is no text at \"{}\" to know the item again by", at.text()))
                })?)
            }
            None => defaults.ids.iter().find_map(|at| at.first(item).and_then(scalar)),
        };
        let name = name.filter(|name| !name.is_empty());
        let text = TargetText { url, name, every: None, labels, place: place.clone() };
        let checked = check(text, self.parse_duration)?;
        let id = id.unwrap_or_else(|| checked.url.clone());
        if self.ids.contains(&id) {
            // Pages shift while they are read.
            return Ok(());
        }
        let labels = self.interner.labels(&checked.labels);
        let target = self.named(checked.name, &checked.url, labels).map_err(one)?;
        self.ids.insert(id.clone());
        self.items.push(ListedItem { id, target });
        Ok(())
    }

    /// The target of a name: that of an earlier item, if it is the same; under its URL as the name, if not.
    fn named(&mut self, name: Option<String>, url: &str, labels: Labels) -> Result<Arc<Target>, String> {
        let url: Arc<str> = Arc::from(url);
        let given: Option<Arc<str>> = name.map(Arc::from);
        for name in given.into_iter().chain([Arc::clone(&url)]) {
            match self.names.get(&name) {
                Some(known) if known.url == url => return Ok(Arc::clone(known)),
                Some(_) => {}
                None => {
                    let target = Arc::new(Target { name: Arc::clone(&name), url, labels, every: None });
                    self.names.insert(name, Arc::clone(&target));
                    return Ok(target);
                }
            }
        }
        Err("its name and its URL are names of other items".to_owned())
    }

    fn url_of(&self, item: &Value, defaults: &Defaults, base: &Url) -> Result<String, String> {
        let text = match (item, &self.shape.url) {
            (Value::String(text), None) => text.as_str(),
            (_, at) => {
                let at = at.as_ref().unwrap_or(&defaults.url);
                match at.first(item) {
                    Some(Value::String(text)) => text.as_str(),
                    Some(other) => {
                        return Err(format!("\"{}\" is {}, not a URL", at.text(), kind(other)));
                    }
                    None => return Err(format!("there is nothing at \"{}\"", at.text())),
                }
            }
        };
        let text = text.trim();
        if text.is_empty() {
            return Err("the URL is empty".to_owned());
        }
        if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err("the URL holds a space or a control character".to_owned());
        }
        // What cannot be completed is refused with the reason by the check that follows.
        Ok(base.join(text).map_or_else(|_| text.to_owned(), Into::into))
    }
}

fn labels_of(item: &Value, shape: &ListingShape) -> Result<Vec<(String, String)>, String> {
    let mut labels = Vec::new();
    for (name, at) in &shape.labels {
        match at.first(item) {
            None | Some(Value::Null) => {}
            Some(value) => match scalar(value) {
                Some(text) => labels.push((name.clone(), one_line(&text, MAX_LABEL_CHARS))),
                None => return Err(format!("label \"{name}\": \"{}\" is {}", at.text(), kind(value))),
            },
        }
    }
    Ok(labels)
}

/// A value as text; none for what is none.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(found) => Some(found.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A text on one line, of at most so many characters: titles are written for people.
fn one_line(text: &str, most: usize) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_control() || c == ' ').filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if line.chars().nth(most).is_some() {
        line = line.chars().take(most - 1).collect();
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests;
