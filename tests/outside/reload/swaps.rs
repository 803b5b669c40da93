//! What a reload leaves alone, and what it changes: probes in flight, checks, sinks, limits.

use std::time::Duration;

use crate::support::{Guest, LONG, Project, Running, SIGTERM, Server};

fn pipeline(url: &str, more: &str) -> String {
    format!(
        "default_checks = false\n{more}[schedule]\nevery = \"200ms\"\n[request]\ntimeout = \"10s\"\n\
         [[sources]]\ntargets = [\"{url}\"]\n"
    )
}

/// Waits for so many reloads that changed something.
fn until_changed(running: &mut Running, times: usize) {
    let log = running.stderr_reader();
    let count =
        move || log().matches("goes on as another generation").count() + log().matches("is new").count();
    running.until(LONG, "the reload", || (count() >= times).then_some(()));
}

fn end(mut running: Running) {
    assert!(running.is_running(), "{}", running.stderr());
    running.signal(SIGTERM);
    running.wait(Duration::from_secs(20)).expect_code(0);
}

#[test]
fn h127_c20_a_probe_in_flight_ends_under_the_generation_that_it_began_with() {
    let server = Server::start();
    let project = Project::with_pipeline(&pipeline(&server.url("/slow/4000ms/old"), ""));
    let mut running = project.start(&["run"]);
    running.until(LONG, "a probe in flight", || server.reached(1));
    project.write("pipelines/shop.toml", pipeline(&server.url("/ok/new"), "description = \"new\"\n"));
    until_changed(&mut running, 1);
    assert!(server.requests()[0].left.is_none(), "the first probe is still in flight");
    running.until(LONG, "the next generation", || server.reached(4));
    end(running);
    let rows = project.rows();
    rows.expect_whole();
    let generation = |part: &str| {
        let of_url = rows.probes.iter().filter(|row| row["url"].as_str().unwrap().contains(part));
        let mut found: Vec<_> = of_url.map(|row| row["generation"].to_string()).collect();
        found.dedup();
        assert_eq!(found.len(), 1, "{part}: {found:?}");
        found.remove(0)
    };
    assert_ne!(generation("old"), generation("new"));
    assert!(rows.probes.iter().all(|row| row["outcome"] == "up"));
}

#[test]
fn w16_a_plugin_that_is_replaced_while_it_is_in_use() {
    let server = Server::start();
    let guest = |status: u32| {
        // `run` gives the same answer each time: pass, or fail.
        let run = if status == 0 { crate::support::PASS } else { "unreachable" };
        Guest { run, ..Guest::default() }.component()
    };
    let text = pipeline(&server.url("/ok"), "") + "[[checks]]\nplugin = \"mine.wasm\"\n";
    let project = Project::with_pipeline(&text);
    project.write("pipelines/mine.wasm", guest(0));
    let mut running = project.start(&["run", "--format", "json"]);
    running.until_stdout_has(LONG, "\"outcome\":\"up\"");
    project.write("pipelines/mine.wasm.new", guest(1));
    std::fs::rename(
        project.path().join("pipelines/mine.wasm.new"),
        project.path().join("pipelines/mine.wasm"),
    )
    .unwrap();
    running.until_stdout_has(LONG, "\"outcome\":\"unknown\"");
    end(running);
    let rows = project.rows();
    rows.expect_whole();
    // Each generation has its own answer.
    for row in &rows.probes {
        let first = rows.probes[0]["generation"] == row["generation"];
        assert_eq!(row["outcome"], if first { "up" } else { "unknown" });
    }
}

#[test]
fn a_plugin_that_is_torn_while_it_is_copied_changes_nothing() {
    let server = Server::start();
    let text = pipeline(&server.url("/ok"), "") + "[[checks]]\nplugin = \"mine.wasm\"\n";
    let project = Project::with_pipeline(&text);
    let whole = Guest::default().component();
    project.write("pipelines/mine.wasm", &whole);
    let mut running = project.start(&["run"]);
    running.until(LONG, "probes", || server.reached(2));
    project.write("pipelines/mine.wasm", &whole[..whole.len() / 2]);
    running.until_stderr_has(LONG, "P0402");
    let goal = server.count() + 3;
    running.until(LONG, "probes go on", || server.reached(goal));
    project.write("pipelines/mine.wasm", &whole);
    running.until_stderr_has(LONG, "right again");
    end(running);
    assert!(project.rows().probes.iter().all(|row| row["outcome"] == "up"));
}

