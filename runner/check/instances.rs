//! Where one configured check gets the instance for a call from: a fresh one from its snapshot, a
//! fresh one that is configured first, or one that was used before.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::compile::{Configuration, FreezeError};
use super::component::{ConfigureError, Plugin};
use super::contract::Template;
use super::freezer::{Freezable, Patience};
use super::limits::Limits;
use super::sandbox::{self, Answer, Origin, Ready, Run};
use super::set::CheckConfig;
use super::trial;

/// Instances of all `reuse` checks together that may wait for their next call. Each holds a memory slot
/// of the engine.
const IDLE_MAX: usize = 48;

/// How much of a call's instance others have used before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Fresh for every call: from a snapshot once there is one and the plugin can be frozen, configured
    /// each time until then and otherwise.
    #[default]
    Auto,
    /// Fresh for every call, from a snapshot taken after `configure`.
    Snapshot,
    /// Fresh for every call, and configured each time.
    Configure,
    /// The instance of an earlier call of the same check, as that call left it.
    Reuse,
}

/// The instances of one configured check.
#[derive(Debug)]
pub(super) struct Instances {
    plugin: Arc<Plugin>,
    config: CheckConfig,
    limits: Limits,
    isolation: Isolation,
    frozen: OnceLock<Result<Template, FreezeError>>,
    patience: Patience,
    idle: Mutex<Vec<Ready>>,
}

impl Instances {
    /// Tries the configuration on the plugin, and freezes it where that is asked for. Blocks as
    /// [`Plugin::load`] does.
    pub(super) fn new(
        plugin: &Arc<Plugin>,
        config: &CheckConfig,
        limits: Limits,
        isolation: Isolation,
    ) -> Result<Arc<Self>, ConfigureError> {
        plugin.configure(config.expose(), limits)?;
        let instances = Self {
            plugin: Arc::clone(plugin),
            config: config.clone(),
            limits,
            isolation,
            frozen: OnceLock::new(),
            patience: Patience::default(),
            idle: Mutex::default(),
        };
        match isolation {
            Isolation::Auto => instances.take_frozen_before(),
            Isolation::Snapshot => instances.freeze().map_err(ConfigureError::NotFrozen)?,
            Isolation::Configure | Isolation::Reuse => {}
        }
        Ok(Arc::new(instances))
    }

    /// Judges one observation.
    pub(super) fn run(self: &Arc<Self>, run: Run<'_>) -> Answer {
        let engine = self.plugin.engine();
        if self.isolation == Isolation::Reuse {
            return self.run_reused(run);
        }
        if let Some(template) = self.frozen() {
            return sandbox::run(engine, Origin::Frozen(template), run).0;
        }
        if self.isolation == Isolation::Auto && self.frozen.get().is_none() {
            self.patience.call(engine.freezer(), self);
        }
        sandbox::run(engine, self.plain(), run).0
    }

    /// Judges one observation by the instance that is shared, if there is one, else by a fresh one, which is shared from
    /// then on as long as its calls end well.
    pub(super) fn run_shared(&self, run: Run<'_>, shared: &mut Option<Ready>) -> Answer {
        let engine = self.plugin.engine();
        let (answer, ready) = match shared.take() {
            Some(ready) => sandbox::run_again(engine, ready, run),
            None => sandbox::run(engine, self.origin(), run),
        };
        *shared = ready;
        answer
    }

    /// Freezes the plugin with its configuration, if that was not done yet. Blocks, up to minutes.
    pub(super) fn freeze(&self) -> Result<(), FreezeError> {
        let frozen = self.frozen.get_or_init(|| {
            let component = self.plugin.frozen(self.configuration())?;
            self.tried(&component)
        });
        frozen.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    /// Whether calls begin from a snapshot.
    pub(super) fn is_frozen(&self) -> bool {
        self.frozen().is_some()
    }

    /// What a fresh instance is made of.
    pub(super) fn origin(&self) -> Origin<'_> {
        self.frozen().map_or_else(|| self.plain(), Origin::Frozen)
    }

    /// The same, without its configuration.
    pub(super) fn template(&self) -> &Template {
        self.frozen().unwrap_or_else(|| self.plugin.template())
    }

    fn frozen(&self) -> Option<&Template> {
        match self.isolation {
            Isolation::Auto | Isolation::Snapshot => self.frozen.get()?.as_ref().ok(),
            Isolation::Configure | Isolation::Reuse => None,
        }
    }

    fn plain(&self) -> Origin<'_> {
        Origin::Plain(self.plugin.template(), self.config.expose())
    }

    fn configuration(&self) -> Configuration<'_> {
        Configuration { json: self.config.expose(), limits: self.limits, is_kept: !self.config.has_secrets() }
    }

    fn take_frozen_before(&self) {
        if let Some(component) = self.plugin.frozen_before(self.configuration()) {
            // It judged well when it was made; a compiler that changed would have changed its name.
            self.frozen.get_or_init(|| self.tried(&component));
        }
    }

    /// Links a frozen component, and holds a call of it against one of a configured instance.
    fn tried(&self, component: &wasmtime::component::Component) -> Result<Template, FreezeError> {
        let engine = self.plugin.engine();
        let template = Template::new(engine.linker(), component)
            .map_err(|error| FreezeError::Snapshot(super::preflight::reason(&error)))?;
        trial::same(engine, self.plain(), Origin::Frozen(&template), self.limits)?;
        Ok(template)
    }

    fn run_reused(&self, run: Run<'_>) -> Answer {
        let engine = self.plugin.engine();
        let used = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let (answer, ready) = match used {
            Some(ready) => {
                engine.idle().fetch_sub(1, Ordering::Relaxed);
                sandbox::run_again(engine, ready, run)
            }
            None => sandbox::run(engine, self.plain(), run),
        };
        if let Some(ready) = ready.filter(|_| may_idle(engine.idle())) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(ready);
        }
        answer
    }
}

impl Freezable for Instances {
    fn freeze_for_auto(&self) {
        let plugin = &self.plugin.manifest().name;
        match self.freeze() {
            Ok(()) => tracing::debug!(plugin, "a check starts from its snapshot from now on"),
            Err(_) if self.config.has_secrets() => {
                tracing::info!(plugin, "a check cannot be frozen, it is configured for every call");
            }
            Err(error) => {
                tracing::info!(plugin, reason = %error, "a check cannot be frozen, it is configured for every call");
            }
        }
    }
}

impl Drop for Instances {
    fn drop(&mut self) {
        let idle = self.idle.get_mut().unwrap_or_else(PoisonError::into_inner).len();
        self.plugin.engine().idle().fetch_sub(idle, Ordering::Relaxed);
    }
}

/// Counts one more idle instance, unless there are too many.
fn may_idle(idle: &AtomicUsize) -> bool {
    idle.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < IDLE_MAX).then_some(count + 1))
        .is_ok()
}
