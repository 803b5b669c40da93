//! Checks on the real binary: what the bundled ones say, and that a hostile one harms nobody but its own
//! verdict.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{Guest, LONG, PASS, Project, SIGTERM, Server};

/// A bundled check, its configuration, a path, and what it must say of it: status and a part of the
/// message.
type Case = (&'static str, &'static str, &'static str, &'static str, &'static str);

const BUNDLED: &[Case] = &[
    ("status", r#"{ expect = ["2xx"] }"#, "/ok", "pass", "200"),
    ("status", "{ expect = [404] }", "/status/404", "pass", "404"),
    ("status", r#"{ expect = ["2xx", "300-399"] }"#, "/status/418", "fail", "418"),
    ("latency", r#"{ max = "30s" }"#, "/ok", "pass", ""),
    ("latency", r#"{ max = "100ms" }"#, "/slow/300ms", "fail", "total"),
    ("latency", r#"{ warn = "100ms" }"#, "/slow/300ms", "warn", "total"),
    ("latency", r#"{ max = "100ms", phase = "first_byte" }"#, "/slow/300ms", "fail", ""),
    ("header", r#"{ require = [{ name = "Content-Type", contains = "text/plain" }] }"#, "/ok", "pass", ""),
    ("header", r#"{ require = [{ name = "x-cache" }] }"#, "/ok", "fail", "x-cache"),
    (
        "header",
        r#"{ require = [{ name = "content-type", equals = "text/html" }] }"#,
        "/ok",
        "fail",
        "text/plain",
    ),
    ("body", r#"{ contains = "nonce" }"#, "/ok", "pass", ""),
    ("body", r#"{ contains = "cart" }"#, "/ok", "fail", "cart"),
    ("body", r#"{ not_contains = "nonce" }"#, "/ok", "fail", "nonce"),
    ("body", r#"{ matches = "^nonce [0-9]+ of /" }"#, "/ok", "pass", ""),
    ("body", r#"{ not_matches = "(?i)NONCE" }"#, "/ok", "fail", ""),
    ("json", r#"{ assert = [{ path = "/status", equals = "ok" }] }"#, "/json", "pass", ""),
    // H66: numbers are compared as they are, not cut to integers.
    ("json", r#"{ assert = [{ path = "/price", greater = 0.4, less = 0.6 }] }"#, "/json", "pass", ""),
    ("json", r#"{ assert = [{ path = "/items/1", at_least = 3 }] }"#, "/json", "fail", "2"),
    // H64: what is missing fails.
    ("json", r#"{ assert = [{ path = "/nothing", not_equals = 1 }] }"#, "/json", "fail", "/nothing"),
    ("json", r#"{ assert = [{ path = "/status" }] }"#, "/ok", "fail", "JSON"),
    ("cel", r#"{ conditions = ["status == 200 && json.items.size() == 2"] }"#, "/json", "pass", ""),
    ("cel", r#"{ conditions = ["timing.total < duration('100ms')"] }"#, "/slow/300ms", "fail", "timing"),
    // H71: an http target has no certificate, and that is not "0 days".
    ("certificate", "{}", "/ok", "fail", "http"),
    ("certificate", "{ allow_plain_http = true }", "/ok", "pass", ""),
    ("html", r#"{ title = { contains = "Basket" }, present = ["ul > li"] }"#, "/page", "pass", ""),
    ("html", r#"{ count = [{ select = "li", min = 3 }] }"#, "/page", "fail", "2"),
    ("changed", "{}", "/ok", "pass", "first seen"),
];

#[test]
fn the_bundled_checks_say_what_they_should() {
    let server = Server::start();
    let project = Project::new();
    // Components that were built just now, in the place of those inside the binary.
    let fresh = std::env::var_os("PROBITY_FRESH_CHECKS").map(PathBuf::from);
    for (at, (plugin, config, path, ..)) in BUNDLED.iter().enumerate() {
        let url = server.url(path);
        let source = match &fresh {
            Some(folder) => folder.join(format!("{plugin}.wasm")).display().to_string(),
            None => (*plugin).to_owned(),
        };
        let text = format!(
            "default_checks = false\n[[sources]]\ntargets = [\"{url}\"]\n\
             [[checks]]\nname = \"{plugin}\"\nplugin = \"{source}\"\nconfig = {config}\n"
        );
        project.write(&format!("pipelines/case-{at}.toml"), text);
    }
    project.run(&["run", "--once"]).expect_code(1);
    let rows = project.rows();
    rows.expect_whole();
    for (at, case) in BUNDLED.iter().enumerate() {
        let (plugin, _, _, status, part) = case;
        let pipeline = format!("case-{at}");
        let row =
            rows.probes.iter().find(|row| row["pipeline"] == *pipeline).unwrap_or_else(|| panic!("{case:?}"));
        let verdict = rows.verdict(row, plugin);
        let message = verdict["message"].as_str().unwrap_or_default();
        assert!(verdict["status"] == *status && message.contains(part), "{case:?}: {verdict:?}");
        let outcome = match *status {
            "pass" => "up",
            "warn" => "degraded",
            _ => "down",
        };
        assert_eq!(row["outcome"], outcome, "{case:?}");
        assert_eq!(
            row["failed_check"].as_str().filter(|_| outcome == "down"),
            (outcome == "down").then_some(*plugin)
        );
        if *plugin == "latency" {
            let seconds = verdict["metrics"]["latency_seconds"].as_f64();
            assert!(seconds.is_some_and(|seconds| seconds > 0.0), "{case:?}: {verdict:?}");
        }
    }
}

/// Every `cases.toml`, which the kit runs natively, gives the same answers in the sandbox.
#[test]
fn the_bundled_checks_answer_their_cases_in_the_sandbox() {
    let project = Project::new();
    let fresh = std::env::var_os("PROBITY_FRESH_CHECKS").map(PathBuf::from);
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins");
    let mut judged = 0;
    for entry in std::fs::read_dir(&plugins).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.join("cases.toml").is_file() {
            continue;
        }
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let plugin = match &fresh {
            Some(fresh) => fresh.join(format!("{name}.wasm")).display().to_string(),
            None => name,
        };
        let folder = folder.display().to_string();
        project.run_plain(&["plugin", "test", &folder, "--plugin", &plugin]).expect_code(0);
        judged += 1;
    }
    assert!(judged >= 9, "only {judged} checks with cases were found");
}

#[test]
fn a_default_status_check_runs_beside_others() {
    let server = Server::start();
    let url = server.url("/status/500");
    let project = Project::with_pipeline(&format!(
        "[[sources]]\ntargets = [\"{url}\"]\n[[checks]]\nplugin = \"latency\"\nconfig = {{ max = \"30s\" }}\n"
    ));
    project.run(&["run", "--once"]).expect_code(1);
    let rows = project.rows();
    let row = rows.the_row(&url);
    assert_eq!((row["outcome"].as_str(), row["failed_check"].as_str()), (Some("down"), Some("status")));
    assert_eq!(rows.verdict(row, "latency")["status"], "pass");
}

#[test]
fn a_fail_of_severity_warn_only_degrades() {
    let server = Server::start();
    let url = server.url("/ok");
    let project = Project::with_pipeline(&format!(
        "[[sources]]\ntargets = [\"{url}\"]\n\
         [[checks]]\nplugin = \"body\"\nseverity = \"warn\"\nconfig = {{ contains = \"cart\" }}\n"
    ));
    project.run(&["run", "--once"]).expect_code(0);
    let rows = project.rows();
    let row = rows.the_row(&url);
    assert_eq!(row["outcome"], "degraded");
    let verdict = rows.verdict(row, "body");
    assert_eq!((verdict["status"].as_str(), verdict["severity"].as_str()), (Some("fail"), Some("warn")));
}

/// Name, body of `run`, and a part of the message of its verdict, which is always `error`.
const HOSTILE: &[(&str, &str, &str)] = &[
    ("loops", "(loop $again (br $again)) (unreachable)", "time limit"),
    (
        "fills-memory-for-ever",
        "(loop $again (memory.fill (i32.const 16384) (i32.const 7) (i32.const 32768)) (br $again)) (unreachable)",
        "time limit",
    ),
    (
        "eats-memory",
        "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 4)) (i32.const -1)))) (unreachable)",
        "memory limit",
    ),
    ("traps", "(unreachable)", "trapped"),
    ("reads-beyond-its-memory", "(i32.load (i32.const -8))", "trapped"),
    ("calls-itself", "(call $run (local.get $seen))", "stack"),
    ("returns-a-wild-pointer", "(call $drop (local.get $seen)) (i32.const -64)", ""),
    (
        "returns-no-status",
        "(call $drop (local.get $seen)) (call $judge (i32.const 9) (i32.const 1024) (i32.const 15))",
        "",
    ),
    (
        // A message of one byte, 0xff, which is no UTF-8.
        "returns-no-text",
        "(call $drop (local.get $seen)) (i32.store8 (i32.const 2048) (i32.const 255)) \
         (call $judge (i32.const 0) (i32.const 2048) (i32.const 1))",
        "",
    ),
    ("keeps-what-it-borrowed", "(call $judge (i32.const 0) (i32.const 1024) (i32.const 15))", ""),
];

/// A pipeline that gives each of its ten targets to every hostile check, and to a polite one.
fn hostile(project: &Project, server: &Server, every: &str) {
    let mut text = format!("[schedule]\nevery = \"{every}\"\n[[sources]]\ntargets = [\n");
    for n in 0..10 {
        text += &format!("  \"{}\",\n", server.url(&format!("/ok/{n}")));
    }
    text += "]\n";
    let named = HOSTILE.iter().map(|(name, run, _)| (*name, *run)).chain([("polite", PASS)]);
    for (name, run) in named {
        project
            .write(&format!("pipelines/checks/{name}.wasm"), Guest { run, ..Guest::default() }.component());
        text += &format!("[[checks]]\nname = \"{name}\"\nplugin = \"checks/{name}.wasm\"\n");
        text += "limits = { time = \"20ms\", memory = \"4MiB\" }\n";
    }
    project.write("pipelines/hostile.toml", text);
}

#[test]
fn a_hostile_check_errs_and_the_others_judge() {
    let server = Server::start();
    let project = Project::new();
    hostile(&project, &server, "60s");
    let finished = project.run(&["run", "--once"]).expect_code(1);
    let rows = project.rows();
    rows.expect_whole();
    assert_eq!(rows.probes.len(), 10, "{}", finished.stderr);
    for row in &rows.probes {
        assert_eq!(row["outcome"], "unknown", "our own limit is never the target's fault: {row:?}");
        assert_eq!(row["http_status"], 200);
        for (name, _, part) in HOSTILE {
            let verdict = rows.verdict(row, name);
            let message = verdict["message"].as_str().unwrap_or_default();
            assert!(verdict["status"] == "error" && message.contains(part), "{name}: {verdict:?}");
            assert!(
                !message.is_empty() && !message.contains('\n'),
                "{name}: one line for people: {message:?}"
            );
        }
        for name in ["polite", "status"] {
            assert_eq!(rows.verdict(row, name)["status"], "pass", "{name}");
        }
    }
}

#[test]
fn a_hostile_check_does_not_starve_its_neighbours() {
    let server = Server::start();
    let neighbours = Server::start();
    let project = Project::new();
    hostile(&project, &server, "500ms");
    let targets: String =
        (0..10).map(|n| format!("  \"{}\",\n", neighbours.url(&format!("/ok/{n}")))).collect();
    project.write(
        "pipelines/well.toml",
        format!("[schedule]\nevery = \"500ms\"\n[[sources]]\ntargets = [\n{targets}]\n"),
    );
    let mut running = project.start(&["run"]);
    running.until(LONG, "200 requests of the neighbours", || neighbours.reached(200));
    running.signal(SIGTERM);
    running.wait(Duration::from_secs(20)).expect_code(0);
    let rows = project.rows();
    rows.expect_whole();
    let (well, hostile): (Vec<_>, Vec<_>) = rows.probes.iter().partition(|row| row["pipeline"] == "well");
    assert!(well.len() >= 200 && !hostile.is_empty());
    for row in well {
        assert_eq!(row["outcome"], "up", "{row:?}");
    }
    for row in hostile {
        assert_eq!(row["outcome"], "unknown", "{row:?}");
    }
}

#[test]
fn a_check_that_cannot_be_configured_is_refused_at_the_start() {
    let cases = [
        ("loops", "(loop $again (br $again)) (unreachable)"),
        ("traps", "(unreachable)"),
        ("refuses", "(i32.store8 (i32.const 2048) (i32.const 1)) (i32.const 2048)"),
    ];
    for (name, configure) in cases {
        let server = Server::start();
        let url = server.url("/ok");
        let text = format!("[[sources]]\ntargets = [\"{url}\"]\n[[checks]]\nplugin = \"{name}.wasm\"\n");
        let project = Project::with_pipeline(&text);
        project.write(&format!("pipelines/{name}.wasm"), Guest { configure, ..Guest::default() }.component());
        let finished = project.run(&["run", "--once"]).expect_code(78);
        assert!(finished.stderr.contains(&format!("{name}.wasm")), "{}", finished.stderr);
        assert!(finished.stderr.contains("shop.toml:4"), "with its place: {}", finished.stderr);
        assert_eq!(server.count(), 0);
    }
}

#[test]
fn a_check_remembers_from_probe_to_probe() {
    let server = Server::start();
    // Every answer has another nonce, and so does every pipeline's own target.
    let text = format!(
        "[schedule]\nevery = \"300ms\"\n[[sources]]\ntargets = [\"{}\"]\n[[checks]]\nplugin = \"changed\"\n",
        server.url("/ok")
    );
    let project = Project::with_pipeline(&text);
    let mut running = project.start(&["run"]);
    running.until(LONG, "three requests", || server.reached(3));
    running.signal(SIGTERM);
    running.wait(Duration::from_secs(20)).expect_code(0);
    let rows = project.rows();
    let mut told: Vec<_> = rows
        .probes
        .iter()
        .map(|row| (row["seq"].as_i64().unwrap(), rows.verdict(row, "changed")["status"].clone()))
        .collect();
    told.sort_by_key(|(seq, _)| *seq);
    assert!(told.len() >= 3, "{told:?}");
    assert_eq!(told[0].1, "pass", "the first one is the baseline: {told:?}");
    assert!(told[1..].iter().all(|(_, status)| *status == "warn"), "each answer is another: {told:?}");
}
