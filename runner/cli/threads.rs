//! Whether the operating system gives the program its threads. Asked before anything else: later, one thread that is
//! missing is a panic in a library, or a plugin that is said to be damaged.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// What a command is going to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Runs pipelines.
    Running,
    /// Has plugins compiled, and makes one request or none.
    Compiling,
}

/// Threads a CPU of a runner: one for I/O, one for checks, one of the compiler's process.
const RUNNING_PER_CPU: usize = 3;
/// Threads of a runner beside: the engine's ticker, the freezer, what checks remember, the watcher of files, the writer
/// with its converter and its syncs, the recorder (8); two at the compiler's pipes, its process and the ticker there
/// (4); work on files that blocks, of which a reload and the end have several (4); what pipelines add, which is not
/// read yet: one for each sink beside Parquet, a bucket and `stdin`, three for each further folder of results (8, where
/// more of these are in use it is a reserve no more).
const RUNNING_BESIDE: usize = 24;
/// Threads a CPU of the other commands: one for I/O, one of the compiler's process.
const COMPILING_PER_CPU: usize = 2;
/// Threads of these beside: two tickers, two at the compiler's pipes, its process, work that blocks, one to spare.
const COMPILING_BESIDE: usize = 8;
/// What a thread of the trial has as its stack, in bytes: it does nothing.
const STACK_BYTES: usize = 64 << 10;

/// Fewer threads than the program needs.
#[derive(Debug, thiserror::Error)]
#[error(
    "only {started} threads can be started, and {needed} are needed ({per_cpu} for each of {cpus} CPUs, and {beside} \
     beside): raise the limit that holds here: ulimit -u, TasksMax of a systemd unit, or the pids limit of a container"
)]
pub(super) struct TooFewThreads {
    started: usize,
    needed: usize,
    per_cpu: usize,
    cpus: usize,
    beside: usize,
    #[source]
    reason: io::Error,
}

/// Finds out whether as many threads as that takes can be there at once, by starting them: limits hold for a user, a
/// unit and a container, and all that is there counts for each. Some 20 us a thread.
pub(super) fn enough_for(work: Work) -> Result<(), TooFewThreads> {
    let (per_cpu, beside) = match work {
        Work::Running => (RUNNING_PER_CPU, RUNNING_BESIDE),
        Work::Compiling => (COMPILING_PER_CPU, COMPILING_BESIDE),
    };
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let needed = per_cpu * cpus + beside;
    start(needed).map_err(|(started, reason)| TooFewThreads {
        started,
        needed,
        per_cpu,
        cpus,
        beside,
        reason,
    })
}

/// Has so many threads at once, and none any more when it returns. Where that fails: how many there were, and why
/// there was not another one.
fn start(wanted: usize) -> Result<(), (usize, io::Error)> {
    let gate = Mutex::new(());
    thread::scope(|scope| {
        // Whoever is started stays until this is dropped.
        let _closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
        for started in 0..wanted {
            let wait = || drop(gate.lock());
            let thread = thread::Builder::new().name("trial".to_owned()).stack_size(STACK_BYTES);
            thread.spawn_scoped(scope, wait).map_err(|reason| (started, reason))?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_were_tried_are_gone() {
        for work in [Work::Running, Work::Compiling] {
            enough_for(work).unwrap();
        }
        start(200).unwrap();
    }

    #[test]
    fn the_error_says_what_to_do() {
        let reason = io::Error::from(io::ErrorKind::WouldBlock);
        let error = TooFewThreads { started: 7, needed: 22, per_cpu: 3, cpus: 2, beside: 16, reason };
        let told = error.to_string();
        assert!(told.starts_with("only 7 threads can be started, and 22 are needed (3 for each of 2 CPUs"));
        for way in ["ulimit -u", "TasksMax", "pids limit"] {
            assert!(told.contains(way), "{told}");
        }
    }
}
