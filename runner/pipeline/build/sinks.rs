//! Plans where the results of a pipeline go.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::{Built, Site};
use crate::config::{Code, Diagnostic, Diagnostics, Place};
use crate::pipeline::config::PipelineText;
use crate::sink::{Format, Fsync, FsyncText, ParquetText, Rotate, SinkText, StdoutFormatText};

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
    /// Where the file says so.
    pub place: Place,
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
        diagnostics.add(Diagnostic::error(Code::BadValue, place, message));
    };
    let path = Path::new(&text.path.value);
    let hostile = path.components().any(|part| part == Component::ParentDir)
        || text.path.value.chars().any(char::is_control)
        || path.file_name().is_none()
        || path.components().any(|part| part.as_os_str().len() > 255);
    if hostile {
        add(text.path.place(site.document), "a results folder is a plain path without \"..\"");
    }
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
    (diagnostics.count(crate::config::Level::Error) == before).then(|| ParquetPlan {
        path: path.to_owned(),
        rotate: Rotate { every: rotate.every.value, size: rotate.size.value.0, rows: rotate.rows.value },
        fsync: match text.fsync {
            FsyncText::Second => Fsync::Every(Duration::from_secs(1)),
            FsyncText::Each => Fsync::Each,
            FsyncText::Off => Fsync::Off,
        },
        place,
    })
}

/// Pipelines that write to one folder share its files, so they must agree on how.
pub(super) fn compare(built: &[Built], diagnostics: &mut Diagnostics) {
    let mut plans: Vec<&ParquetPlan> = Vec::new();
    for plan in built.iter().filter_map(|pipeline| pipeline.sinks.parquet.as_ref()) {
        let twin = plans.iter().find(|other| other.path == plan.path);
        match twin {
            None => plans.push(plan),
            Some(other) if other.rotate == plan.rotate && other.fsync == plan.fsync => {}
            Some(other) => diagnostics.add(
                Diagnostic::error(
                    Code::Conflict,
                    plan.place.clone(),
                    format!("two pipelines write to \"{}\" with different settings", plan.path.display()),
                )
                .also("the other one is here", other.place.clone())
                .hint("give both the same rotate and fsync, or one of them another path"),
            ),
        }
    }
}
