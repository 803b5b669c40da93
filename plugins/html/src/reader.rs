//! What makes the tokenizer fast: the page's text is handed to it in long pieces, found by SIMD and not
//! byte by byte, and it need not look for errors that nobody asks for.

use std::convert::Infallible;

use html5gum::{Emitter, ForwardingEmitter, Reader};
use memchr::{memchr, memchr2, memchr3};

/// Bytes that are looked at one by one before a search by SIMD pays.
const NEAR_BYTES: usize = 16;

/// What is left of the page.
pub(crate) struct PageReader<'page>(pub(crate) &'page [u8]);

impl Reader for PageReader<'_> {
    type Error = Infallible;

    fn read_byte(&mut self) -> Result<Option<u8>, Infallible> {
        let Some((first, rest)) = self.0.split_first() else { return Ok(None) };
        self.0 = rest;
        Ok(Some(*first))
    }

    fn try_read_string(&mut self, wanted: &[u8], case_sensitive: bool) -> Result<bool, Infallible> {
        let Some((begin, rest)) = self.0.split_at_checked(wanted.len()) else { return Ok(false) };
        let is_there = begin == wanted || (!case_sensitive && begin.eq_ignore_ascii_case(wanted));
        if is_there {
            self.0 = rest;
        }
        Ok(is_there)
    }

    fn read_until<'b>(&'b mut self, ends: &[u8], _: &'b mut [u8; 4]) -> Result<Option<&'b [u8]>, Infallible> {
        if self.0.is_empty() {
            return Ok(None);
        }
        // An end that stands first is handed over alone.
        let (piece, rest) = self.0.split_at(distance(self.0, ends).max(1));
        self.0 = rest;
        Ok(Some(piece))
    }
}

/// How many bytes stand before the first of these ends.
fn distance(text: &[u8], ends: &[u8]) -> usize {
    let near = text.len().min(NEAR_BYTES);
    // One by one here too: `contains` would search by words, which does not pay for a handful.
    if let Some(at) = text[..near].iter().position(|byte| ends.iter().any(|end| end == byte)) {
        return at;
    }
    // Few of the ends ever stand in a page: the next search has the last one's piece at most.
    ends.chunks(3).fold(text.len(), |length, some| {
        let piece = &text[near..length];
        let found = match some {
            [one] => memchr(*one, piece),
            [one, two] => memchr2(*one, *two, piece),
            [one, two, three] => memchr3(*one, *two, *three, piece),
            _ => None,
        };
        found.map_or(length, |at| near + at)
    })
}

/// An emitter that is not told of errors, so that no byte is looked at for their sake.
pub(crate) struct WithoutErrors<Inner>(pub(crate) Inner);

impl<Inner: Emitter> ForwardingEmitter for WithoutErrors<Inner> {
    type Token = Inner::Token;

    fn inner(&mut self) -> &mut impl Emitter<Token = Inner::Token> {
        &mut self.0
    }

    fn should_emit_errors(&mut self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_piece_ends_before_the_first_end_or_is_one() {
        for length in [0, 1, 15, 16, 17, 40, 1000] {
            for ends in [&b"<"[..], b"<&", b"<&\0", b"<&\0\r", b"abcdefghijkl<"] {
                for end in ends {
                    let text = [&b"-".repeat(length)[..], &[*end], b"--<<"].concat();
                    assert_eq!(distance(&text, ends), length, "{length} {end}");
                    let mut reader = PageReader(&text);
                    let first = if length == 0 { vec![*end] } else { b"-".repeat(length) };
                    assert_eq!(reader.read_until(ends, &mut [0; 4]).unwrap(), Some(&first[..]));
                }
                assert_eq!(distance(&b"-".repeat(length), ends), length);
            }
        }
        assert_eq!(PageReader(b"").read_until(b"<", &mut [0; 4]).unwrap(), None);
    }

    #[test]
    fn a_word_is_read_whole_or_not_at_all() {
        let mut reader = PageReader(b"DocType html");
        assert!(!reader.try_read_string(b"doctype", true).unwrap());
        assert!(reader.try_read_string(b"doctype", false).unwrap());
        assert!(!reader.try_read_string(b" html!", true).unwrap());
        assert!(reader.try_read_string(b" html", true).unwrap());
        assert_eq!(reader.read_byte().unwrap(), None);
    }
}
