//! Peers that no honest server is: what they do to a client, by name (`/hostile/<name>`).

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::Duration;

/// 64 MiB of zeros in brotli, by quality 11 and a window of 2^24.
const BROTLI_BOMB: &[u8] = &[
    0xcf, 0xff, 0xff, 0x7f, 0xf8, 0x27, 0x00, 0xe2, 0xb1, 0x40, 0x20, 0xf7, 0xfe, 0x9f, 0xff, 0xff, 0xff,
    0x04, 0xf0, 0x0c, 0x46, 0x10, 0x18, 0x0e, 0xef, 0xd3, 0xff, 0xff, 0xff, 0xfe, 0x19, 0xf0, 0x08, 0x8c,
    0x32, 0x20, 0x0d, 0xdf, 0xb7, 0xff, 0xef, 0xff, 0xff, 0xc3, 0x3f, 0x01, 0x10, 0x87, 0x05, 0x00, 0xba,
    0xf7, 0xff, 0x03,
];
/// "hello, gzip" in gzip.
const GZIP: &[u8] = &[
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0xd7, 0x51,
    0x48, 0xaf, 0xca, 0x2c, 0x00, 0x00, 0x4a, 0x9b, 0xb1, 0x5c, 0x0b, 0x00, 0x00, 0x00,
];

fn answer_encoded(mut stream: &TcpStream, coding: &str, body: &[u8]) -> io::Result<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat())
}

/// Plays one part until it is over, the client leaves, or `stopped` says so.
pub(super) fn play(mut stream: &TcpStream, name: &str, stopped: &dyn Fn() -> bool) -> io::Result<()> {
    let pause = || std::thread::sleep(Duration::from_millis(20));
    match name {
        "half-a-head" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-ty")?;
            while !stopped() {
                pause();
            }
        }
        "drip" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")?;
            while !stopped() {
                stream.write_all(b".")?;
                pause();
            }
        }
        "held-open" => {
            // No length, and no end: only the deadline ends it.
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nso far")?;
            while !stopped() {
                pause();
            }
        }
        "endless-body" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            let part = [b'x'; 16_384];
            while !stopped() {
                stream.write_all(&part)?;
            }
        }
        "endless-interim" => {
            while !stopped() {
                stream.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")?;
                pause();
            }
        }
        "endless-head" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nx-long: ")?;
            let part = [b'x'; 16_384];
            while !stopped() {
                stream.write_all(&part)?;
            }
        }
        "thousand-headers" => {
            let headers: String = (0..1_000).map(|n| format!("x-{n}: y\r\n")).collect();
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n").as_bytes())?;
        }
        "brotli-bomb" => answer_encoded(stream, "br", BROTLI_BOMB)?,
        "bomb-twice" => answer_encoded(stream, "br, br", BROTLI_BOMB)?,
        "gzip" => answer_encoded(stream, "gzip", GZIP)?,
        "half-a-gzip" => answer_encoded(stream, "gzip", &GZIP[..GZIP.len() / 2])?,
        "no-gzip" => answer_encoded(stream, "gzip", b"<html>plain</html>")?,
        "endless-gzip" => {
            // A stored block has the ratio of 1, and is never the last one: only a limit ends it.
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n")?;
            stream.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3])?;
            let mut block = vec![0, 0xff, 0xff, 0, 0];
            block.resize(5 + 0xffff, b'x');
            while !stopped() {
                stream.write_all(&block)?;
            }
        }
        "bad-chunk" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nno\r\n")?;
        }
        "huge-length" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1099511627776\r\n\r\nnot a tebibyte")?;
        }
        "escapes" => {
            // What a terminal would obey, in every place where a text can be.
            let body = "\u{1b}[2J\u{1b}]0;owned\u{7} <script>alert(1)</script>\r\n\u{202e}";
            let head =
                "HTTP/1.1 500 \u{1b}[31mred\r\nserver: \u{9b}31m\r\ncontent-type: text/plain; \u{9b}1m\r\n";
            stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes())?;
        }
        "loop" => {
            stream
                .write_all(b"HTTP/1.1 302 Found\r\nlocation: /hostile/loop\r\ncontent-length: 0\r\n\r\n")?;
        }
        "away" => {
            stream.write_all(
                b"HTTP/1.1 302 Found\r\nlocation: file:///etc/passwd\r\ncontent-length: 0\r\n\r\n",
            )?;
        }
        "nowhere" => {
            stream
                .write_all(b"HTTP/1.1 302 Found\r\nlocation: http://[broken/\r\ncontent-length: 0\r\n\r\n")?;
        }
        other => panic!("there is no part called {other}"),
    }
    Ok(())
}
