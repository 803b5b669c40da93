//! Targets that come down a pipe, each probed once.
//!
//! A thread reads the pipe: reading from it blocks, and nothing can be made to end that. It gives lines on through a
//! bounded channel, so that the pipe waits while probes are slower. There is one standard input in a process, so
//! there is one such thread, whoever takes the lines: a reload loses none.

use std::io::{self, Read};
use std::sync::{Arc, OnceLock};
use std::thread;

use tokio::sync::{Mutex, mpsc};

use super::{Supplied, SupplyContext, Updates};
use crate::config::parse_duration;
use crate::source::{LineReader, Problems, RawLine, TargetLines};

/// How many lines are read ahead, and given on at once.
const LINES: usize = 256;
/// How many wrong lines are told of one by one; of those beyond, every time that they are twice as many.
const TOLD: u64 = 50;

/// Lines of a pipe; whoever holds the lock takes them.
pub(super) type Pipe = Arc<Mutex<mpsc::Receiver<io::Result<RawLine>>>>;

/// The standard input's lines.
pub(super) fn standard_input() -> io::Result<Pipe> {
    static PIPE: OnceLock<Pipe> = OnceLock::new();
    if let Some(pipe) = PIPE.get() {
        return Ok(Arc::clone(pipe));
    }
    let pipe = read_lines(io::stdin())?;
    Ok(Arc::clone(PIPE.get_or_init(|| pipe)))
}

/// Starts the thread that reads the lines of a pipe.
pub(super) fn read_lines(reader: impl Read + Send + 'static) -> io::Result<Pipe> {
    let (sender, receiver) = mpsc::channel(LINES);
    let work = move || {
        let mut lines = LineReader::new(reader);
        while let Some(line) = lines.next_line().transpose() {
            let is_last = line.is_err();
            if sender.blocking_send(line).is_err() || is_last {
                return;
            }
        }
    };
    // It ends with the pipe, or with the process.
    thread::Builder::new().name("stdin".to_owned()).spawn(work)?;
    Ok(Arc::new(Mutex::new(receiver)))
}

/// Gives the targets of a pipe until it ends. May be dropped at any await.
pub(super) async fn follow(
    pipe: io::Result<Pipe>,
    labels: &[(String, String)],
    context: &SupplyContext,
    updates: &Updates,
) {
    let lines = TargetLines::new(labels.to_owned(), parse_duration);
    let mut wrong = WrongLines { pipeline: Arc::clone(&context.pipeline), count: 0 };
    match pipe {
        Ok(pipe) => {
            let mut pipe = pipe.lock().await;
            loop {
                // Room comes first: a line that was taken is always given on.
                let Some(room) = updates.room().await else { return };
                let Some(first) = pipe.recv().await else { break };
                let mut taken = vec![first];
                while taken.len() < LINES
                    && let Ok(line) = pipe.try_recv()
                {
                    taken.push(line);
                }
                let mut read = Vec::with_capacity(taken.len());
                for line in taken {
                    match line {
                        Ok(line) => read.push(line),
                        Err(error) => wrong.stopped(&error),
                    }
                }
                let loaded = lines.read(read);
                wrong.tell(&loaded.problems);
                if !loaded.targets.is_empty() {
                    let targets = loaded.targets.into_iter().map(Arc::new).collect();
                    room.give(Supplied::Once(targets), None);
                }
            }
        }
        Err(error) => wrong.stopped(&error),
    }
    if wrong.count > 0 {
        tracing::warn!(pipeline = %context.pipeline, lines = wrong.count, "lines of the standard input were wrong");
    }
    updates.give(Supplied::Ended, None).await;
}

/// Lines that were left out.
struct WrongLines {
    pipeline: Arc<str>,
    count: u64,
}

impl WrongLines {
    fn tell(&mut self, problems: &Problems) {
        for problem in &problems.list {
            self.count += 1;
            if self.count <= TOLD {
                let line = problem.place.line;
                tracing::warn!(pipeline = %self.pipeline, line, "a line of the standard input is left out: {}", problem.what);
            } else if self.count.is_power_of_two() {
                tracing::warn!(pipeline = %self.pipeline, lines = self.count, "more lines of the standard input are wrong");
            }
        }
        self.count += problems.beyond as u64;
    }

    fn stopped(&mut self, error: &io::Error) {
        tracing::error!(pipeline = %self.pipeline, "the standard input cannot be read any more: {error}");
    }
}
