//! Which kind a failure is, and what to tell people about it. By types and codes, never by an error's text.

mod tls;

use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, SocketAddr};

use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use rustix::io::Errno;

pub(super) use self::tls::tls;
use super::progress::{Stage, WireState};
use super::tls::Shown;
use super::wire::{MAX_INTERIM, Violation};
use crate::model::{ErrorKind, Failure};

/// A failure on its way through somebody else's boxes.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub(super) struct Carried(pub(super) Failure);

/// A fault that is ours whatever the stage.
pub(super) fn local(error: &io::Error) -> Option<Failure> {
    let (kind, message) = match Errno::from_io_error(error)? {
        Errno::MFILE => (ErrorKind::LocalFds, "the runner has as many files open as it may"),
        Errno::NFILE => (ErrorKind::LocalFds, "the system has as many files open as it may"),
        Errno::ADDRNOTAVAIL => (ErrorKind::LocalPorts, "no local port is free"),
        Errno::NOBUFS | Errno::NOMEM => (ErrorKind::LocalMemory, "the system has no memory for sockets"),
        _ => return None,
    };
    Some(Failure::new(kind, message))
}

/// Why no connection can leave from an address that is to be ours.
pub(super) fn source(error: &io::Error, source: IpAddr) -> Failure {
    match Errno::from_io_error(error) {
        // The system says so as well where there is no free port, which an address of ours always has.
        Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT) => {
            let message = format!("this machine has no address {source} to connect from (source_address)");
            Failure::new(ErrorKind::LocalAddress, message)
        }
        _ => local(error).unwrap_or_else(|| {
            let message = format!("no connection can leave from {source} (source_address): {error}");
            Failure::new(ErrorKind::LocalAddress, message)
        }),
    }
}

/// Why no connection could be made to `address`.
pub(super) fn connect(error: &io::Error, address: SocketAddr) -> Failure {
    // Where IPv6 is switched off, an IPv6 address is refused with the code of "no free port", or of "no such
    // family"; neither says anything about ports.
    let no_ipv6 = matches!(Errno::from_io_error(error), Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT));
    if address.is_ipv6() && no_ipv6 {
        let message = format!("this machine has no IPv6 address to reach {address} from");
        return Failure::new(ErrorKind::NetworkUnreachable, message);
    }
    let whom = address;
    if let Some(failure) = local(error) {
        return failure;
    }
    let (kind, message) = match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            (ErrorKind::ConnectRefused, format!("{whom} refused the connection"))
        }
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
            (ErrorKind::ConnectReset, format!("{whom} reset the connection while it was made"))
        }
        io::ErrorKind::TimedOut => (ErrorKind::ConnectTimeout, format!("{whom} did not answer")),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkDown => {
            (ErrorKind::NetworkUnreachable, format!("there is no route to {whom}"))
        }
        io::ErrorKind::PermissionDenied => {
            (ErrorKind::ConnectDenied, format!("a local rule forbids to connect to {whom}"))
        }
        _ => (ErrorKind::ConnectFailed, format!("cannot connect to {whom}: {error}")),
    };
    Failure::new(kind, message)
}

/// Why an established connection to `whom` broke.
fn established(error: &io::Error, stage: Stage, whom: &str) -> Failure {
    if let Some(failure) = local(error) {
        return failure;
    }
    let during = match stage {
        Stage::Dns | Stage::Connect => "while it was made",
        Stage::Tls => "during the TLS handshake",
        Stage::FirstByte => "before a response came",
        Stage::Transfer => "before the body ended",
    };
    let closed = || match stage {
        Stage::Tls => (ErrorKind::TlsHandshake, format!("{whom} closed the connection {during}")),
        Stage::Transfer => (ErrorKind::BodyIncomplete, format!("{whom} closed the connection {during}")),
        _ => (ErrorKind::ConnectionClosed, format!("{whom} closed the connection {during}")),
    };
    let (kind, message) = match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
            (ErrorKind::Reset, format!("{whom} reset the connection {during}"))
        }
        io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof | io::ErrorKind::NotConnected => closed(),
        io::ErrorKind::TimedOut => (ErrorKind::Timeout, format!("{whom} fell silent {during}")),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkDown => {
            (ErrorKind::NetworkUnreachable, format!("the route to {whom} was lost {during}"))
        }
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            (ErrorKind::HttpMalformed, format!("the response is not valid HTTP: {error}"))
        }
        _ => (ErrorKind::ConnectFailed, format!("the connection to {whom} broke {during}: {error}")),
    };
    Failure::new(kind, message)
}

