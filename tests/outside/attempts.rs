//! Attempts, dead letters, probes that come too late, places, maintenance: what a pipeline file says of them.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::support::{LONG, Project, SIGTERM, Server};

#[test]
fn a_probe_is_tried_again_and_its_last_attempt_decides() {
    let server = Server::start();
    let text = format!(
        "[request]\nretry = {{ attempts = 3, backoff = \"10ms\" }}\n[schedule]\nevery = \"1h\"\n\
         [[sources]]\ntargets = [\"{}\", \"{}\", \"{}\"]\n",
        server.url("/ok"),
        server.url("/status/503"),
        server.url("/status/404"),
    );
    let project = Project::with_pipeline(&text);
    project.run(&["run", "--once"]).expect_code(1);
    let rows = project.rows();
    let of = |part: &str| {
        let mut found: Vec<_> =
            rows.probes.iter().filter(|row| row["url"].as_str().unwrap().ends_with(part)).collect();
        found.sort_by_key(|row| row["attempt"].as_i64());
        found
            .iter()
            .map(|row| (row["attempt"].as_i64().unwrap(), row["is_final"] == true))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("/ok"), [(1, true)]);
    assert_eq!(of("/503"), [(1, false), (2, false), (3, true)]);
    assert_eq!(of("/404"), [(1, true)], "a 404 is not among what is tried again");
    let probes: std::collections::HashSet<_> =
        rows.probes.iter().map(|row| row["probe_seq"].as_i64()).collect();
    assert_eq!(probes.len(), 3);
}

#[test]
fn no_attempt_begins_that_could_not_end_before_the_next_tick() {
    let server = Server::start();
    let text = format!(
        "[request]\ntimeout = \"400ms\"\nretry = {{ attempts = 5, backoff = \"0s\" }}\n[schedule]\nevery = \"1s\"\n\
         [[sources]]\ntargets = [\"{}\"]\n",
        server.url("/never"),
    );
    let project = Project::with_pipeline(&text);
    let mut running = project.start(&["run"]);
    running.until(LONG, "some attempts", || server.reached(9));
    running.signal(SIGTERM);
    running.wait(Duration::from_secs(20)).expect_code(0);
    let rows = project.rows();
    let ticks: BTreeSet<i64> = rows.probes.iter().map(|row| row["scheduled_at"].as_i64().unwrap()).collect();
    let most = |tick: i64| {
        let of_tick = rows.probes.iter().filter(|row| row["scheduled_at"] == tick);
        of_tick.map(|row| row["attempt"].as_i64().unwrap()).max().unwrap()
    };
    for (tick, next) in ticks.iter().zip(ticks.iter().skip(1)) {
        let fit = (next - tick) / 400_000;
        assert!(most(*tick) <= fit, "{} of 400 ms in {} us", most(*tick), next - tick);
    }
    // The first probe comes when the target does, half an interval to one and a half before its first tick; from
    // then on there is a second for each.
    let later = ticks.iter().skip(1).map(|tick| most(*tick)).max();
    assert_eq!(later, Some(2), "two of 400 ms fit into a second");
    assert!(rows.probes.iter().all(|row| row["missed"] == 0), "so no tick is missed");
}

#[test]
fn a_probe_that_failed_in_all_attempts_goes_to_the_dead_letters_with_its_history() {
    let server = Server::start();
    let text = format!(
        "[dead_letter]\n[request]\nretry = {{ attempts = 2, backoff = \"1ms\", on = [\"5xx\"] }}\n\
         [schedule]\nevery = \"1h\"\n[[sources]]\ntargets = [\"{}\", \"{}\"]\n",
        server.url("/ok"),
        server.url("/status/500"),
    );
    let project = Project::with_pipeline(&text);
    project.run(&["run", "--once"]).expect_code(1);
    let letters = fs::read_to_string(project.data().join("dead-letters/shop.jsonl")).unwrap();
    let letters: Vec<Value> = letters.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(letters.len(), 1);
    assert!(letters[0]["url"].as_str().unwrap().ends_with("/status/500"));
    assert_eq!((&letters[0]["attempt"], &letters[0]["outcome"]), (&2.into(), &"down".into()));
    assert_eq!(letters[0]["history"][0]["attempt"], 1);
    assert_eq!(letters[0]["history"][0]["http_status"], 500);
}

#[test]
fn t15_a_probe_that_would_begin_too_late_is_skipped_with_a_row() {
    let server = Server::start();
    // One place for two slow targets: one of them always waits.
    let text = format!(
        "default_checks = false\n[limits]\nconcurrency = 1\n[request]\ntimeout = \"5s\"\n\
         [schedule]\nevery = \"500ms\"\nexpires = \"100ms\"\n[[sources]]\ntargets = [\"{}\", \"{}\"]\n",
        server.url("/slow/400ms/a"),
        server.url("/slow/400ms/b"),
    );
    let project = Project::with_pipeline(&text);
    let mut running = project.start(&["run"]);
    running.until(LONG, "probes", || server.reached(6));
    running.signal(SIGTERM);
    let finished = running.wait(Duration::from_secs(20)).expect_code(0);
    let rows = project.rows();
    rows.expect_whole();
    let skipped: Vec<_> = rows.probes.iter().filter(|row| row["outcome"] == "skipped").collect();
    assert!(!skipped.is_empty(), "{}", finished.stderr);
    for row in &skipped {
        assert!(row["lateness_us"].as_i64().unwrap() > 100_000);
        assert!(row["http_status"].is_null() && row["is_final"] == true && row["error_kind"].is_null());
    }
    assert_eq!(rows.probes.len() - skipped.len(), server.count(), "nothing that was skipped was asked");
    assert!(finished.stderr.contains("skipped"), "{}", finished.stderr);
}

