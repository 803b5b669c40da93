//! Plans where the results of a pipeline go.

mod buckets;
mod compare;

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Built, Site};
use crate::config::{ByteSize, Code, Diagnostic, Diagnostics, Level, Located, Place};
use crate::model::steers_a_terminal;
use crate::pipeline::config::PipelineText;
use crate::sink::{
    BucketAddress, BucketSpec, Folders, Format, Fsync, FsyncText, JsonlText, Keep, LineRotate,
    LineRotateText, OnFull, OnFullText, ParquetText, Rotate, SinkText, StdoutFormatText,
};

pub(crate) use compare::compare;

/// Where the results of a pipeline go.
#[derive(Debug, Clone)]
pub struct SinkPlan {
    /// Parquet files, if any.
    pub parquet: Option<ParquetPlan>,
    /// Lines on standard output, if any.
    pub stdout: Option<StdoutPlan>,
    /// A file of lines, if any.
    pub jsonl: Option<JsonlPlan>,
}

impl SinkPlan {
    /// What becomes of a result where the queue before all sinks is full.
    pub fn on_full(&self) -> OnFull {
        self.parquet.as_ref().map_or(OnFull::Block, |parquet| parquet.on_full)
    }
}

/// Lines on standard output as a pipeline wants them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StdoutPlan {
    /// Their form.
    pub format: Format,
    /// What becomes of what the reader is too slow for.
    pub on_full: OnFull,
}

/// A Parquet sink as a pipeline wants it.
#[derive(Debug, Clone)]
pub struct ParquetPlan {
    /// The folder, relative to the data folder.
    pub path: PathBuf,
    /// The bucket that finished files are copied to, if any.
    pub bucket: Option<Arc<BucketSpec>>,
    /// When a file is closed.
    pub rotate: Rotate,
    /// When the journal is forced to the disk.
    pub fsync: Fsync,
    /// What becomes of a result where the queue before it is full.
    pub on_full: OnFull,
    /// How long results are kept; for ever without.
    pub keep: Option<Keep>,
    /// Where the file says so.
    pub place: Place,
}

/// Dead letters as a pipeline wants them.
#[derive(Debug, Clone)]
pub struct DeadLetterPlan {
    /// The file, relative to the data folder.
    pub path: PathBuf,
    /// Whether all attempts are kept.
    pub history: bool,
    /// The size at which a new file is begun, in bytes.
    pub max_bytes: u64,
    /// Where the pipeline file says so.
    pub place: Place,
}

/// A file of lines as a pipeline wants it.
#[derive(Debug, Clone)]
pub struct JsonlPlan {
    /// The file, relative to the data folder.
    pub path: PathBuf,
    /// When it is put away.
    pub rotate: LineRotate,
    /// What becomes of what it is too slow for.
    pub on_full: OnFull,
    /// Where the pipeline file says so.
    pub place: Place,
}

/// Where dead letters go, if anywhere; `Err` where that is wrong, which has been told.
pub(super) fn dead_letters(
    text: &PipelineText,
    pipeline: &str,
    site: Site<'_>,
    diagnostics: &mut Diagnostics,
) -> Result<Option<DeadLetterPlan>, ()> {
    let Some(table) = &text.dead_letter else { return Ok(None) };
    let errors = diagnostics.count(Level::Error);
    let ByteSize(max_bytes) = table.max_size.value;
    if max_bytes < 64 << 10 {
        let place = table.max_size.place(site.document);
        unusable(diagnostics, place, "dead letters have at least 64KiB");
    }
    let (path, place) = match &table.path {
        Some(given) => {
            (lines_path(given, text, "dead letters", site, diagnostics), given.place(site.document))
        }
        None => (Some(format!("dead-letters/{pipeline}.jsonl").into()), Place::file(site.document.path())),
    };
    let history = table.history;
    match path {
        Some(path) if diagnostics.count(Level::Error) == errors => {
            Ok(Some(DeadLetterPlan { path, history, max_bytes, place }))
        }
        _ => Err(()),
    }
}

