//! A name becomes addresses: hosts file first, then name servers, never on the blocking pool.
//!
//! Both families are asked at once. When one has an answer, the other has 50 ms more (RFC 8305 section 3): a
//! resolver that drops AAAA questions must not hold up every probe.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use tokio::sync::Semaphore;

use super::name_servers::NameServers;
use super::progress::Wire;
use super::request::IpVersion;
use super::{FetcherConfig, classify};
use crate::clock::Clock;
use crate::model::{ErrorKind, Failure};

/// How long an answer waits for the other family's (RFC 8305 section 3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// How long a question keeps its turn. One that is out for longer costs its server nothing more, and the names that
/// nobody answers for must not keep all others waiting until their deadlines.
const TURN: Duration = Duration::from_millis(250);

/// Turns names into addresses, for the whole runner.
pub(super) struct Resolver {
    servers: NameServers,
    hosts: Hosts,
    /// Bounds the names that are asked for at the same time, whoever is asked: name servers drop what comes in
    /// bursts.
    turns: Semaphore,
    /// The servers that requests without servers of their own ask; none for the system's.
    usual_servers: Arc<[SocketAddr]>,
    max_addresses: usize,
}

/// A name's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// In the order to try them: families take turns, IPv6 first. At most `max_addresses`.
    pub(super) addresses: Vec<IpAddr>,
    /// How many there were.
    pub(super) found: u32,
}

