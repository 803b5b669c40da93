//! Stage 3: one target becomes one exchange.
//!
//! [`Fetcher::fetch`] never fails: whatever the other side does, and whatever happens to us, it returns an
//! [`Exchange`] before the deadline (and a timer's grain), and `failure` says why there is no whole response.
//! Facts survive failure: the phases that ended, the addresses, the certificate, the bytes so far.
//!
//! The files in reading order: `request` (what is sent), `policy` (where to at all), `name_servers` (who is asked),
//! `resolve` (a name's addresses), `pins` (the user's own addresses), `proxy` (through whom), `carrier` (a connection
//! that knows of a proxy), `dial` (an address's connection), `tunnel` (a proxy's connection becomes one to the target),
//! `tls` (a verifier that remembers), `facts` (what a certificate says), `wire` (what the bytes show as they go by),
//! `link` (a connection that speaks HTTP), `pool` (connections that wait), `exchange` (one request and its response),
//! `addresses` (every address of a name),
//! `body` (reading with a cap), `budget` (memory for all bodies), `decode` (what compressed bytes stand for),
//! `redirect` (where to next, and what may go there), `oauth` (a token first), `progress` (what is known so far),
//! `classify` (which kind a failure is), `limits` (file descriptors), `memory` (what there is for all),
//! `retry` (whether there is another attempt),
//! `canaries` (whether a failure may be our own network's), `fuzz`
//! (what holds whatever the other side sends).

mod config;
mod request;
mod policy;
mod name_servers;
mod resolve;
mod pins;
mod proxy;
mod carrier;
mod dial;
mod tunnel;
mod tls;
mod facts;
mod wire;
mod link;
mod pool;
mod exchange;
mod addresses;
mod body;
mod budget;
mod decode;
mod redirect;
mod oauth;
mod progress;
mod classify;
mod limits;
mod memory;
mod retry;
mod canaries;
#[cfg(any(test, fuzzing))]
pub mod fuzz;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header;
use http::uri::{Authority, Uri};
use hyper_rustls::{DefaultServerNameResolver, ResolveServerName};
use tokio::sync::Semaphore;
use url::Url;

use self::budget::BodyMemory;
use self::canaries::Canaries;
pub use self::canaries::{CANARIES_MAX, Canary};
pub use self::config::{
    AddressPolicyText, AddressesText, AuthText, BasicText, ConnectionText, DnsText, HttpVersionText,
    IpVersionText, NetworksText, OAuthStyleText, OAuthText, RequestText, RetryOnText, RetryText, TlsText,
    TlsVersionText,
};
use self::dial::Chosen;
use self::exchange::Outgoing;
pub use self::limits::{DescriptorLimit, raise_descriptor_limit};
pub use self::memory::MemoryLimit;
pub use self::name_servers::{DnsServer, SystemDns};
pub use self::oauth::OAuthSpec;
use self::oauth::Token;
pub use self::policy::{AddressPolicy, Network};
use self::pool::Pool;
use self::progress::Progress;
pub use self::proxy::proxy_secrets;
use self::redirect::Trail;
pub use self::request::{
    ClientPem, DEFAULT_BODY_LIMIT, DEFAULT_DECOMPRESSION_RATIO_LIMIT, DEFAULT_HEADER_LIMIT,
    DEFAULT_MAX_HEADERS, DEFAULT_MAX_REDIRECTS, DEFAULT_TIMEOUT, HttpVersions, IpVersion, Request,
    RequestError, RequestSpec, TlsOptions,
};
use self::resolve::Resolver;
pub use self::retry::Retry;
use self::tls::TlsBase;
use crate::clock::{Clock, Instant};
use crate::model::{ErrorKind, Exchange, Failure};

/// The default of [`FetcherConfig::body_memory`]: 256 MiB, or 256 bodies of the default `body_limit`.
pub const DEFAULT_BODY_MEMORY: u64 = 256 << 20;
/// The default of [`FetcherConfig::spare_connections`].
pub const DEFAULT_SPARE_CONNECTIONS: usize = 1_024;
/// The default of [`FetcherConfig::idle_connections`].
pub const DEFAULT_IDLE_CONNECTIONS: usize = 1_024;

