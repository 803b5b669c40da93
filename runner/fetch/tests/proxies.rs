//! Through a proxy: what it is asked, what rows tell, and that none of its faults is the target's.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::dns::{NameServer, Say, loopback};
use super::secure::{Authority, config, serving, trusting};
use super::support::{Server, drain, fetch, fetch_with, fetcher, header, kind, read_request, spec, status};
use crate::clock::Clock;
use crate::fetch::{AddressPolicy, HttpVersions, Request, RequestSpec};
use crate::model::{ErrorKind, Exchange, Outcome};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const CONNECTED: &[u8] = b"HTTP/1.1 200 Connected\r\nVia: 1.1 test\r\n\r\n";
/// What must never be told.
const PASSWORD: &str = "hunter2";

fn through(proxy: &str, spec: RequestSpec) -> RequestSpec {
    RequestSpec { proxy_url: Some(proxy.to_owned()), ..spec }
}

fn http_proxy(server: &Server) -> String {
    format!("http://ann:{PASSWORD}@{}", server.addr)
}

/// Bytes from one to the other and back, until one of them closes.
async fn relay(mut client: TcpStream, target: SocketAddr) {
    let mut target = TcpStream::connect(target).await.unwrap();
    let _ = tokio::io::copy_bidirectional(&mut client, &mut target).await;
}

/// An HTTP proxy that says `answer` to CONNECT and carries on to `target`, whatever it is asked for.
async fn tunnelling(answer: &'static [u8], target: SocketAddr) -> Server {
    Server::scripted(move |mut client, seen| async move {
        let request = read_request(&mut client).await;
        seen.lock().unwrap().push(request);
        client.write_all(answer).await.unwrap();
        relay(client, target).await;
    })
    .await
}

/// A proxy that does what `script` says once it was asked, and stays until the client leaves.
async fn answering(answer: Vec<u8>, closes: bool) -> Server {
    Server::scripted(move |mut client, seen| {
        let answer = answer.clone();
        async move {
            let request = read_request(&mut client).await;
            seen.lock().unwrap().push(request);
            let _ = client.write_all(&answer).await;
            if closes {
                let _ = client.shutdown().await;
            }
            drain(&mut client).await;
        }
    })
    .await
}

#[track_caller]
fn assert_not_theirs(exchange: &Exchange, expected: ErrorKind, what: &str) {
    let failure = exchange.failure.as_ref().unwrap_or_else(|| panic!("{what}: no failure"));
    assert_eq!(failure.kind, expected, "{what}: {failure:?}");
    assert_eq!(failure.kind.outcome(), Outcome::Unknown, "{what}");
    assert!(failure.message.contains("proxy") && !failure.message.contains(PASSWORD), "{what}: {failure:?}");
}

fn shop(params: &mut rcgen::CertificateParams) {
    params.subject_alt_names = vec![rcgen::SanType::DnsName("shop.test".try_into().unwrap())];
}

#[tokio::test]
async fn h29_https_goes_through_connect_and_the_name_is_not_resolved_here() {
    let authority = Authority::new();
    let server = serving(config(authority.issue(shop))).await;
    // An interim answer first, as a proxy may send.
    let proxy =
        tunnelling(b"HTTP/1.1 103 Wait\r\n\r\nHTTP/1.1 204 Connected\r\nA: b\r\n\r\n", server.addr).await;
    let exchange =
        fetch(through(&http_proxy(&proxy), trusting(authority.pem())), "https://shop.test:8443/a").await;
    assert_eq!((kind(&exchange), status(&exchange)), (None, Some(200)), "{:?}", exchange.failure);
    assert_eq!((exchange.remote_addr, exchange.dns_answers), (Some(proxy.addr), None));
    let phases = exchange.phases;
    assert!(phases.dns.is_none() && phases.connect.is_some() && phases.tls.is_some(), "{phases:?}");
    assert_eq!(exchange.tls.unwrap().verified, Some(true));
    let asked = &proxy.seen()[0];
    assert!(asked.starts_with("CONNECT shop.test:8443 HTTP/1.1\r\nhost: shop.test:8443\r\n"), "{asked}");
    assert_eq!(header(asked, "proxy-authorization"), Some("Basic YW5uOmh1bnRlcjI="));
    let seen = &server.seen()[0];
    assert!(seen.starts_with("shop.test GET /a HTTP/1.1\r\n"), "{seen}");
    assert_eq!(header(seen, "proxy-authorization"), None, "{seen}");
}

