//! Hostile components by the thousand: `cargo bench --bench components -- --from 0 --minutes 30`.
//!
//! Each seed gives one component, which is loaded and judges through the real host (`tests/hostile`). Seeds
//! are tried in processes of their own, so that one that kills or hangs the host is named, and the others
//! go on. The last line says where the next run begins.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a tool for developers: it prints, and measures real time"
)]

#[path = "../hostile/components/mod.rs"]
mod hostile_components;
#[path = "../support/wat_guest.rs"]
mod wat_guest;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use hostile_components::Trial;

/// A seed that takes longer hangs.
const HANGS_AFTER: Duration = Duration::from_mins(2);
/// A good check is called after so many.
const SOUND_EVERY: u64 = 100;
/// The argument that makes this program one of its own workers.
const WORKER: &str = "--worker";

/// What is asked for.
struct Wanted {
    from: u64,
    minutes: f64,
    count: u64,
    workers: usize,
}

impl Wanted {
    fn of_arguments() -> Result<Self, String> {
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut wanted = Self { from: 0, minutes: 1.0, count: u64::MAX, workers: cores };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            // Cargo's own.
            if name == "--bench" {
                continue;
            }
            let value = arguments.next().unwrap_or_default();
            let wrong = || format!("{name} \"{value}\": not a number");
            match name.as_str() {
                "--from" => wanted.from = value.parse().map_err(|_| wrong())?,
                "--minutes" => wanted.minutes = value.parse().map_err(|_| wrong())?,
                "--count" => wanted.count = value.parse().map_err(|_| wrong())?,
                "--workers" => wanted.workers = value.parse().map_err(|_| wrong())?,
                _ => return Err("usage: --from SEED --minutes N --count N --workers N".into()),
            }
        }
        Ok(wanted)
    }
}

/// What has come of all seeds so far.
#[derive(Default)]
struct Sum {
    ended: BTreeMap<String, u64>,
    slowest_call: (u64, u64),
    slowest_seed: (u64, u64),
    faults: Vec<String>,
    memory: Vec<String>,
}

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == WORKER) {
        work();
        return ExitCode::SUCCESS;
    }
    let wanted = match Wanted::of_arguments() {
        Ok(wanted) => wanted,
        Err(problem) => {
            println!("{problem}");
            return ExitCode::from(2);
        }
    };
    let (began, sum) = (Instant::now(), Mutex::new(Sum::default()));
    let next = AtomicU64::new(wanted.from);
    let deadline = began + Duration::from_secs_f64(wanted.minutes * 60.0);
    let last = wanted.from.saturating_add(wanted.count);
    thread::scope(|scope| {
        for number in 0..wanted.workers {
            let (sum, next) = (&sum, &next);
            scope.spawn(move || drive(number, sum, || take(next, last, deadline)));
        }
    });
    let end = next.load(Ordering::Relaxed).min(last);
    print(&wanted, end, began.elapsed(), &sum.into_inner().unwrap())
}

/// The next seed, if there is time for one more.
fn take(next: &AtomicU64, last: u64, deadline: Instant) -> Option<u64> {
    if Instant::now() >= deadline {
        return None;
    }
    Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < last)
}

