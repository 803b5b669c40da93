//! The bytes of a document as text, by what it says of its charset.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};

/// Where an XML declaration names its encoding: at the very begin.
const DECLARATION_BYTES: usize = 256;

/// The text of an XML document: by its byte order mark, else by the charset of `content_type`, else by its
/// declaration, else as UTF-8. What is invalid is replaced.
pub(super) fn decode<'b>(bytes: &'b [u8], content_type: Option<&str>) -> Cow<'b, str> {
    let named = || {
        let label = content_type.and_then(charset).or_else(|| declared(bytes))?;
        Encoding::for_label(label.as_bytes())
    };
    // Looks for the mark itself.
    named().unwrap_or(UTF_8).decode(bytes).0
}

fn charset(content_type: &str) -> Option<String> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_owned())
    })
}

fn declared(bytes: &[u8]) -> Option<String> {
    let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(DECLARATION_BYTES)]);
    let declaration = begin.trim_start().strip_prefix("<?xml")?;
    let declaration = &declaration[..declaration.find("?>")?];
    let value = declaration.split_once("encoding")?.1.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    Some(value[1..].split(quote).next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_charset_is_found_where_it_is_said() {
        let latin = b"<?xml version='1.0' encoding='ISO-8859-1'?><a>\xE9</a>";
        assert!(decode(latin, None).contains('é'));
        assert!(decode(b"<a>\xE9</a>", Some("text/xml; Charset=\"latin1\"")).contains('é'));
        assert!(decode("<a>é</a>".as_bytes(), Some("text/xml")).contains('é'));
        assert_eq!(decode(b"\xFF\xFE<\0a\0/\0>\0", Some("text/xml; charset=utf-8")), "<a/>");
        assert!(decode(b"<a>\xE9</a>", None).contains('\u{fffd}'));
    }
}
