//! TLS: facts of good and bad certificates, and every way a handshake fails.

use std::sync::Arc;

use hyper::body::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls::{RootCertStore, SupportedProtocolVersion};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use super::support::{Server, drain, fetch, kind, read_request, spec, status};
use crate::fetch::{ClientPem, HttpVersions, RequestSpec, TlsOptions};
use crate::model::{ErrorKind, Exchange};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// A certificate authority of the test's own.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(2090, 1, 1);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn pem(&self) -> Bytes {
        pem(self.0.der())
    }

    /// A certificate for the loopback, changed by `change`.
    pub(super) fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = params();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity { chain: vec![certificate.der().clone()], key }
    }
}

pub(super) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "leaf");
    params.not_after = rcgen::date_time_ymd(2080, 1, 1);
    params
}

fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = params();
    change(&mut params);
    Identity { chain: vec![params.self_signed(&key).unwrap().der().clone()], key }
}

fn builder(
    versions: &[&'static SupportedProtocolVersion],
) -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap()
}

pub(super) fn config(identity: Identity) -> ServerConfig {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.serialize_der()));
    builder(rustls::ALL_VERSIONS).with_no_client_auth().with_single_cert(identity.chain, key).unwrap()
}

pub(super) async fn serving(config: ServerConfig) -> Server {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Server::scripted(move |stream, seen| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let request = read_request(&mut stream).await;
            let name = stream.get_ref().1.server_name().unwrap_or("-").to_owned();
            seen.lock().unwrap().push(format!("{name} {request}"));
            let _ = stream.write_all(OK).await;
            let _ = stream.shutdown().await;
            drain(&mut stream).await;
        }
    })
    .await
}

pub(super) fn trusting(pem: Bytes) -> RequestSpec {
    RequestSpec { tls: TlsOptions { ca_pem: Some(pem), ..TlsOptions::default() }, ..spec(&[]) }
}

pub(super) async fn probe(server: &Server, spec: RequestSpec) -> Exchange {
    fetch(spec, &format!("https://{}/", server.addr)).await
}

#[tokio::test]
async fn a_pinned_host_is_asked_for_and_verified_by_the_name_in_the_url() {
    let authority = Authority::new();
    let name = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("shop.invalid".try_into().unwrap())];
    };
    let server = serving(config(authority.issue(name))).await;
    for (host, expected) in [("shop.invalid", None), ("other.invalid", Some(ErrorKind::TlsName))] {
        let resolve = vec![(format!("{host}:443"), server.addr.to_string())];
        let given = RequestSpec { resolve, ..trusting(authority.pem()) };
        let exchange = fetch(given, &format!("https://{host}/")).await;
        assert_eq!(kind(&exchange), expected, "{:?}", exchange.failure);
    }
    assert!(server.seen().iter().all(|request| request.starts_with("shop.invalid GET / HTTP/1.1\r\n")));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_certificate_of_the_given_authority_is_accepted_and_described() {
    let authority = Authority::new();
    let mut given = config(authority.issue(|_| ()));
    given.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let server = serving(given).await;
    let asked = RequestSpec { http_version: HttpVersions::Http11, ..trusting(authority.pem()) };
    let exchange = probe(&server, asked).await;
    assert_eq!((kind(&exchange), status(&exchange)), (None, Some(200)), "{:?}", exchange.failure);
    let tls = exchange.tls.unwrap();
    assert_eq!((tls.version, tls.alpn.as_deref()), (Some("1.3"), Some("http/1.1")));
    assert!(tls.cipher.unwrap().starts_with("TLS_"));
    assert_eq!((tls.verified, tls.verify_error, tls.ocsp_stapled), (Some(true), None, Some(false)));
    assert_eq!(tls.cert_subject.as_deref(), Some("CN=leaf"));
    assert_eq!(tls.cert_issuer.as_deref(), Some("CN=test authority"));
    assert_eq!(tls.cert_names.as_deref(), Some("127.0.0.1,localhost"));
    assert_eq!(tls.cert_not_after, Some(3_471_292_800));
    assert_eq!(tls.cert_chain_not_after, tls.cert_not_after);
    let phases = exchange.phases;
    assert!(
        phases.tls.is_some()
            && phases.connect.is_some()
            && phases.first_byte.is_some()
            && phases.dns.is_none()
    );
    // An address is no name for SNI.
    assert!(server.seen()[0].starts_with("- GET"));
}

#[tokio::test]
async fn tls_1_2_is_named_and_spoken() {
    let authority = Authority::new();
    let identity = authority.issue(|_| ());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.serialize_der()));
    let config = builder(&[&rustls::version::TLS12])
        .with_no_client_auth()
        .with_single_cert(identity.chain, key)
        .unwrap();
    let exchange = probe(&serving(config).await, trusting(authority.pem())).await;
    let tls = exchange.tls.unwrap();
    assert_eq!((tls.version, tls.alpn, tls.verified), (Some("1.2"), None, Some(true)));
    assert!(tls.cipher.unwrap().starts_with("TLS_ECDHE_"));
}

