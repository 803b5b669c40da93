//! The other side: bytes that come in pieces, and how it ends.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Choices;

/// Bytes that a client begins HTTP/2 with (RFC 9113 section 3.4).
const PREFACE: usize = 24;
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

/// What a script waits for before it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hears {
    /// Any byte of a request.
    AnyByte,
    /// The head of a request over HTTP/2: an answer that comes before it is to nothing.
    Http2Request,
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
    hears: Hears,
    has_heard: bool,
    /// What was heard before that, of HTTP/2.
    heard: Vec<u8>,
    chance: u32,
    reader: Option<Waker>,
    reads: Arc<AtomicU32>,
}

impl Script {
    /// A script of [`CHOICES`] choices, that says `answer`, of which a part at the end may come many times.
    pub(super) fn new(choices: &mut Choices<'_>, hears: Hears, answer: &[u8]) -> Self {
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
            hears,
            has_heard: false,
            heard: Vec::new(),
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

    fn hear(&mut self, said: &[u8]) {
        if self.has_heard {
            return;
        }
        self.has_heard = self.hears == Hears::AnyByte || {
            self.heard.extend_from_slice(said);
            holds_a_request(&self.heard)
        };
        if self.has_heard {
            self.heard = Vec::new();
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
    }

    /// Xorshift (Marsaglia, 2003).
    fn by_chance(&mut self, below: u32) -> u32 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 17;
        self.chance ^= self.chance << 5;
        self.chance % below
    }
}

/// Whether a head is among the frames of a client that speaks HTTP/2.
fn holds_a_request(heard: &[u8]) -> bool {
    let mut frames = heard.get(PREFACE..).unwrap_or_default();
    while let Some(([high, middle, low, kind, ..], rest)) = frames.split_first_chunk::<9>() {
        if *kind == 1 {
            return true;
        }
        let length = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
        frames = &rest[rest.len().min(length)..];
    }
    false
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
        match buf.len().min(self.takes) {
            0 if !buf.is_empty() => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            taken => {
                self.hear(&buf[..taken]);
                Poll::Ready(Ok(taken))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
