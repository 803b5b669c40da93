//! Reading a body with a cap: what is kept never exceeds the limit, whatever the other side announces, and however
//! small what arrives was made.

use hyper::body::{Buf, Bytes};

use super::budget::{FREE, Room};
use super::decode::Decoder;
use crate::model::Failure;

/// The most that is set aside ahead for an announced length; beyond it the buffer grows as bytes come.
const MAX_RESERVED: usize = 64 * 1024;

/// The limits for one body.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimits {
    /// Bytes that are kept, after decoding.
    pub(super) keep: usize,
    /// A body longer than this fails the attempt.
    pub(super) fail_over: Option<u64>,
}

/// What a piece of the body means for the rest of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Go on reading.
    More,
    /// Go on once there is room for more.
    Pause,
    /// No limit needs more of it: stop.
    Enough,
    /// The body is longer than allowed: stop and fail.
    TooLarge,
}

/// A body as far as it came.
#[derive(Debug, Default)]
pub(super) struct KeptBody {
    /// A body of one piece, as most are, is kept without a copy.
    single: Bytes,
    several: Vec<u8>,
    /// For a body that is compressed.
    decoder: Option<Decoder>,
    /// What is left of the piece that was paused in.
    rest: Bytes,
    /// Memory for more than what is free.
    room: Option<Room>,
    arrived: u64,
    read: u64,
    begun: bool,
    ended: bool,
}

impl KeptBody {
    /// Reading begins: from now on a length of 0 is a fact.
    pub(super) fn begin(&mut self, decoder: Option<Decoder>) {
        self.begun = true;
        self.decoder = decoder;
    }

    /// Whether reading has begun.
    pub(super) fn begun(&self) -> bool {
        self.begun
    }

    /// All that is wanted of the body is there.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// The last piece has come: whether the body is whole.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        if let Some(decoder) = &mut self.decoder {
            decoder.finish()?;
        }
        self.ended = true;
        Ok(())
    }

    /// Whether the body is whole, or all that is wanted of it is there.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Bytes that came, before decoding.
    pub(super) fn arrived(&self) -> u64 {
        self.arrived
    }

    /// Bytes after decoding, kept or not.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// Whether more came than is kept.
    pub(super) fn truncated(&self) -> bool {
        self.read > self.kept() as u64
    }

    fn kept(&self) -> usize {
        self.single.len() + self.several.len()
    }

    /// Takes the next piece as it came, keeping what fits of what it stands for; `announced` is the whole length
    /// where it is known.
    pub(super) fn take(
        &mut self,
        piece: Bytes,
        limits: BodyLimits,
        announced: Option<u64>,
    ) -> Result<Taken, Failure> {
        self.arrived += piece.remaining() as u64;
        if self.decoder.is_none() {
            return Ok(self.keep(piece, limits, announced));
        }
        self.rest = piece;
        self.decode_rest(limits)
    }

    /// Goes on after [`Taken::Pause`].
    pub(super) fn resume(&mut self, room: Option<Room>, limits: BodyLimits) -> Result<Taken, Failure> {
        self.room = room;
        self.decode_rest(limits)
    }

    fn decode_rest(&mut self, limits: BodyLimits) -> Result<Taken, Failure> {
        let Some(mut decoder) = self.decoder.take() else { return Ok(Taken::More) };
        let mut rest = std::mem::take(&mut self.rest);
        let arrived = self.arrived;
        let keep = |made: &[u8]| self.keep(Bytes::copy_from_slice(made), limits, None);
        let step = decoder.decode(&rest, arrived, keep);
        self.decoder = Some(decoder);
        let (taken, used) = step?;
        rest.advance(used);
        self.rest = rest;
        Ok(taken)
    }

    /// How much room this body may need, beyond what is free.
    pub(super) fn may_need(&self, limits: BodyLimits, announced: Option<u64>) -> usize {
        let announced =
            announced.filter(|_| self.decoder.is_none()).and_then(|all| usize::try_from(all).ok());
        announced.map_or(limits.keep, |all| all.min(limits.keep))
    }

    fn keep(&mut self, mut piece: Bytes, limits: BodyLimits, announced: Option<u64>) -> Taken {
        self.read += piece.remaining() as u64;
        let room = limits.keep.saturating_sub(self.kept());
        piece.truncate(room);
        if self.kept() == 0 {
            self.single = piece;
        } else if !piece.is_empty() {
            if self.several.is_empty() {
                let whole = announced.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
                let reserve = whole.min(limits.keep).min(MAX_RESERVED).max(self.kept() + piece.len());
                self.several.reserve(reserve);
                self.several.extend_from_slice(&std::mem::take(&mut self.single));
            }
            self.several.extend_from_slice(&piece);
        }
        match limits.fail_over {
            Some(most) if self.read > most => Taken::TooLarge,
            None if self.read > limits.keep as u64 => Taken::Enough,
            _ if self.room.is_none() && self.kept() > FREE => Taken::Pause,
            _ => Taken::More,
        }
    }

    /// The bytes kept.
    pub(super) fn into_bytes(self) -> Bytes {
        let Self { single, several, room, .. } = self;
        let body = if several.is_empty() { single } else { Bytes::from(several) };
        match room {
            Some(room) => room.hold(body),
            None => body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[usize], keep: usize, fail_over: Option<u64>) -> (usize, u64, bool, Taken) {
        let mut body = KeptBody::default();
        let mut taken = Taken::More;
        for piece in pieces {
            let piece = Bytes::from(vec![b'x'; *piece]);
            taken = body.take(piece, BodyLimits { keep, fail_over }, Some(u64::MAX)).unwrap();
            if taken != Taken::More {
                break;
            }
        }
        let (read, truncated) = (body.read(), body.truncated());
        (body.into_bytes().len(), read, truncated, taken)
    }

    #[test]
    fn the_cut_is_exact() {
        assert_eq!(read(&[127], 128, None), (127, 127, false, Taken::More));
        assert_eq!(read(&[128], 128, None), (128, 128, false, Taken::More));
        assert_eq!(read(&[129], 128, None), (128, 129, true, Taken::Enough));
        assert_eq!(read(&[100, 28], 128, None), (128, 128, false, Taken::More));
        assert_eq!(read(&[100, 28, 1, 50], 128, None), (128, 129, true, Taken::Enough));
    }

    #[test]
    fn a_body_is_read_on_for_the_sake_of_fail_over() {
        assert_eq!(read(&[100, 100], 50, Some(200)), (50, 200, true, Taken::More));
        assert_eq!(read(&[100, 101], 50, Some(200)), (50, 201, true, Taken::TooLarge));
        assert_eq!(read(&[100], 500, Some(99)), (100, 100, false, Taken::TooLarge));
    }

    #[test]
    fn an_announced_length_sets_nothing_aside_beyond_the_cap() {
        let mut body = KeptBody::default();
        let limits = BodyLimits { keep: usize::MAX, fail_over: None };
        body.take(Bytes::from_static(b"a"), limits, Some(1 << 40)).unwrap();
        body.take(Bytes::from_static(b"b"), limits, Some(1 << 40)).unwrap();
        assert!(body.several.capacity() <= 2 * MAX_RESERVED);
        assert_eq!(body.into_bytes(), "ab");
    }
}
