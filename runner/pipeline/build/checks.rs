//! Loads and configures the checks of a pipeline.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use twox_hash::XxHash3_64;

use super::Site;
use crate::check::{
    self, BUNDLED_NAMES, CheckEngine, CheckSet, CheckSpec, CheckText, ConfigureError, ConfiguredCheck,
    EngineError, EngineSettings, Isolation, IsolationText, Limits, LoadError, MemoryState, PLUGIN_BYTES_MAX,
    Plugin, SeverityText, StateStore, checked_limits,
};
use crate::config::{
    Code, Diagnostic, Diagnostics, Document, Located, Place, did_you_mean, parse_name, read_input,
};
use crate::model::Severity;
use crate::pipeline::config::PipelineText;

/// A plugin, or why it is none.
type Loaded = Result<Arc<Plugin>, Arc<LoadError>>;

/// What pipelines are built with: the engine, the plugins compiled so far, the state of checks.
#[derive(Debug)]
pub struct Workshop {
    engine: Arc<CheckEngine>,
    plugins: Mutex<HashMap<u64, Loaded>>,
    state: Arc<dyn StateStore>,
}

impl Workshop {
    /// A workshop that compiles in this process and keeps nothing of it, for checks that remember as long
    /// as the process lives.
    pub fn new() -> Result<Self, EngineError> {
        Self::with(EngineSettings::default(), Arc::new(MemoryState::default()))
    }

    /// A workshop for checks that remember in `state`. Fails where the machine cannot run WebAssembly.
    pub fn with(settings: EngineSettings, state: Arc<dyn StateStore>) -> Result<Self, EngineError> {
        let engine = Arc::new(CheckEngine::with_settings(settings)?);
        Ok(Self { engine, plugins: Mutex::default(), state })
    }

    /// The plugin that these bytes are, compiled once a process; the number identifies them.
    fn plugin(&self, found: &Found) -> (u64, Loaded) {
        let key = XxHash3_64::oneshot(found.bytes());
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        let load = || {
            let loaded = match found {
                Found::Bundled(name, _) => Plugin::load_bundled(&self.engine, name),
                Found::File(bytes) => Some(Plugin::load(&self.engine, bytes)),
            };
            let missing = || Err(LoadError::Damaged("it is not among the bundled checks".to_owned()));
            loaded.unwrap_or_else(missing).map(Arc::new).map_err(Arc::new)
        };
        let loaded = plugins.entry(key).or_insert_with(load);
        (key, loaded.clone())
    }
}

/// The bytes of a plugin, and whose they are.
enum Found<'a> {
    Bundled(&'a str, &'static [u8]),
    File(Vec<u8>),
}

impl Found<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bundled(_, bytes) => bytes,
            Self::File(bytes) => bytes,
        }
    }
}

/// The checks of a pipeline.
pub(super) struct BuiltChecks {
    pub(super) set: CheckSet,
    /// Identifies the plugins by their content.
    pub(super) fingerprint: String,
}

pub(super) fn build(
    text: &PipelineText,
    pipeline: &Arc<str>,
    site: Site<'_>,
    workshop: &Workshop,
    diagnostics: &mut Diagnostics,
) -> Option<BuiltChecks> {
    let mut ready = Vec::new();
    let mut fingerprint = String::new();
    let mut names: HashMap<Arc<str>, Place> = HashMap::new();
    let mut whole = true;
    for check in checks_of(text)? {
        let name = name(&check.value, site, diagnostics);
        if let Some(name) = &name {
            let place = check.value.name.as_ref().unwrap_or(&check.value.plugin).place(site.document);
            if let Some(first) = names.insert(Arc::clone(name), place.clone()) {
                diagnostics.add(duplicate(name, place, first));
                whole = false;
            }
        }
        let loaded = load(&check.value, site, workshop, diagnostics);
        let limits = &check.value.limits;
        let limits = checked_limits(&limits.time, &limits.memory, site.document, diagnostics);
        let (Some(name), Some((key, plugin)), Some(limits)) = (name, loaded, limits) else {
            whole = false;
            continue;
        };
        let _ = write!(fingerprint, "{key:016x}");
        let spec = spec(&check.value, name, limits);
        match ConfiguredCheck::new(&plugin, spec) {
            Ok(configured) => ready.push(configured),
            Err(error) => {
                diagnostics.add(refused(&error, &check.value, site.document));
                whole = false;
            }
        }
    }
    let set = CheckSet::new(Arc::clone(pipeline), ready, Arc::clone(&workshop.state));
    whole.then_some(BuiltChecks { set, fingerprint })
}

