//! Frames of HTTP/2 (RFC 9113) and header blocks of HPACK (RFC 7541), written by hand, so that they may be wrong.

use super::case::Frame;

/// A frame's bytes; `content` is what its texts and repetitions come to.
pub(crate) fn frame(frame: &Frame, content: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    for number in &frame.numbers {
        payload.extend(number.to_be_bytes());
    }
    for (number, value) in &frame.settings {
        payload.extend(number.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    for (name, value) in &frame.headers {
        // A literal with a new name: with incremental indexing, or without.
        payload.push(if frame.indexed { 0x40 } else { 0 });
        literal(&mut payload, name);
        literal(&mut payload, value);
    }
    payload.extend_from_slice(content);
    let length = frame.says_length.unwrap_or(payload.len() as u32);
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.push(kind(&frame.kind));
    bytes.push(frame.flags.iter().fold(0, |flags, name| flags | flag(name)));
    bytes.extend(frame.stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn kind(name: &str) -> u8 {
    const KINDS: [&str; 10] = [
        "DATA",
        "HEADERS",
        "PRIORITY",
        "RST_STREAM",
        "SETTINGS",
        "PUSH_PROMISE",
        "PING",
        "GOAWAY",
        "WINDOW_UPDATE",
        "CONTINUATION",
    ];
    match KINDS.iter().position(|kind| *kind == name) {
        Some(kind) => kind as u8,
        None => name.parse().unwrap_or_else(|_| panic!("there is no frame called \"{name}\"")),
    }
}

fn flag(name: &str) -> u8 {
    match name {
        "ACK" | "END_STREAM" => 1,
        "END_HEADERS" => 4,
        "PADDED" => 8,
        "PRIORITY" => 0x20,
        other => panic!("there is no flag called \"{other}\""),
    }
}

/// A string that is not Huffman-coded (RFC 7541 section 5.2).
fn literal(bytes: &mut Vec<u8>, text: &str) {
    let text: Vec<u8> = text.chars().map(|c| c as u8).collect();
    match text.len() {
        short @ 0..127 => bytes.push(short as u8),
        long => {
            bytes.push(127);
            let mut rest = long - 127;
            while rest >= 128 {
                bytes.push((rest % 128 + 128) as u8);
                rest /= 128;
            }
            bytes.push(rest as u8);
        }
    }
    bytes.extend(text);
}
