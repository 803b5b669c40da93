//! Which results a command reads: folders that are named, or those of the data folder.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::config::Diagnostics;
use crate::pipeline;
use crate::sink::Folders;

/// Where pipelines and the runner's own file stand unless somebody says otherwise.
const PIPELINES: &str = "pipelines";

/// Which results.
#[derive(Debug, Args)]
pub(super) struct ResultsArgs {
    /// Results folders [default: all of the data folder]
    #[arg(value_name = "RESULTS")]
    paths: Vec<PathBuf>,
    /// The folder that results and state are relative to [default: what probity.toml says, else .]
    #[arg(long, value_name = "DIR", conflicts_with = "paths")]
    data: Option<PathBuf>,
}

impl ResultsArgs {
    /// The results folders. Fails where there are none.
    pub(super) fn folders(&self) -> anyhow::Result<Vec<PathBuf>> {
        if !self.paths.is_empty() {
            return Ok(self.paths.clone());
        }
        let settings = || pipeline::settings(&[PathBuf::from(PIPELINES)], &mut Diagnostics::default());
        let data = self.data.clone().or_else(|| settings().data).unwrap_or_default();
        let shown = if data.as_os_str().is_empty() { Path::new(".") } else { &data };
        let found = Folders::results_in(&data)
            .with_context(|| format!("cannot look for results in \"{}\"", shown.display()))?;
        if found.is_empty() {
            bail!(
                "there are no results in \"{}\"; --data names the data folder of the runner",
                shown.display()
            );
        }
        Ok(found)
    }
}
