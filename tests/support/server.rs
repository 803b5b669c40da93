//! A website that does what the path asks for, and remembers every request.
//!
//! | path | answer |
//! | --- | --- |
//! | `/ok/…` | 200 |
//! | `/status/503` | that status |
//! | `/slow/500ms/…` | 200, that much later |
//! | `/never` | none, the connection stays open |
//! | `/close` | none, the connection is closed |
//! | `/garbage` | something that is not HTTP |
//! | `/short` | a body that ends before its announced length |
//! | `/body/2048` | 200 with that many bytes |
//! | `/redirect/ok` | 302 to `/ok` |
//! | `/document/x` | 200 with what the test has put there, 404 before; a query is passed over |
//! | `/mood/7/…` | one of the above, by chance with the seed 7 |
//! | `/echo` | 200 with what `authorization` said in the header `x-echo` |
//!
//! Every answer has a nonce of its own, in the header `x-nonce` and at the begin of its body, and rows
//! carry the body's hash, so that a row can be matched with the one request that it tells of.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The nonce of its answer: its place in the order of arrival.
    pub(crate) nonce: usize,
    /// The path, as it was asked for.
    pub(crate) path: String,
    /// The header lines, as they were sent.
    pub(crate) headers: Vec<String>,
    /// The body that was sent.
    pub(crate) body: Vec<u8>,
    /// XXH3-64 of the answer's body, as rows have it; none where there was no whole answer.
    pub(crate) answered: Option<String>,
    /// When its head had arrived.
    pub(crate) arrived: Instant,
    /// When the answer went out, or the connection was given up.
    pub(crate) left: Option<Instant>,
}

#[derive(Debug, Default)]
struct Log {
    requests: Mutex<Vec<Request>>,
    documents: Mutex<HashMap<String, String>>,
    stopped: AtomicBool,
}

/// The website, running on a free port of 127.0.0.1 until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    log: Arc<Log>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts it.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Log::default());
        let shared = Arc::clone(&log);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let log = Arc::clone(&shared);
                std::thread::spawn(move || converse(&stream, &log));
            }
        });
        Self { address, log, accepting: Some(accepting) }
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Puts a document under `/document/` and this name, in the place of an earlier one.
    pub(crate) fn put(&self, name: &str, document: impl Into<String>) {
        self.log.documents.lock().unwrap().insert(name.to_owned(), document.into());
    }

    /// Every request so far, in the order of arrival.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.log.requests.lock().unwrap().clone()
    }

    /// How many requests there were so far.
    pub(crate) fn count(&self) -> usize {
        self.log.requests.lock().unwrap().len()
    }

    /// Something once there are `count` requests: for waiting.
    pub(crate) fn reached(&self, count: usize) -> Option<()> {
        (self.count() >= count).then_some(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.log.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which looks at the flag.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// Answers request after request until the client leaves.
fn converse(stream: &TcpStream, log: &Log) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line.trim_end().is_empty() => break,
                Ok(_) => lines.push(line.trim_end().to_owned()),
            }
        }
        let Some(path) = lines.first().and_then(|line| line.split(' ').nth(1)).map(str::to_owned) else {
            return;
        };
        let headers = lines.split_off(1);
        let length = headers.iter().find_map(|line| line.strip_prefix("content-length: "));
        let mut sent = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        if reader.read_exact(&mut sent).is_err() {
            return;
        }
        let echoed = headers.iter().find_map(|line| line.strip_prefix("authorization: ").map(str::to_owned));
        let nonce = {
            let mut requests = log.requests.lock().unwrap();
            let nonce = requests.len();
            requests.push(Request {
                nonce,
                path: path.clone(),
                headers,
                body: sent,
                answered: None,
                arrived: Instant::now(),
                left: None,
            });
            nonce
        };
        // Before the answer goes out: whoever has it may ask again before this thread gets another turn.
        let leaves = || log.requests.lock().unwrap()[nonce].left = Some(Instant::now());
        let asked = Asked { path: &path, nonce, authorization: echoed.as_deref() };
        let body = answer(stream, &asked, log, leaves);
        let hash = |body: &String| format!("{:016x}", twox_hash::XxHash3_64::oneshot(body.as_bytes()));
        let answered = body.as_ref().map(hash);
        let gone = answered.is_none();
        {
            let request = &mut log.requests.lock().unwrap()[nonce];
            request.answered = answered;
            request.left.get_or_insert_with(Instant::now);
        }
        if gone {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
    }
}

/// What an answer depends on.
struct Asked<'a> {
    path: &'a str,
    nonce: usize,
    authorization: Option<&'a str>,
}

/// What a site in a mood does: mostly what it should.
const MOODS: [&str; 12] = [
    "/ok",
    "/ok",
    "/ok",
    "/ok",
    "/ok",
    "/json",
    "/body/20000",
    "/status/503",
    "/slow/150ms",
    "/close",
    "/garbage",
    "/short",
];

/// Which of them, for one request.
fn mood(seed: &str, nonce: usize) -> &'static str {
    let chance = twox_hash::XxHash3_64::oneshot(format!("{seed} {nonce}").as_bytes());
    MOODS[chance as usize % MOODS.len()]
}

/// Answers one request. The body, where the whole answer could be written; otherwise the connection ends.
fn answer(mut stream: &TcpStream, asked: &Asked<'_>, log: &Log, leaves: impl FnOnce()) -> Option<String> {
    let Asked { mut path, nonce, authorization } = *asked;
    if let Some(rest) = path.strip_prefix("/mood/") {
        path = mood(rest.split('/').next().unwrap_or_default(), nonce);
    }
    let mut parts = path.trim_start_matches('/').splitn(3, '/');
    let (kind, argument) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let mut body = format!("nonce {nonce} of {}\n", asked.path);
    let mut status = 200;
    let mut extra = format!("x-nonce: {nonce}\r\n");
    match kind {
        "status" => status = argument.parse().unwrap_or(500),
        "document" => {
            let name = argument.split('?').next().unwrap_or_default();
            match log.documents.lock().unwrap().get(name) {
                Some(document) => body.clone_from(document),
                None => status = 404,
            }
        }
        "slow" => std::thread::sleep(milliseconds(argument)),
        "body" => {
            let missing = argument.parse::<usize>().unwrap_or(0).saturating_sub(body.len());
            body.push_str(&"x".repeat(missing));
        }
        "json" => {
            body = format!("{{\"status\": \"ok\", \"nonce\": {nonce}, \"price\": 0.5, \"items\": [1, 2]}}");
        }
        "page" => {
            body =
                format!("<!doctype html><title>Basket {nonce}</title><h1>Your basket<ul><li>one<li>two</ul>");
        }
        "redirect" => {
            status = 302;
            extra.push_str(&format!("location: {}\r\n", path.trim_start_matches("/redirect")));
        }
        "never" => {
            while !log.stopped.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
            }
            return None;
        }
        "echo" => extra.push_str(&format!("x-echo: {}\r\n", authorization.unwrap_or_default())),
        "close" => return None,
        "garbage" => {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n");
            return None;
        }
        "short" => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n{extra}\r\nnot as long");
            let _ = stream.write_all(head.as_bytes());
            return None;
        }
        _ => {}
    }
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Scripted\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n{extra}\r\n"
    );
    leaves();
    stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
    Some(body)
}

/// `500ms` as a duration.
fn milliseconds(text: &str) -> Duration {
    Duration::from_millis(text.trim_end_matches("ms").parse().unwrap_or(0))
}
