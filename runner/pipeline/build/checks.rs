//! Loads and configures the checks of a pipeline.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ring::hmac;
use twox_hash::XxHash3_64;

use super::Site;
use crate::check::{
    self, BUNDLED_NAMES, CheckConfig, CheckEngine, CheckSet, CheckSpec, CheckText, ConfigureError,
    ConfiguredCheck, EngineError, EngineSettings, Isolation, IsolationText, Limits, LoadError, MemoryState,
    PLUGIN_BYTES_MAX, Plugin, SeverityText, StateStore, checked_limits,
};
use crate::config::schema::{self, Mismatch, Part};
use crate::config::{
    Code, Diagnostic, Diagnostics, Document, Located, Place, did_you_mean, parse_name, read_input,
};
use crate::model::{Severity, Target};
use crate::pipeline::config::PipelineText;

/// A plugin, or why it is none.
type Loaded = Result<Arc<Plugin>, Arc<LoadError>>;

/// A pipeline, and the name of one of its checks.
type CheckKey = (Arc<str>, Arc<str>);

/// A plugin as long as anything uses it, or why it is none.
#[derive(Debug)]
enum Cached {
    Right(Weak<Plugin>),
    Wrong(Arc<LoadError>),
}

/// Bytes that are no plugin are remembered for so many of them.
const WRONG_KEPT: usize = 64;

/// What pipelines are built with: the engine, the plugins compiled so far, the state of checks.
#[derive(Debug)]
pub struct Workshop {
    engine: Arc<CheckEngine>,
    plugins: Mutex<HashMap<u64, Cached>>,
    /// By pipeline and name: a check that stays the same through a reload is the same one, with its snapshot
    /// and with what is known of its faults.
    checks: Mutex<HashMap<CheckKey, Weak<ConfiguredCheck>>>,
    state: Arc<dyn StateStore>,
    /// What identities are made with: nobody can tell a secret by one.
    identity_key: [u8; 32],
    wants_tests: bool,
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
        // A system without chance gives identities that say more, but they are never told.
        let identity_key = crate::clock::new_secret().unwrap_or_default();
        Ok(Self {
            engine,
            plugins: Mutex::default(),
            checks: Mutex::default(),
            state,
            identity_key,
            wants_tests: false,
        })
    }

    /// The same, for pipelines whose tests are to be run: what those need is read as well.
    #[must_use]
    pub fn with_tests(self) -> Self {
        Self { wants_tests: true, ..self }
    }

    pub(super) fn wants_tests(&self) -> bool {
        self.wants_tests
    }

    /// A number that is the same for the same parts, as long as the process lives, and says nothing of them.
    pub(super) fn identity(&self, parts: &[&str], targets: &[Arc<Target>]) -> [u8; 16] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.identity_key);
        let mut context = hmac::Context::with_key(&key);
        let mut add = |part: &str| {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        };
        for part in parts {
            add(part);
        }
        for target in targets {
            let Target { name, url, labels, every } = &**target;
            add(name);
            add(url);
            for (name, value) in labels.iter() {
                add(name);
                add(value);
            }
            // What no label's name can be ends them.
            add(&every.map_or(String::new(), |every| every.as_nanos().to_string()));
            add("");
        }
        let mut identity = [0; 16];
        identity.iter_mut().zip(context.sign().as_ref()).for_each(|(byte, signed)| *byte = *signed);
        identity
    }

    /// The plugin that these bytes are, compiled once for all who use it; the number identifies them.
    fn plugin(&self, found: &Found) -> (u64, Loaded) {
        let key = XxHash3_64::oneshot(found.bytes());
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        match plugins.get(&key) {
            Some(Cached::Wrong(error)) => return (key, Err(Arc::clone(error))),
            Some(Cached::Right(plugin)) => {
                if let Some(plugin) = plugin.upgrade() {
                    return (key, Ok(plugin));
                }
            }
            None => {}
        }
        let loaded = match found {
            Found::Bundled(name, _) => Plugin::load_bundled(&self.engine, name),
            Found::File(bytes) => Some(Plugin::load(&self.engine, bytes)),
        };
        let missing = || Err(LoadError::Damaged("it is not among the bundled checks".to_owned()));
        let loaded = loaded.unwrap_or_else(missing).map(Arc::new).map_err(Arc::new);
        plugins.retain(|_, cached| !matches!(cached, Cached::Right(plugin) if plugin.strong_count() == 0));
        if plugins.len() >= WRONG_KEPT {
            plugins.retain(|_, cached| matches!(cached, Cached::Right(_)));
        }
        let cached = match &loaded {
            Ok(plugin) => Cached::Right(Arc::downgrade(plugin)),
            Err(error) => Cached::Wrong(Arc::clone(error)),
        };
        plugins.insert(key, cached);
        (key, loaded)
    }

    /// The check of a pipeline: the one that runs, if it is the same.
    fn check(
        &self,
        pipeline: &Arc<str>,
        plugin: &Arc<Plugin>,
        spec: CheckSpec,
    ) -> Result<Arc<ConfiguredCheck>, ConfigureError> {
        let key = (Arc::clone(pipeline), Arc::clone(&spec.name));
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let running = checks.get(&key).and_then(Weak::upgrade);
        if let Some(running) = running
            && Arc::ptr_eq(running.plugin(), plugin)
            && *running.spec() == spec
        {
            return Ok(running);
        }
        let configured = Arc::new(ConfiguredCheck::new(plugin, spec)?);
        checks.retain(|_, check| check.strong_count() > 0);
        checks.insert(key, Arc::downgrade(&configured));
        Ok(configured)
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
        if !fits_schema(&check.value, &plugin, site.document, diagnostics) {
            whole = false;
            continue;
        }
        match workshop.check(pipeline, &plugin, spec) {
            Ok(configured) => ready.push(configured),
            Err(error) => {
                diagnostics.add(refused(&error, &check.value, site.document));
                whole = false;
            }
        }
    }
    let set = CheckSet::new(Arc::clone(pipeline), ready, Arc::clone(&workshop.state))
        .with_secrets(site.document.secrets());
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
    let config = check.config.as_ref().map_or_else(
        || "{}".into(),
        |Located { value: table, .. }| match &table.shown {
            Some(shown) => CheckConfig::with_secrets(&table.value.to_string(), &shown.to_string()),
            None => table.value.to_string().into(),
        },
    );
    CheckSpec {
        name,
        plugin: check.plugin.value.as_str().into(),
        severity: match check.severity {
            SeverityText::Fail => Severity::Fail,
            SeverityText::Warn => Severity::Warn,
        },
        on_error: check.on_error,
        limits,
        config,
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
    let message = error.to_string();
    let pointer = schema::pointer_of(&message);
    // What it refuses may be a secret that stands in the wrong place.
    let place = match pointer.and_then(|pointer| check.config.as_ref()?.value.spans(&pointer)) {
        Some((_, value)) => document.hidden_place(value),
        None => config_place(check, document),
    };
    let hint = format!("the configuration of \"{}\" is what stands under config", check.plugin.value);
    Diagnostic::error(Code::PluginConfig, place, message).hint(hint)
}

