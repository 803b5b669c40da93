//! `probity verify`: whether the files of results are still what was written.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::validate::count;
use super::{Exit, OutputFormat, output};
use crate::check::write_line;
use crate::config::ByteSize;
use crate::model::harmless;
use crate::sink::parquet::verify::{Finding, Verified, verify as look_at};

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Results folders
    #[arg(default_value = "results", value_name = "RESULTS")]
    results: Vec<PathBuf>,
    /// How files are told: those that something is wrong with, or JSON, with an object a file
    #[arg(long, value_enum, default_value = "table")]
    format: OutputFormat,
}

/// What all files come to.
#[derive(Default)]
struct Sum {
    files: usize,
    bytes: u64,
    rows: u64,
    unlisted: usize,
    damaged: usize,
}

/// Looks at every file, and tells of each that something is wrong with.
pub(super) fn verify(args: &VerifyArgs) -> anyhow::Result<Exit> {
    let mut sum = Sum::default();
    for results in &args.results {
        let mut told = Ok(());
        look_at(results, |file| {
            sum.add(&file);
            let line = match args.format {
                OutputFormat::Json => json_line(results, &file),
                OutputFormat::Table => text(results, &file).unwrap_or_default(),
            };
            // The files after it are looked at all the same: they decide how this ends.
            if told.is_ok() {
                told = output::data(&line);
            }
        })
        .with_context(|| format!("cannot verify \"{}\"", results.display()))?;
        told?;
    }
    if args.format == OutputFormat::Table {
        output::data(&sum.text())?;
    }
    Ok(if sum.damaged > 0 { Exit::Negative } else { Exit::Success })
}

impl Sum {
    fn add(&mut self, file: &Verified) {
        self.files += 1;
        self.bytes += file.bytes;
        self.rows += file.rows.unwrap_or_default();
        self.unlisted += usize::from(file.finding == Finding::Unlisted);
        self.damaged += usize::from(file.finding.is_damage());
    }

    fn text(&self) -> String {
        let Self { files, bytes, rows, unlisted, damaged } = self;
        let (files, rows, bytes) = (count(*files, "file"), count(*rows as usize, "row"), ByteSize(*bytes));
        let verdict = if *damaged == 0 { "all whole".to_owned() } else { format!("{damaged} damaged") };
        let unlisted = match unlisted {
            0 => String::new(),
            unlisted => format!("; {unlisted} without a checksum, read to the end"),
        };
        format!("{files}, {rows}, {bytes}: {verdict}{unlisted}\n")
    }
}

/// A line for people; none where all is well.
fn text(results: &Path, file: &Verified) -> Option<String> {
    let path = results.join(&file.place);
    let path = harmless(&path.display().to_string());
    let what = match &file.finding {
        Finding::Whole | Finding::Unlisted => return None,
        Finding::Missing => "it was published, and is gone".to_owned(),
        Finding::Changed { how } => how.clone(),
        Finding::Unreadable { reason } => format!("it cannot be read to its end: {}", harmless(reason)),
        Finding::Foreign => "it is no finished file; readers of the folder may fail at it".to_owned(),
    };
    Some(format!("{:<10}  {path}: {what}\n", file.finding.name()))
}

fn json_line(results: &Path, file: &Verified) -> String {
    let reason = match &file.finding {
        Finding::Changed { how } => Some(how.clone()),
        Finding::Unreadable { reason } => Some(reason.clone()),
        _ => None,
    };
    let object = json!({
        "path": results.join(&file.place).display().to_string(),
        "finding": file.finding.name(),
        "reason": reason,
        "bytes": file.bytes,
        "rows": file.rows,
    });
    let mut line = Vec::new();
    write_line(&object, &mut line);
    String::from_utf8_lossy(&line).into_owned()
}
