//! Every coding in pieces of every size, its bounds, and what is no such coding.

use compression_codecs::brotli::params::EncoderParams;
use compression_codecs::core::Level;
use compression_codecs::{BrotliEncoder, DeflateEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder};
use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn level() -> compression_codecs::flate::params::FlateEncoderParams {
    Level::Default.into()
}

/// `text` compressed; `zlib` is deflate in its frame.
pub(in crate::fetch) fn encoded(name: &str, text: &[u8]) -> Vec<u8> {
    let mut encoder: Box<dyn EncodeV2> = match name {
        "gzip" => Box::new(GzipEncoder::new(level())),
        "zlib" => Box::new(ZlibEncoder::new(level())),
        "deflate" => Box::new(DeflateEncoder::new(level())),
        "br" => Box::new(BrotliEncoder::new(EncoderParams::default())),
        _ => Box::new(ZstdEncoder::new(3)),
    };
    let mut out = vec![0; 4_096 + text.len() * 2];
    let mut output = WriteBuffer::new_initialized(&mut out);
    let mut input = PartialBuffer::new(text);
    while !input.unwritten().is_empty() {
        encoder.encode(&mut input, &mut output).unwrap();
    }
    while !encoder.finish(&mut output).unwrap() {}
    let length = output.written_len();
    out.truncate(length);
    out
}

const NAMES: [(&str, Coding); 5] = [
    ("gzip", Coding::Gzip),
    ("zlib", Coding::Deflate),
    ("deflate", Coding::Deflate),
    ("br", Coding::Brotli),
    ("zstd", Coding::Zstd),
];

/// Decodes in pieces of `size`, whole.
fn decoded(coding: Coding, bytes: &[u8], size: usize) -> Result<Vec<u8>, Failure> {
    let mut decoder = Decoder::new(coding, 100_000);
    let mut out = Vec::new();
    for piece in bytes.chunks(size) {
        decoder.decode(piece, bytes.len() as u64, |made| {
            out.extend_from_slice(made);
            Taken::More
        })?;
    }
    decoder.finish().map(|()| out)
}

/// Text that neither repeats itself nor is noise.
fn text(length: usize) -> Vec<u8> {
    (0..length).map(|at| b"abcdefgh"[(at * at / 7 + at / 100) % 8]).collect()
}

#[test]
fn every_coding_in_pieces_of_every_size() {
    // Around the size of a step, where the end of one may be the end of the body.
    for length in [1, 100, STEP - 1, STEP, STEP + 1, 2 * STEP, 5 * STEP] {
        let text = text(length);
        for (name, coding) in NAMES {
            let bytes = encoded(name, &text);
            for size in [1, 2, 7, 100, bytes.len().div_ceil(2), bytes.len()] {
                let out = decoded(coding, &bytes, size);
                assert_eq!(out.as_deref(), Ok(text.as_slice()), "{name}, {length} bytes by {size}");
            }
        }
    }
}

#[test]
fn after_every_pause_it_goes_on_where_it_was() {
    for text in [text(5 * STEP + 1), vec![b'a'; 6 * STEP]] {
        for (name, coding) in NAMES {
            let bytes = encoded(name, &text);
            let (mut decoder, mut out) = (Decoder::new(coding, 100_000), Vec::new());
            let (mut rest, mut pauses) = (bytes.as_slice(), 0);
            loop {
                let pause = |made: &[u8]| {
                    out.extend_from_slice(made);
                    if made.is_empty() { Taken::More } else { Taken::Pause }
                };
                let (taken, used) = decoder.decode(rest, bytes.len() as u64, pause).unwrap();
                rest = &rest[used..];
                pauses += 1;
                if taken == Taken::More {
                    break;
                }
            }
            assert_eq!((decoder.finish(), rest.len()), (Ok(()), 0), "{name}");
            assert!(out == text && pauses > 5, "{name}: {} bytes in {pauses} steps", out.len());
        }
    }
}

#[test]
fn one_repeated_byte_in_pieces_of_every_size() {
    for length in [STEP, 4 * STEP, 4 * STEP + 3] {
        for (name, coding) in NAMES {
            let bytes = encoded(name, &vec![b'a'; length]);
            for size in [1, 3, bytes.len()] {
                assert_eq!(
                    decoded(coding, &bytes, size).map(|out| out.len()),
                    Ok(length),
                    "{name} by {size}"
                );
            }
        }
    }
}

#[test]
fn a_body_that_ends_early_is_incomplete_at_every_byte() {
    for (name, coding) in NAMES {
        let bytes = encoded(name, &text(600));
        for cut in 1..bytes.len() {
            let failure = decoded(coding, &bytes[..cut], 50).unwrap_err();
            assert_eq!(failure.kind, ErrorKind::BodyIncomplete, "{name} cut at {cut} of {}", bytes.len());
        }
        assert_eq!(decoded(coding, &[], 1), Ok(Vec::new()), "{name}");
    }
}

