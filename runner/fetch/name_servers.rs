//! Which name servers are asked: those that the system is set to, as they are now, or a request's own.
//!
//! What the system is set to may change while the runner runs (another network, a container's file that is mounted
//! anew): the file is read again when a name is to be resolved and the last look was some seconds ago, and its
//! content decides. Requests with the same servers of their own share one resolver, however many targets they have.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{Resolver as Hickory, TokioResolver};

use super::FetcherConfig;
use crate::clock::Instant;
use crate::config::read_input;
use crate::model::{ErrorKind, Failure};

/// The port that name servers have unless another one is written (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;
/// The largest file of the system's that is read: they have some hundred bytes.
const LARGEST_CONFIG: u64 = 64 << 10;
/// Lists of servers whose resolvers are kept: each may hold a connection to each of its servers.
const MOST_LISTS: usize = 64;

/// A name server of the user's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DnsServer(pub SocketAddr);

impl DnsServer {
    /// Reads an address, with or without a port. The error says what is wanted, without quoting the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let address = match bare.parse::<IpAddr>() {
            Ok(address) => SocketAddr::new(address, DNS_PORT),
            Err(_) => text.parse().map_err(
                |_| "a name server is an IP address, with or without a port: \"10.0.0.53\", \"[::1]:5353\"",
            )?,
        };
        if address.port() == 0 {
            return Err("no name server has the port 0");
        }
        Ok(Self(address))
    }
}

/// Where the system says which name servers to ask.
#[derive(Debug, Clone)]
pub struct SystemDns {
    /// The file that says it. Default `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
    /// The port of the servers in it, which has no place for one. Default 53.
    pub port: u16,
    /// How long what was read is good. Default 2 s.
    pub good_for: Duration,
}

impl Default for SystemDns {
    fn default() -> Self {
        Self {
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            port: DNS_PORT,
            good_for: Duration::from_secs(2),
        }
    }
}

/// All name servers that the runner asks.
pub(super) struct NameServers {
    building: Building,
    system: System,
    /// The last used at the end.
    own: Mutex<Vec<Own>>,
}

/// Servers of requests' own.
struct Own {
    servers: Arc<[SocketAddr]>,
    /// What asks them.
    resolver: Arc<TokioResolver>,
}

impl NameServers {
    pub(super) fn new(config: &FetcherConfig) -> Self {
        Self {
            building: Building {
                cache_entries: config.dns_cache_entries,
                concurrency: config.dns_concurrency.max(1),
            },
            system: System { source: config.system_dns.clone(), seen: Mutex::default() },
            own: Mutex::default(),
        }
    }

    /// What asks these servers, or those of the system where there are none.
    pub(super) fn asking(
        &self,
        servers: &Arc<[SocketAddr]>,
        now: Instant,
    ) -> Result<Arc<TokioResolver>, Failure> {
        if servers.is_empty() { self.system.current(&self.building, now) } else { self.own(servers) }
    }

    fn own(&self, servers: &Arc<[SocketAddr]>) -> Result<Arc<TokioResolver>, Failure> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match own.iter().position(|known| known.servers == *servers) {
            Some(at) => own.remove(at),
            None => {
                let config =
                    ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(name_server).collect());
                let built = self.building.resolver(config, ResolverOpts::default());
                let built = built.map_err(|reason| unusable("the name servers cannot be asked", &reason))?;
                Own { servers: Arc::clone(servers), resolver: Arc::new(built) }
            }
        };
        let resolver = Arc::clone(&known.resolver);
        own.push(known);
        if own.len() > MOST_LISTS {
            // What still asks through the oldest one goes on to its end.
            own.remove(0);
        }
        Ok(resolver)
    }
}

/// What all resolvers have in common.
struct Building {
    cache_entries: u64,
    concurrency: usize,
}

impl Building {
    fn resolver(&self, config: ResolverConfig, mut options: ResolverOpts) -> Result<TokioResolver, String> {
        options.cache_size = self.cache_entries;
        // The hosts file is looked at before: hickory would still ask for the family that is not listed in it.
        options.use_hosts_file = ResolveHosts::Never;
        // More than this at once over one TCP connection would be refused as "busy", by us. A name that nobody
        // answers for is one until its deadline, beside those that have their turn.
        options.max_active_requests = self.concurrency.saturating_mul(64).max(32);
        let mut builder = Hickory::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        builder.build().map_err(|error| error.to_string())
    }
}

/// The name servers that the system is set to.
struct System {
    source: SystemDns,
    seen: Mutex<Option<Seen>>,
}

/// What the system was set to at the last look.
struct Seen {
    looked_at: Instant,
    /// The file, or why it could not be read.
    content: Result<Vec<u8>, &'static str>,
    /// What asks the servers in it, or what is wrong with it.
    resolver: Result<Arc<TokioResolver>, String>,
    /// Whether the last look found another file, which is of no use.
    is_doubtful: bool,
}

