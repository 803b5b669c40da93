//! Dynamic sources against a real server on loopback, from the text of a pipeline file to updates.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests; a server of their own"
)]

mod config;
mod groups;
mod listing;
mod pipe;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::config::Diagnostics;
use crate::fetch::FetcherConfig;
use crate::pipeline::{StopSwitch, Workshop, build_all};
use crate::telemetry::spawn;

/// Long enough for a loaded machine; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer: status, header lines, body.
#[derive(Debug, Clone)]
struct Answer {
    status: u16,
    headers: String,
    body: String,
}

fn ok(body: impl Into<String>) -> Answer {
    Answer { status: 200, headers: String::new(), body: body.into() }
}

type Respond = dyn Fn(&str, &str) -> Answer + Send + Sync;

/// A server that answers what the test says, and remembers `path` and head of every request.
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<(String, String)>>>,
}

impl Server {
    /// `respond` is given the path with its query, and the lower-cased head.
    fn start(respond: impl Fn(&str, &str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, respond): (_, Arc<Respond>) = (Arc::clone(&requests), Arc::new(respond));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, respond) = (Arc::clone(&log), Arc::clone(&respond));
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                    let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else { return };
                    let text = head.join("\n").to_lowercase();
                    let Answer { status, headers, body } = respond(path, &text);
                    log.lock().unwrap().push((path.to_owned(), text));
                    let length = body.len();
                    let _ = write!(
                        stream,
                        "HTTP/1.1 {status} Scripted\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
                    );
                });
            }
        });
        Self { address, requests }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn requests(&self) -> Vec<(String, String)> {
        self.requests.lock().unwrap().clone()
    }
}

/// A text that the test changes while the server gives it.
#[derive(Clone)]
struct Changing(Arc<Mutex<Answer>>);

impl Changing {
    fn new(body: &str) -> Self {
        Self(Arc::new(Mutex::new(ok(body))))
    }

    fn set(&self, answer: Answer) {
        *self.0.lock().unwrap() = answer;
    }

    fn serve(&self) -> Server {
        let shared = self.clone();
        Server::start(move |_, _| shared.0.lock().unwrap().clone())
    }
}

/// The plans of a pipeline file, or what is wrong with it.
fn plans(text: &str) -> Result<Vec<Arc<SupplyPlan>>, String> {
    let folder = TempDir::new().unwrap();
    plans_in(folder.path(), text)
}

fn plans_in(folder: &Path, text: &str) -> Result<Vec<Arc<SupplyPlan>>, String> {
    let file = folder.join("shop.toml");
    std::fs::write(&file, format!("default_checks = false\n{text}")).unwrap();
    let mut diagnostics = Diagnostics::default();
    let built = build_all(&[file], &Workshop::new().unwrap(), &mut diagnostics);
    match built.into_iter().next() {
        Some(built) if !diagnostics.has_errors() => Ok(built.supplies),
        _ => Err(diagnostics.render(false)),
    }
}

/// A source at work.
struct Running {
    updates: mpsc::Receiver<SupplyUpdate>,
    task: JoinHandle<()>,
    switch: StopSwitch,
}

impl Running {
    fn start(plan: &Arc<SupplyPlan>, seen: Option<&Path>, once: bool) -> Self {
        let clock = Clock::system();
        let context = SupplyContext {
            pipeline: "shop".into(),
            fetcher: Fetcher::new(&FetcherConfig::default()).unwrap(),
            clock: clock.clone(),
            seen: seen.map(Path::to_owned),
            once,
        };
        let (sender, updates) = mpsc::channel(1);
        let (switch, stop) = StopSwitch::new(&clock);
        let task = spawn("supply", supply(Arc::clone(plan), context, sender, stop));
        Self { updates, task, switch }
    }

    async fn next(&mut self) -> SupplyUpdate {
        timeout(PATIENCE, self.updates.recv()).await.expect("an update in time").expect("an update")
    }

    /// The targets of the next update as `kind name name …`, told as probed.
    async fn taken(&mut self) -> String {
        let update = self.next().await;
        if let Some(receipt) = update.receipt {
            receipt.probed(None);
        }
        shown(&update.supplied)
    }

    /// Ends it, as the end of a run does.
    async fn stop(self) {
        let Self { updates, task, switch } = self;
        switch.raise(StopLevel::Drain);
        drop(updates);
        timeout(PATIENCE, task).await.expect("an end in time").unwrap();
    }
}

fn shown(supplied: &Supplied) -> String {
    let (kind, targets) = match supplied {
        Supplied::Replace(targets) => ("replace", targets.as_slice()),
        Supplied::Once(targets) => ("once", targets.as_slice()),
        Supplied::Ended => ("ended", [].as_slice()),
    };
    let names: Vec<String> = targets.iter().map(|target| format!(" {}", target.name)).collect();
    format!("{kind}{}", names.concat())
}
