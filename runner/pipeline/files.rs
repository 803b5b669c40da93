//! Which files are pipelines: from paths on a command line to names and files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Code, Diagnostic, Diagnostics, Place, parse_name};

/// The runner's own file, which stands beside the pipelines and is none.
pub const RUNNER_FILE: &str = "probity.toml";

/// The most pipeline files of one folder: beyond that, a folder was taken for another one.
const MOST_FILES: usize = 10_000;

/// A pipeline file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineFile {
    /// The pipeline's name: the file's, without `.toml`.
    pub name: Arc<str>,
    /// The file, as it is told to people.
    pub path: PathBuf,
}

/// Finds the pipeline files that the paths name: files, or folders with `.toml` files in them
/// (subfolders are not looked into; hidden files, editor droppings and `probity.toml` are passed
/// over). Tells of paths that name none, names that are not allowed, and two pipelines of one name.
pub fn find(paths: &[PathBuf], diagnostics: &mut Diagnostics) -> Vec<PipelineFile> {
    let mut found: BTreeMap<Arc<str>, PathBuf> = BTreeMap::new();
    for path in paths {
        for file in files_of(path, diagnostics) {
            let Some(name) = name_of(&file, diagnostics) else { continue };
            match found.get(&name) {
                Some(first) => {
                    let first = PipelineFile { name: Arc::clone(&name), path: first.clone() };
                    same_name(&first, &PipelineFile { name, path: file }, diagnostics);
                }
                None => {
                    found.insert(name, file);
                }
            }
        }
    }
    found.into_iter().map(|(name, path)| PipelineFile { name, path }).collect()
}

/// Tells of two files of one name, unless they are one.
pub fn same_name(first: &PipelineFile, second: &PipelineFile, diagnostics: &mut Diagnostics) {
    if is_same_file(&first.path, &second.path) {
        return;
    }
    let message = format!("two pipelines are called \"{}\"", second.name);
    diagnostics.add(
        Diagnostic::error(Code::DuplicatePipeline, Place::file(&second.path), message)
            .also("the other one is here", Place::file(&first.path))
            .hint("a pipeline's name is its file's name: rename one of the files"),
    );
}

fn files_of(path: &Path, diagnostics: &mut Diagnostics) -> Vec<PathBuf> {
    let unreadable = |what: &str| {
        Diagnostic::error(Code::Unreadable, Place::file(path), what.to_owned())
            .hint("give pipeline files, or folders of them; without any, \"pipelines\" is read")
    };
    let Ok(metadata) = fs::metadata(path) else {
        diagnostics.add(unreadable("there is no such file or folder"));
        return Vec::new();
    };
    if !metadata.is_dir() {
        // `pipelines/*.toml` names the runner's own file too.
        let is_runner_file = path.file_name() == Some(OsStr::new(RUNNER_FILE));
        return if is_runner_file { Vec::new() } else { vec![path.to_owned()] };
    }
    let Ok(entries) = fs::read_dir(path) else {
        diagnostics.add(unreadable("the folder cannot be read"));
        return Vec::new();
    };
    let listed: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let Ok(mut files) = listed else {
        diagnostics.add(unreadable("the folder cannot be read to its end"));
        return Vec::new();
    };
    files.retain(|file| is_pipeline(file));
    files.sort();
    if files.len() > MOST_FILES {
        let message = format!("the folder has {} pipeline files, more than {MOST_FILES}", files.len());
        diagnostics.add(
            Diagnostic::error(Code::TooLarge, Place::file(path), message)
                .hint("one pipeline may have many targets: [[sources]] type = \"file\""),
        );
        return Vec::new();
    }
    if files.is_empty() {
        diagnostics.add(
            Diagnostic::error(Code::NoPipelines, Place::file(path), "the folder has no pipeline files")
                .hint("a pipeline is a file that ends in .toml; subfolders are not read"),
        );
    }
    files
}

/// Whether a file in a folder is a pipeline: `*.toml`, not hidden, not the runner's own file. The
/// droppings of editors (`x.toml~`, `.x.toml.swp`, `#x.toml#`, `.#x.toml`) fall out by this.
fn is_pipeline(file: &Path) -> bool {
    let Some(name) = file.file_name().and_then(OsStr::to_str) else { return false };
    let ends = file.extension() == Some(OsStr::new("toml"));
    ends && !name.starts_with(['.', '#']) && name != RUNNER_FILE && !file.is_dir()
}

fn name_of(file: &Path, diagnostics: &mut Diagnostics) -> Option<Arc<str>> {
    let stem = file.file_stem().and_then(OsStr::to_str).unwrap_or_default();
    match parse_name(stem) {
        Ok(name) if file.extension() == Some(OsStr::new("toml")) => return Some(name.into()),
        Ok(_) => diagnostics.add(
            Diagnostic::error(Code::PipelineName, Place::file(file), "a pipeline file ends in .toml")
                .hint("rename the file"),
        ),
        Err(reason) => diagnostics.add(
            Diagnostic::error(
                Code::PipelineName,
                Place::file(file),
                format!("the file's name is the pipeline's, and {reason}"),
            )
            .hint("rename the file"),
        ),
    }
    None
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[&str]) -> (Vec<String>, String) {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            fs::create_dir_all(folder.path().join(file).parent().unwrap()).unwrap();
            fs::write(folder.path().join(file), "x").unwrap();
        }
        let mut diagnostics = Diagnostics::default();
        let found = find(&[folder.path().to_owned()], &mut diagnostics);
        let text = diagnostics.render(false).replace(&folder.path().display().to_string(), "DIR");
        (found.iter().map(|file| file.name.to_string()).collect(), text)
    }

    #[test]
    fn droppings_and_the_runner_file_are_passed_over() {
        let files = [
            "b.toml",
            "a.toml",
            "a.toml~",
            ".a.toml",
            ".#a.toml",
            "#a.toml#",
            "4913",
            "a.toml.bak",
            "probity.toml",
            "x.csv",
            "sub/c.toml",
        ];
        assert_eq!(names(&files), (vec!["a".to_owned(), "b".to_owned()], String::new()));
    }

    #[test]
    fn c13_more_files_than_anyone_means_are_refused() {
        let many: Vec<String> = (0..=MOST_FILES).map(|n| format!("p{n}.toml")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (found, told) = names(&many);
        assert!(found.is_empty() && told.contains("error[P0102]"), "{told}");
        assert_eq!(names(&many[..MOST_FILES]).0.len(), MOST_FILES);
    }

    #[test]
    fn names_and_empty_folders_are_told() {
        assert!(names(&["Shop.toml"]).1.contains("error[P0303]"));
        assert!(names(&["x.csv"]).1.contains("error[P0301]"));
    }
}