impl System {
    /// What asks the servers that the system is set to now.
    fn current(&self, building: &Building, now: Instant) -> Result<Arc<TokioResolver>, Failure> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = match &mut *seen {
            Some(seen) => {
                if now.saturating_duration_since(seen.looked_at) >= self.source.good_for {
                    self.look_again(seen, building, now);
                }
                seen
            }
            none => {
                let content = self.read();
                let resolver = self.resolver(&content, building);
                none.insert(Seen { looked_at: now, content, resolver, is_doubtful: false })
            }
        };
        seen.resolver.as_ref().map(Arc::clone).map_err(|reason| {
            let what = format!("{} names no name server to ask", self.source.resolv_conf.display());
            unusable(&what, reason)
        })
    }

    fn look_again(&self, seen: &mut Seen, building: &Building, now: Instant) {
        seen.looked_at = now;
        let content = self.read();
        if content == seen.content {
            seen.is_doubtful = false;
            return;
        }
        let resolver = self.resolver(&content, building);
        // A file that is being written anew is empty or gone for a moment: only what stays so counts.
        if resolver.is_err() && seen.resolver.is_ok() && !seen.is_doubtful {
            seen.is_doubtful = true;
            return;
        }
        let file = self.source.resolv_conf.display();
        match &resolver {
            Ok(_) => tracing::info!(%file, "the system's name servers have changed"),
            Err(reason) => tracing::warn!(%file, reason, "the system names no name server to ask any more"),
        }
        *seen = Seen { looked_at: now, content, resolver, is_doubtful: false };
    }

    fn read(&self) -> Result<Vec<u8>, &'static str> {
        read_input(&self.source.resolv_conf, LARGEST_CONFIG)
    }

    fn resolver(
        &self,
        content: &Result<Vec<u8>, &'static str>,
        building: &Building,
    ) -> Result<Arc<TokioResolver>, String> {
        let content = content.as_ref().map_err(|reason| (*reason).to_owned())?;
        let (config, options) = read_config(content).ok_or("it has no line \"nameserver\"")?;
        let (domain, search, mut servers) = config.into_parts();
        for connection in servers.iter_mut().flat_map(|server| &mut server.connections) {
            connection.port = self.source.port;
        }
        let config = ResolverConfig::from_parts(domain, search, servers);
        building.resolver(config, options).map(Arc::new)
    }
}

/// What a `resolv.conf` says; none where it names no server.
#[cfg(all(unix, not(any(target_os = "android", target_vendor = "apple"))))]
fn read_config(content: &[u8]) -> Option<(ResolverConfig, ResolverOpts)> {
    hickory_resolver::system_conf::parse_resolv_conf(content).ok()
}

/// What the system says where the file is only a copy of it.
#[cfg(not(all(unix, not(any(target_os = "android", target_vendor = "apple")))))]
fn read_config(_: &[u8]) -> Option<(ResolverConfig, ResolverOpts)> {
    hickory_resolver::system_conf::read_system_conf().ok()
}

fn unusable(what: &str, reason: &str) -> Failure {
    Failure::new(ErrorKind::DnsConfig, format!("{what}: {reason}"))
}

/// A server that is asked over UDP first, and over TCP where that does not do.
fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn servers_have_an_address_and_a_port() {
        for (text, expected) in [
            ("10.0.0.53", "10.0.0.53:53"),
            ("127.0.0.1:5353", "127.0.0.1:5353"),
            ("[::1]:53", "[::1]:53"),
            ("[::1]", "[::1]:53"),
            ("::1", "[::1]:53"),
        ] {
            assert_eq!(DnsServer::parse(text).map(|server| server.0.to_string()), Ok(expected.to_owned()));
        }
        for text in
            ["", "dns.example", "10.0.0.53:", "10.0.0.53:0", "10.0.0.53:99999", "[10.0.0.53", "udp://1.2.3.4"]
        {
            assert!(DnsServer::parse(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn requests_with_the_same_servers_share_one_resolver_and_few_lists_are_kept() {
        let (servers, now) = (NameServers::new(&FetcherConfig::default()), Clock::system().now());
        let list =
            |last: u8| -> Arc<[SocketAddr]> { Arc::new([SocketAddr::from(([127, 0, 0, last], 5353))]) };
        let first = servers.asking(&list(1), now).unwrap();
        for last in 2..=200 {
            let other = servers.asking(&list(last), now).unwrap();
            assert!(!Arc::ptr_eq(&first, &other));
            assert!(Arc::ptr_eq(&first, &servers.asking(&list(1), now).unwrap()), "{last}");
        }
        assert_eq!(servers.own.lock().unwrap().len(), MOST_LISTS);
    }

    #[tokio::test]
    async fn the_file_is_read_again_only_when_it_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("resolv.conf");
        let long = Duration::from_secs(2);
        let system_dns = SystemDns { resolv_conf: file.clone(), port: 1, good_for: long };
        let servers = NameServers::new(&FetcherConfig { system_dns, ..FetcherConfig::default() });
        let (none, now) = (Arc::default(), Clock::system().now());
        std::fs::write(&file, "nameserver 127.0.0.1\n").unwrap();
        let first = servers.asking(&none, now).unwrap();
        std::fs::write(&file, "nameserver 127.0.0.2\n").unwrap();
        let almost = now + long - Duration::from_millis(1);
        assert!(Arc::ptr_eq(&first, &servers.asking(&none, almost).unwrap()));
        let second = servers.asking(&none, now + long).unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        // Written again with the same content: nothing is built anew.
        std::fs::write(&file, "nameserver 127.0.0.2\n").unwrap();
        assert!(Arc::ptr_eq(&second, &servers.asking(&none, now + long * 2).unwrap()));
    }
}