/// The checks that the file names, and the `status` check before them where it names none.
fn checks_of(text: &PipelineText) -> Option<Vec<Located<CheckText>>> {
    let is_status = |check: &Located<CheckText>| check.value.plugin.value == "status";
    let mut checks = text.checks.clone();
    if text.default_checks && !checks.iter().any(is_status) {
        let value = crate::config::table::default_value::<CheckText>(r#"{ plugin = "status" }"#)?;
        checks.insert(0, Located { value, span: None });
    }
    Some(checks)
}

fn spec(check: &CheckText, name: Arc<str>, limits: Limits) -> CheckSpec {
    let config = check.config.as_ref().map_or_else(|| "{}".to_owned(), |config| config.value.to_string());
    CheckSpec {
        name,
        plugin: check.plugin.value.as_str().into(),
        severity: match check.severity {
            SeverityText::Fail => Severity::Fail,
            SeverityText::Warn => Severity::Warn,
        },
        on_error: check.on_error,
        limits,
        config: config.into(),
        isolation: match check.isolation {
            IsolationText::Auto => Isolation::Auto,
            IsolationText::Snapshot => Isolation::Snapshot,
            IsolationText::Configure => Isolation::Configure,
            IsolationText::Reuse => Isolation::Reuse,
        },
    }
}

/// The check's name: its own, or the plugin's (of a path, the file's without its ending).
fn name(check: &CheckText, site: Site<'_>, diagnostics: &mut Diagnostics) -> Option<Arc<str>> {
    let plugin = &check.plugin.value;
    let (text, place) = match &check.name {
        Some(name) => (name.value.as_str(), name.place(site.document)),
        None => {
            let stem = Path::new(plugin).file_stem().and_then(|stem| stem.to_str());
            (stem.unwrap_or(plugin), check.plugin.place(site.document))
        }
    };
    match parse_name(text) {
        Ok(name) => Some(name.into()),
        Err(reason) => {
            let message = format!("\"{text}\" cannot be a check's name: {reason}");
            let diagnostic = Diagnostic::error(Code::BadValue, place, message);
            diagnostics.add(diagnostic.hint("give the check a name: name = \"…\""));
            None
        }
    }
}

fn duplicate(name: &str, place: Place, first: Place) -> Diagnostic {
    Diagnostic::error(Code::DuplicateCheck, place, format!("two checks are called \"{name}\""))
        .also("the first one is here", first)
        .hint("give each a name of its own: name = \"…\"")
}

fn load(
    check: &CheckText,
    site: Site<'_>,
    workshop: &Workshop,
    diagnostics: &mut Diagnostics,
) -> Option<(u64, Arc<Plugin>)> {
    let wanted = &check.plugin.value;
    let place = || check.plugin.place(site.document);
    let is_path = Path::new(wanted).extension().is_some_and(|ending| ending == "wasm");
    let found = if is_path {
        let path = site.base.join(wanted);
        site.inputs.note(&path);
        // A file that is longer is refused by the plugin's own limit.
        match read_input(&path, PLUGIN_BYTES_MAX as u64) {
            Ok(bytes) => Found::File(bytes),
            Err(reason) => {
                diagnostics.add(missing(place(), &path, reason));
                return None;
            }
        }
    } else if let Some(bytes) = check::bundled(wanted) {
        Found::Bundled(wanted, bytes)
    } else {
        diagnostics.add(unknown(wanted, place()));
        return None;
    };
    let (key, loaded) = workshop.plugin(&found);
    match loaded {
        Ok(plugin) => Some((key, plugin)),
        Err(error) => {
            let message = format!("the plugin \"{wanted}\" cannot be used: {error}");
            diagnostics.add(Diagnostic::error(Code::PluginUnusable, place(), message));
            None
        }
    }
}

fn missing(place: Place, path: &Path, reason: &str) -> Diagnostic {
    let message = format!("the plugin \"{}\" cannot be read: {reason}", path.display());
    Diagnostic::error(Code::PluginMissing, place, message).hint("the path is relative to the pipeline file")
}

fn unknown(wanted: &str, place: Place) -> Diagnostic {
    let names: HashSet<&str> = BUNDLED_NAMES.iter().copied().collect();
    let hint = match did_you_mean(wanted, names) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("bundled are: {}; a file of your own ends in .wasm", BUNDLED_NAMES.join(", ")),
    };
    let message = format!("there is no bundled plugin \"{wanted}\"");
    Diagnostic::error(Code::PluginMissing, place, message).hint(hint)
}

fn refused(error: &ConfigureError, check: &CheckText, document: &Document) -> Diagnostic {
    if let ConfigureError::NotFrozen(_) = error {
        let message = format!("the plugin \"{}\" cannot be used so: {error}", check.plugin.value);
        return Diagnostic::error(Code::PluginUnusable, check.plugin.place(document), message)
            .hint("with isolation = \"auto\" it is configured for every call, which is slower");
    }
    let place = check.config.as_ref().map_or_else(
        || check.plugin.place(document),
        |config| {
            config
                .span
                .clone()
                .map_or_else(|| Place::file(document.path()), |span| document.hidden_place(span))
        },
    );
    Diagnostic::error(Code::PluginConfig, place, error.to_string())
        .hint(format!("the configuration of \"{}\" is what stands under config", check.plugin.value))
}
