//! Case S12: the exit codes, one of the five public contracts. 75 is in `lock.rs`, 130 and 143 in `stop.rs`,
//! every way to 78 in `config_errors.rs`.

use crate::support::{Project, Server};

/// Arguments, and the code they end with. `shop` is up, `down` has a target that is not.
const PLAIN: &[(&[&str], i32)] = &[
    (&["--help"], 0),
    (&["--version"], 0),
    (&["run", "--help"], 0),
    (&["frobnicate"], 2),
    (&["run", "--frobnicate"], 2),
    (&["run", "--once", "--limit", "many"], 2),
    (&["run", "--once", "--format", "xml"], 2),
    (&["validate", "pipelines/shop.toml"], 0),
    (&["validate", "pipelines"], 0),
    (&["validate", "pipelines/nowhere.toml"], 78),
    (&["validate", "broken"], 78),
    (&["list", "pipelines"], 0),
    (&["list", "broken"], 78),
    (&["probe"], 2),
    (&["probe", "nobody", "--pipeline", "shop"], 2),
    (&["probe", "http://127.0.0.1:9/", "--pipeline", "shop", "broken"], 78),
];

const WITH_DATA: &[(&[&str], i32)] = &[
    (&["run", "--once", "pipelines/shop.toml"], 0),
    (&["run", "--once", "pipelines/shop.toml", "--format", "json"], 0),
    (&["run", "--once", "pipelines/down.toml"], 1),
    (&["run", "--once", "pipelines"], 1),
    (&["run", "--once", "broken"], 78),
    (&["run", "broken"], 78),
    (&["run", "pipelines/nowhere.toml"], 78),
];

fn project(server: &Server) -> Project {
    let project = Project::new();
    let (up, down) = (server.url("/ok"), server.url("/status/500"));
    project.write("pipelines/shop.toml", format!("[[sources]]\ntargets = [\"{up}\"]\n"));
    project.write("pipelines/down.toml", format!("[[sources]]\ntargets = [\"{up}\", \"{down}\"]\n"));
    project.write("broken/shop.toml", "[[sources]]\ntargets = [\"https://\"]\nevry = 1\n");
    project
}

#[test]
fn s12_each_end_has_its_code() {
    let server = Server::start();
    let project = project(&server);
    for (arguments, code) in PLAIN {
        println!("{arguments:?}");
        project.run_plain(arguments).expect_code(*code);
    }
    for (arguments, code) in WITH_DATA {
        println!("{arguments:?} --data");
        project.run(arguments).expect_code(*code);
    }
}

#[test]
fn s12_a_data_folder_that_cannot_be_is_a_failure_of_the_run() {
    let server = Server::start();
    let project = project(&server);
    // A file stands where the folder should.
    project.write("data", "");
    let finished = project.run(&["run", "--once", "pipelines/shop.toml"]).expect_code(3);
    assert!(finished.stderr.contains("data"), "{}", finished.stderr);
    assert_eq!(server.count(), 0, "nothing is probed that cannot be kept");
}

#[test]
fn help_goes_to_stdout_and_complaints_to_stderr() {
    let project = Project::new();
    let help = project.run_plain(&["--help"]).expect_code(0);
    assert!(help.stdout.contains("run") && help.stderr.is_empty(), "{help:?}");
    let complaint = project.run_plain(&["runn"]).expect_code(2);
    assert!(complaint.stdout.is_empty() && complaint.stderr.contains("run"), "{complaint:?}");
}
