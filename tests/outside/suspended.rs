//! A plugin that fails on everything, seen by an operator: a line in the log, a row for every attempt, and
//! neighbours that are not harmed.

use std::time::Duration;

use crate::support::{Guest, LONG, Project, SIGTERM, Server};

#[test]
fn w11_a_plugin_that_traps_on_everything_is_suspended_and_every_attempt_has_its_row() {
    let server = Server::start();
    let targets: String = (0..30).map(|n| format!("  \"{}\",\n", server.url(&format!("/ok/{n}")))).collect();
    let project = Project::with_pipeline(&format!(
        "[schedule]\nevery = \"500ms\"\n[[sources]]\ntargets = [\n{targets}]\n[[checks]]\nplugin = \"trap.wasm\"\n"
    ));
    project.write("pipelines/trap.wasm", Guest { run: "unreachable", ..Guest::default() }.component());
    let mut running = project.start(&["run"]);
    running.until_stderr_has(LONG, "a check is suspended");
    let goal = server.count() + 60;
    running.until(LONG, "60 more requests", || server.reached(goal));
    running.signal(SIGTERM);
    let finished = running.wait(Duration::from_secs(20)).expect_code(0);
    assert_eq!(finished.stderr.matches("a check is suspended").count(), 1, "{}", finished.stderr);
    assert!(finished.stderr.contains("pipeline=\"shop\" check=\"trap\""), "{}", finished.stderr);

    let rows = project.rows();
    rows.expect_whole();
    let messages: Vec<_> = rows
        .probes
        .iter()
        .map(|row| {
            assert_eq!(row["outcome"], "unknown", "{row:?}");
            assert_eq!(rows.verdict(row, "status")["status"], "pass");
            let verdict = rows.verdict(row, "trap");
            assert_eq!(verdict["status"], "error");
            verdict["message"].as_str().unwrap().to_owned()
        })
        .collect();
    let trapped = messages.iter().filter(|message| message.starts_with("trapped")).count();
    let suspended = messages.iter().filter(|message| message.starts_with("suspended after 2")).count();
    assert_eq!(trapped + suspended, messages.len(), "{messages:?}");
    assert!(trapped >= 20 && suspended > trapped, "{trapped} of {}", messages.len());
}
