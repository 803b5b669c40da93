//! Plans where the results of a pipeline go.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::{Built, Site};
use crate::config::{ByteSize, Code, Diagnostic, Diagnostics, Place};
use crate::model::steers_a_terminal;
use crate::pipeline::config::PipelineText;
use crate::sink::{Folders, Format, Fsync, FsyncText, Keep, ParquetText, Rotate, SinkText, StdoutFormatText};

/// Where the results of a pipeline go.
#[derive(Debug, Clone)]
pub struct SinkPlan {
    /// Parquet files, if any.
    pub parquet: Option<ParquetPlan>,
    /// Lines on standard output, if any.
    pub stdout: Option<Format>,
}

/// A Parquet sink as a pipeline wants it.
#[derive(Debug, Clone)]
pub struct ParquetPlan {
    /// The folder, relative to the data folder.
    pub path: PathBuf,
    /// When a file is closed.
    pub rotate: Rotate,
    /// When the journal is forced to the disk.
    pub fsync: Fsync,
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

/// Where dead letters go, if anywhere; `Err` where that is wrong, which has been told.
pub(super) fn dead_letters(
    text: &PipelineText,
    pipeline: &str,
    site: Site<'_>,
    diagnostics: &mut Diagnostics,
) -> Result<Option<DeadLetterPlan>, ()> {
    let Some(table) = &text.dead_letter else { return Ok(None) };
    let mut is_right = true;
    let mut wrong = |place: Place, message: String| {
        diagnostics.add(Diagnostic::error(Code::SinkUnusable, place, message));
        is_right = false;
    };
    let ByteSize(max_bytes) = table.max_size.value;
    if max_bytes < 64 << 10 {
        wrong(table.max_size.place(site.document), "dead letters have at least 64KiB".to_owned());
    }
    let mut path = PathBuf::from("dead-letters").join(format!("{pipeline}.jsonl"));
    let mut place = Place::file(site.document.path());
    if let Some(given) = &table.path {
        place = given.place(site.document);
        match plain_path(&given.value) {
            Ok(plain) => path = plain,
            Err(_) => wrong(place.clone(), "dead letters go to a plain path without \"..\"".to_owned()),
        }
    }
    let results = text.sinks.iter().find_map(|sink| match &sink.value {
        SinkText::Parquet(parquet) => plain_path(&parquet.path.value).ok(),
        SinkText::Stdout(_) => None,
    });
    let results = results.unwrap_or_else(|| PathBuf::from("results"));
    if path.starts_with(&results) || results.starts_with(&path) {
        let message = format!("dead letters cannot lie in the results folder \"{}\"", results.display());
        wrong(place.clone(), message);
    }
    let history = table.history;
    if is_right { Ok(Some(DeadLetterPlan { path, history, max_bytes, place })) } else { Err(()) }
}

pub(super) fn plan(text: &PipelineText, site: Site<'_>, diagnostics: &mut Diagnostics) -> Option<SinkPlan> {
    let mut plan = SinkPlan { parquet: None, stdout: None };
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
                whole &= set_once(&mut plan.stdout, format, place, diagnostics);
            }
        }
    }
    if plan.parquet.is_none() && text.default_sink && whole {
        let parquet = crate::config::table::empty_table::<ParquetText>()?;
        plan.parquet = parquet_plan(&parquet, Place::file(site.document.path()), site, diagnostics);
    }
    if whole && plan.parquet.is_none() && plan.stdout.is_none() {
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

fn parquet_plan(
    text: &ParquetText,
    place: Place,
    site: Site<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<ParquetPlan> {
    let before = diagnostics.count(crate::config::Level::Error);
    let mut add = |place: Place, message: &str| {
        diagnostics.add(Diagnostic::error(Code::SinkUnusable, place, message));
    };
    let path = plain_path(&text.path.value).unwrap_or_else(|reason| {
        add(text.path.place(site.document), reason);
        PathBuf::new()
    });
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
    (diagnostics.count(crate::config::Level::Error) == before).then(|| ParquetPlan {
        path,
        rotate: Rotate { every: rotate.every.value, size: rotate.size.value.0, rows: rotate.rows.value },
        fsync: match text.fsync {
            FsyncText::Second => Fsync::Every(Duration::from_secs(1)),
            FsyncText::Each => Fsync::Each,
            FsyncText::Off => Fsync::Off,
        },
        keep: text.keep.as_ref().map(|keep| Keep { age: keep.value, max_percent }),
        place,
    })
}

/// A results folder as it can be used: without "." parts, and a folder that state can stand beside.
fn plain_path(text: &str) -> Result<PathBuf, &'static str> {
    if text.contains("://") {
        return Err("results go to a folder of this machine; object stores are not known");
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

/// Pipelines that write to one folder share its files, so they must agree on how; and no results folder
/// lies in another, since nothing but results may be below one. A pipeline that does not fit to one before
/// it is taken out; so is one that would share the standard input with one before it.
pub(crate) fn compare<B: AsRef<Built>>(built: &mut Vec<B>, diagnostics: &mut Diagnostics) {
    super::targets::one_stdin(built, diagnostics);
    let mut plans: Vec<ParquetPlan> = Vec::new();
    let mut letters: Vec<DeadLetterPlan> = Vec::new();
    built.retain(|pipeline| {
        let pipeline = pipeline.as_ref();
        if let Some(plan) = &pipeline.dead_letter {
            if let Some(other) = letters.iter().find(|other| other.path == plan.path) {
                let message = format!("dead letters of two pipelines go to \"{}\"", plan.path.display());
                let problem = Diagnostic::error(Code::Conflict, plan.place.clone(), message);
                diagnostics.add(
                    problem
                        .also("the other one is here", other.place.clone())
                        .hint("give each a path of its own"),
                );
                return false;
            }
            letters.push(plan.clone());
        }
        let Some(plan) = &pipeline.sinks.parquet else { return true };
        let problem = plans.iter().find_map(|other| disagreement(plan, other));
        if let Some(problem) = problem {
            diagnostics.add(problem);
            return false;
        }
        plans.push(plan.clone());
        true
    });
}

/// Why two Parquet sinks cannot stand side by side, if so.
fn disagreement(plan: &ParquetPlan, other: &ParquetPlan) -> Option<Diagnostic> {
    let path = plan.path.display();
    let (message, hint) = if plan.path == other.path {
        if plan.rotate == other.rotate && plan.fsync == other.fsync && plan.keep == other.keep {
            return None;
        }
        let hint = "give both the same rotate, fsync and keep, or one of them another path";
        (format!("two pipelines write to \"{path}\" with different settings"), hint)
    } else if plan.path.starts_with(&other.path) || other.path.starts_with(&plan.path) {
        let hint = "put the folders side by side: a results folder holds nothing but its own files";
        (format!("the results folder \"{path}\" and another one lie in each other"), hint)
    } else {
        return None;
    };
    let problem = Diagnostic::error(Code::Conflict, plan.place.clone(), message);
    Some(problem.also("the other one is here", other.place.clone()).hint(hint))
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
