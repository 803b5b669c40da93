//! Groups of targets as Prometheus' service discoveries have them: a JSON array of
//! `{ "targets": ["host:port"], "labels": { "team": "core" } }`. Groups are read one at a time, and a wrong one
//! does not hide the next.

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use ::url::Url;
use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::collect::Collector;
use super::json::Json;
use super::lines::{Cursor, Tracked, skip_mark};
use super::problem::{Place, SourceProblem, UnknownWord};
use super::target::TargetText;
use super::url::printable_url;

const KEYS: &[&str] = &["targets", "labels"];
const GROUP_HINT: &str = "a group is { \"targets\": [\"host:port\"], \"labels\": { \"team\": \"core\" } }";
/// Labels that make the URL.
const SCHEME: &str = "__scheme__";
const PATH: &str = "__metrics_path__";
const PARAMETER: &str = "__param_";

/// Reads a document. The error says why it cannot be read as a whole; what came before stays with the collector.
pub(super) fn read<R: Read>(
    reader: R,
    file: &Arc<Path>,
    most_bytes: usize,
    collector: &mut Collector,
) -> Result<(), SourceProblem> {
    let cursor = Cursor::with_bound(most_bytes);
    let place = |line, column| Place { file: Arc::clone(file), line, column };
    let reader = skip_mark(reader)
        .map_err(|error| SourceProblem::new(place(1, None), format!("reading stopped: {error}")))?;
    let mut json = serde_json::Deserializer::from_reader(Tracked::new(reader, &cursor));
    let groups = Groups(Reading { file, cursor: &cursor, collector });
    let Err(error) = groups.deserialize(&mut json).and_then(|()| json.end()) else { return Ok(()) };
    if cursor.is_blank() {
        let hint = "a document without targets is []";
        return Err(SourceProblem::new(place(1, None), "the document is empty").hint(hint));
    }
    let column = u32::try_from(error.column()).ok().filter(|column| *column > 0);
    let line = u32::try_from(error.line()).unwrap_or(u32::MAX).max(1);
    Err(super::json::broken(&error, place(line, column), "an array of groups", GROUP_HINT))
}

/// What reading needs on every level.
struct Reading<'a> {
    file: &'a Arc<Path>,
    cursor: &'a Cursor,
    collector: &'a mut Collector,
}

impl Reading<'_> {
    /// Where the value stands whose first byte the parser has looked at.
    fn here(&self) -> Place {
        let column = Some(self.cursor.column().max(1));
        Place { file: Arc::clone(self.file), line: self.cursor.line(), column }
    }

    fn problem(&mut self, place: &Place, what: impl Into<String>) {
        self.collector.problem(SourceProblem::new(place.clone(), what).hint(GROUP_HINT));
    }
}

/// The array at the top.
struct Groups<'a>(Reading<'a>);

impl<'de> DeserializeSeed<'de> for Groups<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Groups<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of groups")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut groups: A) -> Result<(), A::Error> {
        let Reading { file, cursor, collector } = self.0;
        while groups.next_element_seed(Group(Reading { file, cursor, collector }))?.is_some() {}
        Ok(())
    }
}

/// What a visitor does with values of the kinds that it does not want.
macro_rules! of_another_kind {
    () => {
        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok(self.wrong("text"))
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(self.wrong("true or false"))
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok(self.wrong("a number"))
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok(self.wrong("a number"))
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(self.wrong("a number"))
        }
    };
}

/// One group.
struct Group<'a>(Reading<'a>);

impl<'de> DeserializeSeed<'de> for Group<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self(reading) = self;
        let place = reading.here();
        deserializer.deserialize_any(GroupVisitor { reading, place })
    }
}

struct GroupVisitor<'a> {
    reading: Reading<'a>,
    place: Place,
}

impl GroupVisitor<'_> {
    fn wrong(mut self, kind: &str) {
        self.reading.problem(&self.place, format!("the group is {kind}"));
    }
}

