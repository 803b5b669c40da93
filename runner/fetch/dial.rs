//! An address becomes a connection: our own dialer under hyper-rustls, so that resolving and connecting are
//! timed apart from TLS.
//!
//! Several addresses are tried as RFC 8305 says: in order, the next one when the one before fails or has been
//! silent for a while, the first connection wins.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tower_service::Service;

use super::carrier::Carrier;
use super::classify::{self, Carried};
use super::pins::Pins;
use super::policy::AddressPolicy;
use super::progress::{Stage, Wire};
use super::proxy::Proxy;
use super::request::IpVersion;
use super::{Shared, resolve};
use crate::clock::{Clock, Instant};
use crate::model::{ErrorKind, Failure, Outcome};

/// Connects once, for one request.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) shared: Arc<Shared>,
    pub(super) wire: Wire,
    pub(super) clock: Clock,
    pub(super) ip_version: IpVersion,
    pub(super) dns_servers: Arc<[SocketAddr]>,
    pub(super) pins: Arc<Pins>,
    /// The one address to connect to, where it has been chosen.
    pub(super) chosen: Option<Chosen>,
    pub(super) address_policy: Arc<AddressPolicy>,
    /// The address of this machine to connect from.
    pub(super) source_address: Option<IpAddr>,
    /// The proxy to go through.
    pub(super) proxy: Option<Arc<Proxy>>,
    /// Whether the proxy is sent the request itself, instead of carrying a connection.
    pub(super) forwards: bool,
    /// Whether more than one write follows (a handshake, a body): then Nagle's algorithm would hold the last
    /// one back for the acknowledgement of the one before.
    pub(super) several_writes: bool,
}

/// One of a name's addresses, chosen before the attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chosen {
    pub(super) address: IpAddr,
    /// How long resolving the name took.
    pub(super) dns: Duration,
    /// How many addresses the name has.
    pub(super) answers: u32,
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Carrier>;
    type Error = Carried;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Carried>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Carried>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move { dialer.dial(&uri).await.map(TokioIo::new).map_err(Carried) })
    }
}

impl Dialer {
    async fn dial(&self, uri: &Uri) -> Result<Carrier, Failure> {
        let place = place(uri, &self.pins);
        if let Some(proxy) = &self.proxy {
            // Boxed: few need it, and the memory of every probe in flight would have room for it.
            return Box::pin(self.dial_through(proxy, uri, place.port)).await;
        }
        let (addresses, port) = match self.chosen {
            Some(Chosen { address, dns, answers }) => {
                let mut wire = self.wire.lock();
                wire.dns = Some(dns);
                wire.dns_answers = Some(answers);
                (vec![address], place.port)
            }
            None => self.addresses(place.host, place.port, self.ip_version).await?,
        };
        let began = self.clock.now();
        let (stream, address) = self.connect_any(&addresses, port).await?;
        self.stands(began, address);
        if self.several_writes {
            let _ = stream.set_nodelay(true);
        }
        Ok(Carrier::direct(stream))
    }

    /// The addresses of a host and the port there: as the user says, as they stand, or as the resolver says.
    pub(super) async fn addresses(
        &self,
        host: &str,
        port: u16,
        version: IpVersion,
    ) -> Result<(Vec<IpAddr>, u16), Failure> {
        let Place { bare, known, .. } = place_at(host, port, &self.pins);
        match known {
            Some((address, _)) if !allowed(address, version) => Err(resolve::no_address(bare, version)),
            Some((address, port)) => Ok((vec![address], port)),
            None => Ok((self.resolve(host, version).await?, port)),
        }
    }

    async fn resolve(&self, host: &str, version: IpVersion) -> Result<Vec<IpAddr>, Failure> {
        let resolver = &self.shared.resolver;
        let answer = resolver.resolve_told(host, version, &self.dns_servers, &self.clock, &self.wire).await?;
        Ok(answer.addresses)
    }

    /// Connects to the first address that answers.
    pub(super) async fn connect_any(
        &self,
        addresses: &[IpAddr],
        port: u16,
    ) -> Result<(TcpStream, SocketAddr), Failure> {
        self.wire.lock().stage = Stage::Connect;
        match addresses {
            [only] => self.connect(SocketAddr::new(*only, port)).await,
            several => self.race(several, port).await,
        }
    }

    /// Tells that a connection stands whose making began then.
    pub(super) fn stands(&self, began: Instant, address: SocketAddr) {
        let now = self.clock.now();
        let mut wire = self.wire.lock();
        wire.stage = Stage::Tls;
        wire.connect = Some(now.saturating_duration_since(began));
        wire.connected_at = Some(now);
        wire.remote_addr = Some(address);
    }