/// Why the connector gave no stream.
pub(super) fn connector(error: &(dyn StdError + 'static), shown: Option<&Shown>, whom: &str) -> Failure {
    if let Some(Carried(failure)) = find(error) {
        return failure.clone();
    }
    if let (Some(error), Some(shown)) = (find(error), shown) {
        return tls(error, shown);
    }
    match innermost_io(error) {
        Some(error) => established(error, Stage::Tls, whom),
        None => Failure::new(ErrorKind::Internal, format!("cannot connect: {error}")),
    }
}

/// Why a name has no address. `host` is as in the URL.
pub(super) fn dns(error: &NetError, host: &str) -> Failure {
    let (kind, message) = match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => (ErrorKind::DnsNxdomain, format!("the name {host} does not exist")),
            _ => (ErrorKind::DnsNodata, format!("the name {host} has no address")),
        },
        NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)) => {
            (ErrorKind::DnsServfail, format!("the resolver failed on {host} (SERVFAIL)"))
        }
        NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)) => {
            (ErrorKind::DnsRefused, format!("the resolver refused to answer for {host}"))
        }
        NetError::Dns(DnsError::ResponseCode(code)) => {
            (ErrorKind::DnsError, format!("the resolver answered {host} with code {}", u16::from(*code)))
        }
        NetError::Truncated => {
            let message =
                format!("the resolver's answer for {host} was cut short, and no whole one came over TCP");
            (ErrorKind::DnsTruncated, message)
        }
        NetError::Timeout => (ErrorKind::DnsTimeout, format!("no resolver answered for {host} in time")),
        NetError::NoConnections => (ErrorKind::DnsError, "no resolver could be reached".to_owned()),
        NetError::Busy => (ErrorKind::DnsError, "the runner's own resolver is busy".to_owned()),
        NetError::Io(error) => match local(error) {
            Some(failure) => return failure,
            None => (ErrorKind::DnsError, format!("no resolver could be reached: {error}")),
        },
        other => (ErrorKind::DnsError, format!("cannot resolve {host}: {other}")),
    };
    Failure::new(kind, message)
}

/// Why there is no whole response on a connection that stands.
pub(super) fn http(
    error: &hyper::Error,
    stage: Stage,
    wire: &WireState,
    shown: Option<&Shown>,
    whom: &str,
) -> Failure {
    // A request that was never taken up carries the connection's own error inside.
    let telling =
        chain(error).filter_map(|error| error.downcast_ref::<hyper::Error>()).last().unwrap_or(error);
    if let Some(violation) = wire.violation {
        return violated(violation, whom);
    }
    if let Some(error) = find::<rustls::Error>(telling).or(wire.tls_error.as_ref()) {
        let none = Shown::default();
        return tls(error, shown.unwrap_or(&none));
    }
    if telling.is_parse_too_large() {
        return head_too_large();
    }
    if telling.is_incomplete_message() {
        return incomplete(stage, wire, whom);
    }
    if let Some(error) = find::<h2::Error>(telling) {
        return http2(error, stage, wire, whom);
    }
    if let Some(error) = innermost_io(telling) {
        return broken(error, stage, wire, whom);
    }
    if telling.is_user() || telling.is_canceled() || telling.is_closed() {
        return Failure::new(ErrorKind::Internal, format!("the request was not sent: {telling}"));
    }
    // What is left is bytes that are no response: a parse error, or a server that spoke first.
    Failure::new(ErrorKind::HttpMalformed, format!("the response is not valid HTTP: {telling}"))
}

