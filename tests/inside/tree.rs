//! The repository as text, for the tests that read it.

use std::fs;
use std::path::{Path, PathBuf};

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One file of Rust.
pub(crate) struct Source {
    /// Its path from the root.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Source {
    /// The module at the crate's root that the file belongs to.
    pub(crate) fn module(&self) -> String {
        let part = self.path.iter().nth(1).unwrap().to_str().unwrap();
        part.trim_end_matches(".rs").to_owned()
    }

    /// The text without comments.
    pub(crate) fn code(&self) -> String {
        let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
        self.text.lines().map(code).collect::<Vec<_>>().join("\n")
    }
}

/// All files of Rust below a folder, generated and built ones left out.
pub(crate) fn sources(folder: &str) -> Vec<Source> {
    files(&root().join(folder), &|path| path.extension().is_some_and(|ending| ending == "rs"))
        .into_iter()
        .map(|path| Source {
            text: fs::read_to_string(&path).unwrap(),
            path: path.strip_prefix(root()).unwrap().to_owned(),
        })
        .collect()
}

/// All files below a folder that are wanted, sorted; build folders and hidden ones are left out.
pub(crate) fn files(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                found.extend(files(&path, wanted));
            }
        } else if wanted(&path) {
            found.push(path);
        }
    }
    found
}
