//! One check's state for one target as bytes: a version, the day of its last use, a checksum, the entries.
//!
//! The checksum covers the owner's names too, so that a record which a damaged file gives under another
//! key is not believed.

use super::{StateEntries, StateKey};

/// The first byte; another one is another form.
const VERSION: u8 = 1;
/// Version, day, checksum.
const HEAD_BYTES: usize = 1 + 4 + 4;

/// Days since 1970-01-01, UTC.
pub(super) type Day = i32;

/// What a record holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// When it was last read or written, to some days.
    pub(super) used: Day,
    /// What is remembered.
    pub(super) entries: StateEntries,
}

/// The bytes of a record.
pub(super) fn encode(key: &StateKey, used: Day, entries: &StateEntries) -> Vec<u8> {
    let body: usize = entries.iter().map(|(key, value)| 8 + key.len() + value.len()).sum();
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body);
    bytes.push(VERSION);
    bytes.extend_from_slice(&used.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    for (key, value) in entries {
        for part in [key.as_bytes(), value] {
            bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
            bytes.extend_from_slice(part);
        }
    }
    let checksum = checksum(key, &bytes);
    bytes[5..HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Reads a record; none where it is damaged, or of another version.
pub(super) fn decode(key: &StateKey, bytes: &[u8]) -> Option<Record> {
    let (head, mut rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let [version, used @ .., _, _, _, _] = *head;
    let found = u32::from_le_bytes([head[5], head[6], head[7], head[8]]);
    if version != VERSION || found != checksum(key, bytes) {
        return None;
    }
    let mut entries = StateEntries::new();
    while !rest.is_empty() {
        let key = part(&mut rest)?;
        let value = part(&mut rest)?;
        entries.insert(str::from_utf8(key).ok()?.to_owned(), value.to_vec());
    }
    Some(Record { used: Day::from_le_bytes(used), entries })
}

/// Cuts off a length and as many bytes.
fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, behind) = rest.split_first_chunk()?;
    let (part, behind) = behind.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    *rest = behind;
    Some(part)
}

/// CRC-32C of the names and of everything in the record but the checksum itself. Names hold no NUL that
/// could move a letter from one to the next unseen: a byte that no UTF-8 has stands between them.
fn checksum(key: &StateKey, bytes: &[u8]) -> u32 {
    let mut sum = 0;
    for name in [&key.pipeline, &key.target, &key.check] {
        sum = crc32c::crc32c_append(sum, name.as_bytes());
        sum = crc32c::crc32c_append(sum, &[0xff]);
    }
    sum = crc32c::crc32c_append(sum, &bytes[..5]);
    crc32c::crc32c_append(sum, &bytes[HEAD_BYTES..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> StateKey {
        StateKey { pipeline: "shop".into(), target: "https://shop.example/".into(), check: "changed".into() }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            used in any::<Day>(),
            entries in prop::collection::btree_map(".{0,12}", prop::collection::vec(any::<u8>(), 0..40), 0..6),
        ) {
            let bytes = encode(&key(), used, &entries);
            prop_assert_eq!(decode(&key(), &bytes), Some(Record { used, entries }));
        }

        #[test]
        fn a_changed_bit_is_seen(
            entries in prop::collection::btree_map("[a-z]{0,4}", prop::collection::vec(any::<u8>(), 0..9), 0..4),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let mut bytes = encode(&key(), 20_000, &entries);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(decode(&key(), &bytes), None);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&key(), &bytes);
        }
    }

    #[test]
    fn a_record_of_another_owner_or_cut_short_is_none() {
        let entries = StateEntries::from([("k".to_owned(), b"value".to_vec())]);
        let bytes = encode(&key(), 1, &entries);
        let moved = StateKey { pipeline: "shoph".into(), target: "ttps://shop.example/".into(), ..key() };
        assert_eq!(decode(&moved, &bytes), None);
        for len in 0..bytes.len() {
            assert_eq!(decode(&key(), &bytes[..len]), None);
        }
    }
}
