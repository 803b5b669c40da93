//! Stage 3: one target becomes one exchange.
//!
//! [`Fetcher::fetch`] never fails: whatever the other side does, and whatever happens to us, it returns an
//! [`Exchange`] before the deadline (and a timer's grain), and `failure` says why there is no whole response.
//! Facts survive failure: the phases that ended, the addresses, the certificate, the bytes so far.
//!
//! The files in reading order: `request` (what is sent), `resolve` (a name's addresses), `dial` (an address's
//! connection), `tls` (a verifier that remembers), `facts` (what a certificate says), `wire` (what the bytes of
//! the head show), `exchange` (one request and its response), `body` (reading with a cap), `redirect` (where
//! to next, and what may go there), `progress` (what is known so far), `classify` (which kind a failure is),
//! `limits` (file descriptors).

mod config;
mod request;
mod tls;
mod limits;

use std::sync::Arc;
use std::time::Duration;

pub use self::config::{IpVersionText, RequestText, TlsText};
pub use self::limits::{DescriptorLimit, raise_descriptor_limit};
pub use self::request::{
    DEFAULT_BODY_LIMIT, DEFAULT_MAX_REDIRECTS, DEFAULT_TIMEOUT, IpVersion, Request, RequestError,
    RequestSpec, TlsOptions,
};
use self::tls::TlsBase;
use crate::clock::{Clock, Instant};
use crate::model::{ErrorKind, Exchange, Failure};

/// How the runner's one fetcher works. The defaults are right for almost everybody.
#[derive(Debug, Clone)]
pub struct FetcherConfig {
    /// Name servers to ask, instead of those that the system is set to.
    pub dns_servers: Vec<std::net::SocketAddr>,
    /// How many DNS answers are kept for as long as they say; 0, the default, asks anew every time, so that
    /// every phase is measured every time.
    pub dns_cache_entries: u64,
    /// How many names are resolved at the same time, at least 1. Default 256.
    pub dns_concurrency: usize,
    /// How long an address may be silent before the next one is tried beside it. Default 250 ms (RFC 8305).
    pub connect_stagger: Duration,
    /// How many addresses of a name are tried, at least 1. Default 16.
    pub max_addresses: usize,
}

impl Default for FetcherConfig {
    fn default() -> Self {
        Self {
            dns_servers: Vec::new(),
            dns_cache_entries: 0,
            dns_concurrency: 256,
            connect_stagger: Duration::from_millis(250),
            max_addresses: 16,
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
    /// The resolver could not be set up.
    #[error("cannot set up the DNS resolver: {reason}")]
    Resolver {
        /// What the resolver says.
        reason: String,
    },
}

/// Turns targets into exchanges. One for a runner; cheap to clone.
#[derive(Debug, Clone)]
pub struct Fetcher {
    shared: Arc<Shared>,
}

/// What all attempts share.
#[derive(Debug)]
struct Shared {
    tls: TlsBase,
}

impl Fetcher {
    /// Loads the certificate authorities and the resolver's configuration. Blocks for some milliseconds; call
    /// it once, inside the runtime.
    pub fn new(config: FetcherConfig) -> Result<Self, FetchSetupError> {
        let FetcherConfig { .. } = config;
        Ok(Self { shared: Arc::new(Shared { tls: TlsBase::load()? }) })
    }

    /// Whether the operating system has any certificate authority; without one, every https target that has
    /// no `ca_file` fails with `local_trust`.
    pub fn has_system_roots(&self) -> bool {
        self.shared.tls.has_system_roots()
    }

    /// Sends `request` to `target_url` and reads the response, redirects included, until `deadline`.
    pub async fn fetch(
        &self,
        request: &Request,
        target_url: &str,
        deadline: Instant,
        clock: &Clock,
    ) -> Exchange {
        let _ = (request, target_url, deadline, clock);
        Exchange { failure: Some(Failure::new(ErrorKind::Internal, "not built yet")), ..Exchange::default() }
    }
}
