//! A stream that watches the response's head go by: how long it is, and how many interim responses came first.
//!
//! hyper reads interim (1xx) responses for as long as they come and does not say how long a head was. This sees
//! every byte before hyper does, looks no further than the head's end, and copies nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::progress::Wire;

/// Interim responses before the final one. More than this is an attack or a fault: nobody means it.
pub(super) const MAX_INTERIM: u32 = 16;

/// The other side sent more interim responses than [`MAX_INTERIM`].
#[derive(Debug, thiserror::Error)]
#[error("more than {MAX_INTERIM} interim responses")]
pub(super) struct TooManyInterim;

/// A stream whose response head is watched.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    says_goodbye: bool,
    wire: Wire,
    head: HeadScan,
}

impl<S> Watched<S> {
    /// Watches `stream`, telling `wire`. Where it `says_goodbye` (TLS does), it is shut down before it is
    /// closed; elsewhere that would be a system call for nothing.
    pub(super) fn new(stream: S, says_goodbye: bool, wire: Wire) -> Self {
        Self { stream, says_goodbye, wire, head: HeadScan::default() }
    }
}

/// Finds the end of the final response's head in the bytes as they come.
#[derive(Debug, Default)]
struct HeadScan {
    /// Bytes of the current head.
    bytes: u64,
    /// Bytes of the current line that are not CR, up to its end.
    line: usize,
    /// Whether the status line has been seen whole.
    past_status_line: bool,
    /// The status code's first digit: byte 9 of `HTTP/1.1 200`.
    class: u8,
    /// The last digit of a code that starts with `10`, since 101 is final (RFC 9110 section 15.2.2).
    last: u8,
    interim: u32,
    done: bool,
}

/// What the scan found.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// The final head is whole; its length in bytes.
    Head(u64),
    TooManyInterim,
}

impl HeadScan {
    fn scan(&mut self, bytes: &[u8]) -> Found {
        for byte in bytes {
            self.bytes += 1;
            match byte {
                b'\n' if self.line == 0 => {
                    if self.past_status_line && self.end_of_head() {
                        return Found::Head(self.bytes);
                    }
                    if self.interim > MAX_INTERIM {
                        return Found::TooManyInterim;
                    }
                }
                b'\n' => {
                    self.line = 0;
                    self.past_status_line = true;
                }
                b'\r' => {}
                byte => {
                    if !self.past_status_line {
                        match self.line {
                            9 => self.class = *byte,
                            11 => self.last = *byte,
                            _ => {}
                        }
                    }
                    self.line += 1;
                }
            }
        }
        Found::Nothing
    }

    /// An empty line after a status line; whether that head was the final one.
    fn end_of_head(&mut self) -> bool {
        if self.class != b'1' || self.last == b'1' {
            self.done = true;
            return true;
        }
        *self = Self { interim: self.interim + 1, ..Self::default() };
        false
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
        if self.head.done || !matches!(polled, Poll::Ready(Ok(()))) {
            return polled;
        }
        let fresh = &buf.filled()[before..];
        if fresh.is_empty() {
            return polled;
        }
        let found = self.head.scan(fresh);
        let mut wire = self.wire.lock();
        wire.any_byte = true;
        match found {
            Found::Nothing => polled,
            Found::Head(bytes) => {
                wire.header_bytes = Some(bytes);
                polled
            }
            Found::TooManyInterim => Poll::Ready(Err(io::Error::other(TooManyInterim))),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn scan_in_pieces(text: &str, piece: usize) -> Found {
        let mut scan = HeadScan::default();
        text.as_bytes()
            .chunks(piece)
            .map(|bytes| scan.scan(bytes))
            .find(|found| *found != Found::Nothing)
            .unwrap_or(Found::Nothing)
    }

    #[test]
    fn the_final_head_is_measured_however_it_is_cut() {
        let head = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
        for piece in [1, 2, 3, 7, 1_000] {
            assert_eq!(scan_in_pieces(&format!("{head}body\r\n\r\n"), piece), Found::Head(head.len() as u64));
            assert_eq!(
                scan_in_pieces(&format!("{interim}{interim}{head}"), piece),
                Found::Head(head.len() as u64)
            );
            assert_eq!(scan_in_pieces("HTTP/1.1 101 X\n\n", piece), Found::Head(16));
            assert_eq!(scan_in_pieces("HTTP/1.1 200 OK\r\nA: b\r\n", piece), Found::Nothing);
        }
    }

    #[test]
    fn interim_responses_are_counted() {
        let interim = "HTTP/1.1 100 Continue\r\n\r\n";
        assert_eq!(scan_in_pieces(&interim.repeat(16), 5), Found::Nothing);
        assert_eq!(scan_in_pieces(&interim.repeat(17), 5), Found::TooManyInterim);
    }
}