/// How the runner's one fetcher works. The defaults are right for almost everybody.
#[derive(Debug, Clone)]
pub struct FetcherConfig {
    /// Name servers to ask, instead of those that the system is set to, where a request has none of its own.
    pub dns_servers: Vec<std::net::SocketAddr>,
    /// Where the system says which name servers to ask.
    pub system_dns: SystemDns,
    /// How many DNS answers are kept for as long as they say; 0, the default, asks anew every time, so that
    /// every phase is measured every time.
    pub dns_cache_entries: u64,
    /// How many names are resolved at the same time, at least 1. Default 256.
    pub dns_concurrency: usize,
    /// How long an address may be silent before the next one is tried beside it. Default 250 ms (RFC 8305).
    pub connect_stagger: Duration,
    /// How many addresses of a name are tried, at least 1. Default 16.
    pub max_addresses: usize,
    /// Bytes that all bodies in flight may take together, the first 64 KiB of each apart. Default 256 MiB.
    pub body_memory: u64,
    /// Connections that may wait for their next request, over all pipelines that reuse theirs. Default 1,024.
    pub idle_connections: usize,
    /// Connections that probes may make beyond two each, over all of them: to further addresses of a name. At least
    /// 1. Default 1,024.
    pub spare_connections: usize,
    /// Places that tell whether the runner's own network is there, at most [`CANARIES_MAX`]. Default none: every
    /// failure is taken for what it looks like.
    pub canaries: Vec<Canary>,
}

impl Default for FetcherConfig {
    fn default() -> Self {
        Self {
            dns_servers: Vec::new(),
            system_dns: SystemDns::default(),
            dns_cache_entries: 0,
            dns_concurrency: 256,
            connect_stagger: Duration::from_millis(250),
            max_addresses: 16,
            body_memory: DEFAULT_BODY_MEMORY,
            idle_connections: DEFAULT_IDLE_CONNECTIONS,
            spare_connections: DEFAULT_SPARE_CONNECTIONS,
            canaries: Vec::new(),
        }
    }
}

/// Why the fetcher could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum FetchSetupError {
    /// The TLS library could not be set up.
    #[error("cannot set up TLS: {reason}")]
    Tls {
        /// What the TLS library says.
        reason: String,
    },
}

/// Turns targets into exchanges. One for a runner; cheap to clone.
#[derive(Debug, Clone)]
pub struct Fetcher {
    shared: Arc<Shared>,
}

/// What all attempts share.
struct Shared {
    resolver: Resolver,
    tls: TlsBase,
    /// For connections without TLS, which never ask it.
    no_server_name: Arc<dyn ResolveServerName + Send + Sync>,
    connect_stagger: Duration,
    body_memory: BodyMemory,
    pool: Pool,
    /// Connections of probes beyond the two that each is counted with.
    spare: Semaphore,
    canaries: Canaries,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("resolver", &self.resolver).finish_non_exhaustive()
    }
}

impl Fetcher {
    /// Loads the certificate authorities and the hosts file. Blocks for some milliseconds; call
    /// it once, inside the runtime.
    pub fn new(config: &FetcherConfig) -> Result<Self, FetchSetupError> {
        Ok(Self {
            shared: Arc::new(Shared {
                resolver: Resolver::new(config),
                tls: TlsBase::load()?,
                no_server_name: Arc::new(DefaultServerNameResolver::default()),
                connect_stagger: config.connect_stagger,
                body_memory: BodyMemory::new(config.body_memory),
                pool: Pool::new(config.idle_connections),
                spare: Semaphore::new(config.spare_connections.clamp(1, Semaphore::MAX_PERMITS)),
                canaries: Canaries::new(config.canaries.clone()),
            }),
        })
    }

    /// Whether the operating system has any certificate authority; without one, every https target that has
    /// no `ca_file` fails with `local_trust`.
    pub fn has_system_roots(&self) -> bool {
        self.shared.tls.has_system_roots()
    }

    /// Sends `request` to `target_url` and reads the response, redirects included, until `deadline`.
    /// A failure that may be our own network's comes some seconds later, where there are canaries to ask.
    pub async fn fetch(
        &self,
        request: &Request,
        target_url: &str,
        deadline: Instant,
        clock: &Clock,
    ) -> Exchange {
        self.fetch_from(request, target_url, None, deadline, clock).await
    }

    /// The same, from one address of the target's.
    async fn fetch_from(
        &self,
        request: &Request,
        target_url: &str,
        chosen: Option<Chosen>,
        deadline: Instant,
        clock: &Clock,
    ) -> Exchange {
        let began = clock.now();
        let mut progress = Progress::new(began);
        if deadline <= began {
            let late = Failure::new(ErrorKind::Internal, "the deadline had passed before the attempt began");
            return progress.finish(Some(late), began);
        }
        let run = self.run(request, target_url, chosen, &mut progress, deadline, clock);
        let failure = match tokio::time::timeout_at(deadline, run).await {
            Ok(result) => result.err(),
            Err(_) => Some(progress.at_deadline()),
        };
        let failure = failure.map(|failure| progress.told(failure));
        progress.settle_hop(false, clock);
        progress.exchange.kept_headers = Arc::clone(&request.response_headers);
        let mut exchange = progress.finish(failure, clock.now());
        self.blame_network(&mut exchange, began, clock).await;
        exchange
    }

