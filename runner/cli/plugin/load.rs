//! The plugin that a subcommand works on: a file, or a check that comes with the program.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};

use crate::check::{BUNDLED_NAMES, PLUGIN_BYTES_MAX, Plugin, bundled};
use crate::cli::compile::{self, Keep};
use crate::cli::{Exit, output};
use crate::config::{did_you_mean, read_input};

/// The bytes of a plugin: of a file that ends in `.wasm`, else of the bundled check of that name.
pub(in crate::cli) fn bytes(wanted: &str) -> anyhow::Result<Vec<u8>> {
    let path = Path::new(wanted);
    if path.extension().is_some_and(|ending| ending == "wasm") || path.is_file() {
        // A file that is longer is refused by the plugin's own limit.
        return read_input(path, PLUGIN_BYTES_MAX as u64)
            .map_err(|reason| anyhow!("the plugin \"{wanted}\" cannot be read: {reason}"));
    }
    if let Some(bytes) = bundled(wanted) {
        return Ok(bytes.to_vec());
    }
    match did_you_mean(wanted, BUNDLED_NAMES.iter().copied()) {
        Some(near) => bail!("there is no file and no bundled check \"{wanted}\", did you mean \"{near}\"?"),
        None => bail!(
            "there is no file and no bundled check \"{wanted}\": a file ends in .wasm, bundled are {}",
            BUNDLED_NAMES.join(", ")
        ),
    }
}

/// The plugin itself, and what makes its instances.
pub(in crate::cli) fn plugin(wanted: &str, bytes: &[u8]) -> anyhow::Result<Arc<Plugin>> {
    let engine = Arc::new(compile::engine(Keep::InCache)?);
    let plugin =
        Plugin::load(&engine, bytes).with_context(|| format!("the plugin \"{wanted}\" cannot be used"))?;
    Ok(Arc::new(plugin))
}

/// Tells why there is no plugin; how the command ends then.
pub(super) fn refuse(error: &anyhow::Error) -> Exit {
    output::error(&format!("{error:#}"));
    Exit::Negative
}
