//! The frames of HTTP/2 (RFC 9113 section 4.1) as they go by: how long the final response's head is, and what
//! comes too often.
//!
//! h2 bounds some floods and leaves others to whoever sets a deadline: interim responses, settings, pings, window
//! updates, priorities and frames of unknown types. This counts them.

use super::{MAX_INTERIM, Violation};

/// Frames that carry neither a head nor a body. Honest servers send a handful, and a window update for each part
/// of a body that they are sent: a thousand for the longest one.
const MAX_CONTROL_FRAMES: u32 = 10_000;
/// Bytes of a frame before its payload.
const FRAME_HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Follows the frames of one connection, one exchange after the other.
#[derive(Debug)]
pub(super) struct FrameScan {
    /// The current frame's head, as far as it came.
    frame: [u8; FRAME_HEAD],
    came: usize,
    /// Bytes of the current frame's payload that are still to come.
    payload: u32,
    /// The length of the head that is whole with this payload.
    ends_head: Option<u64>,
    /// The longest head that is taken, as it is compressed.
    most_head_bytes: u64,
    /// Whether a frame has been seen whole.
    any_frame: bool,
    /// Frames that have begun since they were taken last.
    pub(super) frames: u32,
    /// The stream of the current exchange: a client's are odd, one after the other.
    stream: u32,
    exchange: Seen,
}

/// What was seen of one exchange.
#[derive(Debug, Default)]
struct Seen {
    /// Heads so far: each but the last one was an interim response's.
    heads: u32,
    /// Bytes of the current head, as it is compressed.
    head_bytes: u64,
    /// Whether the current head goes on in the next frame.
    open: bool,
    /// Whether the body, or the end, has begun.
    past_head: bool,
    control: u32,
}

impl FrameScan {
    pub(super) fn new(most_head_bytes: u32) -> Self {
        Self {
            frame: [0; FRAME_HEAD],
            came: 0,
            payload: 0,
            ends_head: None,
            most_head_bytes: most_head_bytes.into(),
            any_frame: false,
            frames: 0,
            stream: 1,
            exchange: Seen::default(),
        }
    }

    /// The next exchange begins.
    pub(super) fn next_exchange(&mut self) {
        self.exchange = Seen::default();
        self.stream = self.stream.saturating_add(2);
    }

