//! Where all items of all sources meet: checked, shared, and each name kept once.

use std::borrow::Cow;
use std::hash::BuildHasher as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::model::Target;

use super::intern::Interner;
use super::problem::{Place, Problems, SourceProblem};
use super::target::{Checked, TargetText, check};
use super::url::printable_url;
use super::{Loaded, ParseDuration};

/// Takes items one by one, so that a file of a million lines is never held as text.
pub(super) struct Collector {
    parse_duration: ParseDuration,
    interner: Interner,
    targets: Vec<Target>,
    /// Where each of `targets` is written, to name both places of a pair.
    spots: Vec<Spot>,
    files: Vec<Arc<Path>>,
    /// Indices of `targets`.
    by_name: HashTable<u32>,
    hasher: DefaultHashBuilder,
    problems: Problems,
    warnings: Problems,
    /// Items seen, good or bad.
    items: usize,
    /// The most targets that are kept.
    most: usize,
    inputs: Vec<PathBuf>,
    /// Labels of every item that has none of that name.
    default_labels: Vec<(String, String)>,
}

/// A [`Place`] in 12 bytes: there may be a million.
#[derive(Debug, Clone, Copy)]
struct Spot {
    /// Index in `files`.
    file: u32,
    line: u32,
    /// 0 where it is not known.
    column: u32,
}

impl Collector {
    pub(super) fn new(parse_duration: ParseDuration) -> Self {
        Self {
            parse_duration,
            interner: Interner::default(),
            targets: Vec::new(),
            spots: Vec::new(),
            files: Vec::new(),
            by_name: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            problems: Problems::default(),
            warnings: Problems::default(),
            items: 0,
            most: usize::MAX,
            inputs: Vec::new(),
            default_labels: Vec::new(),
        }
    }

    /// With labels that every item gets, unless it has them itself.
    pub(super) fn with_labels(parse_duration: ParseDuration, labels: &[(String, String)]) -> Self {
        Self { default_labels: labels.to_owned(), ..Self::new(parse_duration) }
    }

    /// With a bound on the targets: those beyond it are problems.
    pub(super) fn bounded(parse_duration: ParseDuration, most: usize) -> Self {
        Self { most, ..Self::new(parse_duration) }
    }

    /// Notes a file that is read, or a folder that is looked through.
    pub(super) fn input(&mut self, path: &Path) {
        self.inputs.push(path.to_owned());
    }

    /// Takes an item as it is written.
    pub(super) fn add(&mut self, mut text: TargetText) {
        for (name, value) in &self.default_labels {
            if !text.labels.iter().any(|(known, _)| known == name) {
                text.labels.push((name.clone(), value.clone()));
            }
        }
        self.items += 1;
        if self.targets.len() >= self.most {
            let what = format!("there are more than {} targets; this one is left out", self.most);
            self.problems.push(SourceProblem::new(text.place, what));
            return;
        }
        match check(text, self.parse_duration) {
            Ok(checked) => self.keep(checked),
            Err(problems) => problems.into_iter().for_each(|problem| self.problems.push(problem)),
        }
    }

    /// Takes what is wrong with a source or with an item that could not even be read as one.
    pub(super) fn problem(&mut self, problem: SourceProblem) {
        self.items += 1;
        self.problems.push(problem);
    }

    /// Items and problems taken so far: a source that adds none has no targets.
    pub(super) fn items(&self) -> usize {
        self.items
    }

    /// Tells what the user should know and may leave.
    pub(super) fn warning(&mut self, problem: SourceProblem) {
        self.warnings.push(problem);
    }

    pub(super) fn finish(mut self) -> Loaded {
        self.targets.shrink_to_fit();
        let Self { targets, problems, warnings, inputs, .. } = self;
        Loaded { targets, problems, warnings, inputs }
    }

    fn keep(&mut self, checked: Checked) {
        let Checked { name, url, every, labels, place } = checked;
        let labels = self.interner.labels(&labels);
        let hash = self.hasher.hash_one(name.as_deref().unwrap_or(&url));
        let has_name = |index: &u32| *self.targets[*index as usize].name == *name.as_deref().unwrap_or(&url);
        if let Some(index) = self.by_name.find(hash, has_name) {
            let index = *index as usize;
            let kept = &self.targets[index];
            let same_url = kept.url.as_ref() == url;
            let same_settings = kept.every == every && kept.labels == labels;
            self.report_pair(index, &place, same_url, same_settings);
            return;
        }
        let url: Arc<str> = Arc::from(url);
        let name = name.map_or_else(|| Arc::clone(&url), Arc::from);
        let spot = self.spot(&place);
        let Self { by_name, hasher, targets, .. } = self;
        by_name.insert_unique(hash, targets.len() as u32, |index| {
            hasher.hash_one(&*targets[*index as usize].name)
        });
        self.targets.push(Target { name, url, labels, every });
        self.spots.push(spot);
    }

    fn report_pair(&mut self, index: usize, second: &Place, same_url: bool, same_settings: bool) {
        let name = shown_name(&self.targets[index].name);
        let first = self.place(index);
        let second = second.clone();
        if !same_url {
            let what = format!("two targets are named \"{name}\", the first at {first}");
            self.problems
                .push(SourceProblem::new(second, what).duplicate().hint("give each a name of its own"));
        } else if same_settings {
            let what = format!("\"{name}\" is listed twice, first at {first}; it is probed once");
            self.warnings.push(SourceProblem::new(second, what).duplicate().hint("remove one"));
        } else {
            let what = format!(
                "\"{name}\" is listed twice with different \"every\" or \"labels\", first at {first}; \
                 the first counts"
            );
            let hint = "remove one, or give each a name of its own to probe it twice";
            self.warnings.push(SourceProblem::new(second, what).duplicate().hint(hint));
        }
    }

    fn spot(&mut self, place: &Place) -> Spot {
        if self.files.last() != Some(&place.file) {
            self.files.push(Arc::clone(&place.file));
        }
        let file = self.files.len() as u32 - 1;
        Spot { file, line: place.line, column: place.column.unwrap_or(0) }
    }

    fn place(&self, index: usize) -> Place {
        let Spot { file, line, column } = self.spots[index];
        let column = (column > 0).then_some(column);
        Place { file: Arc::clone(&self.files[file as usize]), line, column }
    }
}

/// A name as it is, unless it is a URL: that may hold a secret.
fn shown_name(name: &str) -> Cow<'_, str> {
    if name.contains("://") { Cow::Owned(printable_url(name)) } else { Cow::Borrowed(name) }
}
