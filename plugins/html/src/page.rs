//! Reads a page once, from its first byte to its last, and notes what the watches ask for.
//!
//! The tags are found as the HTML standard says. Of what it says of trees only what pages need that
//! leave out end tags is done: the open elements are a stack, nothing is moved or added.

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, State, Tokenizer};

use crate::mixed::Mixed;
use crate::reader::{PageReader, WithoutErrors};
use crate::selector::{Element, Reached};
use crate::watch::{Note, Watch};

/// Elements that may be open at a time; browsers have the same bound. Deeper ones count as children of
/// the deepest.
const MAX_DEPTH: usize = 512;
/// Attributes of a tag that are looked at.
const MAX_ATTRIBUTES: usize = 128;
/// The most bytes of one element's text.
pub(crate) const MAX_TEXT: usize = 64 << 10;
/// The most bytes of text that are compared in a page: elements in elements have the same text again.
const MAX_COMPARED: usize = 4 << 20;

/// Elements without an end.
const VOID: [&[u8]; 15] = [
    b"area", b"base", b"br", b"col", b"embed", b"frame", b"hr", b"img", b"input", b"link", b"meta", b"param",
    b"source", b"track", b"wbr",
];
/// Elements that end an open paragraph.
const ENDS_PARAGRAPH: [&[u8]; 35] = [
    b"address",
    b"article",
    b"aside",
    b"blockquote",
    b"center",
    b"details",
    b"dialog",
    b"dir",
    b"div",
    b"dl",
    b"fieldset",
    b"figcaption",
    b"figure",
    b"footer",
    b"form",
    b"h1",
    b"h2",
    b"h3",
    b"h4",
    b"h5",
    b"h6",
    b"header",
    b"hgroup",
    b"hr",
    b"main",
    b"menu",
    b"nav",
    b"ol",
    b"p",
    b"pre",
    b"search",
    b"section",
    b"summary",
    b"table",
    b"ul",
];
/// Elements that an end tag outside of them does not end.
const SCOPE: [&[u8]; 8] = [b"table", b"td", b"th", b"caption", b"template", b"button", b"object", b"html"];
const TABLE_SCOPE: [&[u8]; 3] = [b"table", b"template", b"html"];
/// Elements of the text's looks: where their end tag comes too late, it ends nothing.
const FORMATTING: [&[u8]; 14] = [
    b"a", b"b", b"big", b"code", b"em", b"font", b"i", b"nobr", b"s", b"small", b"strike", b"strong", b"tt",
    b"u",
];

/// An open element.
#[derive(Debug)]
struct Open {
    name: Vec<u8>,
    /// In `svg` or `math`, where other rules hold.
    is_foreign: bool,
}

/// A text that is being read, for a watch.
#[derive(Debug)]
struct Reading {
    watch: usize,
    /// The stack's length while its element is open.
    depth: usize,
    /// Where it begins.
    start: usize,
}

/// The page, as far as it was read.
pub(crate) struct Page<'check> {
    watches: &'check [Watch],
    pub(crate) notes: Vec<Note>,
    pub(crate) mixed: Mixed,
    /// Text was left out of the comparison.
    pub(crate) is_exhausted: bool,
    open: Vec<Open>,
    /// For the document and each open element a row: one for each path of each watch.
    reached: Vec<Reached>,
    /// The length of a row.
    paths: usize,
    /// Open elements that are paragraphs: mostly none, and then none is looked for.
    paragraphs: usize,
    /// Open elements beyond `MAX_DEPTH`.
    deeper: usize,
    readings: Vec<Reading>,
    /// The text since the first of the readings began, its white space folded.
    text: String,
    compared_bytes: usize,
    tag: Vec<u8>,
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
    attribute_count: usize,
    is_in_tag: bool,
    takes_value: bool,
}

