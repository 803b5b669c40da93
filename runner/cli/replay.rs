//! `probity replay`: recorded responses are judged again, by checks as they are now. No network, no lock, no
//! results: only what would be different.

mod lines;
mod report;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use clap::Args;

use self::lines::Lines;
use self::report::Report;
use super::compile::{self, Keep};
use super::plugin::load;
use super::{Exit, OutputFormat, output, validate, when};
use crate::check::{CheckSet, CheckSpec, ConfiguredCheck, Isolation, Limits, MemoryState, Plugin};
use crate::clock::{Clock, UnixNanos};
use crate::config::{Diagnostics, did_you_mean, parse_name};
use crate::model::Severity;
use crate::pipeline::{self, RecordReader, Replay, Selection, records_folder};

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// Pipeline files, or folders of them: their checks judge the records of their pipelines
    #[arg(value_name = "PATH", default_value = "pipelines")]
    paths: Vec<PathBuf>,
    /// A record file, or a folder of them [default: where the pipelines record]
    #[arg(long, value_name = "PATH")]
    records: Vec<PathBuf>,
    /// Only the check of this name: the others' verdicts stay as they were
    #[arg(long, value_name = "NAME")]
    check: Vec<String>,
    /// A plugin in the place of the pipelines' checks: a .wasm file, or the name of a bundled one. It is
    /// compared with the check of its name, or the one that --check names, and is new where there is none
    #[arg(long, value_name = "FILE", conflicts_with = "paths")]
    plugin: Option<String>,
    /// The configuration of --plugin
    #[arg(long, value_name = "JSON", requires = "plugin", default_value = "{}")]
    config: String,
    /// Call --plugin for failed attempts as well, as those of a pipeline that ask for them
    #[arg(long, requires = "plugin")]
    on_error: bool,
    /// Only the target of this name
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    /// Only attempts since a moment (2026-11-22T03:00:00Z, 2026-11-22) or an age (90m, 12h, 2d)
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    since: Option<UnixNanos>,
    /// Only attempts before a moment or an age
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    until: Option<UnixNanos>,
    /// For people, or a JSON object for each verdict
    #[arg(long, value_enum, default_value = "table")]
    format: OutputFormat,
    /// Show at most N cases of each difference; 0 shows all
    #[arg(long, value_name = "N", default_value = "5")]
    limit: usize,
    /// The folder that results and state are relative to [default: what probity.toml says, else .]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The name of the runner that recorded [default: what probity.toml says, else main]
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    runner: Option<String>,
}

impl ReplayArgs {
    /// Takes what is not given from the runner's own file, whose problems the pipelines tell.
    fn complete(&mut self) {
        let settings = pipeline::settings(&self.paths, &mut Diagnostics::default());
        self.data = self.data.take().or(settings.data);
        self.runner = self.runner.take().or(settings.runner);
    }

    fn data(&self) -> &Path {
        self.data.as_deref().unwrap_or(Path::new("."))
    }

    fn runner(&self) -> &str {
        self.runner.as_deref().unwrap_or("main")
    }
}

/// Checks to be called, and where their pipelines record.
struct Wanted {
    /// By pipeline; none is for every pipeline, one as good as the other.
    sets: HashMap<String, CheckSet>,
    every: Option<ConfiguredPlugin>,
    folders: Vec<PathBuf>,
}

/// Replays records.
pub(super) fn replay(mut args: ReplayArgs) -> anyhow::Result<Exit> {
    args.complete();
    let clock = Clock::system();
    let wanted = match &args.plugin {
        Some(plugin) => of_plugin(plugin, &args)?,
        None => of_pipelines(&args)?,
    };
    let mut wanted = match wanted {
        Ok(wanted) => wanted,
        Err(exit) => return Ok(exit),
    };
    let folders = if args.records.is_empty() { existing(&wanted.folders)? } else { args.records };
    let names = |names: Vec<String>| (!names.is_empty()).then(|| names.into_iter().collect::<BTreeSet<_>>());
    let selection = Selection {
        pipelines: wanted.every.is_none().then(|| wanted.sets.keys().cloned().collect()),
        targets: names(args.target),
        since: args.since,
        until: args.until,
    };
    let records = RecordReader::open(&folders, &selection).map_err(|(path, error)| {
        anyhow::Error::new(error).context(format!("cannot read {}", path.display()))
    })?;
    if let Some(plugin) = &wanted.every {
        for name in records.pipelines.keys() {
            wanted.sets.insert(name.clone(), plugin.set(name)?);
        }
    }
    let is_whole = wanted.every.is_none() && args.check.is_empty();
    let replay = Replay::new(wanted.sets, is_whole, &clock);
    let lines = (args.format == OutputFormat::Json).then(Lines::default);
    compare(records, replay, Report::new(args.limit), lines)
}

