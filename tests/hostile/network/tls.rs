//! Peers that speak TLS: with any certificate, and only so far.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::case::Tls;
use super::certificates::Authority;
use super::stream::Stream;

/// Speaks TLS to connections.
#[derive(Clone)]
pub(crate) struct Acceptor {
    config: Arc<ServerConfig>,
    first_bytes: Option<usize>,
}

/// Shows its certificates by turns.
#[derive(Debug)]
struct ByTurns {
    certificates: Vec<Arc<CertifiedKey>>,
    shown: AtomicUsize,
}

impl ResolvesServerCert for ByTurns {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let turn = self.shown.fetch_add(1, Ordering::Relaxed);
        Some(Arc::clone(&self.certificates[turn % self.certificates.len()]))
    }
}

impl Acceptor {
    /// Prepares what a case says.
    pub(crate) fn new(tls: &Tls, authority: &Authority) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions =
            if tls.only_tls12 { vec![&rustls::version::TLS12] } else { rustls::ALL_VERSIONS.to_vec() };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .unwrap();
        let builder = if tls.wants_certificate {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(authority.roots(), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let certificates = tls.certificates.iter().map(|name| authority.identity(name)).collect();
        let mut config =
            builder.with_cert_resolver(Arc::new(ByTurns { certificates, shown: AtomicUsize::new(0) }));
        config.alpn_protocols = tls.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self { config: Arc::new(config), first_bytes: tls.first_bytes }
    }

    /// Shakes hands, as far as the case says.
    pub(crate) async fn accept(&self, mut socket: TcpStream) -> io::Result<Stream> {
        let Some(first_bytes) = self.first_bytes else {
            let stream = TlsAcceptor::from(Arc::clone(&self.config)).accept(socket).await?;
            return Ok(Stream::Tls(Box::new(stream)));
        };
        let flight = self.first_flight(&mut socket).await?;
        socket.write_all(&flight[..first_bytes.min(flight.len())]).await?;
        Ok(Stream::Plain(socket))
    }

    /// What is sent first, once the client's hello is there.
    async fn first_flight(&self, socket: &mut TcpStream) -> io::Result<Vec<u8>> {
        let mut session = ServerConnection::new(Arc::clone(&self.config)).map_err(io::Error::other)?;
        let mut buffer = [0; 4_096];
        while !session.wants_write() {
            let read = socket.read(&mut buffer).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            session.read_tls(&mut &buffer[..read])?;
            session.process_new_packets().map_err(io::Error::other)?;
        }
        let mut flight = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut flight)?;
        }
        Ok(flight)
    }
}
