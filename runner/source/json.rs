//! `.json`, an array of items, and `.jsonl`, an item a line. An item is a URL or an object. Items are read
//! one at a time, and a wrong one does not hide the next.

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::collect::Collector;
use super::lines::{Cursor, Line, Lines, Tracked, skip_mark};
use super::problem::{Place, SourceProblem, UnknownWord};
use super::target::{TARGET_KEYS, TargetText};
use super::url::printable_url;

const ITEM_HINT: &str = "an item is \"https://...\" or { \"url\": \"https://...\", \"name\": \"...\" }";

/// Reads `.json`.
pub(super) fn read<R: Read>(reader: R, file: &Arc<Path>, collector: &mut Collector) {
    let cursor = Cursor::new();
    let reader = match skip_mark(reader) {
        Ok(reader) => Tracked::new(reader, &cursor),
        Err(error) => {
            let place = Place { file: Arc::clone(file), line: 1, column: None };
            collector.problem(SourceProblem::new(place, format!("reading stopped: {error}")));
            return;
        }
    };
    let mut json = serde_json::Deserializer::from_reader(reader);
    let items = Items { file, cursor: &cursor, collector };
    if let Err(error) = items.deserialize(&mut json).and_then(|()| json.end()) {
        if cursor.is_blank() {
            return; // An empty file: the caller says so.
        }
        let column = u32::try_from(error.column()).ok().filter(|column| *column > 0);
        let line = u32::try_from(error.line()).unwrap_or(u32::MAX).max(1);
        let place = Place { file: Arc::clone(file), line, column };
        let hint = "put [ ] around the items; one item a line is .jsonl";
        collector.problem(broken(&error, place, "an array of targets", hint));
    }
}

/// Reads `.jsonl`.
pub(super) fn read_lines<R: Read>(reader: R, file: &Arc<Path>, collector: &mut Collector) {
    let place = |line, column| Place { file: Arc::clone(file), line, column };
    let stopped = |line, error: &std::io::Error| {
        SourceProblem::new(place(line, None), format!("reading stopped: {error}"))
    };
    let mut lines = match Lines::new(reader) {
        Ok(lines) => lines,
        Err(error) => return collector.problem(stopped(1, &error)),
    };
    loop {
        let number = lines.number() + 1;
        match lines.next() {
            Ok(None) => return,
            Ok(Some(Line::Unreadable(why))) => {
                collector.problem(SourceProblem::new(place(number, None), why));
            }
            Ok(Some(Line::Text(line))) if line.trim().is_empty() => {}
            Ok(Some(Line::Text(line))) => read_line(line, &place(number, Some(indent(line))), collector),
            Err(error) => return collector.problem(stopped(number, &error)),
        }
    }
}

/// Reads one item that stands on a line; its place names where it begins.
pub(super) fn read_line(line: &str, place: &Place, collector: &mut Collector) {
    match serde_json::from_str::<Json>(line) {
        Ok(item) => add(item, place, collector),
        Err(error) => {
            let column = u32::try_from(error.column()).ok().filter(|column| *column > 0);
            let place = Place { column, ..place.clone() };
            collector.problem(broken(&error, place, "an item", ITEM_HINT));
        }
    }
}

/// The column at which the text of a line begins, from 1.
fn indent(line: &str) -> u32 {
    (line.len() - line.trim_start().len()) as u32 + 1
}

/// A problem after which the parser can't go on.
pub(super) fn broken(error: &serde_json::Error, place: Place, wanted: &str, hint: &str) -> SourceProblem {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    match error.classify() {
        Category::Io => SourceProblem::new(place, format!("reading stopped: {what}")),
        // Items take any value, so this is the top. The parser's own message would quote it.
        Category::Data => SourceProblem::new(place, format!("this is not {wanted}")).hint(hint),
        // These messages quote nothing of the file.
        Category::Syntax | Category::Eof => SourceProblem::new(place, format!("this is not JSON: {what}")),
    }
}

/// The array at the top of a file.
struct Items<'a> {
    file: &'a Arc<Path>,
    cursor: &'a Cursor,
    collector: &'a mut Collector,
}

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of targets")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { file, cursor, collector } = self;
        while items.next_element_seed(Item { file, cursor, collector })?.is_some() {}
        Ok(())
    }
}

