//! One call that is hit, and what has to be true afterwards.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::super::batch::{all_files, files_in, first_run_id};
use super::super::history::{Ended, Ending, History};
use super::preload::{Calls, Preload, noted, traced};
use crate::support::{LONG, Project, Rows, Running, SIGTERM, Server, parquet_files, read_rows};

const SINKS: [&str; 2] = ["results", "each"];
/// Results that a run tells of before it is asked to end: some files of its own by then.
const ENOUGH: usize = 8;
/// How long a run may take for them when something fails again and again.
const PATIENCE: Duration = Duration::from_secs(3);

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum How {
    /// The process is killed before it.
    Kill,
    /// The process is killed when half of it is written.
    Torn,
    /// It fails, once.
    Eio,
    /// It and the next two of its kind fail.
    Enospc,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kill",
            Self::Torn => "torn",
            Self::Eio => "EIO",
            Self::Enospc => "ENOSPC x 3",
        })
    }
}

/// What killed runners left, and where more are run.
pub(super) struct Template {
    project: Project,
    /// Answers as long as this lives.
    _server: Server,
    history: History,
}

impl Template {
    /// Two runners are killed, both with journals that are not converted; something is on its way, too.
    pub(super) fn make() -> Self {
        let server = Server::start();
        let project = Project::new();
        for (name, count, fsync) in [("results", 3, ""), ("each", 2, "fsync = \"each\"\n")] {
            let targets: String =
                (0..count).map(|n| format!("  \"{}\",\n", server.url(&format!("/ok/{name}{n}")))).collect();
            project.write(
                &format!("pipelines/{name}.toml"),
                format!(
                    "[schedule]\nevery = \"100ms\"\n[request]\ntimeout = \"90ms\"\n[[sources]]\ntargets = [\n{targets}]\n\
                     [[sinks]]\ntype = \"parquet\"\npath = \"{name}\"\n{fsync}rotate = {{ every = \"1s\", rows = 5 }}\n\
                     [[sinks]]\ntype = \"stdout\"\nformat = \"json\"\n"
                ),
            );
        }
        let mut template = Self { project, _server: server, history: History::default() };
        for runner in ["second", "main"] {
            let left = |template: &Self, sink: &str| {
                let state = template.project.state(runner);
                let state = if sink == "results" { state } else { state.join("sinks").join(sink) };
                !all_files(&state.join("journal")).is_empty()
            };
            // A kill may come just when nothing is in a journal.
            while SINKS.iter().any(|sink| !left(&template, sink)) {
                let mut running = start(&template.project, runner, |_| {});
                let stdout = running.stdout_reader();
                running.until(LONG, "some results", || (lines(&stdout()) >= ENOUGH).then_some(()));
                template.history.add(&running.kill(), ended(Ending::Killed));
            }
        }
        template.project.write("data/state/main/tmp/probes-stray.parquet", "PAR1");
        template
    }

    fn copy(&self) -> Project {
        let project = Project::new();
        let copied =
            Command::new("cp").arg("-a").arg(self.project.path().join(".")).arg(project.path()).status();
        assert!(copied.is_ok_and(|status| status.success()));
        project
    }

    /// How many calls of each kind a run makes.
    pub(super) fn calls(&self, preload: &Preload) -> Calls {
        let project = self.copy();
        let log = project.path().join("calls");
        let running = start(&project, "main", |command| preload.put_before(command, &project.data(), &log));
        run_a_while(running, &project).expect_code(0);
        noted(&fs::read_to_string(log).unwrap())
    }

    /// The same of a run that ends by itself, as it is counted and as strace sees it; none without strace.
    pub(super) fn both_views(&self, preload: &Preload) -> Option<(Calls, Calls)> {
        let project = self.copy();
        let (data, log, trace) = (project.data(), project.path().join("calls"), project.path().join("trace"));
        let mut strace = preload.through_strace(&data, &log, &trace);
        let program = project.with_data(&["run", "--once"]);
        strace.arg(program.get_program()).args(program.get_args()).current_dir(project.path());
        let finished = strace.output().ok()?;
        if !finished.status.success() {
            println!("{}", String::from_utf8_lossy(&finished.stderr));
            return None;
        }
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        Some((noted(&read(&log)), traced(&read(&trace), &data)))
    }
}

