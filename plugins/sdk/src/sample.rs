//! Texts that lead a regular expression along its own paths, so that what it builds lazily is built
//! before the first response.

use regex_syntax::hir::{Class, ClassBytesRange, ClassUnicodeRange, Hir, HirKind};

/// The most bytes of one text that the expression matches.
const SAMPLE_BYTES: usize = 256;
/// As many texts are tried, each with other branches and other members of classes.
const SAMPLES: usize = 4;
/// The most begins of a text that are tried with something else behind them.
const BEGINS: usize = 24;
/// What stands behind a begin in a response, as often as not: one of each kind of byte.
const FOLLOWERS: &[u8] = b" aZ0.<\"\n";
/// Members that are likely in a response, where a class has them.
const LIKELY: &[u8] = b"a0 eE1-_\n";

/// Texts that match, whole and broken off, one behind the other: a few KiB.
pub(crate) fn samples(expression: &Hir) -> Vec<u8> {
    let mut all: Vec<u8> = (b' '..=b'~').chain(*b"\t\r\n").chain(0xc3..=0xc4).collect();
    for turn in 0..SAMPLES {
        let mut sample = Vec::new();
        add(expression, turn, &mut sample);
        for end in 0..sample.len().min(BEGINS) {
            for follower in FOLLOWERS {
                all.extend_from_slice(&sample[..end]);
                all.push(*follower);
            }
        }
        all.extend_from_slice(&sample);
        all.push(b'\n');
    }
    all
}

/// Adds a text that the expression matches, but for what it wants to see around it.
fn add(expression: &Hir, turn: usize, text: &mut Vec<u8>) {
    if text.len() >= SAMPLE_BYTES {
        return;
    }
    match expression.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.extend_from_slice(&literal.0),
        HirKind::Class(class) => text.extend(member(class, turn)),
        HirKind::Repetition(repetition) => {
            for _ in 0..repetition.min.clamp(1, 64) {
                add(&repetition.sub, turn, text);
            }
        }
        HirKind::Capture(capture) => add(&capture.sub, turn, text),
        HirKind::Concat(parts) => parts.iter().for_each(|part| add(part, turn, text)),
        HirKind::Alternation(branches) => {
            if let Some(branch) = branches.get(turn % branches.len()) {
                add(branch, turn, text);
            }
        }
    }
}

/// A member of a class, one that is likely where there is any.
fn member(class: &Class, turn: usize) -> Vec<u8> {
    let has = |byte: u8| match class {
        Class::Bytes(bytes) => {
            bytes.ranges().iter().any(|range| (range.start()..=range.end()).contains(&byte))
        }
        Class::Unicode(characters) => {
            characters.ranges().iter().any(|range| (range.start()..=range.end()).contains(&char::from(byte)))
        }
    };
    let likely: Vec<u8> = LIKELY.iter().copied().filter(|byte| has(*byte)).collect();
    if let Some(byte) = likely.get(turn % likely.len().max(1)) {
        return vec![*byte];
    }
    match class {
        Class::Bytes(bytes) => bytes.ranges().first().map(ClassBytesRange::start).into_iter().collect(),
        Class::Unicode(characters) => {
            let first = characters.ranges().first().map(ClassUnicodeRange::start);
            first.map(String::from).unwrap_or_default().into_bytes()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::Pattern;

    #[test]
    fn an_expression_matches_in_its_samples() {
        for text in [
            "total\\s+\\d+ (EUR|GBP)",
            "(?i)sold out",
            "^<!doctype",
            "a{3,5}[^>]*>",
            "(?u:[äöü]+)\\bx|[[:^ascii:]]",
            "(?s).*",
            "(?:[a-f0-9]{2}:){7}",
        ] {
            let expression =
                regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(text);
            let samples = samples(&expression.unwrap());
            let lines: Vec<&[u8]> = samples.split(|byte| *byte == b'\n').collect();
            let pattern = Pattern::parse(text).unwrap();
            assert!(lines.iter().any(|line| pattern.is_match(line)), "{text}");
            assert!(samples.len() < 16 << 10, "{text}: {}", samples.len());
        }
    }

    #[test]
    fn a_sample_of_what_never_matches_or_is_huge_is_bounded() {
        for text in ["[a&&b]", "(?:(?:a{1000}){10}){2}", "(?:x|){9}", "\\b"] {
            let pattern = Pattern::parse(text);
            assert!(pattern.is_ok(), "{pattern:?}");
        }
    }
}
