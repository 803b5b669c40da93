//! From a file to ready stages: everything is read, checked, compiled and configured, and nothing is
//! started. All problems are told at once.

mod checks;
mod inputs;
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
use inputs::Inputs;
pub(crate) use sinks::compare;
pub use sinks::{DeadLetterPlan, JsonlPlan, ParquetPlan, SinkPlan, StdoutPlan};
use targets::LoadedTargets;

use super::canned_tests::{self, PipelineTest, Tested};
use super::config::PipelineText;
use super::files::{self, PipelineFile};
use super::places::Limits;
use super::record::RecordPlan;
use super::settings;
use super::supply::SupplyPlan;
use crate::check::CheckSet;
use crate::config::{
    Code, Context, Diagnostic, Diagnostics, Document, FromValue as _, Level, Place, SecretTexts, canonical,
    parse_duration,
};
use crate::fetch::{Request, Retry};
use crate::model::Target;
use crate::schedule::{Maintenance, Timing};

/// A pipeline, whole and ready, not started.
#[derive(Debug)]
pub struct Built {
    /// The pipeline's name.
    pub name: Arc<str>,
    /// 16 hex digits of the resolved configuration, secrets left out.
    pub generation: Arc<str>,
    /// Tells builds of one process apart: it changes with the generation, and with a secret as well. Never
    /// shown.
    pub identity: [u8; 16],
    /// What must not get into rows.
    pub secrets: SecretTexts,
    /// What is probed.
    pub targets: Vec<Arc<Target>>,
    /// Where targets come from while the pipeline runs.
    pub supplies: Vec<Arc<SupplyPlan>>,
    /// When a target without an interval of its own is due.
    pub timing: Timing,
    /// A probe that could not begin so long after it was due is skipped.
    pub expires: Option<Duration>,
    /// How many probes may be in flight.
    pub limits: Limits,
    /// When targets may be wrong on purpose.
    pub maintenance: Maintenance,
    /// How each target is asked.
    pub request: Request,
    /// Whether and when a probe that failed is tried again.
    pub retry: Retry,
    /// What judges each exchange.
    pub checks: Arc<CheckSet>,
    /// Where results go.
    pub sinks: SinkPlan,
    /// Where probes that failed in every attempt go as well.
    pub dead_letter: Option<DeadLetterPlan>,
    /// What is recorded, if anything.
    pub record: Option<RecordPlan>,
    /// Its tests, where the workshop wants them.
    pub tests: Vec<PipelineTest>,
}

impl Built {
    /// Whether it is the same generation, with the same secrets.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl AsRef<Built> for Built {
    fn as_ref(&self) -> &Built {
        self
    }
}

/// Finds, reads and builds all pipelines that the paths name. What is returned can be run, even where
/// other files have errors.
pub fn build_all(paths: &[PathBuf], workshop: &Workshop, diagnostics: &mut Diagnostics) -> Vec<Built> {
    let files = files::find(paths, diagnostics);
    let mut built = Vec::new();
    for file in &files {
        built.extend(build(file, workshop, diagnostics));
    }
    compare(&mut built, diagnostics);
    built
}

/// A pipeline as it was built, and what it was made from.
#[derive(Debug)]
pub struct Attempt {
    /// The pipeline; none if its file is wrong.
    pub built: Option<Built>,
    /// Every file that was read, or was to be read, and every folder that was looked through.
    pub inputs: Vec<PathBuf>,
}

/// Reads and builds one pipeline.
pub fn build(file: &PipelineFile, workshop: &Workshop, diagnostics: &mut Diagnostics) -> Option<Built> {
    attempt(file, workshop, diagnostics).built
}

/// Reads and builds one pipeline, and tells what it is made from, right or wrong.
pub fn attempt(file: &PipelineFile, workshop: &Workshop, diagnostics: &mut Diagnostics) -> Attempt {
    let inputs = Inputs::default();
    inputs.note(&file.path);
    let before = diagnostics.count(Level::Error);
    let built = Document::read(&file.path, diagnostics).and_then(|document| {
        let mut found = Diagnostics::default();
        let built = of_document(file, &document, &inputs, workshop, &mut found);
        document.inputs().iter().for_each(|path| inputs.note(path));
        found.mask(&document.secrets());
        diagnostics.absorb(found);
        built
    });
    // A pipeline is either whole or not there.
    let built = built.filter(|_| diagnostics.count(Level::Error) == before);
    Attempt { built, inputs: inputs.into_paths() }
}

