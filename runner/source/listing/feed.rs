//! A feed as a JSON document: RSS 2.0, RSS 1.0 and Atom. An item becomes an object of the texts of its elements and
//! of their attributes (`"enclosure@url"`), so that what is taken of an item is said in one way for all documents.
//!
//! Nothing is expanded but characters: entities that a document declares are left as they are.

use std::collections::{HashMap, HashSet};

use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Error, Reader, XmlVersion};
use serde_json::{Map, Value};

/// Elements within elements: feeds have a handful, and their articles some dozens.
const MAX_DEPTH: usize = 256;
/// What is kept of the text of one element, in bytes; names and labels are far shorter.
const MAX_TEXT_BYTES: usize = 64 << 10;
/// What is kept of an item: elements and attributes.
const MAX_FIELDS: usize = 256;

/// The items of a feed, each an object of texts.
#[derive(Debug, Default)]
pub(super) struct Feed {
    pub(super) items: Vec<Value>,
    /// The address of the next page (RFC 5005).
    pub(super) next: Option<String>,
}

/// Reads a feed of at most so many items; the error is for people.
pub(super) fn read(text: &str, most: usize) -> Result<Feed, String> {
    let mut reader = Reader::from_str(text);
    // Written by hand, many feeds have "R&D" for "R&amp;D".
    reader.config_mut().allow_dangling_amp = true;
    let mut state = State { most, ..State::default() };
    loop {
        let taken = match reader.read_event() {
            Ok(Event::Eof) => return state.finish(),
            Ok(event) => state.take(&event),
            Err(error) => Err(reason(&error).to_owned()),
        };
        if let Err(why) = taken {
            let at = usize::try_from(reader.error_position().max(reader.buffer_position()));
            let before = text.get(..at.unwrap_or(0)).unwrap_or(text);
            let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
            return Err(format!("this is no whole feed: line {line}: {why}"));
        }
    }
}

/// The parser's own messages quote the document.
fn reason(error: &Error) -> &'static str {
    match error {
        Error::Syntax(_) => "markup is not closed, or is none",
        Error::IllFormed(_) => "an end tag does not match its begin",
        Error::InvalidAttr(_) => "an attribute is not well-formed",
        Error::Escape(_) => "a reference to a character is not well-formed",
        _ => "it is not well-formed",
    }
}

/// How far a feed is read.
#[derive(Default)]
struct State {
    most: usize,
    depth: usize,
    /// The name of the root with its prefix; none before it.
    root: Option<String>,
    /// The depth of the item that is open.
    item_depth: Option<usize>,
    item: Map<String, Value>,
    /// The name of the element of the item that is open.
    field: Option<String>,
    text: String,
    feed: Feed,
}

