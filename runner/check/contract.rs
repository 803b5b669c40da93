//! The contract of `wit/`, version 0.1: the only file that sees the generated bindings. It turns them
//! into our own types; another major version gets another file like this one.

use wasmtime::component::{Component, HasSelf, Linker, Resource};
use wasmtime::{Engine, Store};

use super::observed::Observed;
use super::report::LogLevel;
use super::sandbox::Call;
use super::together::MEMBER_FACT;
use crate::model::CheckStatus;

#[allow(missing_docs, unreachable_pub, clippy::pedantic, reason = "generated")]
mod bindings {
    wasmtime::component::bindgen!({
        world: "check",
        path: "wit",
        imports: { default: trappable },
        with: { "probity:check/observation.observation": crate::check::Observed },
        require_store_data_send: true,
    });
}

use bindings::exports::probity::check::checker::Status;
use bindings::probity::check::{observation, report, state};

/// The package that plugins import and export.
pub(super) const PACKAGE: &str = "probity:check";
/// Its version that this file speaks. A plugin made for another 0.1.x matches.
pub(super) const VERSION: (u64, u64, u64) = (0, 1, 0);
/// Interfaces that a plugin may import.
pub(super) const IMPORTS: [&str; 3] = ["observation", "report", "state"];
/// Interfaces that a plugin has to export.
pub(super) const EXPORTS: [&str; 2] = ["manifest", "checker"];

/// There is one observation in a call, so that its number needs no table.
const THE_OBSERVATION: u32 = 0;

/// A plugin whose imports are linked: instances are made from it.
#[derive(Clone)]
pub(super) struct Template(bindings::CheckPre<Call>);

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Template").finish_non_exhaustive()
    }
}

/// One instance of a plugin, in a store of its own.
pub(super) struct Instance(bindings::Check);

/// An instance whose other exports can be seen as well, ready for [`Instance::configure`].
pub(super) fn bare_instance(
    linker: &Linker<Call>,
    component: &Component,
    store: &mut Store<Call>,
) -> wasmtime::Result<(Instance, wasmtime::component::Instance)> {
    let bare = linker.instantiate(&mut *store, component)?;
    Ok((Instance(bindings::Check::new(store, &bare)?), bare))
}

/// What plugins may import.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Call>> {
    let mut linker = Linker::new(engine);
    bindings::Check::add_to_linker::<_, HasSelf<_>>(&mut linker, |call: &mut Call| call)?;
    Ok(linker)
}

impl Template {
    /// Links a compiled plugin.
    pub(super) fn new(linker: &Linker<Call>, component: &Component) -> wasmtime::Result<Self> {
        Ok(Self(bindings::CheckPre::new(linker.instantiate_pre(component)?)?))
    }

    /// What it was linked from.
    pub(super) fn component(&self) -> &Component {
        self.0.instance_pre().component()
    }

    /// A fresh instance.
    pub(super) fn instantiate(&self, store: &mut Store<Call>) -> wasmtime::Result<Instance> {
        Ok(Instance(self.0.instantiate(store)?))
    }
}

impl Instance {
    /// What the plugin says of itself.
    pub(super) fn describe(&self, store: &mut Store<Call>) -> wasmtime::Result<Vec<(String, String)>> {
        self.0.probity_check_manifest().call_describe(store)
    }

    /// Gives the plugin its configuration.
    pub(super) fn configure(
        &self,
        store: &mut Store<Call>,
        json: &str,
    ) -> wasmtime::Result<Result<(), String>> {
        self.0.probity_check_checker().call_configure(store, json)
    }

    /// Has the plugin judge the observation of the store.
    pub(super) fn run(
        &self,
        store: &mut Store<Call>,
    ) -> wasmtime::Result<Result<(CheckStatus, String), String>> {
        let lent = Resource::new_borrow(THE_OBSERVATION);
        let answer = self.0.probity_check_checker().call_run(store, lent)?;
        Ok(answer.map(|verdict| (status(verdict.status), verdict.message)))
    }
}

fn status(status: Status) -> CheckStatus {
    match status {
        Status::Pass => CheckStatus::Pass,
        Status::Warn => CheckStatus::Warn,
        Status::Fail => CheckStatus::Fail,
    }
}

