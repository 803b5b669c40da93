//! Tokens: asked for once, sent to the target, and nothing of the target's where there is none.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::dns::{NameServer, Say};
use super::support::{Server, drain, fetcher, header, kind, read_request, spec, status};
use crate::clock::Clock;
use crate::fetch::{Fetcher, OAuthSpec, Request, RequestError, RequestSpec, TlsOptions};
use crate::model::{ErrorKind, Exchange, Outcome};
use crate::telemetry;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const UNAUTHORIZED: &str = "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n";
/// What must never be told.
const SECRET: &str = "hunter2 & more";

fn oauth(token_url: &str) -> OAuthSpec {
    OAuthSpec {
        token_url: token_url.to_owned(),
        client_id: "shop:probe".to_owned(),
        client_secret: SECRET.to_owned(),
        scopes: vec!["read".to_owned(), "a:b".to_owned()],
        params: vec![("audience".to_owned(), "https://shop.test/".to_owned())],
        credentials_in_body: false,
    }
}

fn with_token(token_url: &str) -> Request {
    Request::build(RequestSpec { oauth: Some(oauth(token_url)), ..spec(&[]) }).unwrap()
}

async fn probe(fetcher: &Fetcher, request: &Request, url: &str) -> Exchange {
    let clock = Clock::system();
    fetcher.fetch(request, url, clock.now() + request.timeout(), &clock).await
}

/// Twenty targets of one request, at once.
async fn probe_twenty(fetcher: &Fetcher, request: Request, target: &Server) -> Vec<Exchange> {
    let request = Arc::new(request);
    let probes: Vec<_> = (0..20)
        .map(|number| {
            let (fetcher, request, url) =
                (fetcher.clone(), request.clone(), target.url(&format!("/{number}")));
            telemetry::spawn("test probe", async move { probe(&fetcher, &request, &url).await })
        })
        .collect();
    let mut exchanges = Vec::new();
    for probe in probes {
        exchanges.push(probe.await.unwrap());
    }
    exchanges
}

