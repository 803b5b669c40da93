//! Source lines without what may be secret: a shown line keeps its keys and structure, while the
//! content of every string is hidden, except for the one value that a message is about.
//!
//! Works on text that may not be valid TOML, since that is when lines are shown most.

use std::ops::Range;

/// What stands for hidden text.
const HIDDEN: char = '…';

/// The byte ranges of a text that hold the content of strings, and of comments.
#[derive(Debug, Default)]
pub(super) struct Masked {
    /// Contents of strings, without their quotes, in order.
    strings: Vec<Range<usize>>,
    /// Comments, with their `#`, in order.
    comments: Vec<Range<usize>>,
}

impl Masked {
    /// Finds the strings and comments of a text. An unclosed string goes to the end of its line, an
    /// unclosed multi-line string to the end of the text.
    pub(super) fn scan(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut found = Self::default();
        let mut at = 0;
        while at < bytes.len() {
            match bytes[at] {
                b'#' => {
                    let end = line_end(bytes, at);
                    found.comments.push(at..end);
                    at = end;
                }
                quote @ (b'"' | b'\'') => {
                    let (content, next) = string_at(bytes, at, quote);
                    found.strings.push(content);
                    at = next;
                }
                _ => at += 1,
            }
        }
        found
    }

    /// The end, its quote included, of the string that begins at `start` with its quote.
    pub(super) fn string_end(&self, start: usize) -> Option<usize> {
        let marks = [1, 3].into_iter().find(|marks| self.strings.iter().any(|s| s.start == start + marks))?;
        self.strings.iter().find(|s| s.start == start + marks).map(|s| s.end + marks)
    }

    /// The line `line` (a byte range of `text`) as it may be shown, and where `span` lies in it, in
    /// characters. Strings that `revealed` touches are shown as they are. With `keys_only`, all that
    /// follows the first `=` is hidden as well, for lines that did not parse.
    pub(super) fn show(
        &self,
        text: &str,
        line: Range<usize>,
        span: &Range<usize>,
        revealed: Option<&Range<usize>>,
        keys_only: bool,
    ) -> (String, Range<usize>) {
        let mut out = String::new();
        let mut width = 0;
        let mut caret: Option<Range<usize>> = None;
        let mut after_equals = false;
        let mut hiding = false;
        for (offset, character) in text[line.clone()].char_indices() {
            let at = line.start + offset;
            let touched = revealed.is_some_and(|range| range.contains(&at));
            if within(&self.comments, at) && !touched {
                break;
            }
            let secret = !touched
                && (within(&self.strings, at) || (keys_only && after_equals && (hiding || character != ' ')));
            if at >= span.start && caret.is_none() {
                // Hidden characters share one mark.
                let start = if secret && hiding { width - 1 } else { width };
                caret = Some(start..width);
            }
            if !(secret && hiding) {
                out.push(if secret {
                    HIDDEN
                } else if character.is_control() {
                    ' '
                } else {
                    character
                });
                width += 1;
            }
            hiding = secret;
            after_equals |= character == '=' && !within(&self.strings, at);
            if at < span.end
                && let Some(range) = caret.as_mut()
            {
                range.end = width;
            }
        }
        let caret = caret.unwrap_or(width..width);
        let length = out.trim_end().chars().count();
        out.truncate(out.trim_end().len());
        (out, caret.start..caret.end.clamp(caret.start + 1, length.max(caret.start + 1)))
    }
}

fn within(ranges: &[Range<usize>], at: usize) -> bool {
    let next = ranges.partition_point(|range| range.end <= at);
    ranges.get(next).is_some_and(|range| range.contains(&at))
}

fn line_end(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |n| from + n)
}

/// The content of the string whose quote stands at `at`, and the offset after it.
fn string_at(bytes: &[u8], at: usize, quote: u8) -> (Range<usize>, usize) {
    let triple = bytes[at..].starts_with(&[quote; 3]);
    let marks = if triple { 3 } else { 1 };
    let start = at + marks;
    let mut end = start;
    while end < bytes.len() {
        match bytes[end] {
            b'\\' if quote == b'"' => end += 1,
            b'\n' if !triple => return (start..end, end),
            found if found == quote && (!triple || bytes[end..].starts_with(&[quote; 3])) => {
                return (start..end, end + marks);
            }
            _ => {}
        }
        end += 1;
    }
    (start..bytes.len(), bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, about: &str, reveal: bool, keys_only: bool) -> (String, Range<usize>) {
        let start = text.find(about).unwrap();
        let span = start..start + about.len();
        let begin = text[..start].rfind('\n').map_or(0, |n| n + 1);
        let end = text[start..].find('\n').map_or(text.len(), |n| start + n);
        Masked::scan(text).show(text, begin..end, &span, reveal.then_some(&span), keys_only)
    }

    #[test]
    fn other_strings_on_the_line_are_hidden() {
        let text = "auth = { user = \"me\", every = \"10x\" } # note";
        let (line, caret) = shown(text, "\"10x\"", true, false);
        assert_eq!(line, "auth = { user = \"…\", every = \"10x\" }");
        assert_eq!(&line.chars().skip(caret.start).take(caret.len()).collect::<String>(), "\"10x\"");
    }

    #[test]
    fn a_line_inside_a_multi_line_string_is_hidden() {
        let text = "body = \"\"\"\nsecret one\n\"\"\"\nx = 1";
        assert_eq!(shown(text, "secret", false, false).0, "…");
    }

    #[test]
    fn lines_that_do_not_parse_show_only_their_key() {
        assert_eq!(shown("token = abc def", "abc", false, true).0, "token = …");
        assert_eq!(shown("token = \"abc", "abc", false, true).0, "token = …");
    }

    #[test]
    fn the_caret_never_leaves_the_line() {
        let text = "x = ";
        let (line, caret) = Masked::scan(text).show(text, 0..4, &(4..4), None, false);
        assert_eq!((line.as_str(), caret), ("x =", 4..5));
    }
}
