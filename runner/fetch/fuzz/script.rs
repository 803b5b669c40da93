//! The other side: bytes that come in pieces, and how it ends.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Choices;

/// How many choices a script takes.
pub(super) const CHOICES: usize = 5;

/// How a connection ends once everything was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Closed,
    Silent,
    Reset,
}

/// In which pieces bytes come.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    Whole,
    Bytes,
    /// Up to so many at once.
    UpTo(u32),
}

impl Cut {
    /// The longest answer, after repetition: over every limit. Less where pieces are
    /// small, which is slow.
    fn longest(self) -> usize {
        match self {
            Self::Bytes => 2_000,
            Self::UpTo(..1_000) => 16_000,
            Self::UpTo(_) | Self::Whole => 100_000,
        }
    }
}

/// What the other side does: a stream to be connected to.
#[derive(Debug)]
pub(super) struct Script {
    rest: Bytes,
    cut: Cut,
    ending: Ending,
    /// Whether it speaks before it has heard anything.
    speaks_first: bool,
    /// Bytes that it takes at once; it closes where it takes none.
    takes: usize,
    has_heard: bool,
    chance: u32,
    reader: Option<Waker>,
    reads: Arc<AtomicU32>,
}

impl Script {
    /// A script of [`CHOICES`] choices, that says `answer`, of which a part at the end may come many times.
    pub(super) fn new(choices: &mut Choices<'_>, answer: &[u8]) -> Self {
        let ending = choices.of(&[Ending::Closed, Ending::Silent, Ending::Reset, Ending::Closed]);
        let cut = choices.of(&[Cut::Whole, Cut::UpTo(64), Cut::Bytes, Cut::UpTo(5_000)]);
        let (speaks_first, takes) = choices.of(&[(false, usize::MAX), (true, 7), (false, 1), (true, 0)]);
        let chance = u32::from(choices.byte()).wrapping_mul(0x9e37_79b9) | 1;
        let (times, part) =
            choices.of(&[(1, 1), (300, 2), (9_000, 8), (20, 3), (9_000, 99), (1, 1), (300, 30)]);
        let mut rest = answer.to_vec();
        let repeated = &answer[answer.len() - answer.len() / part..];
        for _ in 1..times {
            if rest.len() + repeated.len() > cut.longest() {
                break;
            }
            rest.extend_from_slice(repeated);
        }
        let reads = Arc::default();
        Self {
            rest: rest.into(),
            cut,
            ending,
            speaks_first,
            takes,
            has_heard: false,
            chance,
            reader: None,
            reads,
        }
    }

    /// All that will be said.
    pub(super) fn answer(&self) -> Bytes {
        self.rest.clone()
    }

    pub(super) fn ending(&self) -> Ending {
        self.ending
    }

    /// How often it has been asked for more.
    pub(super) fn reads(&self) -> Arc<AtomicU32> {
        self.reads.clone()
    }

    /// Xorshift (Marsaglia, 2003).
    fn by_chance(&mut self, below: u32) -> u32 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 17;
        self.chance ^= self.chance << 5;
        self.chance % below
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if !self.has_heard && !self.speaks_first {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if self.rest.is_empty() {
            return match self.ending {
                Ending::Closed => Poll::Ready(Ok(())),
                Ending::Silent => Poll::Pending,
                Ending::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            };
        }
        if !matches!(self.cut, Cut::Whole) && self.by_chance(4) == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let wanted = match self.cut {
            Cut::Whole => usize::MAX,
            Cut::Bytes => 1,
            Cut::UpTo(most) => 1 + self.by_chance(most) as usize,
        };
        let length = wanted.min(self.rest.len()).min(buf.remaining());
        let piece = self.rest.split_to(length);
        buf.put_slice(&piece);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.has_heard = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        match buf.len().min(self.takes) {
            0 if !buf.is_empty() => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            taken => Poll::Ready(Ok(taken)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
