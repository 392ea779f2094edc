//! The alphabet of byte-level BPE: vocabularies spell every byte as one printable character.
//! Source: `bytes_to_unicode` of GPT-2 (<https://github.com/openai/gpt-2>, src/encoder.py).

use std::sync::LazyLock;

/// Bytes that stand for themselves; the others take the characters from U+0100 on, in order.
fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// Byte by the number of its character; the highest is U+0100 + 67.
static BYTES: LazyLock<[Option<u8>; 0x144]> = LazyLock::new(|| {
    let mut bytes = [None; 0x144];
    let mut next = 0x100;
    for byte in 0..=u8::MAX {
        if is_printable(byte) {
            bytes[byte as usize] = Some(byte);
        } else {
            bytes[next] = Some(byte);
            next += 1;
        }
    }
    bytes
});

/// Bytes of a token's spelling; characters outside the alphabet stand for their own UTF-8.
pub(super) fn to_bytes(spelling: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(spelling.len());
    for character in spelling.chars() {
        match BYTES.get(character as usize).copied().flatten() {
            Some(byte) => bytes.push(byte),
            None => bytes.extend(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_stand_for_their_bytes() {
        assert_eq!(to_bytes("Ġciao"), b" ciao");
        assert_eq!(to_bytes("perchÃ©"), "perché".as_bytes());
        assert_eq!(to_bytes("ĊĠĠ"), b"\n  ");
        assert_eq!(to_bytes("ðŁĺĢ"), "😀".as_bytes());
    }

    #[test]
    fn every_byte_has_one_character() {
        let mut seen: Vec<u8> = BYTES.iter().flatten().copied().collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..=u8::MAX).collect::<Vec<_>>());
    }
}