#[test]
fn s3_an_end_does_not_wait_for_a_reload() {
    let server = Server::start();
    let project = Project::with_pipeline(&pipeline(&server.url("/ok"), ""));
    let mut running = project.start(&["run"]);
    running.until(LONG, "probes", || server.reached(2));
    // More than a minute of compiling.
    let bomb = &crate::bombs::BOMBS[0];
    project.write("pipelines/bomb.wasm", bomb.component(bomb.most));
    let text = pipeline(&server.url("/ok"), "") + "[[checks]]\nplugin = \"bomb.wasm\"\n";
    project.write("pipelines/shop.toml", text);
    let children = format!("/proc/{}/task", running.pid());
    running.until(LONG, "the compiler at work", || {
        let tasks = std::fs::read_dir(&children).ok()?;
        let of_task = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).ok();
        tasks.flatten().filter_map(of_task).any(|children| !children.trim().is_empty()).then_some(())
    });
    running.signal(SIGTERM);
    let finished = running.wait(Duration::from_secs(12)).expect_code(0);
    assert!(!finished.stderr.contains("another generation"), "{}", finished.stderr);
    project.rows().expect_whole();
}

#[test]
fn c21_a_sink_that_moves_seals_its_files_and_loses_nothing() {
    let server = Server::start();
    let sink = |path: &str| format!("[[sinks]]\ntype = \"parquet\"\npath = \"{path}\"\n");
    let text = |path: &str| pipeline(&server.url("/ok"), "") + &sink(path);
    let project = Project::with_pipeline(&text("one"));
    let mut running = project.start(&["run"]);
    running.until(LONG, "probes", || server.reached(3));
    project.write("pipelines/shop.toml", text("two"));
    until_changed(&mut running, 1);
    let one = project.data().join("one");
    // Sealed while the run goes on.
    running.until(LONG, "files of the first sink", || {
        (!crate::support::parquet_files(&one).is_empty()).then_some(())
    });
    // And back again: the folder's lock has to be free.
    let goal = server.count() + 3;
    running.until(LONG, "probes", || server.reached(goal));
    project.write("pipelines/shop.toml", text("one"));
    until_changed(&mut running, 2);
    let goal = server.count() + 3;
    running.until(LONG, "probes", || server.reached(goal));
    end(running);
    let (first, second) = (
        crate::support::read_rows(&one).probes.len(),
        crate::support::read_rows(&project.data().join("two")).probes.len(),
    );
    assert!(first >= 4 && second >= 3, "{first} and {second}");
    assert_eq!(first + second, server.count(), "each request has its row");
}

#[test]
fn a_sink_that_cannot_be_opened_is_refused_and_the_pipeline_goes_on() {
    let server = Server::start();
    let sink = |path: &str| format!("[[sinks]]\ntype = \"parquet\"\npath = \"{path}\"\n");
    let text = |path: &str| pipeline(&server.url("/ok"), "") + &sink(path);
    let project = Project::with_pipeline(&text("one"));
    // Another runner of the same name is at work there.
    let other = Project::with_pipeline(&text("taken"));
    let data = project.data();
    let mut command = other.command(&["run", "--data"]);
    command.arg(&data);
    let mut holder = Running::start(command);
    holder.until(LONG, "the other runner", || server.reached(1));
    let mut running = project.start(&["run"]);
    running.until(LONG, "probes", || server.reached(4));
    project.write("pipelines/shop.toml", text("taken"));
    running.until_stderr_has(LONG, "a sink cannot be opened");
    let goal = server.count() + 6;
    running.until(LONG, "probes go on", || server.reached(goal));
    end(running);
    end(holder);
    let all = crate::support::read_rows(&data.join("one")).probes.len()
        + crate::support::read_rows(&data.join("taken")).probes.len();
    assert_eq!(all, server.count());
}

#[test]
fn settings_of_a_sink_change_without_a_new_lock_and_stdout_comes_and_goes() {
    let server = Server::start();
    let project = Project::with_pipeline(&pipeline(&server.url("/ok"), ""));
    let mut running = project.start(&["run"]);
    running.until(LONG, "probes", || server.reached(3));
    assert_eq!(running.stdout(), "");
    let sinks = "[[sinks]]\ntype = \"stdout\"\n[[sinks]]\ntype = \"parquet\"\nrotate = { every = \"1s\" }\n";
    project.write("pipelines/shop.toml", pipeline(&server.url("/ok"), "") + sinks);
    running.until_stdout_has(LONG, "up");
    running.until(LONG, "two files", || {
        (crate::support::parquet_files(&project.results()).len() >= 2).then_some(())
    });
    project.write("pipelines/shop.toml", pipeline(&server.url("/ok"), ""));
    until_changed(&mut running, 2);
    // Rows of probes that were in flight may still come; then it is quiet.
    let goal = server.count() + 5;
    running.until(LONG, "probes", || server.reached(goal));
    let lines = running.stdout().lines().count();
    assert!(lines < server.count(), "{lines}");
    end(running);
    let rows = project.rows();
    rows.expect_whole();
    assert_eq!(rows.probes.len(), server.count());
}

