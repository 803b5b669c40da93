//! A proxy's connection becomes one to the target: CONNECT of HTTP (RFC 9110 section 9.3.6) and SOCKS 5 (RFC 1928,
//! RFC 1929).
//!
//! What a proxy answers is bounded, and not a byte more is read than belongs to it: what follows is the target's.
//! The attempt's deadline ends whoever hangs.

use std::io;
use std::net::{IpAddr, SocketAddr};

use http::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::carrier::Carrier;
use super::dial::Dialer;
use super::progress::Way;
use super::proxy::{self, Proxy, ProxyKind};
use super::request::{IpVersion, USER_AGENT};
use crate::model::{ErrorKind, Failure};

/// Bytes and headers that a proxy's answer to CONNECT may have, interim ones included.
const MOST_ANSWER_BYTES: usize = 16 * 1024;
const MOST_ANSWER_HEADERS: usize = 100;

/// Names of SOCKS, in the order of RFC 1928 and RFC 1929.
const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USERNAME_AND_PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xff;
const AUTHENTICATION_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Where a proxy is to connect to.
enum Destination {
    Address(SocketAddr),
    /// A host as a URL has it, and a port.
    Host(String, u16),
}

impl Dialer {
    /// Connects to the target of `uri` through a proxy, or to the proxy where that is sent the request itself.
    pub(super) async fn dial_through(&self, proxy: &Proxy, uri: &Uri, port: u16) -> Result<Carrier, Failure> {
        let forwards = self.forwards;
        self.wire.lock().way = Some(Way { forwards, is_heard: false });
        let addresses = self.addresses(&proxy.host, proxy.port, IpVersion::Any).await;
        let (addresses, proxy_port) = addresses.map_err(proxy::unreachable)?;
        // Rows tell of the target's addresses.
        self.wire.lock().dns_answers = None;
        let destinations = self.destinations(proxy, uri.host().unwrap_or_default(), port).await?;

        let began = self.clock.now();
        let mut first_failure = None;
        for destination in destinations {
            if let Destination::Address(address) = &destination
                && let Err(failure) = self.permit(*address)
            {
                first_failure.get_or_insert(failure);
                continue;
            }
            let connected = self.connect_any(&addresses, proxy_port).await;
            let (mut stream, address) = connected.map_err(proxy::unreachable)?;
            let _ = stream.set_nodelay(true);
            let tunnel = Tunnel { stream: &mut stream, proxy, address };
            let agreed = match proxy.kind {
                ProxyKind::Http if forwards => Ok(()),
                ProxyKind::Http => tunnel.connect(&destination).await,
                ProxyKind::Socks5 | ProxyKind::Socks5h => tunnel.socks(&destination).await,
            };
            match agreed {
                Ok(()) => {
                    self.stands(began, address);
                    return Ok(Carrier::through_proxy(stream, self.wire.clone()));
                }
                Err(failure) if failure.kind == ErrorKind::ProxyRefused => {
                    first_failure.get_or_insert(failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        let nothing = || Failure::new(ErrorKind::ConnectFailed, "there is no address to connect to");
        Err(first_failure.unwrap_or_else(nothing))
    }

    /// Where the proxy is to connect to: one after the other, until it has done so.
    async fn destinations(&self, proxy: &Proxy, host: &str, port: u16) -> Result<Vec<Destination>, Failure> {
        if proxy.kind == ProxyKind::Socks5 {
            let (addresses, port) = self.addresses(host, port, self.ip_version).await?;
            let there = |address| Destination::Address(SocketAddr::new(address, port));
            return Ok(addresses.into_iter().map(there).collect());
        }
        // An address in the URL is known without resolving anything, and is held against the policy here too.
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Ok(vec![match bare.parse::<IpAddr>() {
            Ok(address) => Destination::Address(SocketAddr::new(address, port)),
            Err(_) => Destination::Host(host.to_owned(), port),
        }])
    }
}

/// A connection to a proxy that is to become one to the target.
struct Tunnel<'s> {
    stream: &'s mut TcpStream,
    proxy: &'s Proxy,
    /// The proxy's, for messages.
    address: SocketAddr,
}

impl Tunnel<'_> {
    /// Asks an HTTP proxy to connect.
    async fn connect(mut self, destination: &Destination) -> Result<(), Failure> {
        let target = destination.authority();
        let mut request =
            format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\nuser-agent: {USER_AGENT}\r\n")
                .into_bytes();
        if let Some(credentials) = &self.proxy.credentials {
            request.extend_from_slice(b"proxy-authorization: ");
            request.extend_from_slice(credentials.basic.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        self.send(&request).await?;
        match self.status().await? {
            200..=299 => Ok(()),
            407 => Err(self.unauthorized("(407)")),
            status => Err(self.refused(&format!("refused to connect to {target}: status {status}"))),
        }
    }

    /// The status of the final answer to CONNECT.
    async fn status(&mut self) -> Result<u16, Failure> {
        let mut head = Vec::new();
        let mut beyond = [0; 2_048];
        loop {
            // What comes after the head is not taken from the connection: it is the target's.
            let seen = match self.stream.peek(&mut beyond).await {
                Ok(0) if head.is_empty() => {
                    return Err(self.refused("closed the connection without an answer"));
                }
                Ok(0) => return Err(self.malformed("it ended in the middle of its head")),
                Ok(seen) => seen,
                Err(error) => return Err(self.broken(&error)),
            };
            let known = head.len();
            head.extend_from_slice(&beyond[..seen]);
            let end = head_end(&head, known);
            let taken = end.unwrap_or(head.len()) - known;
            head.truncate(known + taken);
            self.read(&mut beyond[..taken]).await?;
            match (status_of(&head), end) {
                (Ok(Some(100 | 102..=199)), Some(_)) => head.clear(),
                (Ok(Some(status)), Some(_)) => return Ok(status),
                (Ok(None), None) if head.len() <= MOST_ANSWER_BYTES => {}
                (Ok(_), None) => return Err(self.malformed("its head is longer than 16 KiB")),
                (Ok(None), Some(_)) | (Err(_), _) => return Err(self.malformed("it is not valid HTTP")),
            }
        }
    }

    /// Asks a SOCKS proxy to connect.
    async fn socks(mut self, destination: &Destination) -> Result<(), Failure> {
        let proxy = self.proxy;
        let greeting: &[u8] = match proxy.credentials {
            Some(_) => &[VERSION, 2, NO_AUTHENTICATION, USERNAME_AND_PASSWORD],
            None => &[VERSION, 1, NO_AUTHENTICATION],
        };
        self.send(greeting).await?;
        let mut choice = [0; 2];
        self.read(&mut choice).await?;
        match (choice, &proxy.credentials) {
            ([VERSION, NO_AUTHENTICATION], _) => {}
            ([VERSION, USERNAME_AND_PASSWORD], Some(credentials)) => {
                let mut message = vec![AUTHENTICATION_VERSION];
                for part in [&credentials.username, &credentials.password] {
                    message.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
                    message.extend_from_slice(part);
                }
                self.send(&message).await?;
                self.read(&mut choice).await?;
                if choice[1] != 0 {
                    return Err(self.unauthorized(&format!("(SOCKS status {})", choice[1])));
                }
            }
            ([VERSION, NONE_ACCEPTABLE], _) => return Err(self.unauthorized("(SOCKS)")),
            _ => return Err(self.malformed("it is not SOCKS 5")),
        }
        let mut request = vec![VERSION, CONNECT, 0];
        destination.write_socks(&mut request);
        self.send(&request).await?;
        let mut reply = [0; 4];
        self.read(&mut reply).await?;
        let [version, code, _, bound] = reply;
        if version != VERSION {
            return Err(self.malformed("it is not SOCKS 5"));
        }
        if code != 0 {
            let target = destination.authority();
            let why = socks_reply(code);
            return Err(self.refused(&format!("refused to connect to {target}: {why} (SOCKS reply {code})")));
        }
        // The address that the proxy has bound, which is of no use here.
        let rest = match bound {
            IPV4 => 4 + 2,
            IPV6 => 16 + 2,
            NAME => {
                let mut length = [0];
                self.read(&mut length).await?;
                usize::from(length[0]) + 2
            }
            _ => return Err(self.malformed("it has an address of an unknown type")),
        };
        self.read(&mut [0; 257][..rest]).await
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(bytes).await.map_err(|error| self.broken(&error))
    }

    async fn read(&mut self, bytes: &mut [u8]) -> Result<(), Failure> {
        match self.stream.read_exact(bytes).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.refused("closed the connection before it had connected to the target"))
            }
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn unauthorized(&self, how: &str) -> Failure {
        let message = match self.proxy.credentials {
            Some(_) => {
                format!("the proxy {} does not accept the credentials of proxy_url {how}", self.address)
            }
            None => format!("the proxy {} wants credentials, and proxy_url has none {how}", self.address),
        };
        Failure::new(ErrorKind::ProxyAuth, message)
    }

    fn refused(&self, what: &str) -> Failure {
        Failure::new(ErrorKind::ProxyRefused, format!("the proxy {} {what}", self.address))
    }

    fn malformed(&self, what: &str) -> Failure {
        let message = format!("what the proxy {} sent is no answer: {what}", self.address);
        Failure::new(ErrorKind::ProxyMalformed, message)
    }

    fn broken(&self, error: &io::Error) -> Failure {
        self.refused(&format!("broke the connection: {}", error.kind()))
    }
}

impl Destination {
    /// As CONNECT has it, and people read it.
    fn authority(&self) -> String {
        match self {
            Self::Address(address) => address.to_string(),
            Self::Host(host, port) => format!("{host}:{port}"),
        }
    }

    /// As a SOCKS request has it.
    fn write_socks(&self, request: &mut Vec<u8>) {
        let port = match self {
            Self::Address(address) => {
                match address.ip() {
                    IpAddr::V4(address) => {
                        request.push(IPV4);
                        request.extend_from_slice(&address.octets());
                    }
                    IpAddr::V6(address) => {
                        request.push(IPV6);
                        request.extend_from_slice(&address.octets());
                    }
                }
                address.port()
            }
            Self::Host(host, port) => {
                // No name is longer (RFC 1035 section 2.3.4); a URL's text that is would resolve nowhere.
                let name = &host.as_bytes()[..host.len().min(usize::from(u8::MAX))];
                request.extend_from_slice(&[NAME, u8::try_from(name.len()).unwrap_or(u8::MAX)]);
                request.extend_from_slice(name);
                *port
            }
        };
        request.extend_from_slice(&port.to_be_bytes());
    }
}

/// Where the head ends, of which the first `known` bytes have been looked at already.
fn head_end(head: &[u8], known: usize) -> Option<usize> {
    (known..head.len())
        .find(|at| {
            let before = &head[..=*at];
            before.ends_with(b"\n\r\n") || before.ends_with(b"\n\n")
        })
        .map(|at| at + 1)
}

/// The status of a head; none as long as it may still become one.
fn status_of(head: &[u8]) -> Result<Option<u16>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_ANSWER_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(head)?;
    Ok(response.code.filter(|_| parsed.is_complete()))
}

/// What a SOCKS proxy says by a number (RFC 1928 section 6).
fn socks_reply(code: u8) -> &'static str {
    match code {
        1 => "general failure",
        2 => "its rules do not allow it",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "time to live expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "an unknown reason",
    }
}
