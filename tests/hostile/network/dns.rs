//! A name server (RFC 1035) for `hostile.test`: messages by hand, so that they may be wrong.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

use super::case::{Dns, Trick};

/// Where every name ends.
pub(crate) const ZONE: &str = "hostile.test";
/// What is longer does not go over UDP (RFC 9715).
const MOST_OVER_UDP: usize = 1_232;
/// What forged answers say: nobody listens there.
const FORGED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const RRSIG: u16 = 46;
const NSEC3: u16 = 50;
/// QR, RD, RA.
const ANSWER: u16 = 0x8180;
/// TC.
const CUT: u16 = 0x0200;
/// A pointer to the question's name.
const THE_NAME: [u8; 2] = [0xc0, 12];
const NXDOMAIN: u8 = 3;

/// What is known of names: by the label before the zone.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<String, Known>);

#[derive(Debug)]
struct Known {
    dns: Dns,
    asked: AtomicUsize,
}

/// What a question is answered with.
enum Reply {
    Nothing,
    /// These, one after the other; those that are true from the port that was asked.
    Messages(Vec<(Vec<u8>, From)>),
}

#[derive(PartialEq, Eq)]
enum From {
    ThisPort,
    AnotherPort,
}

impl Names {
    /// Adds a name.
    pub(crate) fn add(&mut self, label: &str, dns: Dns) {
        self.0.insert(label.to_owned(), Known { dns, asked: AtomicUsize::new(0) });
    }
}

/// A port that is asked over UDP, and over TCP where it `takes_tcp`.
pub(crate) struct Port {
    udp: UdpSocket,
    tcp: Result<TcpListener, TcpSocket>,
}

impl Port {
    /// Takes a port.
    pub(crate) fn new(takes_tcp: bool) -> io::Result<Self> {
        // The same number has to be free for both.
        loop {
            let udp = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            let tcp = TcpSocket::new_v4()?;
            if tcp.bind(udp.local_addr()?).is_err() {
                continue;
            }
            udp.set_nonblocking(true)?;
            // A port that is bound, and not listened at, refuses.
            let tcp = if takes_tcp { Ok(tcp.listen(64)?) } else { Err(tcp) };
            return Ok(Self { udp: UdpSocket::from_std(udp)?, tcp });
        }
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.udp.local_addr().unwrap()
    }

    /// Answers for ever.
    pub(crate) async fn serve(self, names: Arc<Names>) {
        let over_udp = answer_over_udp(&self.udp, &names);
        match &self.tcp {
            Ok(listener) => {
                tokio::join!(over_udp, answer_over_tcp(listener, &names));
            }
            Err(_bound) => over_udp.await,
        }
    }
}

async fn answer_over_udp(socket: &UdpSocket, names: &Names) {
    let another = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut buffer = [0; 4_096];
    loop {
        let Ok((length, whom)) = socket.recv_from(&mut buffer).await else { continue };
        let Some(question) = Question::read(&buffer[..length]) else { continue };
        if let Reply::Messages(messages) = question.answer(names, false) {
            for (message, from) in messages {
                let from = if from == From::ThisPort { socket } else { &another };
                let _ = from.send_to(&message, whom).await;
            }
        }
    }
}

async fn answer_over_tcp(listener: &TcpListener, names: &Arc<Names>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, Arc::clone(names)));
        }
    }
}

async fn converse(mut stream: TcpStream, names: Arc<Names>) -> io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut message = vec![0; usize::from(length)];
        stream.read_exact(&mut message).await?;
        let Some(question) = Question::read(&message) else { return Ok(()) };
        if let Reply::Messages(messages) = question.answer(&names, true) {
            for (message, _) in messages {
                stream.write_u16(u16::try_from(message.len()).unwrap()).await?;
                stream.write_all(&message).await?;
            }
        }
    }
}

/// A question, as it came.
struct Question<'a> {
    id: u16,
    /// Name, type and class.
    section: &'a [u8],
    labels: Vec<String>,
    kind: u16,
}

