//! `.txt`: one URL a line. A line that begins with `#` is a comment, and so is the rest of a line behind
//! a `#` with a space before it; a URL's own fragment has none.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::collect::Collector;
use super::lines::{Line, Lines};
use super::problem::{Place, SourceProblem};
use super::target::TargetText;

pub(super) fn read<R: Read>(reader: R, file: &Arc<Path>, collector: &mut Collector) {
    if let Err((line, error)) = read_all(reader, file, collector) {
        let place = Place { file: Arc::clone(file), line, column: None };
        collector.problem(SourceProblem::new(place, format!("reading stopped: {error}")));
    }
}

fn read_all<R: Read>(
    reader: R,
    file: &Arc<Path>,
    collector: &mut Collector,
) -> Result<(), (u32, std::io::Error)> {
    let mut lines = Lines::new(reader).map_err(|error| (1, error))?;
    loop {
        let number = lines.number() + 1;
        let Some(line) = lines.next().map_err(|error| (number, error))? else {
            return Ok(());
        };
        let place = |column| Place { file: Arc::clone(file), line: number, column };
        match line {
            Line::Unreadable(why) => collector.problem(SourceProblem::new(place(None), why)),
            Line::Text(line) => {
                let Some((url, column)) = url_of(line) else { continue };
                let url = url.to_owned();
                let place = place(Some(column));
                collector.add(TargetText { url, name: None, every: None, labels: Vec::new(), place });
            }
        }
    }
}

/// The URL on a line and its column, from 1.
pub(super) fn url_of(line: &str) -> Option<(&str, u32)> {
    let blank = [' ', '\t'];
    let url = line.trim_start_matches(blank);
    let column = (line.len() - url.len()) as u32 + 1;
    let end = url
        .char_indices()
        .find(|(at, c)| *c == '#' && (*at == 0 || url[..*at].ends_with(blank)))
        .map_or(url.len(), |(at, _)| at);
    let url = url[..end].trim_end_matches(blank);
    (!url.is_empty()).then_some((url, column))
}
