//! `probity plugin inspect`: all that can be said of a plugin without a pipeline.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use super::calls::{self, Calls, Row, length, size};
use super::load::Found;
use super::{Format, load, parse_config, schema};
use crate::check::{Effort, Manifest, Plugin};
use crate::cli::compile::{self, Keep};
use crate::cli::{Exit, output};
use crate::clock::Clock;
use crate::model::harmless;

/// Arguments of `plugin inspect`.
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// The component, or the name of a bundled check
    file: String,
    /// The configuration with which it is frozen and called
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = parse_config)]
    config: String,
    /// How the report is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// What was found out.
struct Report {
    manifest: Manifest,
    bytes: usize,
    imports: Vec<String>,
    contract: Option<String>,
    compiled_in: Duration,
    tried: Result<Tried, String>,
}

/// What was found out by giving it a configuration; else why it does not take it.
struct Tried {
    memory_bytes: Result<usize, String>,
    frozen_in: Result<Duration, String>,
    says: Option<String>,
    rows: Result<Vec<Row>, String>,
}

/// Looks at a plugin and prints what there is to say.
pub(super) fn inspect(args: &InspectArgs) -> anyhow::Result<Exit> {
    let InspectArgs { file, config, format } = args;
    let report = match look(file, config) {
        Ok(report) => report,
        Err(error) => return Ok(load::refuse(&error)),
    };
    output::data(&match format {
        Format::Text => text(&report, config),
        Format::Json => format!("{}\n", object(&report)),
    })?;
    Ok(Exit::Success)
}

fn look(file: &str, config: &str) -> anyhow::Result<Report> {
    let found = Found::read(file)?;
    let clock = Clock::system();
    // What was compiled before would tell nothing of how long it takes.
    let engine = Arc::new(compile::engine(Keep::Nothing)?);
    let began = clock.now();
    let plugin = found.load(&engine).with_context(|| load::cannot(file))?;
    let compiled_in = clock.now().saturating_duration_since(began);
    Ok(Report {
        manifest: plugin.manifest().clone(),
        bytes: found.bytes().len(),
        imports: plugin.imports(),
        contract: contract(&plugin),
        compiled_in,
        tried: tried(&plugin, config, &clock),
    })
}

/// The version of the contract that the plugin was made for: that of the interface which every check has.
fn contract(plugin: &Plugin) -> Option<String> {
    let exports = plugin.exports();
    let checker = exports.iter().find_map(|name| name.strip_prefix("probity:check/checker@"));
    checker.map(str::to_owned)
}

fn tried(plugin: &Arc<Plugin>, config: &str, clock: &Clock) -> Result<Tried, String> {
    let began = clock.now();
    let calls = Calls::new(plugin, config, calls::made_up_page(1_024)).map_err(|error| error.to_string())?;
    let frozen_in = clock.now().saturating_duration_since(began);
    let effort = Effort { calls: 1_000, in_a_row: 50, at_most: Duration::from_secs(3) };
    Ok(Tried {
        memory_bytes: calls.begins_with().memory_bytes(),
        frozen_in: calls.not_frozen().map_or(Ok(frozen_in), |reason| Err(reason.to_owned())),
        says: calls.says(clock).map(|said| format!("{}: {}", said.status, said.message)),
        rows: calls.time(effort, clock),
    })
}

/// For people: a line for each thing, the keys of the configuration at the end.
fn text(report: &Report, config: &str) -> String {
    let Report { manifest, bytes, imports, contract, compiled_in, tried } = report;
    let mut out = String::new();
    let mut line = |what: &str, value: &str| {
        let _ = writeln!(out, "{what:12}  {}", harmless(value));
    };
    line("name", &manifest.name);
    line("version", &manifest.version);
    line("summary", &manifest.summary);
    line("contract", contract.as_deref().unwrap_or("unknown"));
    for (at, import) in imports.iter().enumerate() {
        line(if at == 0 { "imports" } else { "" }, import);
    }
    line("body", if manifest.needs_body { "is looked at" } else { "is not looked at" });
    line("size", &size(*bytes));
    line("compiled in", &length(*compiled_in));
    match tried {
        Err(reason) => {
            line("not called", &format!("the configuration {config} does not do: {reason}"));
            line("", "give another one: --config '{ … }'");
        }
        Ok(Tried { memory_bytes, frozen_in, says, rows }) => {
            match frozen_in {
                Ok(took) => {
                    line("frozen", &format!("yes, in {}: calls begin after configure", length(*took)));
                }
                Err(reason) => line("frozen", &format!("no, every call is configured first: {reason}")),
            }
            line("memory", &memory_bytes.as_ref().map_or_else(Clone::clone, |bytes| size(*bytes)));
            line("it says", says.as_deref().unwrap_or("nothing"));
            match rows {
                Ok(rows) => {
                    let _ = write!(out, "\n{}", calls::table(rows));
                }
                Err(reason) => line("not timed", reason),
            }
        }
    }
    out.push_str(&configuration(manifest.config_schema.as_deref()));
    out
}

/// The keys of a configuration: a line each, its description below.
fn configuration(schema: Option<&str>) -> String {
    let Some(schema) = schema.and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
        return "\nit does not say how it is configured: it has no config-schema\n".to_owned();
    };
    let mut out = String::from("\nconfiguration\n");
    let keys = schema::keys(&schema);
    if keys.is_empty() {
        out.push_str("  it has no keys\n");
    }
    let width = keys.iter().map(|key| key.path.chars().count()).max().unwrap_or(0);
    for schema::Key { path, type_text, is_required, default, description } in &keys {
        let default = default.as_ref().map(|default| format!(", {default} by default")).unwrap_or_default();
        let must = if *is_required { ", must be given" } else { "" };
        let _ = writeln!(out, "  {path:width$}  {type_text}{default}{must}");
        if !description.is_empty() {
            let _ = writeln!(out, "  {:width$}    {description}", "");
        }
    }
    out
}

/// For programs.
fn object(report: &Report) -> Value {
    let Report { manifest, bytes, imports, contract, compiled_in, tried } = report;
    let schema = manifest.config_schema.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let mut object = json!({
        "name": manifest.name,
        "version": manifest.version,
        "summary": manifest.summary,
        "contract": contract,
        "imports": imports,
        "needs_body": manifest.needs_body,
        "size_bytes": bytes,
        "compile_seconds": compiled_in.as_secs_f64(),
        "config_schema": schema,
    });
    match tried {
        Err(reason) => object["config_error"] = reason.as_str().into(),
        Ok(Tried { memory_bytes, frozen_in, says, rows }) => {
            object["memory_bytes"] = json!(memory_bytes.as_ref().ok());
            object["is_frozen"] = frozen_in.is_ok().into();
            object["not_frozen"] = json!(frozen_in.as_ref().err());
            object["freeze_seconds"] = json!(frozen_in.as_ref().ok().map(Duration::as_secs_f64));
            object["says"] = json!(says);
            object["calls"] = json!(rows.iter().flatten().map(Row::object).collect::<Vec<_>>());
        }
    }
    object
}
