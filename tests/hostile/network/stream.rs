//! A connection, with TLS or without, whose socket stays within reach.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::case::End;

/// Requests are kept up to this many bytes.
const LONGEST_REQUEST: usize = 256 * 1_024;
/// The connection preface of HTTP/2 (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The type of the frame that a request begins with.
const HEADERS: u8 = 1;

/// A connection.
pub(crate) enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn inner(&mut self) -> Pin<&mut (dyn Both + '_)> {
        match self {
            Self::Plain(stream) => Pin::new(stream),
            Self::Tls(stream) => Pin::new(stream.as_mut()),
        }
    }

    fn socket(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_mut().0,
        }
    }

    /// Ends the connection.
    pub(crate) async fn end(mut self, end: End) {
        match end {
            End::Close => {
                let _ = self.shutdown().await;
            }
            End::Cut => {
                let _ = self.flush().await;
                let _ = self.socket().shutdown().await;
            }
            End::LeaveTls => {
                let _ = self.flush().await;
                let _ = self.socket().write_all(&[b'x'; 64]).await;
                let _ = self.socket().shutdown().await;
            }
            End::Reset => {
                let _ = self.flush().await;
                let _ = self.socket().set_zero_linger();
                return;
            }
            End::Hold => {}
        }
        // Until the client is gone: closing with bytes unread would reset what it still reads.
        drain(self.socket()).await;
    }
}

/// Reads until the other side closes.
pub(crate) async fn drain(stream: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = vec![0; 16 * 1_024];
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

/// Reads one request of HTTP/1: the head, and as many bytes of a body as it announces. None where the client
/// leaves before its end.
pub(crate) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap_or(0)) {
                return Some(text.into_owned());
            }
        }
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 && bytes.len() < LONGEST_REQUEST => bytes.extend_from_slice(&buffer[..read]),
            _ => return None,
        }
    }
}

/// Reads frames of HTTP/2 up to a request's headers, after the preface where it is the first request.
pub(crate) async fn read_request2(stream: &mut (impl AsyncRead + Unpin), first: bool) -> Option<String> {
    if first {
        let mut preface = vec![0; PREFACE.len()];
        stream.read_exact(&mut preface).await.ok().filter(|_| preface == PREFACE)?;
    }
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.ok()?;
        if head[3] == HEADERS {
            return Some("HTTP/2".to_owned());
        }
    }
}

/// Reading and writing.
trait Both: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Both for S {}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.inner().poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.inner().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(cx)
    }
}
