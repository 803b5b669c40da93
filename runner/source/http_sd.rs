//! Targets fetched over HTTP in the format of Prometheus' HTTP service discovery: what a document says. Fetching it
//! is the pipeline's work.

use std::path::Path;
use std::sync::Arc;

use super::collect::Collector;
use super::listing::MAX_ITEMS;
use super::problem::SourceProblem;
use super::{Loaded, ParseDuration, printable_url, prometheus};

/// The `[[sources]]` table as a user would write it.
pub const HTTP_SD_SAMPLE: &str = include_str!("http_sd.toml");

/// Reads a document that was fetched from `url`. The problems of what is given back are groups and targets that
/// were left out. The error says why the document as a whole cannot be read.
pub fn read_groups(bytes: &[u8], url: &str, parse_duration: ParseDuration) -> Result<Loaded, SourceProblem> {
    let file: Arc<Path> = Arc::from(Path::new(&printable_url(url)));
    let mut collector = Collector::bounded(parse_duration, MAX_ITEMS);
    prometheus::read(bytes, &file, usize::MAX, &mut collector)?;
    Ok(collector.finish())
}
