//! `probity plugin build`: a component from an author's folder, by the tools of its language.
//!
//! A build ends with a file that the runner takes, or with a reason: what the tools made is wrapped where it is
//! a core module, and loaded as `run` would load it before it is put in its place.

mod c;
mod javascript;
mod python;
mod rust;
mod tool;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;

use super::kit::{KitFile, Language};
use super::{Exit, output};
use crate::check::{self, ConfigureError, Limits, LoadError, Plugin, WrapError};
use crate::cli::compile::{self, Keep};

/// Arguments of `plugin build`.
#[derive(Debug, Args)]
pub(super) struct BuildArgs {
    /// The check's folder
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Where the component goes; by default into the folder, by the check's name
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Builds the check.
pub(super) fn build(args: &BuildArgs) -> anyhow::Result<Exit> {
    let BuildArgs { dir, out } = args;
    let language = language_of(dir)?;
    output::note(&format!("building {} ({})", dir.display(), language.title()));
    let made = match language {
        Language::Rust => rust::build(dir),
        Language::C => c::build(dir),
        Language::Js => javascript::build(dir),
        Language::Python => python::build(dir),
    }?;
    let component = component_of(made)?;
    let engine = Arc::new(compile::engine(Keep::InCache)?);
    let plugin = Plugin::load(&engine, &component).map_err(|error| {
        anyhow!("the runner would refuse what was built: {error}{}", hint(&error, language))
    })?;
    // An empty configuration may be refused, by a message; what traps on it lacks something.
    if let Err(ConfigureError::Failed(reason)) = plugin.configure("{}", Limits::default()) {
        let needed = match language {
            Language::Rust | Language::C => "",
            Language::Js | Language::Python => what_is_needed(language),
        };
        bail!("the check fails on an empty configuration: {reason}{needed}");
    }
    let manifest = plugin.manifest();
    let out = match out {
        Some(out) => out.clone(),
        None => dir.join(format!("{}.wasm", file_name(&manifest.name)?)),
    };
    publish(&out, &component)?;
    let (name, version) = (&manifest.name, &manifest.version);
    output::note(&format!("built {name} {version}, {}: {}", size(component.len()), out.display()));
    Ok(Exit::Success)
}

/// The language of a folder, by the files in it.
fn language_of(folder: &Path) -> anyhow::Result<Language> {
    if !folder.is_dir() {
        bail!("there is no folder {}", folder.display());
    }
    let has = |name: &str| folder.join(name).is_file();
    let has_ending = |ending: &str| !sources(folder, ending).is_empty();
    if has("Cargo.toml") {
        Ok(Language::Rust)
    } else if has("package.json") {
        Ok(Language::Js)
    } else if has_ending("c") {
        Ok(Language::C)
    } else if has_ending("py") {
        Ok(Language::Python)
    } else {
        bail!(
            "there is no check in {}: no Cargo.toml, no package.json, and no .c or .py file in it or in src; \
             \"probity plugin new NAME\" makes a folder to begin with",
            folder.display()
        )
    }
}

/// The files with an ending in a folder and in its `src`, sorted.
fn sources(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries =
        [folder.to_owned(), folder.join("src")].into_iter().filter_map(|folder| fs::read_dir(folder).ok());
    let files = entries.flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut found: Vec<PathBuf> = files
        .filter(|path| path.is_file() && path.extension().is_some_and(|found| found == ending))
        .collect();
    found.sort();
    found
}

/// A component of what a compiler made.
fn component_of(made: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    match check::component_from_core(&made) {
        Ok(component) => Ok(component),
        Err(WrapError::AlreadyComponent) => Ok(made),
        Err(error) => Err(error).context("what was built is no check"),
    }
}

/// What an author most likely forgot.
fn hint(error: &LoadError, language: Language) -> &'static str {
    match error {
        LoadError::MissingExport(_) | LoadError::Start(_) => what_is_needed(language),
        _ => "",
    }
}

/// What a check has to have in a language, besides what its compiler looks for.
fn what_is_needed(language: Language) -> &'static str {
    match language {
        Language::Rust => " (src/lib.rs needs \"probity_check::export!(…)\", with the type of the check)",
        Language::Js => " (the script has to export \"manifest\" and \"checker\")",
        Language::Python => " (src/app.py needs the classes \"Manifest\" and \"Checker\")",
        Language::C => "",
    }
}

/// The check's name as that of a file.
fn file_name(name: &str) -> anyhow::Result<String> {
    match crate::config::parse_name(name) {
        Ok(name) => Ok(name),
        Err(reason) => bail!(
            "the check says that its name is \"{name}\", which cannot be a file's: {reason}; \
             change it in describe, or name a file by --out"
        ),
    }
}

/// Puts the component in its place at once: who reads the file at that moment has the old one or the new one.
fn publish(out: &Path, component: &[u8]) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", out.display());
    let name = out.file_name().with_context(cannot)?;
    let aside = out.with_file_name(format!(".{}.new", name.to_string_lossy()));
    fs::write(&aside, component).with_context(cannot)?;
    fs::rename(&aside, out).with_context(cannot)
}

/// A size for people.
fn size(bytes: usize) -> String {
    if bytes < 1_000_000 {
        format!("{} KB", bytes.div_ceil(1_000))
    } else {
        format!("{:.1} MB", bytes as f64 / 1e6)
    }
}

/// A folder for what is made on the way.
fn scratch(folder: &Path) -> anyhow::Result<PathBuf> {
    let scratch = folder.join("target").join("plugin");
    fs::create_dir_all(&scratch).with_context(|| format!("cannot make the folder {}", scratch.display()))?;
    Ok(scratch)
}

/// A folder of the kit: the author's own, below `vendor`, else the program's, written out.
fn kit_folder(folder: &Path, name: &str, files: &[KitFile]) -> anyhow::Result<PathBuf> {
    let own = folder.join("vendor").join(name);
    if own.is_dir() {
        return absolute(&own);
    }
    let scratch = scratch(folder)?;
    for KitFile { path, content } in files {
        let file = scratch.join(path);
        let cannot = || format!("cannot write {}", file.display());
        if let Some(above) = file.parent() {
            fs::create_dir_all(above).with_context(cannot)?;
        }
        fs::write(&file, content).with_context(cannot)?;
    }
    absolute(&scratch.join("vendor").join(name))
}

/// The path from the root: tools are started in the author's folder.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot find {}", path.display()))
}

fn read(made: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(made).with_context(|| format!("cannot read {}", made.display()))
}
