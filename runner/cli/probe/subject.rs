//! What is probed, and how: by a pipeline, or by the defaults.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};

use crate::check::{
    BUNDLED_NAMES, CheckSet, CheckSpec, ConfiguredCheck, Isolation, Limits, MemoryState, Plugin,
};
use crate::cli::Exit;
use crate::cli::compile::{Keep, engine, workshop};
use crate::cli::shown::{secrets_of_url, shown_name};
use crate::cli::validate::tell;
use crate::clock::new_run_id;
use crate::config::{Diagnostics, SecretTexts, did_you_mean};
use crate::fetch::{Request, RequestSpec};
use crate::model::{Severity, Target};
use crate::pipeline::{self, Built};
use crate::schedule::Maintenance;
use crate::source::document_url;

/// What is probed, and how.
pub(super) struct Subject {
    /// The pipeline and its generation; none where the defaults are used.
    pub(super) pipeline: Option<(Arc<str>, Arc<str>)>,
    /// What is probed.
    pub(super) target: Arc<Target>,
    /// Whether the target is one of the pipeline's.
    pub(super) is_listed: bool,
    /// How it is asked.
    pub(super) request: Request,
    /// What judges it.
    pub(super) checks: Arc<CheckSet>,
    /// When targets may be wrong on purpose.
    pub(super) maintenance: Maintenance,
    /// What must not be shown.
    pub(super) secrets: SecretTexts,
}

/// Why nothing is probed.
pub(super) struct Refused {
    /// What to say; nothing where all has been told.
    pub(super) reason: Option<String>,
    /// How the command ends.
    pub(super) exit: Exit,
}

type Found = Result<Subject, Refused>;

impl Subject {
    /// A URL by the defaults of a pipeline: a GET, 10 s, the `status` check.
    pub(super) fn plain(text: &str) -> anyhow::Result<Found> {
        let target = match target_of(text) {
            Ok(target) => target,
            Err(refused) => return Ok(Err(refused)),
        };
        let engine = Arc::new(engine(Keep::ReadState(Path::new("."), "main"))?);
        let name = "status";
        debug_assert!(BUNDLED_NAMES.contains(&name));
        let plugin = Plugin::load_bundled(&engine, name).context("the status check is missing")??;
        let spec = CheckSpec {
            name: name.into(),
            plugin: name.into(),
            severity: Severity::Fail,
            on_error: false,
            limits: Limits::default(),
            config: "{}".into(),
            isolation: Isolation::Configure,
        };
        let check = ConfiguredCheck::new(&Arc::new(plugin), spec)?;
        let checks = CheckSet::new("probe".into(), vec![check], Arc::new(MemoryState::default()));
        let request = Request::build(RequestSpec::default())
            .map_err(|problems| anyhow!("the default request cannot be built: {problems:?}"))?;
        Ok(Ok(Self {
            pipeline: None,
            secrets: SecretTexts::new(secrets_of_url(&target.url)),
            target,
            is_listed: false,
            request,
            checks: Arc::new(checks),
            maintenance: Maintenance::default(),
        }))
    }

    /// A target of a pipeline, by its name or its URL, or another URL that is probed as they are.
    pub(super) fn of_pipeline(name: &str, wanted: &str, paths: &[PathBuf]) -> anyhow::Result<Found> {
        let built = match build(name, paths)? {
            Ok(built) => built,
            Err(refused) => return Ok(Err(refused)),
        };
        let (target, is_listed) = match target_in(&built, wanted) {
            Ok(found) => found,
            Err(refused) => return Ok(Err(refused)),
        };
        let Built { name, generation, request, checks, maintenance, secrets, .. } = built;
        let all = secrets.expose().chain(secrets_of_url(&target.url));
        Ok(Ok(Self {
            pipeline: Some((name, generation)),
            secrets: SecretTexts::new(all),
            target,
            is_listed,
            // As the first attempt of a run that ends with it.
            request: request.marked(|| format!("{}-1-1", new_run_id())).into_owned(),
            checks,
            maintenance,
        }))
    }
}

/// Builds the pipeline of a name; the others are not looked at.
fn build(name: &str, paths: &[PathBuf]) -> anyhow::Result<Result<Built, Refused>> {
    let paths = if paths.is_empty() { &[PathBuf::from("pipelines")] } else { paths };
    let mut diagnostics = Diagnostics::default();
    let settings = pipeline::settings(paths, &mut diagnostics);
    let files = pipeline::find(paths, &mut diagnostics);
    let Some(file) = files.iter().find(|file| *file.name == *name) else {
        tell(&diagnostics);
        let reason = match did_you_mean(name, files.iter().map(|file| &*file.name)) {
            Some(near) => format!("there is no pipeline \"{name}\", did you mean \"{near}\"?"),
            None => {
                let known: Vec<_> = files.iter().map(|file| &*file.name).take(20).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                format!("there is no pipeline \"{name}\"; there is: {known}")
            }
        };
        return Ok(Err(Refused { reason: Some(reason), exit: Exit::Config }));
    };
    let data = settings.data.unwrap_or_else(|| PathBuf::from("."));
    let runner = settings.runner.as_deref().unwrap_or("main");
    let workshop = workshop(Keep::ReadState(&data, runner), None)?;
    let built = pipeline::build(file, &workshop, &mut diagnostics);
    tell(&diagnostics);
    Ok(built.filter(|_| !diagnostics.has_errors()).ok_or(Refused { reason: None, exit: Exit::Config }))
}

/// The target of a name or a URL, and whether it is one of the pipeline's.
fn target_in(built: &Built, wanted: &str) -> Result<(Arc<Target>, bool), Refused> {
    if let Some(target) = built.targets.iter().find(|target| *target.name == *wanted) {
        return Ok((Arc::clone(target), true));
    }
    let names_scheme = wanted.contains("://");
    if !names_scheme {
        // A name with a slip in it would be taken for a host.
        let near = did_you_mean(wanted, built.targets.iter().map(|target| &*target.name));
        let looks_like_url = wanted == "localhost" || wanted.contains(['.', ':', '/']);
        if near.is_some() || !looks_like_url {
            let reason = match near {
                Some(near) => {
                    let near = shown_name(near, &built.secrets);
                    format!("did you mean \"{near}\"? A URL begins with http:// or https://")
                }
                None => format!("\"probity list --targets\" tells those of \"{}\"", built.name),
            };
            let reason = format!("there is no target \"{wanted}\"; {reason}");
            return Err(Refused { reason: Some(reason), exit: Exit::Usage });
        }
    }
    let target = target_of(wanted)?;
    match built.targets.iter().find(|listed| listed.url == target.url) {
        Some(listed) => Ok((Arc::clone(listed), true)),
        None => Ok((target, false)),
    }
}

fn target_of(text: &str) -> Result<Arc<Target>, Refused> {
    let url = document_url(text).map_err(|(what, hint)| {
        let hint = hint.map(|hint| format!(": {hint}")).unwrap_or_default();
        Refused { reason: Some(format!("{what}{hint}")), exit: Exit::Usage }
    })?;
    let url: Arc<str> = url.as_str().into();
    Ok(Arc::new(Target { name: Arc::clone(&url), url, labels: [].into(), every: None }))
}