#[tokio::test]
async fn http_goes_in_absolute_form() {
    let proxy = Server::answering(OK).await;
    let given = RequestSpec { headers: vec![("x-a".to_owned(), "b".to_owned())], ..spec(&[]) };
    let exchange = fetch(through(&http_proxy(&proxy), given), "http://shop.test/p?q=1").await;
    assert_eq!((kind(&exchange), status(&exchange)), (None, Some(200)), "{:?}", exchange.failure);
    assert_eq!(
        (exchange.remote_addr, exchange.phases.dns, exchange.dns_answers),
        (Some(proxy.addr), None, None)
    );
    let asked = &proxy.seen()[0];
    assert!(asked.starts_with("GET http://shop.test/p?q=1 HTTP/1.1\r\nhost: shop.test\r\n"), "{asked}");
    assert_eq!(header(asked, "proxy-authorization"), Some("Basic YW5uOmh1bnRlcjI="));
    assert_eq!(header(asked, "x-a"), Some("b"));
    // What the proxy answers itself is the response: nobody can tell.
    let proxy = Server::answering("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
    let exchange = fetch(through(&http_proxy(&proxy), spec(&[])), "http://shop.test/").await;
    assert_eq!((kind(&exchange), status(&exchange)), (None, Some(502)));
}

#[tokio::test]
async fn http_2_without_tls_goes_through_connect() {
    // The target sees the preface of HTTP/2, and has nothing to say to it.
    let target = Server::scripted(|mut stream, seen| async move {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        seen.lock().unwrap().push(String::from_utf8_lossy(&preface).into_owned());
    })
    .await;
    let proxy = tunnelling(CONNECTED, target.addr).await;
    let given = RequestSpec { http_version: HttpVersions::Http2, ..spec(&[]) };
    fetch(through(&http_proxy(&proxy), given), "http://shop.test/").await;
    assert!(proxy.seen()[0].starts_with("CONNECT shop.test:80 HTTP/1.1\r\n"));
    assert_eq!(target.seen(), ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]);
}

#[tokio::test]
async fn n73_a_proxys_faults_at_connect_are_its_own() {
    use ErrorKind::{ProxyAuth, ProxyMalformed, ProxyRefused};
    let endless = [b"HTTP/1.1 200 OK\r\nA: ".as_slice(), &vec![b'x'; 64 << 10]].concat();
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(200)).into_bytes();
    for (what, answer, closes, expected, said) in [
        (
            "forbidden",
            &b"HTTP/1.1 403 Forbidden\r\n\r\n"[..],
            true,
            ProxyRefused,
            "shop.test:443: status 403",
        ),
        (
            "bad gateway",
            b"HTTP/1.0 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nno\n",
            true,
            ProxyRefused,
            "status 502",
        ),
        ("a redirect", b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", false, ProxyRefused, "status 302"),
        (
            "other credentials",
            b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\n\r\n",
            false,
            ProxyAuth,
            "(407)",
        ),
        ("a NUL in a header", b"HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n", false, ProxyMalformed, "not valid HTTP"),
        ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n", false, ProxyMalformed, "not valid HTTP"),
        ("bytes", b"\x05\x00\xff\x00", true, ProxyMalformed, "not valid HTTP"),
        ("an endless header", &endless, false, ProxyMalformed, "longer than 16 KiB"),
        ("many headers", &many, false, ProxyMalformed, "not valid HTTP"),
        ("half a head", b"HTTP/1.1 200 OK\r\nA: b", true, ProxyMalformed, "in the middle"),
        ("nothing", b"", true, ProxyRefused, "without an answer"),
        ("an end after 200", CONNECTED, true, ProxyRefused, "closed the connection before an answer"),
    ] {
        let proxy = answering(answer.to_vec(), closes).await;
        let exchange = fetch(through(&http_proxy(&proxy), spec(&[])), "https://shop.test/").await;
        assert_not_theirs(&exchange, expected, what);
        let message = &exchange.failure.as_ref().unwrap().message;
        assert!(message.contains(said) && message.contains(&proxy.addr.to_string()), "{what}: {message}");
        assert_eq!(exchange.remote_addr, Some(proxy.addr), "{what}");
        assert_eq!(exchange.phases.connect.is_some(), what == "an end after 200", "{what}");
        assert_eq!(proxy.seen().len(), 1, "{what}");
    }
}