/// One item of the array.
struct Item<'a> {
    file: &'a Arc<Path>,
    cursor: &'a Cursor,
    collector: &'a mut Collector,
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // The parser has looked at the item's first byte and no further: the cursor stands on it.
        self.cursor.item_begins();
        let place = Place {
            file: Arc::clone(self.file),
            line: self.cursor.line(),
            column: Some(self.cursor.column().max(1)),
        };
        let item = Json::deserialize(deserializer)?;
        add(item, &place, self.collector);
        Ok(())
    }
}

/// Any JSON value, as far as items need it.
#[derive(Debug)]
pub(super) enum Json {
    Null,
    Text(String),
    /// Keys in their order, repeated ones included.
    Object(Vec<(String, Json)>),
    /// What it is, for messages.
    Other(&'static str),
}

impl Json {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Text(_) => "text",
            Self::Object(_) => "an object",
            Self::Other(kind) => kind,
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::Text(text))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other("true or false"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Other("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other("a number"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Json::Other("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            object.push(entry);
        }
        Ok(Json::Object(object))
    }
}

/// Hands an item on, or all that is wrong with its shape.
fn add(item: Json, place: &Place, collector: &mut Collector) {
    let mut problems = Vec::new();
    let mut target =
        TargetText { url: String::new(), name: None, every: None, labels: Vec::new(), place: place.clone() };
    match item {
        Json::Text(url) => target.url = url,
        Json::Object(entries) => read_object(entries, &mut target, &mut problems),
        other => {
            let what = format!("the item is {}", other.kind());
            problems.push(SourceProblem::new(place.clone(), what).hint(ITEM_HINT));
        }
    }
    if problems.is_empty() {
        collector.add(target);
    }
    for problem in problems {
        collector.problem(problem);
    }
}

fn read_object(entries: Vec<(String, Json)>, target: &mut TargetText, problems: &mut Vec<SourceProblem>) {
    let mut seen: Vec<String> = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let place = target.place.clone();
        if seen.contains(&key) {
            let what = format!("key \"{}\" is given twice", printable_url(&key));
            problems.push(SourceProblem::new(place, what).hint("remove one"));
            continue;
        }
        match (key.as_str(), value) {
            // Programs write null for what is absent.
            ("name" | "every" | "labels", Json::Null) => {}
            ("url", Json::Text(url)) => target.url = url,
            ("name", Json::Text(name)) => target.name = Some(name),
            ("every", Json::Text(every)) => target.every = Some(every),
            ("labels", Json::Object(labels)) => read_labels(labels, target, problems),
            ("labels", other) => {
                let what = format!("\"labels\" is {}, not an object", other.kind());
                problems.push(SourceProblem::new(place, what).hint("write { \"team\": \"core\" }"));
            }
            ("every", other) => {
                let what = format!("\"every\" is {}, not text", other.kind());
                problems.push(SourceProblem::new(place, what).hint("write it with its unit, \"30s\""));
            }
            ("url" | "name", other) => {
                let what = format!("\"{key}\" is {}, not text", other.kind());
                problems.push(SourceProblem::new(place, what));
            }
            _ => {
                let word = printable_url(&key);
                let problem = SourceProblem::new(place, format!("unknown key \"{word}\""))
                    .hint("the keys are url, name, every and labels");
                let unknown = Some(Box::new(UnknownWord { word, known: TARGET_KEYS }));
                problems.push(SourceProblem { unknown, ..problem });
            }
        }
        seen.push(key);
    }
    if !seen.iter().any(|key| key == "url") {
        let problem = SourceProblem::new(target.place.clone(), "the item has no \"url\"");
        problems.push(problem.hint(ITEM_HINT));
    }
}

fn read_labels(labels: Vec<(String, Json)>, target: &mut TargetText, problems: &mut Vec<SourceProblem>) {
    for (name, value) in labels {
        match value {
            Json::Null => {}
            Json::Text(value) => target.labels.push((name, value)),
            other => {
                let what = format!("label \"{}\" is {}, not text", printable_url(&name), other.kind());
                problems.push(SourceProblem::new(target.place.clone(), what).hint("put quotes around it"));
            }
        }
    }
}
