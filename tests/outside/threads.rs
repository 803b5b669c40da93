//! R4: where the operating system gives too few threads (`ulimit -u`, and what is like it), that is an error at the start
//! which says so, and never a panic later.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::support::{LONG, Project, Running, SIGTERM, Server, say_left_out, until, wrapped};

/// Processes and threads that the user may have.
const LIMITS: &[u32] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 18, 20, 22, 24, 28, 32, 40];

/// Commands that start threads.
const COMMANDS: &[&[&str]] =
    &[&["run"], &["run", "--once"], &["validate"], &["test"], &["list"], &["probe", "http://127.0.0.1:1/"]];

/// Users that tests were given.
static USERS: AtomicU32 = AtomicU32::new(0);

/// A user that nobody else is, and who is limited: root is not.
struct Limited {
    user: String,
}

impl Limited {
    /// None, after having said why `test` is left out, where there can be none.
    fn or_leave_out(test: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            say_left_out(test, "only root can become a user who has no other processes");
            return None;
        }
        // Tests that run at once have a user each; the highest number that containers map is 65,535.
        let number = std::process::id().wrapping_mul(8) + USERS.fetch_add(1, Ordering::Relaxed);
        let limited = Self { user: (20_000 + number % 40_000).to_string() };
        let tried = limited.command(&Project::new().command(&["--version"]), 64).output();
        if tried.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(limited);
        }
        say_left_out(test, &format!("the program cannot be run by setpriv and prlimit: {tried:?}"));
        None
    }

    /// `command`, as this user, with so many processes and threads at most.
    fn command(&self, command: &Command, limit: u32) -> Command {
        let mut limited = Command::new("setpriv");
        limited.arg(format!("--reuid={}", self.user)).args([
            "--clear-groups",
            "prlimit",
            &format!("--nproc={limit}"),
            "--",
        ]);
        wrapped(limited, command)
    }
}

/// A project that anybody may write to.
fn project(server: &Server) -> Project {
    let project = Project::with_pipeline(&format!(
        "[schedule]\nevery = \"1s\"\n[request]\ntimeout = \"900ms\"\n[[sources]]\ntargets = [\"{}\"]\n",
        server.url("/ok")
    ));
    std::fs::set_permissions(project.path(), PermissionsExt::from_mode(0o777)).unwrap();
    project
}

/// How many threads the message says are needed; none where it is not the message.
fn needed(stderr: &str) -> Option<u32> {
    let (_, rest) = stderr.split_once("threads can be started, and ")?;
    assert!(rest.contains("ulimit -u") && rest.contains("TasksMax"), "no remedy: {stderr}");
    rest.split(' ').next()?.parse().ok()
}

/// Tries to start a runner: the number of threads that it says it lacks, or none where it gives rows.
fn try_run(limited: &Limited, project: &Project, limit: u32) -> Option<u32> {
    let command = project.with_data(&["run", "--format", "json"]);
    let mut running = Running::start(limited.command(&command, limit));
    let stdout = running.stdout_reader();
    until(LONG, "an end or a row", || {
        (!running.is_running() || stdout().contains("\"outcome\"")).then_some(())
    });
    running.signal(SIGTERM);
    let finished = running.wait(LONG);
    assert!(!finished.stderr.contains("panicked at"), "limit {limit}: {}", finished.stderr);
    let needed = needed(&finished.stderr);
    assert_eq!(finished.status.code(), Some(if needed.is_some() { 3 } else { 0 }), "{limit}: {finished:?}");
    needed
}

#[test]
fn r4_too_few_threads_are_an_error_at_the_start() {
    let Some(limited) = Limited::or_leave_out("r4_too_few_threads_are_an_error_at_the_start") else { return };
    let server = Server::start();
    let project = project(&server);
    let needed = try_run(&limited, &project, 1).expect("no program has one thread");
    // What it says is enough, exactly: its first thread is there already.
    for limit in LIMITS.iter().copied().chain([needed, needed + 1]) {
        let said = try_run(&limited, &project, limit);
        assert_eq!(said, (limit <= needed).then_some(needed), "with a limit of {limit}");
    }
    project.rows().expect_whole();
}

#[test]
fn r4_every_command_with_threads_says_so() {
    let Some(limited) = Limited::or_leave_out("r4_every_command_with_threads_says_so") else { return };
    let server = Server::start();
    for arguments in COMMANDS {
        let project = project(&server);
        let run = |limit| {
            let finished = Running::start(limited.command(&project.command(arguments), limit)).wait(LONG);
            assert!(!finished.stderr.contains("panicked at"), "{arguments:?}: {}", finished.stderr);
            assert!(finished.status.code().is_some(), "{arguments:?}, {limit}: {finished:?}");
            finished
        };
        let short = run(3).expect_code(3);
        let needed = needed(&short.stderr).unwrap_or_else(|| panic!("{arguments:?}: {}", short.stderr));
        if *arguments == ["run"] {
            continue;
        }
        let enough = run(needed + 1);
        assert!(matches!(enough.status.code(), Some(0 | 1)), "{arguments:?}: {enough:?}");
        assert!(enough.took < Duration::from_mins(1), "{arguments:?}");
    }
}
