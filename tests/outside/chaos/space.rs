//! A disk that takes nothing for a while: it is full, or it has become read-only. Probing goes on, results wait,
//! and everything is there when it takes something again.

use std::fs;
use std::path::Path;
use std::time::Instant;

use rustix::io::Errno;

use super::history::{Ended, Ending, History, name_of};
use super::sweep::preload::Preload;
use crate::support::{LONG, Project, Running, SIGTERM, Server, leave_out};

/// A project of a few targets, and the file that makes the disk refuse everything as long as it is there.
struct Rig {
    server: Server,
    project: Project,
    preload: Preload,
}

impl Rig {
    fn new(test: &str) -> Option<Self> {
        let preload = match Preload::build() {
            Ok(preload) => preload,
            Err(reason) => {
                leave_out(test, &reason);
                return None;
            }
        };
        let server = Server::start();
        let targets: String =
            (0..5).map(|n| format!("  \"{}\",\n", server.url(&format!("/ok/{n}")))).collect();
        let project = Project::with_pipeline(&format!(
            "[schedule]\nevery = \"200ms\"\n[request]\ntimeout = \"5s\"\nresponse_headers = [\"x-nonce\"]\n\
             headers = {{ x-run = {{ env = \"CHAOS_RUN\" }} }}\n[[sources]]\ntargets = [\n{targets}]\n\
             [[sinks]]\ntype = \"parquet\"\nrotate = {{ every = \"1s\", rows = 20 }}\n\
             [[sinks]]\ntype = \"stdout\"\nformat = \"json\"\n"
        ));
        Some(Self { server, project, preload })
    }

    fn refusing(&self) -> std::path::PathBuf {
        self.project.path().join("refuse")
    }

    fn start(&self, errno: Errno) -> Running {
        let mut command = self.project.with_data(&["run"]);
        self.preload.put_before(&mut command, &self.project.data(), &self.project.path().join("calls"));
        command
            .env("CHAOS_RUN", name_of(1))
            .env("PROBITY_FAULT_CALL", "change")
            .env("PROBITY_FAULT_AT", "1")
            .env("PROBITY_FAULT_TIMES", i32::MAX.to_string())
            .env("PROBITY_FAULT_HOW", errno.raw_os_error().to_string())
            .env("PROBITY_FAULT_WHILE", self.refusing());
        Running::start(command)
    }

    /// The disk refuses everything while 40 more requests are made; then it takes things again.
    fn refuse_for_a_while(&self, errno: Errno) {
        let mut running = self.start(errno);
        let stdout = running.stdout_reader();
        let lines = || stdout().lines().count();
        running.until(LONG, "results", || (lines() >= 10).then_some(()));

        fs::write(self.refusing(), "").unwrap();
        running.until_stderr_has(LONG, "the journal cannot be written");
        let (server, asked) = (&self.server, self.server.count());
        // What was in the journal before may still be on its way here.
        running.until(LONG, "probing to go on", || server.reached(asked + 10));
        let told = lines();
        running.until(LONG, "probing to go on", || server.reached(asked + 50));
        assert_eq!(lines(), told, "results were told that are in no journal");

        fs::remove_file(self.refusing()).unwrap();
        running.until_stderr_has(LONG, "the journal is written again");
        running.until(LONG, "the results that have waited", || (lines() >= told + 40).then_some(()));
        let at = Instant::now();
        running.signal(SIGTERM);
        let finished = running.wait(LONG).expect_code(0);

        let mut history = History::default();
        history.add(&finished, Ended { number: 1, ending: Ending::Clean, at });
        history.expect_kept(&self.project.rows(), &self.server.requests());
        let left: Vec<_> = super::batch::files_in(&self.project.state("main"), "journal");
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn d4_a_full_disk_holds_up_results_and_loses_none() {
    let Some(rig) = Rig::new("chaos::space::d4_a_full_disk_holds_up_results_and_loses_none") else { return };
    rig.refuse_for_a_while(Errno::NOSPC);
}

#[test]
fn d7_a_disk_that_becomes_read_only_holds_up_results_and_loses_none() {
    let Some(rig) =
        Rig::new("chaos::space::d7_a_disk_that_becomes_read_only_holds_up_results_and_loses_none")
    else {
        return;
    };
    rig.refuse_for_a_while(Errno::ROFS);
}

#[test]
fn d7_a_disk_that_is_read_only_is_told_at_the_start() {
    let Some(rig) = Rig::new("chaos::space::d7_a_disk_that_is_read_only_is_told_at_the_start") else {
        return;
    };
    fs::create_dir_all(rig.project.data()).unwrap();
    fs::write(rig.refusing(), "").unwrap();
    let finished = rig.start(Errno::ROFS).wait(LONG);
    let said = &finished.stderr;
    assert_eq!(finished.status.code(), Some(3), "{said}");
    let names = |path: &Path| said.contains(path.to_str().unwrap());
    assert!(names(&rig.project.data()) && said.contains("Read-only file system"), "{said}");
    assert_eq!(rig.server.count(), 0, "nothing is probed whose result cannot be kept");
}
