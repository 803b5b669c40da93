//! One data folder, and the kills that it goes through.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::Chance;
use super::history::{Ended, Ending, History, Kept, name_of};
use super::tally::Tally;
use super::watch::Watch;
use crate::support::{
    Finished, Guest, LONG, Project, Python, Rows, Running, SIGTERM, Server, parquet_files, read_rows,
};

/// Known to nobody but the environment, and never to be found again.
const CANARY: &str = "canary-7d1f3a90c2";
/// Between two looks at everything that was kept.
const LOOK_AFTER: u64 = 10;
/// What earlier processes left is in files by then; so is a fresh result.
const SETTLED: Duration = Duration::from_secs(10);
/// What lies between a start and its first result, on a busy machine and unoptimised.
const FRESH: Duration = Duration::from_secs(10);
const RUNNERS: [&str; 2] = ["main", "second"];
const SINKS: [&str; 2] = ["results", "each"];

/// What a batch shall do.
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) kills: u64,
    /// The longest load before a kill.
    pub(super) load: Duration,
}

/// Runs a batch; panics where an invariant is broken, and keeps the data folder then.
pub(super) fn run(python: Option<&Python>, plan: &Plan) -> Tally {
    let mut rig = Rig::new(python, plan);
    let mut looked = 0;
    while rig.tally.kills < plan.kills {
        rig.round();
        if rig.tally.kills >= looked + LOOK_AFTER && rig.tally.kills < plan.kills {
            looked = rig.tally.kills;
            rig.settle();
        }
    }
    rig.settle();
    rig.finish()
}

/// Everything that a batch needs.
struct Rig<'a> {
    plan: &'a Plan,
    chance: Chance,
    server: Server,
    project: Project,
    watch: Option<Watch>,
    history: History,
    tally: Tally,
    /// Processes so far.
    processes: usize,
}

/// A process, and its number.
struct Process {
    number: usize,
    running: Running,
}

impl Process {
    /// Kills it, or asks it to end and waits for that.
    fn end(self, ending: Ending, history: &mut History) {
        let Self { number, running } = self;
        let at = Instant::now();
        let finished = match ending {
            Ending::Killed => running.kill(),
            Ending::Clean => {
                running.signal(SIGTERM);
                running.wait(Duration::from_secs(30)).expect_code(0)
            }
        };
        expect_no_canary(&finished);
        history.add(&finished, Ended { number, ending, at });
    }
}

impl<'a> Rig<'a> {
    fn new(python: Option<&Python>, plan: &'a Plan) -> Self {
        let server = Server::start();
        let project = Project::new();
        write_pipelines(&project, &server, plan.seed);
        let folders = SINKS.map(|sink| project.data().join(sink));
        let watch = python.map(|python| Watch::start(python, &folders));
        let (chance, history, tally) = (Chance(plan.seed), History::default(), Tally::default());
        Self { plan, chance, server, project, watch, history, tally, processes: 0 }
    }

    fn start(&mut self, runner: &str) -> Process {
        self.processes += 1;
        let number = self.processes;
        let mut command = self.project.with_data(&["run", "--runner", runner]);
        command.env("CHAOS_TOKEN", CANARY).env("CHAOS_RUN", name_of(number));
        Process { number, running: Running::start(command) }
    }

    /// Starts one runner, now and then both, and kills them some time after the first request has come; one in
    /// ten once more, while it recovers.
    fn round(&mut self) {
        let runners: &[&str] = match self.chance.below(10) {
            0..=5 => &RUNNERS[..1],
            6 | 7 => &RUNNERS[1..],
            _ => &RUNNERS,
        };
        let asked = self.server.count();
        let mut running: Vec<Process> = runners.iter().map(|runner| self.start(runner)).collect();
        let server = &self.server;
        running[0].running.until(LONG, "the first request", || server.reached(asked + 1));
        std::thread::sleep(self.chance.between(Duration::ZERO, self.plan.load));
        for process in running {
            self.kill(process);
            if self.chance.below(2) == 0 {
                std::thread::sleep(self.chance.between(Duration::ZERO, Duration::from_millis(150)));
            }
        }
        if self.chance.below(10) == 0 && self.tally.kills < self.plan.kills {
            self.kill_in_recovery(runners[0]);
        }
        for sink in SINKS {
            // Panics for a foreign file.
            let _ = parquet_files(&self.project.data().join(sink));
        }
        if let Some(watch) = &self.watch {
            watch.expect_no_fault();
        }
    }

    fn kill(&mut self, process: Process) {
        process.end(Ending::Killed, &mut self.history);
        self.tally.kills += 1;
    }

    /// Its lock comes first, then what earlier processes have left.
    fn kill_in_recovery(&mut self, runner: &str) {
        let mut process = self.start(runner);
        let (lock, pid) = (self.project.state(runner).join("lock"), process.running.pid().to_string());
        process
            .running
            .until(LONG, "the lock", || (fs::read_to_string(&lock).ok()?.trim() == pid).then_some(()));
        std::thread::sleep(self.chance.between(Duration::ZERO, Duration::from_millis(100)));
        self.kill(process);
        self.tally.in_recovery += 1;
    }

