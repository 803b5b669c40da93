//! A runner of tomorrow, as small as it can be: bindings made from the contract of `tests/compat/grown`,
//! which has one method more than that of today.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, HashMap};

use probity::model::CheckStatus;
use wasmtime::component::{Component, HasSelf, Linker, Resource};
use wasmtime::{Config, Engine, Store};

#[allow(missing_docs, unreachable_pub, clippy::pedantic, reason = "generated")]
mod bindings {
    wasmtime::component::bindgen!({
        world: "check",
        path: "tests/compat/grown",
    });
}

use bindings::exports::probity::check::checker::Status;
use bindings::probity::check::{observation, report, state};

/// Everything that this runner keeps.
#[derive(Default)]
struct Kept {
    body: Vec<u8>,
    metrics: BTreeMap<String, f64>,
    state: HashMap<String, Vec<u8>>,
}

/// A runner with one plugin.
pub(crate) struct Tomorrow {
    engine: Engine,
    component: Component,
    linker: Linker<Kept>,
    state: HashMap<String, Vec<u8>>,
}

/// What the plugin said.
pub(crate) struct Answer {
    pub(crate) status: CheckStatus,
    pub(crate) message: String,
    pub(crate) metrics: BTreeMap<String, f64>,
}

impl Tomorrow {
    /// Compiles and links a plugin.
    pub(crate) fn load(bytes: &[u8]) -> Self {
        let mut config = Config::new();
        config.concurrency_support(false);
        let engine = Engine::new(&config).unwrap();
        let mut linker = Linker::new(&engine);
        bindings::Check::add_to_linker::<_, HasSelf<_>>(&mut linker, |kept: &mut Kept| kept).unwrap();
        let component = Component::from_binary(&engine, bytes).unwrap();
        Self { engine, component, linker, state: HashMap::new() }
    }

    /// What the plugin says of itself.
    pub(crate) fn describe(&self) -> Vec<(String, String)> {
        let mut store = Store::new(&self.engine, Kept::default());
        let check = bindings::Check::instantiate(&mut store, &self.component, &self.linker).unwrap();
        check.probity_check_manifest().call_describe(&mut store).unwrap()
    }

    /// Has a fresh instance judge a body, and keeps what it remembers.
    pub(crate) fn judge(&mut self, config: &str, body: &[u8]) -> Answer {
        let kept = Kept { body: body.to_vec(), state: std::mem::take(&mut self.state), ..Kept::default() };
        let mut store = Store::new(&self.engine, kept);
        let check = bindings::Check::instantiate(&mut store, &self.component, &self.linker).unwrap();
        let checker = check.probity_check_checker();
        checker.call_configure(&mut store, config).unwrap().unwrap();
        let verdict = checker.call_run(&mut store, Resource::new_borrow(0)).unwrap().unwrap();
        let kept = store.into_data();
        self.state = kept.state;
        let status = match verdict.status {
            Status::Pass => CheckStatus::Pass,
            Status::Warn => CheckStatus::Warn,
            Status::Fail => CheckStatus::Fail,
        };
        Answer { status, message: verdict.message, metrics: kept.metrics }
    }
}

type Lent = Resource<observation::Observation>;

impl observation::Host for Kept {}

impl observation::HostObservation for Kept {
    fn target(&mut self, _: Lent) -> String {
        "t".into()
    }

    fn label(&mut self, _: Lent, _: String) -> Option<String> {
        None
    }

    fn labels(&mut self, _: Lent) -> Vec<(String, String)> {
        Vec::new()
    }

    fn started_at(&mut self, _: Lent) -> u64 {
        0
    }

    fn method(&mut self, _: Lent) -> String {
        "GET".into()
    }

    fn url(&mut self, _: Lent) -> String {
        "http://t/".into()
    }

    fn error(&mut self, _: Lent) -> Option<String> {
        None
    }

    fn status(&mut self, _: Lent) -> Option<u16> {
        Some(200)
    }

    fn header(&mut self, _: Lent, _: String) -> Option<String> {
        None
    }

    fn header_values(&mut self, _: Lent, _: String) -> Vec<Vec<u8>> {
        Vec::new()
    }

    fn headers(&mut self, _: Lent) -> Vec<(String, Vec<u8>)> {
        Vec::new()
    }

    fn body_len(&mut self, _: Lent) -> u64 {
        self.body.len() as u64
    }

    fn body_truncated(&mut self, _: Lent) -> bool {
        false
    }

    fn body(&mut self, _: Lent) -> Vec<u8> {
        self.body.clone()
    }

    fn body_range(&mut self, _: Lent, _: u64, _: u64) -> Vec<u8> {
        Vec::new()
    }

    fn body_text(&mut self, _: Lent) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn timing(&mut self, _: Lent, _: String) -> Option<u64> {
        None
    }

    fn fact(&mut self, _: Lent, _: String) -> Option<String> {
        None
    }

    fn facts(&mut self, _: Lent) -> Vec<(String, String)> {
        Vec::new()
    }

    fn earlier_attempts(&mut self, _: Lent) -> u32 {
        0
    }

    fn drop(&mut self, _: Lent) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl report::Host for Kept {
    fn metric(&mut self, name: String, value: f64) {
        self.metrics.insert(name, value);
    }

    fn annotate(&mut self, _: String, _: String) {}

    fn log(&mut self, _: report::Level, _: String) {}
}

impl state::Host for Kept {
    fn get(&mut self, key: String) -> Option<Vec<u8>> {
        self.state.get(&key).cloned()
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), String> {
        self.state.insert(key, value);
        Ok(())
    }

    fn delete(&mut self, key: String) {
        self.state.remove(&key);
    }
}