/// A file of lines: a plain path beside the results folder. None where it is wrong, which has been told.
fn lines_path(
    given: &Located<String>,
    text: &PipelineText,
    what: &str,
    site: Site<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<PathBuf> {
    let place = given.place(site.document);
    let Ok(path) = plain_path(&given.value) else {
        unusable(diagnostics, place, &format!("{what} go to a plain path without \"..\""));
        return None;
    };
    let results = text.sinks.iter().find_map(|sink| match &sink.value {
        SinkText::Parquet(parquet) => folder_of(parquet),
        SinkText::Stdout(_) | SinkText::Jsonl(_) => None,
    });
    let results = results.unwrap_or_else(|| PathBuf::from("results"));
    if path.starts_with(&results) || results.starts_with(&path) {
        let message = format!("{what} cannot lie in the results folder \"{}\"", results.display());
        unusable(diagnostics, place, &message);
        return None;
    }
    Some(path)
}

fn unusable(diagnostics: &mut Diagnostics, place: Place, message: &str) {
    diagnostics.add(Diagnostic::error(Code::SinkUnusable, place, message));
}

pub(super) fn plan(text: &PipelineText, site: Site<'_>, diagnostics: &mut Diagnostics) -> Option<SinkPlan> {
    let mut plan = SinkPlan { parquet: None, stdout: None, jsonl: None };
    let mut whole = true;
    for sink in &text.sinks {
        let place = sink.place(site.document);
        match &sink.value {
            SinkText::Parquet(parquet) => match parquet_plan(parquet, place, site, diagnostics) {
                Some(new) => whole &= set_once(&mut plan.parquet, new.clone(), new.place, diagnostics),
                None => whole = false,
            },
            SinkText::Stdout(stdout) => {
                let format = match stdout.format {
                    StdoutFormatText::Line => Format::Lines,
                    StdoutFormatText::Json => Format::Json,
                };
                let stdout = StdoutPlan { format, on_full: on_full(stdout.on_full) };
                whole &= set_once(&mut plan.stdout, stdout, place, diagnostics);
            }
            SinkText::Jsonl(lines) => match jsonl_plan(lines, text, place, site, diagnostics) {
                Some(new) => whole &= set_once(&mut plan.jsonl, new.clone(), new.place, diagnostics),
                None => whole = false,
            },
        }
    }
    if plan.parquet.is_none() && text.default_sink && whole {
        let parquet = crate::config::table::empty_table::<ParquetText>()?;
        plan.parquet = parquet_plan(&parquet, Place::file(site.document.path()), site, diagnostics);
    }
    if whole && plan.parquet.is_none() && plan.stdout.is_none() && plan.jsonl.is_none() {
        let place = Place::file(site.document.path());
        let message = "results go nowhere: there is no sink, and default_sink is false";
        diagnostics.add(Diagnostic::warning(Code::Suspicious, place, message));
    }
    whole.then_some(plan)
}

fn set_once<T>(slot: &mut Option<T>, value: T, place: Place, diagnostics: &mut Diagnostics) -> bool {
    if slot.is_some() {
        let message = "a pipeline has at most one sink of each type";
        diagnostics.add(Diagnostic::error(Code::Conflict, place, message));
        return false;
    }
    *slot = Some(value);
    true
}

fn on_full(text: OnFullText) -> OnFull {
    match text {
        OnFullText::Block => OnFull::Block,
        OnFullText::DropNewest => OnFull::DropNewest,
    }
}

fn jsonl_plan(
    lines: &JsonlText,
    text: &PipelineText,
    place: Place,
    site: Site<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<JsonlPlan> {
    let errors = diagnostics.count(Level::Error);
    let path = lines_path(&lines.path, text, "lines", site, diagnostics);
    let LineRotateText { every, size, keep } = &lines.rotate;
    if !(Duration::from_secs(1)..=Duration::from_hours(366 * 24)).contains(&every.value) {
        let place = every.place(site.document);
        unusable(diagnostics, place, "a file of lines is put away after at least 1s and at most 366d");
    }
    if size.value.0 < 64 << 10 {
        let place = size.place(site.document);
        unusable(diagnostics, place, "a file of lines is put away at a size of at least 64KiB");
    }
    if !(1..=10_000).contains(&keep.value) {
        let place = keep.place(site.document);
        unusable(diagnostics, place, "at least 1 file that was put away is kept, and at most 10000");
    }
    let rotate = LineRotate { every: every.value, size: size.value.0, keep: keep.value as usize };
    let path = path.filter(|_| diagnostics.count(Level::Error) == errors)?;
    Some(JsonlPlan { path, rotate, on_full: on_full(lines.on_full), place })
}

fn parquet_plan(
    text: &ParquetText,
    place: Place,
    site: Site<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<ParquetPlan> {
    let before = diagnostics.count(Level::Error);
    let (path, bucket) = if is_bucket(&text.path.value) {
        buckets::plan(text, site, diagnostics)?
    } else {
        buckets::refuse_options(text, site, diagnostics);
        let path = plain_path(&text.path.value).unwrap_or_else(|reason| {
            unusable(diagnostics, text.path.place(site.document), reason);
            PathBuf::new()
        });
        (path, None)
    };
    let mut add = |place: Place, message: &str| unusable(diagnostics, place, message);
    let rotate = &text.rotate;
    if !(Duration::from_secs(1)..=Duration::from_hours(24)).contains(&rotate.every.value) {
        add(rotate.every.place(site.document), "files are closed after at least 1s and at most 1d");
    }
    if rotate.size.value.0 < 64 << 10 {
        add(rotate.size.place(site.document), "files are closed at a size of at least 64KiB");
    }
    if rotate.rows.value == 0 {
        add(rotate.rows.place(site.document), "a file has at least one row");
    }
    if let Some(keep) = text.keep.as_ref().filter(|keep| keep.value < Duration::from_hours(24)) {
        add(keep.place(site.document), "results are kept for at least 1d");
    }
    let max_percent = text.keep_max_percent.value;
    if !(1..=100).contains(&max_percent) {
        add(text.keep_max_percent.place(site.document), "a share is 1 to 100 percent");
    }
    (diagnostics.count(Level::Error) == before).then(|| ParquetPlan {
        path,
        bucket,
        rotate: Rotate { every: rotate.every.value, size: rotate.size.value.0, rows: rotate.rows.value },
        fsync: match text.fsync {
            FsyncText::Second => Fsync::Every(Duration::from_secs(1)),
            FsyncText::Each => Fsync::Each,
            FsyncText::Off => Fsync::Off,
        },
        on_full: on_full(text.on_full),
        keep: text.keep.as_ref().map(|keep| Keep { age: keep.value, max_percent }),
        place,
    })
}

/// Whether a path is meant to be a bucket.
fn is_bucket(path: &str) -> bool {
    path.contains("://")
}

/// The folder on this machine in which the results of a sink are made, where it is one.
fn folder_of(parquet: &ParquetText) -> Option<PathBuf> {
    let path = &parquet.path.value;
    match &parquet.local {
        Some(local) => plain_path(&local.value).ok(),
        None if is_bucket(path) => BucketAddress::parse(path).ok().map(|address| address.local()),
        None => plain_path(path).ok(),
    }
}

/// A results folder as it can be used: without "." parts, and a folder that state can stand beside.
fn plain_path(text: &str) -> Result<PathBuf, &'static str> {
    if is_bucket(text) {
        return Err("a folder of this machine is wanted here, not a bucket");
    }
    let path = Path::new(text);
    let hostile = path.components().any(|part| part == Component::ParentDir || part.as_os_str().len() > 255);
    if hostile || text.chars().any(steers_a_terminal) {
        return Err("a results folder is a plain path without \"..\"");
    }
    let path: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    // Any runner name will do: what is asked for is whether the folder is one that state can stand beside.
    match Folders::new(&path, "main") {
        Ok(_) => Ok(path),
        Err(_) => {
            Err("a results folder's path ends in a name, and not in \"state\", which is for the runner")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_folders() {
        for (text, path) in [("results", "results"), ("./a/./b", "a/b"), ("/data/results", "/data/results")] {
            assert_eq!(plain_path(text), Ok(PathBuf::from(path)));
        }
        for text in
            ["", ".", "/", "..", "a/../b", "state", "x/state", "s3://bucket/prefix", "a\u{1b}b", "a\0b"]
        {
            assert!(plain_path(text).is_err(), "{text:?}");
        }
    }
}