fn json(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// An endpoint that gives `token-1`, `token-2` and so on, with `more` members beside them.
async fn giving(more: &'static str) -> Server {
    let given = AtomicUsize::new(0);
    Server::routed(move |_| {
        let number = given.fetch_add(1, Ordering::SeqCst) + 1;
        let body = format!("{{\"access_token\":\"token-{number}\",\"token_type\":\"Bearer\"{more}}}");
        json("200 OK", &body).into_bytes()
    })
    .await
}

/// The tokens that a target has seen.
fn tokens(target: &Server) -> Vec<String> {
    let value = |request: &String| header(request, "authorization").unwrap_or("none").to_owned();
    target.seen().iter().map(value).collect()
}

#[tokio::test]
async fn a_token_is_asked_for_as_the_rfc_has_it_and_sent() {
    let (endpoint, target) = (giving(",\"expires_in\":3600").await, Server::answering(OK).await);
    let request = with_token(&endpoint.url("/token?tenant=a"));
    let exchange = probe(&fetcher(), &request, &target.url("/a")).await;
    assert_eq!((kind(&exchange), status(&exchange)), (None, Some(200)), "{:?}", exchange.failure);
    assert_eq!(tokens(&target), ["Bearer token-1"]);
    assert_eq!(exchange.sent_token.unwrap().expose(), "token-1");
    assert_eq!((exchange.remote_addr, exchange.hops.len()), (Some(target.addr), 0));
    let asked = &endpoint.seen()[0];
    assert!(asked.starts_with("POST /token?tenant=a HTTP/1.1\r\n"), "{asked}");
    assert_eq!(header(asked, "content-type"), Some("application/x-www-form-urlencoded"));
    // "shop%3Aprobe:hunter2+%26+more"
    assert_eq!(header(asked, "authorization"), Some("Basic c2hvcCUzQXByb2JlOmh1bnRlcjIrJTI2K21vcmU="));
    let body = "grant_type=client_credentials&scope=read+a%3Ab&audience=https%3A%2F%2Fshop.test%2F";
    assert!(asked.ends_with(&format!("\r\n\r\n{body}")), "{asked}");

    let in_body = OAuthSpec { credentials_in_body: true, scopes: Vec::new(), ..oauth(&endpoint.url("/")) };
    let request = Request::build(RequestSpec { oauth: Some(in_body), ..spec(&[]) }).unwrap();
    assert_eq!(kind(&probe(&fetcher(), &request, &target.url("/a")).await), None);
    let asked = &endpoint.seen()[1];
    assert_eq!(header(asked, "authorization"), None);
    let body = "grant_type=client_credentials&audience=https%3A%2F%2Fshop.test%2F&client_id=shop%3Aprobe&\
                client_secret=hunter2+%26+more";
    assert!(asked.ends_with(&format!("\r\n\r\n{body}")), "{asked}");
}

#[tokio::test]
async fn what_is_for_the_target_does_not_go_to_the_endpoint() {
    let (endpoint, target) = (giving(",\"expires_in\":3600").await, Server::answering(OK).await);
    let given = RequestSpec {
        method: "PUT".to_owned(),
        body: Some("for the target".into()),
        headers: vec![("x-a".to_owned(), "b".to_owned()), ("host".to_owned(), "vhost".to_owned())],
        oauth: Some(oauth(&endpoint.url("/"))),
        ..spec(&[])
    };
    assert_eq!(kind(&probe(&fetcher(), &Request::build(given).unwrap(), &target.url("/")).await), None);
    let (asked, sent) = (&endpoint.seen()[0], &target.seen()[0]);
    assert_eq!((header(asked, "x-a"), header(sent, "x-a")), (None, Some("b")));
    assert_eq!(header(asked, "host"), Some(endpoint.addr.to_string().as_str()));
    assert!(sent.starts_with("PUT / ") && sent.ends_with("for the target"), "{sent}");
    assert!(!asked.contains("for the target"), "{asked}");
}

#[tokio::test]
async fn twenty_targets_need_one_token() {
    let (endpoint, target) = (giving(",\"expires_in\":3600").await, Server::answering(OK).await);
    for exchange in probe_twenty(&fetcher(), with_token(&endpoint.url("/")), &target).await {
        assert_eq!((kind(&exchange), status(&exchange)), (None, Some(200)), "{:?}", exchange.failure);
    }
    assert_eq!(endpoint.seen().len(), 1);
    assert_eq!(tokens(&target), vec!["Bearer token-1"; 20]);
}

#[tokio::test]
async fn every_address_of_a_target_is_shown_the_same_token() {
    let endpoint = giving(",\"expires_in\":3600").await;
    let first = Server::answering(OK).await;
    let answer = |mut stream: TcpStream, seen: Arc<Mutex<Vec<String>>>| async move {
        let request = read_request(&mut stream).await;
        seen.lock().unwrap().push(request);
        let _ = stream.write_all(OK.as_bytes()).await;
    };
    let second = Server::scripted_at(&format!("127.0.0.2:{}", first.addr.port()), answer).await;
    let names = NameServer::saying(Say::Addresses(vec![[127, 0, 0, 1], [127, 0, 0, 2]]), Say::Code(0)).await;
    let oauth = Some(oauth(&endpoint.url("/")));
    let request = Request::build(RequestSpec { oauth, all_addresses: true, ..spec(&[]) }).unwrap();
    let (url, clock) = (format!("http://shop.test:{}/", first.addr.port()), Clock::system());
    let deadline = clock.now() + request.timeout();
    let exchanges = names.fetcher().fetch_each(&request, &url, deadline, &clock, std::future::ready).await;
    let kinds: Vec<_> = exchanges.iter().map(kind).collect();
    assert_eq!(kinds, [None, None], "{:?}", exchanges[0].failure);
    assert_eq!(
        (tokens(&first), tokens(&second)),
        (vec!["Bearer token-1".into()], vec!["Bearer token-1".into()])
    );
    assert_eq!(endpoint.seen().len(), 1);
}

#[tokio::test]
async fn a_token_that_has_expired_is_not_used() {
    let target = Server::answering(OK).await;
    for (expires_in, expected) in [
        (",\"expires_in\":0", ["Bearer token-1", "Bearer token-2"]),
        (",\"expires_in\":\"3600\"", ["Bearer token-1"; 2]),
        ("", ["Bearer token-1"; 2]),
    ] {
        let endpoint = giving(expires_in).await;
        let (fetcher, request) = (fetcher(), with_token(&endpoint.url("/")));
        let before = target.seen().len();
        for _ in 0..2 {
            assert_eq!(kind(&probe(&fetcher, &request, &target.url("/")).await), None);
        }
        assert_eq!(tokens(&target)[before..], expected, "{expires_in}");
    }
}

#[tokio::test]
async fn a_token_that_the_target_does_not_accept_is_dropped() {
    let endpoint = giving(",\"expires_in\":3600").await;
    let target = Server::routed(|request| {
        let is_old = header(request, "authorization") == Some("Bearer token-1");
        if is_old { UNAUTHORIZED.into() } else { OK.into() }
    })
    .await;
    let (fetcher, request) = (fetcher(), with_token(&endpoint.url("/")));
    for expected in [401, 200, 200] {
        assert_eq!(status(&probe(&fetcher, &request, &target.url("/")).await), Some(expected));
    }
    assert_eq!(tokens(&target), ["Bearer token-1", "Bearer token-2", "Bearer token-2"]);
    // It does not go along a redirect to another origin, whose 401 says nothing of it then.
    let elsewhere = Server::answering(UNAUTHORIZED).await;
    let location =
        format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", elsewhere.url("/"));
    let leading = Server::answering(location).await;
    assert_eq!(status(&probe(&fetcher, &request, &leading.url("/")).await), Some(401));
    assert_eq!((tokens(&leading), tokens(&elsewhere)), (vec!["Bearer token-2".into()], vec!["none".into()]));
    assert_eq!(status(&probe(&fetcher, &request, &target.url("/")).await), Some(200));
    assert_eq!(endpoint.seen().len(), 2);
}

/// The attempt failed for want of a token, and nobody can read the secret in it.
#[track_caller]
fn assert_no_token(exchange: &Exchange, said: &str) {
    let failure = exchange.failure.as_ref().expect(said);
    assert_eq!((failure.kind, failure.kind.outcome()), (ErrorKind::OAuth, Outcome::Unknown), "{failure:?}");
    assert!(failure.message.contains(said), "{said}: {failure:?}");
    assert!(!failure.message.contains("hunter2"), "{failure:?}");
    assert!(exchange.head.is_none() && exchange.sent_token.is_none() && exchange.remote_addr.is_none());
    assert!(exchange.phases.total.is_some() && exchange.phases.connect.is_none());
}

#[tokio::test]
async fn h31_without_a_token_the_target_is_not_contacted() {
    let target = Server::answering(OK).await;
    let echoed = format!("{{\"error\":\"{SECRET}\",\"error_description\":\"{SECRET}\"}}");
    let long = format!("{{\"access_token\":\"{}\"}}", "a".repeat(70_000));
    for (answer, said) in [
        (json("401 Unauthorized", "{\"error\":\"invalid_client\"}"), "status 401, invalid_client"),
        (json("400 Bad Request", &echoed), "status 400"),
        (json("503 Down", "down"), "status 503"),
        (json("302 Found\r\nLocation: /login", ""), "status 302"),
        (json("200 OK", "<html>log in</html>"), "has no \"access_token\""),
        (json("200 OK", "{}"), "has no \"access_token\""),
        (json("200 OK", "{\"access_token\":\"\"}"), "has no \"access_token\""),
        (json("200 OK", "{\"access_token\":\"a\\nb\"}"), "has no \"access_token\""),
        (json("200 OK", &long), "has no \"access_token\""),
        (json("200 OK", "{\"access_token\":\"a\",\"token_type\":\"mac\"}"), "no bearer token"),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), "http_malformed"),
        (String::new(), "connection_closed"),
    ] {
        let endpoint = Server::answering(answer).await;
        let exchange = probe(&fetcher(), &with_token(&endpoint.url("/")), &target.url("/a")).await;
        assert_no_token(&exchange, said);
        assert_eq!(exchange.final_url, Some(target.url("/a")));
        assert_eq!(endpoint.seen().len(), 1, "{said}");
    }
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let exchange = probe(&fetcher(), &with_token(&format!("http://{gone}/")), &target.url("/")).await;
    assert_no_token(&exchange, "connect_refused");
    let exchange = probe(&fetcher(), &with_token("http://169.254.169.254/"), &target.url("/")).await;
    assert_no_token(&exchange, "connect_denied");
    assert_eq!(target.seen().len(), 0);
}

