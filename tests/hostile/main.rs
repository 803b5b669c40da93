//! Plays every hostile peer of `network/cases.toml` until stdin ends or SIGTERM comes, for whoever wants to hold a
//! prober against them: `cargo run --example hostile`.
//!
//! It prints a line of JSON a case: `id`, `name`, `title`, `url`, `request` (lines of Probity's table `[request]`), `checks`, `needs` (what Probity may lack),
//! `ca_file` (the authority of the good certificates, in PEM), `expect` (what Probity must say of it).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a part of the tests; its output is data"
)]

mod network;

use std::io::{Read, Write};

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use network::Network;

fn main() {
    let folder = tempfile::Builder::new().prefix("hostile-").tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem").display().to_string();
    let keep = |pem: &str| {
        std::fs::write(&ca_file, pem).unwrap();
        ca_file.clone()
    };
    let network = Network::start(&network::cases().cases, keep);
    let mut out = std::io::stdout().lock();
    for played in &network.played {
        let case = &played.case;
        let line = json!({
            "id": case.id, "name": case.name, "title": case.title, "url": played.url,
            "request": played.request, "checks": case.checks, "needs": case.needs, "ca_file": ca_file, "expect": case.expect,
        });
        writeln!(out, "{line}").unwrap();
    }
    out.flush().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut asked_to_end = signal(SignalKind::terminate()).unwrap();
        let end_of_input =
            || std::io::copy(&mut std::io::stdin().lock().take(u64::MAX), &mut std::io::sink());
        tokio::select! {
            _ = tokio::task::spawn_blocking(end_of_input) => {}
            _ = asked_to_end.recv() => {}
        }
    });
    // A blocked read of stdin is not waited for.
    runtime.shutdown_background();
}
