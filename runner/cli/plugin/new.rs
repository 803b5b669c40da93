//! `probity plugin new`: a folder with a check that builds, tests and runs as it is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

use super::kit::{KitFile, Language, TEMPLATE_NAME};
use super::{Exit, output};

/// Arguments of `plugin new`.
#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// The check's name: a-z, 0-9 and -, beginning with a letter
    #[arg(value_parser = parse_name)]
    name: String,
    /// The language it is written in
    #[arg(long, value_enum, default_value = "rust")]
    lang: Language,
    /// The folder; by default one of the check's name, here
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// The longest name.
const NAME_BYTES_MAX: usize = 64;

/// Names that a crate of Rust cannot have: words of the language, and crates that every check uses.
const TAKEN_IN_RUST: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "probity-check",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// Makes the folder.
pub(super) fn new(args: &NewArgs) -> anyhow::Result<Exit> {
    let NewArgs { name, lang, dir } = args;
    if *lang == Language::Rust && TAKEN_IN_RUST.contains(&name.as_str()) {
        bail!("\"{name}\" is a word of Rust or of its tools, so no crate can have this name: choose another");
    }
    let folder = dir.clone().unwrap_or_else(|| PathBuf::from(name));
    look_that_it_is_free(&folder)?;
    for KitFile { path, content } in lang.files() {
        let file = folder.join(path);
        if let Some(above) = file.parent() {
            fs::create_dir_all(above)
                .with_context(|| format!("cannot make the folder {}", above.display()))?;
        }
        fs::write(&file, named(path, content, name))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    let shown = folder.display();
    output::note(&format!("made {shown}: a check in {}; its README.md says how to go on", lang.title()));
    Ok(Exit::Success)
}

/// A folder that is not there, or empty; nothing of anybody's is written over.
fn look_that_it_is_free(folder: &Path) -> anyhow::Result<()> {
    match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => {
                bail!("the folder {} is there and is not empty: name another by --dir", folder.display())
            }
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(_) if folder.exists() => bail!("{} is there and is not a folder", folder.display()),
        Err(error) => Err(error).with_context(|| format!("cannot look into {}", folder.display())),
    }
}

/// The file with the check's name in the place of the template's. The kit stays as it is.
fn named(path: &str, content: &[u8], name: &str) -> Vec<u8> {
    if path == "vendor/plugins/Cargo.toml" {
        return kit_workspace(content);
    }
    match std::str::from_utf8(content) {
        Ok(text) if !path.starts_with("vendor/") => text.replace(TEMPLATE_NAME, name).into_bytes(),
        _ => content.to_vec(),
    }
}

/// The kit's workspace, without the bundled checks.
fn kit_workspace(content: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(content);
    let line = |line: &str| {
        if line.starts_with("members = ") { "members = [\"sdk\"]\n".to_owned() } else { format!("{line}\n") }
    };
    text.lines().map(line).collect::<String>().into_bytes()
}

/// A name that is good for a crate, a file and a check at once.
fn parse_name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let wrong = text.chars().find(|c| !allowed(*c));
    if text.is_empty() {
        Err("a name needs a letter".to_owned())
    } else if text.len() > NAME_BYTES_MAX {
        Err(format!("a name has at most {NAME_BYTES_MAX} characters"))
    } else if let Some(wrong) = wrong {
        Err(format!("\"{wrong}\" cannot be in a name: use a-z, 0-9 and -"))
    } else if !text.starts_with(|c: char| c.is_ascii_lowercase())
        || text.ends_with('-')
        || text.contains("--")
    {
        Err("a name begins with a letter, and a - stands between two words".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_good_for_a_crate_a_file_and_a_check() {
        for name in ["cart", "a", "cart-2", "shop-cart-total"] {
            assert_eq!(parse_name(name).as_deref(), Ok(name));
        }
        for name in ["", "Cart", "my_check", "1st", "-a", "a-", "a--b", "a/b", "é", &"a".repeat(65)] {
            assert!(parse_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_workspace_of_the_kit_has_one_member() {
        let text = "[workspace]\nmembers = [\"sdk\", \"status\"]\nresolver = \"3\"\n";
        assert_eq!(kit_workspace(text.as_bytes()), b"[workspace]\nmembers = [\"sdk\"]\nresolver = \"3\"\n");
    }
}
