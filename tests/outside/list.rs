//! `probity list`: pipelines and targets, and when each is due.

use std::path::Path;

use crate::support::{LONG, Project, Running, Server};

/// Moments by seconds and milliseconds, as `due_at` has them.
fn unix_ms(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

#[test]
fn the_pipelines_that_come_with_the_program_are_listed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let folder = folder.to_str().unwrap();
    let project = Project::new();
    let text = project.run_plain(&["list", folder]).expect_code(0).stdout;
    for word in [
        "fleet: generation ",
        "schedule  every 1m",
        "checks    status, latency, content-type (header;",
        "time zones: ",
    ] {
        assert!(text.contains(word), "no {word:?} in\n{text}");
    }
    let objects = project.run_plain(&["list", folder, "--format", "json"]).expect_code(0).json_lines();
    let names: Vec<_> = objects.iter().map(|object| object["pipeline"].as_str().unwrap()).collect();
    assert_eq!(names, ["fleet", "hello"]);
    assert!(objects[0]["timezone_data"].is_string() && objects[0]["targets"] == 6, "{objects:?}");
    let targets =
        project.run_plain(&["list", folder, "--targets", "--format", "json"]).expect_code(0).json_lines();
    assert_eq!(targets.len(), 7);
}

#[test]
fn schedules_sources_and_sinks_are_told_in_words() {
    let server = Server::start();
    let project = Project::with_pipeline(
        r#"[schedule]
cron = "*/5 8-18 * * MON-FRI"
timezone = "Europe/London"
spread = "30s"
active = [{ days = "mon-fri", from = "08:00", to = "18:00" }, { days = "sat", from = "22:00", to = "02:00", timezone = "UTC" }]
[[sources]]
targets = ["http://127.0.0.1:9/"]
[[sources]]
type = "listing"
url = "http://127.0.0.1:9/new.json?token=hunter2"
every = "2m"
items = "/items"
item = { url = "/url" }
[[sinks]]
type = "stdout"
"#,
    );
    project.write(
        "pipelines/api.toml",
        format!(
            "[schedule]\nevery = \"30s\"\njitter = \"2s\"\nevery_on_failure = \"5s\"\n[[sources]]\ntargets = [\"{}\"]\n\
             [[maintenance]]\ndays = \"mon-sun\"\nreason = \"always\"\n",
            server.url("/ok")
        ),
    );
    let text = project.run_plain(&["list"]).expect_code(0).stdout;
    for word in [
        "cron \"*/5 8-18 * * MON-FRI\" Europe/London, spread over 30s, active mon-fri 08:00 to 18:00 Europe/London and sat \
         22:00 to 02:00 UTC\n",
        "every 30s, jitter 2s, every 5s while it fails\n",
        "source    listing: http://127.0.0.1:9/new.json?token=<secret>, every 2m; its targets come while it runs\n",
        "sinks     parquet results, stdout line\n",
        "targets   1, 1 in maintenance now\n",
        "2 pipelines, 2 targets; ",
    ] {
        assert!(text.contains(word), "no {word:?} in\n{text}");
    }
    let text = project.run_plain(&["list", "--targets"]).expect_code(0).stdout;
    assert!(text.contains("in maintenance: always"), "{text}");
    // A cron fire lies on a full five minutes, and its targets up to 30 s behind it.
    let targets = project.run_plain(&["list", "--targets", "--format", "json"]).expect_code(0).json_lines();
    let due = targets.iter().find(|target| target["pipeline"] == "shop").unwrap()["due_at"].as_str().unwrap();
    assert!(unix_ms(due).rem_euclid(300_000) < 30_000, "{due}");
    assert_eq!(server.count(), 0, "nothing is asked");
}

/// The promise of the formula: XXH3-64 of pipeline, a zero byte and the target's name, in whole 5 ms.
#[test]
fn a_target_is_due_at_its_phase() {
    let project = Project::with_pipeline(
        "[schedule]\nevery = \"1h\"\n[[sources]]\ntargets = [\n{ url = \"http://127.0.0.1:9/a\", name = \"a\" },\n\
         { url = \"http://127.0.0.1:9/b\", name = \"b\", every = \"7s\", labels = { team = \"core\" } }]\n",
    );
    let before = jiff::Timestamp::now().as_millisecond();
    let targets = project.run_plain(&["list", "--targets", "--format", "json"]).expect_code(0).json_lines();
    for (target, every_ms) in targets.iter().zip([3_600_000_i64, 7_000]) {
        let key = format!("shop\0{}", target["target"].as_str().unwrap());
        let phase_ms =
            twox_hash::XxHash3_64::oneshot(key.as_bytes()) % (every_ms as u64 * 1_000_000) / 5_000_000 * 5;
        let due = unix_ms(target["due_at"].as_str().unwrap());
        assert_eq!(due.rem_euclid(every_ms), phase_ms as i64, "{target:?}");
        assert!((before..=before + every_ms + 120_000).contains(&due), "{target:?}");
    }
    assert_eq!((&targets[1]["every"], &targets[1]["labels"]["team"]), (&"7s".into(), &"core".into()));
}

/// K1: what stands elsewhere is not told; H119: what is not there is an error.
#[test]
fn k1_h119_secrets_are_not_told_and_missing_ones_are_an_error() {
    let project = Project::with_pipeline(
        "[[sources]]\ntargets = [{ env = \"SHOP_URL\" }, \"http://127.0.0.1:9/?a=1&token=hunter2-literal\"]\n",
    );
    for arguments in [&["list", "--targets"][..], &["list", "--targets", "--format", "json"], &["list"]] {
        let mut command = project.command(arguments);
        command.env("SHOP_URL", "http://127.0.0.1:9/hunter2-path?key=hunter2-value");
        let finished = Running::start(command).wait(LONG).expect_code(0);
        assert!(!finished.stdout.contains("hunter2") && !finished.stderr.contains("hunter2"), "{finished:?}");
    }
    project.write("pipelines/right.toml", "[[sources]]\ntargets = [\"http://127.0.0.1:9/\"]\n");
    let finished = project.run_plain(&["list"]).expect_code(78);
    assert!(finished.stderr.contains("SHOP_URL"), "{}", finished.stderr);
    assert!(finished.stdout.contains("right: generation"), "what is right is listed: {}", finished.stdout);
}

#[test]
fn a_hundred_thousand_targets_are_listed() {
    let project = Project::with_pipeline("[[sources]]\ntype = \"file\"\npath = \"targets.txt\"\n");
    let lines: String = (0..100_000).map(|number| format!("http://127.0.0.1:9/{number}\n")).collect();
    project.write("pipelines/targets.txt", lines);
    let finished = project.run_plain(&["list", "--targets"]).expect_code(0);
    println!("{:?}", finished.took);
    assert_eq!(finished.stdout.lines().filter(|line| line.contains("http://127.0.0.1:9/")).count(), 100_000);
    // A reader that has seen enough is no failure.
    let finished = Running::start_without_reader(project.command(&["list", "--targets"])).wait(LONG);
    finished.expect_code(0);
}