/// The most requests that were answered at one moment.
fn most_at_once(server: &Server, part: &str) -> usize {
    let requests: Vec<_> =
        server.requests().into_iter().filter(|request| request.path.contains(part)).collect();
    let at = |moment| {
        let is_open = |request: &&crate::support::Request| {
            request.arrived <= moment && request.left.is_none_or(|left| left > moment)
        };
        requests.iter().filter(is_open).count()
    };
    requests.iter().map(|request| at(request.arrived)).max().unwrap_or(0)
}

#[test]
fn a_host_has_its_limit_and_does_not_hold_up_others() {
    let (slow, quick) = (Server::start(), Server::start());
    let targets: String =
        (0..8).map(|n| format!("  \"{}\",\n", slow.url(&format!("/slow/300ms/{n}")))).collect();
    let text = format!(
        "default_checks = false\n[limits]\nper_host = 2\n[schedule]\nevery = \"1h\"\n\
         [[sources]]\ntargets = [\n{targets}  \"{}\",\n]\n",
        quick.url("/ok"),
    );
    let project = Project::with_pipeline(&text);
    let mut running = project.start(&["run"]);
    running.until(LONG, "the quick one", || quick.reached(1));
    assert!(slow.count() <= 4, "the quick one did not wait for the slow ones");
    running.until(LONG, "all slow ones", || slow.reached(8));
    running.signal(SIGTERM);
    running.wait(Duration::from_secs(20)).expect_code(0);
    assert_eq!(most_at_once(&slow, "slow"), 2);
    assert_eq!(project.rows().probes.len(), 9);
}

#[test]
fn the_whole_runner_has_its_limit_and_it_follows_its_file() {
    let server = Server::start();
    let targets: String =
        (0..6).map(|n| format!("  \"{}\",\n", server.url(&format!("/slow/200ms/{n}")))).collect();
    let text = format!(
        "default_checks = false\n[schedule]\nevery = \"200ms\"\n[[sources]]\ntargets = [\n{targets}]\n"
    );
    let project = Project::with_pipeline(&text);
    project.write("probity.toml", "[defaults]\nconcurrency = 2\n");
    let mut running = project.start(&["run"]);
    running.until(LONG, "probes", || server.reached(12));
    assert_eq!(most_at_once(&server, "slow"), 2);
    project.write("probity.toml", "[defaults]\nconcurrency = 5\n");
    running.until(LONG, "more at once", || (most_at_once(&server, "slow") == 5).then_some(()));
    running.signal(SIGTERM);
    running.wait(Duration::from_secs(20)).expect_code(0);
}

#[test]
fn rows_in_a_maintenance_window_are_marked() {
    let server = Server::start();
    let text = format!(
        "default_checks = false\n[schedule]\nevery = \"1h\"\n\
         [[sources]]\ntargets = [{{ url = \"{}\", name = \"a\", labels = {{ team = \"core\" }} }}, {{ url = \"{}\", name = \"b\" }}]\n\
         [[maintenance]]\nfrom = 2020-01-01T00:00:00Z\nto = 2100-01-01T00:00:00Z\nlabels = {{ team = \"core\" }}\n",
        server.url("/ok/a"),
        server.url("/ok/b"),
    );
    let project = Project::with_pipeline(&text);
    project.run(&["run", "--once"]).expect_code(0);
    let rows = project.rows();
    assert_eq!(rows.the_row("a")["in_maintenance"], true);
    assert_eq!(rows.the_row("b")["in_maintenance"], false);
}

#[test]
fn n21_while_the_runner_is_offline_no_target_is_to_blame() {
    let canary = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (server, place) = (Server::start(), canary.local_addr().unwrap());
    let text = format!(
        "[schedule]\nevery = \"1h\"\n[[sources]]\ntargets = [\n{{ name = \"gone\", url = \"http://127.0.0.1:1/\" }},\n\
         {{ name = \"wrong\", url = \"{}\" }},\n{{ name = \"good\", url = \"{}\" }},\n]\n",
        server.url("/status/500"),
        server.url("/ok"),
    );
    let outcomes = |project: &Project| {
        project.run(&["run", "--once"]).expect_code(1);
        let rows = project.rows().probes;
        let of = |target: &str| {
            let row = rows.iter().find(|row| row["target"] == target).unwrap();
            let text = |column: &str| row[column].as_str().map(str::to_owned);
            (text("outcome").unwrap(), text("error_kind"), text("error_message"))
        };
        [of("gone"), of("wrong"), of("good")]
    };
    let project = || {
        let project = Project::with_pipeline(&text);
        project.write("probity.toml", format!("[network]\ncanaries = [\"127.0.0.1:2\", \"{place}\"]\n"));
        project
    };
    let [gone, wrong, good] = outcomes(&project());
    assert_eq!((gone.0.as_str(), gone.1.as_deref()), ("down", Some("connect_refused")));
    assert_eq!((wrong.0.as_str(), good.0.as_str()), ("down", "up"));

    drop(canary);
    let [gone, wrong, good] = outcomes(&project());
    assert_eq!((gone.0.as_str(), gone.1.as_deref()), ("unknown", Some("runner_offline")), "{gone:?}");
    let told = gone.2.unwrap();
    assert!(told.contains("none of its 2 canaries") && told.contains("refused"), "{told}");
    assert_eq!((wrong.0.as_str(), good.0.as_str()), ("down", "up"), "an answer is an answer");
}
