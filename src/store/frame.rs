//! How a value lies in the database: a version byte, the number of parts, a CRC32, the payload. A value longer than
//! [`PART_BYTES`] is cut, because the database writes big pages to files of their own that it never syncs. Pure.
//!
//! ```text
//! part 0:   version (1) | parts (2, big endian) | CRC32 (4, big endian) | payload …
//! part 1…:  payload …
//! ```
//!
//! The CRC is taken over the row's key, the version, the number of parts and the payload, so a value under the wrong
//! key is noticed as well.

/// Version of this layout.
const VERSION: u8 = 1;

const HEADER_BYTES: usize = 7;

/// Bytes of one part. A leaf of the database holds about 16 rows and becomes such an unsynced file at 128 KB.
pub(super) const PART_BYTES: usize = 4096;

/// The longest payload: far more than a platform lets anybody write.
pub(super) const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// The parts are not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// Cuts a payload of at most [`PAYLOAD_BYTES_MAX`] into parts, at least one.
pub(super) fn seal(key: &[u8], payload: &[u8]) -> Vec<Vec<u8>> {
    let parts = (HEADER_BYTES + payload.len()).div_ceil(PART_BYTES) as u16;
    let mut whole = Vec::with_capacity(HEADER_BYTES + payload.len());
    whole.push(VERSION);
    whole.extend(parts.to_be_bytes());
    whole.extend(checksum(key, &whole, payload).to_be_bytes());
    whole.extend(payload);
    whole.chunks(PART_BYTES).map(<[u8]>::to_vec).collect()
}

/// Puts parts together again.
///
/// # Errors
/// `Damaged` when a part is missing, too many, changed, or of another version.
pub(super) fn open<P: AsRef<[u8]>>(key: &[u8], parts: &[P]) -> Result<Vec<u8>, Damaged> {
    let first = parts.first().ok_or(Damaged)?.as_ref();
    let (header, start) = first.split_at_checked(HEADER_BYTES).ok_or(Damaged)?;
    let (head, crc) = header.split_at(3);
    if head[0] != VERSION || usize::from(u16::from_be_bytes([head[1], head[2]])) != parts.len() {
        return Err(Damaged);
    }
    let mut payload = start.to_vec();
    for part in &parts[1..] {
        payload.extend(part.as_ref());
    }
    if checksum(key, head, &payload).to_be_bytes() != *crc {
        return Err(Damaged);
    }
    Ok(payload)
}

fn checksum(key: &[u8], head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_part_is_longer_than_the_limit() {
        for bytes in [0, 1, PART_BYTES - HEADER_BYTES, PART_BYTES - HEADER_BYTES + 1, PAYLOAD_BYTES_MAX] {
            let payload = vec![b'x'; bytes];
            let parts = seal(b"key", &payload);
            assert!(parts.iter().all(|part| part.len() <= PART_BYTES), "{bytes}");
            assert_eq!(parts.len(), (bytes + HEADER_BYTES).div_ceil(PART_BYTES));
            assert_eq!(open(b"key", &parts), Ok(payload), "{bytes}");
        }
    }

    #[test]
    fn missing_swapped_and_foreign_parts_are_noticed() {
        let parts = seal(b"key", &(0..10_000).map(|n| (n % 251) as u8).collect::<Vec<u8>>());
        assert_eq!(parts.len(), 3);
        assert_eq!(open::<Vec<u8>>(b"key", &[]), Err(Damaged));
        assert_eq!(open(b"key", &parts[..2]), Err(Damaged));
        assert_eq!(open(b"key", &parts[1..]), Err(Damaged));
        assert_eq!(open(b"key", &[&parts[0], &parts[2], &parts[1]]), Err(Damaged));
        assert_eq!(open(b"yek", &parts), Err(Damaged));
        assert_eq!(open(b"key", &[b"short"]), Err(Damaged));
    }

    proptest! {
        #[test]
        fn what_was_sealed_is_opened(key in ".{0,40}", payload in prop::collection::vec(any::<u8>(), 0..12_000)) {
            prop_assert_eq!(open(key.as_bytes(), &seal(key.as_bytes(), &payload)), Ok(payload));
        }

        /// CRC32 notices every three flipped bits in so few bytes for certain, not only with high probability.
        #[test]
        fn flipped_bits_are_always_noticed(
            payload in prop::collection::vec(any::<u8>(), 0..9_000),
            flips in prop::collection::vec(any::<prop::sample::Index>(), 1..=3),
        ) {
            let mut parts = seal(b"key", &payload);
            let lengths: Vec<usize> = parts.iter().map(Vec::len).collect();
            let bits = 8 * lengths.iter().sum::<usize>();
            let flips: std::collections::HashSet<usize> = flips.iter().map(|flip| flip.index(bits)).collect();
            for bit in flips {
                let (mut part, mut byte) = (0, bit / 8);
                while byte >= lengths[part] {
                    byte -= lengths[part];
                    part += 1;
                }
                parts[part][byte] ^= 1 << (bit % 8);
            }
            prop_assert_eq!(open(b"key", &parts), Err(Damaged));
        }
    }
}
