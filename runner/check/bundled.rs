//! The checks that come with the binary. Their source is in `plugins/`; what is embedded are the
//! components of `plugins/prebuilt/`.

/// Name and component, sorted by name.
const BUNDLED: [(&str, &[u8]); 4] = [
    ("body", include_bytes!("../../plugins/prebuilt/body.wasm")),
    ("header", include_bytes!("../../plugins/prebuilt/header.wasm")),
    ("latency", include_bytes!("../../plugins/prebuilt/latency.wasm")),
    ("status", include_bytes!("../../plugins/prebuilt/status.wasm")),
];

/// The names of the bundled checks, sorted.
pub const BUNDLED_NAMES: [&str; BUNDLED.len()] = {
    let mut names = [""; BUNDLED.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = BUNDLED[at].0;
        at += 1;
    }
    names
};

/// The component of a bundled check.
pub fn bundled(name: &str) -> Option<&'static [u8]> {
    BUNDLED.iter().find(|(known, _)| *known == name).map(|(_, component)| *component)
}

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
            assert_eq!(manifest.name, name);
            assert!(manifest.config_schema.is_some() && !manifest.summary.is_empty(), "{manifest:?}");
        }
        assert!(bundled("no-such").is_none());
    }
}
