//! C: zig's compiler, which brings the C library for WebAssembly.

use std::ffi::OsString;
use std::path::Path;

use anyhow::bail;

use super::super::kit::{C_KIT, C_TOOL};
use super::{absolute, kit_folder, read, scratch, sources, tool};

/// The core module of the author's files and the kit's.
pub(super) fn build(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let Some(zig) = tool::find(folder, &[".venv/bin", ".venv/Scripts"], &["python-zig", "zig"]) else {
        bail!(
            "zig is missing, which compiles C to WebAssembly; in {}, this line brings it: \
             python3 -m venv .venv && .venv/bin/pip install {C_TOOL}",
            folder.display()
        );
    };
    let kit = kit_folder(folder, "sdk-c", C_KIT)?;
    let core = absolute(&scratch(folder)?.join("core.wasm"))?;
    let mut arguments: Vec<OsString> =
        ["cc", "-target", "wasm32-wasi", "-mexec-model=reactor", "-std=c17", "-Os", "-s", "-Wall", "-Wextra"]
            .map(Into::into)
            .to_vec();
    arguments.extend(["-I".into(), kit.clone().into(), "-o".into(), core.clone().into()]);
    for file in sources(folder, "c").into_iter().chain(sources(&kit, "c")) {
        arguments.push(absolute(&file)?.into());
    }
    // The types of the contract, which the component is made from.
    arguments.push(kit.join("check_component_type.o").into());
    tool::run(folder, &zig, &arguments, &[])?;
    read(&core)
}
