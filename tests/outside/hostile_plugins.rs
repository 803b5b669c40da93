//! Hostile plugins on the real binary: what they say reaches no terminal, log or file unharmed; what they
//! are is told at the start; many of them stay within bounds. The identifiers are those of the list in
//! `tests/hostile/README.md`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

use crate::bombs::BOMBS;
use crate::support::{Finished, Guest, Project, Server};

/// What a guest says of everything, as WebAssembly text has it: escapes of terminals, line breaks, a
/// change of direction, markup, quotes.
const HARMFUL: &str =
    r"\1b[31m<script>alert(1)</script>\00\0d\0asecond\e2\80\ae line\07\c2\9b2J 'x' \22y\22 \5c";
const HARMFUL_BYTES: usize = 62;
/// What must be left of it.
const HARMLESS: &str =
    "\u{fffd}[31m<script>alert(1)</script>\u{fffd}  second\u{fffd} line\u{fffd}\u{fffd}2J 'x' \"y\" \\";

/// A guest that says it as metric, annotation, log line of every level, and verdict.
fn noisy() -> Vec<u8> {
    let text = format!("(i32.const 2048) (i32.const {HARMFUL_BYTES})");
    let log = |level| format!("(call $log (i32.const {level}) {text})");
    let run = format!(
        "(call $metric {text} (f64.const 1)) (call $annotate {text} {text}) {} {} {} {} \
         (call $drop (local.get $seen)) (call $judge (i32.const 2) {text})",
        log(0),
        log(1),
        log(2),
        log(3)
    );
    let more = format!("(data (i32.const 2048) \"{HARMFUL}\")");
    Guest { run: &run, more: &more, ..Guest::default() }.component()
}

fn noisy_project(server: &Server) -> Project {
    let project = Project::with_pipeline(&format!(
        "[[sources]]\ntargets = [\"{}\"]\n[[checks]]\nplugin = \"noisy.wasm\"\n",
        server.url("/ok")
    ));
    project.write("pipelines/noisy.wasm", noisy());
    project
}

/// No character that a terminal obeys, but for line breaks.
#[track_caller]
fn assert_tame(text: &str) {
    let wild: Vec<_> = text
        .chars()
        .filter(|character| {
            (character.is_control() && *character != '\n') || matches!(character, '\u{202a}'..='\u{202e}')
        })
        .collect();
    assert!(wild.is_empty(), "{wild:?} in {text}");
}

#[test]
fn w9_what_a_check_says_is_harmless_in_the_log_and_the_table() {
    let server = Server::start();
    let project = noisy_project(&server);
    let finished = project.run(&["run", "--once", "--format", "table", "--log", "debug"]).expect_code(1);
    for text in [&finished.stdout, &finished.stderr] {
        assert_tame(text);
        let lines = text.lines().filter(|line| line.contains("<script>"));
        assert!(lines.clone().count() > 0 && lines.clone().all(|line| line.contains("line")), "{text}");
    }
    let said: Vec<_> = finished.stderr.lines().filter(|line| line.contains("check says")).collect();
    assert_eq!(said.len(), 4, "a line each: {said:?}");
    assert!(said.iter().all(|line| line.contains(HARMLESS)), "{said:?}");
    assert!(finished.stdout.contains(HARMLESS), "{}", finished.stdout);
}

#[test]
fn w9_what_a_check_says_is_harmless_as_json_and_in_parquet() {
    let server = Server::start();
    let project = noisy_project(&server);
    let arguments = ["run", "--once", "--format", "json", "--log", "debug", "--log-json"];
    let finished = project.run(&arguments).expect_code(1);
    for text in [&finished.stdout, &finished.stderr] {
        assert_tame(text);
    }
    // What is not the log is for people: the summary of the run.
    let log = finished.stderr.lines().filter(|line| line.starts_with('{'));
    let log: Vec<Value> = log.map(|line| serde_json::from_str(line).expect(line)).collect();
    let said = log.iter().filter(|line| line.to_string().contains("check says"));
    assert_eq!(said.count(), 4);
    let line = &finished.json_lines()[0];
    let told = line["checks"].as_array().unwrap();
    let told = told.iter().find(|verdict| verdict["check_name"] == "noisy").unwrap();
    let rows = project.rows();
    let stored = rows.verdict(&rows.probes[0], "noisy");
    for verdict in [told, &Value::Object(stored.clone())] {
        assert_eq!(verdict["message"], HARMLESS);
        let name: String = verdict["metrics"].as_object().unwrap().keys().next().unwrap().clone();
        assert_tame(&name);
        assert!(name.len() <= 64 && HARMLESS.starts_with(name.trim_end_matches('…')), "{name:?}");
        let annotation = verdict["annotations"].as_object().unwrap();
        assert_eq!(annotation.get(&name), Some(&Value::from(HARMLESS)), "{annotation:?}");
    }
}