#[tokio::test]
async fn bad_certificates_have_their_kinds_and_keep_their_facts() {
    let authority = Authority::new();
    let ymd = rcgen::date_time_ymd;
    let cases = [
        ("self-signed", self_signed(|_| ()), ErrorKind::TlsSelfSigned),
        (
            "self-signed authority",
            self_signed(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            ErrorKind::TlsSelfSigned,
        ),
        ("untrusted", Authority::new().issue(|_| ()), ErrorKind::TlsUntrusted),
        (
            "expired",
            authority
                .issue(|params| (params.not_before, params.not_after) = (ymd(2020, 1, 1), ymd(2020, 1, 2))),
            ErrorKind::TlsExpired,
        ),
        ("not yet", authority.issue(|params| params.not_before = ymd(2079, 1, 1)), ErrorKind::TlsNotYetValid),
        (
            "wrong name",
            authority.issue(|params| params.subject_alt_names = params_for("other.example")),
            ErrorKind::TlsName,
        ),
        (
            "common name only",
            authority.issue(|params| params.subject_alt_names = Vec::new()),
            ErrorKind::TlsName,
        ),
    ];
    for (name, identity, expected) in cases {
        let server = serving(config(identity)).await;
        let exchange = probe(&server, trusting(authority.pem())).await;
        assert_eq!(kind(&exchange), Some(expected), "{name}: {:?}", exchange.failure);
        let tls = exchange.tls.as_ref().unwrap();
        assert_eq!(tls.verified, Some(false), "{name}");
        assert_eq!(tls.verify_error.as_deref(), Some(exchange.failure.as_ref().unwrap().message.as_str()));
        assert_eq!(tls.cert_subject.as_deref(), Some("CN=leaf"), "{name}");
        assert!(tls.cert_not_after.is_some() && tls.cert_not_before.is_some() && tls.cert_sha256.is_some());
        assert!(exchange.phases.connect.is_some() && exchange.phases.tls.is_none(), "{name}");
        assert!(server.seen().is_empty(), "{name}");

        let mut careless = trusting(authority.pem());
        careless.tls.insecure_skip_verify = true;
        let exchange = probe(&server, careless).await;
        assert_eq!((kind(&exchange), status(&exchange)), (None, Some(200)), "{name}: {:?}", exchange.failure);
        let tls = exchange.tls.unwrap();
        assert_eq!((tls.verified, tls.version), (Some(false), Some("1.3")), "{name}");
        assert!(tls.verify_error.is_some() && tls.cert_not_after.is_some(), "{name}");
    }
}

fn params_for(name: &str) -> Vec<rcgen::SanType> {
    CertificateParams::new(vec![name.to_owned()]).unwrap().subject_alt_names
}

#[tokio::test]
async fn messages_say_which_name_and_when() {
    let authority = Authority::new();
    let wrong =
        serving(config(authority.issue(|params| params.subject_alt_names = params_for("other.example"))))
            .await;
    let message = probe(&wrong, trusting(authority.pem())).await.failure.unwrap().message;
    assert_eq!(message, "the certificate is for other.example, not for 127.0.0.1");
    let old = authority.issue(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 2));
    let message =
        probe(&serving(config(old)).await, trusting(authority.pem())).await.failure.unwrap().message;
    assert_eq!(message, "the certificate expired at 2020-01-02T00:00:00Z");
}

#[tokio::test]
async fn a_listed_self_signed_certificate_is_trusted() {
    for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let identity = self_signed(|params| params.is_ca = is_ca);
        let pem = pem(&identity.chain[0]);
        let exchange = probe(&serving(config(identity)).await, trusting(pem)).await;
        assert_eq!(kind(&exchange), None, "{:?}", exchange.failure);
        assert_eq!(exchange.tls.unwrap().verified, Some(true));
    }
    let identity = self_signed(|params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(2020, 1, 2);
    });
    let listed = pem(&identity.chain[0]);
    let exchange = probe(&serving(config(identity)).await, trusting(listed)).await;
    assert_eq!(kind(&exchange), Some(ErrorKind::TlsExpired));
}

fn pem(der: &CertificateDer<'_>) -> Bytes {
    let text = base64(der);
    Bytes::from(format!("-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n"))
}

