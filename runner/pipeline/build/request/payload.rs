//! The body of a pipeline's requests: given as text, as a file, as a form or as JSON, and what type it is.

use hyper::body::Bytes;
use url::form_urlencoded;

use super::read_file;
use crate::config::{Code, Diagnostic, Diagnostics};
use crate::fetch::RequestText;
use crate::pipeline::build::Site;

/// The largest body that is sent: it is held in memory once for the pipeline.
const LARGEST_BODY_FILE: u64 = 16 << 20;

/// A body, and the media type that it is sent with unless the headers say otherwise.
pub(super) struct Payload {
    pub(super) bytes: Bytes,
    pub(super) content_type: &'static str,
}

/// The body that the table gives. None where it gives none or a wrong one, which is told.
pub(super) fn payload(text: &RequestText, site: Site<'_>, diagnostics: &mut Diagnostics) -> Option<Payload> {
    one_body_only(text, site, diagnostics);
    if let Some(body) = &text.body {
        let bytes = Bytes::copy_from_slice(body.value.expose().as_bytes());
        return Some(Payload { content_type: guessed(&bytes), bytes });
    }
    if let Some(path) = &text.body_file {
        let bytes = read_file(path, LARGEST_BODY_FILE, site, diagnostics)?;
        return Some(Payload { content_type: guessed(&bytes), bytes });
    }
    if let Some(json) = &text.json {
        let bytes = json.value.value.to_string().into();
        return json.value.is_whole.then_some(Payload { bytes, content_type: "application/json" });
    }
    if text.form.is_empty() {
        return None;
    }
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in &text.form {
        form.append_pair(name, value.value.expose());
    }
    let bytes = form.finish().into();
    Some(Payload { bytes, content_type: "application/x-www-form-urlencoded" })
}

/// Tells of a second body.
fn one_body_only(text: &RequestText, site: Site<'_>, diagnostics: &mut Diagnostics) {
    let first_field = text.form.values().next();
    let given = [
        text.body.as_ref().map(|body| ("body", body.span.as_ref())),
        text.body_file.as_ref().map(|path| ("body_file", path.span.as_ref())),
        text.json.as_ref().map(|json| ("json", json.span.as_ref())),
        first_field.map(|field| ("form", field.span.as_ref())),
    ];
    let place = |span| site.document.hidden_place_or_file(span);
    let mut given = given.into_iter().flatten();
    let Some((first, first_span)) = given.next() else { return };
    for (second, span) in given {
        let message = format!("a request has one body, and both \"{first}\" and \"{second}\" give one");
        let problem = Diagnostic::error(Code::Conflict, place(span), message);
        diagnostics.add(problem.also("the other one is here", place(first_span)));
    }
}

/// The media type of a body of which only its bytes are known.
fn guessed(bytes: &[u8]) -> &'static str {
    let Ok(text) = std::str::from_utf8(bytes) else { return "application/octet-stream" };
    let is_structured = text.trim_start().starts_with(['{', '[']);
    if is_structured && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        "application/json"
    } else {
        "text/plain; charset=utf-8"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h16_types_are_guessed() {
        for (body, expected) in [
            (b"{\"a\": 1}".as_slice(), "application/json"),
            (b" [1, 2]", "application/json"),
            (b"{not json}", "text/plain; charset=utf-8"),
            (b"5", "text/plain; charset=utf-8"),
            (b"", "text/plain; charset=utf-8"),
            (b"\xff\xfe", "application/octet-stream"),
        ] {
            assert_eq!(guessed(body), expected, "{}", String::from_utf8_lossy(body));
        }
    }
}
