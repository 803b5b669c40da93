//! Any frames as the answer to a request over HTTP/2.

use super::script::{self, Hears, Script};
use super::{Choices, answer, shared};
use crate::fetch::link::Speaks;
use crate::model::HttpVersion;

/// Kinds of frames (RFC 9113 section 6): heads and bodies more often than others, and one that nobody knows.
const KINDS: [u8; 13] = [1, 0, 4, 8, 6, 3, 7, 9, 5, 2, 200, 1, 0];
/// The longest answer, after repetition.
const LONGEST: usize = 10_000;
/// Bytes before a frame's payload: its kind, its flags, its stream, its length.
const RECORD: usize = 4;

/// One answer of any frames, or of any bytes: there is always one exchange, in time, within its limits, with a failure
/// that a server can cause.
pub fn http2(data: &[u8]) {
    let Some((mut choices, rest)) = Choices::split(data, script::CHOICES + answer::CHOICES + 2) else {
        return;
    };
    let is_framed = choices.of(&[true, true, true, false]);
    let times = choices.of(&[1, 1, 20, 1, 300, 1, 1, 1]);
    let said = if is_framed { frames(rest, times) } else { rest.to_vec() };
    let script = Script::new(&mut choices, Hears::Http2Request, &said);
    let answer::Answered { exchange, .. } = answer::answered(&mut choices, script, Speaks::Http2);
    if let Some(head) = &exchange.head {
        assert_eq!(head.version, HttpVersion::Http2);
        assert!(head.status >= 200, "an interim response is no answer");
        let is_whole = exchange.failure.is_none() && exchange.body_truncated == Some(false);
        assert!(!is_whole || !is_framed || ends_the_stream(&said), "nobody has ended this response");
    }
    drop(exchange);
    assert!(shared().body_memory.is_free(), "the room of a body was not given back");
}

/// Frames from records, behind the settings that every server begins with; the last one comes many times.
fn frames(mut records: &[u8], times: usize) -> Vec<u8> {
    let mut said = frame(4, 0, 0, &[]);
    let mut last = 0;
    while let Some((record, rest)) = records.split_first_chunk::<RECORD>() {
        let [kind, flags, stream, length] = *record;
        let (payload, rest) = rest.split_at(rest.len().min(length.into()));
        // The request's own stream is the first.
        last = said.len();
        let kind = KINDS[usize::from(kind) % KINDS.len()];
        said.extend(frame(kind, flags, stream, payload));
        records = rest;
    }
    let again = said[last..].to_vec();
    for _ in 1..times {
        if said.len() + again.len() > LONGEST {
            break;
        }
        said.extend_from_slice(&again);
    }
    said
}

/// Whether any frame ends the stream of the first request.
fn ends_the_stream(mut said: &[u8]) -> bool {
    while let Some(([_, _, length, kind, flags, _, _, _, stream], rest)) = said.split_first_chunk::<9>() {
        if *kind <= 1 && flags & 1 != 0 && *stream == 1 {
            return true;
        }
        said = &rest[rest.len().min((*length).into())..];
    }
    false
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream];
    frame.extend_from_slice(payload);
    frame
}
