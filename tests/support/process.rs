//! The binary, running: its output is read as it comes, and it never outlives its test.

use std::io::Read;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::until;

/// Asks to stop.
pub(crate) const SIGTERM: Signal = Signal::TERM;
/// Ctrl-C.
pub(crate) const SIGINT: Signal = Signal::INT;
/// No chance to say goodbye.
pub(crate) const SIGKILL: Signal = Signal::KILL;

/// What a process has written so far.
#[derive(Debug, Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    /// Reads `from` to its end, on a thread of its own.
    fn follow(&self, mut from: impl Read + Send + 'static) -> JoinHandle<()> {
        let into = Arc::clone(&self.0);
        std::thread::spawn(move || {
            let mut part = [0_u8; 16 * 1_024];
            while let Ok(length @ 1..) = from.read(&mut part) {
                into.lock().unwrap().extend_from_slice(&part[..length]);
            }
        })
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// A running process. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    stdout: Output,
    stderr: Output,
    readers: Vec<JoinHandle<()>>,
    started: Instant,
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// Data.
    pub(crate) stdout: String,
    /// Everything else.
    pub(crate) stderr: String,
    /// When it was started.
    pub(crate) began: Instant,
    /// From its start to its end.
    pub(crate) took: Duration,
}

/// `command` as the last arguments of `wrapper`, in the command's own folder and environment.
pub(crate) fn wrapped(mut wrapper: Command, command: &Command) -> Command {
    wrapper.arg(command.get_program()).args(command.get_args());
    wrapper.current_dir(command.get_current_dir().expect("the project's folder")).env_clear();
    wrapper.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    wrapper
}

impl Running {
    /// Starts `command`, its output captured.
    pub(crate) fn start(mut command: Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (stdout, stderr) = (Output::default(), Output::default());
        let readers = vec![
            stdout.follow(child.stdout.take().expect("stdout is piped")),
            stderr.follow(child.stderr.take().expect("stderr is piped")),
        ];
        Self { child, stdout, stderr, readers, started: Instant::now() }
    }

    /// Starts `command` with a pipe to write to; its end is the pipe's.
    pub(crate) fn start_with_pipe(mut command: Command) -> (Self, ChildStdin) {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let pipe = child.stdin.take().expect("stdin is piped");
        let (stdout, stderr) = (Output::default(), Output::default());
        let readers = vec![
            stdout.follow(child.stdout.take().expect("stdout is piped")),
            stderr.follow(child.stderr.take().expect("stderr is piped")),
        ];
        (Self { child, stdout, stderr, readers, started: Instant::now() }, pipe)
    }

    /// Starts `command` with a stdout that nobody reads: its first write meets a closed pipe.
    pub(crate) fn start_without_reader(mut command: Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        drop(child.stdout.take());
        let stderr = Output::default();
        let readers = vec![stderr.follow(child.stderr.take().expect("stderr is piped"))];
        Self { child, stdout: Output::default(), stderr, readers, started: Instant::now() }
    }

    /// Starts `command` with a log that nobody reads: its first line meets a closed pipe.
    pub(crate) fn start_without_log_reader(mut command: Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        drop(child.stderr.take());
        let stdout = Output::default();
        let readers = vec![stdout.follow(child.stdout.take().expect("stdout is piped"))];
        Self { child, stdout, stderr: Output::default(), readers, started: Instant::now() }
    }

    /// Starts `command` with a stdout that is open and never read: its pipe fills, and writing blocks.
    pub(crate) fn start_without_draining(mut command: Command) -> (Self, ChildStdout) {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let held = child.stdout.take().expect("stdout is piped");
        let stderr = Output::default();
        let readers = vec![stderr.follow(child.stderr.take().expect("stderr is piped"))];
        (Self { child, stdout: Output::default(), stderr, readers, started: Instant::now() }, held)
    }

    /// The process's id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stdout so far.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has written to stderr so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Reads what it has written to stderr so far, while something else waits for the process.
    pub(crate) fn stderr_reader(&self) -> impl Fn() -> String + use<> {
        let stderr = self.stderr.clone();
        move || stderr.text()
    }

    /// The same for stdout.
    pub(crate) fn stdout_reader(&self) -> impl Fn() -> String + use<> {
        let stdout = self.stdout.clone();
        move || stdout.text()
    }

    /// Sends a signal. A process that has ended already is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child is ours").is_none()
    }

    /// Waits for a condition of the test's own, and says what the process wrote where it fails to come
    /// or where the process ends first.
    pub(crate) fn until<T>(
        &mut self,
        deadline: Duration,
        what: &str,
        mut condition: impl FnMut() -> Option<T>,
    ) -> T {
        let begin = Instant::now();
        loop {
            if let Some(value) = condition() {
                return value;
            }
            let ended = !self.is_running();
            if ended || begin.elapsed() > deadline {
                let state = if ended { "the process has ended" } else { "not in time" };
                panic!("{what}: {state}\nstdout: {}\nstderr: {}", self.stdout(), self.stderr());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it has written `part` to stdout.
    pub(crate) fn until_stdout_has(&mut self, deadline: Duration, part: &str) {
        let stdout = self.stdout.clone();
        self.until(deadline, part, || stdout.text().contains(part).then_some(()));
    }

    /// Waits until it has written `part` to stderr.
    pub(crate) fn until_stderr_has(&mut self, deadline: Duration, part: &str) {
        let stderr = self.stderr.clone();
        self.until(deadline, part, || stderr.text().contains(part).then_some(()));
    }

    /// Waits for its end. Panics, with what it wrote, when it has not ended after `deadline`.
    pub(crate) fn wait(mut self, deadline: Duration) -> Finished {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                break status;
            }
            let (stdout, stderr) = (self.stdout(), self.stderr());
            assert!(
                begin.elapsed() < deadline,
                "no end within {deadline:?}\nstdout: {stdout}\nstderr: {stderr}"
            );
            std::thread::sleep(Duration::from_millis(5));
        };
        let took = self.started.elapsed();
        for reader in self.readers.drain(..) {
            until(Duration::from_secs(10), "the end of the output", || reader.is_finished().then_some(()));
        }
        Finished { status, stdout: self.stdout(), stderr: self.stderr(), began: self.started, took }
    }

    /// Kills it without warning and waits: what it wrote until then.
    pub(crate) fn kill(self) -> Finished {
        self.signal(SIGKILL);
        self.wait(Duration::from_secs(30))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// Asserts the exit code; shows everything where it is another.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        let (status, stdout, stderr) = (self.status, &self.stdout, &self.stderr);
        assert_eq!(status.code(), Some(code), "{status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
        assert!(!stderr.contains("panicked"), "a panic\n{stderr}");
        self
    }

    /// The JSON objects on stdout, a line each. A last line without its end was never said.
    pub(crate) fn json_lines(&self) -> Vec<serde_json::Map<String, serde_json::Value>> {
        let whole = self.stdout.rfind('\n').map_or("", |end| &self.stdout[..end]);
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        whole.lines().map(parse).collect()
    }
}
