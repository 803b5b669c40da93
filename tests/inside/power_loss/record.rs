//! Real runs of the real binary, recorded by `strace`: what its sink did to the disk, call by call.
#![allow(clippy::disallowed_methods, reason = "waits for a real process, in real time")]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::trace::{CALLS, Op, parse};

/// What was done, and what it promises.
pub(super) struct Recording {
    pub(super) name: &'static str,
    pub(super) ops: Vec<Op>,
    /// Whether a line on stdout promises that its row survives.
    pub(super) told_is_safe: bool,
    /// How often the binary was started.
    pub(super) starts: usize,
}

/// A run to be recorded: what the pipeline says of its sink, and each start of the binary with its end.
struct Workload {
    name: &'static str,
    sink: &'static str,
    told_is_safe: bool,
    starts: &'static [(&'static [&'static str], End)],
}

/// How a start ends.
#[derive(Clone, Copy)]
enum End {
    Alone,
    /// Once so many files are published.
    AtFiles(usize, Signal),
}

const LINES: &[&str] = &["run", "--format", "json"];
const WORKLOADS: [Workload; 3] = [
    Workload {
        name: "a single run",
        sink: "fsync = \"each\"",
        told_is_safe: true,
        starts: &[(&["run", "--once", "--format", "json"], End::Alone)],
    },
    Workload {
        name: "a sync a batch, a kill, and the next start",
        sink: "fsync = \"each\"\nrotate = { every = \"1s\", rows = 8 }",
        told_is_safe: true,
        starts: &[(LINES, End::AtFiles(5, Signal::KILL)), (LINES, End::AtFiles(9, Signal::TERM))],
    },
    Workload {
        name: "a sync a second",
        sink: "rotate = { every = \"3s\", rows = 60 }",
        told_is_safe: false,
        starts: &[(LINES, End::AtFiles(4, Signal::TERM))],
    },
];

/// Whether there is an `strace`.
pub(super) fn strace_is_here() -> bool {
    Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success())
}

/// Records all workloads, side by side.
pub(super) fn record_all() -> Vec<Recording> {
    thread::scope(|scope| {
        let each: Vec<_> = WORKLOADS.iter().map(|workload| scope.spawn(|| record(workload))).collect();
        each.into_iter().map(|recording| recording.join().unwrap()).collect()
    })
}

fn record(workload: &Workload) -> Recording {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().canonicalize().unwrap();
    let data = project.join("data");
    fs::create_dir(&data).unwrap();
    fs::create_dir(project.join("pipelines")).unwrap();
    fs::write(project.join("pipelines/shop.toml"), pipeline(workload.sink)).unwrap();
    let mut log = String::new();
    for (number, (arguments, end)) in workload.starts.iter().enumerate() {
        let file = project.join(format!("{number}.strace"));
        let mut child = traced(&project, &data, &file, arguments);
        match end {
            End::Alone => {}
            End::AtFiles(files, signal) => {
                let begin = Instant::now();
                while published(&data) < *files {
                    assert!(
                        begin.elapsed() < Duration::from_mins(1),
                        "no {files} files of {}",
                        workload.name
                    );
                    thread::sleep(Duration::from_millis(10));
                }
                kill_process(Pid::from_child(&child), *signal).unwrap();
            }
        }
        let pid = child.id();
        child.wait().unwrap();
        log += &whole_log(&file, pid);
    }
    Recording {
        name: workload.name,
        ops: parse(&log, &data),
        told_is_safe: workload.told_is_safe,
        starts: workload.starts.len(),
    }
}

/// How many files there are in the folders of all dates.
fn published(data: &Path) -> usize {
    let below =
        |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let tables = below(data.join("results"));
    tables.flat_map(below).flat_map(below).count()
}

/// Eight targets: most are well, one has a fault, at one nobody listens.
fn pipeline(sink: &str) -> String {
    let address = website();
    let mut targets = String::from("\"http://127.0.0.1:1/nobody\"");
    for path in ["ok/1", "ok/2", "ok/3", "ok/4", "ok/5", "missing", "ok/6"] {
        write!(targets, ", \"http://{address}/{path}\"").unwrap();
    }
    format!(
        "[schedule]\nevery = \"500ms\"\n[request]\ntimeout = \"400ms\"\n[[sources]]\ntargets = [{targets}]\n\
         [[sinks]]\ntype = \"parquet\"\npath = \"results\"\n{sink}\n"
    )
}

/// The binary under `strace`, which leaves the process to be ours.
fn traced(project: &Path, data: &Path, log: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-y", "-xx", "-s", "16777216", "-e", &format!("trace={CALLS}")]);
    command.arg("-o").arg(log).arg(env!("CARGO_BIN_EXE_probity")).args(arguments).arg("--data").arg(data);
    command
        .current_dir(project)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", project)
        .env("XDG_CACHE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The log, once the process's end is in it.
fn whole_log(file: &Path, pid: u32) -> String {
    let begin = Instant::now();
    loop {
        let log = fs::read_to_string(file).unwrap_or_default();
        let ended = log.lines().rev().take(50).any(|line| {
            line.split_once(' ')
                .is_some_and(|(of, what)| of == pid.to_string() && what.trim_start().starts_with("+++"))
        });
        if ended {
            return log;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "no end in the log: {log:.2000}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A website on a free port, there until the tests end.
fn website() -> std::net::SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let mut head = Vec::new();
    let mut part = [0; 1_024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut part) {
            Ok(len @ 1..) => head.extend_from_slice(&part[..len]),
            _ => return,
        }
    }
    let status = if head.starts_with(b"GET /missing ") { "404 Not Found" } else { "200 OK" };
    let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello");
}