fn key_pem(key: &KeyPair) -> Bytes {
    let text = base64(&key.serialize_der());
    Bytes::from(format!("-----BEGIN PRIVATE KEY-----\n{text}-----END PRIVATE KEY-----\n"))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::new();
    for (index, three) in bytes.chunks(3).enumerate() {
        let bits =
            three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place > three.len() { b'=' } else { digit });
        }
        if index % 16 == 15 {
            text.push(b'\n');
        }
    }
    text.push(b'\n');
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn names_are_asked_for_by_sni() {
    let authority = Authority::new();
    let server = serving(config(authority.issue(|params| {
        params.subject_alt_names.extend(params_for("vhost.example"));
    })))
    .await;
    let port = server.addr.port();
    let trusted = || trusting(authority.pem());
    assert_eq!(kind(&fetch(trusted(), &format!("https://localhost:{port}/")).await), None);
    let mut other_host = trusted();
    other_host.headers = vec![("Host".to_owned(), "vhost.example:1".to_owned())];
    assert_eq!(kind(&probe(&server, other_host.clone()).await), None);
    other_host.tls.server_name = Some("other.example".to_owned());
    assert_eq!(kind(&probe(&server, other_host).await), Some(ErrorKind::TlsName));
    let names: Vec<_> = server.seen().iter().map(|seen| seen.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["localhost", "vhost.example"]);
}

#[tokio::test]
async fn a_wanted_client_certificate_is_named() {
    let authority = Authority::new();
    let http2 = || vec![b"h2".to_vec()];
    for (version, alpn_protocols) in [
        (&rustls::version::TLS13, Vec::new()),
        (&rustls::version::TLS12, Vec::new()),
        // The alert comes after our side of the handshake, as the first that HTTP/2 reads.
        (&rustls::version::TLS13, http2()),
        (&rustls::version::TLS12, http2()),
    ] {
        let mut config = wanting(&authority, version);
        config.alpn_protocols = alpn_protocols;
        let exchange = probe(&serving(config).await, trusting(authority.pem())).await;
        assert_eq!(kind(&exchange), Some(ErrorKind::TlsClientCertRequired), "{:?}", exchange.failure);
        assert_eq!(exchange.tls.unwrap().verified, Some(true));
    }
}

/// A server that wants a certificate of the authority.
fn wanting(authority: &Authority, version: &'static SupportedProtocolVersion) -> ServerConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let identity = authority.issue(|_| ());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.serialize_der()));
    builder(&[version]).with_client_cert_verifier(verifier).with_single_cert(identity.chain, key).unwrap()
}

/// A request that trusts the authority and has a certificate of it.
fn certified(authority: &Authority) -> RequestSpec {
    let identity = authority.issue(|_| ());
    let client = ClientPem { certificates: pem(&identity.chain[0]), key: key_pem(&identity.key) };
    let mut spec = trusting(authority.pem());
    spec.tls.client = Some(client);
    spec
}

#[tokio::test]
async fn h81_a_client_certificate_is_shown_to_its_own_origin_only() {
    let authority = Authority::new();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let server = serving(wanting(&authority, version)).await;
        let exchange = probe(&server, certified(&authority)).await;
        assert_eq!((kind(&exchange), status(&exchange)), (None, Some(200)), "{:?}", exchange.failure);
        let there = format!("https://{}/", server.addr);
        let away = Server::routed(move |_| {
            format!("HTTP/1.1 302 Found\r\nlocation: {there}\r\ncontent-length: 0\r\n\r\n").into_bytes()
        })
        .await;
        let exchange = fetch(certified(&authority), &away.url("/")).await;
        assert_eq!(kind(&exchange), Some(ErrorKind::TlsClientCertRequired), "{:?}", exchange.failure);
    }
}

#[test]
fn a_client_certificate_and_its_key_are_held_against_each_other() {
    let authority = Authority::new();
    let problem = |change: &dyn Fn(&mut ClientPem)| {
        let mut spec = certified(&authority);
        change(spec.tls.client.as_mut().unwrap());
        let mut problems = crate::fetch::Request::build(spec).err().unwrap_or_default();
        problems.pop().map(|problem| problem.to_string()).unwrap_or_default()
    };
    assert_eq!(problem(&|_| ()), "");
    let other = key_pem(&KeyPair::generate().unwrap());
    let told = problem(&|client| client.key = other.clone());
    assert_eq!(told, "key_file has no usable key: it is not the key of the certificate in cert_file");
    let told = problem(&|client| client.key = Bytes::from_static(b"hunter2"));
    assert!(
        told.starts_with("key_file has no usable key: it holds no PEM block") && !told.contains("hunter2")
    );
    let told = problem(&|client| client.certificates = Bytes::from_static(b"hunter2"));
    assert!(told.starts_with("cert_file has no usable certificate: it holds no PEM block"), "{told}");
}