#[tokio::test]
async fn n73_a_proxy_that_is_sent_the_request_has_its_own_faults_too() {
    use ErrorKind::{ProxyAuth, ProxyMalformed, ProxyRefused};
    for (what, answer, closes, expected) in [
        ("other credentials", &b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n"[..], false, ProxyAuth),
        ("a NUL in a header", b"HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n", false, ProxyMalformed),
        ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n", false, ProxyMalformed),
        ("half a head", b"HTTP/1.1 200 OK\r\nA: b", true, ProxyRefused),
        ("nothing", b"", true, ProxyRefused),
    ] {
        let proxy = answering(answer.to_vec(), closes).await;
        let exchange = fetch(through(&http_proxy(&proxy), spec(&[])), "http://shop.test/").await;
        assert_not_theirs(&exchange, expected, what);
        assert_eq!(status(&exchange), None, "{what}");
    }
    // Once a head has come, the response is judged as any other.
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello".to_vec();
    let proxy = answering(half, true).await;
    let exchange = fetch(through(&http_proxy(&proxy), spec(&[])), "http://shop.test/").await;
    assert_eq!(kind(&exchange), Some(ErrorKind::BodyIncomplete));
}

#[tokio::test]
async fn n73_a_proxy_that_hangs_ends_at_the_deadline() {
    for (what, answer, url) in [
        ("after CONNECT", &b""[..], "https://shop.test/"),
        ("in its answer", b"HTTP/1.1 200 OK\r\nA: ", "https://shop.test/"),
        ("after 200", CONNECTED, "https://shop.test/"),
        ("after the request", b"", "http://shop.test/"),
    ] {
        let proxy = answering(answer.to_vec(), false).await;
        let short = RequestSpec { timeout: Duration::from_millis(300), ..spec(&[]) };
        let exchange = fetch(through(&http_proxy(&proxy), short), url).await;
        assert_not_theirs(&exchange, ErrorKind::ProxyTimeout, what);
        assert_eq!(exchange.remote_addr, Some(proxy.addr), "{what}");
    }
}

#[tokio::test]
async fn a_proxy_that_cannot_be_reached_is_no_fault_of_the_target() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in ["http://shop.test/", "https://shop.test/"] {
        let exchange = fetch(through(&format!("http://{free}"), spec(&[])), url).await;
        assert_not_theirs(&exchange, ErrorKind::ProxyRefused, url);
    }
    let names = NameServer::saying(Say::Code(3), Say::Code(3)).await;
    for proxy in ["http://proxy.test:1", "socks5h://proxy.test:1"] {
        let given = through(proxy, spec(&[]));
        let exchange = fetch_with(&names.fetcher(), given, "https://shop.test/").await;
        assert_not_theirs(&exchange, ErrorKind::ProxyRefused, proxy);
        assert!(exchange.phases.dns.is_some() && exchange.dns_answers.is_none());
    }
    let names = NameServer::saying(Say::Code(2), Say::Code(2)).await;
    let exchange =
        fetch_with(&names.fetcher(), through("http://proxy.test:1", spec(&[])), "https://shop.test/").await;
    assert_not_theirs(&exchange, ErrorKind::DnsServfail, "its name is not known to anybody");
}

#[tokio::test]
async fn what_comes_from_beyond_the_proxy_is_the_targets() {
    let authority = Authority::new();
    let other_name = serving(config(authority.issue(|_| ()))).await;
    let banner = Server::scripted(|mut stream, _| async move {
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
        drain(&mut stream).await;
    })
    .await;
    for (what, target, expected) in [
        ("another name", other_name.addr, ErrorKind::TlsName),
        // Comes together with the proxy's answer, and must not be lost with it.
        ("a banner", banner.addr, ErrorKind::TlsNotTls),
    ] {
        let proxy = tunnelling(CONNECTED, target).await;
        let exchange =
            fetch(through(&http_proxy(&proxy), trusting(authority.pem())), "https://shop.test/").await;
        assert_eq!(kind(&exchange), Some(expected), "{what}: {:?}", exchange.failure);
        assert_eq!(expected.outcome(), Outcome::Down);
    }
    let glued = answering([CONNECTED, b"SSH-2.0-OpenSSH_9.2\r\n"].concat(), false).await;
    let exchange = fetch(through(&http_proxy(&glued), spec(&[])), "https://shop.test/").await;
    assert_eq!(kind(&exchange), Some(ErrorKind::TlsNotTls), "{:?}", exchange.failure);
}

