//! Whom a request asks for addresses: servers of its own, or those that the system is set to at the moment.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::dns::{NameServer, Say, loopback};
use super::support::{Server, fetch_with, fetcher, kind, spec};
use crate::fetch::{Fetcher, FetcherConfig, IpVersion, RequestSpec, SystemDns};
use crate::model::{ErrorKind, Exchange};

const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn asking(servers: &[SocketAddr]) -> RequestSpec {
    RequestSpec { dns_servers: servers.to_vec(), ip_version: IpVersion::V4, ..spec(&[]) }
}

async fn probe(fetcher: &Fetcher, spec: RequestSpec, port: u16) -> Exchange {
    fetch_with(fetcher, spec, &format!("http://shop.test:{port}/")).await
}

#[tokio::test]
async fn a_request_asks_its_own_servers_and_nobody_else() {
    let server = Server::answering(EMPTY).await;
    let (own, usual) = (
        NameServer::saying(loopback(), Say::Code(0)).await,
        NameServer::saying(Say::Code(3), Say::Code(3)).await,
    );
    let fetcher = usual.fetcher();
    let exchange = probe(&fetcher, asking(&[own.addr]), server.addr.port()).await;
    assert_eq!((kind(&exchange), exchange.dns_answers), (None, Some(1)), "{:?}", exchange.failure);
    assert_eq!((own.asked(), usual.asked()), (1, 0));
    let exchange = probe(&fetcher, asking(&[]), server.addr.port()).await;
    assert_eq!(kind(&exchange), Some(ErrorKind::DnsNxdomain));
    assert_eq!((own.asked(), usual.asked()), (1, 1));
    // What needs nobody to be asked needs nobody here either.
    let local = format!("http://localhost:{}/", server.addr.port());
    assert_eq!(kind(&fetch_with(&fetcher, asking(&[own.addr]), &local).await), None);
    assert_eq!(own.asked(), 1);
}

#[tokio::test]
async fn n1_n2_refusals_of_own_servers_have_their_kinds() {
    let fetcher = fetcher();
    for (name, says, expected) in [
        ("nxdomain", Say::Code(3), ErrorKind::DnsNxdomain),
        ("nodata", Say::Code(0), ErrorKind::DnsNodata),
        ("servfail", Say::Code(2), ErrorKind::DnsServfail),
        ("refused", Say::Code(5), ErrorKind::DnsRefused),
        ("silence", Say::Nothing, ErrorKind::DnsTimeout),
    ] {
        let names = NameServer::saying(says.clone(), says).await;
        let timeout = Duration::from_millis(if name == "silence" { 300 } else { 20_000 });
        let exchange = probe(&fetcher, RequestSpec { timeout, ..asking(&[names.addr]) }, 1).await;
        assert_eq!(kind(&exchange), Some(expected), "{name}: {:?}", exchange.failure);
        assert_eq!((exchange.remote_addr, exchange.dns_answers), (None, None), "{name}");
        assert_eq!(exchange.phases.dns.is_some(), name != "silence", "{name}");
        assert!(names.asked() > 0, "{name}");
    }
}

#[tokio::test]
async fn a_server_that_fails_leaves_the_question_to_the_next() {
    let server = Server::answering(EMPTY).await;
    let good = NameServer::saying(loopback(), Say::Code(0)).await;
    let silent = NameServer::saying(Say::Nothing, Say::Nothing).await;
    let exchange = probe(&fetcher(), asking(&[silent.addr, good.addr]), server.addr.port()).await;
    assert_eq!(kind(&exchange), None, "{:?}", exchange.failure);
    assert_eq!(good.asked(), 1);
}

#[tokio::test]
async fn n3_an_answer_that_does_not_fit_is_asked_for_over_tcp() {
    let server = Server::answering(EMPTY).await;
    let many: Vec<[u8; 4]> = (0..100).map(|_| [127, 0, 0, 1]).collect();
    let names = NameServer::saying(Say::OverTcp(many), Say::Code(0)).await;
    let exchange = probe(&fetcher(), asking(&[names.addr]), server.addr.port()).await;
    assert_eq!((kind(&exchange), exchange.dns_answers), (None, Some(100)), "{:?}", exchange.failure);
    assert_eq!(names.asked(), 1);

    let names = NameServer::saying(Say::Truncated, Say::Code(0)).await;
    let exchange = probe(&fetcher(), asking(&[names.addr]), server.addr.port()).await;
    assert_eq!(kind(&exchange), Some(ErrorKind::DnsTruncated), "{:?}", exchange.failure);
}

/// A machine that is set to name servers as a file says, which is looked at for every name.
struct Machine {
    folder: TempDir,
    fetcher: Fetcher,
}

impl Machine {
    fn new(port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let resolv_conf = folder.path().join("resolv.conf");
        let system_dns = SystemDns { resolv_conf, port, good_for: Duration::ZERO };
        let fetcher = Fetcher::new(&FetcherConfig { system_dns, ..FetcherConfig::default() }).unwrap();
        Self { folder, fetcher }
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("resolv.conf")
    }