#[tokio::test]
async fn n27_a_target_below_the_least_version_is_down() {
    let authority = Authority::new();
    let identity = authority.issue(|_| ());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.serialize_der()));
    let old = builder(&[&rustls::version::TLS12])
        .with_no_client_auth()
        .with_single_cert(identity.chain, key)
        .unwrap();
    let only_tls13 = || {
        let mut spec = trusting(authority.pem());
        spec.tls.only_tls13 = true;
        spec
    };
    let exchange = probe(&serving(old).await, only_tls13()).await;
    assert_eq!(kind(&exchange), Some(ErrorKind::TlsVersion), "{:?}", exchange.failure);
    let exchange = probe(&serving(config(authority.issue(|_| ()))).await, only_tls13()).await;
    assert_eq!((kind(&exchange), exchange.tls.unwrap().version), (None, Some("1.3")));
}

/// Servers that answer the first flight with bytes of their own.
#[tokio::test]
async fn what_is_not_a_handshake_has_its_kinds() {
    let alert = |code: u8| vec![0x15, 0x03, 0x03, 0x00, 0x02, 0x02, code];
    let cases: [(&str, Vec<u8>, ErrorKind); 8] = [
        ("plain http", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), ErrorKind::TlsNotTls),
        ("ssh", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), ErrorKind::TlsNotTls),
        ("smtp", b"220 mail.example ESMTP\r\n".to_vec(), ErrorKind::TlsNotTls),
        ("handshake_failure", alert(40), ErrorKind::TlsHandshake),
        ("protocol_version", alert(70), ErrorKind::TlsVersion),
        ("insufficient_security", alert(71), ErrorKind::TlsVersion),
        ("unrecognized_name", alert(112), ErrorKind::TlsHandshake),
        ("closed", Vec::new(), ErrorKind::TlsHandshake),
    ];
    for (name, answer, expected) in cases {
        let server = Server::scripted(move |mut stream, _| {
            let answer = answer.clone();
            async move {
                let mut hello = [0; 5];
                tokio::io::AsyncReadExt::read_exact(&mut stream, &mut hello).await.unwrap();
                let rest = u16::from_be_bytes([hello[3], hello[4]]);
                let mut rest = vec![0; usize::from(rest)];
                tokio::io::AsyncReadExt::read_exact(&mut stream, &mut rest).await.unwrap();
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
                drain(&mut stream).await;
            }
        })
        .await;
        let exchange = probe(&server, spec(&[])).await;
        assert_eq!(kind(&exchange), Some(expected), "{name}: {:?}", exchange.failure);
        assert!(exchange.phases.connect.is_some() && exchange.tls.is_none(), "{name}");
    }
}

#[tokio::test]
async fn http_to_a_tls_port_is_malformed_or_closed() {
    let server = serving(config(self_signed(|_| ()))).await;
    let exchange = fetch(spec(&[]), &server.url("/")).await;
    let found = kind(&exchange).unwrap();
    assert!(
        matches!(found, ErrorKind::HttpMalformed | ErrorKind::ConnectionClosed | ErrorKind::Reset),
        "{found}"
    );
}

#[tokio::test]
async fn a_body_without_close_notify_is_incomplete() {
    let authority = Authority::new();
    let acceptor = TlsAcceptor::from(Arc::new(config(authority.issue(|_| ()))));
    let server = Server::scripted(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf of it").await.unwrap();
            stream.flush().await.unwrap();
            // FIN without close_notify: anybody between could have cut it here.
            let (mut tcp, _) = stream.into_inner();
            tcp.shutdown().await.unwrap();
            drain(&mut tcp).await;
        }
    })
    .await;
    let exchange = probe(&server, trusting(authority.pem())).await;
    assert_eq!(kind(&exchange), Some(ErrorKind::BodyIncomplete), "{:?}", exchange.failure);
    assert_eq!((exchange.body.as_ref(), status(&exchange)), (b"half of it".as_slice(), Some(200)));
}

#[tokio::test]
async fn https_to_http_is_refused() {
    let authority = Authority::new();
    let plain = Server::answering(OK).await;
    let acceptor = TlsAcceptor::from(Arc::new(config(authority.issue(|_| ()))));
    let response =
        format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", plain.url("/p?token=t"));
    let server = Server::scripted(move |stream, _| {
        let (acceptor, response) = (acceptor.clone(), response.clone());
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(response.as_bytes()).await.unwrap();
            drain(&mut stream).await;
        }
    })
    .await;
    let exchange = probe(&server, trusting(authority.pem())).await;
    assert_eq!((kind(&exchange), status(&exchange)), (Some(ErrorKind::RedirectDowngrade), Some(302)));
    assert!(!exchange.failure.unwrap().message.contains("token"));
    assert!(plain.seen().is_empty());
    assert!(exchange.tls.unwrap().verified.unwrap());
}