/// A response with more headers, or longer ones, than the request takes.
pub(super) fn head_too_large() -> Failure {
    let message = "the response has more headers than max_headers, or longer ones than header_limit";
    Failure::new(ErrorKind::HttpHeadersTooLarge, message)
}

fn violated(violation: Violation, whom: &str) -> Failure {
    let (kind, message) = match violation {
        Violation::TooManyInterim => {
            (ErrorKind::HttpTooManyInterim, format!("more than {MAX_INTERIM} interim (1xx) responses came"))
        }
        Violation::HeadTooLong => return head_too_large(),
        Violation::TooManyControlFrames => {
            (ErrorKind::HttpMalformed, format!("{whom} floods the connection with frames of no use"))
        }
        Violation::SpeaksHttp1 => (ErrorKind::HttpVersion, format!("{whom} answered HTTP/2 by HTTP/1")),
    };
    Failure::new(kind, message)
}

/// Why HTTP/2 failed: the other side's fault, unless it met a limit of ours.
fn http2(error: &h2::Error, stage: Stage, wire: &WireState, whom: &str) -> Failure {
    if let Some(error) = error.get_io() {
        return broken(error, stage, wire, whom);
    }
    let Some(reason) = error.reason() else {
        return Failure::new(ErrorKind::Internal, format!("the request was not sent by HTTP/2: {error}"));
    };
    let (kind, message) = if !error.is_remote() {
        match reason {
            // Before the response's head there is only a head that can be too much.
            h2::Reason::ENHANCE_YOUR_CALM if stage != Stage::Transfer => return head_too_large(),
            h2::Reason::ENHANCE_YOUR_CALM => (
                ErrorKind::LocalLimit,
                format!("{whom} sent more frames of HTTP/2 that carry little or nothing than are taken"),
            ),
            _ => (
                ErrorKind::HttpMalformed,
                format!("the response is not valid HTTP/2, or its headers are too long ({reason:?})"),
            ),
        }
    } else if reason == h2::Reason::HTTP_1_1_REQUIRED {
        let message = format!("{whom} demands HTTP/1.1: say so by http_version");
        (ErrorKind::HttpVersion, message)
    } else if error.is_go_away() {
        let kind = match stage {
            Stage::Transfer => ErrorKind::BodyIncomplete,
            _ => ErrorKind::ConnectionClosed,
        };
        (kind, format!("{whom} ended the connection by GOAWAY ({reason:?})"))
    } else {
        (ErrorKind::Reset, format!("{whom} reset the stream ({reason:?})"))
    };
    Failure::new(kind, message)
}

/// Whether we ended a stream of HTTP/2 because of what came on it.
pub(super) fn is_stream_ended_by_us(error: &hyper::Error) -> bool {
    find::<h2::Error>(error).is_some_and(|error| error.is_reset() && error.is_library())
}

/// Whether the other side has said that it did nothing about the request, so that it may be sent again at once
/// (RFC 9113 sections 6.8 and 8.7): a server that is about to restart says so. To come back after
/// `ENHANCE_YOUR_CALM` would not be calm.
pub(super) fn is_unprocessed(error: &hyper::Error) -> bool {
    let said = find::<h2::Error>(error).filter(|error| error.is_remote());
    said.is_some_and(|error| match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) => error.is_reset(),
        // h2 gives it to streams above the last one that the other side took up.
        Some(h2::Reason::NO_ERROR) => error.is_go_away(),
        _ => false,
    })
}

/// Why a connection that spoke HTTP broke.
fn broken(error: &io::Error, stage: Stage, wire: &WireState, whom: &str) -> Failure {
    match error.kind() {
        // It was closed in the middle of a frame, says h2's codec; no system has an error of this kind.
        io::ErrorKind::Other => incomplete(stage, wire, whom),
        _ => established(error, stage, whom),
    }
}