/// Where a check's configuration stands; the check itself where it has none.
fn config_place(check: &CheckText, document: &Document) -> Place {
    let span = check.config.as_ref().map(|config| config.span.clone());
    match span {
        None => check.plugin.place(document),
        Some(None) => Place::file(document.path()),
        Some(Some(span)) => document.hidden_place(span),
    }
}

/// Holds a configuration against the schema that the plugin tells, where it tells one: it knows no places, and
/// stops at the first thing that it does not like.
fn fits_schema(
    check: &CheckText,
    plugin: &Plugin,
    document: &Document,
    diagnostics: &mut Diagnostics,
) -> bool {
    // Without any, the plugin itself says best what it wants.
    let Some(config) = &check.config else { return true };
    if !config.value.is_whole {
        return false;
    }
    let schema = plugin.manifest().config_schema.as_deref();
    // It was read when the plugin was loaded.
    let Some(schema) = schema.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok()) else {
        return true;
    };
    let title = format!("the configuration of \"{}\"", check.plugin.value);
    let found = schema::mismatches(&schema, &config.value.value, &title);
    for Mismatch { pointer, part, message, hint } in &found {
        let place = match (config.value.spans(pointer), part) {
            (Some((key, _)), Part::Key) => document.place(key),
            (Some((_, value)), Part::Word) => document.place(value),
            (Some((_, value)), Part::Hidden) => document.hidden_place(value),
            (None, _) => config_place(check, document),
        };
        let diagnostic = Diagnostic::error(Code::PluginConfig, place, message.as_str());
        diagnostics.add(match hint {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        });
    }
    found.is_empty()
}
