//! The end of the final response's head in the bytes of HTTP/1 (RFC 9112), and how many interim responses came
//! first.

use super::MAX_INTERIM;

/// Finds the end of the final response's head in the bytes as they come.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    /// Bytes of the current head.
    bytes: u64,
    /// Bytes of the current line that are not CR, up to its end.
    line: usize,
    /// Whether the status line has been seen whole.
    past_status_line: bool,
    /// The status code: bytes 9 to 11 of `HTTP/1.1 200`.
    code: [u8; 3],
    interim: u32,
    pub(super) done: bool,
}

/// What the scan found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// The final head is whole; its length in bytes.
    Head(u64),
    TooManyInterim,
}

impl HeadScan {
    /// Looks at the next bytes.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Found {
        for byte in bytes {
            self.bytes += 1;
            match byte {
                b'\n' if self.line == 0 => {
                    if self.past_status_line && self.end_of_head() {
                        return Found::Head(self.bytes);
                    }
                    if self.interim > MAX_INTERIM {
                        return Found::TooManyInterim;
                    }
                }
                b'\n' => {
                    self.line = 0;
                    self.past_status_line = true;
                }
                b'\r' => {}
                byte => {
                    if !self.past_status_line
                        && let Some(digit) = self.line.checked_sub(9).and_then(|at| self.code.get_mut(at))
                    {
                        *digit = *byte;
                    }
                    self.line += 1;
                }
            }
        }
        Found::Nothing
    }

    /// An empty line after a status line; whether that head was the final one.
    fn end_of_head(&mut self) -> bool {
        // Of the codes that begin with 1, 101 is final (RFC 9110 section 15.2.2).
        if self.code[0] != b'1' || self.code == *b"101" {
            self.done = true;
            return true;
        }
        *self = Self { interim: self.interim + 1, ..Self::default() };
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan_in_pieces(text: &str, piece: usize) -> Found {
        let mut scan = HeadScan::default();
        text.as_bytes()
            .chunks(piece)
            .map(|bytes| scan.scan(bytes))
            .find(|found| *found != Found::Nothing)
            .unwrap_or(Found::Nothing)
    }

    #[test]
    fn the_final_head_is_measured_however_it_is_cut() {
        let head = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
        for piece in [1, 2, 3, 7, 1_000] {
            assert_eq!(scan_in_pieces(&format!("{head}body\r\n\r\n"), piece), Found::Head(head.len() as u64));
            assert_eq!(
                scan_in_pieces(&format!("{interim}{interim}{head}"), piece),
                Found::Head(head.len() as u64)
            );
            assert_eq!(scan_in_pieces("HTTP/1.1 101 X\n\n", piece), Found::Head(16));
            // No code that anybody knows, and not final.
            assert_eq!(
                scan_in_pieces(&format!("HTTP/1.1 141 X\r\n\r\n{head}"), piece),
                Found::Head(head.len() as u64)
            );
            assert_eq!(scan_in_pieces("HTTP/1.1 200 OK\r\nA: b\r\n", piece), Found::Nothing);
        }
    }

    #[test]
    fn interim_responses_are_counted() {
        let interim = "HTTP/1.1 100 Continue\r\n\r\n";
        assert_eq!(scan_in_pieces(&interim.repeat(16), 5), Found::Nothing);
        assert_eq!(scan_in_pieces(&interim.repeat(17), 5), Found::TooManyInterim);
    }
}