#[test]
fn c23_a_start_with_mistakes_tells_them_all_and_a_partial_one_takes_them_in_when_they_are_mended() {
    let server = Server::start();
    let project = Project::with_pipeline(&pipeline(&server.url("/ok/a"), ""));
    project.write("pipelines/bad.toml", "evry = 1\n");
    project.write("pipelines/worse.toml", "[[\n");
    let refused = project.run(&["run"]).expect_code(78);
    assert!(
        refused.stderr.contains("bad.toml:1:1") && refused.stderr.contains("worse.toml:1"),
        "{}",
        refused.stderr
    );
    let mut running = project.start(&["run", "--allow-partial"]);
    running.until(LONG, "probes", || server.reached(2));
    project.write("pipelines/bad.toml", pipeline(&server.url("/ok/b"), ""));
    running.until(LONG, "the mended one", || {
        server.requests().iter().any(|request| request.path == "/ok/b").then_some(())
    });
    end(running);
}

#[test]
fn files_that_a_pipeline_points_at_are_followed() {
    let server = Server::start();
    let text = "default_checks = false\n[schedule]\nevery = \"200ms\"\n[request]\ntimeout = \"5s\"\n\
         headers = { x-secret = { file = \"secret\" } }\n\
         [[sources]]\ntype = \"file\"\npath = \"list.txt\"\n";
    let project = Project::with_pipeline(text);
    project.write("pipelines/list.txt", server.url("/ok/a"));
    project.write("pipelines/secret", "one-canary");
    let mut running = project.start(&["run"]);
    running.until(LONG, "probes", || server.reached(2));
    project.write("pipelines/list.txt", format!("{}\n{}\n", server.url("/ok/a"), server.url("/ok/b")));
    running.until(LONG, "the new target", || {
        server.requests().iter().any(|request| request.path == "/ok/b").then_some(())
    });
    project.write("pipelines/secret", "two-canary");
    running.until(LONG, "the new secret", || {
        let has = |request: &crate::support::Request| {
            request.headers.iter().any(|line| line.contains("two-canary"))
        };
        server.requests().iter().any(has).then_some(())
    });
    let log = running.stderr();
    assert!(!log.contains("canary"), "{log}");
    end(running);
    // A secret is no part of the generation.
    let rows = project.rows();
    let mut generations: Vec<_> = rows.probes.iter().map(|row| row["generation"].to_string()).collect();
    generations.sort();
    generations.dedup();
    assert_eq!(generations.len(), 2, "one for each list of targets");
}

#[test]
fn c12_without_watches_files_are_looked_at_instead() {
    for limit in ["max_inotify_watches", "max_inotify_instances"] {
        let server = Server::start();
        let project = Project::with_pipeline(&pipeline(&server.url("/ok/a"), ""));
        let plain = project.with_data(&["run"]);
        let mut command = std::process::Command::new("unshare");
        command.args(["-Ur", "sh", "-c", &format!("echo 0 > /proc/sys/user/{limit} && exec \"$@\""), "sh"]);
        command.arg(plain.get_program()).args(plain.get_args()).current_dir(project.path());
        let mut running = Running::start(command);
        running.until(LONG, "probes", || server.reached(2));
        assert!(running.stderr().contains("looked at every second instead"), "{}", running.stderr());
        project.write("pipelines/shop.toml", pipeline(&server.url("/ok/b"), ""));
        running.until(Duration::from_secs(10), "the new target", || {
            server.requests().iter().any(|request| request.path == "/ok/b").then_some(())
        });
        end(running);
    }
}

#[test]
fn c27_a_folder_that_cannot_be_written_is_enough() {
    let server = Server::start();
    let project = Project::with_pipeline(&pipeline(&server.url("/ok/a"), ""));
    let plain = project.with_data(&["run"]);
    let mut command = std::process::Command::new("unshare");
    let script =
        "mount --bind pipelines pipelines && mount -o remount,ro,bind pipelines && cd . && exec \"$@\"";
    command.args(["-Urm", "sh", "-c", script, "sh"]);
    command.arg(plain.get_program()).args(plain.get_args()).current_dir(project.path());
    let mut running = Running::start(command);
    running.until(LONG, "probes", || server.reached(2));
    // From outside it can be changed.
    project.write("pipelines/shop.toml", pipeline(&server.url("/ok/b"), ""));
    running.until(Duration::from_secs(10), "the new target", || {
        server.requests().iter().any(|request| request.path == "/ok/b").then_some(())
    });
    end(running);
}
