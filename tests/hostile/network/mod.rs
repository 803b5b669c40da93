//! One server with every hostile peer of `cases.toml`, each on a port of its own of the loopback.
//!
//! The tests of the binary play it in their own process; `cargo run --example hostile` plays it for whoever wants
//! to hold another prober against the same peers. The files in reading order: `case` (what a case says), `script`
//! (plays it), `stream`, `frames` (HTTP/2), `payloads` (compressed bodies), `certificates`, `tls`, `dns`.

#![allow(dead_code, reason = "each program uses a part of it")]

mod case;
mod certificates;
mod dns;
mod frames;
mod payloads;
mod script;
mod stream;
mod tls;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;

#[allow(unused_imports, reason = "each program uses a part of it")]
pub(crate) use self::case::{Case, Elsewhere, Expect, cases};
use self::case::{Listen, Peer};
use self::certificates::Authority;
use self::dns::{Names, Port, ZONE};
use self::script::{Part, Seen};
use self::tls::Acceptor;

/// Connections that wait to be taken.
const BACKLOG: u32 = 1_024;
/// Connections that fill a queue of none: the kernel lets one or two in.
const FILLING: usize = 4;

/// Every peer, running until it is dropped.
pub(crate) struct Network {
    /// The cases, in the order given.
    pub(crate) played: Vec<Played>,
    runtime: Option<Runtime>,
}

/// A case that is played.
pub(crate) struct Played {
    /// The case.
    pub(crate) case: Case,
    /// Where to ask.
    pub(crate) url: String,
    /// The lines of `[request]` with everything filled in.
    pub(crate) request: String,
    /// The requests that the peer got.
    pub(crate) seen: Seen,
    /// The requests that the other peer got.
    pub(crate) seen_there: Seen,
}

impl Network {
    /// Plays all of `cases`. `keep_authority` is given the authority that good certificates are of, in PEM, and
    /// says in which file it is.
    pub(crate) fn start(cases: &[Case], keep_authority: impl FnOnce(&str) -> String) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("hostile")
            .enable_all()
            .build()
            .unwrap();
        let authority = Authority::new();
        let ca_file = keep_authority(&authority.pem());
        let played = runtime.block_on(async {
            let mut names = Names::default();
            for case in cases {
                if let Some(dns) = &case.dns {
                    names.add(&case.name, dns.clone());
                }
            }
            // Made now, not while somebody waits for them.
            for peer in cases.iter().flat_map(|case| case.there.iter().chain([&case.peer])) {
                script::make_payloads(peer);
            }
            let names = Arc::new(names);
            let mut words = vec![("{ca}".to_owned(), ca_file)];
            for (word, takes_tcp) in [("{dns}", true), ("{dns_udp}", false)] {
                let port = Port::new(takes_tcp).unwrap();
                words.push((word.to_owned(), port.address().to_string()));
                tokio::spawn(port.serve(Arc::clone(&names)));
            }
            cases.iter().map(|case| play(case, &words, &authority).unwrap()).collect()
        });
        Self { played, runtime: Some(runtime) }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

/// Starts the peers of one case.
fn play(case: &Case, words: &[(String, String)], authority: &Authority) -> io::Result<Played> {
    let socket = Bound::new(&case.peer)?;
    let here = socket.address;
    let mut words = words.to_vec();
    words.push(("{here}".to_owned(), here.to_string()));
    words.push(("{port}".to_owned(), here.port().to_string()));
    words.push(("{name}".to_owned(), case.name.clone()));
    let there = case.there.as_ref().map(|peer| Bound::new(peer).map(|bound| (peer, bound))).transpose()?;
    if let Some((_, bound)) = &there {
        words.push(("{there}".to_owned(), bound.address.to_string()));
        words.push(("{port_there}".to_owned(), bound.address.port().to_string()));
    }
    let (seen, seen_there) = (Seen::default(), Seen::default());
    if let Some((peer, bound)) = there {
        let part = Part { peer: peer.clone(), words: words.clone(), seen: seen_there.clone() };
        bound.start(part, authority)?;
    }
    socket.start(Part { peer: case.peer.clone(), words: words.clone(), seen: seen.clone() }, authority)?;
    let fill = |text: &str| words.iter().fold(text.to_owned(), |text, (word, is)| text.replace(word, is));
    let scheme = if case.peer.tls.is_some() { "https" } else { "http" };
    let url = match (&case.url, &case.dns) {
        (Some(url), _) => fill(url),
        (None, Some(_)) => format!("{scheme}://{}.{ZONE}:{}/", case.name, here.port()),
        (None, None) => format!("{scheme}://{here}/"),
    };
    Ok(Played { case: case.clone(), url, request: fill(&case.request), seen, seen_there })
}

/// A port that is taken.
struct Bound {
    socket: TcpSocket,
    address: SocketAddr,
}

impl Bound {
    fn new(peer: &Peer) -> io::Result<Self> {
        let (socket, address) = if peer.listen == Listen::AcceptIpv6 {
            (TcpSocket::new_v6()?, SocketAddr::from((Ipv6Addr::LOCALHOST, 0)))
        } else {
            (TcpSocket::new_v4()?, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        };
        socket.bind(address)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    fn start(self, part: Part, authority: &Authority) -> io::Result<()> {
        match part.peer.listen {
            // A port that is bound, and not listened at, refuses.
            Listen::Refuse => {
                let socket = self.socket;
                tokio::spawn(async move {
                    std::future::pending::<()>().await;
                    drop(socket);
                });
            }
            Listen::Full => {
                let listener = self.socket.listen(0)?;
                tokio::spawn(async move {
                    let fill = || tokio::spawn(TcpStream::connect(self.address));
                    let filling: Vec<_> = (0..FILLING).map(|_| fill()).collect();
                    std::future::pending::<()>().await;
                    drop((listener, filling));
                });
            }
            Listen::Accept | Listen::AcceptIpv6 => {
                let acceptor = part.peer.tls.as_ref().map(|tls| Acceptor::new(tls, authority));
                let listener = self.socket.listen(BACKLOG)?;
                tokio::spawn(accept(listener, acceptor, Arc::new(part)));
            }
        }
        Ok(())
    }
}

/// Takes connection after connection.
async fn accept(listener: TcpListener, acceptor: Option<Acceptor>, part: Arc<Part>) {
    for n in 0.. {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let (acceptor, part) = (acceptor.clone(), Arc::clone(&part));
        tokio::spawn(async move {
            let stream = match acceptor {
                Some(acceptor) => acceptor.accept(socket).await,
                None => Ok(stream::Stream::Plain(socket)),
            };
            if let Ok(stream) = stream {
                part.play(stream, n).await;
            }
        });
    }
}
