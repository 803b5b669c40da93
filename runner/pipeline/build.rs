//! From a file to ready stages: everything is read, checked, compiled and configured, and nothing is
//! started. All problems are told at once.

mod checks;
mod request;
mod sinks;
mod targets;

use std::hash::Hasher as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;
use twox_hash::XxHash3_64;

pub use checks::Workshop;
pub use sinks::{ParquetPlan, SinkPlan};

use super::config::PipelineText;
use super::files::{self, PipelineFile};
use crate::check::CheckSet;
use crate::config::{Code, Context, Diagnostic, Diagnostics, Document, FromValue as _, Level, Place};
use crate::fetch::Request;
use crate::model::Target;

/// A pipeline, whole and ready, not started.
#[derive(Debug)]
pub struct Built {
    /// The pipeline's name.
    pub name: Arc<str>,
    /// 16 hex digits of the resolved configuration, secrets left out.
    pub generation: Arc<str>,
    /// What is probed.
    pub targets: Vec<Arc<Target>>,
    /// How often a target without an interval of its own is probed.
    pub every: Duration,
    /// How each target is asked.
    pub request: Request,
    /// What judges each exchange.
    pub checks: Arc<CheckSet>,
    /// Where results go.
    pub sinks: SinkPlan,
}

impl Built {
    /// How often a target is probed.
    pub fn every(&self, target: &Target) -> Duration {
        target.every.unwrap_or(self.every)
    }
}

/// Finds, reads and builds all pipelines that the paths name. What is returned can be run, even where
/// other files have errors.
pub fn build_all(paths: &[PathBuf], workshop: &Workshop, diagnostics: &mut Diagnostics) -> Vec<Built> {
    let files = files::find(paths, diagnostics);
    let mut built = Vec::new();
    for file in &files {
        let mut found = Diagnostics::default();
        let pipeline = build(file, workshop, &mut found);
        // A pipeline is either whole or not there.
        if let Some(pipeline) = pipeline
            && !found.has_errors()
        {
            built.push(pipeline);
        }
        diagnostics.absorb(found);
    }
    sinks::compare(&built, diagnostics);
    built
}

/// Reads and builds one pipeline.
pub fn build(file: &PipelineFile, workshop: &Workshop, diagnostics: &mut Diagnostics) -> Option<Built> {
    let document = Document::read(&file.path, diagnostics)?;
    let text = read(&document, diagnostics)?;
    let base = document.path().parent().unwrap_or(Path::new("")).to_owned();
    let site = Site { document: &document, base: &base };

    let every = schedule(&text, site, diagnostics);
    let targets = targets::load(&text, site, diagnostics);
    let request = request::build(&text.request, site, diagnostics);
    let checks = checks::build(&text, &file.name, site, workshop, diagnostics);
    let sinks = sinks::plan(&text, site, diagnostics);

    let (targets, checks) = (targets?, checks?);
    let generation = generation(&text, &targets, &checks.fingerprint);
    Some(Built {
        name: Arc::clone(&file.name),
        generation,
        targets,
        every: every?,
        request: request?,
        checks: Arc::new(checks.set),
        sinks: sinks?,
    })
}

/// What the parts of a file need to be read: the file, and the folder that inputs are relative to.
#[derive(Clone, Copy)]
struct Site<'a> {
    document: &'a Document,
    base: &'a Path,
}

fn read(document: &Document, diagnostics: &mut Diagnostics) -> Option<PipelineText> {
    let table = document.parse(diagnostics)?;
    let value = Spanned::new(table.span(), DeValue::Table(table.into_inner()));
    PipelineText::from_value(&value, &mut Context { document, diagnostics, tag: None })
}

/// The shortest interval. Below it, a probe's own cost is what would be measured.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// The longest interval.
const LONGEST_INTERVAL: Duration = Duration::from_hours(365 * 24);

fn schedule(text: &PipelineText, site: Site<'_>, diagnostics: &mut Diagnostics) -> Option<Duration> {
    let every = &text.schedule.every;
    if !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&every.value) {
        let place = every.place(site.document);
        let message = "an interval is at least 100ms and at most 365d";
        diagnostics.add(Diagnostic::error(Code::BadValue, place, message));
        return None;
    }
    let timeout = &text.request.timeout;
    if timeout.value > every.value && !diagnostics.has_errors() {
        let place = timeout.span.is_some().then(|| timeout.place(site.document));
        diagnostics.add(
            Diagnostic::warning(
                Code::Suspicious,
                place.unwrap_or_else(|| every.place(site.document)),
                "an attempt may take longer than the interval, and then misses ticks",
            )
            .hint("make [request] timeout shorter than [schedule] every"),
        );
    }
    Some(every.value)
}

/// The hash of the resolved configuration: what the file says (secrets print as `<secret>`), the
/// targets and the plugins.
fn generation(text: &PipelineText, targets: &[Arc<Target>], plugins: &str) -> Arc<str> {
    let mut hasher = XxHash3_64::with_seed(0);
    let mut add = |part: &str| {
        hasher.write(part.as_bytes());
        hasher.write(&[0]);
    };
    add(&format!("{text:?}"));
    add(plugins);
    for target in targets {
        add(&target.name);
        add(&target.url);
        add(&format!("{:?}", target.every));
        target.labels.iter().for_each(|(name, value)| {
            add(name);
            add(value);
        });
    }
    format!("{:016x}", hasher.finish()).into()
}

/// Adds the problems of a source's file.
fn place_in(site: Site<'_>, file: &Arc<Path>, line: usize, column: usize) -> Place {
    if file.as_ref() == site.document.path() && line > 0 {
        return site.document.url_place(site.document.span_at(line, column));
    }
    Place::line_of(Arc::clone(file), line, column)
}

/// A problem that stands in a source's file.
fn source_problem(level: Level, code: Code, place: Place, message: String) -> Diagnostic {
    match level {
        Level::Error => Diagnostic::error(code, place, message),
        Level::Warning => Diagnostic::warning(code, place, message),
    }
}
