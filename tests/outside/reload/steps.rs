//! What is done to files while a runner follows them, as `cases.toml` says it.

use std::fs::{self, OpenOptions};
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{LONG, Project, Running, Server};

/// A website, and a project whose pipelines probe it.
pub(super) struct Stage {
    pub(super) project: Project,
    server: Server,
}

impl Stage {
    pub(super) fn new() -> Self {
        let project = Project::new();
        fs::create_dir(project.path().join("pipelines")).unwrap();
        Self { project, server: Server::start() }
    }

    /// A pipeline of these targets.
    fn pipeline(&self, targets: &[&str]) -> String {
        let targets: String = targets
            .iter()
            .map(|name| format!("  \"{}\",\n", self.server.url(&format!("/ok/{name}"))))
            .collect();
        format!(
            "default_checks = false\n[schedule]\nevery = \"200ms\"\n[request]\ntimeout = \"200ms\"\n\
             [[sources]]\ntargets = [\n{targets}]\n"
        )
    }

    fn path(&self, text: &str) -> PathBuf {
        match text.strip_prefix('/') {
            Some(rest) => self.project.path().join(rest),
            None if text == "." => self.project.path().join("pipelines"),
            None => self.project.path().join("pipelines").join(text),
        }
    }

    /// Does the steps, one after the other.
    pub(super) fn play(&self, steps: &[String], running: Option<&Running>) {
        for step in steps {
            self.step(step, running);
        }
    }

    fn step(&self, step: &str, running: Option<&Running>) {
        let words: Vec<&str> = step.split(' ').collect();
        let at = |word: usize| self.path(words[word]);
        match words[0] {
            "put" => fs::write(at(1), self.pipeline(&words[2..])).unwrap(),
            "text" => fs::write(at(1), rest(step).replace("\\n", "\n")).unwrap(),
            "append" => append(&at(1), &format!("{}\n", rest(step))),
            "torn" => self.torn(&at(1), milliseconds(words[2]), &words[3..]),
            "storm" => self.storm(&at(1), milliseconds(words[2]), words[3].parse().unwrap(), words[4]),
            "edit" => edit(&at(1), &self.pipeline(&words[2..])),
            "large" => fs::write(at(1), "#".repeat(words[2].parse().unwrap())).unwrap(),
            "touch" => append(&at(1), ""),
            "rm" => fs::remove_file(at(1)).unwrap(),
            "rmdir" => fs::remove_dir(at(1)).unwrap(),
            "mkdir" => fs::create_dir(at(1)).unwrap(),
            "mv" => fs::rename(at(1), at(2)).unwrap(),
            "cp" => drop(fs::copy(at(1), at(2)).unwrap()),
            "ln" => std::os::unix::fs::symlink(words[1], at(2)).unwrap(),
            "link" => fs::hard_link(at(1), at(2)).unwrap(),
            "chmod" => {
                let mode = u32::from_str_radix(words[1], 8).unwrap();
                fs::set_permissions(at(2), fs::Permissions::from_mode(mode)).unwrap();
            }
            "wait" => std::thread::sleep(milliseconds(words[1])),
            "hup" => {
                for _ in 0..words[1].parse().unwrap() {
                    running.expect("a running process").signal(Signal::HUP);
                }
            }
            _ => panic!("no such step: {step}"),
        }
    }

    fn torn(&self, file: &Path, pause: Duration, targets: &[&str]) {
        fs::write(file, "").unwrap();
        for line in self.pipeline(targets).lines() {
            std::thread::sleep(pause);
            append(file, &format!("{line}\n"));
        }
    }

    fn storm(&self, file: &Path, pause: Duration, times: usize, target: &str) {
        for time in 1..=times {
            let text = self.pipeline(&[target]);
            fs::write(file, format!("{text}# {time}\n")).unwrap();
            std::thread::sleep(pause);
        }
    }

    fn count(&self, target: &str) -> usize {
        let path = format!("/ok/{target}");
        self.server.requests().iter().filter(|request| request.path == path).count()
    }

    /// Waits until each of these targets was asked twice more.
    pub(super) fn until_asked(&self, running: &mut Running, targets: &[String]) {
        for target in targets {
            let goal = self.count(target) + 2;
            running.until(LONG, target, || (self.count(target) >= goal).then_some(()));
        }
    }

    /// Sees that only these targets are asked.
    pub(super) fn expect_only(&self, running: &mut Running, targets: &[String]) {
        // What was in flight has landed when each was asked again.
        self.until_asked(running, targets);
        let before = self.server.count();
        self.until_asked(running, targets);
        let later: Vec<_> = self.server.requests().split_off(before);
        let other =
            later.iter().find(|request| targets.iter().all(|name| request.path != format!("/ok/{name}")));
        assert!(other.is_none(), "{} is asked, though it should not be", other.unwrap().path);
    }
}

/// What stands after the second word.
fn rest(step: &str) -> &str {
    step.splitn(3, ' ').nth(2).unwrap_or("")
}

fn milliseconds(word: &str) -> Duration {
    Duration::from_millis(word.parse().unwrap())
}

fn append(file: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).open(file).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Writes in place, and cuts what is left over.
fn edit(file: &Path, text: &str) {
    let mut file = OpenOptions::new().write(true).open(file).unwrap();
    file.rewind().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.set_len(text.len() as u64).unwrap();
}
