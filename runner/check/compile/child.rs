//! The compiler's process: its limits, and what is said over its pipes.
//!
//! To the child: a line of JSON with the job, then the plugin's bytes. From it: a line of JSON with the
//! outcome, then machine code.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, setpriority_process, setrlimit};
use serde::{Deserialize, Serialize};

use super::FreezeError;
use super::job::{Job, Outcome, Product};
use crate::check::engine::CheckEngine;
use crate::check::preflight::{LoadError, PLUGIN_BYTES_MAX};

/// The program's hidden command that makes it a compiler's process.
pub const COMPILE_COMMAND: &str = "compile-plugin";

/// Machine code is at most this many times the plugin: 16 was seen, of a plugin of 6 KB.
const PRODUCT_BYTES_MAX: u64 = 16 * PLUGIN_BYTES_MAX as u64;
/// The line of JSON before the bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// The child yields to whatever else runs on the machine.
const NICENESS: i32 = 10;

/// What a compilation may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompileLimits {
    /// Address space, in bytes. 4 GiB by default; a plugin of 18 MB with the Python interpreter takes
    /// less than half of it.
    pub memory_bytes: u64,
    /// CPU time of all threads, in seconds. 120 by default.
    pub cpu_seconds: u64,
    /// Wall time. Three minutes by default.
    pub wall: Duration,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self { memory_bytes: 4 << 30, cpu_seconds: 120, wall: Duration::from_mins(3) }
    }
}

/// Why a child process gave no outcome.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChildError {
    /// There is no child.
    #[error("needs a process of its own, which cannot be started: {0}")]
    NotStarted(#[source] io::Error),
    /// It took too long.
    #[error("takes longer than the {0} s that are allowed")]
    Wall(u64),
    /// It used too much CPU time.
    #[error("takes more than the {0} s of CPU time that are allowed")]
    Cpu(u64),
    /// It ended without an answer: the usual reason is memory.
    #[error("ended with {status}: it needs more than the {} MiB of memory that are allowed, or than there is", .memory_bytes >> 20)]
    Died {
        /// How it ended.
        status: String,
        /// The limit that it had.
        memory_bytes: u64,
    },
}

impl ChildError {
    /// Whether it is this machine that has no child to give, whatever the bytes are.
    pub(super) fn was_not_started(&self) -> bool {
        matches!(self, Self::NotStarted(_))
    }
}

/// What the parent says first.
#[derive(Debug, Serialize, Deserialize)]
struct Request<J> {
    job: J,
    limits: CompileLimits,
}

/// What the child says first.
#[derive(Debug, Serialize, Deserialize)]
enum Reply {
    Done,
    Refused(LoadError),
    NotFrozen(FreezeError),
}

/// Has a child process do a job. Blocks until it has ended.
pub(super) fn perform(
    program: &Path,
    limits: CompileLimits,
    job: &Job,
    wasm: &[u8],
) -> Result<Outcome, ChildError> {
    let mut line = serde_json::to_vec(&Request { job, limits })
        .map_err(|error| ChildError::NotStarted(io::Error::other(error)))?;
    line.push(b'\n');
    let mut child = Command::new(program)
        .arg(COMPILE_COMMAND)
        // It needs none of the environment, which may hold secrets.
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(ChildError::NotStarted)?;
    let answer = converse(&mut child, &line, wasm, limits.wall);
    if answer.is_none() {
        // It may have ended by itself by now; then there is nothing to kill.
        let _ = child.kill();
    }
    let status = child.wait().map_err(ChildError::NotStarted)?;
    match answer {
        None => Err(ChildError::Wall(limits.wall.as_secs())),
        Some(said) => said.and_then(|said| read_answer(&said)).ok_or_else(|| died(status, limits)),
    }
}

