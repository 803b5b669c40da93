//! The runner's own file, `probity.toml`: what holds for all pipelines unless they say otherwise. It stands in
//! the folder of the pipelines, or beside that folder.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeValue;

use super::files::RUNNER_FILE;
use super::places::Limits;
use crate::config::{
    Advice, ByteSize, Code, Context, Diagnostic, Diagnostics, Document, FromValue as _, Located, Place,
    config_table, parse_name,
};
use crate::fetch::{AddressPolicy, AddressPolicyText, CANARIES_MAX, Canary};

/// The most probes in flight that can be asked for.
const MOST: u64 = 100_000;

config_table! {
    /// The runner's own file, `probity.toml`: in the folder of the pipelines, or beside it.
    pub struct RunnerText, "probity.toml" {
        /// What holds for all pipelines.
        defaults: DefaultsText,
        /// The runner's own network.
        network: NetworkText,
    }
}

config_table! {
    /// The runner's own network.
    pub struct NetworkText, "[network] of probity.toml" {
        /// Places that accept TCP connections whatever becomes of the targets, as `"host:port"`, at most 5: a name
        /// server, the gateway, a site of somebody else's. When none of them can be reached, what fails is
        /// `unknown` with `runner_offline` instead of `down`. They are asked only when probes fail, once a second at
        /// most. A change takes a restart.
        canaries: Option<Located<Vec<Canary>>>,
    }
}

config_table! {
    /// What holds for all pipelines, as far as they do not say otherwise.
    pub struct DefaultsText, "[defaults] of probity.toml" {
        /// How many probes may be in flight over the whole runner, at least 1. Without it, what the limit of
        /// open files and a quarter of the memory leave room for, by three files and 256 KiB a probe, at most 10,000.
        /// The memory is the least that a control group of the process (a container, a systemd unit) or the machine
        /// has.
        concurrency: Option<Located<u64>>,
        /// How many probes may be in flight to one host and port, at least 1; a pipeline may say otherwise
        /// under `[limits]`.
        per_host: Option<Located<u64>>,
        /// The folder that results and state go to, relative to this file; `--data` overrides it.
        data: Option<Located<String>>,
        /// The runner's name, part of file names; `--runner` overrides it.
        runner: Option<Located<String>>,
        /// What the bodies of all probes in flight may take in memory together, the first 64 KiB of each apart; at
        /// least 1 MiB. A longer body waits for its room; if it comes too late, the attempt is `unknown` with
        /// `local_memory`. Without it, a quarter of the memory, at most 256 MiB. A change takes a
        /// restart.
        body_memory: Option<Located<ByteSize>>,
        /// Which addresses may be connected to: `"no_metadata"`, `"public_only"`, or a table with `allow` and
        /// `deny`; a pipeline may say otherwise under `[request]`.
        address_policy: Option<AddressPolicyText>,
    }
}

config_table! {
    /// How many probes of the pipeline may be in flight.
    pub struct LimitsText, "[limits]" {
        /// Over all its targets, at least 1. The runner's own limit holds as well.
        concurrency: Option<Located<u64>>,
        /// To one host and port, at least 1. Pipelines with the same limit share it.
        per_host: Option<Located<u64>>,
    }
}

/// What holds for all pipelines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunnerSettings {
    /// How many probes may be in flight over the whole runner.
    pub concurrency: Option<usize>,
    /// How many probes of a pipeline may be in flight to one host and port.
    pub per_host: Option<u32>,
    /// The folder that results and state go to.
    pub data: Option<PathBuf>,
    /// The runner's name.
    pub runner: Option<String>,
    /// Bytes that the bodies of all probes in flight may take in memory together.
    pub body_memory: Option<u64>,
    /// Which addresses may be connected to.
    pub address_policy: AddressPolicy,
    /// Places that tell whether the runner's own network is there.
    pub canaries: Vec<Canary>,
}

/// The settings of the runner that runs what the paths name. Problems: two such files, and all that is wrong in
/// one.
pub fn settings(paths: &[PathBuf], diagnostics: &mut Diagnostics) -> RunnerSettings {
    let mut found: Option<(PathBuf, RunnerSettings)> = None;
    for path in paths {
        let is_file = path.extension().is_some_and(|ending| ending == "toml") && !path.is_dir();
        let folder = if is_file { path.parent().unwrap_or(Path::new("")) } else { path };
        let Some((file, settings)) = of_folder(folder, &mut |_| {}, diagnostics) else { continue };
        match &found {
            Some((first, _)) if first.canonicalize().ok() != file.canonicalize().ok() => {
                diagnostics.add(two_files(first, &file));
            }
            _ => found = Some((file, settings)),
        }
    }
    found.map(|(_, settings)| settings).unwrap_or_default()
}

