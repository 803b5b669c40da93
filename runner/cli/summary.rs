//! What a run comes to, in a few lines for people.

use std::fmt::Write as _;

use indicatif::HumanBytes;

use crate::model::Outcome;
use crate::pipeline::RunSummary;
use crate::sink::Missing;

/// The summary that stands at the end of a run.
pub(super) fn text(summary: &RunSummary, once: bool) -> String {
    let mut out = format!("{} probes:", summary.probes);
    let told: Vec<String> = Outcome::ALL
        .into_iter()
        .zip(&summary.by_outcome)
        .filter(|(_, count)| **count > 0)
        .map(|(outcome, count)| format!(" {count} {outcome}"))
        .collect();
    out.push_str(if told.is_empty() { " none" } else { "" });
    out.push_str(&told.join(","));
    if summary.missed > 0 {
        let _ = write!(out, "; {} ticks missed", summary.missed);
    }
    if summary.lag.stalls > 0 {
        let (stalls, longest) = (summary.lag.stalls, summary.lag.longest.as_millis());
        let times = if stalls == 1 { "once".to_owned() } else { format!("{stalls} times") };
        let _ = write!(out, "\nthe runner was held up {times}, for {longest} ms at most");
    }
    let _ = write!(out, "\n{} rows and {} verdicts written", summary.rows, summary.verdicts);
    let _ = match summary.files {
        0 => write!(out, ", no file"),
        1 => write!(out, " into 1 file"),
        files => write!(out, " into {files} files"),
    };
    for folder in &summary.folders {
        let _ = write!(out, "\n  {}", folder.display());
    }
    if summary.recorded > 0 {
        let _ = write!(out, "\n{} attempts recorded", summary.recorded);
    }
    if summary.unrecorded > 0 {
        let _ = write!(out, "\n{} attempts could not be recorded", summary.unrecorded);
    }
    if once && summary.probes < summary.targets {
        let _ = write!(out, "\n{} targets were not probed", summary.targets - summary.probes);
    }
    for (sink, reason, rows) in &summary.missing {
        let why = match reason {
            Missing::Full => "it was too slow for them",
            Missing::Failed => "it failed to take them",
            Missing::Unread => "nobody reads it any more",
            Missing::Late => "it had not taken them by the end",
        };
        let _ = write!(out, "\n{rows} rows are missing in {sink}: {why}");
    }
    if summary.dropped > 0 {
        let _ = write!(out, "\n{} rows were dropped, since the queue was full", summary.dropped);
    }
    uploads(summary, &mut out);
    if summary.recovered > 0 {
        let _ = write!(
            out,
            "\n{} rows of earlier runs were found in journals, and are in files now",
            summary.recovered
        );
    }
    if summary.lost > 0 {
        let _ = write!(out, "\n{} rows could not be written and are lost", summary.lost);
    }
    if summary.journals_left > 0 {
        let _ =
            write!(out, "\n{} journals are left; the next start makes files of them", summary.journals_left);
    }
    out
}

/// What became of files for buckets.
fn uploads(summary: &RunSummary, out: &mut String) {
    if summary.uploaded > 0 {
        let size = HumanBytes(summary.uploaded_bytes);
        let _ = write!(out, "\n{} files uploaded, {size}", summary.uploaded);
    }
    if summary.uploads_left > 0 {
        let left = summary.uploads_left;
        let _ = write!(out, "\n{left} files are left to be uploaded; the next start goes on with them");
    }
    if summary.uploads_refused > 0 {
        let _ = write!(out, "\n{} files could not be uploaded; the log says why", summary.uploads_refused);
    }
}