fn compare(
    mut records: RecordReader,
    mut replay: Replay,
    mut report: Report,
    mut lines: Option<Lines>,
) -> anyhow::Result<Exit> {
    for record in records.by_ref() {
        let Some(replayed) = replay.judge(&record) else { continue };
        if let Some(lines) = &mut lines {
            lines.add(&record, &replayed)?;
        }
        report.add(&record, replayed);
    }
    for note in report::notes(&records) {
        output::note(&note);
    }
    if report.is_empty() {
        bail!("there is no record to be judged again; what was looked through: {} files", records.files());
    }
    match lines {
        Some(lines) => lines.finish()?,
        None => output::data(&report.text())?,
    }
    Ok(if report.differs() { Exit::Negative } else { Exit::Success })
}

/// The checks of pipelines; `Err` where a file is wrong, or a check is not there, which has been told.
fn of_pipelines(args: &ReplayArgs) -> anyhow::Result<Result<Wanted, Exit>> {
    let mut diagnostics = Diagnostics::default();
    let built = pipeline::build_all(
        &args.paths,
        &compile::workshop(Keep::ReadState(args.data(), args.runner()), None)?,
        &mut diagnostics,
    );
    validate::tell(&diagnostics);
    if diagnostics.has_errors() {
        return Ok(Err(Exit::Config));
    }
    let known: BTreeSet<String> = built
        .iter()
        .flat_map(|pipeline| pipeline.checks.checks().iter().map(|check| check.spec().name.to_string()))
        .collect();
    if let Some(unknown) = args.check.iter().find(|name| !known.contains(*name)) {
        let near = did_you_mean(unknown, known.iter().map(String::as_str));
        let hint = match near {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("there are: {}", known.iter().cloned().collect::<Vec<_>>().join(", ")),
        };
        output::error(&format!("no pipeline has a check \"{unknown}\"; {hint}"));
        return Ok(Err(Exit::Usage));
    }
    let folders = built.iter().map(|pipeline| records_folder(pipeline, args.data(), args.runner())).collect();
    let mut sets = HashMap::new();
    for pipeline in built {
        let Some(set) = Arc::into_inner(pipeline.checks) else { continue };
        let set = if args.check.is_empty() { set } else { set.only(&args.check) };
        if args.check.is_empty() || !set.checks().is_empty() {
            sets.insert(pipeline.name.to_string(), set);
        }
    }
    Ok(Ok(Wanted { sets, every: None, folders }))
}

/// A plugin with its configuration, for the records of any pipeline.
struct ConfiguredPlugin {
    plugin: Arc<Plugin>,
    spec: CheckSpec,
}

impl ConfiguredPlugin {
    fn set(&self, pipeline: &str) -> anyhow::Result<CheckSet> {
        let check = ConfiguredCheck::new(&self.plugin, self.spec.clone())?;
        Ok(CheckSet::new(pipeline.into(), vec![check], Arc::new(MemoryState::default())))
    }
}

/// A plugin that the command line names; `Err` where it is none, which has been told.
fn of_plugin(wanted: &str, args: &ReplayArgs) -> anyhow::Result<Result<Wanted, Exit>> {
    let refused = |reason: String| {
        output::error(&reason);
        Ok(Err(Exit::Config))
    };
    if args.check.len() > 1 {
        output::error("--plugin takes the place of one check: give --check once");
        return Ok(Err(Exit::Usage));
    }
    let path = Path::new(wanted);
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or(wanted);
    let name = match parse_name(args.check.first().map_or(stem, String::as_str)) {
        Ok(name) => name,
        Err(reason) => {
            return refused(format!("\"{stem}\" cannot be a check's name: {reason}; give one with --check"));
        }
    };
    let spec = CheckSpec {
        name: name.into(),
        plugin: wanted.into(),
        severity: Severity::Fail,
        on_error: args.on_error,
        limits: Limits::default(),
        config: args.config.as_str().into(),
        isolation: Isolation::default(),
    };
    let plugin = match load::plugin(wanted) {
        Ok(plugin) => plugin,
        Err(error) => return refused(format!("{error:#}")),
    };
    if let Err(error) = ConfiguredCheck::new(&plugin, spec.clone()) {
        return refused(format!("the plugin \"{wanted}\" does not take --config: {error}"));
    }
    let folders = vec![args.data().join("state").join(args.runner()).join("records")];
    Ok(Ok(Wanted { sets: HashMap::new(), every: Some(ConfiguredPlugin { plugin, spec }), folders }))
}

/// Those folders that are there.
fn existing(folders: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let there: Vec<_> = folders.iter().filter(|folder| folder.is_dir()).cloned().collect();
    if there.is_empty() {
        let places: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        bail!(
            "there are no records in {}: a pipeline records with [record] when = \"not_up\"; --records names another place",
            places.join(", ")
        );
    }
    Ok(there)
}