/// The settings for one pipeline file. `note` is told of every file that they are made from, or would be.
pub(super) fn for_pipeline(
    file: &Path,
    note: &mut dyn FnMut(&Path),
    diagnostics: &mut Diagnostics,
) -> RunnerSettings {
    let folder = file.parent().unwrap_or(Path::new(""));
    of_folder(folder, note, diagnostics).map(|(_, settings)| settings).unwrap_or_default()
}

fn of_folder(
    folder: &Path,
    note: &mut dyn FnMut(&Path),
    diagnostics: &mut Diagnostics,
) -> Option<(PathBuf, RunnerSettings)> {
    let candidates = [folder.join(RUNNER_FILE), beside(folder).join(RUNNER_FILE)];
    for path in &candidates {
        note(path);
    }
    let file = match &candidates.each_ref().map(|path| path.exists()) {
        [true, true] => {
            diagnostics.add(two_files(&candidates[1], &candidates[0]));
            return None;
        }
        [true, false] => &candidates[0],
        [false, true] => &candidates[1],
        [false, false] => return None,
    };
    let mut told = Diagnostics::default();
    let settings = read(file, note, &mut told);
    // Every pipeline of the folder finds the same.
    diagnostics.absorb(told.shared());
    Some((file.clone(), settings.unwrap_or_default()))
}

/// The folder that a folder stands in.
fn beside(folder: &Path) -> PathBuf {
    let is_named = folder.file_name().is_some();
    match folder.parent() {
        Some(parent) if is_named => parent.to_owned(),
        _ => folder.join(".."),
    }
}

fn two_files(first: &Path, second: &Path) -> Diagnostic {
    Diagnostic::error(Code::Conflict, Place::file(second), "there are two files of the runner's own")
        .also("the other one is here", Place::file(first))
        .hint("probity.toml stands in the folder of the pipelines or beside it: keep one of them")
        .shared()
}

fn read(file: &Path, note: &mut dyn FnMut(&Path), diagnostics: &mut Diagnostics) -> Option<RunnerSettings> {
    let advice = Advice {
        too_large: "it has two tables, [defaults] and [network]",
        empty: "delete it, or give it [defaults]",
    };
    let document = Document::read_with(file, advice, diagnostics)?;
    let mut found = Diagnostics::default();
    let settings = read_document(&document, &mut found);
    for path in document.inputs() {
        note(&path);
    }
    found.mask(&document.secrets());
    diagnostics.absorb(found);
    settings
}

fn read_document(document: &Document, diagnostics: &mut Diagnostics) -> Option<RunnerSettings> {
    let mut table = document.parse(diagnostics)?;
    let base = document.path().parent().unwrap_or(Path::new(""));
    document.resolve(&mut table, base, &|name| std::env::var_os(name), diagnostics);
    let value = Spanned::new(table.span(), DeValue::Table(table.into_inner()));
    let text = RunnerText::from_value(&value, &mut Context { document, diagnostics, tag: None })?;
    let DefaultsText { concurrency, per_host, data, runner, body_memory, address_policy } = text.defaults;
    let runner = runner.and_then(|name| match parse_name(&name.value) {
        Ok(name) => Some(name),
        Err(reason) => {
            let message = format!("this cannot be a runner's name: {reason}");
            diagnostics.add(Diagnostic::error(Code::BadValue, name.place(document), message));
            None
        }
    });
    Some(RunnerSettings {
        concurrency: in_flight(concurrency.as_ref(), document, diagnostics).map(|number| number as usize),
        per_host: in_flight(per_host.as_ref(), document, diagnostics),
        data: data.map(|data| base.join(data.value)),
        runner,
        body_memory: body_memory.and_then(|size| enough_memory(&size, document, diagnostics)),
        address_policy: address_policy.map(AddressPolicy::from).unwrap_or_default(),
        canaries: text
            .network
            .canaries
            .map(|canaries| few(canaries, document, diagnostics))
            .unwrap_or_default(),
    })
}

impl LimitsText {
    /// The limits of a pipeline: its own, else the runner's.
    pub(super) fn checked(
        &self,
        settings: &RunnerSettings,
        document: &Document,
        diagnostics: &mut Diagnostics,
    ) -> Limits {
        let Self { concurrency, per_host } = self;
        Limits {
            concurrency: in_flight(concurrency.as_ref(), document, diagnostics),
            per_host: in_flight(per_host.as_ref(), document, diagnostics).or(settings.per_host),
        }
    }
}

