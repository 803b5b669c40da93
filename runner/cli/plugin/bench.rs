//! `probity plugin bench`: how long a call of a check takes, by where its sandbox comes from.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use serde_json::json;

use super::calls::{self, Calls};
use super::{Format, load, parse_config};
use crate::check::Effort;
use crate::cli::{Exit, output};
use crate::clock::Clock;
use crate::config::read_input;
use crate::model::harmless;

/// The largest body that is read from a file, in bytes: the largest `body_limit` of a pipeline.
const BODY_BYTES: u64 = 64 << 20;

/// Arguments of `plugin bench`.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// The component, or the name of a bundled check
    file: String,
    /// The check's configuration
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = parse_config)]
    config: String,
    /// The body that is judged; 1 KiB of HTML where it is left out
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Calls in each way
    #[arg(long, value_name = "NUMBER", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(10..=10_000_000))]
    calls: u32,
    /// How the report is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Times calls and prints a table.
pub(super) fn bench(args: &BenchArgs) -> anyhow::Result<Exit> {
    let BenchArgs { file, config, body, calls: count, format } = args;
    let body = match body {
        None => calls::made_up_page(1_024),
        Some(path) => read_input(path, BODY_BYTES)
            .map_err(|reason| anyhow!("the body \"{}\" cannot be read: {reason}", path.display()))?,
    };
    let plugin = match load::plugin(file) {
        Ok(plugin) => plugin,
        Err(error) => return Ok(load::refuse(&error)),
    };
    let (clock, body_bytes) = (Clock::system(), body.len());
    let calls = match Calls::new(&plugin, config, body) {
        Ok(calls) => calls,
        Err(error) => return Ok(load::refuse(&anyhow!("the configuration {config} does not do: {error}"))),
    };
    if cfg!(debug_assertions) {
        output::note("note: this program was built without optimisation, its calls take many times longer");
    }
    let says = calls.says(&clock);
    let effort = Effort { calls: *count, in_a_row: 50, at_most: Duration::from_mins(5) };
    let rows =
        calls.time(effort, &clock).map_err(|reason| anyhow!("the plugin cannot be started: {reason}"))?;
    let (name, version) = (&plugin.manifest().name, &plugin.manifest().version);
    let text = match format {
        Format::Text => {
            let says = says.map(|said| format!("{}: {}", said.status, said.message)).unwrap_or_default();
            let frozen =
                calls.not_frozen().map(|reason| format!("no snapshot: {reason}\n")).unwrap_or_default();
            harmless_lines(&format!(
                "{name} {version}, a body of {body_bytes} bytes, {count} calls in each way, in turn\n\
                 it says {says}\n{frozen}\n{}",
                calls::table(&rows)
            ))
        }
        Format::Json => {
            let rows: Vec<_> = rows.iter().map(calls::Row::object).collect();
            let says = says.map(|said| json!({ "status": said.status.as_str(), "message": said.message }));
            let object = json!({
                "name": name,
                "version": version,
                "body_bytes": body_bytes,
                "says": says,
                "not_frozen": calls.not_frozen(),
                "calls": rows,
            });
            format!("{object}\n")
        }
    };
    output::data(&text)?;
    Ok(Exit::Success)
}

/// A text of several lines in which nothing can steer a terminal.
fn harmless_lines(text: &str) -> String {
    text.lines().map(|line| harmless(line) + "\n").collect()
}