    /// Holds a failure of an exchange that began then against the canaries.
    async fn blame_network(&self, exchange: &mut Exchange, began: Instant, clock: &Clock) {
        let Some(failure) = exchange.failure.take() else { return };
        let Shared { canaries, resolver, .. } = &*self.shared;
        // Boxed: few need it, and the memory of every probe in flight would have room for it.
        exchange.failure = Some(Box::pin(canaries.told(failure, began, resolver, clock)).await);
    }

    /// As [`Fetcher::fetch`], for a fetch within another one: of a type of its own, which that one can contain.
    fn fetch_within<'a>(
        &'a self,
        request: &'a Request,
        url: &'a str,
        deadline: Instant,
        clock: &'a Clock,
    ) -> Pin<Box<dyn Future<Output = Exchange> + Send + 'a>> {
        Box::pin(self.fetch(request, url, deadline, clock))
    }

    /// The token that the request is to have, if any.
    async fn token(
        &self,
        request: &Request,
        outgoing: &Outgoing,
        progress: &mut Progress,
        deadline: Instant,
        clock: &Clock,
    ) -> Result<Option<Token>, Failure> {
        let Some(oauth) = &request.oauth else { return Ok(None) };
        progress.begin_hop(outgoing.uri.to_string(), outgoing.method.clone(), clock.now());
        progress.waits_for_token = true;
        // Boxed: few need it, and the memory of every probe in flight would have room for it.
        let token = Box::pin(oauth.token(request, self, deadline, clock)).await?;
        progress.waits_for_token = false;
        progress.exchange.sent_token = Some(token.secret.clone());
        Ok(Some(token))
    }

    /// One request after the other, until a response is no redirect to follow.
    async fn run(
        &self,
        request: &Request,
        target_url: &str,
        chosen: Option<Chosen>,
        progress: &mut Progress,
        deadline: Instant,
        clock: &Clock,
    ) -> Result<(), Failure> {
        let mut outgoing = first_request(request, target_url)?;
        outgoing.chosen = chosen;
        let token = self.token(request, &outgoing, progress, deadline, clock).await?;
        if let Some(token) = &token {
            let headers = outgoing.headers.insert(request.headers.clone());
            headers.insert(header::AUTHORIZATION, token.header.clone());
        }
        let mut own_headers = outgoing.headers.clone();
        let mut trail = Trail::default();
        let mut followed = 0;
        loop {
            progress.begin_hop(outgoing.uri.to_string(), outgoing.method.clone(), clock.now());
            let response = exchange::send(&self.shared, request, &outgoing, progress, clock).await?;
            progress.exchange.redirects = Some(followed);
            if let (Some(oauth), Some(token), Some(head)) = (&request.oauth, &token, &progress.exchange.head)
                && head.status == 401
                && outgoing.carries(&token.header)
            {
                oauth.refused(token);
            }
            let redirect = progress
                .exchange
                .head
                .as_ref()
                .filter(|head| request.follow_redirects && redirect::is_redirect(head.status));
            let Some(head) = redirect else {
                return response.read_body(&self.shared, request, progress, clock).await;
            };
            if followed >= request.max_redirects {
                let message = format!("more than {} redirects", request.max_redirects);
                return Err(Failure::new(ErrorKind::RedirectLimit, message));
            }
            let own = own_headers.get_or_insert_with(|| request.headers.clone());
            outgoing = trail.follow(outgoing, own, head)?;
            followed += 1;
            progress.exchange.redirects = Some(followed);
            progress.settle_hop(true, clock);
        }
    }
}

/// The first request of an attempt.
fn first_request(request: &Request, target_url: &str) -> Result<Outgoing, Failure> {
    let unusable = |reason: &dyn std::fmt::Display| {
        Failure::new(ErrorKind::Internal, format!("the target's URL cannot be used: {reason}"))
    };
    let mut uri = Uri::try_from(target_url).map_err(|error| unusable(&error))?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        // Sources take user information out; should it come here all the same, it must go nowhere.
        let mut url = Url::parse(target_url).map_err(|error| unusable(&error))?;
        let _ = url.set_username("");
        let _ = url.set_password(None);
        uri = Uri::try_from(url.as_str()).map_err(|error| unusable(&error))?;
    }
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(unusable(&"it is neither http nor https"));
    }
    // Who asks for another host means that host's certificate too, unless told otherwise.
    let host_header = || {
        let authority = Authority::try_from(request.headers.get(header::HOST)?.as_bytes()).ok()?;
        tls::server_name_of(authority.host())
    };
    Ok(Outgoing {
        uri: request.first_uri(uri),
        method: request.method.clone(),
        headers: None,
        body: request.body.clone(),
        server_name: request.tls.server_name.clone().or_else(host_header),
        shows_certificate: true,
        chosen: None,
    })
}

#[cfg(test)]
mod tests;