impl<'de> Visitor<'de> for GroupVisitor<'_> {
    type Value = ();

    fn visit_unit<E>(self) -> Result<(), E> {
        self.wrong("null");
        Ok(())
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a group")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        let mut targets = Vec::new();
        let mut labels = Vec::new();
        let mut whole = true;
        while let Some(key) = entries.next_key::<String>()? {
            match key.as_str() {
                "targets" => {
                    let Reading { file, cursor, collector } = &mut self.reading;
                    let reading = Reading { file, cursor, collector };
                    let place = self.place.clone();
                    targets.extend(entries.next_value_seed(Targets { reading, place })?);
                }
                "labels" => match entries.next_value::<Json>()? {
                    Json::Object(found) => labels.extend(found),
                    Json::Null => {}
                    other => {
                        self.reading
                            .problem(&self.place, format!("\"labels\" is {}, not an object", other.kind()));
                        whole = false;
                    }
                },
                _ => {
                    entries.next_value::<IgnoredAny>()?;
                    let word = printable_url(&key);
                    let problem = SourceProblem::new(
                        self.place.clone(),
                        format!("unknown key \"{word}\" in the group"),
                    );
                    let unknown = Some(Box::new(UnknownWord { word, known: KEYS }));
                    self.reading.collector.problem(SourceProblem { unknown, ..problem.hint(GROUP_HINT) });
                    whole = false;
                }
            }
        }
        // A target without labels that it should have would be another one.
        if let (Some(labels), true) = (texts(labels, &self.place, &mut self.reading), whole) {
            let group = Labels::new(labels);
            for (target, place) in targets {
                let url = group.url_of(&target);
                let labels = group.kept.clone();
                self.reading.collector.add(TargetText { url, name: None, every: None, labels, place });
            }
        }
        Ok(())
    }

    of_another_kind!();

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        self.wrong("an array");
        Ok(())
    }
}

/// The labels, all of them texts; none where one is not, which is told.
fn texts(
    labels: Vec<(String, Json)>,
    place: &Place,
    reading: &mut Reading<'_>,
) -> Option<Vec<(String, String)>> {
    let mut texts = Vec::with_capacity(labels.len());
    let mut whole = true;
    for (name, value) in labels {
        if let Json::Text(value) = value {
            texts.push((name, value));
        } else {
            let what = format!("label \"{}\" is {}, not text", printable_url(&name), value.kind());
            let problem = SourceProblem::new(place.clone(), what).hint("put quotes around it");
            reading.collector.problem(problem);
            whole = false;
        }
    }
    whole.then_some(texts)
}

/// The array of targets of a group.
struct Targets<'a> {
    reading: Reading<'a>,
    /// Where the group stands.
    place: Place,
}

impl<'de> DeserializeSeed<'de> for Targets<'_> {
    type Value = Vec<(String, Place)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Targets<'_> {
    fn wrong(mut self, kind: &str) -> Vec<(String, Place)> {
        self.reading.problem(&self.place, format!("\"targets\" is {kind}, not an array"));
        Vec::new()
    }
}

impl<'de> Visitor<'de> for Targets<'_> {
    type Value = Vec<(String, Place)>;

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        // Programs write null for an empty list.
        Ok(Vec::new())
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of targets")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut targets = Vec::new();
        while let Some((item, place)) = items.next_element_seed(Element(&self.reading))? {
            match item {
                Json::Text(target) => targets.push((target, place)),
                other => self.reading.problem(&place, format!("a target is {}, not text", other.kind())),
            }
        }
        Ok(targets)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self.wrong("an object"))
    }

    of_another_kind!();
}

/// One target of a group.
struct Element<'e, 'a>(&'e Reading<'a>);

impl<'de> DeserializeSeed<'de> for Element<'_, '_> {
    type Value = (Json, Place);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let place = self.0.here();
        Ok((Json::deserialize(deserializer)?, place))
    }
}

/// The labels of a group: what makes URLs, and what targets keep.
struct Labels {
    scheme: String,
    path: Option<String>,
    /// By their names.
    parameters: Vec<(String, String)>,
    kept: Vec<(String, String)>,
}

impl Labels {
    fn new(labels: Vec<(String, String)>) -> Self {
        let mut group =
            Self { scheme: "http".to_owned(), path: None, parameters: Vec::new(), kept: Vec::new() };
        for (name, value) in labels {
            match name.as_str() {
                SCHEME => group.scheme = value,
                PATH => group.path = Some(value),
                _ if !name.starts_with("__") => group.kept.push((name, value)),
                // Relabelling is Prometheus' own, and so are the labels that are for it.
                _ => {
                    if let Some(parameter) = name.strip_prefix(PARAMETER) {
                        group.parameters.push((parameter.to_owned(), value));
                    }
                }
            }
        }
        group.parameters.sort();
        group
    }

    /// The URL of a target; what is wrong with it is found when it is checked.
    fn url_of(&self, target: &str) -> String {
        let target = target.trim_matches(' ');
        if target.is_empty() || target.contains("://") {
            return target.to_owned();
        }
        let text = format!("{}://{target}", self.scheme);
        if target.contains(['/', '?', '#']) || (self.path.is_none() && self.parameters.is_empty()) {
            return text;
        }
        let Ok(mut url) = Url::parse(&text) else { return text };
        url.set_path(self.path.as_deref().unwrap_or("/"));
        if !self.parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.parameters);
        }
        url.into()
    }
}
