//! `probity plugin test`: what a check says of its cases, in the sandbox, and how that differs from what
//! it must say.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Format, load};
use crate::check::{Answer, Case, CaseReport, Cases, Isolation, Mismatch, Plugin};
use crate::cli::validate::{count, tell};
use crate::cli::{Exit, output};
use crate::clock::Clock;
use crate::config::Diagnostics;
use crate::model::harmless;

/// Arguments of `plugin test`.
#[derive(Debug, Args)]
pub(super) struct TestArgs {
    /// The folder of a check, with cases.toml and the component that "plugin build" left there; or a
    /// component with cases.toml beside it
    #[arg(value_name = "DIR|FILE", default_value = ".")]
    path: PathBuf,
    /// The cases, where they are not in cases.toml
    #[arg(long, value_name = "FILE")]
    cases: Option<PathBuf>,
    /// The component, where it is not in the folder; or the name of a bundled check
    #[arg(long, value_name = "FILE")]
    plugin: Option<String>,
    /// Where the sandbox of a call comes from
    #[arg(long, value_enum, default_value = "configure")]
    isolation: IsolationArg,
    /// How the report is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Where the sandbox of a call comes from, as an argument.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum IsolationArg {
    /// A fresh one, configured for the call.
    Configure,
    /// A fresh one, from a snapshot after configure, as a pipeline's checks soon are; takes seconds for
    /// every configuration that is new.
    Snapshot,
    /// The one of the call before.
    Reuse,
}

impl From<IsolationArg> for Isolation {
    fn from(isolation: IsolationArg) -> Self {
        match isolation {
            IsolationArg::Configure => Self::Configure,
            IsolationArg::Snapshot => Self::Snapshot,
            IsolationArg::Reuse => Self::Reuse,
        }
    }
}

/// One line of the report.
struct Judged<'a> {
    name: &'a str,
    case: Option<&'a Case>,
    report: Option<&'a CaseReport>,
    mismatches: &'a [Mismatch],
}

/// Has every case judged and tells of each.
pub(super) fn test(args: &TestArgs) -> anyhow::Result<Exit> {
    let TestArgs { path, cases, plugin, isolation: _, format: _ } = args;
    let wanted = match plugin {
        Some(plugin) => plugin.clone(),
        None => component(path)?.display().to_string(),
    };
    let cases = cases.clone().unwrap_or_else(|| folder(path).join("cases.toml"));
    let mut diagnostics = Diagnostics::default();
    let read = Cases::read(&cases, &mut diagnostics);
    tell(&diagnostics);
    let Some(cases) = read else { return Ok(Exit::Config) };
    let plugin = match load::plugin(&wanted) {
        Ok(plugin) => plugin,
        Err(error) => return Ok(load::refuse(&error)),
    };
    let failed = judge(&cases, &plugin, args)?;
    Ok(if failed == 0 { Exit::Success } else { Exit::Negative })
}

/// Judges, prints a line or more for each case as it is done, and counts those that failed.
fn judge(cases: &Cases, plugin: &Arc<Plugin>, args: &TestArgs) -> anyhow::Result<usize> {
    let clock = Clock::system();
    let began = clock.now();
    let isolation = Isolation::from(args.isolation);
    let print = |judged: &Judged<'_>| {
        output::data(&match args.format {
            Format::Text => text(judged, output::stdout_has_colour()),
            Format::Json => format!("{}\n", object(judged)),
        })
    };
    let mut failed = 0;
    for case in &cases.cases {
        let report = case.judge(plugin, isolation, &clock);
        failed += usize::from(!report.mismatches.is_empty());
        let name = &case.name;
        print(&Judged { name, case: Some(case), report: Some(&report), mismatches: &report.mismatches })?;
    }
    let of_schema = cases.compare_with_schema(plugin).unwrap_or_default();
    if !of_schema.is_empty() {
        let name = "the schema of the configuration and the cases have the same keys";
        print(&Judged { name, case: None, report: None, mismatches: &of_schema })?;
    }
    if args.format == Format::Text {
        let mut ended = match failed {
            0 => "all ok".to_owned(),
            failed => format!("{} ok, {failed} FAILED", cases.cases.len() - failed),
        };
        if !of_schema.is_empty() {
            ended.push_str(", the schema FAILED");
        }
        let took = clock.now().saturating_duration_since(began).as_secs_f64();
        let told = count(cases.cases.len(), "case");
        let name = harmless(&plugin.manifest().name);
        output::data(&format!("{name}: {told} in {took:.2} s: {ended}\n"))?;
    }
    Ok(failed + usize::from(!of_schema.is_empty()))
}

/// The folder that a path means.
fn folder(path: &Path) -> &Path {
    if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) }
}

