//! Any bytes as a compressed body.

use super::Choices;
use crate::fetch::body::Taken;
use crate::fetch::decode::{Coding, Decoder, RATIO_FREE};
use crate::model::ErrorKind;

/// What is decoded at most: enough for more than one step of every kind.
const MOST: usize = 80_000;

/// How decoding ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Whole,
    /// There was more than [`MOST`].
    Cut,
    Failed(ErrorKind),
}

/// One body of any bytes: decoded in pieces, and with pauses, it is what it is in one piece; it never grows beyond its
/// ratio.
pub fn coding(data: &[u8]) {
    let Some((mut choices, body)) = Choices::split(data, 4) else { return };
    let coding = choices.of(&[Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd]);
    let piece = choices.of(&[1, 2, 3, 7, 100, 1_000]);
    let pause_every = choices.of(&[1, 2, 3, 50]);
    let ratio = choices.of(&[1, 2, 10, 200]);

    let (whole, whole_end) = decoded(coding, body, usize::MAX, usize::MAX, u64::MAX);
    let (cut, cut_end) = decoded(coding, body, piece, pause_every, u64::MAX);
    let common = whole.len().min(cut.len());
    assert_eq!(whole[..common], cut[..common], "in pieces of {piece}");
    // What the failed step had made is lost, and steps differ.
    if whole_end != End::Cut && cut_end != End::Cut {
        assert_eq!(whole_end, cut_end, "in pieces of {piece}");
        assert!(whole_end != End::Whole || whole.len() == cut.len(), "{} bytes, {}", whole.len(), cut.len());
    }

    let (bounded, bounded_end) = decoded(coding, body, piece, pause_every, ratio);
    if bounded_end != End::Failed(ErrorKind::DecompressBomb) {
        assert_eq!((&bounded, &bounded_end), (&cut, &cut_end), "a ratio only ends it");
    }
}

/// Decodes in pieces, and pauses after every so many steps.
fn decoded(coding: Coding, body: &[u8], piece: usize, pause_every: usize, ratio: u64) -> (Vec<u8>, End) {
    let mut decoder = Decoder::new(coding, ratio);
    let mut out = Vec::new();
    let (mut arrived, mut steps) = (0, 0);
    for piece in body.chunks(piece) {
        arrived += piece.len() as u64;
        let most = ratio.saturating_mul(arrived + 1).max(RATIO_FREE);
        let mut rest = piece;
        loop {
            let keep = |made: &[u8]| {
                out.extend_from_slice(made);
                steps += 1;
                assert!(out.len() as u64 <= most, "{arrived} bytes became {}", out.len());
                match () {
                    () if out.len() > MOST => Taken::Enough,
                    () if !made.is_empty() && steps % pause_every == 0 => Taken::Pause,
                    () => Taken::More,
                }
            };
            match decoder.decode(rest, arrived, keep) {
                Err(failure) => return (out, End::Failed(failure.kind)),
                Ok((Taken::More, _)) => break,
                Ok((Taken::Pause, used)) => rest = &rest[used..],
                Ok((Taken::Enough | Taken::TooLarge, _)) => return (out, End::Cut),
            }
        }
    }
    match decoder.finish() {
        Ok(()) => (out, End::Whole),
        Err(failure) => (out, End::Failed(failure.kind)),
    }
}