#[test]
fn what_is_no_such_coding_is_told() {
    for (name, coding) in [("gzip", Coding::Gzip), ("br", Coding::Brotli), ("zstd", Coding::Zstd)] {
        let failure = decoded(coding, b"\xff\xfe<html>hello</html>", 5).unwrap_err();
        assert_eq!(failure.kind, ErrorKind::BodyEncoding, "{name}");
        assert!(failure.message.contains(name), "{}", failure.message);
    }
    // H44: one coding for another.
    let gzip = encoded("gzip", b"hello hello");
    assert_eq!(decoded(Coding::Deflate, &gzip, 99).unwrap_err().kind, ErrorKind::BodyEncoding);
    // A flipped bit is found by the checksum.
    let mut flipped = encoded("gzip", &text(500));
    let at = flipped.len() - 6;
    flipped[at] ^= 1;
    assert_eq!(decoded(Coding::Gzip, &flipped, 99).unwrap_err().kind, ErrorKind::BodyEncoding);
}

#[test]
fn members_and_frames_follow_each_other_and_other_bytes_are_passed_over() {
    for (name, coding) in [("gzip", Coding::Gzip), ("zstd", Coding::Zstd)] {
        let mut bytes = encoded(name, b"one ");
        bytes.extend(encoded(name, b"two"));
        // Among the other bytes are the first ones of a part.
        bytes.extend_from_slice(b"\0\0rest\x1f\x8b\x28\xb5");
        for size in [1, 10, 1_000] {
            assert_eq!(decoded(coding, &bytes, size).as_deref(), Ok(b"one two".as_slice()), "{name}");
        }
    }
}

#[test]
fn n60_a_bomb_is_given_up_soon() {
    for (name, coding) in NAMES {
        let bytes = encoded(name, &vec![0; 8 << 20]);
        let mut decoder = Decoder::new(coding, 200);
        let mut made = 0;
        let mut arrived = 0;
        let failure = bytes.chunks(1_000).find_map(|piece| {
            arrived += piece.len() as u64;
            decoder
                .decode(piece, arrived, |step| {
                    made += step.len();
                    Taken::More
                })
                .err()
        });
        assert_eq!(failure.map(|failure| failure.kind), Some(ErrorKind::DecompressBomb), "{name}");
        let most = 200 * (bytes.len() + 1_000) + STEP + RATIO_FREE as usize;
        assert!(made <= most, "{name}: {made} of {} bytes", bytes.len());
    }
}

#[test]
fn n60_short_bodies_may_have_any_ratio_and_who_wants_no_more_is_heard() {
    let zeros = vec![0; RATIO_FREE as usize];
    for (name, coding) in NAMES {
        let bytes = encoded(name, &zeros);
        let mut decoder = Decoder::new(coding, 2);
        let length = bytes.len() as u64;
        let taken = decoder.decode(&bytes, length, |_| Taken::More).map(|(taken, _)| taken);
        assert_eq!(taken, Ok(Taken::More), "{name}");
        assert_eq!(decoder.finish(), Ok(()), "{name}");
        let mut calls = 0;
        let mut decoder = Decoder::new(coding, 2);
        let stop = |_: &[u8]| {
            calls += 1;
            Taken::Enough
        };
        let taken = decoder.decode(&bytes, length, stop).map(|(taken, _)| taken);
        assert_eq!((taken, calls), (Ok(Taken::Enough), 1), "{name}");
    }
}

#[test]
fn n63_a_window_above_8_mib_is_refused() {
    // Magic, a header with a window descriptor, window of 2 GiB (exponent 21), one empty last block.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
    assert_eq!(decoded(Coding::Zstd, &frame, 99).unwrap_err().kind, ErrorKind::BodyEncoding);
    let small = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3, 0x01, 0x00, 0x00];
    assert_eq!(decoded(Coding::Zstd, &small, 99), Ok(Vec::new()));
}

#[test]
fn names_of_codings() {
    let of = |values: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(value));
        }
        coding_of(&headers).map_err(|failure| failure.kind)
    };
    assert_eq!(of(&[]), Ok(None));
    assert_eq!(of(&["identity"]), Ok(None));
    assert_eq!(of(&["GZip"]), Ok(Some(Coding::Gzip)));
    assert_eq!(of(&["x-gzip"]), Ok(Some(Coding::Gzip)));
    assert_eq!(of(&["identity, br"]), Ok(Some(Coding::Brotli)));
    assert_eq!(of(&["utf-8"]), Ok(None), "no coding at all");
    assert_eq!(of(&["aws-chunked, gzip"]), Ok(None), "what is not known is left alone");
    // N61
    assert_eq!(of(&["gzip, gzip"]), Err(ErrorKind::BodyEncoding));
    assert_eq!(of(&["gzip", "br"]), Err(ErrorKind::BodyEncoding));
}

proptest! {
    #[test]
    fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..400), size in 1_usize..50, kind in 0_usize..5) {
        let _ = decoded(NAMES[kind].1, &bytes, size);
    }

    #[test]
    fn a_damaged_body_ends(at in 0_usize..1_000, flip in 1_u8..=255, kind in 0_usize..5) {
        let (name, coding) = NAMES[kind];
        let mut bytes = encoded(name, &text(2_000));
        let at = at % bytes.len();
        bytes[at] ^= flip;
        let _ = decoded(coding, &bytes, 33);
    }
}