/// The component that a path means: itself, or the one in the folder.
fn component(path: &Path) -> anyhow::Result<PathBuf> {
    if path.is_file() {
        return Ok(path.to_owned());
    }
    if !path.is_dir() {
        bail!("there is no file or folder \"{}\"", path.display());
    }
    let whole = fs::canonicalize(path).with_context(|| format!("cannot read {}", path.display()))?;
    let named = whole.file_name().map(|name| path.join(name).with_extension("wasm"));
    if let Some(named) = named.filter(|named| named.is_file()) {
        return Ok(named);
    }
    let entries = fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|ending| ending == "wasm")).collect();
    match (found.pop(), found.pop()) {
        (Some(one), None) => Ok(one),
        (None, _) => bail!(
            "there is no component in \"{0}\": make one with \"probity plugin build {0}\", or name one with \
             --plugin",
            path.display()
        ),
        (Some(_), Some(_)) => bail!(
            "there are several components in \"{}\", and none has the folder's name: name one with --plugin",
            path.display()
        ),
    }
}

/// A case as text: a line, and below it every difference, line by line.
fn text(judged: &Judged<'_>, colour: bool) -> String {
    let (word, code) = if judged.mismatches.is_empty() { ("ok", 32) } else { ("FAILED", 31) };
    let word = format!("{word:6}");
    let word = if colour { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word };
    let mut out = format!("{word}  {}\n", harmless(judged.name));
    if let (Some(case), false) = (judged.case, judged.mismatches.is_empty()) {
        let _ = writeln!(out, "        --> {}", case.place);
    }
    for mismatch in judged.mismatches {
        out.push_str(&difference(mismatch));
    }
    out
}

/// The longest text whose difference is pointed at, in characters: what a terminal shows on a line or two.
const POINTED_AT: usize = 160;

/// One difference as text.
pub(in crate::cli) fn difference(mismatch: &Mismatch) -> String {
    let Mismatch { what, expected, got } = mismatch;
    let shown = |text: &Option<String>| text.as_deref().map_or("nothing".to_owned(), harmless);
    let (wanted, found) = (shown(expected), shown(got));
    let mut out =
        format!("        {}\n          expected  {wanted}\n          got       {found}\n", harmless(what));
    let is_short = wanted.chars().count().max(found.chars().count()) <= POINTED_AT;
    if expected.is_some()
        && got.is_some()
        && is_short
        && let Some((begin, marks)) = marks(&wanted, &found)
    {
        let _ = writeln!(out, "                    {}{}", " ".repeat(begin), "^".repeat(marks));
    }
    out
}

/// Where `found` differs from `wanted`: the first character and how many; none where the two have too
/// little in common for that to say anything.
fn marks(wanted: &str, found: &str) -> Option<(usize, usize)> {
    let (wanted, found): (Vec<char>, Vec<char>) = (wanted.chars().collect(), found.chars().collect());
    let same = wanted.iter().zip(&found).take_while(|(a, b)| a == b).count();
    let room = wanted.len().min(found.len()) - same;
    let ends = wanted.iter().rev().zip(found.iter().rev()).take(room).take_while(|(a, b)| a == b).count();
    (2 * (same + ends) >= found.len()).then(|| (same, (found.len() - same - ends).max(1)))
}

/// A case as a JSON object.
fn object(judged: &Judged<'_>) -> serde_json::Value {
    let mismatches: Vec<_> = judged
        .mismatches
        .iter()
        .map(|Mismatch { what, expected, got }| json!({ "what": what, "expected": expected, "got": got }))
        .collect();
    let mut object = json!({
        "case": judged.name,
        "place": judged.case.map(|case| case.place.to_string()),
        "ok": judged.mismatches.is_empty(),
        "mismatches": mismatches,
    });
    if let Some(CaseReport { answer, duration, mismatches: _ }) = judged.report {
        object["duration_us"] = (duration.as_micros() as u64).into();
        match answer {
            Answer::Verdict(verdict) => {
                object["status"] = verdict.status.as_str().into();
                object["message"] = verdict.message.as_str().into();
                object["metrics"] = json!(verdict.metrics.iter().cloned().collect::<BTreeMap<_, _>>());
                object["annotations"] =
                    json!(verdict.annotations.iter().cloned().collect::<BTreeMap<_, _>>());
            }
            Answer::Error(reason) => object["error"] = reason.as_str().into(),
            Answer::EarlierError(at, reason) => object["error"] = format!("before[{at}]: {reason}").into(),
            Answer::Refused(reason) | Answer::NotConfigured(reason) => {
                object["config_error"] = reason.as_str().into();
            }
        }
    }
    object
}
