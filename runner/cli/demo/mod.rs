//! `probity demo`: a website of its own, probed from a pipeline that a person can read and edit.

pub(super) mod site;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use self::site::Site;
use super::compile::{Keep, workshop};
use super::run::{Job, Show, block_on, work};
use super::{Exit, output, validate};
use crate::clock::Clock;
use crate::config::parse_duration;
use crate::reload::{Loaded, Loader, WatchMode};

/// The pipeline, as a person finds it.
const PIPELINE: &str = include_str!("pipeline.toml.template");
/// Its targets, with holes for the ports.
const TARGETS: &str = include_str!("targets.csv.template");

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// The folder for the pipeline, its targets and the results
    #[arg(long, value_name = "DIR", default_value = "probity-demo")]
    dir: PathBuf,
    /// End by itself after this long, such as 30s
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    length: Option<Duration>,
}

/// Starts the website and probes it until Ctrl-C.
pub(super) fn demo(args: DemoArgs) -> anyhow::Result<Exit> {
    block_on(async move {
        let site = Site::start().await.context("cannot start the demo's website on 127.0.0.1")?;
        let pipeline = write_files(&args.dir, &site)?;
        greet(&pipeline, args.length);
        let workshop = Arc::new(workshop(Keep::InState(&args.dir, "main"), None)?);
        let mut loader = Loader::new(vec![pipeline], workshop, &Clock::system());
        let Loaded { next: built, diagnostics, .. } = tokio::task::block_in_place(|| loader.load());
        validate::tell(&diagnostics);
        if diagnostics.has_errors() {
            return Ok(Exit::Config);
        }
        let exit = work(Job {
            built,
            loader: Some((loader, WatchMode::Auto)),
            once: false,
            limit: None,
            data: args.dir.clone(),
            runner: "main".to_owned(),
            concurrency: None,
            body_memory: None,
            canaries: Vec::new(),
            state: None,
            show: Show::Lines,
            until: args.length,
        })
        .await?;
        if exit == Exit::Success {
            farewell(&args.dir);
        }
        Ok(exit)
    })?
}

/// Writes the targets, whose ports are new each time, and the pipeline where there is none: what a
/// person changed there stays.
fn write_files(folder: &Path, site: &Site) -> anyhow::Result<PathBuf> {
    let cannot = |path: &Path| format!("cannot write {}", path.display());
    fs::create_dir_all(folder).with_context(|| cannot(folder))?;
    let targets = folder.join("targets.csv");
    fs::write(&targets, site.fill(TARGETS)).with_context(|| cannot(&targets))?;
    let pipeline = folder.join("shop.toml");
    if !pipeline.exists() {
        fs::write(&pipeline, site.fill(PIPELINE)).with_context(|| cannot(&pipeline))?;
    }
    Ok(pipeline)
}

fn greet(pipeline: &Path, length: Option<Duration>) {
    let file = pipeline.display();
    let end = match length {
        Some(length) => format!("ends by itself after {}", crate::config::format_duration(length)),
        None => "Ctrl-C ends it".to_owned(),
    };
    output::note(&format!(
        "a small website runs on this machine; {file} probes it ({end}); read and edit that file"
    ));
}

/// Where the results are, and a query that works as pasted.
fn farewell(folder: &Path) {
    let results = folder.join("results");
    // A quote in the path is doubled for SQL; what the shell would read is escaped for it.
    let glob = format!("{}/probes/**/*.parquet", results.display()).replace('\'', "''");
    let query = format!(
        "SELECT target, outcome, count(*) AS probes, round(quantile_cont(total_us, 0.95) / 1000, 1) AS p95_ms \
         FROM '{glob}' WHERE is_final GROUP BY ALL ORDER BY ALL"
    );
    let quoted = query.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('`', "\\`");
    output::note(&format!(
        "\nthe results are Parquet files in {}; ask them, for example with DuckDB:\n\nduckdb -c \"{quoted}\"\n",
        results.display()
    ));
}
