//! The kit to write a check for Probity in Rust: one trait (`Check`), one macro (`export!`).
//!
//! A check is a pure function of its configuration and an observation. It has no clock, no network
//! and no files, so it can be tested like any other function: `TestObservation` stands in for the
//! host in native tests, and `cases` runs a plugin's `cases.toml`. `plugins/README.md` shows a whole
//! check.

mod config;
mod date;
mod excerpt;
mod observation;
#[cfg(feature = "regex")]
mod pattern;
mod verdict;

pub mod report;
pub mod schema;
pub mod state;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
#[cfg(not(target_arch = "wasm32"))]
mod test_observation;

#[cfg(all(feature = "cases", not(target_arch = "wasm32")))]
pub mod cases;

pub use config::{Length, OneOrMany, parse as parse_config};
pub use date::unix_seconds;
pub use excerpt::excerpt;
pub use observation::{Observation, Phase};
#[cfg(feature = "regex")]
pub use pattern::Pattern;
pub use report::{Level, annotate, log, metric};
/// The derive of `JsonSchema` wants the crate in scope: `use probity_check::{JsonSchema, schemars};`.
pub use schemars::{self, JsonSchema};
#[cfg(not(target_arch = "wasm32"))]
pub use test_observation::TestObservation;
pub use verdict::{Findings, MESSAGE_BYTES, Status, Verdict};

/// A check plugin.
pub trait Check: Sized + 'static {
    /// What the plugin says of itself.
    const MANIFEST: Manifest;

    /// The configuration as it is written under `config` in a pipeline file: a type that derives
    /// `serde::Deserialize` and `JsonSchema`. Its doc comments are the descriptions in its schema. Let
    /// unknown keys be errors: `#[serde(deny_unknown_fields)]`.
    type Config: serde::de::DeserializeOwned + JsonSchema;

    /// Called once per configuration, before any `run`: compile expressions here. The error is
    /// shown to the person who wrote the configuration.
    fn configure(config: Self::Config) -> Result<Self, String>;

    /// Judges one attempt. An error means: could not judge.
    fn run(&self, seen: &dyn Observation) -> Result<Verdict, String>;
}

/// What a plugin says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Manifest {
    /// The plugin's name: `env!("CARGO_PKG_NAME")`.
    pub name: &'static str,
    /// The plugin's version: `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
    /// One line on what it judges: `env!("CARGO_PKG_DESCRIPTION")`.
    pub summary: &'static str,
    /// Whether it reads the body. Where no check does, the runner need not keep it.
    pub needs_body: bool,
}

impl Manifest {
    /// The documented keys of the contract's `describe`, with their values, but for the schema.
    pub fn entries(&self) -> [(&'static str, &'static str); 4] {
        [
            ("name", self.name),
            ("version", self.version),
            ("summary", self.summary),
            ("needs-body", if self.needs_body { "true" } else { "false" }),
        ]
    }
}

/// Makes a type that implements `Check` the plugin of this crate.
///
/// `export!(Cart);` has the component make the schema of its configuration when it is asked to describe
/// itself. `export!(Cart, schema = "schema.json");` takes it from that file beside `Cargo.toml`, which
/// makes the component 60 KB smaller, and adds a test that tells when the file is stale.
///
/// On other targets than wasm32 it only names the functions that a guest would export, so that tests
/// build without a host.
#[macro_export]
macro_rules! export {
    ($check:ty) => {
        $crate::export!(@plugin $check, $crate::schema::of::<$check>());
    };
    ($check:ty, schema = $path:literal) => {
        $crate::export!(@plugin $check, ::std::string::String::from(
            ::std::include_str!(::std::concat!(::std::env!("CARGO_MANIFEST_DIR"), "/", $path)),
        ));

        #[cfg(test)]
        mod config_schema {
            use super::*;

            #[test]
            fn is_fresh() -> ::std::result::Result<(), ::std::string::String> {
                let path = ::std::concat!(::std::env!("CARGO_MANIFEST_DIR"), "/", $path);
                $crate::schema::is_fresh::<$check>(path)
            }
        }
    };
    (@plugin $check:ty, $schema:expr) => {
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            let _ = <$check as $crate::Check>::MANIFEST;
            let _ = <$check as $crate::Check>::configure;
            let _ = <$check as $crate::Check>::run;
        };

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "the bindings name the exported functions by attribute")]
        const _: () = {
            ::std::thread_local! {
                static CONFIGURED: ::std::cell::RefCell<::std::option::Option<$check>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            struct Plugin;

            impl $crate::guest::bindings::exports::probity::check::manifest::Guest for Plugin {
                fn describe() -> ::std::vec::Vec<(::std::string::String, ::std::string::String)> {
                    $crate::guest::describe::<$check>($schema)
                }
            }

            impl $crate::guest::bindings::exports::probity::check::checker::Guest for Plugin {
                fn configure(
                    config: ::std::string::String,
                ) -> ::std::result::Result<(), ::std::string::String> {
                    CONFIGURED.with(|slot| $crate::guest::configure(slot, &config))
                }

                fn run(
                    observation: &$crate::guest::bindings::probity::check::observation::Observation,
                ) -> ::std::result::Result<
                    $crate::guest::bindings::exports::probity::check::checker::Verdict,
                    ::std::string::String,
                > {
                    CONFIGURED.with(|slot| $crate::guest::run(slot, observation))
                }
            }

            $crate::guest::bindings::export_bindings!(Plugin with_types_in $crate::guest::bindings);
        };
    };
}