#[tokio::test]
async fn no_proxy_goes_directly_and_a_redirect_by_its_own_url() {
    let server = Server::answering(OK).await;
    let location =
        format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", server.url("/there"));
    let proxy = Server::answering(location).await;
    let given = RequestSpec { no_proxy: vec!["127.0.0.0/8".to_owned()], ..spec(&[]) };
    let exchange = fetch(through(&http_proxy(&proxy), given.clone()), &server.url("/here")).await;
    assert_eq!((kind(&exchange), exchange.remote_addr), (None, Some(server.addr)), "{:?}", exchange.failure);
    assert_eq!(proxy.seen().len(), 0);
    let exchange = fetch(through(&http_proxy(&proxy), given), "http://shop.test/").await;
    assert_eq!((kind(&exchange), exchange.remote_addr), (None, Some(server.addr)), "{:?}", exchange.failure);
    assert_eq!((proxy.seen().len(), server.seen().len()), (1, 2));
    let seen = &server.seen()[1];
    assert!(seen.starts_with("GET /there HTTP/1.1\r\n"), "{seen}");
    assert_eq!(header(seen, "proxy-authorization"), None, "{seen}");
}

#[tokio::test]
async fn the_address_policy_holds_for_what_is_known_here() {
    let proxy = Server::answering(OK).await;
    for (what, proxy_url, url) in [
        ("in the URL", http_proxy(&proxy), "http://169.254.169.254/latest"),
        ("in the URL, by CONNECT", http_proxy(&proxy), "https://[fd00:ec2::254]/"),
        ("in the URL, by SOCKS", format!("socks5h://{}", proxy.addr), "http://169.254.169.254/"),
    ] {
        let exchange = fetch(through(&proxy_url, spec(&[])), url).await;
        assert_eq!(kind(&exchange), Some(ErrorKind::ConnectDenied), "{what}: {:?}", exchange.failure);
    }
    let names = NameServer::saying(Say::Addresses(vec![[169, 254, 169, 254]]), Say::Code(0)).await;
    let given = through(&format!("socks5://{}", proxy.addr), spec(&[]));
    let exchange = fetch_with(&names.fetcher(), given, "http://shop.test/").await;
    assert_eq!(kind(&exchange), Some(ErrorKind::ConnectDenied), "resolved here: {:?}", exchange.failure);
    let given = RequestSpec { address_policy: AddressPolicy::PublicOnly, ..spec(&[]) };
    let exchange = fetch(through(&http_proxy(&proxy), given), "http://shop.test/").await;
    assert_eq!(kind(&exchange), Some(ErrorKind::ConnectDenied), "the proxy's own: {:?}", exchange.failure);
    assert_eq!(proxy.seen().len(), 0);
}

/// What a SOCKS proxy was asked, and what it carries on to.
type Asked = Arc<Mutex<Vec<Vec<u8>>>>;

/// A SOCKS proxy that answers the greeting and the credentials as it is told, then one request for each connection
/// with the next of `replies`, and carries on to `target` after a good one.
async fn socks(choice: Vec<u8>, replies: Vec<Vec<u8>>, target: SocketAddr) -> (Server, Asked) {
    let asked = Asked::default();
    let (log, replies) = (asked.clone(), Arc::new(Mutex::new(replies.into_iter())));
    let server = Server::scripted(move |mut client, _| {
        let (choice, replies, log) = (choice.clone(), replies.clone(), log.clone());
        async move {
            let mut take = async |length: usize| {
                let mut bytes = vec![0; length];
                client.read_exact(&mut bytes).await.ok()?;
                Some(bytes)
            };
            let Some(greeting) = take(2).await else { return };
            let methods = take(usize::from(greeting[1])).await.unwrap();
            log.lock().unwrap().push([greeting, methods].concat());
            client.write_all(&choice).await.unwrap();
            if choice.get(1) == Some(&2) {
                let mut part = vec![0; 1 + 1 + 3 + 1 + PASSWORD.len()];
                client.read_exact(&mut part).await.unwrap();
                log.lock().unwrap().push(part);
            }
            let mut request = vec![0; 5];
            if client.read_exact(&mut request).await.is_err() {
                return;
            }
            let rest = match request[3] {
                1 => 4 - 1 + 2,
                3 => usize::from(request[4]) + 2,
                _ => 16 - 1 + 2,
            };
            let mut tail = vec![0; rest];
            client.read_exact(&mut tail).await.unwrap();
            log.lock().unwrap().push([request, tail].concat());
            let reply = replies.lock().unwrap().next().unwrap();
            client.write_all(&reply).await.unwrap();
            if reply.len() > 4 && reply[1] == 0 {
                relay(client, target).await;
            }
        }
    })
    .await;
    (server, asked)
}

