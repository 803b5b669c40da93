//! A body, reduced to what is compared: a part of it, without what is ignored, as a digest and the
//! hashes of its lines.

use std::borrow::Cow;
use std::cmp::Ordering;

use probity_check::{Pattern, excerpt};
use sha2::{Digest, Sha256};

use crate::SHOWN_CHARS;

/// Lines whose hashes are kept: 48 of the 64 KiB that a check may remember of a target.
pub(crate) const MAX_LINES: usize = 12_288;

/// How a body is reduced.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) after: Option<Pattern>,
    pub(crate) until: Option<Pattern>,
    pub(crate) ignore: Vec<Pattern>,
    pub(crate) ignore_case: bool,
    pub(crate) ignore_whitespace: bool,
}

impl Rules {
    /// Reduces a body. The error says which of the part's ends is not there.
    pub(crate) fn reduce(&self, body: &[u8]) -> Result<Content, String> {
        let mut kept = Cow::Borrowed(self.part(body)?);
        for pattern in &self.ignore {
            kept = without(kept, pattern);
        }
        if self.ignore_case && kept.iter().any(u8::is_ascii_uppercase) {
            kept.to_mut().make_ascii_lowercase();
        }
        let digest = if self.ignore_whitespace {
            let mut hasher = Sha256::new();
            for (index, word) in words(&kept).enumerate() {
                hasher.update(if index > 0 { &b" "[..] } else { b"" });
                hasher.update(word);
            }
            hasher.finalize().into()
        } else {
            Sha256::digest(&kept).into()
        };
        Ok(Content { digest, lines: self.lines(&kept) })
    }

    /// What stands between `after` and `until`.
    fn part<'body>(&self, body: &'body [u8]) -> Result<&'body [u8], String> {
        let missing = |key, pattern: &Pattern| {
            format!("\"{key}\" does not match: {}", excerpt(pattern.as_str().as_bytes(), SHOWN_CHARS))
        };
        let mut part = body;
        if let Some(pattern) = &self.after {
            let (at, found) = pattern.find(part).ok_or_else(|| missing("after", pattern))?;
            part = &part[at + found.len()..];
        }
        if let Some(pattern) = &self.until {
            let (end, _) = pattern.find(part).ok_or_else(|| missing("until", pattern))?;
            part = &part[..end];
        }
        Ok(part)
    }

    /// The hashes of the lines, sorted. A tag begins a line too, so that a page without line breaks
    /// has more than one.
    fn lines(&self, kept: &[u8]) -> Option<Vec<u32>> {
        let mut lines = Vec::new();
        for line in kept.split(|byte| *byte == b'\n').flat_map(pieces) {
            let hash = if self.ignore_whitespace {
                let mut hash = LineHash::new();
                let mut is_blank = true;
                for word in words(line) {
                    is_blank = false;
                    hash.add(word);
                    hash.add(b" ");
                }
                // Where white space does not matter, an empty line does not either.
                (!is_blank).then_some(hash)
            } else {
                let mut hash = LineHash::new();
                hash.add(line);
                Some(hash)
            };
            let Some(hash) = hash else { continue };
            if lines.len() == MAX_LINES {
                return None;
            }
            lines.push(hash.finish());
        }
        lines.sort_unstable();
        Some(lines)
    }
}

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    /// SHA-256 of all of it.
    pub(crate) digest: [u8; 32],
    /// Hashes of the lines, sorted; none where there are more than are kept.
    pub(crate) lines: Option<Vec<u32>>,
}

/// How much of one content is not in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Lines that are new, or gone, whichever is more.
    pub(crate) changed: usize,
    /// Lines of the longer content.
    pub(crate) total: usize,
}

impl Difference {
    /// The part of the lines that changed, from 0 to 1.
    #[allow(clippy::cast_precision_loss, reason = "at most MAX_LINES")]
    pub(crate) fn share(self) -> f64 {
        self.changed as f64 / self.total.max(1) as f64
    }
}

impl Content {
    /// Compares line by line, without regard to their order. None where one has too many lines.
    pub(crate) fn difference(&self, new: &Content) -> Option<Difference> {
        let (old, new) = (self.lines.as_deref()?, new.lines.as_deref()?);
        let (mut at_old, mut at_new, mut same) = (0, 0, 0);
        while let (Some(left), Some(right)) = (old.get(at_old), new.get(at_new)) {
            match left.cmp(right) {
                Ordering::Less => at_old += 1,
                Ordering::Greater => at_new += 1,
                Ordering::Equal => (at_old, at_new, same) = (at_old + 1, at_new + 1, same + 1),
            }
        }
        let total = old.len().max(new.len());
        Some(Difference { changed: total - same, total })
    }
}