impl Resolver {
    /// Reads the system's hosts file. A machine without name servers can still probe addresses; names then fail
    /// as `dns_config`.
    pub(super) fn new(config: &FetcherConfig) -> Self {
        Self {
            servers: NameServers::new(config),
            hosts: Hosts::from_system().unwrap_or_default(),
            turns: Semaphore::new(config.dns_concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            usual_servers: config.dns_servers.as_slice().into(),
            max_addresses: config.max_addresses.max(1),
        }
    }

    /// The addresses of `host`, which is no address itself, and how long finding them took: without the wait
    /// for our own turn, which says nothing about the name and is over when `asks` is called. Asks the request's own
    /// `servers`, if it has any.
    pub(super) async fn resolve(
        &self,
        host: &str,
        version: IpVersion,
        servers: &Arc<[SocketAddr]>,
        clock: &Clock,
        asks: impl FnOnce(),
    ) -> (Result<Answer, Failure>, Duration) {
        let began = clock.now();
        if let Some(answer) = self.without_asking(host, version) {
            return (answer, clock.now().saturating_duration_since(began));
        }
        // Only a closed semaphore fails, and nobody closes this one.
        let turn = self.turns.acquire().await.ok();
        asks();
        let began = clock.now();
        let servers = if servers.is_empty() { &self.usual_servers } else { servers };
        let answer = match self.servers.asking(servers, began) {
            Ok(dns) => {
                let mut answer = std::pin::pin!(self.ask(&dns, host, version));
                match tokio::time::timeout(TURN, answer.as_mut()).await {
                    Ok(answer) => answer,
                    Err(_) => {
                        drop(turn);
                        answer.await
                    }
                }
            }
            Err(failure) => Err(failure),
        };
        (answer, clock.now().saturating_duration_since(began))
    }

    /// The same, telling `wire` of the wait, the time and the answers.
    pub(super) async fn resolve_told(
        &self,
        host: &str,
        version: IpVersion,
        servers: &Arc<[SocketAddr]>,
        clock: &Clock,
        wire: &Wire,
    ) -> Result<Answer, Failure> {
        wire.lock().waits_for_turn = true;
        let asks = || wire.lock().waits_for_turn = false;
        let (answer, took) = self.resolve(host, version, servers, clock, asks).await;
        let mut wire = wire.lock();
        wire.waits_for_turn = false;
        wire.dns = Some(wire.dns.unwrap_or_default() + took);
        let answer = answer?;
        wire.dns_answers = Some(answer.found);
        Ok(answer)
    }

    /// Asks the name servers.
    async fn ask(&self, dns: &TokioResolver, host: &str, version: IpVersion) -> Result<Answer, Failure> {
        let name = Name::from_ascii(host).map_err(|error| classify::dns(&error.into(), host))?;
        let (v4, v6) = match version {
            IpVersion::V4 => (Some(dns.ipv4_lookup(name).await), None),
            IpVersion::V6 => (None, Some(dns.ipv6_lookup(name).await)),
            IpVersion::Any => both_families(dns, name).await,
        };
        self.answer(addresses(v6.as_ref()), addresses(v4.as_ref()))
            .ok_or_else(|| nothing_found(host, [v4, v6]))
    }

    /// What is known without asking a name server: `localhost` (RFC 6761 section 6.3) and the hosts file.
    fn without_asking(&self, host: &str, version: IpVersion) -> Option<Result<Answer, Failure>> {
        let bare = host.strip_suffix('.').unwrap_or(host);
        let is_localhost = bare.eq_ignore_ascii_case("localhost")
            || bare.len() > 10 && bare[bare.len() - 10..].eq_ignore_ascii_case(".localhost");
        let (v4, v6) = if is_localhost {
            (vec![IpAddr::from(Ipv4Addr::LOCALHOST)], vec![IpAddr::from(Ipv6Addr::LOCALHOST)])
        } else {
            let name = Name::from_ascii(host).ok()?;
            let listed = |record| {
                let found = self.hosts.lookup_static_host(&Query::query(name.clone(), record));
                found.as_ref().map(lookup_addresses).unwrap_or_default()
            };
            (listed(RecordType::A), listed(RecordType::AAAA))
        };
        if v4.is_empty() && v6.is_empty() {
            return None;
        }
        let (first, second) = match version {
            // Servers on the loopback mostly listen on IPv4; trying it first saves a refused connection.
            IpVersion::Any if is_localhost => (v4, v6),
            IpVersion::Any => (v6, v4),
            IpVersion::V4 => (v4, Vec::new()),
            IpVersion::V6 => (v6, Vec::new()),
        };
        Some(self.answer(first, second).ok_or_else(|| no_address(host, version)))
    }

    /// The addresses in the order to try them; none when there are none.
    fn answer(&self, first: Vec<IpAddr>, second: Vec<IpAddr>) -> Option<Answer> {
        let found = first.len() + second.len();
        if found == 0 {
            return None;
        }
        let mut addresses = Vec::with_capacity(found.min(self.max_addresses));
        let (mut first, mut second) = (first.into_iter(), second.into_iter());
        while addresses.len() < self.max_addresses {
            let before = addresses.len();
            addresses.extend(first.next());
            addresses.extend(second.next());
            if addresses.len() == before {
                break;
            }
        }
        addresses.truncate(self.max_addresses);
        Some(Answer { addresses, found: u32::try_from(found).unwrap_or(u32::MAX) })
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("max_addresses", &self.max_addresses).finish_non_exhaustive()
    }
}

/// Whether a host is a name that can be asked for at all.
pub(super) fn is_name(host: &str) -> bool {
    Name::from_ascii(host).is_ok()
}

/// The failure of a host whose addresses are all of the other family.
pub(super) fn no_address(host: &str, version: IpVersion) -> Failure {
    let family = if version == IpVersion::V6 { "IPv6" } else { "IPv4" };
    Failure::new(ErrorKind::DnsNodata, format!("{host} has no {family} address"))
}

type Looked = Option<Result<Lookup, NetError>>;

/// Asks for both families at once; gives what came, IPv4 first.
async fn both_families(dns: &TokioResolver, name: Name) -> (Looked, Looked) {
    let mut v4 = std::pin::pin!(dns.ipv4_lookup(name.clone()));
    let mut v6 = std::pin::pin!(dns.ipv6_lookup(name));
    tokio::select! {
        first = &mut v4 => {
            let second = if has_addresses(&first) {
                tokio::time::timeout(RESOLUTION_DELAY, v6).await.ok()
            } else {
                Some(v6.await)
            };
            (Some(first), second)
        }
        first = &mut v6 => {
            let second = if has_addresses(&first) {
                tokio::time::timeout(RESOLUTION_DELAY, v4).await.ok()
            } else {
                Some(v4.await)
            };
            (second, Some(first))
        }
    }
}

fn has_addresses(looked: &Result<Lookup, NetError>) -> bool {
    looked.as_ref().is_ok_and(|lookup| lookup.answers().iter().any(|record| record.data.ip_addr().is_some()))
}

fn addresses(looked: Option<&Result<Lookup, NetError>>) -> Vec<IpAddr> {
    match looked {
        Some(Ok(lookup)) => lookup_addresses(lookup),
        _ => Vec::new(),
    }
}

fn lookup_addresses(lookup: &Lookup) -> Vec<IpAddr> {
    lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect()
}

/// The failure of a name for which no family gave an address. That it does not exist is proof; otherwise, one
/// family's silence leaves the other's "none" unproven.
fn nothing_found(host: &str, looked: [Looked; 2]) -> Failure {
    let failures =
        looked.into_iter().flatten().filter_map(Result::err).map(|error| classify::dns(&error, host));
    let proof = |failure: &Failure| match failure.kind {
        ErrorKind::DnsNxdomain => 2,
        ErrorKind::DnsNodata => 0,
        _ => 1,
    };
    failures
        .max_by_key(proof)
        .unwrap_or_else(|| Failure::new(ErrorKind::DnsNodata, format!("the name {host} has no address")))
}
