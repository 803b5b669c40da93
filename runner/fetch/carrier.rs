//! A TCP connection that tells whether anything has come through it from beyond a proxy: only then can a failure be
//! the target's.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::progress::Wire;

/// A connection to the target, or to a proxy that carries on to it.
#[derive(Debug)]
pub(super) struct Carrier {
    stream: TcpStream,
    /// Who is told of the first byte from beyond a proxy; none once that is done, and without a proxy.
    listener: Option<Wire>,
}

impl Carrier {
    /// A connection to the target itself.
    pub(super) fn direct(stream: TcpStream) -> Self {
        Self { stream, listener: None }
    }

    /// A connection through a proxy that has agreed to carry on.
    pub(super) fn through_proxy(stream: TcpStream, wire: Wire) -> Self {
        Self { stream, listener: Some(wire) }
    }
}

/// hyper-rustls wants it; what it tells is for hyper's own pool, which is not used.
impl Connection for Carrier {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Carrier {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before
            && let Some(wire) = self.listener.take()
            && let Some(way) = &mut wire.lock().way
        {
            way.is_heard = true;
        }
        polled
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
