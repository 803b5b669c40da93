//! K1: a canary in every place where a secret may stand, and then everything that the program wrote is looked
//! through for it: what it printed, its log, results, journals, records, what checks remember.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::{LONG, Project, Running, SIGKILL, SIGTERM, Server};

/// Stands in every secret of these tests.
const CANARY: &str = "hunter2";

/// Every file below a folder.
fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, out) } else { out.push(path) }
    }
}

/// Fails where a file below the data folder holds the canary, in any encoding that is used there.
#[track_caller]
fn no_canary_in_data(project: &Project) {
    let mut found = Vec::new();
    files(&project.data(), &mut found);
    assert!(!found.is_empty());
    for path in &found {
        let bytes = fs::read(path).unwrap();
        let at = bytes.windows(CANARY.len()).position(|part| part == CANARY.as_bytes());
        assert!(at.is_none(), "{} holds the canary at {at:?}", path.display());
    }
    // Pages of Parquet are compressed: every value of every column.
    let rows = project.rows();
    for row in rows.probes.iter().chain(&rows.checks) {
        let text = serde_json::Value::from(row.clone()).to_string();
        assert!(!text.contains(CANARY), "{text}");
    }
}

#[track_caller]
fn no_canary(text: &str) {
    assert!(!text.contains(CANARY), "{text}");
}

fn with_secrets(mut command: Command, server: &Server) -> Command {
    command
        .env("BEARER", "Bearer hunter2-bearer-token")
        .env("SHOP_URL", server.url("/ok/hunter2-path?key=hunter2-query-value"))
        .env("SHOP_BODY", "{\"pin\": \"hunter2-body\"}")
        .env("WANTED", "hunter2-wanted-in-the-body")
        .env("CONDITION", "!url.contains('hunter2-query-value')")
        .env("LABEL", "hunter2-label")
        .env("EVERY", "300ms");
    command
}

/// A pipeline with a secret in every place. Answers repeat the URL, so that the secret comes back as well.
fn pipeline(server: &Server, checks: &str) -> String {
    let (redirect, down) = (server.url("/redirect/ok"), server.url("/status/503"));
    format!(
        r#"
[schedule]
every = {{ env = "EVERY" }}
[[sources]]
targets = [
  {{ url = {{ env = "SHOP_URL" }} }},
  {{ url = {{ env = "SHOP_URL" }}, name = "shop", labels = {{ site = {{ env = "LABEL" }} }} }},
  {{ url = "{redirect}", name = "redirect" }},
  {{ url = "{down}", name = "down" }},
]
[request]
method = "POST"
headers = {{ authorization = {{ env = "BEARER" }}, x-api-key = {{ file = "key" }}, cookie = "a=hunter2-cookie" }}
body = {{ env = "SHOP_BODY" }}
[record]
when = "always"
{checks}"#
    )
}

const CHECKS: &str = r#"
[[checks]]
plugin = "body"
config = { contains = [{ env = "WANTED" }] }
isolation = "ISOLATION"
[[checks]]
plugin = "cel"
config = { conditions = [{ env = "CONDITION" }] }
[[checks]]
plugin = "changed"
"#;

fn project(server: &Server, isolation: &str) -> Project {
    let project = Project::with_pipeline(&pipeline(server, &CHECKS.replace("ISOLATION", isolation)));
    project.write("pipelines/key", "hunter2-from-a-file\n");
    project
}

#[test]
fn k1_no_secret_is_in_what_a_run_leaves() {
    let server = Server::start();
    let project = project(&server, "snapshot");
    let command = with_secrets(project.with_data(&["run", "--format", "json", "--log", "debug"]), &server);
    let mut running = Running::start(command);
    running.until(LONG, "requests", || server.reached(12));
    running.signal(SIGTERM);
    let finished = running.wait(Duration::from_secs(30)).expect_code(0);
    no_canary(&finished.stdout);
    no_canary(&finished.stderr);
    no_canary_in_data(&project);
    let rows = project.rows();
    let secret = rows.of_target("<secret>");
    assert!(!secret.is_empty() && secret.iter().all(|row| row["url"] == "<secret>"), "{secret:?}");
    let shop = rows.of_target("shop");
    assert!(shop.iter().all(|row| row["labels"]["site"] == "<secret>"), "{shop:?}");
    let said = rows.verdict(shop[0], "body")["message"].as_str().unwrap();
    assert!(said.contains("<secret>"), "{said}");
    // They were sent all the same.
    let sent = server.requests();
    let sent: Vec<_> = sent.iter().flat_map(|request| &request.headers).collect();
    assert!(sent.iter().any(|line| line.ends_with("Bearer hunter2-bearer-token")), "{sent:?}");
    assert!(sent.iter().any(|line| line.ends_with("hunter2-from-a-file")), "{sent:?}");
    assert!(server.requests().iter().any(|request| request.path.contains("hunter2-query-value")));
}

