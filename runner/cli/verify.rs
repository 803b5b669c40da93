//! `probity verify`: whether the files of results are still what was written.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::progress::ByteBar;
use super::results::ResultsArgs;
use super::validate::count;
use super::{Exit, OutputFormat, output};
use crate::check::write_line;
use crate::config::{ByteSize, parse_name};
use crate::model::harmless;
use crate::sink::parquet::verify::{Finding, THREAD, Verification, Verified};

/// What the help ends with.
const EXAMPLES: &str = "\
Every file is held against the checksum that was kept when it was published, and read to its end. Ends with 1 if
anything is damaged, missing, foreign or in quarantine, and names it; journals that wait are only told.

Examples:
  probity verify                        the results of this folder
  probity verify --data /var/lib/probity
  probity verify archive                one results folder, as `probity compact` makes them
  probity verify --runner fra1          only what that runner has written
  probity verify --format json | jq 'select(.finding != \"whole\")'";

/// Arguments of `verify`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    results: ResultsArgs,
    /// Only what the runner of this name has written
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    runner: Option<String>,
    /// How files are told: those that there is something to be said of, or JSON, with an object a file
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
    waiting: usize,
    damaged: usize,
}

/// Looks at every file, and tells of each that something is wrong with.
pub(super) fn verify(args: &VerifyArgs) -> anyhow::Result<Exit> {
    let folders = args.results.folders()?;
    let begin = |results: &PathBuf| {
        Verification::of(results, args.runner.as_deref())
            .with_context(|| format!("cannot verify \"{}\"", results.display()))
    };
    let verifications = folders.iter().map(begin).collect::<anyhow::Result<Vec<_>>>()?;
    quiet();
    let bar = ByteBar::show(verifications.iter().map(Verification::bytes).sum());
    let mut sum = Sum::default();
    let mut told = Ok(());
    for verification in verifications {
        verification.run(|file| {
            sum.add(&file);
            let line = match args.format {
                OutputFormat::Json => json_line(&file),
                OutputFormat::Table => text(&file).unwrap_or_default(),
            };
            // The files after it are looked at all the same: they decide how this ends.
            if told.is_ok() && !line.is_empty() {
                told = bar.aside(|| output::data(&line));
            }
            bar.add(file.bytes);
        })?;
    }
    drop(bar);
    told?;
    if args.format == OutputFormat::Table {
        output::data(&sum.text())?;
    }
    Ok(if sum.damaged > 0 { Exit::Negative } else { Exit::Success })
}

/// A decoder's panic at a damaged file is told as what it is; its own text would only frighten.
fn quiet() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() != Some(THREAD) {
            told(panic);
        }
    }));
}

impl Sum {
    fn add(&mut self, file: &Verified) {
        let is_journal = matches!(file.finding, Finding::Waiting | Finding::Quarantined);
        self.files += usize::from(!is_journal);
        self.bytes += if is_journal { 0 } else { file.bytes };
        self.rows += file.rows.unwrap_or_default();
        self.unlisted += usize::from(file.finding == Finding::Unlisted);
        self.waiting += usize::from(file.finding == Finding::Waiting);
        self.damaged += usize::from(file.finding.is_damage());
    }

    fn text(&self) -> String {
        let Self { files, bytes, rows, unlisted, waiting, damaged } = self;
        let (files, rows, bytes) = (count(*files, "file"), count(*rows as usize, "row"), ByteSize(*bytes));
        let verdict = if *damaged == 0 { "all whole".to_owned() } else { format!("{damaged} damaged") };
        let unlisted = match unlisted {
            0 => String::new(),
            unlisted => format!("; {unlisted} without a checksum, read to the end"),
        };
        let waiting = match waiting {
            0 => String::new(),
            waiting => format!("; {} not converted yet", count(*waiting, "journal")),
        };
        format!("{files}, {rows}, {bytes}: {verdict}{unlisted}{waiting}\n")
    }
}

/// A line for people; none where all is well.
fn text(file: &Verified) -> Option<String> {
    let path = harmless(&file.path.display().to_string());
    let what = match &file.finding {
        Finding::Whole | Finding::Unlisted | Finding::Waiting => return None,
        Finding::Missing => "it was published, and is gone; nothing of ours has removed it".to_owned(),
        Finding::Changed { how } => how.clone(),
        Finding::Unreadable { reason } => format!("it cannot be read to its end: {}", harmless(reason)),
        Finding::Foreign => "it is no finished file; readers of the folder may fail at it".to_owned(),
        Finding::Quarantined => {
            "parts of this journal could not be read, and rows in it may not be published; keep it until you have looked at it"
                .to_owned()
        }
    };
    Some(format!("{:<11}  {path}: {what}\n", file.finding.name()))
}

fn json_line(file: &Verified) -> String {
    let reason = match &file.finding {
        Finding::Changed { how } => Some(how.clone()),
        Finding::Unreadable { reason } => Some(reason.clone()),
        _ => None,
    };
    let object = json!({
        "path": file.path.display().to_string(),
        "finding": file.finding.name(),
        "damaged": file.finding.is_damage(),
        "reason": reason,
        "bytes": file.bytes,
        "rows": file.rows,
    });
    let mut line = Vec::new();
    write_line(&object, &mut line);
    String::from_utf8_lossy(&line).into_owned()
}