fn print(wanted: &Wanted, end: u64, took: Duration, sum: &Sum) -> ExitCode {
    let count: u64 = sum.ended.values().sum();
    let rate = count as f64 / took.as_secs_f64();
    println!(
        "seeds {} to {}: {count} in {took:.0?} with {} workers, {rate:.1} a second",
        wanted.from, end, wanted.workers
    );
    for (how, count) in &sum.ended {
        println!("{count:>9}  {how}");
    }
    let (call_us, call_seed) = sum.slowest_call;
    let (seed_us, seed) = sum.slowest_seed;
    println!(
        "slowest call {:.1} ms (seed {call_seed}), slowest seed {:.1} ms (seed {seed})",
        call_us as f64 / 1e3,
        seed_us as f64 / 1e3
    );
    for line in &sum.memory {
        println!("{line}");
    }
    for fault in &sum.faults {
        println!("FAULT {fault}");
    }
    println!("{} faults; go on with --from {end}", sum.faults.len());
    if sum.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A process that tries seeds, and what it says, line by line.
struct Worker {
    child: Child,
    stdin: ChildStdin,
    said: Receiver<String>,
}

impl Worker {
    fn start() -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .arg(WORKER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a worker");
        let stdin = child.stdin.take().expect("stdin is piped");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (sender, said) = sync_channel(100);
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, stdin, said }
    }

    /// Has it try a seed: its answer, or why there is none.
    fn ask(&mut self, seed: u64, mut panicked: impl FnMut(String)) -> Result<String, String> {
        let asked = writeln!(self.stdin, "{seed}").and_then(|()| self.stdin.flush());
        asked.map_err(|error| format!("the worker is gone: {error}"))?;
        loop {
            match self.said.recv_timeout(HANGS_AFTER) {
                Ok(line) => match line.strip_prefix("panic ") {
                    Some(panic) => panicked(panic.to_owned()),
                    None => return Ok(line),
                },
                Err(_) => {
                    let ended = self.child.try_wait().ok().flatten();
                    let _ = self.child.kill();
                    return Err(ended.map_or_else(|| "it hangs".to_owned(), |status| status.to_string()));
                }
            }
        }
    }

    /// Resident memory, in MiB.
    fn resident_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) >> 10
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Has a worker try one seed after the other; one that dies is followed by another.
fn drive(number: usize, sum: &Mutex<Sum>, mut next: impl FnMut() -> Option<u64>) {
    let mut worker = Worker::start();
    let (mut tried, mut memory) = (0_u64, Vec::new());
    while let Some(seed) = next() {
        let mut panics = Vec::new();
        let answer = worker.ask(seed, |panic| panics.push(format!("seed {seed}: {panic}")));
        let mut sum = sum.lock().unwrap();
        sum.faults.extend(panics);
        match answer.as_deref().map(|line| line.splitn(3, ' ').collect::<Vec<_>>()) {
            Ok(parts) if parts[0] != "fault" && parts.len() == 3 => {
                let (call, took) = (parts[0].parse().unwrap_or(0), parts[1].parse().unwrap_or(0));
                sum.slowest_call = sum.slowest_call.max((call, seed));
                sum.slowest_seed = sum.slowest_seed.max((took, seed));
                *sum.ended.entry(parts[2].to_owned()).or_default() += 1;
            }
            Ok(parts) => sum.faults.push(format!("seed {seed}: {}", parts.join(" "))),
            Err(problem) => {
                sum.faults.push(format!("seed {seed}: {problem}"));
                worker = Worker::start();
            }
        }
        tried += 1;
        if tried == 200 || tried.is_multiple_of(5_000) {
            memory.push(worker.resident_mib());
        }
    }
    memory.push(worker.resident_mib());
    let line =
        format!("worker {number}: MiB resident after 200 seeds, each 5,000, and all {tried}: {memory:?}");
    sum.lock().unwrap().memory.push(line);
}

/// A worker's life: a seed a line comes in, `CALL_US SEED_US HOW` or `fault WHY` goes out.
fn work() {
    std::panic::set_hook(Box::new(|panic| {
        let said = panic.to_string().replace('\n', " ");
        println!("panic {said}");
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let trial = Trial::new();
    for line in std::io::stdin().lines() {
        let Ok(seed) = line.expect("a line").parse() else { return };
        let mut answer = runtime.block_on(trial.try_one(seed));
        if seed.is_multiple_of(SOUND_EVERY) {
            answer = answer.and_then(|tried| runtime.block_on(trial.is_sound()).map(|()| tried));
        }
        match answer {
            Ok(tried) => {
                println!("{} {} {}", tried.slowest_call.as_micros(), tried.took.as_micros(), tried.how);
            }
            Err(fault) => println!("fault {}", fault.replace('\n', " ")),
        }
    }
}