/// FNV-1a: lines are short, and a hash of them that is found by chance only blurs a share.
struct LineHash(u64);

impl LineHash {
    fn new() -> Self {
        LineHash(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "both halves are folded into one")]
    fn finish(self) -> u32 {
        (self.0 ^ (self.0 >> 32)) as u32
    }
}

/// The bytes without all that the expression matches.
fn without<'body>(bytes: Cow<'body, [u8]>, pattern: &Pattern) -> Cow<'body, [u8]> {
    let mut kept = Vec::new();
    let mut end = 0;
    for found in pattern.find_all(&bytes) {
        kept.extend_from_slice(&bytes[end..found.start]);
        end = found.end;
    }
    if end == 0 {
        return bytes;
    }
    kept.extend_from_slice(&bytes[end..]);
    Cow::Owned(kept)
}

/// The runs of bytes between white space.
fn words(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// A line, cut before each tag.
fn pieces(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let piece = rest?;
        let tag = piece.iter().skip(1).position(|byte| *byte == b'<').map(|at| at + 1);
        let (piece, left) = tag.map_or((piece, None), |at| (&piece[..at], Some(&piece[at..])));
        rest = left;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn plain() -> Rules {
        Rules { after: None, until: None, ignore: vec![], ignore_case: false, ignore_whitespace: true }
    }

    #[test]
    fn a_difference_counts_lines_of_the_longer_content() {
        let reduce = |text: &str| plain().reduce(text.as_bytes()).unwrap();
        let between = |old: &str, new: &str| {
            let Difference { changed, total } = reduce(old).difference(&reduce(new)).unwrap();
            (changed, total)
        };
        assert_eq!(between("a\nb\nc", "c\nb\na"), (0, 3));
        assert_eq!(between("a\nb\nc", "a\nx\nc"), (1, 3));
        assert_eq!(between("a", "a\nb\nc\n"), (2, 3));
        assert_eq!(between("a\na\nb", "a\nb"), (1, 3));
        assert_eq!(between("", "a"), (1, 1));
        assert_eq!(between("", " \n "), (0, 0));
        assert_eq!(between("<p>a</p><p>b</p>", "<p>a</p><p>x</p>"), (1, 4));
    }

    #[test]
    fn white_space_matters_only_where_asked() {
        let reduce = |rules: &Rules, text: &str| rules.reduce(text.as_bytes()).unwrap();
        let (folded, exact) = (plain(), Rules { ignore_whitespace: false, ..plain() });
        for (one, other) in [("a b", " a\r\n\tb\n"), ("", " \n"), ("a  b", "a b")] {
            assert_eq!(reduce(&folded, one).digest, reduce(&folded, other).digest, "{one:?} {other:?}");
            assert_ne!(reduce(&exact, one).digest, reduce(&exact, other).digest, "{one:?} {other:?}");
        }
        // Two words are not one.
        assert_ne!(reduce(&folded, "ab").digest, reduce(&folded, "a b").digest);
    }

    #[test]
    fn what_is_ignored_is_taken_out_in_turn() {
        let pattern = |text| Pattern::parse(text).unwrap();
        let rules = Rules { ignore: vec![pattern("[0-9]+"), pattern("ab"), pattern("x*")], ..plain() };
        let reduce = |text: &str| rules.reduce(text.as_bytes()).unwrap().digest;
        assert_eq!(reduce("1a2b3c"), reduce("c"));
        assert_eq!(reduce("xxcxx"), reduce("c"));
        assert_ne!(reduce("a"), reduce("c"));
    }

    #[test]
    fn a_body_of_many_lines_is_bounded() {
        let text = "x\n".repeat(MAX_LINES);
        assert_eq!(plain().reduce(text.as_bytes()).unwrap().lines.unwrap().len(), MAX_LINES);
        let more = plain().reduce((text + "y").as_bytes()).unwrap();
        assert_eq!(more.lines, None);
        assert_eq!(more.difference(&more), None);
    }
}
