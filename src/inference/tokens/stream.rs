//! Generated tokens to text as early as it can be shown: bytes are given out as soon as they are whole characters, and
//! text is held back only while it could still become a stop text.

use std::sync::Arc;

use super::Tokens;

/// Turns the tokens of one generation into text.
pub struct TokenStream {
    tokens: Arc<Tokens>,
    /// Bytes of a character that has begun and not ended, at most three.
    pending: Vec<u8>,
}

impl TokenStream {
    pub fn new(tokens: Arc<Tokens>) -> Self {
        TokenStream { tokens, pending: Vec::new() }
    }

    /// Takes the next token and returns the text that it completes, if any. Bytes that can never become a character
    /// are replaced by U+FFFD.
    pub fn push(&mut self, token: u32) -> Option<String> {
        self.pending.extend(self.tokens.bytes(token));
        let text = take_characters(&mut self.pending);
        (!text.is_empty()).then_some(text)
    }

    /// The rest: U+FFFD when the generation ended inside a character.
    pub fn finish(self) -> Option<String> {
        (!self.pending.is_empty()).then(|| char::REPLACEMENT_CHARACTER.to_string())
    }
}

/// Takes all whole characters off the front and leaves an unfinished one.
fn take_characters(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut taken = 0;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        taken += chunk.valid().len();
        let invalid = chunk.invalid();
        let unfinished = taken + invalid.len() == bytes.len()
            && std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
        if unfinished {
            break;
        }
        if !invalid.is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
            taken += invalid.len();
        }
    }
    bytes.drain(..taken);
    text
}

/// Ends a generation at the first of some texts, which is not shown, also when it is spread over several tokens.
#[derive(Clone, Debug, Default)]
pub struct StopFilter {
    stops: Vec<String>,
    held: String,
}

/// What a [`StopFilter`] made of new text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filtered {
    /// Text that may be shown, possibly empty.
    pub text: String,
    /// A stop text was found; nothing after it counts.
    pub stopped: bool,
}

impl StopFilter {
    /// Empty stop texts are ignored.
    pub fn new(stops: Vec<String>) -> Self {
        StopFilter { stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(), held: String::new() }
    }

    /// Takes new text and gives out what can no longer become a stop text.
    pub fn push(&mut self, text: &str) -> Filtered {
        self.held.push_str(text);
        let first = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(at) = first {
            let mut text = std::mem::take(&mut self.held);
            text.truncate(at);
            return Filtered { text, stopped: true };
        }
        let keep = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        Filtered { text: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// What was held back when the generation ended.
    pub fn finish(self) -> Option<String> {
        (!self.held.is_empty()).then_some(self.held)
    }
}

/// Length of the longest end of `text` that `stop` begins with.
fn overlap(text: &str, stop: &str) -> usize {
    let lengths = stop.char_indices().map(|(at, _)| at).skip(1);
    lengths.filter(|&len| text.ends_with(&stop[..len])).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds pieces of bytes and joins what came out after each.
    fn pieces(input: &[&[u8]]) -> Vec<String> {
        let mut pending = Vec::new();
        input
            .iter()
            .map(|bytes| {
                pending.extend_from_slice(bytes);
                take_characters(&mut pending)
            })
            .collect()
    }

    #[test]
    fn a_character_appears_with_its_last_byte() {
        assert_eq!(pieces(&[b"ciao \xF0", b"\x9F\x98", b"\x80 a"]), ["ciao ", "", "😀 a"]);
        assert_eq!(pieces(&[b"perch\xC3", b"\xA9"]), ["perch", "é"]);
    }

    #[test]
    fn bytes_that_never_become_a_character_are_replaced_once() {
        assert_eq!(pieces(&[b"a\xFFb", b"\xC3", b"x"]), ["a\u{FFFD}b", "", "\u{FFFD}x"]);
    }

    #[test]
    fn a_stop_text_is_found_across_pieces_and_not_shown() {
        let mut filter = StopFilter::new(vec!["\nUser:".to_owned(), String::new()]);
        let shown = |text: &str| Filtered { text: text.to_owned(), stopped: false };
        assert_eq!(filter.push("Sì.\n"), shown("Sì."));
        assert_eq!(filter.push("Us"), shown(""));
        assert_eq!(filter.push("ing\nUser"), shown("\nUsing"));
        assert_eq!(filter.push(": no"), Filtered { text: String::new(), stopped: true });
    }

    #[test]
    fn without_stop_texts_nothing_is_held_back() {
        let mut filter = StopFilter::default();
        assert_eq!(filter.push("abc").text, "abc");
        assert_eq!(filter.finish(), None);
    }
}
