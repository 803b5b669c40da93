//! The demo's little website, on free loopback ports, so that a newcomer sees every outcome without
//! a network: pages that are well, slow, flaky, missing, wrong and too large, a redirect, an endpoint
//! with a self-signed certificate, and a port where nobody listens.
//!
//! It serves what `targets.csv.template` names and nothing else. It lives as long as its [`Site`].

mod page;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;

use crate::telemetry::spawn;
use page::Pages;

/// Connections open at a time, on each listener; one more is closed at once.
const CONNECTIONS_MAX: usize = 256;

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait after a failed accept: file descriptors may be short, and come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The website, running. Dropping it closes its ports and its connections.
#[derive(Debug)]
pub(crate) struct Site {
    plain: SocketAddr,
    self_signed: SocketAddr,
    nobody: SocketAddr,
    /// Bound and never listening: the port stays ours, and connections to it are refused.
    _nobody_socket: TcpSocket,
    _listeners: [Task; 2],
}

impl Site {
    /// Starts the website. Its ports are free ones of 127.0.0.1.
    ///
    /// # Errors
    /// Where no port can be bound, or no certificate made.
    pub(crate) async fn start() -> io::Result<Self> {
        let tls = self_signed_acceptor()?;
        let pages = Arc::new(Pages::default());
        let plain = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let self_signed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let nobody = TcpSocket::new_v4()?;
        nobody.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        Ok(Self {
            plain: plain.local_addr()?,
            self_signed: self_signed.local_addr()?,
            nobody: nobody.local_addr()?,
            _nobody_socket: nobody,
            _listeners: [
                Task(spawn("demo site", accept(plain, None, Arc::clone(&pages)))),
                Task(spawn("demo site, self-signed", accept(self_signed, Some(tls), pages))),
            ],
        })
    }

    /// A template with its places filled: `{{site}}`, `{{self_signed}}` and `{{nobody}}` become
    /// URLs without a path, such as `http://127.0.0.1:40001`.
    pub(crate) fn fill(&self, template: &str) -> String {
        template
            .replace("{{site}}", &format!("http://{}", self.plain))
            .replace("{{self_signed}}", &format!("https://{}", self.self_signed))
            .replace("{{nobody}}", &format!("http://{}", self.nobody))
    }
}

/// A task that ends with its owner.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Takes connections until the listener's task is aborted; the connections end with it.
async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, pages: Arc<Pages>) {
    let mut connections: Vec<Task> = Vec::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        connections.retain(|connection| !connection.0.is_finished());
        if connections.len() < CONNECTIONS_MAX {
            let connection = connection(stream, tls.clone(), Arc::clone(&pages));
            connections.push(Task(spawn("demo site, connection", connection)));
        }
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, pages: Arc<Pages>) {
    match tls {
        None => serve(stream, pages).await,
        Some(tls) => {
            // Whoever does not trust the certificate leaves here: that is what this endpoint is for.
            if let Ok(stream) = tls.accept(stream).await {
                serve(stream, pages).await;
            }
        }
    }
}

async fn serve<S>(stream: S, pages: Arc<Pages>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request| {
        let pages = Arc::clone(&pages);
        async move { pages.answer(&request).await }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the demo site ended early");
    }
}

/// A certificate that nobody signed but itself, made anew at each start.
fn self_signed_acceptor() -> io::Result<TlsAcceptor> {
    let key = rcgen::KeyPair::generate().map_err(io::Error::other)?;
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut params = rcgen::CertificateParams::new(names).map_err(io::Error::other)?;
    params.distinguished_name.push(rcgen::DnType::CommonName, "probity demo");
    let certificate = params.self_signed(&key).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests;
