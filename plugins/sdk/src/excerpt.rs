//! Bytes from the wire as part of a message: quoted, escaped, short.

/// At most `max_chars` characters of `bytes` in double quotes, with control characters and quotes
/// escaped, invalid UTF-8 replaced, and an ellipsis where something was left out.
pub fn excerpt(bytes: &[u8], max_chars: usize) -> String {
    // A character has at most four bytes: what lies beyond them is not looked at.
    let seen = &bytes[..bytes.len().min(max_chars.saturating_mul(4))];
    let text = String::from_utf8_lossy(seen);
    let mut characters = text.chars();
    let mut quoted = String::from("\"");
    for character in characters.by_ref().take(max_chars) {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other if other.is_control() => quoted.push('\u{fffd}'),
            other => quoted.push(other),
        }
    }
    if characters.next().is_some() || seen.len() < bytes.len() {
        quoted.push('…');
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_escapes_and_cuts() {
        assert_eq!(excerpt(b"", 8), r#""""#);
        assert_eq!(excerpt(b"say \"hi\"\r\n", 80), r#""say \"hi\"\r\n""#);
        assert_eq!(excerpt(b"0123456789", 10), r#""0123456789""#);
        assert_eq!(excerpt(b"0123456789a", 10), r#""0123456789…""#);
        assert_eq!(excerpt("ééé".as_bytes(), 2), r#""éé…""#);
        assert_eq!(excerpt(b"\xff\x00", 8), "\"\u{fffd}\u{fffd}\"");
        assert_eq!(excerpt(&vec![b'x'; 1 << 20], 2), r#""xx…""#);
    }
}
