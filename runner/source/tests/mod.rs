//! Sources from outside: files and lists in, targets and problems out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod collapse;
mod files;
mod groups;
mod hostile;
mod items;
mod pipe;
mod round_trip;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::*;

/// Seconds and milliseconds: enough of a duration for these tests.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let number = |digits: &str| digits.parse::<u64>().map_err(|_| format!("\"{text}\" is not a duration"));
    match text.strip_suffix("ms") {
        Some(digits) => number(digits).map(Duration::from_millis),
        None => number(text.strip_suffix('s').unwrap_or("")).map(Duration::from_secs),
    }
}

fn place(line: u32) -> Place {
    Place { file: Arc::from(Path::new("shop.toml")), line, column: Some(3) }
}

fn item(url: &str) -> TargetText {
    TargetText { url: url.to_owned(), name: None, every: None, labels: Vec::new(), place: place(1) }
}

/// Loads items as a list, each on a line of its own.
fn load_list(items: impl IntoIterator<Item = TargetText>) -> Loaded {
    let numbered = (1..).zip(items).map(|(line, item)| TargetText { place: place(line), ..item });
    let list = ListSource { targets: numbered.collect(), place: place(1) };
    load(&[Source::List(list)], parse_duration)
}

/// Loads a file of that name and content.
fn load_file(name: &str, content: impl AsRef<[u8]>) -> Loaded {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    load_path(&path)
}

fn load_path(path: &Path) -> Loaded {
    let file = FileSource { path: Arc::from(path), place: place(7) };
    load(&[Source::File(file)], parse_duration)
}

/// `line:column: what (hint)` of every problem.
fn shown(problems: &Problems) -> Vec<String> {
    let one = |problem: &SourceProblem| {
        let column = problem.place.column.map_or_else(String::new, |column| format!(":{column}"));
        let hint = problem.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
        format!("{}{column}: {}{hint}", problem.place.line, problem.what)
    };
    problems.list.iter().map(one).collect()
}

/// The URLs, where nothing is wrong.
fn urls(loaded: &Loaded) -> Vec<&str> {
    assert_eq!(shown(&loaded.problems), Vec::<String>::new());
    loaded.targets.iter().map(|target| target.url.as_ref()).collect()
}