#[tokio::test]
async fn h31_an_endpoint_that_hangs_ends_within_the_attempt_for_all_who_wait() {
    let target = Server::answering(OK).await;
    let endpoint = Server::scripted(|mut stream, seen| async move {
        let request = read_request(&mut stream).await;
        seen.lock().unwrap().push(request);
        drain(&mut stream).await;
    })
    .await;
    let oauth = Some(oauth(&endpoint.url("/")));
    let given = RequestSpec { oauth, timeout: Duration::from_millis(400), ..spec(&[]) };
    let (fetcher, request) = (fetcher(), Request::build(given).unwrap());
    for exchange in probe_twenty(&fetcher, request.clone(), &target).await {
        assert_no_token(&exchange, "there is no token for the target: ");
        assert!(exchange.phases.total.unwrap() < Duration::from_secs(2), "{:?}", exchange.phases);
    }
    assert_eq!((endpoint.seen().len(), target.seen().len()), (1, 0));
    // The next attempt asks anew.
    assert_no_token(&probe(&fetcher, &request, &target.url("/")).await, "timeout");
    assert_eq!(endpoint.seen().len(), 2);
}

#[test]
fn where_no_token_can_come_from_is_refused_without_repeating_it() {
    for url in ["", "hunter2", "ftp://sso.test/", "https://a:hunter2@sso.test/", "https://sso.test/#hunter2"]
    {
        let problems =
            Request::build(RequestSpec { oauth: Some(oauth(url)), ..spec(&[]) }).map(|_| ()).unwrap_err();
        assert!(matches!(problems[..], [RequestError::TokenUrl { .. }]), "{url}: {problems:?}");
        assert!(!problems[0].to_string().contains("hunter2"), "{}", problems[0]);
    }
    let printed = format!("{:?} {:?}", oauth("https://sso.test/"), with_token("https://sso.test/"));
    assert!(!printed.contains("hunter2"), "{printed}");
}

#[test]
fn what_is_said_of_the_targets_tls_is_not_for_the_endpoint() {
    let tls = TlsOptions {
        insecure_skip_verify: true,
        server_name: Some("vhost.test".to_owned()),
        only_tls13: true,
        ..TlsOptions::default()
    };
    let printed = format!("{:?}", crate::fetch::tls::template(&tls).unwrap().for_another_server());
    for part in ["insecure_skip_verify: false", "server_name: None", "only_tls13: true"] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
}