impl State {
    fn take(&mut self, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Start(start) => self.open(start),
            Event::Empty(start) => {
                self.open(start)?;
                self.close();
                Ok(())
            }
            Event::End(_) => {
                self.close();
                Ok(())
            }
            Event::Text(text) => {
                self.append(&text.xml10_content());
                Ok(())
            }
            Event::CData(text) => {
                self.append(&text.xml10_content());
                Ok(())
            }
            Event::GeneralRef(reference) => self.append_reference(reference),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Eof => Ok(()),
        }
    }

    fn open(&mut self, start: &BytesStart<'_>) -> Result<(), String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("elements stand within more than {MAX_DEPTH} others"));
        }
        let name = self.name_of(start.name().as_ref()).to_owned();
        if self.root.is_none() {
            return self.open_root(start.name().as_ref());
        }
        match self.item_depth {
            None if matches!(name.as_str(), "item" | "entry") => {
                if self.feed.items.len() >= self.most {
                    return Err(format!("it has more than {} items", self.most));
                }
                self.item_depth = Some(self.depth);
                self.item = Map::new();
                for (key, value) in attributes(start)? {
                    self.keep(format!("@{key}"), value);
                }
            }
            None if name == "link" || name == "atom:link" => {
                let found: HashMap<_, _> = attributes(start)?.into_iter().collect();
                if found.get("rel").is_some_and(|relation| relation == "next") && self.feed.next.is_none() {
                    self.feed.next = found.get("href").cloned();
                }
            }
            Some(depth) if self.depth == depth + 1 => self.open_field(name, start)?,
            _ => {}
        }
        Ok(())
    }

    fn open_root(&mut self, name: &str) -> Result<(), String> {
        let local = name.rsplit(':').next().unwrap_or(name);
        if !matches!(local, "rss" | "RDF" | "feed") {
            let shown: String = local.chars().filter(char::is_ascii_alphanumeric).take(20).collect();
            return Err(format!("\"{shown}\" is neither an RSS nor an Atom document"));
        }
        self.root = Some(name.to_owned());
        Ok(())
    }

    /// A name without the prefix that the root has too: that is the one of the feed's own elements.
    fn name_of<'n>(&self, name: &'n str) -> &'n str {
        let prefix = self.root.as_deref().and_then(|root| root.split_once(':')).map(|(prefix, _)| prefix);
        match (prefix, name.split_once(':')) {
            (Some(known), Some((prefix, local))) if known == prefix => local,
            _ => name,
        }
    }

    fn open_field(&mut self, name: String, start: &BytesStart<'_>) -> Result<(), String> {
        let attributes = attributes(start)?;
        if name == "link" {
            // Atom's links have relations; the one to the page itself is "alternate", or has none.
            let relation = attributes.iter().find(|(key, _)| key == "rel").map(|(_, value)| value.as_str());
            if let (None | Some("alternate"), Some((_, target))) =
                (relation, attributes.iter().find(|(key, _)| key == "href"))
            {
                self.keep("link".to_owned(), target.clone());
            }
        }
        for (key, value) in attributes {
            self.keep(format!("{name}@{key}"), value);
        }
        self.field = Some(name);
        self.text.clear();
        Ok(())
    }

    fn close(&mut self) {
        match self.item_depth {
            Some(depth) if self.depth == depth => {
                self.item_depth = None;
                self.feed.items.push(Value::Object(std::mem::take(&mut self.item)));
            }
            Some(depth) if self.depth == depth + 1 => {
                let text = self.text.trim().to_owned();
                if let (Some(name), false) = (self.field.take(), text.is_empty()) {
                    self.keep(name, text);
                }
            }
            _ => {}
        }
        self.depth = self.depth.saturating_sub(1);
    }

    /// Keeps the first of several.
    fn keep(&mut self, key: String, value: String) {
        if self.item.len() < MAX_FIELDS && !self.item.contains_key(&key) {
            self.item.insert(key, Value::String(value));
        }
    }

    fn append(&mut self, text: &str) {
        if self.field.is_some() {
            let room = MAX_TEXT_BYTES.saturating_sub(self.text.len());
            self.text.push_str(&text[..text.floor_char_boundary(room)]);
        }
    }

    fn append_reference(&mut self, reference: &BytesRef<'_>) -> Result<(), String> {
        match reference.resolve_char_ref() {
            Ok(Some(character)) => self.append(character.encode_utf8(&mut [0; 4])),
            Ok(None) => match reference.as_ref() {
                "lt" => self.append("<"),
                "gt" => self.append(">"),
                "amp" => self.append("&"),
                "apos" => self.append("'"),
                "quot" => self.append("\""),
                // HTML's, which XML does not know.
                "nbsp" => self.append(" "),
                other => self.append(&format!("&{other};")),
            },
            Err(error) => return Err(reason(&error).to_owned()),
        }
        Ok(())
    }

    fn finish(self) -> Result<Feed, String> {
        match (self.root, self.depth) {
            (None, _) => Err("this is no feed: it has no element".to_owned()),
            (_, 0) => Ok(self.feed),
            _ => Err("this is no whole feed: it ends in the middle".to_owned()),
        }
    }
}

/// Names and values of an element's attributes, the first of equal ones.
fn attributes(start: &BytesStart<'_>) -> Result<Vec<(String, String)>, String> {
    let mut found = HashSet::new();
    let mut all = Vec::new();
    for attribute in start.attributes().with_checks(false).take(MAX_FIELDS) {
        let attribute = attribute.map_err(|_| "an attribute is not well-formed".to_owned())?;
        if found.insert(attribute.key.as_ref().to_owned()) {
            all.push((attribute.key.as_ref().to_owned(), value_of(&attribute)));
        }
    }
    Ok(all)
}

/// The value with its references resolved; as it is where that cannot be done ("?a=1&b=2").
fn value_of(attribute: &Attribute<'_>) -> String {
    let mut value = attribute
        .normalized_value(XmlVersion::Implicit1_0)
        .map_or_else(|_| attribute.value.clone().into_owned(), std::borrow::Cow::into_owned);
    value.truncate(value.floor_char_boundary(MAX_TEXT_BYTES));
    value
}
