//! Texts that come from others and are shown to people.

/// Whether a character is a control, or changes the direction or the width of what follows without being
/// seen.
pub fn steers_a_terminal(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A text in which nothing can steer a terminal.
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if steers_a_terminal(c) { '\u{fffd}' } else { c }).collect()
}

/// A text of at most `most` bytes; a longer one ends with an ellipsis. `most` is 3 at least.
pub(super) fn cut(mut text: String, most: usize) -> String {
    const ELLIPSIS: char = '…';
    if text.len() > most {
        let room = most.saturating_sub(ELLIPSIS.len_utf8());
        let end = (0..=room).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push(ELLIPSIS);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_hidden_marks_are_made_visible() {
        assert_eq!(harmless("a\u{1b}[31m\nb\u{202e}c é"), "a\u{fffd}[31m\u{fffd}b\u{fffd}c é");
    }
}
