//! The guest's side of the contract: generated bindings, and the glue between them and the kit's
//! own types. Only compiled for wasm32; `export!` is its only user outside the kit.

use std::cell::RefCell;
use std::time::Duration;

use crate::{Check, Level, Observation, Phase, Status, Verdict, config};

pub mod bindings {
    #![allow(unsafe_code, missing_docs, unreachable_pub, reason = "generated from wit/check.wit")]
    #![allow(clippy::all, clippy::pedantic, reason = "generated from wit/check.wit")]

    wit_bindgen::generate!({
        path: "../../wit",
        world: "check",
        pub_export_macro: true,
        export_macro_name: "export_bindings",
    });
}

use bindings::exports::probity::check::checker;
use bindings::probity::check::{observation, report, state};

/// A number, stored with the verdict. The unit is in the name: `price_gbp`, `age_seconds`.
pub fn metric(name: &str, value: f64) {
    report::metric(name, value);
}

/// A short text, stored with the verdict.
pub fn annotate(name: &str, value: &str) {
    report::annotate(name, value);
}

/// A line in the runner's log.
pub fn log(level: Level, message: &str) {
    let level = match level {
        Level::Debug => report::Level::Debug,
        Level::Info => report::Level::Info,
        Level::Warn => report::Level::Warn,
        Level::Error => report::Level::Error,
    };
    report::log(level, message);
}

/// The value last kept under this key.
pub fn get(key: &str) -> Option<Vec<u8>> {
    state::get(key)
}

/// Remember a value. Fails when the quota is used up.
pub fn set(key: &str, value: &[u8]) -> Result<(), String> {
    state::set(key, value)
}

/// Forget a value.
pub fn delete(key: &str) {
    state::delete(key);
}

/// The answer to `describe`.
pub fn describe<Plugin: Check>(schema: String) -> Vec<(String, String)> {
    let entries = Plugin::MANIFEST.entries().map(|(key, value)| (key.to_owned(), value.to_owned()));
    entries.into_iter().chain([("config-schema".to_owned(), schema)]).collect()
}

/// The answer to `configure`: the configured check is kept for `run`.
pub fn configure<Plugin: Check>(slot: &RefCell<Option<Plugin>>, json: &str) -> Result<(), String> {
    // A panic becomes a trap without a text: this is the only way its message leaves the guest.
    std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string())));
    let check = Plugin::configure(config::parse(json)?)?;
    slot.replace(Some(check));
    Ok(())
}

/// The answer to `run`.
pub fn run<Plugin: Check>(
    slot: &RefCell<Option<Plugin>>,
    seen: &observation::Observation,
) -> Result<checker::Verdict, String> {
    let slot = slot.borrow();
    let check = slot.as_ref().ok_or("run was called before configure")?;
    let Verdict { status, message } = check.run(&Lent(seen))?;
    let status = match status {
        Status::Pass => checker::Status::Pass,
        Status::Warn => checker::Status::Warn,
        Status::Fail => checker::Status::Fail,
    };
    Ok(checker::Verdict { status, message })
}

/// The host's observation, lent for one call.
struct Lent<'a>(&'a observation::Observation);

impl Observation for Lent<'_> {
    fn target(&self) -> String {
        self.0.target()
    }

    fn label(&self, name: &str) -> Option<String> {
        self.0.label(name)
    }

    fn labels(&self) -> Vec<(String, String)> {
        self.0.labels()
    }

    fn started_at_ns(&self) -> u64 {
        self.0.started_at()
    }

    fn method(&self) -> String {
        self.0.method()
    }

    fn url(&self) -> String {
        self.0.url()
    }

    fn error(&self) -> Option<String> {
        self.0.error()
    }

    fn status(&self) -> Option<u16> {
        self.0.status()
    }

    fn header(&self, name: &str) -> Option<String> {
        self.0.header(name)
    }

    fn header_values(&self, name: &str) -> Vec<Vec<u8>> {
        self.0.header_values(name)
    }

    fn headers(&self) -> Vec<(String, Vec<u8>)> {
        self.0.headers()
    }

    fn body_len(&self) -> u64 {
        self.0.body_len()
    }

    fn body_truncated(&self) -> bool {
        self.0.body_truncated()
    }

    fn body(&self) -> Vec<u8> {
        self.0.body()
    }

    fn body_range(&self, offset: u64, len: u64) -> Vec<u8> {
        self.0.body_range(offset, len)
    }

    fn body_text(&self) -> String {
        self.0.body_text()
    }

    fn timing(&self, phase: Phase) -> Option<Duration> {
        self.0.timing(phase.wit_name()).map(Duration::from_nanos)
    }

    fn fact(&self, name: &str) -> Option<String> {
        self.0.fact(name)
    }

    fn facts(&self) -> Vec<(String, String)> {
        self.0.facts()
    }
}
