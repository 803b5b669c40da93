//! `probity stats`: what results come to, from files and from what a runner is writing.

use std::net::TcpListener;

use serde_json::json;

use crate::support::{LONG, Project, SIGTERM, Server};

/// A port at which nobody listens.
fn refused() -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("http://127.0.0.1:{port}/")
}

fn project(server: &Server) -> Project {
    let (ok, refused) = (server.url("/ok"), refused());
    Project::with_pipeline(&format!(
        "[[sources]]\ntargets = [\n  {{ url = \"{ok}\", name = \"home\", labels = {{ team = \"core\" }} }},\n  \
         {{ url = \"{refused}\", name = \"gone\" }},\n]\n"
    ))
}

#[test]
fn a_day_is_told_in_words() {
    let server = Server::start();
    let project = project(&server);
    project.run(&["run", "--once"]).expect_code(1);
    let text = project.run(&["stats"]).expect_code(0).stdout;
    for part in [
        ", 2 targets\n",
        "probes    2: 1 up, 1 down\n",
        "up        50.00 %\n",
        "total     p50 ",
        "failures\n",
        "1  connect_refused",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let text = project.run(&["stats", "--by", "target"]).expect_code(0).stdout;
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!(lines[1][..4], ["shop", "gone", "1", "0.00"], "the worst first\n{text}");
    assert_eq!(lines[2][..4], ["shop", "home", "1", "100.00"], "{text}");
    let text = project.run(&["stats", "--by", "check"]).expect_code(0).stdout;
    assert!(text.contains("shop      status         1     1     0     0      0"), "{text}");
}

#[test]
fn programs_get_objects_and_values() {
    let server = Server::start();
    let project = project(&server);
    project.run(&["run", "--once"]).expect_code(1);
    let whole = project.run(&["stats", "--format", "json"]).expect_code(0).json_lines();
    assert_eq!(whole.len(), 1);
    for (key, value) in [
        ("probes", json!(2)),
        ("down", json!(1)),
        ("up_percent", json!(50.0)),
        ("failures", json!({ "connect_refused": 1 })),
        ("expiring", json!([])),
    ] {
        assert_eq!(whole[0][key], value, "{key}");
    }
    let groups =
        project.run(&["stats", "--format", "json", "--by", "label.team"]).expect_code(0).json_lines();
    let names: Vec<_> = groups.iter().map(|group| group["label.team"].clone()).collect();
    assert_eq!(names, [json!(null), json!("core")]);
    let csv = project.run(&["stats", "--format", "csv", "--by", "pipeline"]).expect_code(0).stdout;
    assert!(csv.starts_with("pipeline,probes,up,degraded,unknown,down,skipped,up_percent,"), "{csv}");
    assert!(csv.lines().nth(1).unwrap().starts_with("shop,2,1,0,0,1,0,50.0,"), "{csv}");
    let checks = project.run(&["stats", "--format", "json", "--by", "check"]).expect_code(0).json_lines();
    assert_eq!((&checks[0]["check_name"], &checks[0]["pass"]), (&json!("status"), &json!(1)));
    let csv = project.run(&["stats", "--format", "csv", "--by", "check"]).expect_code(0).stdout;
    assert_eq!(csv.lines().count(), 2, "{csv}");
}

/// The journal of a runner at work is read beside it, and nothing is lost or doubled when it becomes a file.
#[test]
fn what_a_runner_has_not_published_yet_counts() {
    let server = Server::start();
    let project = project(&server);
    let mut running = project.start(&["run", "--format", "json"]);
    running.until_stdout_has(LONG, "\"home\"");
    running.until_stdout_has(LONG, "\"gone\"");
    let probes = |project: &Project| {
        let object = project.run(&["stats", "--format", "json"]).expect_code(0).json_lines().remove(0);
        object["probes"].as_u64().unwrap()
    };
    assert!(project.rows().probes.is_empty(), "nothing is published yet");
    assert!(probes(&project) >= 2);
    running.signal(SIGTERM);
    running.wait(LONG).expect_code(0);
    let rows = project.rows().probes.len() as u64;
    assert_eq!(probes(&project), rows);
}

#[test]
fn a_window_without_results_says_so() {
    let server = Server::start();
    let project = project(&server);
    let ended = project.run(&["stats"]).expect_code(3);
    assert!(ended.stderr.contains("there are no results in"), "{}", ended.stderr);
    project.run(&["run", "--once"]).expect_code(1);
    let window = ["stats", "--since", "2020-01-01", "--until", "2020-01-02"];
    let said = project.run(&window).expect_code(0).stdout;
    let wanted = "no results between 2020-01-01T00:00:00Z and 2020-01-02T00:00:00Z; the last one is of 20";
    assert!(said.starts_with(wanted), "{said}");
    let json = project.run(&[&window[..], &["--format", "json"]].concat()).expect_code(0);
    assert!(json.stdout.is_empty() && json.stderr.contains(wanted), "{json:?}");
    let said = project.run(&["stats", "--pipeline", "shpo"]).expect_code(0).stdout;
    assert!(said.contains("there is none of \"shpo\" at any other time either"), "{said}");
    for wrong in [
        &["stats", "--by", "colour"][..],
        &["stats", "--since", "soon"],
        &["stats", "--since", "1h", "--until", "2h"],
    ] {
        project.run(wrong).expect_code(2);
    }
}

/// Numbers that are not whole end with an error.
#[test]
fn a_damaged_file_is_left_out_and_told() {
    let server = Server::start();
    let project = project(&server);
    project.run(&["run", "--once"]).expect_code(1);
    project.run(&["run", "--once"]).expect_code(1);
    let files = crate::support::parquet_files(&project.results().join("probes"));
    let bytes = std::fs::read(&files[0]).unwrap();
    std::fs::write(&files[0], &bytes[..bytes.len() / 2]).unwrap();
    let ended = project.run(&["stats", "--format", "json"]).expect_code(3);
    assert_eq!(ended.json_lines()[0]["probes"], 2);
    assert!(
        ended.stderr.contains("left out \"") && ended.stderr.contains("probity verify"),
        "{}",
        ended.stderr
    );
}
