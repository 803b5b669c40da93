//! The plugin that a subcommand works on: a file, or a check that comes with the program.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};

use crate::check::{BUNDLED_NAMES, CheckEngine, LoadError, PLUGIN_BYTES_MAX, Plugin, bundled};
use crate::cli::compile::{self, Keep};
use crate::cli::{Exit, output};
use crate::config::{did_you_mean, read_input};

/// A plugin's bytes, and whose they are.
pub(super) enum Found {
    /// A check that comes with the program, by its name.
    Bundled(&'static str, &'static [u8]),
    /// The content of a file.
    File(Vec<u8>),
}

impl Found {
    /// The file that ends in `.wasm` (or is there), else the bundled check of that name.
    pub(super) fn read(wanted: &str) -> anyhow::Result<Self> {
        let path = Path::new(wanted);
        if path.extension().is_some_and(|ending| ending == "wasm") || path.is_file() {
            // A file that is longer is refused by the plugin's own limit.
            return read_input(path, PLUGIN_BYTES_MAX as u64)
                .map(Self::File)
                .map_err(|reason| anyhow!("the plugin \"{wanted}\" cannot be read: {reason}"));
        }
        let mut names = BUNDLED_NAMES.iter().copied();
        if let Some(name) = names.clone().find(|name| *name == wanted)
            && let Some(bytes) = bundled(name)
        {
            return Ok(Self::Bundled(name, bytes));
        }
        match did_you_mean(wanted, &mut names) {
            Some(near) => {
                bail!("there is no file and no bundled check \"{wanted}\", did you mean \"{near}\"?")
            }
            None => bail!(
                "there is no file and no bundled check \"{wanted}\": a file ends in .wasm, bundled are {}",
                BUNDLED_NAMES.join(", ")
            ),
        }
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Bundled(_, bytes) => bytes,
            Self::File(bytes) => bytes,
        }
    }

    /// The plugin, compiled by `engine`.
    pub(super) fn load(&self, engine: &Arc<CheckEngine>) -> Result<Arc<Plugin>, LoadError> {
        let loaded = match self {
            Self::Bundled(name, _) => Plugin::load_bundled(engine, name),
            Self::File(bytes) => Some(Plugin::load(engine, bytes)),
        };
        let missing = || Err(LoadError::Damaged("it is not among the bundled checks".to_owned()));
        loaded.unwrap_or_else(missing).map(Arc::new)
    }
}

/// The plugin that is wanted; compiled before, where that was done.
pub(in crate::cli) fn plugin(wanted: &str) -> anyhow::Result<Arc<Plugin>> {
    let found = Found::read(wanted)?;
    let engine = Arc::new(compile::engine(Keep::InCache)?);
    found.load(&engine).with_context(|| cannot(wanted))
}

/// What a plugin that is none is told with.
pub(super) fn cannot(wanted: &str) -> String {
    format!("the plugin \"{wanted}\" cannot be used")
}

/// Tells why there is no plugin; how the command ends then.
pub(super) fn refuse(error: &anyhow::Error) -> Exit {
    output::error(&format!("{error:#}"));
    Exit::Negative
}