fn incomplete(stage: Stage, wire: &WireState, whom: &str) -> Failure {
    match stage {
        Stage::Transfer => {
            let message = format!("{whom} closed the connection before the body ended");
            Failure::new(ErrorKind::BodyIncomplete, message)
        }
        _ if wire.any_byte => {
            let message = format!("{whom} closed the connection in the middle of the response's head");
            Failure::new(ErrorKind::ConnectionClosed, message)
        }
        _ => {
            let message = format!("{whom} closed the connection without a response");
            Failure::new(ErrorKind::ConnectionClosed, message)
        }
    }
}

/// The first error of type `E` in a chain, also inside [`io::Error`]s, whose own `source` skips what they hold.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// The innermost [`io::Error`] of a chain: the one with the system's code.
fn innermost_io<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a io::Error> {
    chain(error).filter_map(|error| error.downcast_ref()).last()
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    // Bounded: a chain is a handful long, and one that is not must not hold us up.
    std::iter::successors(Some(error), |error| inside(*error)).take(16)
}

fn inside<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_errors_by_code() {
        let cases = [
            (Errno::CONNREFUSED, ErrorKind::ConnectRefused),
            (Errno::CONNRESET, ErrorKind::ConnectReset),
            (Errno::TIMEDOUT, ErrorKind::ConnectTimeout),
            (Errno::NETUNREACH, ErrorKind::NetworkUnreachable),
            (Errno::HOSTUNREACH, ErrorKind::NetworkUnreachable),
            (Errno::NETDOWN, ErrorKind::NetworkUnreachable),
            (Errno::ACCESS, ErrorKind::ConnectDenied),
            (Errno::PERM, ErrorKind::ConnectDenied),
            (Errno::MFILE, ErrorKind::LocalFds),
            (Errno::NFILE, ErrorKind::LocalFds),
            (Errno::ADDRNOTAVAIL, ErrorKind::LocalPorts),
            (Errno::NOBUFS, ErrorKind::LocalMemory),
            (Errno::NOMEM, ErrorKind::LocalMemory),
            (Errno::AFNOSUPPORT, ErrorKind::ConnectFailed),
        ];
        for (code, kind) in cases {
            assert_eq!(connect(&code.into(), "127.0.0.1:1".parse().unwrap()).kind, kind, "{code:?}");
        }
        let v6 = "[::1]:1".parse().unwrap();
        for (code, kind) in [
            (Errno::ADDRNOTAVAIL, ErrorKind::NetworkUnreachable),
            (Errno::AFNOSUPPORT, ErrorKind::NetworkUnreachable),
            (Errno::CONNREFUSED, ErrorKind::ConnectRefused),
        ] {
            assert_eq!(connect(&code.into(), v6).kind, kind, "{code:?}");
        }
    }

    #[test]
    fn broken_connections_by_stage() {
        let cases = [
            (io::ErrorKind::ConnectionReset, Stage::FirstByte, ErrorKind::Reset),
            (io::ErrorKind::ConnectionReset, Stage::Transfer, ErrorKind::Reset),
            (io::ErrorKind::UnexpectedEof, Stage::Tls, ErrorKind::TlsHandshake),
            (io::ErrorKind::UnexpectedEof, Stage::FirstByte, ErrorKind::ConnectionClosed),
            (io::ErrorKind::UnexpectedEof, Stage::Transfer, ErrorKind::BodyIncomplete),
            (io::ErrorKind::InvalidData, Stage::Transfer, ErrorKind::HttpMalformed),
        ];
        for (error, stage, kind) in cases {
            assert_eq!(established(&error.into(), stage, "x").kind, kind, "{error:?} {stage:?}");
        }
    }

    #[test]
    fn errors_are_found_through_boxes() {
        let inner = io::Error::other(rustls::Error::DecryptError);
        let outer = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, inner));
        assert_eq!(find::<rustls::Error>(&outer), Some(&rustls::Error::DecryptError));
        let carried = Carried(Failure::new(ErrorKind::LocalFds, "x"));
        assert_eq!(connector(&carried, None, "x").kind, ErrorKind::LocalFds);
    }
}