const GRANTED: [u8; 10] = [5, 0, 0, 1, 0, 0, 0, 0, 0, 0];

#[tokio::test]
async fn socks5h_leaves_the_name_to_the_proxy() {
    let server = Server::answering(OK).await;
    // Its own address, as a name: a reply of another length.
    let named = [&[5, 0, 0, 3, 4][..], b"here", &[0, 80]].concat();
    let (proxy, asked) = socks(vec![5, 2, 1, 0], vec![named], server.addr).await;
    let proxy_url = format!("socks5h://ann:{PASSWORD}@{}", proxy.addr);
    let exchange = fetch(through(&proxy_url, spec(&[])), "http://shop.test:8080/a").await;
    assert_eq!((kind(&exchange), status(&exchange)), (None, Some(200)), "{:?}", exchange.failure);
    assert_eq!((exchange.remote_addr, exchange.phases.dns), (Some(proxy.addr), None));
    let name = [&[5, 1, 0, 3, 9][..], b"shop.test", &8080_u16.to_be_bytes()].concat();
    let credentials = [&[1, 3][..], b"ann", &[7], PASSWORD.as_bytes()].concat();
    assert_eq!(*asked.lock().unwrap(), [vec![5, 2, 0, 2], credentials, name]);
    assert!(server.seen()[0].starts_with("GET /a HTTP/1.1\r\nhost: shop.test:8080\r\n"));
}

#[tokio::test]
async fn socks5_resolves_here_and_tries_one_address_after_the_other() {
    let server = Server::answering(OK).await;
    let refused = vec![5, 5, 0, 1, 0, 0, 0, 0, 0, 0];
    let (proxy, asked) = socks(vec![5, 0], vec![refused, GRANTED.to_vec()], server.addr).await;
    let names = NameServer::saying(Say::Addresses(vec![[127, 0, 0, 8], [127, 0, 0, 9]]), Say::Code(0)).await;
    let given = through(&format!("socks5://{}", proxy.addr), spec(&[]));
    let exchange = fetch_with(&names.fetcher(), given, "http://shop.test/").await;
    assert_eq!((kind(&exchange), exchange.dns_answers), (None, Some(2)), "{:?}", exchange.failure);
    assert!(exchange.phases.dns.is_some() && exchange.phases.connect.is_some());
    let (greeting, ask) = (vec![5, 1, 0], |last| vec![5, 1, 0, 1, 127, 0, 0, last, 0, 80]);
    assert_eq!(*asked.lock().unwrap(), [greeting.clone(), ask(8), greeting, ask(9)]);
    // A name that does not exist is the target's fault, whoever would connect to it.
    let names = NameServer::saying(Say::Code(3), Say::Code(3)).await;
    let given = through(&format!("socks5://{}", proxy.addr), spec(&[]));
    let exchange = fetch_with(&names.fetcher(), given, "http://shop.test/").await;
    assert_eq!(kind(&exchange), Some(ErrorKind::DnsNxdomain));
}