/// One call, and what happens to it.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) call: &'static str,
    number: u64,
    pub(super) how: How,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} {}", self.how, self.call, self.number)
    }
}

/// What came of it.
pub(super) struct Outcome {
    project: Project,
    /// Whether the call was reached.
    pub(super) hit: bool,
    /// Whether the run went on, and ended well when it was asked to.
    pub(super) went_on: bool,
}

impl Outcome {
    /// The results, for readers.
    pub(super) fn folders(&self) -> impl Iterator<Item = PathBuf> {
        SINKS.map(|sink| self.project.data().join(sink)).into_iter()
    }
}

impl Case {
    /// All cases of a run that makes so many calls.
    pub(super) fn all(calls: &Calls) -> Vec<Self> {
        let mut cases = Vec::new();
        for (call, count) in calls {
            for number in 1..=*count {
                let hows = [How::Kill, How::Torn, How::Eio, How::Enospc];
                let possible = hows.into_iter().filter(|how| *how != How::Torn || *call == "write");
                cases.extend(possible.map(|how| Self { call, number, how }));
            }
        }
        cases
    }

    /// Runs it in a copy of the template; panics where something is not as it must be.
    pub(super) fn run(&self, template: &Template, preload: &Preload) -> Outcome {
        let project = template.copy();
        let log = project.path().join("calls");
        let mut history = template.history.clone();
        let running = start(&project, "main", |command| {
            preload.put_before(command, &project.data(), &log);
            self.aim(command);
        });
        let finished = run_a_while(running, &project);
        let log = fs::read_to_string(log).unwrap_or_default();
        let hit = log.lines().any(|line| line.starts_with("hit "));
        let went_on = finished.status.code() == Some(0);
        let shown = format!("{}\n{}", finished.status, finished.stderr);
        assert!(!finished.stderr.contains("panicked"), "a panic: {shown}");
        let killed = matches!(self.how, How::Kill | How::Torn) && hit;
        assert_eq!(finished.status.code().is_none(), killed, "it ended by {shown}");
        assert!(hit || went_on, "nothing was hit, and it ended by {shown}");
        expect_no_second_sync(&log);
        history.add(&finished, ended(if went_on { Ending::Clean } else { Ending::Killed }));
        // Whatever can be seen before the next start can be read.
        let _ = rows(&project);

        let again = project.path().join("calls-again");
        let mut running =
            start(&project, "main", |command| preload.put_before(command, &project.data(), &again));
        let stdout = running.stdout_reader();
        let run_id = running.until(LONG, "I7: a fresh result", || first_run_id(&stdout()));
        running.until(LONG, "I6: files of what earlier processes left", || {
            let journals = files_in(&project.data().join("state"), "journal");
            journals.iter().all(|path| path.to_string_lossy().contains(&run_id)).then_some(())
        });
        running.signal(SIGTERM);
        history.add(&running.wait(LONG).expect_code(0), ended(Ending::Clean));
        for rest in ["journal", "tmp", "quarantine"] {
            let left = files_in(&project.data().join("state"), rest);
            assert!(left.is_empty(), "I6: left in {rest}: {left:?}; {shown}");
        }
        history.expect_rows(&rows(&project));
        for log in [log, fs::read_to_string(again).unwrap()] {
            expect_order(&log, &project.data());
        }
        Outcome { project, hit, went_on }
    }

    fn aim(&self, command: &mut Command) {
        let (how, times) = match self.how {
            How::Kill => ("kill".to_owned(), 1),
            How::Torn => ("torn".to_owned(), 1),
            How::Eio => (Errno::IO.raw_os_error().to_string(), 1),
            How::Enospc => (Errno::NOSPC.raw_os_error().to_string(), 3),
        };
        command
            .env("PROBITY_FAULT_CALL", self.call)
            .env("PROBITY_FAULT_AT", self.number.to_string())
            .env("PROBITY_FAULT_TIMES", times.to_string())
            .env("PROBITY_FAULT_HOW", how);
    }
}

fn start(project: &Project, runner: &str, prepare: impl FnOnce(&mut Command)) -> Running {
    let mut command = project.with_data(&["run", "--runner", runner]);
    prepare(&mut command);
    Running::start(command)
}

/// Of a process whose requests are not asked for.
fn ended(ending: Ending) -> Ended {
    Ended { number: 0, ending, at: Instant::now() }
}

