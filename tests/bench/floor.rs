//! The least that a request costs by the client under Probity: hyper alone, on two threads with a runtime each.
//!
//! `cargo bench --bench floor -- fresh --targets FILE --requests 30000 --concurrency 64`, where a line of the file
//! is an address with its port. `fresh` makes a connection for each request, `reuse` keeps one for each request that
//! runs at the same time, `tls` makes one with a full handshake and verification (`--ca FILE`, `--name NAME`).
//! `--rate N` begins N requests a second, in one go every 5 ms, as Probity does; without it each task asks again as soon
//! as it has its answer, and the threads never sleep.
//! Prints `{"requests": …, "cpu": …, "took": …}`: seconds of CPU, user and system, and of the clock.
//! `tests/bench/price.py` asks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark: it prints, and a failure ends it"
)]

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::time::ClockId;
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// How often paced requests begin.
const SLOT: Duration = Duration::from_millis(5);

type Sender = SendRequest<Empty<Bytes>>;

struct Plan {
    is_fresh: bool,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    targets: Vec<SocketAddr>,
    requests: usize,
    concurrency: usize,
    /// Requests a second, of both threads together.
    rate: Option<f64>,
    begun: AtomicUsize,
}

fn main() {
    let plan = Arc::new(Plan::read());
    let (before, begun) = (seconds(ClockId::ProcessCPUTime), seconds(ClockId::Monotonic));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let mut tasks = match plan.rate {
                        Some(rate) => plan.pace(rate / 2.0).await,
                        None => (0..plan.concurrency.div_ceil(2)).map(|_| Arc::clone(&plan).work()).collect(),
                    };
                    while let Some(ended) = tasks.join_next().await {
                        ended.unwrap();
                    }
                });
            });
        }
    });
    let cpu = seconds(ClockId::ProcessCPUTime) - before;
    let took = seconds(ClockId::Monotonic) - begun;
    println!("{{\"requests\": {}, \"cpu\": {cpu:.6}, \"took\": {took:.3}}}", plan.requests);
}

impl Plan {
    fn read() -> Self {
        let argument = |name: &str| std::env::args().skip_while(|given| given != name).nth(1);
        let must = |name: &str| argument(name).expect(name);
        let mode = std::env::args().nth(1).expect("fresh, reuse or tls");
        assert!(["fresh", "reuse", "tls"].contains(&mode.as_str()), "fresh, reuse or tls, not {mode}");
        let rate = argument("--rate").map(|rate| rate.parse().unwrap());
        assert!(
            rate.is_none() || mode != "reuse",
            "--rate is for connections that are made for each request"
        );
        let targets = std::fs::read_to_string(must("--targets")).unwrap();
        Self {
            is_fresh: mode != "reuse",
            tls: (mode == "tls").then(|| (connector(&must("--ca")), must("--name").try_into().unwrap())),
            targets: targets.lines().map(|line| line.parse().unwrap()).collect(),
            requests: must("--requests").parse().unwrap(),
            concurrency: must("--concurrency").parse().unwrap(),
            rate,
            begun: AtomicUsize::new(0),
        }
    }

    /// The next target, until there are enough requests.
    fn next(&self) -> Option<SocketAddr> {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        (number < self.requests).then(|| self.targets[number % self.targets.len()])
    }

    async fn work(self: Arc<Self>) {
        while let Some(address) = self.next() {
            self.ask_afresh(address).await;
        }
    }

    /// Begins requests at a rate, each in a task, and returns those that still run when there are enough.
    async fn pace(self: &Arc<Self>, rate: f64) -> JoinSet<()> {
        let (mut tasks, mut due) = (JoinSet::new(), 0.0);
        let mut slots = tokio::time::interval(SLOT);
        loop {
            slots.tick().await;
            due += rate * SLOT.as_secs_f64();
            while due >= 1.0 {
                let Some(address) = self.next() else { return tasks };
                let plan = Arc::clone(self);
                tasks.spawn(async move { plan.ask_afresh(address).await });
                due -= 1.0;
            }
            while let Some(ended) = tasks.try_join_next() {
                ended.unwrap();
            }
        }
    }

    async fn ask_afresh(&self, address: SocketAddr) {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        match &self.tls {
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await.unwrap();
                self.ask(address, TokioIo::new(stream)).await;
            }
            None => self.ask(address, TokioIo::new(stream)).await,
        }
    }

    /// One request by this connection; or all that are left, where connections are kept.
    async fn ask(&self, address: SocketAddr, stream: impl hyper::rt::Read + hyper::rt::Write + Unpin) {
        let (mut sender, connection) = handshake(stream).await.unwrap();
        let host = address.to_string();
        let mut asked = pin!(async {
            exchange(&mut sender, &host, self.is_fresh).await;
            while !self.is_fresh && self.next().is_some() {
                exchange(&mut sender, &host, false).await;
            }
        });
        // No task of its own for the connection, and no farewell: what is not needed costs nothing.
        tokio::select! {
            biased;
            () = &mut asked => return,
            ended = connection => ended.unwrap(),
        }
        // The peer has closed it, and what came is still to be read.
        asked.await;
    }
}

async fn exchange(sender: &mut Sender, host: &str, is_last: bool) {
    sender.ready().await.unwrap();
    let request = Request::get("/").header(HOST, host).header(USER_AGENT, "floor");
    let request = if is_last { request.header(CONNECTION, "close") } else { request };
    let response = sender.send_request(request.body(Empty::new()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let (mut body, mut length) = (response.into_body(), 0);
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().data_ref().map_or(0, Bytes::len);
    }
    assert!(length > 0, "a body is expected");
}

fn connector(ca: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

fn seconds(clock: ClockId) -> f64 {
    let told = rustix::time::clock_gettime(clock);
    told.tv_sec as f64 + told.tv_nsec as f64 / 1e9
}
