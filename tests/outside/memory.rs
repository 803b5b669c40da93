//! R3: in a control group with little memory, ten thousand targets with long bodies are probed within it: bodies get less
//! of it, and fewer are in flight.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::{Project, Running, say_left_out, wrapped};

const MIB: usize = 1 << 20;
/// What the group may have, in bytes.
const MEMORY: usize = 256 * MIB;
/// Targets, and the length of the body of each path: every twentieth is as long as is kept, the others are longer than
/// what is kept without asking for room.
const TARGETS: usize = 10_000;
const BODIES: &[(&str, usize)] = &[("/long", MIB), ("/short", 96 << 10)];
const EVERY_LONG: usize = 20;
/// When nobody has asked for this long, all are in flight that may be.
const LULL: Duration = Duration::from_millis(15);

/// A control group of this test's own, as far as memory goes. Removed when dropped.
struct Group {
    folder: PathBuf,
    /// The file with the limit.
    limit: &'static str,
    /// The file that keeps what is beyond it from being swapped away, where there is swap, and its text.
    swap: (&'static str, usize),
    /// The file with the most that was used.
    peak: &'static str,
}

impl Group {
    /// None, after having said why `test` is left out, where there can be none.
    fn or_leave_out(test: &str) -> Option<Self> {
        // Version 1, version 2.
        let kinds = [
            (
                "/sys/fs/cgroup/memory",
                "memory.limit_in_bytes",
                ("memory.memsw.limit_in_bytes", MEMORY),
                "memory.max_usage_in_bytes",
            ),
            ("/sys/fs/cgroup", "memory.max", ("memory.swap.max", 0), "memory.peak"),
        ];
        let mut reasons = Vec::new();
        for (mount, limit, swap, peak) in kinds {
            let folder = PathBuf::from(format!("{mount}/probity-test-{}", std::process::id()));
            if let Err(error) = fs::create_dir(&folder) {
                reasons.push(format!("{mount}: {error}"));
                continue;
            }
            let group = Self { folder, limit, swap, peak };
            match group.limit() {
                Ok(()) => return Some(group),
                Err(error) => reasons.push(format!("{mount}, {limit}: {error}")),
            }
        }
        say_left_out(test, &format!("no control group can be made: {}", reasons.join("; ")));
        None
    }

    fn limit(&self) -> io::Result<()> {
        // Opened, not made: where it is no control group, there is no such file.
        let write = |file: &str, text: usize| {
            let mut file = fs::OpenOptions::new().write(true).open(self.folder.join(file))?;
            file.write_all(text.to_string().as_bytes())
        };
        write(self.limit, MEMORY)?;
        let (file, text) = self.swap;
        match write(file, text) {
            // The kernel counts no swap.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            written => written,
        }
    }

    /// `command` within the group.
    fn command(&self, command: &Command) -> Command {
        let mut inside = Command::new("sh");
        inside.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(self.folder.join("cgroup.procs"));
        wrapped(inside, command)
    }

    /// The most that was used, in MiB; with what the kernel would have taken back, such as cached files.
    fn peak(&self) -> String {
        let text = fs::read_to_string(self.folder.join(self.peak)).unwrap_or_default();
        text.trim().parse::<usize>().map_or("unknown".to_owned(), |bytes| (bytes / MIB).to_string())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}

/// A website of long bodies, outside of the group.
struct Website {
    address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    is_stopped: AtomicBool,
    /// Requests that came.
    asked: AtomicUsize,
    /// Answers that were written whole.
    answered: AtomicUsize,
}

impl Website {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let body: Arc<[u8]> = vec![b'x'; BODIES.iter().map(|(_, length)| *length).max().unwrap()].into();
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (body, state) = (Arc::clone(&body), Arc::clone(&shared));
                let work = move || answer(&stream, &body, &state);
                thread::Builder::new().stack_size(64 << 10).spawn(work).unwrap();
            }
        });
        Self { address, state, accepting: Some(accepting) }
    }
}

impl Drop for Website {
    fn drop(&mut self) {
        self.state.is_stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which looks at the flag.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// Answers one request with as much of `body` as its path has. The last byte is held back for as long as others still
/// come: so that as many are in flight as may be, each with all of its body but that.
fn answer(mut stream: &TcpStream, body: &[u8], state: &State) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?;
    while !lines.next()?.ok()?.is_empty() {}
    let mut asked = state.asked.fetch_add(1, Ordering::SeqCst) + 1;
    let (_, length) = BODIES.iter().find(|(kind, _)| path.starts_with(kind))?;
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n").ok()?;
    let (most, last) = body[..*length].split_at(length - 1);
    stream.write_all(most).ok()?;
    loop {
        thread::sleep(LULL);
        let now = state.asked.load(Ordering::SeqCst);
        if std::mem::replace(&mut asked, now) == now {
            break;
        }
    }
    stream.write_all(last).ok()?;
    state.answered.fetch_add(1, Ordering::SeqCst);
    Some(())
}

#[test]
fn r3_ten_thousand_targets_stay_within_little_memory() {
    let Some(group) = Group::or_leave_out("r3_ten_thousand_targets_stay_within_little_memory") else {
        return;
    };
    let website = Website::start();
    let project = Project::with_pipeline(
        "[request]\ntimeout = \"60s\"\n[[sources]]\ntype = \"file\"\npath = \"targets.txt\"\n",
    );
    let url = |number: usize| {
        let (kind, _) = BODIES[usize::from(!number.is_multiple_of(EVERY_LONG))];
        format!("http://{}{kind}/{number}\n", website.address)
    };
    project.write("pipelines/targets.txt", (0..TARGETS).map(url).collect::<String>());
    let command = project.with_data(&["run", "--once", "--format", "json"]);
    let finished = Running::start(group.command(&command)).wait(Duration::from_mins(2));
    let peak = group.peak();
    println!("{:?}, at most {peak} MiB\n{}", finished.took, finished.stderr);
    // Killed by the kernel, it would have no code.
    let finished = finished.expect_code(0);
    assert_eq!(website.state.answered.load(Ordering::SeqCst), TARGETS, "answers");
    let told = |part: &str| assert!(finished.stderr.contains(part), "{part}: {}", finished.stderr);
    told("memory is limited");
    told(group.limit);
    told("memory_mib=256");
    told("body_memory_mib=64");
    let in_flight =
        finished.stderr.split("in_flight=").nth(1).and_then(|rest| rest.split_whitespace().next());
    assert!(in_flight.unwrap().parse::<usize>().unwrap() <= 256, "{}", finished.stderr);
    let rows = project.rows();
    rows.expect_whole();
    assert_eq!(rows.probes.len(), TARGETS, "rows");
    assert!(rows.probes.iter().all(|row| row["outcome"] == "up" && row["body_truncated"] == false));
}