fn lines(stdout: &str) -> usize {
    stdout.bytes().filter(|byte| *byte == b'\n').count()
}

/// Lets it run until it has told of enough and converted what was left, or until patience is over (an error may
/// come again and again) or it has ended by itself; then asks it to end.
fn run_a_while(mut running: Running, project: &Project) -> crate::support::Finished {
    let stdout = running.stdout_reader();
    let began = Instant::now();
    let mut first = None;
    while running.is_running() && first.is_none_or(|first: Instant| first.elapsed() < PATIENCE) {
        assert!(began.elapsed() < LONG, "nothing was told\n{}", running.stderr());
        let told = stdout();
        if let Some(run_id) = first_run_id(&told) {
            first.get_or_insert_with(Instant::now);
            let journals = files_in(&project.data().join("state"), "journal");
            let converted = journals.iter().all(|path| path.to_string_lossy().contains(&run_id));
            if converted && lines(&told) >= ENOUGH {
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    running.signal(SIGTERM);
    running.wait(LONG)
}

fn rows(project: &Project) -> Rows {
    let mut rows = Rows::default();
    for sink in SINKS {
        let folder = project.data().join(sink);
        // Panics for a foreign file.
        let _ = parquet_files(&folder);
        let Rows { probes, checks } = read_rows(&folder);
        rows.probes.extend(probes);
        rows.checks.extend(checks);
    }
    rows
}

/// A file whose sync has failed is never synced again: the kernel may have dropped what it could not write.
/// To the list of checksums the same line is appended anew, which makes the page whole again.
fn expect_no_second_sync(log: &str) {
    let again = log.lines().find(|line| line.starts_with("again ") && !line.ends_with("/checksums"));
    assert_eq!(again, None, "synced again after a failure");
}

/// A file is on the disk before it is visible, and its name before the journal that it comes of goes. A kill does
/// not tell whether that is so, since the system goes on and writes everything; the order of the calls does.
fn expect_order(log: &str, data: &Path) {
    let calls = calls_that_happened(log);
    let files: Vec<PathBuf> = SINKS.iter().flat_map(|sink| parquet_files(&data.join(sink))).collect();
    for (at, (call, path)) in calls.iter().enumerate() {
        let last = |wanted: &str, place: &Path| {
            calls[..at].iter().rposition(|(call, path)| *call == wanted && Path::new(path) == place)
        };
        let path = Path::new(path);
        if *call == "rename" && path.extension().is_some_and(|extension| extension == "parquet") {
            assert!(
                last("fsync", path) > last("write", path),
                "visible before it is on the disk: {}",
                path.display()
            );
        }
        if *call != "unlink" || path.extension().is_none_or(|extension| extension != "journal") {
            continue;
        }
        let segment = path.file_stem().unwrap().to_str().unwrap();
        // Both folders have segments of one name, with their files on their way beside their journals.
        let state = path.parent().and_then(Path::parent).unwrap();
        let sink = data.join(SINKS[usize::from(path.iter().any(|part| part == "sinks"))]);
        let made =
            files.iter().filter(|file| file.starts_with(&sink) && file.to_string_lossy().contains(segment));
        for file in made {
            // Where it was made by an earlier process, that may have died before its name was on the disk.
            let staged = last("rename", &state.join("tmp").join(file.file_name().unwrap()));
            let named = last("fsync", file.parent().unwrap());
            assert!(
                named.is_some() && named > staged,
                "its name may not be on the disk when the journal goes: {}",
                file.display()
            );
        }
    }
}

/// Calls and paths, without the call that was hit: the line after it says so.
fn calls_that_happened(log: &str) -> Vec<(&str, &str)> {
    let lines: Vec<&str> = log.lines().collect();
    let hit = |at: usize| lines.get(at + 1).is_some_and(|next| next.strip_prefix("hit ") == Some(lines[at]));
    let words = |line: &'_ str| -> Option<(usize, usize)> {
        let call = line.find(' ')?;
        Some((call, call + 1 + line[call + 1..].find(' ')? + 1))
    };
    let happened = (0..lines.len()).filter(|at| !hit(*at));
    happened
        .filter_map(|at| words(lines[at]).map(|(call, path)| (&lines[at][..call], &lines[at][path..])))
        .collect()
}
