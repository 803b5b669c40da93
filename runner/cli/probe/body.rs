//! The first lines of a body, as a person may see them.

use crate::check::Observed;
use crate::model::harmless;

/// Lines that are shown, and characters of each.
const LINES: usize = 8;
const LINE_CHARS: usize = 120;
/// Bytes that are shown of what is no text.
const HEX_BYTES: usize = 32;

/// What is shown of a body. No character in it steers a terminal.
pub(super) struct Body {
    /// The encoding that it was read by.
    pub(super) encoding: &'static str,
    /// Whether it is text.
    pub(super) is_text: bool,
    /// Its first lines, each cut; of what is no text, its first bytes as hexadecimal digits.
    pub(super) lines: Vec<String>,
    /// Whether there is more.
    pub(super) has_more: bool,
}

impl Body {
    /// The first lines of what checks saw.
    pub(super) fn of(seen: &Observed) -> Self {
        let bytes = &seen.exchange.body;
        let (text, encoding, is_invalid) = seen.body_decoded();
        let is_rubbish = is_invalid && text.matches('\u{fffd}').count() * 20 > text.len();
        let is_text = !is_rubbish && !text.contains('\0');
        if !is_text {
            let hex: Vec<_> = bytes.iter().take(HEX_BYTES).map(|byte| format!("{byte:02x}")).collect();
            return Self { encoding, is_text, lines: vec![hex.join(" ")], has_more: bytes.len() > HEX_BYTES };
        }
        let mut has_more = text.lines().nth(LINES).is_some();
        let lines = text.lines().take(LINES).map(|line| {
            // A tab has no width of its own.
            let mut shown: String = harmless(&line.replace('\t', "  ")).chars().take(LINE_CHARS).collect();
            if line.chars().nth(LINE_CHARS).is_some() {
                has_more = true;
                shown.push('…');
            }
            shown
        });
        let lines = lines.collect();
        Self { encoding, is_text, lines, has_more }
    }
}