impl<'check> Page<'check> {
    /// Reads a page.
    pub(crate) fn read(text: &str, watches: &'check [Watch]) -> Self {
        let paths = watches.iter().map(|watch| watch.selector.paths.len()).sum();
        let mut page = Page {
            watches,
            notes: watches.iter().map(|_| Note::default()).collect(),
            mixed: Mixed::default(),
            is_exhausted: false,
            open: Vec::new(),
            reached: vec![Reached::default(); paths],
            paths,
            paragraphs: 0,
            deeper: 0,
            readings: Vec::new(),
            text: String::new(),
            compared_bytes: 0,
            tag: Vec::new(),
            attributes: Vec::new(),
            attribute_count: 0,
            is_in_tag: false,
            takes_value: false,
        };
        let emitter = CallbackEmitter::new(|event: CallbackEvent<'_>, _: Span<()>| page.see(&event));
        let mut tokens = Tokenizer::new_with_emitter(PageReader(text.as_bytes()), WithoutErrors(emitter));
        // All that comes out are the states that depend on what the tags mean.
        while let Some(Ok(state)) = tokens.next() {
            tokens.set_state(state);
        }
        drop(tokens);
        page.close(0);
        page
    }

    fn see(&mut self, event: &CallbackEvent<'_>) -> Option<State> {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                self.tag = name.to_vec();
                self.attribute_count = 0;
                self.is_in_tag = true;
            }
            CallbackEvent::AttributeName { name } => {
                self.takes_value = self.is_in_tag && self.attribute_count < MAX_ATTRIBUTES;
                if self.takes_value {
                    // What was allocated for the tags before serves again.
                    if self.attributes.len() == self.attribute_count {
                        self.attributes.push(Default::default());
                    }
                    let (key, value) = &mut self.attributes[self.attribute_count];
                    key.clear();
                    key.extend_from_slice(name);
                    value.clear();
                    self.attribute_count += 1;
                }
            }
            CallbackEvent::AttributeValue { value } => {
                if self.takes_value {
                    self.attributes[self.attribute_count - 1].1.extend_from_slice(value);
                }
            }
            CallbackEvent::CloseStartTag { self_closing } => {
                self.is_in_tag = false;
                return self.start(*self_closing);
            }
            CallbackEvent::EndTag { name } => {
                self.is_in_tag = false;
                self.end(name);
            }
            CallbackEvent::String { value } => self.add_text(value),
            CallbackEvent::Comment { .. } | CallbackEvent::Doctype { .. } | CallbackEvent::Error(_) => {}
        }
        None
    }

    /// A start tag has been read. What is in some elements is not HTML: the state to read it in.
    fn start(&mut self, self_closing: bool) -> Option<State> {
        let name = std::mem::take(&mut self.tag);
        let is_root = matches!(name.as_slice(), b"html" | b"head" | b"body");
        if is_root && self.open.iter().any(|open| open.name == name) {
            return None;
        }
        self.end_implied(&name);
        let attributes = std::mem::take(&mut self.attributes);
        let element = Element { name: &name, attributes: &attributes[..self.attribute_count] };
        let around = self.open.last().is_some_and(|open| open.is_foreign);
        let is_foreign = (around && name != b"foreignobject") || matches!(name.as_slice(), b"svg" | b"math");
        let is_void = if is_foreign { self_closing } else { VOID.contains(&name.as_slice()) };
        self.mixed.look(element);
        let first_reading = self.readings.len();
        self.match_watches(element, around);
        self.attributes = attributes;
        if is_void {
            self.finish_readings(first_reading);
            self.reached.truncate((self.open.len() + 1) * self.paths);
            return None;
        }
        let state = match name.as_slice() {
            _ if is_foreign => None,
            b"title" | b"textarea" => Some(State::RcData),
            b"style" | b"xmp" | b"iframe" | b"noembed" | b"noframes" | b"noscript" => Some(State::RawText),
            b"script" => Some(State::ScriptData),
            b"plaintext" => Some(State::PlainText),
            _ => None,
        };
        if self.open.len() < MAX_DEPTH {
            self.paragraphs += usize::from(name == b"p");
            self.open.push(Open { name, is_foreign });
        } else {
            self.deeper += 1;
            self.reached.truncate((self.open.len() + 1) * self.paths);
        }
        state
    }

    /// Notes which watches an element is for, and adds a row of what it has reached.
    fn match_watches(&mut self, element: Element<'_>, is_foreign: bool) {
        let depth = self.open.len() + 1;
        let mut outer = self.reached.len() - self.paths;
        for (index, (watch, note)) in self.watches.iter().zip(&mut self.notes).enumerate() {
            let mut is_meant = false;
            for path in &watch.selector.paths {
                let (reached, is_end) = path.enter(&mut self.reached[outer], element);
                self.reached.push(reached);
                outer += 1;
                is_meant |= is_end;
            }
            // An image's title is not the page's, nor is a second one.
            if !is_meant || watch.is_title && (is_foreign || note.count > 0) {
                continue;
            }
            note.see(element);
            if watch.text.is_some() && !note.is_satisfied {
                self.readings.push(Reading { watch: index, depth, start: self.text.len() });
            }
        }
    }

    /// An end tag has been read: it ends its element and all that is open in it.
    fn end(&mut self, name: &[u8]) {
        if self.deeper > 0 {
            self.deeper -= 1;
            return;
        }
        let is_of_table =
            matches!(name, b"table" | b"tr" | b"td" | b"th" | b"tbody" | b"thead" | b"tfoot" | b"caption");
        let scope = if is_of_table { &TABLE_SCOPE[..] } else { &SCOPE[..] };
        let Some(at) = self.find(&[name], scope) else { return };
        let is_late = FORMATTING.contains(&name)
            && self.open[at + 1..].iter().any(|open| !FORMATTING.contains(&open.name.as_slice()));
        if !is_late {
            self.close(at);
        }
    }

    /// Ends what the start of an element ends though no end tag was written.
    fn end_implied(&mut self, name: &[u8]) {
        let (ended, scope): (&[&[u8]], &[&[u8]]) = match name {
            b"li" => (&[b"li"], &[b"ul", b"ol", b"menu", b"table", b"html"]),
            b"dt" | b"dd" => (&[b"dt", b"dd"], &[b"dl", b"table", b"html"]),
            b"option" => (&[b"option"], &[b"select", b"datalist", b"optgroup"]),
            b"optgroup" => (&[b"option", b"optgroup"], &[b"select"]),
            b"td" | b"th" => (&[b"td", b"th"], &[b"tr", b"table", b"template"]),
            b"tr" => (&[b"tr", b"caption", b"colgroup"], &TABLE_SCOPE),
            b"tbody" | b"thead" | b"tfoot" => {
                (&[b"tbody", b"thead", b"tfoot", b"tr", b"caption", b"colgroup"], &TABLE_SCOPE)
            }
            b"body" => (&[b"head"], &[]),
            _ => (&[], &[]),
        };
        while let Some(at) = self.find(ended, scope) {
            self.close(at);
        }
        if self.paragraphs > 0
            && ENDS_PARAGRAPH.contains(&name)
            && let Some(at) = self.find(&[b"p"], &SCOPE)
        {
            self.close(at);
        }
    }

    /// The innermost open element of one of these names, no further out than one of the scope.
    fn find(&self, names: &[&[u8]], scope: &[&[u8]]) -> Option<usize> {
        for (at, open) in self.open.iter().enumerate().rev() {
            if names.contains(&open.name.as_slice()) {
                return Some(at);
            }
            if scope.contains(&open.name.as_slice()) {
                return None;
            }
        }
        None
    }

    /// Closes open elements until so many are left.
    fn close(&mut self, left: usize) {
        self.deeper = 0;
        let ended = self.open.drain(left..);
        self.paragraphs -= ended.filter(|open| open.name == b"p").count();
        self.reached.truncate((left + 1) * self.paths);
        let first = self.readings.partition_point(|reading| reading.depth <= left);
        self.finish_readings(first);
    }

    /// Compares the texts that are complete.
    fn finish_readings(&mut self, first: usize) {
        for reading in self.readings.drain(first..).rev() {
            let note = &mut self.notes[reading.watch];
            let Some(wanted) = &self.watches[reading.watch].text else { continue };
            let text = &self.text[reading.start..];
            let text = text[..text.floor_char_boundary(MAX_TEXT)].trim_ascii().as_bytes();
            self.compared_bytes += text.len();
            if self.compared_bytes > MAX_COMPARED {
                self.is_exhausted = true;
            } else {
                note.read(text, wanted);
            }
        }
        if self.readings.is_empty() {
            self.text.clear();
        }
    }

    /// Keeps a text where one is being read. Scripts and styles have none.
    fn add_text(&mut self, value: &[u8]) {
        let is_code =
            self.open.last().is_some_and(|open| matches!(open.name.as_slice(), b"script" | b"style"));
        if self.readings.is_empty() || is_code {
            return;
        }
        // A space without break looks like any other.
        for character in String::from_utf8_lossy(value).chars() {
            if !character.is_whitespace() {
                self.text.push(character);
            } else if !self.text.is_empty() && !self.text.ends_with(' ') {
                self.text.push(' ');
            }
        }
    }
}