/// Gives the child its job and reads all that it says; `None` when it took too long, `Some(None)` when
/// reading failed.
#[allow(clippy::option_option, reason = "two different ways of having no answer")]
fn converse(child: &mut Child, line: &[u8], wasm: &[u8], wall: Duration) -> Option<Option<Vec<u8>>> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    thread::scope(|scope| {
        let write = move || {
            // A child that died does not read: its end says why.
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(line).and_then(|()| stdin.write_all(wasm));
            }
        };
        let (answer, answered) = mpsc::sync_channel(1);
        let read = move || {
            let mut said = Vec::new();
            let read = stdout.map(|stdout| stdout.take(PRODUCT_BYTES_MAX).read_to_end(&mut said));
            let _ = answer.send(matches!(read, Some(Ok(_))).then_some(said));
        };
        let named = |name: &str| thread::Builder::new().name(name.into());
        let started = named("compile-write").spawn_scoped(scope, write).is_ok()
            && named("compile-read").spawn_scoped(scope, read).is_ok();
        if !started {
            let _ = child.kill();
            return Some(None);
        }
        match answered.recv_timeout(wall) {
            Ok(said) => Some(said),
            Err(RecvTimeoutError::Timeout) => {
                // Closes the pipes, so that the two threads end.
                let _ = child.kill();
                None
            }
            Err(RecvTimeoutError::Disconnected) => Some(None),
        }
    })
}

fn read_answer(said: &[u8]) -> Option<Outcome> {
    let end = said.iter().position(|byte| *byte == b'\n')?;
    let (line, code) = said.split_at(end + 1);
    match serde_json::from_slice(line).ok()? {
        Reply::Done if code.is_empty() => None,
        Reply::Done => Some(Outcome::Done(Product(code.to_vec()))),
        Reply::Refused(error) => Some(Outcome::Refused(error)),
        Reply::NotFrozen(error) => Some(Outcome::NotFrozen(error)),
    }
}

fn died(status: ExitStatus, limits: CompileLimits) -> ChildError {
    use std::os::unix::process::ExitStatusExt as _;
    match status.signal() {
        Some(signal) if signal == Signal::XCPU.as_raw() => ChildError::Cpu(limits.cpu_seconds),
        Some(signal) => {
            ChildError::Died { status: format!("signal {signal}"), memory_bytes: limits.memory_bytes }
        }
        None => ChildError::Died {
            status: format!("exit code {}", status.code().unwrap_or_default()),
            memory_bytes: limits.memory_bytes,
        },
    }
}

/// The child's life: limits itself, reads a job, does it, answers. An error means that nobody is
/// there to talk to, or that this machine cannot run WebAssembly.
pub fn serve_compilation(input: impl Read, mut output: impl Write) -> io::Result<()> {
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    let Request { job, limits } = serde_json::from_slice::<Request<Job>>(&line)?;
    limit_this_process(limits)?;
    let mut wasm = Vec::new();
    input.take(PLUGIN_BYTES_MAX as u64 + 1).read_to_end(&mut wasm)?;
    let engine = CheckEngine::for_compiling().map_err(io::Error::other)?;
    let (reply, code) = match job.perform(&engine, &wasm) {
        Outcome::Done(Product(code)) => (Reply::Done, code),
        Outcome::Refused(error) => (Reply::Refused(error), Vec::new()),
        Outcome::NotFrozen(error) => (Reply::NotFrozen(error), Vec::new()),
    };
    serde_json::to_writer(&mut output, &reply)?;
    output.write_all(b"\n")?;
    output.write_all(&code)?;
    output.flush()
}

fn limit_this_process(limits: CompileLimits) -> io::Result<()> {
    let hard = |most: u64| Rlimit { current: Some(most), maximum: Some(most) };
    setrlimit(Resource::As, hard(limits.memory_bytes))?;
    // The second one is for a process that does not end at the first: then the kernel kills it.
    let cpu = Rlimit { current: Some(limits.cpu_seconds), maximum: Some(limits.cpu_seconds + 1) };
    setrlimit(Resource::Cpu, cpu)?;
    setrlimit(Resource::Core, hard(0))?;
    // Images of memories are files without a name, as long as the memory.
    setrlimit(Resource::Fsize, hard(limits.memory_bytes))?;
    // Yielding is a courtesy: without it, the work is done all the same.
    let _ = setpriority_process(None, NICENESS);
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}
