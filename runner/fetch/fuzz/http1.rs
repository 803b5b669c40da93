//! Any bytes as the answer to a request over HTTP/1.

use std::ops::Range;

use http::header;

use super::script::{self, Hears, Script};
use super::{Choices, answer, shared};
use crate::fetch::decode;
use crate::fetch::link::Speaks;
use crate::model::{ErrorKind, HttpVersion};

/// One answer of any bytes: there is always one exchange, in time, within its limits, with a failure that a server can
/// cause, and what is counted is what was sent.
pub fn http1(data: &[u8]) {
    let Some((mut choices, said)) = Choices::split(data, script::CHOICES + answer::CHOICES) else { return };
    let script = Script::new(&mut choices, Hears::AnyByte, said);
    let said = script.answer();
    let answer::Answered { request, exchange } = answer::answered(&mut choices, script, Speaks::Http1);
    if let Some(failure) = &exchange.failure {
        assert!(!matches!(failure.kind, ErrorKind::HttpVersion | ErrorKind::LocalLimit), "{failure:?}");
    }
    if let Some(head) = &exchange.head {
        assert!(matches!(head.version, HttpVersion::Http10 | HttpVersion::Http11));
        let final_head = final_head(&said);
        assert_eq!(exchange.header_bytes, Some(final_head.len() as u64), "of the head at {final_head:?}");
        assert!(final_head.len() <= request.head_limits.bytes as usize);
        let is_as_sent = !head.headers.contains_key(header::TRANSFER_ENCODING)
            && decode::coding_of(&head.headers).is_ok_and(|coding| coding.is_none());
        assert!(
            !is_as_sent || said[final_head.end..].starts_with(&exchange.body),
            "this is not what was sent"
        );
    }
    drop(exchange);
    assert!(shared().body_memory.is_free(), "the room of a body was not given back");
}

/// Where the final head stands in what was said, if one does: behind those of interim responses.
fn final_head(said: &[u8]) -> Range<usize> {
    let mut begin = 0;
    loop {
        let rest = &said[begin..];
        let line = rest.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(0);
        let is_end =
            |end: &usize| rest[line..*end].ends_with(b"\n\n") || rest[line..*end].ends_with(b"\n\r\n");
        let end = begin + (line..=rest.len()).find(is_end).unwrap_or(rest.len());
        let code = rest.get(line + 9..line + 12).unwrap_or_default();
        if !code.starts_with(b"1") || code == b"101" || end == said.len() {
            return begin..end;
        }
        begin = end;
    }
}
