//! Servers that follow a script, and a fetch in one line.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::fetch::{Fetcher, FetcherConfig, Request, RequestSpec};
use crate::model::{ErrorKind, Exchange};
use crate::telemetry;

/// Long enough for a slow machine; no test that passes waits for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A listener on the loopback; it stops with this value.
pub(super) struct Server {
    pub(super) addr: SocketAddr,
    /// Every request that was read, head and body as they came.
    pub(super) requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Runs `script` for every connection, one after the other.
    pub(super) async fn scripted<F, S>(script: F) -> Self
    where
        F: Fn(TcpStream, Arc<Mutex<Vec<String>>>) -> S + Send + 'static,
        S: Future<Output = ()> + Send,
    {
        Self::scripted_at("127.0.0.1:0", script).await
    }

    /// The same at an address of the test's choice.
    pub(super) async fn scripted_at<F, S>(addr: &str, script: F) -> Self
    where
        F: Fn(TcpStream, Arc<Mutex<Vec<String>>>) -> S + Send + 'static,
        S: Future<Output = ()> + Send,
    {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let task = telemetry::spawn("test server", async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                script(stream, seen.clone()).await;
            }
        });
        Self { addr, requests, task }
    }

    /// Reads a request, writes `response`, closes.
    pub(super) async fn answering(response: impl Into<Vec<u8>>) -> Self {
        let response = response.into();
        Self::routed(move |_| response.clone()).await
    }

    /// Reads a request, writes what `route` makes of it, closes.
    pub(super) async fn routed(route: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let route = Arc::new(route);
        Self::scripted(move |mut stream, seen| {
            let route = route.clone();
            async move {
                let request = read_request(&mut stream).await;
                let response = route(&request);
                seen.lock().unwrap().push(request);
                let _ = stream.write_all(&response).await;
                let _ = stream.shutdown().await;
                // Until the client is done: closing with bytes unread would reset what it still reads.
                let _ = tokio::time::timeout(PATIENCE, drain(&mut stream)).await;
            }
        })
        .await
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(super) fn seen(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Reads until the other side closes.
pub(super) async fn drain(stream: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = [0; 4_096];
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

/// Reads one request: the head, and as many bytes of a body as it announces.
pub(super) async fn read_request(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = header(head, "content-length").map_or(0, |value| value.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => bytes.extend_from_slice(&buffer[..read]),
            _ => return text,
        }
    }
}

/// The value of a header in a request as it was read.
pub(super) fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

pub(super) fn fetcher() -> Fetcher {
    Fetcher::new(&FetcherConfig::default()).unwrap()
}

pub(super) fn spec(headers: &[(&str, &str)]) -> RequestSpec {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    RequestSpec { headers, timeout: PATIENCE, ..RequestSpec::default() }
}

/// Sends the request that `spec` describes to `url`.
pub(super) async fn fetch(spec: RequestSpec, url: &str) -> Exchange {
    fetch_with(&fetcher(), spec, url).await
}

pub(super) async fn fetch_with(fetcher: &Fetcher, spec: RequestSpec, url: &str) -> Exchange {
    let clock = Clock::system();
    let request = Request::build(spec).unwrap();
    let deadline = clock.now() + request.timeout();
    let exchange = fetcher.fetch(&request, url, deadline, &clock).await;
    let late = clock.now().saturating_duration_since(deadline);
    assert!(late < Duration::from_millis(500), "{late:?} after the deadline");
    if let Some(failure) = &exchange.failure {
        assert!(!failure.message.contains('\n') && !failure.message.is_empty(), "{failure:?}");
    }
    exchange
}

pub(super) async fn get(url: &str) -> Exchange {
    fetch(spec(&[]), url).await
}

pub(super) fn kind(exchange: &Exchange) -> Option<ErrorKind> {
    exchange.failure.as_ref().map(|failure| failure.kind)
}

pub(super) fn status(exchange: &Exchange) -> Option<u16> {
    exchange.head.as_ref().map(|head| head.status)
}