type Lent = Resource<Observed>;

impl observation::Host for Call {}

impl observation::HostObservation for Call {
    fn target(&mut self, _: Lent) -> wasmtime::Result<String> {
        Ok(self.see()?.target.name.to_string())
    }

    fn label(&mut self, _: Lent, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.see()?.target.label(&name).map(str::to_owned))
    }

    fn labels(&mut self, _: Lent) -> wasmtime::Result<Vec<(String, String)>> {
        let labels = &self.see()?.target.labels;
        Ok(labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
    }

    fn started_at(&mut self, _: Lent) -> wasmtime::Result<u64> {
        Ok(u64::try_from(self.see()?.started_at.0).unwrap_or(0))
    }

    fn method(&mut self, _: Lent) -> wasmtime::Result<String> {
        Ok(self.see()?.method().to_owned())
    }

    fn url(&mut self, _: Lent) -> wasmtime::Result<String> {
        Ok(self.see()?.url().to_owned())
    }

    fn error(&mut self, _: Lent) -> wasmtime::Result<Option<String>> {
        Ok(self.see()?.error().map(str::to_owned))
    }

    fn status(&mut self, _: Lent) -> wasmtime::Result<Option<u16>> {
        Ok(self.see()?.status())
    }

    fn header(&mut self, _: Lent, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.see()?.header(&name))
    }

    fn header_values(&mut self, _: Lent, name: String) -> wasmtime::Result<Vec<Vec<u8>>> {
        Ok(self.see()?.header_values(&name))
    }

    fn headers(&mut self, _: Lent) -> wasmtime::Result<Vec<(String, Vec<u8>)>> {
        Ok(self.see()?.headers())
    }

    fn body_len(&mut self, _: Lent) -> wasmtime::Result<u64> {
        Ok(self.see()?.exchange.body.len() as u64)
    }

    fn body_truncated(&mut self, _: Lent) -> wasmtime::Result<bool> {
        Ok(self.see()?.exchange.body_truncated.unwrap_or(false))
    }

    fn body(&mut self, _: Lent) -> wasmtime::Result<Vec<u8>> {
        Ok(self.see()?.exchange.body.to_vec())
    }

    fn body_range(&mut self, _: Lent, offset: u64, len: u64) -> wasmtime::Result<Vec<u8>> {
        Ok(self.see()?.body_range(offset, len).to_vec())
    }

    fn body_text(&mut self, _: Lent) -> wasmtime::Result<String> {
        Ok(self.see()?.body_text())
    }

    fn timing(&mut self, _: Lent, name: String) -> wasmtime::Result<Option<u64>> {
        Ok(self.see()?.timing(&name))
    }

    fn fact(&mut self, _: Lent, name: String) -> wasmtime::Result<Option<String>> {
        if let (MEMBER_FACT, Some(member)) = (&*name, self.member) {
            return Ok(Some(member.to_string()));
        }
        Ok(self.see()?.fact(&name))
    }

    fn facts(&mut self, _: Lent) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.see()?.facts())
    }

    fn drop(&mut self, _: Lent) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl report::Host for Call {
    fn metric(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        self.tell()?.metric(&name, value);
        Ok(())
    }

    fn annotate(&mut self, name: String, value: String) -> wasmtime::Result<()> {
        self.tell()?.annotate(&name, &value);
        Ok(())
    }

    fn log(&mut self, level: report::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            report::Level::Debug => LogLevel::Debug,
            report::Level::Info => LogLevel::Info,
            report::Level::Warn => LogLevel::Warn,
            report::Level::Error => LogLevel::Error,
        };
        self.tell()?.log(level, &message);
        Ok(())
    }
}

impl state::Host for Call {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.remember()?.and_then(|state| state.get(&key)))
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), String>> {
        Ok(match self.remember()? {
            Some(state) => state.set(key, value),
            None => Err("there is no state in describe and configure".to_owned()),
        })
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        if let Some(state) = self.remember()? {
            state.delete(&key);
        }
        Ok(())
    }
}