#[tokio::test]
async fn n73_the_faults_of_a_socks_proxy_are_its_own() {
    use ErrorKind::{ProxyAuth, ProxyMalformed, ProxyRefused};
    let target = Server::answering(OK).await;
    let granted = GRANTED.to_vec();
    for (what, choice, reply, expected, said) in [
        ("no way to authenticate", vec![5, 0xff], &granted, ProxyAuth, "(SOCKS)"),
        ("other credentials", vec![5, 2, 1, 1], &granted, ProxyAuth, "(SOCKS status 1)"),
        ("a way that was not offered", vec![5, 1], &granted, ProxyMalformed, "not SOCKS 5"),
        ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), &granted, ProxyMalformed, "not SOCKS 5"),
        (
            "its rules",
            vec![5, 0],
            &vec![5, 2, 0, 1, 0, 0, 0, 0, 0, 0],
            ProxyRefused,
            "its rules do not allow it",
        ),
        ("no connection", vec![5, 0], &vec![5, 5, 0, 1, 0, 0, 0, 0, 0, 0], ProxyRefused, "SOCKS reply 5"),
        ("an unknown code", vec![5, 0], &vec![5, 99, 0, 1, 0, 0, 0, 0, 0, 0], ProxyRefused, "SOCKS reply 99"),
        ("another version", vec![5, 0], &vec![4, 90, 0, 0, 0, 0, 0, 0], ProxyMalformed, "not SOCKS 5"),
        ("an odd address", vec![5, 0], &vec![5, 0, 0, 9], ProxyMalformed, "unknown type"),
        ("half a reply", vec![5, 0], &vec![5, 0], ProxyRefused, "before it had connected"),
    ] {
        let (proxy, _) = socks(choice, vec![reply.clone()], target.addr).await;
        let proxy_url = format!("socks5h://ann:{PASSWORD}@{}", proxy.addr);
        let exchange = fetch(through(&proxy_url, spec(&[])), "http://shop.test/").await;
        assert_not_theirs(&exchange, expected, what);
        let message = &exchange.failure.as_ref().unwrap().message;
        assert!(message.contains(said), "{what}: {message}");
    }
    assert_eq!(target.seen().len(), 0);
    let silent = answering(Vec::new(), false).await;
    let short = RequestSpec { timeout: Duration::from_millis(300), ..spec(&[]) };
    let exchange = fetch(through(&format!("socks5h://{}", silent.addr), short), "http://shop.test/").await;
    assert_not_theirs(&exchange, ErrorKind::ProxyTimeout, "silence");
}

#[tokio::test]
async fn a_proxys_host_may_be_a_name_and_may_be_pinned() {
    let proxy = Server::answering(OK).await;
    let names = NameServer::saying(loopback(), Say::Code(0)).await;
    let proxy_url = format!("http://proxy.test:{}", proxy.addr.port());
    let exchange = fetch_with(&names.fetcher(), through(&proxy_url, spec(&[])), "http://shop.test/").await;
    assert_eq!((kind(&exchange), exchange.remote_addr), (None, Some(proxy.addr)), "{:?}", exchange.failure);
    // The time is that of the proxy's name; answers are counted for the target only.
    assert!(exchange.phases.dns.is_some() && exchange.dns_answers.is_none());
    let resolve = vec![("proxy.invalid:3128".to_owned(), proxy.addr.to_string())];
    let given = through("http://proxy.invalid:3128", RequestSpec { resolve, ..spec(&[]) });
    let exchange = fetch(given, "http://shop.test/").await;
    assert_eq!((kind(&exchange), exchange.phases.dns), (None, None), "{:?}", exchange.failure);
    assert_eq!(proxy.seen().len(), 2);
}

#[tokio::test]
async fn a_kept_connection_still_goes_through_its_proxy() {
    let proxy = Server::scripted(|mut stream, seen| async move {
        for _ in 0..2 {
            let request = read_request(&mut stream).await;
            seen.lock().unwrap().push(request);
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
        drain(&mut stream).await;
    })
    .await;
    let given = RequestSpec { reuse_connections: true, timeout: Duration::from_secs(1), ..spec(&[]) };
    let request = Request::build(through(&http_proxy(&proxy), given)).unwrap();
    let (fetcher, clock) = (fetcher(), Clock::system());
    for (turn, expected) in [(0, None), (1, None), (2, Some(ErrorKind::ProxyTimeout))] {
        let deadline = clock.now() + request.timeout();
        let exchange = fetcher.fetch(&request, "http://shop.test/", deadline, &clock).await;
        assert_eq!(kind(&exchange), expected, "{:?}", exchange.failure);
        assert_eq!((exchange.connection_reused, exchange.remote_addr), (Some(turn > 0), Some(proxy.addr)));
    }
    for asked in proxy.seen() {
        assert!(asked.starts_with("GET http://shop.test/ HTTP/1.1\r\n"), "{asked}");
        assert!(header(&asked, "proxy-authorization").is_some());
    }
}

#[test]
fn a_proxys_credentials_are_not_printed() {
    let given = through(&format!("http://ann:{PASSWORD}@proxy.test:1"), spec(&[]));
    let printed = format!("{given:?} {:?}", Request::build(given.clone()).unwrap());
    assert!(!printed.contains(PASSWORD), "{printed}");
    let wrong = through(&format!("http://ann:{PASSWORD}@proxy.test:1/path"), spec(&[]));
    let problems = Request::build(wrong).unwrap_err();
    assert!(!format!("{problems:?} {}", problems[0]).contains(PASSWORD));
}
