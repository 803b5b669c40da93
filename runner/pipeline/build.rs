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
use targets::LoadedTargets;

use super::config::PipelineText;
use super::files::{self, PipelineFile};
use super::record::RecordPlan;
use super::supply::SupplyPlan;
use crate::check::CheckSet;
use crate::config::{Code, Context, Diagnostic, Diagnostics, Document, FromValue as _, Place};
use crate::fetch::Request;
use crate::model::Target;
use crate::source::{EVERY_MAX, EVERY_MIN};

/// A pipeline, whole and ready, not started.
#[derive(Debug)]
pub struct Built {
    /// The pipeline's name.
    pub name: Arc<str>,
    /// 16 hex digits of the resolved configuration, secrets left out.
    pub generation: Arc<str>,
    /// What is probed.
    pub targets: Vec<Arc<Target>>,
    /// The files and folders that the targets were read from.
    pub inputs: Vec<PathBuf>,
    /// Where targets come from while the pipeline runs.
    pub supplies: Vec<Arc<SupplyPlan>>,
    /// How often a target without an interval of its own is probed.
    pub every: Duration,
    /// How each target is asked.
    pub request: Request,
    /// What judges each exchange.
    pub checks: Arc<CheckSet>,
    /// Where results go.
    pub sinks: SinkPlan,
    /// What is recorded, if anything.
    pub record: Option<RecordPlan>,
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
    sinks::compare(&mut built, diagnostics);
    targets::one_stdin(&mut built, diagnostics);
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
    let record = RecordPlan::of(&text, &document, diagnostics);

    let (every, loaded, request, checks) = (every?, targets?, request?, checks?);
    let LoadedTargets { targets, inputs, supplies } = loaded;
    warn_of_overlap(&text, every, &targets, site, diagnostics);
    let generation = generation(&text, &targets, &checks.fingerprint, &request.fingerprint);
    Some(Built {
        name: Arc::clone(&file.name),
        generation,
        targets,
        inputs,
        supplies,
        every,
        request: request.request,
        checks: Arc::new(checks.set),
        sinks: sinks?,
        record: record.ok()?,
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

fn schedule(text: &PipelineText, site: Site<'_>, diagnostics: &mut Diagnostics) -> Option<Duration> {
    let every = &text.schedule.every;
    if (EVERY_MIN..=EVERY_MAX).contains(&every.value) {
        return Some(every.value);
    }
    let message = "an interval is at least 100ms and at most 366d";
    diagnostics.add(Diagnostic::error(Code::BadValue, every.place(site.document), message));
    None
}

/// An attempt that may outlast the interval of its target misses ticks when the target is slow.
fn warn_of_overlap(
    text: &PipelineText,
    every: Duration,
    targets: &[Arc<Target>],
    site: Site<'_>,
    diagnostics: &mut Diagnostics,
) {
    let timeout = &text.request.timeout;
    let outlasted = |target: &&Arc<Target>| timeout.value > target.every.unwrap_or(every);
    let mut found = targets.iter().filter(outlasted);
    let Some(first) = found.next() else { return };
    let message = match found.count() {
        0 => format!(
            "an attempt at \"{}\" may take longer than its interval, and then misses ticks",
            first.name
        ),
        more => format!(
            "attempts at \"{}\" and {more} more may take longer than their intervals, and then miss ticks",
            first.name
        ),
    };
    let place = match (&timeout.span, &text.schedule.every.span) {
        (Some(_), _) | (None, None) => timeout.place(site.document),
        (None, Some(_)) => text.schedule.every.place(site.document),
    };
    diagnostics.add(
        Diagnostic::warning(Code::Suspicious, place, message)
            .hint("make timeout in [request] shorter than the interval, or the interval longer"),
    );
}

/// The hash of the resolved configuration: what the file says, its headers and body included, the targets,
/// the plugins and the certificate authorities.
fn generation(text: &PipelineText, targets: &[Arc<Target>], plugins: &str, authorities: &str) -> Arc<str> {
    let mut hasher = XxHash3_64::with_seed(0);
    let mut add = |part: &str| {
        hasher.write(part.as_bytes());
        hasher.write(&[0]);
    };
    add(&format!("{text:?}"));
    add(plugins);
    // Hidden values print as `<secret>` above.
    let request_text = &text.request;
    request_text.headers.values().for_each(|value| add(value.value.expose()));
    request_text.body.iter().for_each(|body| add(body.expose()));
    add(authorities);
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

/// A place that a source names: in the pipeline file with its line, in another file without.
fn place_in(site: Site<'_>, file: &Arc<Path>, line: usize, column: usize) -> Place {
    if file.as_ref() == site.document.path() && line > 0 {
        return site.document.url_place(site.document.span_at(line, column));
    }
    Place::line_of(Arc::clone(file), line, column)
}
