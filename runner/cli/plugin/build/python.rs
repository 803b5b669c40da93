//! Python: componentize-py, which puts modules and the CPython interpreter into a component.

use std::ffi::OsString;
use std::path::Path;

use anyhow::bail;

use super::super::kit::{CONTRACT, PYTHON_TOOL};
use super::{absolute, kit_folder, read, scratch, tool};

/// The component of the author's modules.
pub(super) fn build(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = folder.display();
    let Some(componentize) = tool::find(folder, &[".venv/bin", ".venv/Scripts"], &["componentize-py"]) else {
        bail!(
            "componentize-py is missing; in {shown}, this line brings it: \
             python3 -m venv .venv && .venv/bin/pip install {PYTHON_TOOL}"
        );
    };
    let source = folder.join("src");
    if !source.join("app.py").is_file() {
        bail!("there is no {}: the check is the module \"app\"", source.join("app.py").display());
    }
    let wit = kit_folder(folder, "wit", CONTRACT)?;
    let made = absolute(&scratch(folder)?.join("made.wasm"))?;
    let mut arguments: Vec<OsString> = vec!["-d".into(), wit.into()];
    arguments.extend(["-w", "check", "componentize", "--stub-wasi", "-p"].map(OsString::from));
    arguments.extend([absolute(&source)?.into(), "-o".into(), made.clone().into(), "app".into()]);
    // Its own backtrace would hide where in the author's module the mistake is.
    let environment = [("RUST_BACKTRACE".to_owned(), "0".to_owned())];
    tool::run(folder, &componentize, &arguments, &environment)?;
    read(&made)
}