    /// Whether a head or a body of the current exchange has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.exchange.heads > 0 || self.exchange.past_head
    }

    /// Looks at the next bytes; the length of a head that ended in them.
    pub(super) fn scan(&mut self, mut bytes: &[u8]) -> Result<Option<u64>, Violation> {
        let mut head = None;
        while !bytes.is_empty() {
            if self.payload > 0 {
                let passed = bytes.len().min(self.payload as usize);
                self.payload -= passed as u32;
                bytes = &bytes[passed..];
            } else {
                let taken = bytes.len().min(FRAME_HEAD - self.came);
                self.frame[self.came..self.came + taken].copy_from_slice(&bytes[..taken]);
                self.came += taken;
                bytes = &bytes[taken..];
                if self.came == FRAME_HEAD {
                    self.came = 0;
                    self.ends_head = self.frame_begins()?;
                }
            }
            if self.payload == 0 {
                head = self.ends_head.take().or(head);
            }
        }
        Ok(head)
    }

    fn frame_begins(&mut self) -> Result<Option<u64>, Violation> {
        if !self.any_frame && self.frame.starts_with(b"HTTP/") {
            return Err(Violation::SpeaksHttp1);
        }
        self.any_frame = true;
        self.frames = self.frames.saturating_add(1);
        let [high, middle, low, kind, flags, stream @ ..] = self.frame;
        self.payload = u32::from_be_bytes([0, high, middle, low]);
        // What comes on another stream is of no exchange. The first bit means nothing.
        let is_own = u32::from_be_bytes(stream) & 0x7fff_ffff == self.stream;
        let seen = &mut self.exchange;
        match kind {
            DATA if is_own => seen.past_head = true,
            HEADERS if is_own && !seen.past_head => {
                seen.heads += 1;
                seen.head_bytes = self.payload.into();
                seen.open = flags & END_HEADERS == 0;
                seen.past_head = flags & END_STREAM != 0;
                if seen.heads > MAX_INTERIM + 1 {
                    return Err(Violation::TooManyInterim);
                }
                return self.head_grew();
            }
            CONTINUATION if is_own && seen.open => {
                seen.head_bytes += u64::from(self.payload);
                seen.open = flags & END_HEADERS == 0;
                return self.head_grew();
            }
            RST_STREAM | GOAWAY => {}
            _ => {
                seen.control += 1;
                if seen.control > MAX_CONTROL_FRAMES {
                    return Err(Violation::TooManyControlFrames);
                }
            }
        }
        Ok(None)
    }

    fn head_grew(&self) -> Result<Option<u64>, Violation> {
        let Seen { head_bytes, open, .. } = self.exchange;
        if head_bytes > self.most_head_bytes {
            return Err(Violation::HeadTooLong);
        }
        Ok((!open).then_some(head_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.resize(FRAME_HEAD + payload, 0xff);
        frame
    }

    /// The last head's length, or what is wrong, of bytes that come in pieces.
    fn scan(bytes: &[u8], piece: usize) -> Result<Option<u64>, Violation> {
        let mut scan = FrameScan::new(1_000);
        bytes.chunks(piece).try_fold(None, |head, piece| Ok(scan.scan(piece)?.or(head)))
    }

    #[test]
    fn the_final_head_is_measured_however_it_is_cut() {
        let settings = frame(4, 0, 18);
        let interim = frame(HEADERS, END_HEADERS, 5);
        let head = [frame(HEADERS, 0, 70), frame(CONTINUATION, END_HEADERS, 7)].concat();
        let body = [frame(DATA, 0, 300), frame(HEADERS, END_HEADERS | END_STREAM, 400)].concat();
        let all = [settings, interim.clone(), interim, head, body].concat();
        for piece in [1, 2, 8, 9, 10, 10_000] {
            assert_eq!(scan(&all, piece), Ok(Some(77)), "{piece}");
        }
        assert_eq!(scan(&frame(HEADERS, 0, 70), 3), Ok(None));
        // A head that never came whole has no length.
        let cut = frame(HEADERS, END_HEADERS, 70);
        assert_eq!(scan(&cut[..cut.len() - 1], 3), Ok(None));
    }

    #[test]
    fn what_comes_too_often_is_found() {
        let interim = frame(HEADERS, END_HEADERS, 5);
        assert_eq!(scan(&interim.repeat(17), 64), Ok(Some(5)));
        assert_eq!(scan(&interim.repeat(18), 64), Err(Violation::TooManyInterim));
        for kind in [2, 4, 5, 6, 8, 200] {
            assert_eq!(scan(&frame(kind, 0, 4).repeat(10_000), 64), Ok(None), "{kind}");
            assert_eq!(
                scan(&frame(kind, 0, 4).repeat(10_001), 64),
                Err(Violation::TooManyControlFrames),
                "{kind}"
            );
        }
        assert_eq!(scan(&frame(HEADERS, 0, 1_001), 64), Err(Violation::HeadTooLong));
        let grown = [frame(HEADERS, 0, 900), frame(CONTINUATION, 0, 101)].concat();
        assert_eq!(scan(&grown, 64), Err(Violation::HeadTooLong));
    }

    #[test]
    fn an_answer_in_http1_is_known() {
        assert_eq!(scan(b"HTTP/1.1 400 Bad Request\r\n\r\n", 2), Err(Violation::SpeaksHttp1));
    }

    #[test]
    fn the_next_exchange_begins_anew() {
        let mut scan = FrameScan::new(1_000);
        for stream in (1..80).step_by(2) {
            let on_stream = |mut frame: Vec<u8>| {
                frame[8] = stream;
                frame
            };
            let head = on_stream(frame(HEADERS, END_HEADERS, 5));
            assert_eq!(scan.scan(&head), Ok(Some(5)));
            assert_eq!(scan.scan(&on_stream(frame(DATA, END_STREAM, 0))), Ok(None));
            scan.next_exchange();
            // What still comes for the one before is nothing new.
            assert_eq!(scan.scan(&head), Ok(None));
        }
    }
}