    /// The one place where an address is connected to.
    async fn connect(&self, address: SocketAddr) -> Result<(TcpStream, SocketAddr), Failure> {
        self.wire.lock().remote_addr = Some(address);
        self.permit(address)?;
        let connecting = match self.source_address {
            None => TcpStream::connect(address).await,
            Some(source) => bound(source)?.connect(address).await,
        };
        match connecting {
            Ok(stream) => Ok((stream, address)),
            Err(error) => Err(classify::connect(&error, address)),
        }
    }

    /// Whether the policy lets an address be connected to.
    pub(super) fn permit(&self, address: SocketAddr) -> Result<(), Failure> {
        let Some(reason) = self.address_policy.forbids(address.ip()) else { return Ok(()) };
        let message = format!("the address policy forbids to connect to {address}: {reason}");
        Err(Failure::new(ErrorKind::ConnectDenied, message))
    }

    /// Tries the addresses in order, the next one when the newest fails or has been silent for the stagger. A third
    /// one at the same time needs a connection to spare.
    async fn race(&self, addresses: &[IpAddr], port: u16) -> Result<(TcpStream, SocketAddr), Failure> {
        let stagger = self.shared.connect_stagger;
        let mut waiting = addresses.iter();
        let mut running = Vec::with_capacity(addresses.len());
        let mut worst: Option<Failure> = None;
        let mut silence = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
        loop {
            let spare = match running.len() {
                0 | 1 => Some(None),
                _ => self.shared.spare.try_acquire().ok().map(Some),
            };
            silence.as_mut().reset(self.clock.now() + stagger);
            if let Some((spare, address)) = spare.and_then(|spare| Some((spare, waiting.next()?))) {
                let connecting = async move {
                    let connected = self.connect(SocketAddr::new(*address, port)).await;
                    drop(spare);
                    connected
                };
                running.push(Box::pin(connecting));
            } else if running.is_empty() {
                let nothing = || Failure::new(ErrorKind::ConnectFailed, "there is no address to connect to");
                return Err(worst.unwrap_or_else(nothing));
            }
            let more = waiting.len() > 0;
            let ended = std::future::poll_fn(|cx| {
                for index in 0..running.len() {
                    if let Poll::Ready(result) = running[index].as_mut().poll(cx) {
                        drop(running.swap_remove(index));
                        return Poll::Ready(Some(result));
                    }
                }
                if more && silence.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                Poll::Pending
            });
            match ended.await {
                Some(Ok(connected)) => return Ok(connected),
                Some(Err(failure)) => worst = Some(more_telling(worst.take(), failure)),
                None => {}
            }
        }
    }
}

/// A socket that connects from an address of this machine's own.
fn bound(source: IpAddr) -> Result<TcpSocket, Failure> {
    let socket = if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let bound = socket.and_then(|socket| {
        // A port is chosen here already, without regard to where to: others may use it as well.
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(source, 0))?;
        Ok(socket)
    });
    bound.map_err(|error| classify::source(&error, source))
}

/// Where a URL leads, as far as it can be told without a resolver.
pub(super) struct Place<'a> {
    /// As the URL has it.
    pub(super) host: &'a str,
    /// Without the brackets of an IPv6 address.
    bare: &'a str,
    pub(super) port: u16,
    /// The address and port: the user's own, or those of a host that is an address.
    pub(super) known: Option<(IpAddr, u16)>,
}

pub(super) fn place<'a>(uri: &'a Uri, pins: &Pins) -> Place<'a> {
    let host = uri.host().unwrap_or_default();
    let default_port = if uri.scheme() == Some(&http::uri::Scheme::HTTPS) { 443 } else { 80 };
    place_at(host, uri.port_u16().unwrap_or(default_port), pins)
}

fn place_at<'a>(host: &'a str, port: u16, pins: &Pins) -> Place<'a> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let pinned = pins.find(host, port);
    let known = pinned.or_else(|| bare.parse().ok().map(|address: IpAddr| (address, port)));
    Place { host, bare, port, known }
}

fn allowed(address: IpAddr, version: IpVersion) -> bool {
    match version {
        IpVersion::Any => true,
        IpVersion::V4 => address.is_ipv4(),
        IpVersion::V6 => address.is_ipv6(),
    }
}

/// Of two addresses' failures, the one to report: ours before theirs, since with it nothing is proven; theirs
/// before what is between us and them, since a missing IPv6 route says nothing of a refused IPv4 connection.
fn more_telling(earlier: Option<Failure>, later: Failure) -> Failure {
    let weight = |failure: &Failure| match failure.kind.group() {
        crate::model::ErrorGroup::Local => 2,
        _ if failure.kind.outcome() == Outcome::Down => 1,
        _ => 0,
    };
    match earlier {
        Some(earlier) if weight(&earlier) >= weight(&later) => earlier,
        _ => later,
    }
}
