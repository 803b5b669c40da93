//! Several bundled checks of a pipeline in one sandbox: a response gets one fresh instance for all of them, whose making
//! and clearing away costs several times what the checks do in it.
//!
//! The plugin `together` has these checks as parts, and is frozen with all their configurations, in the background, after
//! a hundred calls of them all. Each call is still one check's, with its own limits, report, memory and
//! deadline; whoever ends badly is called again in a sandbox of its own, so that no check's word depends on another's.
//! Nothing is shared between responses, and nothing with plugins that are not ours.

use std::sync::{Arc, OnceLock};

use super::component::Plugin;
use super::freezer::{Freezable, Patience};
use super::instances::{Instances, Isolation};
use super::limits::Limits;
use super::sandbox::Origin;
use super::set::{CheckConfig, ConfiguredCheck};
use super::trial;

/// Its parts.
const PARTS: [&str; 4] = ["status", "latency", "header", "body"];
/// What a call's part is asked for by, as a fact. No other plugin is told it.
pub(super) const MEMBER_FACT: &str = "probity.member";

/// The checks of a set that may share a sandbox.
#[derive(Debug)]
pub(super) struct Together {
    members: Vec<Arc<ConfiguredCheck>>,
    limits: Limits,
    patience: Patience,
    /// Where the instances come from; none where it came to nothing.
    instances: OnceLock<Option<Arc<Instances>>>,
}

impl Together {
    /// Those of a set that may share and have the same limits: the most there are. None where these are fewer than two.
    pub(super) fn of(checks: &[Arc<ConfiguredCheck>]) -> Option<Arc<Self>> {
        let may_share = |check: &&Arc<ConfiguredCheck>| {
            let plugin = check.plugin();
            let spec = check.spec();
            plugin.is_ours()
                && PARTS.contains(&plugin.manifest().name.as_str())
                && spec.isolation == Isolation::Auto
                && !spec.config.has_secrets()
        };
        let sharing: Vec<_> = checks.iter().filter(may_share).collect();
        let alike =
            |limits: Limits| sharing.iter().copied().filter(move |check| check.spec().limits == limits);
        let all_limits = sharing.iter().map(|check| check.spec().limits);
        // Backwards, since the last of equals is taken.
        let limits = all_limits.rev().max_by_key(|limits| alike(*limits).count())?;
        let members: Vec<_> = alike(limits).cloned().collect();
        (members.len() > 1).then(|| {
            Arc::new(Self { members, limits, patience: Patience::default(), instances: OnceLock::new() })
        })
    }

    /// Where the instance for the next response comes from; none before it is ready. To be asked for once a call.
    pub(super) fn instances(self: &Arc<Self>) -> Option<&Arc<Instances>> {
        if let Some(instances) = self.instances.get() {
            return instances.as_ref();
        }
        self.patience.call(self.members[0].plugin().engine().freezer(), self);
        None
    }

    /// Makes it ready now; whether it is.
    pub(super) fn make_ready(&self) -> bool {
        self.freeze_for_auto();
        self.instances.get().is_some_and(Option::is_some)
    }

    /// Which part a check is.
    pub(super) fn member(&self, check: &ConfiguredCheck) -> Option<u32> {
        let at = self.members.iter().position(|member| std::ptr::eq(&raw const **member, check))?;
        u32::try_from(at).ok()
    }

    fn freeze(&self) -> Result<Arc<Instances>, String> {
        let engine = self.members[0].plugin().engine();
        let plugin = Plugin::load_together(engine).map_err(|error| error.to_string())?;
        // Each of them may take as long as by itself.
        let limits = Limits { time: self.limits.time * self.members.len() as u32, ..self.limits };
        let config = CheckConfig::from(self.configuration());
        let instances = Instances::new(&Arc::new(plugin), &config, limits, Isolation::Snapshot)
            .map_err(|error| error.to_string())?;
        for (number, member) in self.members.iter().enumerate() {
            let alone = member.instances().origin();
            let shared = Origin::Frozen(instances.template());
            trial::same_as_part(engine, alone, shared, number as u32, limits)
                .map_err(|error| error.to_string())?;
        }
        Ok(instances)
    }

    /// The configuration of all of them, JSON text.
    fn configuration(&self) -> String {
        let part = |check: &Arc<ConfiguredCheck>| {
            let (plugin, config) = (&check.plugin().manifest().name, check.spec().config.expose());
            serde_json::json!({ "plugin": plugin, "config": config })
        };
        serde_json::json!({ "checks": self.members.iter().map(part).collect::<Vec<_>>() }).to_string()
    }
}

impl Freezable for Together {
    fn freeze_for_auto(&self) {
        self.instances.get_or_init(|| match self.freeze() {
            Ok(instances) => {
                tracing::debug!(checks = self.members.len(), "bundled checks share a sandbox from now on");
                Some(instances)
            }
            Err(reason) => {
                tracing::info!(reason, "bundled checks cannot share a sandbox, each has its own");
                None
            }
        });
    }
}
