//! What is remembered of a target: the baseline's content, and since when it is the baseline.

use crate::content::{Content, MAX_LINES};

/// The one key of the state.
pub(crate) const KEY: &str = "baseline";
/// The first byte; another one is another format, which is taken for nothing.
const FORMAT: u8 = 1;

/// A remembered content.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// Of the rules that the content was reduced by.
    pub(crate) rules_digest: [u8; 32],
    /// When it was first seen, in nanoseconds since the Unix epoch.
    pub(crate) since_ns: u64,
    pub(crate) content: Content,
}

impl Remembered {
    /// The state's bytes: format, rules, time, digest, whether there are lines, their hashes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Remembered { rules_digest, since_ns, content: Content { digest, lines } } = self;
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(rules_digest);
        bytes.extend_from_slice(&since_ns.to_le_bytes());
        bytes.extend_from_slice(digest);
        bytes.push(u8::from(lines.is_some()));
        bytes.extend(lines.iter().flatten().flat_map(|line| line.to_le_bytes()));
        bytes
    }

    /// Reads the state's bytes. None where they are not of this format.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&[FORMAT])?;
        let (rules_digest, rest) = rest.split_first_chunk()?;
        let (since_ns, rest) = rest.split_first_chunk()?;
        let (digest, rest) = rest.split_first_chunk()?;
        let (&has_lines, rest) = rest.split_first()?;
        let (lines, rest) = rest.as_chunks::<4>();
        if !rest.is_empty() || lines.len() > MAX_LINES || has_lines > 1 {
            return None;
        }
        let lines: Vec<u32> = lines.iter().map(|line| u32::from_le_bytes(*line)).collect();
        let content = Content { digest: *digest, lines: (has_lines == 1).then_some(lines) };
        Some(Remembered { rules_digest: *rules_digest, since_ns: u64::from_le_bytes(*since_ns), content })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_read_back_within_the_quota() {
        for lines in [None, Some(vec![]), Some(vec![1, 2, u32::MAX]), Some(vec![7; MAX_LINES])] {
            let content = Content { digest: [2; 32], lines };
            let remembered = Remembered { rules_digest: [1; 32], since_ns: u64::MAX, content };
            let bytes = remembered.encode();
            assert!(KEY.len() + bytes.len() < 64 << 10, "{}", bytes.len());
            assert_eq!(Remembered::decode(&bytes), Some(remembered));
            assert_eq!(Remembered::decode(&bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(Remembered::decode(b""), None);
        assert_eq!(Remembered::decode(&[9; 74]), None);
    }
}
