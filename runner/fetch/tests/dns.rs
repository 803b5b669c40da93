//! A name server on the loopback that answers what the test wants.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use super::support::fetch_with;
use crate::fetch::{Fetcher, FetcherConfig, RequestSpec};
use crate::model::Exchange;
use crate::telemetry;

const TYPE_A: u16 = 1;
/// The bit of an answer's third byte that tells that it was cut short.
const TRUNCATED: u8 = 0x02;

/// What the name server says to one question.
#[derive(Clone)]
pub(super) enum Say {
    Nothing,
    Code(u8),
    Addresses(Vec<[u8; 4]>),
    /// Over UDP, that the answer does not fit; over TCP, these.
    OverTcp(Vec<[u8; 4]>),
    /// That the answer does not fit, over UDP; TCP is refused.
    Truncated,
}

pub(super) struct NameServer {
    pub(super) addr: SocketAddr,
    /// Questions over UDP.
    pub(super) asked: Arc<AtomicU32>,
    /// Connections over TCP.
    connections: Arc<AtomicU32>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl NameServer {
    /// Answers questions of type A with `a` and all others with `other`.
    pub(super) async fn saying(a: Say, other: Say) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), a, other).await
    }

    /// The same at an address of the test's choice.
    pub(super) async fn at(addr: SocketAddr, a: Say, other: Say) -> Self {
        let has_tcp = matches!(a, Say::OverTcp(_));
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind(addr).await.unwrap();
            if !has_tcp {
                break (udp, None);
            }
            // The same port may be taken over TCP.
            match TcpListener::bind(udp.local_addr().unwrap()).await {
                Ok(tcp) => break (udp, Some(tcp)),
                Err(error) => assert_eq!(addr.port(), 0, "{error}"),
            }
        };
        let addr = udp.local_addr().unwrap();
        let (asked, connections) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let mut tasks = Vec::new();
        if let Some(tcp) = tcp {
            let (a, other, count) = (a.clone(), other.clone(), connections.clone());
            tasks.push(telemetry::spawn("test name server over tcp", async move {
                loop {
                    let (stream, _) = tcp.accept().await.unwrap();
                    count.fetch_add(1, Ordering::Relaxed);
                    converse(stream, &a, &other).await;
                }
            }));
        }
        let count = asked.clone();
        tasks.push(telemetry::spawn("test name server", async move {
            let mut buffer = [0; 512];
            loop {
                let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                if let Some(answer) = answer(&buffer[..length], &a, &other, true) {
                    udp.send_to(&answer, from).await.unwrap();
                }
            }
        }));
        Self { addr, asked, connections, tasks }
    }

    pub(super) fn fetcher(&self) -> Fetcher {
        Fetcher::new(&FetcherConfig { dns_servers: vec![self.addr], ..FetcherConfig::default() }).unwrap()
    }

    pub(super) async fn probe(&self, spec: RequestSpec, port: u16) -> Exchange {
        fetch_with(&self.fetcher(), spec, &format!("http://shop.test:{port}/")).await
    }

    pub(super) fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    pub(super) fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }
}

pub(super) fn loopback() -> Say {
    Say::Addresses(vec![Ipv4Addr::LOCALHOST.octets()])
}

/// Answers question after question on a connection (RFC 1035 section 4.2.2).
async fn converse(mut stream: TcpStream, a: &Say, other: &Say) {
    while let Ok(length) = stream.read_u16().await {
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await.unwrap();
        if let Some(answer) = answer(&question, a, other, false) {
            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
            stream.write_all(&[length.as_slice(), &answer].concat()).await.unwrap();
        }
    }
}

/// The answer to a question (RFC 1035 section 4), or none.
fn answer(question: &[u8], a: &Say, other: &Say, over_udp: bool) -> Option<Vec<u8>> {
    let name_end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let kind = u16::from_be_bytes([question[name_end], question[name_end + 1]]);
    let mut flags = 0x81;
    let (code, addresses) = match if kind == TYPE_A { a } else { other } {
        Say::Nothing => return None,
        Say::Code(code) => (*code, Vec::new()),
        Say::Addresses(addresses) => (0, addresses.clone()),
        Say::OverTcp(addresses) if !over_udp => (0, addresses.clone()),
        Say::OverTcp(_) | Say::Truncated => {
            flags |= TRUNCATED;
            (0, Vec::new())
        }
    };
    let mut answer = question[..2].to_vec();
    answer.extend([flags, 0x80 | code, 0, 1]);
    answer.extend(u16::try_from(addresses.len()).unwrap().to_be_bytes());
    answer.extend([0, 0, 0, 0]);
    answer.extend_from_slice(&question[12..name_end + 4]);
    for address in addresses {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address);
    }
    Some(answer)
}
