//! Reads the targets of a pipeline from its sources.

mod supplies;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Site, place_in};
use crate::config::{Code, Diagnostic, Diagnostics, Level, Located, Place, did_you_mean, parse_duration};
use crate::model::Target;
use crate::pipeline::SupplyPlan;
use crate::pipeline::config::PipelineText;
use crate::source::{
    self, FileSdSource, FileSdText, FileSource, FileText, ListSource, ListText, Problems, Source,
    SourceProblem, SourceText, TargetEntry, TargetText,
};

/// What the sources of a pipeline gave.
pub(super) struct LoadedTargets {
    /// The targets of its static sources.
    pub(super) targets: Vec<Arc<Target>>,
    /// Its dynamic sources.
    pub(super) supplies: Vec<Arc<SupplyPlan>>,
}

pub(super) use supplies::one_stdin;

pub(super) fn load(
    text: &PipelineText,
    site: Site<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<LoadedTargets> {
    if text.sources.is_empty() {
        // Sources that are wrong have been told of already.
        if diagnostics.has_errors() {
            return None;
        }
        diagnostics.add(
            Diagnostic::error(
                Code::NoTargets,
                Place::file(site.document.path()),
                "there is nothing to probe",
            )
            .hint("add [[sources]] and, on the next line, targets = [\"https://…\"]"),
        );
        return None;
    }
    // A list that is empty only because its items are wrong has been told of.
    let known_wrong = diagnostics.has_errors();
    let is_told = |source: &SourceText| matches!(source, SourceText::List(list) if known_wrong && list.targets.value.is_empty());
    let sources: Vec<Source> = text
        .sources
        .iter()
        .filter(|source| !is_told(&source.value))
        .filter_map(|source| {
            let place = source_place(site, source.span.as_ref());
            match &source.value {
                SourceText::List(list) => Some(Source::List(list_source(list, site))),
                SourceText::File(file) => Some(Source::File(file_source(file, place, site))),
                SourceText::FileSd(files) => Some(Source::FileSd(file_sd_source(files, site))),
                SourceText::HttpSd(_) | SourceText::Listing(_) | SourceText::Stdin(_) => None,
            }
        })
        .collect();
    let loaded = source::load(&sources, interval);
    loaded.inputs.iter().for_each(|path| site.inputs.note(path));
    let supplies = supplies::plan(text, site, diagnostics);
    let failed = !loaded.problems.is_empty() || supplies.is_none();
    tell(Level::Error, loaded.problems, site, diagnostics);
    tell(Level::Warning, loaded.warnings, site, diagnostics);
    let supplies = supplies.filter(|_| !failed)?;
    Some(LoadedTargets { targets: loaded.targets.into_iter().map(Arc::new).collect(), supplies })
}

/// Reads an interval; a target list shows no place within its line, so the message names the value.
fn interval(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|reason| format!("every = \"{text}\": {reason}"))
}

fn list_source(list: &ListText, site: Site<'_>) -> ListSource {
    let targets = list.targets.value.iter().map(|entry| {
        let span = match &entry.value {
            TargetEntry::Url(_) => entry.span.as_ref(),
            TargetEntry::Table(table) => table.url.span.as_ref(),
        };
        let place = source_place(site, span);
        match &entry.value {
            TargetEntry::Url(url) => {
                TargetText { url: url.clone(), name: None, every: None, labels: Vec::new(), place }
            }
            TargetEntry::Table(table) => TargetText {
                url: table.url.value.clone(),
                name: table.name.clone(),
                every: table.every.as_ref().map(|every| every.value.clone()),
                labels: table.labels.clone().into_iter().collect(),
                place,
            },
        }
    });
    ListSource { targets: targets.collect(), place: source_place(site, list.targets.span.as_ref()) }
}

fn file_source(file: &FileText, fallback: source::Place, site: Site<'_>) -> FileSource {
    let place = file.path.span.as_ref().map_or(fallback, |span| source_place(site, Some(span)));
    let path = site.base.join(&file.path.value);
    site.inputs.note(&path);
    FileSource { path: path.into(), place }
}

fn file_sd_source(text: &FileSdText, site: Site<'_>) -> FileSdSource {
    let named =
        |file: &Located<String>| (site.base.join(&file.value), source_place(site, file.span.as_ref()));
    let files = text.files.value.iter().map(named).collect();
    FileSdSource { files, place: source_place(site, text.files.span.as_ref()) }
}

/// A place in the pipeline file, as sources name places.
fn source_place(site: Site<'_>, span: Option<&std::ops::Range<usize>>) -> source::Place {
    let file: Arc<Path> = site.document.path().into();
    let (line, column) = span.map_or((1, 1), |span| site.document.line_and_column(span));
    source::Place { file, line: line as u32, column: Some(column as u32) }
}

fn tell(level: Level, problems: Problems, site: Site<'_>, diagnostics: &mut Diagnostics) {
    let beyond = problems.beyond;
    let last = problems.list.last().map(|problem| problem.place.clone());
    for problem in problems.list {
        diagnostics.add(diagnostic(level, problem, site));
    }
    if let (1.., Some(last)) = (beyond, last) {
        let place = Place::line_of(last.file, 0, 0);
        let message = format!("{beyond} more problems like these");
        diagnostics.add(Diagnostic::new(level, Code::BadTarget, place, message));
    }
}

fn diagnostic(level: Level, problem: SourceProblem, site: Site<'_>) -> Diagnostic {
    let code = if problem.is_duplicate { Code::DuplicateTarget } else { Code::BadTarget };
    let column = problem.place.column.unwrap_or(0) as usize;
    let place = place_in(site, &problem.place.file, problem.place.line as usize, column);
    let near = problem.unknown.as_ref().and_then(|unknown| {
        did_you_mean(&unknown.word, unknown.known.iter().copied())
            .map(|near| format!("did you mean \"{near}\"?"))
    });
    let made = Diagnostic::new(level, code, place, problem.what);
    match near.or(problem.hint) {
        Some(hint) => made.hint(hint),
        None => made,
    }
}
