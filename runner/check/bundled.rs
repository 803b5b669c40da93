//! The bundled checks, inside the program: one binary has them all.

/// Declares the bundled checks once: each is a component that `plugins/build` makes.
macro_rules! bundled_checks {
    ($($name:literal),+) => {
        /// Names of the bundled checks.
        pub const BUNDLED_NAMES: &[&str] = &[$($name),+];

        /// The component of a bundled check.
        pub fn bundled(name: &str) -> Option<&'static [u8]> {
            match name {
                $($name => Some(include_bytes!(concat!("../../plugins/prebuilt/", $name, ".wasm"))),)+
                _ => None,
            }
        }
    };
}

bundled_checks!("status", "latency", "header", "body", "json", "cel", "certificate", "changed", "html");

/// The component that has several of them as its parts; no pipeline file names it.
pub(super) const TOGETHER: &[u8] = include_bytes!("../../plugins/prebuilt/together.wasm");

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::check::{CheckEngine, Plugin};

    #[test]
    fn every_bundled_check_loads_and_bears_its_name() {
        let engine = Arc::new(CheckEngine::new().unwrap());
        for name in BUNDLED_NAMES {
            let plugin = Plugin::load(&engine, bundled(name).unwrap()).unwrap();
            let manifest = plugin.manifest();
            assert_eq!(manifest.name, *name);
            assert!(manifest.config_schema.is_some() && !manifest.summary.is_empty(), "{manifest:?}");
        }
        assert!(bundled("no-such").is_none());
    }
}