    /// Lets a runner recover everything and end by itself, then holds what is kept against what was told.
    fn settle(&mut self) {
        let began = Instant::now();
        let runner = RUNNERS[self.chance.below(2) as usize];
        let mut process = self.start(runner);
        let running = &mut process.running;
        let stdout = running.stdout_reader();
        // I7.
        let run_id = running.until(FRESH, "I7: a fresh result", || first_run_id(&stdout()));
        let start_ms = began.elapsed().as_millis() as u64;
        self.tally.slowest_start_ms = self.tally.slowest_start_ms.max(start_ms);
        let data = self.project.data();
        running.until(SETTLED, "I6: files of what earlier processes left", || {
            journals(&data).iter().all(|journal| journal.contains(&run_id)).then_some(())
        });
        let recovery_ms = began.elapsed().as_millis() as u64;
        self.tally.slowest_recovery_ms = self.tally.slowest_recovery_ms.max(recovery_ms);
        running.until(SETTLED, "I7: a file of a fresh result", || {
            let fresh = |path: &PathBuf| path.to_string_lossy().contains(&run_id);
            SINKS.iter().all(|sink| parquet_files(&data.join(sink)).iter().any(fresh)).then_some(())
        });
        process.end(Ending::Clean, &mut self.history);
        self.look();
    }

    /// Holds everything against everything, while no runner is there.
    fn look(&mut self) {
        let data = self.project.data();
        for rest in ["journal", "tmp", "quarantine"] {
            let left = files_in(&data.join("state"), rest);
            assert!(left.is_empty(), "I6: left in {rest}: {left:?}");
        }
        let mut rows = Rows::default();
        for sink in SINKS {
            let Rows { probes, checks } = read_rows(&data.join(sink));
            rows.probes.extend(probes);
            rows.checks.extend(checks);
        }
        let Kept { rows: kept, told, holes } = self.history.expect_kept(&rows, &self.server.requests());
        (self.tally.rows, self.tally.told, self.tally.holes) = (kept, told, holes);
        self.tally.requests = self.server.count() as u64;
        if let Some(watch) = &mut self.watch {
            // A name for each time: what was said of the last one still stands there.
            let place = self.project.path().join(format!("read-{}", self.tally.kills));
            for (reader, read) in ["DuckDB", "pyarrow"].into_iter().zip(watch.rows(&place)) {
                expect_same(reader, &rows, &read);
            }
            watch.expect_no_fault();
        }
        self.expect_checksums();
        self.expect_no_secret(&rows);
    }

    /// Every file has its checksum in the state of some runner.
    fn expect_checksums(&self) {
        let data = self.project.data();
        let lists = files_in(&data.join("state"), "checksums");
        for sink in SINKS {
            let results = data.join(sink);
            let of_sink = |list: &&PathBuf| list.to_string_lossy().contains("/sinks/") == (sink != "results");
            let lists: Vec<_> =
                lists.iter().filter(of_sink).map(|list| fs::read_to_string(list).unwrap()).collect();
            for path in parquet_files(&results) {
                let checksum = format!("{:016x}", twox_hash::XxHash3_64::oneshot(&fs::read(&path).unwrap()));
                let place = path.strip_prefix(&results).unwrap().display().to_string();
                // The last line of a path counts.
                let mut noted =
                    lists.iter().filter_map(|list| list.lines().rfind(|line| line.ends_with(&place)));
                let right = noted.any(|line| line.starts_with(&checksum));
                assert!(right, "I3: {checksum} is in no list of checksums: {}", path.display());
            }
        }
    }

    /// I8: the token was sent and came back, and stands nowhere.
    fn expect_no_secret(&self, rows: &Rows) {
        let sent =
            |request: &crate::support::Request| request.headers.iter().any(|line| line.ends_with(CANARY));
        assert!(self.server.requests().iter().any(sent), "the canary was not sent");
        let echoes: Vec<_> =
            rows.probes.iter().filter_map(|row| row["response_headers"].get("x-echo")).collect();
        assert!(!echoes.is_empty(), "no row has what came back");
        for row in rows.probes.iter().chain(&rows.checks) {
            let text = serde_json::Value::from(row.clone()).to_string();
            assert!(!text.contains(CANARY), "I8: {text}");
        }
        for path in all_files(&self.project.data()) {
            let bytes = fs::read(&path).unwrap();
            let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
            assert!(!found, "I8: {}", path.display());
        }
    }

    fn finish(mut self) -> Tally {
        if let Some(watch) = self.watch.take() {
            self.tally.reads = watch.end();
        }
        self.tally.clone()
    }
}

