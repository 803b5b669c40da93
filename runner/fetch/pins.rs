//! Addresses that a pipeline file gives for a host and port itself: they are connected to without asking a
//! resolver. The name in the URL stays what is asked for and verified.

use std::net::{IpAddr, SocketAddr};

use url::Host;

/// Where the hosts of a request are, as far as the user says so.
#[derive(Debug, Clone, Default)]
pub(super) struct Pins(Vec<Pin>);

#[derive(Debug, Clone)]
struct Pin {
    /// As a URL has it: in lower case, without a final dot, an IPv6 address in brackets.
    host: String,
    port: u16,
    address: IpAddr,
    /// None for the same port.
    to_port: Option<u16>,
}

impl Pins {
    /// Adds what the user wrote as `key = "value"`; says what is wrong with it. The value may be a secret, so
    /// that no reason repeats it.
    pub(super) fn add(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        let (host, port) = host_and_port(key).ok_or("the key is no \"host:port\"")?;
        let (address, to_port) =
            address(value).ok_or("the value is neither an IP address nor one with a port")?;
        if self.find(&host, port).is_some() {
            return Err("the same host and port stand here twice");
        }
        self.0.push(Pin { host, port, address, to_port });
        Ok(())
    }

    /// The address and port for a URL's host and port, where the user gave one.
    pub(super) fn find(&self, host: &str, port: u16) -> Option<(IpAddr, u16)> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let pin = self.0.iter().find(|pin| pin.port == port && pin.host.eq_ignore_ascii_case(host))?;
        Some((pin.address, pin.to_port.unwrap_or(port)))
    }
}

fn host_and_port(key: &str) -> Option<(String, u16)> {
    let (host, port) = key.rsplit_once(':')?;
    // A number that begins with a plus is one as well, elsewhere.
    let port = port.parse().ok().filter(|number| *number > 0 && !port.starts_with('+'))?;
    let host = Host::parse(host).ok()?.to_string();
    let host = host.strip_suffix('.').unwrap_or(&host);
    // No URL has a name with an empty label that anybody knows.
    (!host.split('.').any(str::is_empty)).then(|| (host.to_owned(), port))
}

fn address(value: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(address) = value.parse::<SocketAddr>() {
        return (address.port() > 0).then(|| (address.ip(), Some(address.port())));
    }
    let bare = value.strip_prefix('[').and_then(|value| value.strip_suffix(']')).unwrap_or(value);
    bare.parse().ok().map(|address| (address, None))
}
