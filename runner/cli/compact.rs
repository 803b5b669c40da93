//! `probity compact`: the files of days that are over become one a day, in another folder.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Map, Value};

use super::results::ResultsArgs;
use super::validate::count;
use super::{Exit, OutputFormat, output, when};
use crate::check::write_line;
use crate::clock::{Clock, UnixNanos};
use crate::config::ByteSize;
use crate::model::harmless;
use crate::sink::SinkError;
use crate::sink::parquet::compact::{Compacted, Compaction, What};

/// What the help ends with.
const EXAMPLES: &str = "\
Files of the results folder are not touched; readers choose when they read the archive instead. What is there already is
not made again, so that it can be repeated, also after a kill. Days with journals that no runner has made files of yet are
left for later. Ends with 1 if a day cannot be compacted, or has changed since it was.

Examples:
  probity compact --before 2d --to archive            all days that ended two days ago
  probity compact --before 2026-11-01 --to /mnt/archive/probity results
  probity verify archive
  duckdb -c \"SELECT count(*) FROM 'archive/probes/**/*.parquet'\"";

/// Arguments of `compact`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CompactArgs {
    #[command(flatten)]
    results: ResultsArgs,
    /// Days that had ended at a moment (2026-11-22), or so long ago (2d)
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    before: UnixNanos,
    /// The archive: a folder of its own, for one results folder
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// How days are told: a line each, or a JSON object
    #[arg(long, value_enum, default_value = "table")]
    format: OutputFormat,
}

/// What all days come to.
#[derive(Default)]
struct Sum {
    files_in: usize,
    files_out: usize,
    bytes_in: u64,
    bytes_out: u64,
    rows: u64,
    there: usize,
    waiting: usize,
    wrong: usize,
}

/// Compacts every day that is over, and tells of each.
pub(super) fn compact(args: &CompactArgs) -> anyhow::Result<Exit> {
    let folders = args.results.folders()?;
    let [from] = &folders[..] else {
        let names: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        bail!("an archive is for one results folder; name one of: {}", names.join(", "));
    };
    let compaction = match Compaction::open(from, &args.to) {
        Ok(compaction) => compaction,
        Err(error) => return refused(error),
    };
    let mut sum = Sum::default();
    let mut told = Ok(());
    let ran = compaction.run(args.before, Clock::system().wall(), |day| {
        sum.add(&day);
        let line = match args.format {
            OutputFormat::Json => json_line(&day),
            OutputFormat::Table => text(&day),
        };
        if told.is_ok() {
            told = output::data(&line);
        }
    });
    ran.with_context(|| format!("cannot compact \"{}\"", from.display()))?;
    told?;
    if args.format == OutputFormat::Table {
        output::data(&sum.text())?;
    }
    Ok(if sum.wrong > 0 { Exit::Negative } else { Exit::Success })
}

/// How the program ends where an archive cannot be opened.
fn refused(error: SinkError) -> anyhow::Result<Exit> {
    let exit = match &error {
        SinkError::Locked { lock, pid, .. } => {
            let who = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
            output::error(&format!(
                "{who} is compacting into this archive (lock file \"{}\")",
                lock.display()
            ));
            return Ok(Exit::Locked);
        }
        SinkError::ArchiveInResults { .. }
        | SinkError::ArchiveInUse { .. }
        | SinkError::ResultsPath { .. }
        | SinkError::OtherFileSystem { .. } => Exit::Usage,
        _ => return Err(error.into()),
    };
    output::error(&error.to_string());
    Ok(exit)
}

impl Sum {
    fn add(&mut self, day: &Compacted) {
        match &day.what {
            What::Done { files, bytes, rows } => {
                self.files_in += day.files_in;
                self.bytes_in += day.bytes_in;
                self.files_out += files;
                self.bytes_out += bytes;
                self.rows += rows;
            }
            What::There { .. } | What::Fewer { .. } => self.there += 1,
            What::Waiting { .. } => self.waiting += 1,
            What::Wrong { .. } => self.wrong += 1,
        }
    }

    fn text(&self) -> String {
        let Self { files_in, files_out, bytes_in, bytes_out, rows, there, waiting, wrong } = self;
        let mut text = made((*files_in, *bytes_in), (*files_out, *bytes_out), *rows);
        for (times, what) in [(there, "there already"), (waiting, "wait for journals"), (wrong, "wrong")] {
            if *times > 0 {
                let _ = write!(text, "; {times} {what}");
            }
        }
        text.push('\n');
        text
    }
}

/// What became of files and their bytes.
fn made((files_in, bytes_in): (usize, u64), (files_out, bytes_out): (usize, u64), rows: u64) -> String {
    format!(
        "{} into {}, {}, {} into {}",
        count(files_in, "file"),
        count(files_out, "file"),
        count(rows as usize, "row"),
        ByteSize(bytes_in),
        ByteSize(bytes_out)
    )
}

fn text(day: &Compacted) -> String {
    let Compacted { day, table, files_in, bytes_in, what } = day;
    let told = match what {
        What::Done { files, bytes, rows } => made((*files_in, *bytes_in), (*files, *bytes), *rows),
        What::There { rows } => format!("there already, {}", count(*rows as usize, "row")),
        What::Fewer { rows, left } => format!(
            "there already, {}; the results have only {left} of them by now: keep the archive",
            count(*rows as usize, "row")
        ),
        What::Waiting { journals } => format!(
            "left for later: {} with results of this day; a runner makes files of them when it starts",
            count(*journals, "journal")
        ),
        What::Wrong { reason } => format!("wrong: {}", harmless(reason)),
    };
    format!("{day}  {:6}  {told}\n", table.name())
}

fn json_line(day: &Compacted) -> String {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
    put("day", day.day.as_str().into());
    put("table", day.table.name().into());
    put("what", day.what.name().into());
    put("files_in", day.files_in.into());
    put("bytes_in", day.bytes_in.into());
    match &day.what {
        What::Done { files, bytes, rows } => {
            put("files", (*files).into());
            put("bytes", (*bytes).into());
            put("rows", (*rows).into());
        }
        What::There { rows } => put("rows", (*rows).into()),
        What::Fewer { rows, left } => {
            put("rows", (*rows).into());
            put("rows_left", (*left).into());
        }
        What::Waiting { journals } => put("journals", (*journals).into()),
        What::Wrong { reason } => put("reason", reason.as_str().into()),
    }
    let mut line = Vec::new();
    write_line(&object, &mut line);
    String::from_utf8_lossy(&line).into_owned()
}
