//! Whether the runner's own network is there: addresses that answer whatever becomes of the targets.
//!
//! When the network of the runner goes, every target fails at once, and none of them is to blame. So a failure that
//! may be our own network's is held against the canaries before it is told: if none of them can be reached after it,
//! or none could be while the attempt was under way, the failure is `runner_offline`, which is `unknown`. Nothing is
//! asked while probes succeed; however many fail, the canaries are asked once a second at most, one after the other
//! until one answers.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{sleep_until, timeout};
use tracing::{info, warn};

use super::resolve::Resolver;
use super::{IpVersion, classify};
use crate::clock::{Clock, Instant};
use crate::model::{ErrorGroup, ErrorKind, Failure};

/// The most canaries that a runner may have.
pub const CANARIES_MAX: usize = 5;
/// How long a canary may take to accept a connection, its name's addresses included.
const ANSWERS: Duration = Duration::from_secs(1);
/// From the begin of one look to that of the next.
const APART: Duration = Duration::from_secs(1);

/// A place that accepts TCP connections whatever becomes of the targets: a name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// Without brackets.
    host: String,
    port: u16,
}

impl Canary {
    /// Reads `host:port`; an IPv6 address stands in brackets. The error says what is wanted.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const WANTED: &str =
            "a canary is a name or an address with a port: \"gateway.example:443\", \"[::1]:53\"";
        let (host, port) = text.rsplit_once(':').ok_or(WANTED)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or(WANTED)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_good = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
                (1..=253).contains(&host.len()) && host.bytes().all(plain)
            }
        };
        if !is_good {
            return Err(WANTED);
        }
        Ok(Self { host: bare.unwrap_or(host).to_owned(), port })
    }
}

impl fmt::Display for Canary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// The runner's canaries, and what was seen of them last.
#[derive(Debug)]
pub(super) struct Canaries {
    all: Vec<Canary>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// When the last look began.
    looked: Option<Instant>,
    /// When the last look that reached none of them began.
    none_reached: Option<Instant>,
    /// What the last look came to.
    offline: bool,
}

impl Canaries {
    /// Nothing is asked yet.
    pub(super) fn new(all: Vec<Canary>) -> Self {
        Self { all, seen: Mutex::default() }
    }

    /// What a failure is that ended an attempt which began at `began`: as it was, or `runner_offline`. Takes up to
    /// some seconds, if there are canaries and the failure may be our own network's.
    pub(super) async fn told(
        &self,
        failure: Failure,
        began: Instant,
        resolver: &Resolver,
        clock: &Clock,
    ) -> Failure {
        if self.all.is_empty() || !may_be_ours(failure.kind) || !self.are_gone(began, resolver, clock).await {
            return failure;
        }
        let none = match self.all.as_slice() {
            [one] => format!("its canary, {one}, cannot be reached"),
            all => format!("none of its {} canaries can be reached", all.len()),
        };
        let message = format!("the runner is offline: {none}; the attempt ended with: {}", failure.message);
        Failure::new(ErrorKind::RunnerOffline, message)
    }

    /// Whether the network was gone at some moment since `began`, as far as anybody looked, or is now.
    async fn are_gone(&self, began: Instant, resolver: &Resolver, clock: &Clock) -> bool {
        let asked = clock.now();
        let mut seen = self.seen.lock().await;
        if seen.looked.is_none_or(|looked| looked < asked) {
            // Whoever waits for the lock meanwhile is told by this look, if it begins after they asked.
            if let Some(looked) = seen.looked {
                sleep_until(looked + APART).await;
            }
            self.look(&mut seen, resolver, clock).await;
        }
        seen.none_reached.is_some_and(|at| at >= began)
    }

    async fn look(&self, seen: &mut Seen, resolver: &Resolver, clock: &Clock) {
        let now = clock.now();
        seen.looked = Some(now);
        let offline = !self.any_answers(resolver, clock).await;
        if offline {
            seen.none_reached = Some(now);
        }
        if offline != std::mem::replace(&mut seen.offline, offline) {
            if offline {
                let canaries = self.all.len();
                warn!(
                    canaries,
                    "the runner is offline: no canary can be reached; failures are not held against targets"
                );
            } else {
                info!("the runner is online again: a canary answers");
            }
        }
    }