/// A project of one target and one plugin at `path`.
fn with_plugin(server: &Server, path: &str) -> Project {
    let url = server.url("/ok");
    let text = format!(
        "default_checks = false\n[[sources]]\ntargets = [\"{url}\"]\n[[checks]]\nname = \"cart\"\nplugin = \"{path}\"\n"
    );
    Project::with_pipeline(&text)
}

/// Refused at the start, with its place and this reason, and nothing was probed.
#[track_caller]
fn assert_refused(project: &Project, server: &Server, reason: &str) -> Finished {
    let finished = project.run(&["run", "--once"]).expect_code(78);
    let said = finished.stderr.replace('\n', " ");
    assert!(said.contains(reason) && said.contains("shop.toml:6"), "{reason}: {}", finished.stderr);
    assert_eq!(server.count(), 0);
    finished
}

#[test]
fn w6_a_plugin_that_is_half_copied_is_refused() {
    let server = Server::start();
    let whole = Guest::default().component();
    for part in [0, 6, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
        let project = with_plugin(&server, "cart.wasm");
        project.write("pipelines/cart.wasm", &whole[..part]);
        assert_refused(&project, &server, "the plugin \"cart.wasm\" cannot be used");
    }
    let project = with_plugin(&server, "cart.wasm");
    project.write("pipelines/cart.wasm", &whole);
    project.run(&["run", "--once"]).expect_code(0);
}

/// What is no plugin at the end of a path, what is said of it, and how it comes there.
type NoFile = (&'static str, &'static str, fn(&Path));

const NO_FILES: &[NoFile] = &[
    ("a folder", "it is a folder", |path| fs::create_dir(path).unwrap()),
    // Nobody writes into it: reading it would never end.
    ("a pipe", "it is not a file", |path| {
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }),
    ("a device", "it is not a file", |path| symlink("/dev/zero", path).unwrap()),
    ("a link to nothing", "there is no such file", |path| symlink("nowhere", path).unwrap()),
    ("a link to itself", "the operating system reports an error", |path| {
        symlink("plugin.wasm", path).unwrap();
    }),
];

#[test]
fn w18_what_is_no_regular_file_is_refused_and_not_read() {
    for (what, reason, make) in NO_FILES {
        println!("{what}");
        let server = Server::start();
        let project = with_plugin(&server, "plugin.wasm");
        make(&project.path().join("pipelines/plugin.wasm"));
        assert_refused(&project, &server, reason);
    }
}

#[test]
fn w18_a_plugin_may_be_anywhere() {
    let server = Server::start();
    // A pipeline's author may name any file that the runner's user can read, as for every other input:
    // whoever writes pipelines decides what is sent to whom, and is trusted.
    for path in ["../shared/cart.wasm", "./checks/../cart.wasm", "link.wasm"] {
        let project = with_plugin(&server, path);
        for file in ["shared/cart.wasm", "pipelines/cart.wasm", "pipelines/checks/other.wasm"] {
            project.write(file, Guest::default().component());
        }
        symlink("../shared/cart.wasm", project.path().join("pipelines/link.wasm")).unwrap();
        project.run(&["run", "--once"]).expect_code(0);
    }
}

