//! What authors start from, inside the program, since nothing is published yet: a template a language, the
//! Rust and the C kit, and the contract.

/// A file that is written into an author's folder.
#[derive(Debug, Clone, Copy)]
pub(super) struct KitFile {
    /// Its path from the author's folder.
    pub(super) path: &'static str,
    /// What is in it.
    pub(super) content: &'static [u8],
}

/// Files below a folder of `plugins/`, which are written below another.
macro_rules! files {
    ($from:literal => $to:literal: $($path:literal),+ $(,)?) => {
        &[$(KitFile {
            path: concat!($to, $path),
            content: include_bytes!(concat!("../../../plugins/", $from, $path)),
        }),+]
    };
}

/// The languages that there is a template for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Language {
    /// Rust, to wasm32-unknown-unknown
    Rust,
    /// C, by zig
    C,
    /// JavaScript, in QuickJS
    Js,
    /// Python, in CPython
    Python,
}

impl Language {
    /// Its name, for people.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::C => "C",
            Self::Js => "JavaScript",
            Self::Python => "Python",
        }
    }

    /// The files of a new check in this language.
    pub(super) fn files(self) -> Vec<KitFile> {
        let (template, kit): (&[KitFile], &[KitFile]) = match self {
            Self::Rust => (RUST, RUST_KIT),
            Self::C => (C, C_KIT),
            Self::Js => (JS, &[]),
            Self::Python => (PYTHON, &[]),
        };
        [ALL, template, kit, CONTRACT].concat()
    }
}

/// The name that the templates bear, to be replaced.
pub(super) const TEMPLATE_NAME: &str = "my-check";

/// What the files of a folder have in common.
const ALL: &[KitFile] = files!("templates/all/" => "": "cases.toml", "pipeline.toml");

const RUST: &[KitFile] = files!("templates/rust/" => "":
    "README.md", "Cargo.toml", "src/lib.rs", ".cargo/config.toml", ".gitignore");

const C: &[KitFile] =
    files!("templates/c/" => "": "README.md", "requirements.txt", "src/check.c", ".gitignore");

const JS: &[KitFile] =
    files!("templates/js/" => "": "README.md", "package.json", "src/check.js", ".gitignore");

const PYTHON: &[KitFile] = files!("templates/python/" => "":
    "README.md", "requirements.txt", "src/app.py", ".gitignore");

/// The kit in Rust, in the folders that it has in the repository: it reads the contract two folders above.
const RUST_KIT: &[KitFile] = files!("" => "vendor/plugins/":
    "Cargo.toml", "sdk/Cargo.toml",
    "sdk/src/cases.rs", "sdk/src/config.rs", "sdk/src/date.rs", "sdk/src/excerpt.rs", "sdk/src/guest.rs",
    "sdk/src/lib.rs", "sdk/src/observation.rs", "sdk/src/pattern.rs", "sdk/src/report.rs", "sdk/src/sample.rs",
    "sdk/src/schema.rs", "sdk/src/state.rs", "sdk/src/test_observation.rs", "sdk/src/verdict.rs");

/// The kit in C: the generated bindings, and what makes them handy.
pub(super) const C_KIT: &[KitFile] = files!("" => "vendor/":
    "sdk-c/README.md", "sdk-c/check.h", "sdk-c/check.c", "sdk-c/check_component_type.o", "sdk-c/probity.h", "sdk-c/text.c",
    "sdk-c/json.c");

/// The contract.
pub(super) const CONTRACT: &[KitFile] = files!("../wit/" => "vendor/wit/": "check.wit");

/// What pip brings for C, with its version.
pub(super) const C_TOOL: &str =
    include_str!("../../../plugins/templates/c/requirements.txt").trim_ascii_end();
/// What pip brings for Python, with its version.
pub(super) const PYTHON_TOOL: &str =
    include_str!("../../../plugins/templates/python/requirements.txt").trim_ascii_end();

/// Debian's compiler, as a script that prints the environment for cargo.
pub(super) const DEBIAN_COMPILER: &str = include_str!("../../../plugins/debian-compiler");
