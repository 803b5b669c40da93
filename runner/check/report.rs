//! What a check tells besides its judgement, kept within bounds: what is too long is cut, what is too
//! much is dropped and counted, what could harm a terminal or a log is made harmless.

/// Bytes of a message, an annotation or a log line.
pub(super) const TEXT_BYTES: usize = 1_024;
/// Bytes of the name of a metric or an annotation.
const NAME_BYTES: usize = 64;
/// Metrics of one call.
const METRICS: usize = 32;
/// Annotations of one call.
const ANNOTATIONS: usize = 32;
/// Log lines of one call.
const LOG_LINES: usize = 16;

/// How much a log line matters, as the check sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// What one call has told so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Numbers, by name; the last value of a name counts.
    pub(super) metrics: Vec<(String, f64)>,
    /// Texts, by name; the last value of a name counts.
    pub(super) annotations: Vec<(String, String)>,
    /// Log lines in their order.
    pub(super) log: Vec<(LogLevel, String)>,
    /// The last log line of level error, whether kept or not: where a panic leaves its message.
    pub(super) last_error: Option<String>,
    /// Metrics, annotations and log lines that were dropped.
    pub(super) dropped: u64,
}

impl Report {
    /// A number. Those that are not finite are dropped: no reader of the rows agrees on them.
    pub(super) fn metric(&mut self, name: &str, value: f64) {
        if !value.is_finite() || !keep(&mut self.metrics, METRICS, name, value) {
            self.dropped += 1;
        }
    }

    /// A short text.
    pub(super) fn annotate(&mut self, name: &str, value: &str) {
        if !keep(&mut self.annotations, ANNOTATIONS, name, one_line(value, TEXT_BYTES)) {
            self.dropped += 1;
        }
    }

    /// A log line.
    pub(super) fn log(&mut self, level: LogLevel, message: &str) {
        let is_kept = self.log.len() < LOG_LINES;
        if level == LogLevel::Error {
            self.last_error = Some(one_line(message, TEXT_BYTES));
        }
        if is_kept {
            self.log.push((level, one_line(message, TEXT_BYTES)));
        } else {
            self.dropped += 1;
        }
    }
}

/// Sets `name` to `value`; false where there is no room or no name.
fn keep<V>(list: &mut Vec<(String, V)>, room: usize, name: &str, value: V) -> bool {
    let name = one_line(name, NAME_BYTES);
    if name.is_empty() {
        return false;
    }
    if let Some(known) = list.iter_mut().find(|(known, _)| *known == name) {
        known.1 = value;
        return true;
    }
    if list.len() >= room {
        return false;
    }
    list.push((name, value));
    true
}

/// The text as one harmless line of at most `max_bytes`: white space becomes a blank, other control
/// characters (terminal escapes, changes of direction) the replacement character; what is cut ends
/// in an ellipsis.
pub(super) fn one_line(text: &str, max_bytes: usize) -> String {
    let mut line = String::with_capacity(text.len().min(max_bytes));
    let mut cut_at = 0;
    for character in text.trim().chars() {
        let harmless = match character {
            '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => ' ',
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            other if other.is_control() => '\u{fffd}',
            other => other,
        };
        if line.len() + harmless.len_utf8() > max_bytes {
            line.truncate(cut_at);
            line.push('…');
            return line;
        }
        line.push(harmless);
        if line.len() + '…'.len_utf8() <= max_bytes {
            cut_at = line.len();
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_one_harmless_line() {
        let cases = [
            ("  plain  ", "plain"),
            ("two\r\nlines\tand", "two  lines and"),
            ("\u{1b}[31mred\u{7}\0", "\u{fffd}[31mred\u{fffd}\u{fffd}"),
            ("a\u{202e}b\u{2028}c", "a\u{fffd}b c"),
            ("<script>", "<script>"),
        ];
        for (text, expected) in cases {
            assert_eq!(one_line(text, 100), expected, "{text:?}");
        }
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        for text in ["x".repeat(2_000), "é".repeat(2_000), format!("x{}", "\u{10348}".repeat(900))] {
            let line = one_line(&text, TEXT_BYTES);
            assert!(line.len() <= TEXT_BYTES && line.len() > TEXT_BYTES - 8, "{}", line.len());
            assert!(line.ends_with('…'));
        }
        assert_eq!(one_line(&"x".repeat(TEXT_BYTES), TEXT_BYTES).len(), TEXT_BYTES);
    }

    #[test]
    fn control_characters_cannot_make_a_line_longer_than_its_bound() {
        assert!(one_line(&"\u{1}".repeat(1_000), 100).len() <= 100);
    }

    #[test]
    fn what_is_too_much_is_dropped_and_counted() {
        let mut report = Report::default();
        for number in 0..100 {
            report.metric(&format!("m{number}"), 1.0);
            report.annotate(&format!("a{number}"), "x");
            report.log(LogLevel::Info, "x");
        }
        assert_eq!((report.metrics.len(), report.annotations.len(), report.log.len()), (32, 32, 16));
        assert_eq!(report.dropped, 68 + 68 + 84);
    }

    #[test]
    fn metrics_are_finite_and_named_once() {
        let mut report = Report::default();
        report.metric("a", 1.0);
        report.metric("a", 2.0);
        report.metric("b", f64::NAN);
        report.metric("c", f64::INFINITY);
        report.metric(" ", 1.0);
        assert_eq!(report.metrics, [("a".to_owned(), 2.0)]);
        assert_eq!(report.dropped, 3);
    }
}
