//! JavaScript: componentize-qjs, which puts a script and the QuickJS interpreter into a component.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::super::kit::CONTRACT;
use super::{absolute, kit_folder, read, scratch, tool};
use crate::check;

/// The part of package.json that matters here.
#[derive(Deserialize)]
struct Package {
    main: Option<PathBuf>,
}

/// The component of the author's script.
pub(super) fn build(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let script = script(folder)?;
    let shown = folder.display();
    if tool::find(folder, &[], &["node"]).is_none() {
        bail!("node is not installed: https://nodejs.org, or your system's package \"nodejs\", brings it");
    }
    let Some(componentize) = tool::find(folder, &["node_modules/.bin"], &["componentize-qjs"]) else {
        bail!("componentize-qjs is missing; in {shown}, this line brings it: npm install");
    };
    let wit = kit_folder(folder, "wit", CONTRACT)?;
    let made = absolute(&scratch(folder)?.join("made.wasm"))?;
    let mut arguments: Vec<OsString> = ["--sync", "--stub-wasi", "-n", "check"].map(Into::into).to_vec();
    for (option, path) in [("-w", wit), ("-j", script), ("-o", made.clone())] {
        arguments.extend([option.into(), path.into()]);
    }
    tool::run(folder, &componentize, &arguments, &[])?;
    let component = read(&made)?;
    let changed = check::finish_component(&component).context(
        "what componentize-qjs made cannot be finished; try the version that \"probity plugin new\" names",
    )?;
    Ok(changed.unwrap_or(component))
}

/// The script: what package.json calls `main`, else `src/check.js`.
fn script(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join("package.json");
    let package: Package = serde_json::from_slice(&read(&path)?)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    let script = folder.join(package.main.unwrap_or_else(|| "src/check.js".into()));
    if !script.is_file() {
        bail!("there is no {}: \"main\" in package.json names the script", script.display());
    }
    absolute(&script)
}