#[test]
fn w18_two_checks_of_one_name_are_refused_with_both_places() {
    let server = Server::start();
    let url = server.url("/ok");
    let project = Project::with_pipeline(&format!(
        "[[sources]]\ntargets = [\"{url}\"]\n[[checks]]\nplugin = \"a/cart.wasm\"\n[[checks]]\nplugin = \"b/cart.wasm\"\n"
    ));
    project.write("pipelines/a/cart.wasm", Guest::default().component());
    project.write("pipelines/b/cart.wasm", Guest { pages: 2, ..Guest::default() }.component());
    let finished = project.run(&["run", "--once"]).expect_code(78);
    for part in ["two checks are called \"cart\"", "shop.toml:6", "shop.toml:4"] {
        assert!(finished.stderr.contains(part), "{part}: {}", finished.stderr);
    }
}

/// A value of `/proc/PID/status`, in bytes.
fn memory(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// Plugins and targets of [`w19_many_plugins_stay_within_address_space_and_memory`].
const PLUGINS: usize = 200;
const TARGETS: usize = 20;

#[test]
fn w19_many_plugins_stay_within_address_space_and_memory() {
    let server = Server::start();
    let project = Project::new();
    let mut text =
        "default_checks = false\n[request]\ntimeout = \"100s\"\n[[sources]]\ntargets = [\n".to_owned();
    for target in 0..TARGETS {
        text += &format!("  \"{}\",\n", server.url(&format!("/ok/{target}")));
    }
    text += "]\n";
    // Each asks for a memory of its own size, and writes to all of it.
    let run = "(drop (memory.grow (global.get $pages)))
        (memory.fill (i32.const 16384) (i32.const 1) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 16384)))
        (call $pass (local.get $seen))";
    for plugin in 0..PLUGINS {
        let more =
            format!("(global $pages i32 (i32.const {})) (global i32 (i32.const {plugin}))", plugin % 40);
        project.write(
            &format!("pipelines/c{plugin}.wasm"),
            Guest { run, more: &more, ..Guest::default() }.component(),
        );
        text += &format!("[[checks]]\nplugin = \"c{plugin}.wasm\"\n");
    }
    project.write("pipelines/many.toml", text);
    let began = Instant::now();
    let mut running = project.start(&["run", "--once"]);
    let (mut address_space, mut resident) = (0, 0);
    let pid = running.pid();
    while running.is_running() {
        address_space = address_space.max(memory(pid, "VmPeak").unwrap_or(0));
        resident = resident.max(memory(pid, "VmHWM").unwrap_or(0));
        std::thread::sleep(Duration::from_millis(20));
    }
    running.wait(Duration::from_mins(2)).expect_code(0);
    let rows = project.rows();
    assert_eq!((rows.probes.len(), rows.checks.len()), (TARGETS, TARGETS * PLUGINS));
    println!(
        "{} MiB of addresses, {} MiB resident, {:?}",
        address_space >> 20,
        resident >> 20,
        began.elapsed()
    );
    assert!(resident > 0 && resident < 1 << 30, "{} MiB resident", resident >> 20);
    assert!(address_space < 64 << 30, "{} MiB of addresses", address_space >> 20);
}

#[test]
#[ignore = "takes many minutes: every bomb at its largest, under the limits that users have"]
fn w5_a_bomb_ends_with_the_limits_of_the_program() {
    for bomb in BOMBS {
        let server = Server::start();
        let project = with_plugin(&server, "cart.wasm");
        project.write("pipelines/cart.wasm", bomb.component(bomb.most));
        let mut running = project.start(&["run", "--once"]);
        let (mut resident, pid) = (0, running.pid());
        while running.is_running() {
            resident = resident.max(memory(pid, "VmHWM").unwrap_or(0));
            std::thread::sleep(Duration::from_millis(20));
        }
        let finished = running.wait(Duration::from_mins(5));
        let code = finished.status.code();
        let reason = finished.stderr.lines().find(|line| line.contains("cart.wasm")).unwrap_or("loaded");
        println!("{} {}: {:?}, {} MiB: {reason}", bomb.most, bomb.what, finished.took, resident >> 20);
        assert!(matches!(code, Some(0 | 78)), "{}: {code:?}: {}", bomb.what, finished.stderr);
        assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
        assert!(finished.took < Duration::from_secs(200), "{}: {:?}", bomb.what, finished.took);
    }
}
