//! Rust: cargo, with rustup's target for WebAssembly or Debian's compiler.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::super::kit::DEBIAN_COMPILER;
use super::{read, tool};

const TARGET: &str = "wasm32-unknown-unknown";

/// What cargo says of a crate that it has compiled, as far as it matters here.
#[derive(Deserialize)]
struct Artifact {
    reason: String,
    target: Option<ArtifactTarget>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct ArtifactTarget {
    kind: Vec<String>,
}

/// The core module that cargo makes.
pub(super) fn build(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let Some(cargo) = tool::find(folder, &[], &["cargo"]) else {
        bail!("cargo is not installed: https://rustup.rs brings it");
    };
    let mut environment = compiler(folder)?;
    // One folder for several checks, as the bundled ones have it: the kit is compiled once.
    if let Ok(target) = std::env::var("PROBITY_PLUGINS_TARGET") {
        environment.push(("CARGO_TARGET_DIR".to_owned(), target));
    }
    let arguments = ["build", "--release", "--target", TARGET, "--message-format=json-render-diagnostics"]
        .map(Into::into);
    let finished = tool::run(folder, &cargo, &arguments, &environment)?;
    let said = String::from_utf8_lossy(&finished.stdout);
    match said.lines().filter_map(core_module).next_back() {
        Some(core) => read(&core),
        None => {
            bail!("the crate is no plugin: Cargo.toml needs a table [lib] with crate-type = [\"cdylib\"]")
        }
    }
}

/// The core module that a line of cargo's tells of.
fn core_module(line: &str) -> Option<PathBuf> {
    let artifact: Artifact = serde_json::from_str(line).ok()?;
    let is_plugin = artifact.target.is_some_and(|target| target.kind.iter().any(|kind| kind == "cdylib"));
    let is_wasm = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "wasm");
    artifact
        .filenames
        .into_iter()
        .find(is_wasm)
        .filter(|_| artifact.reason == "compiler-artifact" && is_plugin)
}

/// What cargo needs in its environment to compile for WebAssembly; nothing where rustup has the target.
fn compiler(folder: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let asked = Command::new("rustc").args(["--print", "sysroot"]).current_dir(folder).output();
    let asked = asked.context("\"rustc\" cannot be started: https://rustup.rs brings it")?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim());
    if sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir() {
        return Ok(Vec::new());
    }
    let from_debian = if cfg!(target_os = "linux") { debian_compiler() } else { None };
    from_debian.with_context(|| {
        format!("this Rust compiler cannot make WebAssembly yet; this line brings what is missing: rustup target add {TARGET}")
    })
}

/// Debian's compiler, unpacked into a cache; none where it is not to be had.
fn debian_compiler() -> Option<Vec<(String, String)>> {
    let mut script = Command::new("bash")
        .arg("-s")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .ok()?;
    script.stdin.take()?.write_all(DEBIAN_COMPILER.as_bytes()).ok()?;
    let finished = script.wait_with_output().ok().filter(|finished| finished.status.success())?;
    let lines = String::from_utf8(finished.stdout).ok()?;
    lines
        .lines()
        .map(|line| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_module_is_that_of_the_plugin() {
        let line = |kind: &str, file: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"kind":["{kind}"]}},"filenames":["{file}"]}}"#
            )
        };
        assert_eq!(core_module(&line("cdylib", "/t/my_check.wasm")), Some("/t/my_check.wasm".into()));
        for other in [line("lib", "/t/libkit.rlib"), line("bin", "/t/tool.wasm"), "warning: x".to_owned()] {
            assert_eq!(core_module(&other), None, "{other}");
        }
        assert_eq!(core_module(r#"{"reason":"build-finished","success":true}"#), None);
    }
}
