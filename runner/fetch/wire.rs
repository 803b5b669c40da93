//! A stream that watches a response go by: how long its head is, how many interim responses came first, and what
//! comes too often.
//!
//! hyper reads interim (1xx) responses for as long as they come and does not say how long a head was; h2 answers
//! pings for ever. This sees every byte before they do, looks no further than it must, and copies nothing.

mod frames;
mod head;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::frames::FrameScan;
use self::head::{Found, HeadScan};
use super::progress::{Wire, WireState};

/// Interim responses before the final one. More than this is an attack or a fault: nobody means it.
pub(super) const MAX_INTERIM: u32 = 16;

/// What no honest other side does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    /// More interim responses than [`MAX_INTERIM`].
    #[error("more than {MAX_INTERIM} interim responses")]
    TooManyInterim,
    /// A flood of frames that carry nothing.
    #[error("more than 10000 frames that carry neither a head nor a body")]
    TooManyControlFrames,
    /// A head of HTTP/2 that is longer than the limit already as it is compressed.
    #[error("a head that is too long")]
    HeadTooLong,
    /// An answer in HTTP/1 to HTTP/2.
    #[error("an answer in HTTP/1 to HTTP/2")]
    SpeaksHttp1,
}

/// A stream whose responses are watched.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    says_goodbye: bool,
    wire: Wire,
    /// Which of the connection's exchanges is watched.
    nth_exchange: u32,
    scan: Scan,
}

#[derive(Debug)]
enum Scan {
    Http1(HeadScan),
    Http2(FrameScan),
}

impl<S> Watched<S> {
    /// Watches `stream` speak HTTP/1, telling `wire`. Where it `says_goodbye` (TLS does), it is shut down before
    /// it is closed; elsewhere that would be a system call for nothing.
    pub(super) fn http1(stream: S, says_goodbye: bool, wire: Wire) -> Self {
        Self { stream, says_goodbye, wire, nth_exchange: 0, scan: Scan::Http1(HeadScan::default()) }
    }

    /// Watches it speak HTTP/2; a head may have `most_head_bytes`.
    pub(super) fn http2(stream: S, says_goodbye: bool, wire: Wire, most_head_bytes: u32) -> Self {
        Self {
            stream,
            says_goodbye,
            wire,
            nth_exchange: 0,
            scan: Scan::Http2(FrameScan::new(most_head_bytes)),
        }
    }
}

impl Scan {
    /// Looks at the next bytes and tells `wire` what they show.
    fn look(&mut self, fresh: &[u8], wire: &mut WireState) -> Result<(), Violation> {
        match self {
            Self::Http1(scan) if scan.done => {}
            Self::Http1(scan) => {
                wire.any_byte = true;
                match scan.scan(fresh) {
                    Found::Nothing => {}
                    Found::Head(bytes) => wire.header_bytes = Some(bytes),
                    Found::TooManyInterim => return Err(Violation::TooManyInterim),
                }
            }
            Self::Http2(scan) => {
                let head = scan.scan(fresh);
                wire.any_byte |= scan.has_begun();
                wire.header_bytes = head?.or(wire.header_bytes);
            }
        }
        Ok(())
    }

    /// How many frames have begun since this was asked last.
    fn take_frames(&mut self) -> u32 {
        match self {
            Self::Http1(_) => 0,
            Self::Http2(scan) => std::mem::take(&mut scan.frames),
        }
    }

    fn next_exchange(&mut self) {
        match self {
            Self::Http1(scan) => *scan = HeadScan::default(),
            Self::Http2(scan) => scan.next_exchange(),
        }
    }
}

/// Takes `frames` off the task's turn, each as if it were a read of the socket. h2 works through all of them at once,
/// and one read may bring a thousand: neither the deadline nor another probe would get its own turn.
fn pay_for(frames: u32, cx: &mut Context<'_>) {
    for _ in 0..frames {
        match tokio::task::coop::poll_proceed(cx) {
            Poll::Ready(paid) => paid.made_progress(),
            // The next read waits for the next turn.
            Poll::Pending => break,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let fresh = &buf.filled()[before..];
        if let Poll::Ready(Err(error)) = &polled {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            self.wire.lock().tls_error = inner.cloned();
        }
        if fresh.is_empty() || !matches!(polled, Poll::Ready(Ok(()))) {
            return polled;
        }
        let this = &mut *self;
        let mut wire = this.wire.lock();
        if this.nth_exchange != wire.nth_exchange {
            this.nth_exchange = wire.nth_exchange;
            this.scan.next_exchange();
        }
        if let Err(violation) = this.scan.look(fresh, &mut wire) {
            // Kept aside, since h2 hands on only what kind of I/O error it met.
            wire.violation = Some(violation);
            return Poll::Ready(Err(io::Error::other(violation)));
        }
        let frames = this.scan.take_frames();
        drop(wire);
        pay_for(frames, cx);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.says_goodbye {
            return Poll::Ready(Ok(()));
        }
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