fn of_document(
    file: &PipelineFile,
    document: &Document,
    inputs: &Inputs,
    workshop: &Workshop,
    diagnostics: &mut Diagnostics,
) -> Option<Built> {
    let settings = settings::for_pipeline(&file.path, &mut |path| inputs.note(path), diagnostics);
    let Read { text, said } = read(document, diagnostics)?;
    let is_wrong = diagnostics.has_errors();
    let base = document.path().parent().unwrap_or(Path::new("")).to_owned();
    let site = Site { document, base: &base, inputs };

    let timing = text.schedule.timing(document, diagnostics);
    let maintenance = Maintenance::of(&text.maintenance, site.document, diagnostics);
    let targets = targets::load(&text, site, diagnostics);
    let request = request::build(&text.request, &settings, site, diagnostics);
    let limits = text.limits.checked(&settings, document, diagnostics);
    let retry = text.request.retry.checked(document, diagnostics);
    let checks = checks::build(&text, &file.name, site, workshop, diagnostics);
    let sinks = sinks::plan(&text, site, diagnostics);
    let dead_letter = sinks::dead_letters(&text, &file.name, site, diagnostics);
    let record = RecordPlan::of(&text, document, diagnostics);

    let (timing, loaded, request, retry, checks) = (timing?, targets?, request?, retry?, checks?);
    let LoadedTargets { targets, supplies } = loaded;
    warn_of_overlap(&text, &timing, &retry, &targets, site, diagnostics);
    let tested = Tested {
        targets: &targets,
        has_more_targets: !supplies.is_empty(),
        checks: &checks.set,
        method: request.request.method(),
        is_wrong,
        with_files: workshop.wants_tests(),
    };
    let mut tests = canned_tests::tests(&text.tests, &tested, document, diagnostics);
    if !workshop.wants_tests() {
        tests.clear();
    }
    let plugins = [checks.fingerprint.as_str(), request.fingerprint.as_str()];
    // What the runner's own file says of a pipeline is a part of it.
    let said = format!("{said} {limits:?} {:?}", settings.address_policy);
    let generation = generation(&said, &targets, plugins, document);
    let secrets = document.resolved_texts();
    // Headers and authorities of dynamic sources are in theirs.
    let supplied = format!("{:?}", supplies.iter().map(|supply| supply.identity).collect::<Vec<_>>());
    let mut parts = vec![&*generation, supplied.as_str(), request.key_print.as_str()];
    parts.extend(secrets.iter().map(String::as_str));
    Some(Built {
        name: Arc::clone(&file.name),
        identity: workshop.identity(&parts, &targets),
        generation,
        secrets: document.secrets(),
        targets,
        supplies,
        timing,
        expires: text.schedule.expires.as_ref().map(|expires| expires.value),
        maintenance: maintenance?,
        limits,
        request: request.request,
        retry,
        checks: Arc::new(checks.set),
        sinks: sinks?,
        dead_letter: dead_letter.ok()?,
        record: record.ok()?,
        tests,
    })
}

/// What the parts of a file need to be read: the file, and the folder that inputs are relative to.
#[derive(Clone, Copy)]
struct Site<'a> {
    document: &'a Document,
    base: &'a Path,
    inputs: &'a Inputs,
}

/// A file that was read.
struct Read {
    text: PipelineText,
    /// What it says, without regard to how it is written, and without secrets.
    said: String,
}

fn read(document: &Document, diagnostics: &mut Diagnostics) -> Option<Read> {
    let mut table = document.parse(diagnostics)?;
    // Tests change nothing of what runs.
    let said = canonical(table.get_ref(), &["tests"]);
    let base = document.path().parent().unwrap_or(Path::new(""));
    document.resolve(&mut table, base, &|name| std::env::var_os(name), diagnostics);
    let value = Spanned::new(table.span(), DeValue::Table(table.into_inner()));
    let text = PipelineText::from_value(&value, &mut Context { document, diagnostics, tag: None })?;
    Some(Read { text, said })
}

/// A probe that may outlast the interval of its target misses ticks when the target is slow.
fn warn_of_overlap(
    text: &PipelineText,
    timing: &Timing,
    retry: &Retry,
    targets: &[Arc<Target>],
    site: Site<'_>,
    diagnostics: &mut Diagnostics,
) {
    let timeout = &text.request.timeout;
    let longest = retry.longest(timeout.value);
    let outlasted = |target: &&Arc<Target>| {
        let every = target.every.or(timing.interval());
        every.is_some_and(|every| longest > every)
    };
    let mut found = targets.iter().filter(outlasted);
    let Some(first) = found.next() else { return };
    let name = &first.name;
    let more = found.count();
    let (message, hint) = if timeout.value > first.every.or(timing.interval()).unwrap_or(longest) {
        let message = match more {
            0 => format!("an attempt at \"{name}\" may take longer than its interval, and then misses ticks"),
            more => format!(
                "attempts at \"{name}\" and {more} more may take longer than their intervals, and then miss ticks"
            ),
        };
        (message, "make timeout in [request] shorter than the interval, or the interval longer")
    } else {
        let of = if more == 0 { format!("\"{name}\"") } else { format!("\"{name}\" and {more} more") };
        let message = format!(
            "all attempts at {of} with their pauses may take {}, longer than the interval: then the last ones \
             are left out",
            crate::config::format_duration(longest)
        );
        (message, "shorten timeout or backoff, or have fewer attempts, or a longer interval")
    };
    let attempts = &text.request.retry.attempts;
    let place = match (&timeout.span, &attempts.span) {
        (_, Some(_)) if retry.attempts() > 1 => attempts.place(site.document),
        (Some(_), _) => timeout.place(site.document),
        (None, _) => text.schedule.every.place(site.document),
    };
    diagnostics.add(Diagnostic::warning(Code::Suspicious, place, message).hint(hint));
}

/// The hash of the configuration: what the file says, its headers and body included, the targets, the plugins
/// and the certificate authorities. Of values that stand elsewhere, only where they stand.
fn generation(said: &str, targets: &[Arc<Target>], plugins: [&str; 2], document: &Document) -> Arc<str> {
    let mut hasher = XxHash3_64::with_seed(0);
    let mut add = |part: &str| {
        hasher.write(part.as_bytes());
        hasher.write(&[0]);
    };
    add(said);
    plugins.into_iter().for_each(&mut add);
    let secrets = document.secrets();
    let elsewhere: Vec<_> =
        document.resolved_texts().iter().filter_map(|text| parse_duration(text).ok()).collect();
    for target in targets {
        let Target { name, url, every, labels } = &**target;
        add(&secrets.mask(name));
        add(&secrets.mask(url));
        add(&format!("{:?}", every.filter(|every| !elsewhere.contains(every))));
        labels.iter().for_each(|(name, value)| {
            add(name);
            add(&secrets.mask(value));
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