impl<'a> Question<'a> {
    fn read(message: &'a [u8]) -> Option<Self> {
        let id = u16::from_be_bytes(message.get(..2)?.try_into().ok()?);
        let mut labels = Vec::new();
        let mut at = 12;
        loop {
            let length = usize::from(*message.get(at)?);
            let label = message.get(at + 1..at + 1 + length)?;
            at += 1 + length;
            if length == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        }
        let kind = u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?);
        Some(Self { id, section: message.get(12..at + 4)?, labels, kind })
    }

    fn answer(&self, names: &Names, over_tcp: bool) -> Reply {
        let in_zone = self.labels.len() >= 3 && self.labels[self.labels.len() - 2..].join(".") == ZONE;
        let label = in_zone.then(|| self.labels[self.labels.len() - 3].as_str());
        let Some(known) = label.and_then(|label| names.0.get(label)) else {
            return one(self.message(self.id, u16::from(NXDOMAIN), &[]));
        };
        let records = self.addresses(known);
        let truth = || {
            let whole = self.message(self.id, u16::from(known.dns.code), &records);
            let fits = over_tcp || whole.len() <= MOST_OVER_UDP;
            if fits { whole } else { self.message(self.id, CUT, &[]) }
        };
        let cut = || one(self.message(self.id, CUT, &[]));
        let Some(trick) = known.dns.trick else { return one(truth()) };
        let forged = [address(&THE_NAME, FORGED.into())];
        match trick {
            Trick::Truncated | Trick::TruncatedThenSilence if !over_tcp => cut(),
            Trick::TruncatedAlways => cut(),
            Trick::Silence | Trick::TruncatedThenSilence => Reply::Nothing,
            Trick::SilenceForAaaa if self.kind == AAAA => Reply::Nothing,
            Trick::SilenceForAaaa | Trick::Truncated => one(truth()),
            // Nobody but the server itself speaks on its connection.
            Trick::ForgedId | Trick::ForgedQuestion | Trick::ForgedPort if over_tcp => one(truth()),
            Trick::AliasLoop => {
                // shop and a.shop, each an alias of the other.
                let other = if self.labels.len() == 3 {
                    [[1, b'a'].as_slice(), &THE_NAME].concat()
                } else {
                    vec![0xc0, 14]
                };
                one(self.message(self.id, 0, &[record(&THE_NAME, CNAME, &other)]))
            }
            Trick::AliasOfItself => one(self.message(self.id, 0, &[record(&THE_NAME, CNAME, &THE_NAME)])),
            Trick::AliasChain => {
                let chain = self.chain(known);
                if over_tcp { one(self.message(self.id, 0, &chain)) } else { cut() }
            }
            Trick::PointerToItself => {
                let here = (12 + self.section.len()) as u16 | 0xc000;
                one(self.message(self.id, 0, &[address(&here.to_be_bytes(), FORGED.into())]))
            }
            Trick::PointerLoop => {
                let begin = (12 + self.section.len()) as u16;
                // The record's name leads to its data, and that back to the name.
                let there = (begin + 12) | 0xc000;
                let back = (begin | 0xc000).to_be_bytes();
                one(self.message(self.id, 0, &[record(&there.to_be_bytes(), CNAME, &back)]))
            }
            Trick::ForgedId => forged_first(self.message(!self.id, 0, &forged), From::ThisPort, truth()),
            Trick::ForgedQuestion => {
                let mut other = self.message(self.id, 0, &forged);
                // The first letter of the name.
                other[13] ^= 1;
                forged_first(other, From::ThisPort, truth())
            }
            Trick::ForgedPort => forged_first(self.message(self.id, 0, &forged), From::AnotherPort, truth()),
            Trick::OnlyForged => one(self.message(!self.id, 0, &forged)),
            Trick::Garbage => one([self.id.to_be_bytes().as_slice(), &[0xff; 40]].concat()),
            Trick::ShortOfRecords => {
                let mut short = truth();
                short[7] = short[7].wrapping_add(5);
                one(short)
            }
            Trick::DeniedByAnotherZone => one(self.denied()),
        }
    }

    /// The name's addresses of the kind that is asked for.
    fn addresses(&self, known: &Known) -> Vec<Vec<u8>> {
        let of_kind = |address: &&IpAddr| match self.kind {
            A => address.is_ipv4(),
            AAAA => address.is_ipv6(),
            _ => false,
        };
        let all: Vec<_> = known.dns.addresses.iter().filter(of_kind).collect();
        let given = if known.dns.by_turns && !all.is_empty() {
            vec![all[known.asked.fetch_add(1, Ordering::Relaxed) % all.len()]]
        } else {
            all
        };
        let copies = known.dns.copies.max(1);
        given.iter().flat_map(|one| vec![address(&THE_NAME, **one); copies]).collect()
    }

    /// 100 aliases, then the addresses of the last.
    fn chain(&self, known: &Known) -> Vec<Vec<u8>> {
        let name = |n: usize| match n {
            0 => THE_NAME.to_vec(),
            n => {
                let label = format!("c{n}");
                [&[label.len() as u8], label.as_bytes(), &THE_NAME].concat()
            }
        };
        let mut records: Vec<_> = (0..100).map(|n| record(&name(n), CNAME, &name(n + 1))).collect();
        let of_kind = |address: &&IpAddr| address.is_ipv4() == (self.kind == A);
        records.extend(known.dns.addresses.iter().filter(of_kind).map(|one| address(&name(100), *one)));
        records
    }

    /// NXDOMAIN, with a proof out of another zone.
    fn denied(&self) -> Vec<u8> {
        let elsewhere = b"\x02ab\x05other\x04test\0";
        let hashes = [[1, 0, 0xff, 0xff, 0, 20].as_slice(), &[7; 20], &[0, 1, 0x40]].concat();
        let signature = [
            NSEC3.to_be_bytes().as_slice(),
            &[8, 2, 0, 0, 0, 60, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1],
            b"\x05other\x04test\0",
            &[1; 64],
        ]
        .concat();
        let proof = [record(elsewhere, NSEC3, &hashes), record(elsewhere, RRSIG, &signature)];
        let mut message = self.message(self.id, u16::from(NXDOMAIN), &proof);
        // They are of the authority section.
        message.swap(7, 9);
        message
    }

    /// A response with these records as its answer.
    fn message(&self, id: u16, flags: u16, records: &[Vec<u8>]) -> Vec<u8> {
        let mut message = Vec::with_capacity(64);
        for word in [id, ANSWER | flags, 1, records.len() as u16, 0, 0] {
            message.extend(word.to_be_bytes());
        }
        message.extend_from_slice(self.section);
        message.extend(records.iter().flatten());
        message
    }
}

fn one(message: Vec<u8>) -> Reply {
    Reply::Messages(vec![(message, From::ThisPort)])
}

fn forged_first(forged: Vec<u8>, from: From, truth: Vec<u8>) -> Reply {
    Reply::Messages(vec![(forged, from), (truth, From::ThisPort)])
}

fn address(name: &[u8], address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => record(name, A, &address.octets()),
        IpAddr::V6(address) => record(name, AAAA, &address.octets()),
    }
}

/// A record that must not be kept.
fn record(name: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let mut record = name.to_vec();
    record.extend(kind.to_be_bytes());
    record.extend([0, 1, 0, 0, 0, 0]);
    record.extend((data.len() as u16).to_be_bytes());
    record.extend_from_slice(data);
    record
}
