//! Content codings (RFC 9110 section 8.4): the bytes of a body as they were before they were compressed.
//!
//! Decoding is a stream with bounds. What comes out is taken piece by piece, so that whoever takes it may stop at
//! once; a body that grows beyond its ratio is given up. One byte of brotli can stand for a million, so neither a
//! limit on what arrives nor one on what is kept would do alone.

use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::zstd::params::DParameter;
use compression_codecs::{BrotliDecoder, DecodeV2, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use http::header::{self, HeaderMap};

use super::body::Taken;
use crate::model::{ErrorKind, Failure};

/// What is decoded at once, in bytes.
const STEP: usize = 16 * 1024;
/// Up to here any ratio is right: short bodies of one repeated byte are common, and do no harm.
pub(super) const RATIO_FREE: u64 = 64 * 1024;
/// Windows of zstd above 8 MiB (2^23) are refused, as RFC 9659 has it for HTTP.
const ZSTD_WINDOW_LOG: u32 = 23;

/// A content coding that is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, or RFC 1951 without its frame, as some servers have it.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    fn named(name: &str) -> Option<Self> {
        match name {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            "br" => Some(Self::Brotli),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// The coding of a response's body. None where there is none, or one that is not known: such a body is taken as it
/// comes, as browsers do it, since servers write all sorts of words there. A body that was coded more than once is
/// refused: nobody means it, and ratios multiply.
pub(super) fn coding_of(headers: &HeaderMap) -> Result<Option<Coding>, Failure> {
    let mut known = None;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let Ok(value) = value.to_str() else { return Ok(None) };
        for name in value.split(',').map(|name| name.trim().to_ascii_lowercase()) {
            if name.is_empty() || name == "identity" {
                continue;
            }
            let Some(coding) = Coding::named(&name) else { return Ok(None) };
            if known.replace(coding).is_some() {
                let message = "the body is compressed more than once, which is not decoded";
                return Err(Failure::new(ErrorKind::BodyEncoding, message));
            }
        }
    }
    Ok(known)
}

/// Decodes one body.
pub(super) struct Decoder {
    coding: Coding,
    /// None before the first byte, by which two kinds of deflate are told apart.
    codec: Option<Box<dyn DecodeV2 + Send>>,
    /// How many bytes may come of one.
    most_ratio: u64,
    made: u64,
    /// Whether the codec has come to the end of what it decodes.
    ended: bool,
    /// Whether something else follows that end, which is passed over.
    over: bool,
    buffer: Box<[u8]>,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder")
            .field("coding", &self.coding)
            .field("made", &self.made)
            .finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder of a body of `coding`, of which each byte may become `most_ratio` at most.
    pub(super) fn new(coding: Coding, most_ratio: u64) -> Self {
        let buffer = vec![0; STEP].into_boxed_slice();
        Self { coding, codec: None, most_ratio, made: 0, ended: false, over: false, buffer }
    }

    /// Decodes the next piece and gives what comes of it to `keep`, until that wants no more for now; tells how much
    /// of the piece was used up as well. After [`Taken::Pause`], the rest of the piece has to come again, also if
    /// it is empty. `arrived` is how much of the body has come, with this piece.
    pub(super) fn decode(
        &mut self,
        piece: &[u8],
        arrived: u64,
        mut keep: impl FnMut(&[u8]) -> Taken,
    ) -> Result<(Taken, usize), Failure> {
        let mut codec = match (self.codec.take(), piece.first()) {
            (Some(codec), _) => codec,
            (None, Some(first)) => codec(self.coding, *first),
            (None, None) => return Ok((Taken::More, 0)),
        };
        let mut input = PartialBuffer::new(piece);
        let mut result = Ok(Taken::More);
        loop {
            let rest = input.unwritten();
            if self.ended {
                let Some(first) = rest.first() else { break };
                // What follows the end and is no other part is passed over to the last byte, as browsers and curl
                // do it: also where a later piece of it looks like a part.
                self.over |= !self.coding_begins_with(*first) || codec.reinit().is_err();
                if self.over {
                    break;
                }
                self.ended = false;
            }
            let had = rest.len();
            let mut output = WriteBuffer::new_initialized(&mut self.buffer);
            // With no more input, the last step has filled the buffer and more is left inside. Only zlib's family
            // takes being asked for it without input for a fault.
            let is_flushed = had == 0 && matches!(self.coding, Coding::Gzip | Coding::Deflate);
            let step = if is_flushed {
                codec.flush(&mut output).map(|_| false)
            } else {
                codec.decode(&mut input, &mut output)
            };
            let (made, is_full) = (output.written_len(), output.has_no_spare_space());
            match step {
                Ok(ended) => self.ended = ended,
                Err(_) => {
                    result = Err(self.malformed());
                    break;
                }
            }
            self.made += made as u64;
            if self.made > RATIO_FREE && self.made / self.most_ratio > arrived {
                result = Err(self.bomb(arrived));
                break;
            }
            let taken = keep(&self.buffer[..made]);
            let left = input.unwritten().len();
            let is_stuck = made == 0 && left == had;
            if taken != Taken::More {
                result = Ok(taken);
                break;
            }
            if (left == 0 && !is_full) || (is_stuck && !self.ended) {
                break;
            }
        }
        self.codec = Some(codec);
        let used = input.written_len();
        result.map(|taken| (taken, used))
    }

    /// The body has ended: whether what was decoded has ended with it. A body of no bytes is whole.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        let Some(codec) = self.codec.as_mut().filter(|_| !self.ended) else { return Ok(()) };
        // Everything has been taken out already; this only tells whether that was the end.
        if codec.finish(&mut WriteBuffer::new_initialized(&mut self.buffer)).unwrap_or(false) {
            return Ok(());
        }
        let message = format!("the body ended before its {} data did", self.coding.as_str());
        Err(Failure::new(ErrorKind::BodyIncomplete, message))
    }

    /// Whether another part of the same coding may begin with `byte`: members of gzip (RFC 1952 section 2.2), frames
    /// of zstd (RFC 8878 section 3.1).
    fn coding_begins_with(&self, byte: u8) -> bool {
        match self.coding {
            Coding::Gzip => byte == 0x1f,
            Coding::Zstd => byte == 0x28 || (0x50..=0x5f).contains(&byte),
            Coding::Deflate | Coding::Brotli => false,
        }
    }

    fn malformed(&self) -> Failure {
        let message = format!("the body is said to be {}, but cannot be decoded", self.coding.as_str());
        Failure::new(ErrorKind::BodyEncoding, message)
    }

    fn bomb(&self, arrived: u64) -> Failure {
        let (made, most) = (self.made, self.most_ratio);
        let message = format!(
            "{arrived} bytes of {} became {made} and more, over decompression_ratio_limit = {most}",
            self.coding.as_str()
        );
        Failure::new(ErrorKind::DecompressBomb, message)
    }
}

fn codec(coding: Coding, first: u8) -> Box<dyn DecodeV2 + Send> {
    match coding {
        Coding::Gzip => Box::new(GzipDecoder::new()),
        // A frame begins with its method, 8, and a window of at most 7 (RFC 1950 section 2.2).
        Coding::Deflate if first & 0x0f == 8 && first >> 4 <= 7 => Box::new(ZlibDecoder::new()),
        Coding::Deflate => Box::new(DeflateDecoder::new()),
        Coding::Brotli => Box::new(BrotliDecoder::new()),
        Coding::Zstd => {
            Box::new(ZstdDecoder::new_with_params(&[DParameter::window_log_max(ZSTD_WINDOW_LOG)]))
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