    async fn any_answers(&self, resolver: &Resolver, clock: &Clock) -> bool {
        for canary in &self.all {
            if matches!(timeout(ANSWERS, answers(canary, resolver, clock)).await, Ok(true)) {
                return true;
            }
        }
        false
    }
}

/// Whether a canary accepts a connection at one of its addresses. Where we lack the means to ask, it counts as there:
/// that says nothing of the network.
async fn answers(canary: &Canary, resolver: &Resolver, clock: &Clock) -> bool {
    let addresses = match canary.host.parse() {
        Ok(address) => vec![address],
        Err(_) => {
            let usual = Arc::default();
            let (answer, _) = resolver.resolve(&canary.host, IpVersion::Any, &usual, clock, || {}).await;
            answer.map(|answer| answer.addresses).unwrap_or_default()
        }
    };
    for address in addresses {
        match TcpStream::connect(SocketAddr::new(address, canary.port)).await {
            Ok(_) => return true,
            Err(error) if classify::local(&error).is_some() => return true,
            Err(_) => {}
        }
    }
    false
}

/// Kinds that a network of ours which is gone may show as.
fn may_be_ours(kind: ErrorKind) -> bool {
    matches!(kind.group(), ErrorGroup::Dns | ErrorGroup::Connect | ErrorGroup::Timeout)
        && !matches!(kind, ErrorKind::ConnectDenied | ErrorKind::OAuth)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::fetch::FetcherConfig;

    #[test]
    fn a_canary_is_a_host_with_a_port() {
        for good in ["gateway.example:443", "192.0.2.1:53", "[2001:db8::1]:53", "a_b:1"] {
            assert_eq!(Canary::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "gateway",
            "gateway:",
            ":53",
            "gateway:0",
            "gateway:70000",
            "https://gateway:443",
            "::1:53",
            "[::1]",
            "[x]:1",
            "a b:1",
        ] {
            assert!(Canary::parse(bad).is_err(), "{bad}");
        }
    }

    fn refused() -> Failure {
        Failure::new(ErrorKind::ConnectRefused, "refused")
    }

    #[tokio::test]
    async fn a_failure_is_ours_while_no_canary_answers() {
        let (clock, resolver) = (Clock::system(), Resolver::new(&FetcherConfig::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap();
        let dead = Canary::parse("127.0.0.1:1").unwrap();
        let canaries = Canaries::new(vec![dead, Canary::parse(&place.to_string()).unwrap()]);
        let told = async |failure, began| canaries.told(failure, began, &resolver, &clock).await.kind;

        assert_eq!(told(refused(), clock.now()).await, ErrorKind::ConnectRefused, "one answers");
        drop(listener);
        let began = clock.now();
        assert_eq!(told(refused(), began).await, ErrorKind::RunnerOffline);
        let malformed = Failure::new(ErrorKind::HttpMalformed, "no HTTP");
        assert_eq!(told(malformed, began).await, ErrorKind::HttpMalformed, "somebody has answered");

        let listener = TcpListener::bind(place).await.unwrap();
        assert_eq!(told(refused(), began).await, ErrorKind::RunnerOffline, "it was gone meanwhile");
        assert_eq!(told(refused(), clock.now()).await, ErrorKind::ConnectRefused);
        drop(listener);
    }

    #[tokio::test]
    async fn many_failures_ask_once() {
        let (clock, resolver) = (Clock::system(), Resolver::new(&FetcherConfig::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let canaries =
            Canaries::new(vec![Canary::parse(&listener.local_addr().unwrap().to_string()).unwrap()]);
        let began = clock.now();
        let one = async || canaries.told(refused(), began, &resolver, &clock).await.kind;
        let kinds = tokio::join!(one(), one(), one(), one(), one(), one(), one(), one());
        assert_eq!(kinds.0, ErrorKind::ConnectRefused);
        assert_eq!(kinds.7, ErrorKind::ConnectRefused);
        let mut connections = 0;
        while let Ok(Ok(_)) = timeout(Duration::from_millis(50), listener.accept()).await {
            connections += 1;
        }
        assert!((1..=2).contains(&connections), "{connections} connections for 8 failures");
    }
}
