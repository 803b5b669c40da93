//! Peers that no honest server is: what they do to a client, by name (`/hostile/<name>`).

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::Duration;

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
