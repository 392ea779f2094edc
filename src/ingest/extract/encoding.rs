//! Bytes to text: byte order mark, declared encoding, UTF-8 if it is valid, else a guess from the bytes.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8};

/// How much of a page is searched for a declaration of its encoding.
const DECLARATION_BYTES_MAX: usize = 4_096;

/// Decodes plain text. `None` if the bytes are not text at all.
pub(super) fn decode_text(bytes: &[u8]) -> Option<Cow<'_, str>> {
    decode(bytes, None)
}

/// Decodes a page, which may declare its encoding in `<meta>` or in an XML declaration.
pub(super) fn decode_html(bytes: &[u8]) -> Option<Cow<'_, str>> {
    decode(bytes, declared(&bytes[..bytes.len().min(DECLARATION_BYTES_MAX)]))
}

fn decode<'a>(bytes: &'a [u8], declared: Option<&'static Encoding>) -> Option<Cow<'a, str>> {
    if let Some((encoding, _)) = Encoding::for_bom(bytes) {
        return Some(encoding.decode_with_bom_removal(bytes).0);
    }
    if looks_binary(bytes) {
        return None;
    }
    if let Ok(text) = str::from_utf8(bytes) {
        // A page that is valid UTF-8 and holds more than ASCII is UTF-8, whatever it declares.
        let ascii_only_encoding = declared.is_some_and(|encoding| !encoding.is_ascii_compatible());
        if !ascii_only_encoding {
            return Some(Cow::Borrowed(text));
        }
    }
    if let Some(encoding) = declared.filter(|encoding| *encoding != UTF_8) {
        let (text, damaged) = encoding.decode_without_bom_handling(bytes);
        if !damaged {
            return Some(text);
        }
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(bytes, true);
    Some(detector.guess(None, Utf8Detection::Allow).decode_without_bom_handling(bytes).0)
}

/// Text files hold no NUL and next to no other control characters.
fn looks_binary(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(8_192)];
    let control = head.iter().filter(|b| matches!(b, 1..=8 | 14..=26 | 28..=31)).count();
    head.contains(&0) || control * 50 > head.len()
}

/// The encoding named by `<?xml encoding="…"?>`, `<meta charset="…">` or `<meta … content="…; charset=…">`.
fn declared(head: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let from = |place: &str, key: &str| -> Option<&'static Encoding> {
        let value = &place[place.find(key)? + key.len()..];
        let value = value.trim_start().strip_prefix('=')?.trim_start().trim_start_matches(['"', '\'']);
        let end = value.find(|c: char| !c.is_ascii_alphanumeric() && !"-_:.".contains(c)).unwrap_or(value.len());
        Encoding::for_label(&value.as_bytes()[..end])
    };
    let xml = head.trim_start().strip_prefix("<?xml").and_then(|rest| rest.split("?>").next());
    xml.and_then(|place| from(place, "encoding"))
        .or_else(|| head.split("<meta").skip(1).find_map(|tag| from(tag.split('>').next()?, "charset")))
        // A page whose declaration could be read byte by byte is not UTF-16, whatever it says.
        .map(|encoding| if encoding.is_ascii_compatible() { encoding } else { UTF_8 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_found() {
        let latin = b"Perch\xe9 la citt\xe0 \xe8 cos\xec bella e pi\xf9 vivibile?";
        let expected = "Perché la città è così bella e più vivibile?";
        assert_eq!(decode_text(latin).unwrap(), expected);
        for declaration in [
            &b"<meta charset=iso-8859-1>"[..],
            b"<META http-equiv=Content-Type content='text/html; charset=ISO-8859-15'>",
            b"<?xml version='1.0' encoding='windows-1252'?>",
            b"<meta charset='utf-8'>",
            b"<meta charset='no-such-thing'>",
        ] {
            let page = [declaration, latin].concat();
            assert!(decode_html(&page).unwrap().ends_with(expected), "{declaration:?}");
        }
        assert_eq!(decode_text("\u{feff}città".as_bytes()).unwrap(), "città");
        let utf16: Vec<u8> = "\u{feff}città".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(decode_text(&utf16).unwrap(), "città");
    }

    #[test]
    fn utf8_wins_over_a_wrong_declaration() {
        let page = "<meta charset=iso-8859-1>però".as_bytes();
        assert!(decode_html(page).unwrap().ends_with("però"));
        let page = "<meta charset=utf-16>però".as_bytes();
        assert!(decode_html(page).unwrap().ends_with("però"));
    }

    #[test]
    fn binary_is_refused() {
        assert!(decode_text(b"\x7fELF\x00\x01\x02").is_none());
        assert!(decode_text(&[1, 2, 3, 4, 5, 6, 7, 8]).is_none());
        assert!(decode_text(b"").is_some());
    }
}
