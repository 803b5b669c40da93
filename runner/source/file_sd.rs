//! Targets in files in the format of Prometheus' file service discovery.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::collect::Collector;
use super::problem::{Place, SourceProblem};
use super::prometheus;
use crate::config::open_input;

/// The `[[sources]]` table as a user would write it.
pub const FILE_SD_SAMPLE: &str = include_str!("file_sd.toml");

/// The most files that a pattern may match.
const MAX_FILES: usize = 10_000;

/// The longest group of a file, in bytes: some hundred thousand targets.
const MAX_GROUP_BYTES: usize = 64 << 20;

/// A source of type `file_sd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSdSource {
    /// The files, resolved, each with the place where the pipeline file names it; the last part of a path may
    /// hold `*`.
    pub files: Vec<(PathBuf, Place)>,
    /// Where `files` stands.
    pub place: Place,
}

impl FileSdSource {
    pub(super) fn read(&self, collector: &mut Collector) {
        if self.files.is_empty() {
            let problem = SourceProblem::new(self.place.clone(), "no files")
                .hint("name at least one, for example files = [\"targets/*.json\"]");
            collector.problem(problem);
        }
        for (path, place) in &self.files {
            if let Err(problem) = check_name(path, place) {
                collector.problem(*problem);
            } else if holds_star(path) {
                read_matches(path, place, collector);
            } else {
                read_file(path, place, collector);
            }
        }
    }
}

fn holds_star(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains('*'))
}

fn check_name(path: &Path, place: &Place) -> Result<(), Box<SourceProblem>> {
    let problem =
        |what: String, hint: &str| Err(Box::new(SourceProblem::new(place.clone(), what).hint(hint)));
    let shown = path.display();
    if path.parent().is_some_and(|folder| folder.to_string_lossy().contains('*')) {
        let what = format!("\"{shown}\" has a \"*\" before its last part");
        return problem(what, "a \"*\" stands in the last part only: \"targets/*.json\"");
    }
    match path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase()).as_deref() {
        Some("json") => Ok(()),
        Some("yml" | "yaml") => problem(
            format!("\"{shown}\" is YAML, which is not read"),
            "write the groups as JSON, with the ending .json; \"yq -o json\" turns one into the other",
        ),
        _ => problem(
            format!("\"{shown}\" does not end in .json"),
            "groups of targets are read from .json files",
        ),
    }
}

fn read_matches(pattern: &Path, place: &Place, collector: &mut Collector) {
    let folder = match pattern.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    collector.input(folder);
    let wanted = pattern.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Ok(entries) = fs::read_dir(folder) else {
        let what = format!("the folder \"{}\" cannot be read", folder.display());
        let hint = "the path is relative to the pipeline file";
        return collector.problem(SourceProblem::new(place.clone(), what).hint(hint));
    };
    let mut names: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|name| name.to_str().is_some_and(|name| matches(&wanted, name)))
        .take(MAX_FILES + 1)
        .collect();
    if names.len() > MAX_FILES {
        let what = format!("more than {MAX_FILES} files match \"{}\"", pattern.display());
        return collector.problem(SourceProblem::new(place.clone(), what));
    }
    if names.is_empty() {
        let what = format!("no file matches \"{}\"", pattern.display());
        collector.warning(SourceProblem::new(place.clone(), what));
    }
    // Which of two equal targets counts must not depend on the file system.
    names.sort();
    for name in names {
        let path = folder.join(name);
        // A file may go between the look into the folder and the look into it.
        if path.exists() {
            read_file(&path, place, collector);
        }
    }
}

fn read_file(path: &Path, place: &Place, collector: &mut Collector) {
    collector.input(path);
    let file = match open_input(path) {
        Ok(file) => file,
        Err(why) => {
            let what = format!("the file \"{}\" cannot be read: {why}", path.display());
            let hint = "the path is relative to the pipeline file";
            return collector.problem(SourceProblem::new(place.clone(), what).hint(hint));
        }
    };
    let shown: Arc<Path> = Arc::from(path);
    if let Err(problem) = prometheus::read(file, &shown, MAX_GROUP_BYTES, collector) {
        collector.problem(problem);
    }
}

/// Whether a name matches a pattern in which `*` stands for any characters. A name that begins with a dot needs
/// one in the pattern: editors and others leave such files behind.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, expected) in [
            ("*.json", "a.json", true),
            ("*.json", ".json", false),
            ("*.json", ".a.json", false),
            (".*.json", ".a.json", true),
            ("*.json", "a.json~", false),
            ("shop-*-eu.json", "shop-1-eu.json", true),
            ("shop-*-eu.json", "shop-eu.json", false),
            ("a*b*c.json", "aXbYbZc.json", true),
            ("a*a.json", "a.json", false),
            ("a.json", "a.json", true),
            ("a.json", "b.json", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