/// A secret that changes is used from then on, under the same generation.
#[test]
fn a_file_of_a_secret_is_read_again() {
    let server = Server::start();
    let (up, headers) = (server.url("/ok"), "x-api-key = { file = \"key\" }");
    let project = Project::with_pipeline(&format!(
        "[schedule]\nevery = \"200ms\"\n[[sources]]\ntargets = [\"{up}\"]\n[request]\ntimeout = \"100ms\"\nheaders = {{ {headers} }}\n"
    ));
    project.write("pipelines/key", "hunter2-old\n");
    let mut running = project.start(&["run"]);
    let sent = |key: &str| {
        let has = |request: &crate::support::Request| request.headers.iter().any(|line| line.ends_with(key));
        server.requests().iter().any(has).then_some(())
    };
    running.until(LONG, "the old secret", || sent("hunter2-old"));
    project.write("pipelines/key", "hunter2-new\n");
    running.until(LONG, "the new secret", || sent("hunter2-new"));
    running.signal(SIGTERM);
    let finished = running.wait(Duration::from_secs(30)).expect_code(0);
    no_canary(&finished.stderr);
    let rows = project.rows();
    assert!(rows.probes.iter().all(|row| row["generation"] == rows.probes[0]["generation"]));
}

#[test]
fn k1_no_secret_is_in_what_a_killed_run_leaves() {
    let server = Server::start();
    let project = project(&server, "auto");
    let mut running = Running::start(with_secrets(project.with_data(&["run"]), &server));
    running.until(LONG, "requests", || server.reached(8));
    running.signal(SIGKILL);
    running.wait(Duration::from_secs(30));
    let mut found = Vec::new();
    files(&project.data(), &mut found);
    assert!(found.iter().any(|path| path.iter().any(|part| part == "journal")), "{found:?}");
    no_canary_in_data(&project);
}

#[test]
fn k1_no_secret_is_in_what_is_said_of_a_wrong_file() {
    let server = Server::start();
    let cases = [
        // A secret where another kind of value is wanted, or one that is wrong there.
        "[request]\ntimeout = { env = \"CANARY\" }",
        "[request]\nmethod = { env = \"CANARY\" }",
        "[request]\nfollow_redirects = { env = \"CANARY\" }",
        "[request]\nmax_redirects = { env = \"CANARY\" }",
        "[request]\nip_version = { env = \"CANARY\" }",
        "[request]\nbody_limit = { env = \"CANARY\" }",
        "[request.tls]\nca_file = { env = \"CANARY\" }",
        "[request.tls]\nserver_name = { env = \"CANARY\" }",
        "[schedule]\nevery = { env = \"CANARY\" }",
        "[[sources]]\ntargets = [{ env = \"CANARY\" }]",
        "[[sources]]\ntargets = [{ url = \"https://x/\", every = { env = \"CANARY\" } }]",
        "[[sources]]\ntype = \"file\"\npath = { env = \"CANARY\" }",
        "[[checks]]\nplugin = { env = \"CANARY\" }",
        "[[checks]]\nname = { env = \"CANARY\" }\nplugin = \"latency\"",
        "[[checks]]\nplugin = \"latency\"\nconfig = { max = { env = \"CANARY\" } }",
        "[[checks]]\nplugin = \"latency\"\nconfig = { env = { env = \"CANARY\" } }",
        "[[checks]]\nplugin = \"body\"\nconfig = { matches = { env = \"CANARY\" } }",
        "[[sinks]]\ntype = \"parquet\"\npath = { env = \"CANARY\" }",
        "[[sinks]]\ntype = { env = \"CANARY\" }",
        "[request]\nheaders = { a = { env = \"LINES\" }, b = { env = \"NOT_SET\" }, c = { file = \"none\" } }",
    ];
    for case in cases {
        let text = if case.starts_with("[[sources]]") {
            case.to_owned()
        } else {
            format!("[[sources]]\ntargets = [\"https://shop.example/\"]\n{case}\n")
        };
        let project = Project::with_pipeline(&text);
        let mut command = with_secrets(project.command(&["validate"]), &server);
        command.env("CANARY", "../hunter2 ( \\ é").env("LINES", "hunter2\nhunter2");
        let finished = Running::start(command).wait(LONG).expect_code(78);
        no_canary(&finished.stderr);
        assert!(finished.stderr.contains("error["), "{case}: {}", finished.stderr);
    }
}