/// A number of probes in flight; tells of one that cannot be.
fn in_flight(
    number: Option<&Located<u64>>,
    document: &Document,
    diagnostics: &mut Diagnostics,
) -> Option<u32> {
    let number = number?;
    if (1..=MOST).contains(&number.value) {
        return u32::try_from(number.value).ok();
    }
    let message = "at least 1 and at most 100000 probes may be in flight";
    diagnostics.add(Diagnostic::error(Code::BadValue, number.place(document), message));
    None
}

/// The canaries; tells of too many.
fn few(canaries: Located<Vec<Canary>>, document: &Document, diagnostics: &mut Diagnostics) -> Vec<Canary> {
    if canaries.value.len() > CANARIES_MAX {
        let message = format!("a runner has at most {CANARIES_MAX} canaries");
        diagnostics.add(Diagnostic::error(Code::BadValue, canaries.place(document), message));
    }
    canaries.value
}

/// The memory for bodies; tells of one that is too small for one body of the default limit.
fn enough_memory(
    size: &Located<ByteSize>,
    document: &Document,
    diagnostics: &mut Diagnostics,
) -> Option<u64> {
    if size.value.0 >= 1 << 20 {
        return Some(size.value.0);
    }
    let message = "body_memory is at least 1MiB";
    diagnostics.add(Diagnostic::error(Code::BadValue, size.place(document), message));
    None
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What is read of these files (`folder/pipelines/x` and so on), and what is told.
    fn read(files: &[(&str, &str)]) -> (RunnerSettings, String, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("pipelines")).unwrap();
        for (file, text) in files {
            fs::write(folder.path().join(file), text).unwrap();
        }
        let mut diagnostics = Diagnostics::default();
        let settings = settings(&[folder.path().join("pipelines")], &mut diagnostics);
        let mut noted = Vec::new();
        let pipeline = folder.path().join("pipelines/shop.toml");
        let again = for_pipeline(&pipeline, &mut |path| noted.push(path.to_owned()), &mut diagnostics);
        assert_eq!(again, settings);
        let shown = folder.path().display().to_string();
        let settings = RunnerSettings {
            data: settings.data.as_ref().map(|data| data.strip_prefix(folder.path()).unwrap().to_owned()),
            ..settings
        };
        (settings, diagnostics.render(false).replace(&shown, "DIR"), noted)
    }

    #[test]
    fn it_stands_in_the_folder_or_beside_it() {
        let text = "[defaults]\nconcurrency = 5\nper_host = 2\ndata = \"out\"\nrunner = \"eu-1\"\nbody_memory = \"32MiB\"\naddress_policy = \"public_only\"\n[network]\ncanaries = [\"gateway.example:443\"]\n";
        let all = RunnerSettings {
            concurrency: Some(5),
            per_host: Some(2),
            data: Some("pipelines/out".into()),
            runner: Some("eu-1".to_owned()),
            body_memory: Some(32 << 20),
            address_policy: AddressPolicy::PublicOnly,
            canaries: vec![Canary::parse("gateway.example:443").unwrap()],
        };
        let (found, told, noted) = read(&[("pipelines/probity.toml", text)]);
        assert_eq!((found, told.as_str()), (all.clone(), ""));
        assert_eq!(noted.len(), 2, "also the one that is not there is looked at: {noted:?}");
        let (found, told, _) = read(&[("probity.toml", text)]);
        assert_eq!((found, told.as_str()), (RunnerSettings { data: Some("out".into()), ..all }, ""));
        assert_eq!(read(&[]).0, RunnerSettings::default());
    }

    #[test]
    fn problems_are_told_once() {
        let (_, told, _) = read(&[("pipelines/probity.toml", ""), ("probity.toml", "")]);
        assert!(told.contains("DIR/pipelines/probity.toml") && told.contains("DIR/probity.toml"), "{told}");
        assert_eq!(told.matches("error[P0205]").count(), 1, "{told}");
        let text = "[defaults]\nconcurency = 5\nper_host = 0\nrunner = \"a/b\"\nbody_memory = \"1KiB\"\naddress_policy = \"public\"\n";
        let (_, told, _) = read(&[("probity.toml", text)]);
        for part in [
            "did you mean \"concurrency\"?",
            "at least 1 and",
            "a runner's name",
            "body_memory is at least 1MiB",
            "\"public_only\"",
        ] {
            assert_eq!(told.matches(part).count(), 1, "{part}: {told}");
        }
    }
}