/// Keeps what a failure left.
impl Drop for Rig<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{}", self.plan.seed));
            let copied = Command::new("cp").arg("-a").arg(self.project.path()).arg(&place).status();
            println!("the project folder is kept as {} ({copied:?})", place.display());
        }
    }
}

/// Three pipelines, two folders: a site in moods; the same with each batch forced to the disk, and a secret
/// that comes back; plugins that are good, loop and trap.
fn write_pipelines(project: &Project, server: &Server, seed: u64) {
    let targets = |names: &[String]| -> String {
        names.iter().map(|path| format!("  \"{}\",\n", server.url(path))).collect()
    };
    let moods = |part: &str, count: u64| -> Vec<String> {
        (0..count).map(|n| format!("/mood/{seed}/{part}{n}")).collect()
    };
    let sink = |path: &str, fsync: &str| {
        format!(
            "[[sinks]]\ntype = \"parquet\"\npath = \"{path}\"\n{fsync}\
             rotate = {{ every = \"1s\", rows = 60, size = \"128KiB\" }}\n\
             [[sinks]]\ntype = \"stdout\"\nformat = \"json\"\n"
        )
    };
    let request = "[request]\ntimeout = \"2s\"\nresponse_headers = [\"x-nonce\", \"x-echo\"]\n\
                   headers = { x-run = { env = \"CHAOS_RUN\" } }\n";
    let shop = format!(
        "[schedule]\nevery = \"200ms\"\n{request}[[sources]]\ntargets = [\n{}]\n{}",
        targets(&moods("a", 12)),
        sink("results", "")
    );
    let mut echoing = moods("b", 4);
    echoing.push("/echo/b".to_owned());
    let each = format!(
        "[schedule]\nevery = \"250ms\"\n{request}auth = {{ bearer = {{ env = \"CHAOS_TOKEN\" }} }}\n\
         [[sources]]\ntargets = [\n{}]\n{}",
        targets(&echoing),
        sink("each", "fsync = \"each\"\n")
    );
    let plugins = format!(
        "[schedule]\nevery = \"500ms\"\n{request}[[sources]]\ntargets = [\n{}]\n\
         [[checks]]\nplugin = \"good.wasm\"\n[[checks]]\nplugin = \"loop.wasm\"\nlimits = {{ time = \"10ms\" }}\n\
         [[checks]]\nplugin = \"trap.wasm\"\n{}",
        targets(&moods("c", 3)),
        sink("results", "")
    );
    for (name, text) in [("shop", shop), ("each", each), ("plugins", plugins)] {
        project.write(&format!("pipelines/{name}.toml"), text);
    }
    let looping = Guest { run: "(loop $ever (br $ever)) unreachable", ..Guest::PLAIN };
    let trapping = Guest { run: "unreachable", ..Guest::PLAIN };
    for (name, guest) in [("good", Guest::PLAIN), ("loop", looping), ("trap", trapping)] {
        project.write(&format!("pipelines/{name}.wasm"), guest.component());
    }
}

pub(super) fn first_run_id(stdout: &str) -> Option<String> {
    let line = stdout.split_inclusive('\n').next().filter(|line| line.ends_with('\n'))?;
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    line["run_id"].as_str().map(str::to_owned)
}

fn journals(data: &Path) -> Vec<String> {
    files_in(&data.join("state"), "journal").iter().map(|path| path.display().to_string()).collect()
}

/// The files below `folder` that bear this name, or lie in a folder of this name.
pub(super) fn files_in(folder: &Path, name: &str) -> Vec<PathBuf> {
    let named = |path: &PathBuf| path.iter().rev().take(2).any(|part| part == name);
    all_files(folder).into_iter().filter(named).collect()
}

/// Every file below a folder; one that vanishes meanwhile is none.
pub(super) fn all_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { files.extend(all_files(&path)) } else { files.push(path) }
    }
    files
}

fn expect_no_canary(finished: &Finished) {
    assert!(!finished.stdout.contains(CANARY) && !finished.stderr.contains(CANARY), "I8: {finished:?}");
    assert!(!finished.stderr.contains("panicked"), "a panic\n{}", finished.stderr);
}

/// Asserts that a reader reads the same rows, in every column.
fn expect_same(reader: &str, rows: &Rows, read: &Rows) {
    let sorted = |rows: &[crate::support::Row]| -> Vec<String> {
        let mut texts: Vec<String> =
            rows.iter().map(|row| serde_json::Value::from(row.clone()).to_string()).collect();
        texts.sort_unstable();
        texts
    };
    for (table, ours, theirs) in
        [("probes", &rows.probes, &read.probes), ("checks", &rows.checks, &read.checks)]
    {
        let (ours, theirs) = (sorted(ours), sorted(theirs));
        assert_eq!(ours.len(), theirs.len(), "I2: rows of {table} as {reader} reads them");
        let other = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
        assert_eq!(other, None, "I3: {table} as {reader} reads them");
    }
}