    fn set(&self, content: &str) {
        // As a container's file is mounted anew: another file under the same name.
        let new = self.folder.path().join("new");
        std::fs::write(&new, content).unwrap();
        std::fs::rename(new, self.file()).unwrap();
    }

    async fn probe(&self, port: u16) -> Exchange {
        probe(&self.fetcher, asking(&[]), port).await
    }
}

#[tokio::test]
async fn n10_what_the_system_is_set_to_is_followed() {
    let server = Server::answering(EMPTY).await;
    let first = NameServer::at("127.0.0.2:0".parse().unwrap(), loopback(), Say::Code(0)).await;
    let second = SocketAddr::new([127, 0, 0, 3].into(), first.addr.port());
    let second = NameServer::at(second, loopback(), Say::Code(0)).await;
    let machine = Machine::new(first.addr.port());
    let counts = || (first.asked(), second.asked());

    // Before there is any file, names cannot be resolved, and addresses can be probed.
    let exchange = machine.probe(server.addr.port()).await;
    assert_eq!(kind(&exchange), Some(ErrorKind::DnsConfig), "{:?}", exchange.failure);
    let message = exchange.failure.unwrap().message;
    assert!(
        message.contains(&machine.file().display().to_string()) && message.contains("no such file"),
        "{message}"
    );
    assert!(exchange.phases.dns.is_some() && exchange.phases.connect.is_none());
    assert_eq!(kind(&fetch_with(&machine.fetcher, spec(&[]), &server.url("/")).await), None);

    machine.set("nameserver 127.0.0.2\n");
    assert_eq!(kind(&machine.probe(server.addr.port()).await), None);
    assert_eq!(counts(), (1, 0));
    machine.set("# moved\nnameserver 127.0.0.3\n");
    assert_eq!(kind(&machine.probe(server.addr.port()).await), None);
    assert_eq!(counts(), (1, 1));
}

#[tokio::test]
async fn n10_a_file_of_no_use_counts_once_it_stays_so() {
    let server = Server::answering(EMPTY).await;
    let names = NameServer::at("127.0.0.2:0".parse().unwrap(), loopback(), Say::Code(0)).await;
    let machine = Machine::new(names.addr.port());
    let good = "nameserver 127.0.0.2\n";
    for bad in ["", "search shop.test\n", "nameserver dns.shop.test\n"] {
        machine.set(good);
        assert_eq!(kind(&machine.probe(server.addr.port()).await), None, "{bad}");
        // Somebody writes it anew: for a moment there is nothing in it.
        machine.set(bad);
        assert_eq!(kind(&machine.probe(server.addr.port()).await), None, "{bad}");
        machine.set(good);
        assert_eq!(kind(&machine.probe(server.addr.port()).await), None, "{bad}");
        machine.set(bad);
        assert_eq!(kind(&machine.probe(server.addr.port()).await), None, "{bad}");
        let exchange = machine.probe(server.addr.port()).await;
        assert_eq!(kind(&exchange), Some(ErrorKind::DnsConfig), "{bad}: {:?}", exchange.failure);
        assert_eq!(kind(&machine.probe(server.addr.port()).await), Some(ErrorKind::DnsConfig), "{bad}");
    }
    // A request with servers of its own does not need the file.
    let own = probe(&machine.fetcher, asking(&[names.addr]), server.addr.port()).await;
    assert_eq!(kind(&own), None);
    // As a folder, or gone, it is of no use either.
    machine.set(good);
    assert_eq!(kind(&machine.probe(server.addr.port()).await), None);
    std::fs::remove_file(machine.file()).unwrap();
    std::fs::create_dir(machine.file()).unwrap();
    machine.probe(server.addr.port()).await;
    let exchange = machine.probe(server.addr.port()).await;
    assert_eq!(kind(&exchange), Some(ErrorKind::DnsConfig), "{:?}", exchange.failure);
}

#[tokio::test]
async fn many_targets_ask_through_one_resolver() {
    // Over TCP, a resolver keeps one connection to its server: several resolvers would have several.
    let names = NameServer::saying(Say::OverTcp(vec![[127, 0, 0, 1]]), Say::Code(0)).await;
    let server = Server::answering(EMPTY).await;
    let fetcher = fetcher();
    for _ in 0..20 {
        // A request for each target, as pipelines of the same servers have them.
        let exchange = probe(&fetcher, asking(&[names.addr]), server.addr.port()).await;
        assert_eq!(kind(&exchange), None, "{:?}", exchange.failure);
    }
    assert_eq!(names.connections(), 1);
}

#[test]
fn the_files_path_is_the_systems() {
    assert_eq!(SystemDns::default().resolv_conf, Path::new("/etc/resolv.conf"));
    assert!(SystemDns::default().good_for <= Duration::from_secs(30));
}
