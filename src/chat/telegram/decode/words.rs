//! What the entities of a text tell: the command at its start, who is mentioned, and the text as a person means it.
//! Entities count in UTF-16 units; those that do not fit their text are passed over.

use super::update::RawEntity;
use crate::chat::telegram::TelegramIdentity;

#[derive(Debug, Default, PartialEq)]
pub(super) struct Words {
    /// Without the bot's own mention and without the command.
    pub text: String,
    /// In lower case, without `/`.
    pub command: Option<String>,
    /// `/command@another_bot`
    pub is_for_another_bot: bool,
    pub mentions_bot: bool,
    pub mentions_others: bool,
}

pub(super) fn read(text: &str, entities: &[RawEntity], me: &TelegramIdentity) -> Words {
    let mut words = Words::default();
    let mut marks: Vec<_> = entities
        .iter()
        .filter_map(|entity| Some((bytes(text, entity.offset, entity.length)?, entity)))
        .filter(|(range, _)| !range.is_empty())
        .collect();
    marks.sort_by_key(|(range, _)| range.start);
    let mut done = 0;
    for (range, entity) in marks {
        if range.start < done {
            continue;
        }
        let marked = &text[range.clone()];
        let told = match entity.kind.as_str() {
            "bot_command" if text[..range.start].trim().is_empty() => words.command(marked, me),
            "mention" => words.mention(marked, marked.get(1..).is_some_and(|name| is_me(name, me))),
            "text_mention" => {
                let is_me = entity.user.as_ref().is_some_and(|user| user.id == me.id);
                words.mention(&format!("@{}", marked.trim_start_matches('@')), is_me)
            }
            _ => continue,
        };
        words.text.push_str(&text[done..range.start]);
        if told.is_empty() && words.text.ends_with(' ') && text[range.end..].starts_with(' ') {
            words.text.pop();
        }
        words.text.push_str(&told);
        done = range.end;
    }
    words.text.push_str(&text[done..]);
    words.text = tidy(&words);
    words
}

impl Words {
    /// What stays of the command in the text.
    fn command(&mut self, marked: &str, me: &TelegramIdentity) -> String {
        let (name, bot) = match marked.trim_start_matches('/').split_once('@') {
            Some((name, bot)) => (name, Some(bot)),
            None => (marked.trim_start_matches('/'), None),
        };
        if bot.is_some_and(|bot| !is_me(bot, me)) {
            self.is_for_another_bot = true;
            return marked.to_owned();
        }
        self.command = Some(name.to_lowercase());
        String::new()
    }

    fn mention(&mut self, marked: &str, is_me: bool) -> String {
        self.mentions_bot |= is_me;
        self.mentions_others |= !is_me;
        if is_me { String::new() } else { marked.to_owned() }
    }
}

fn is_me(name: &str, me: &TelegramIdentity) -> bool {
    !name.is_empty() && name.eq_ignore_ascii_case(&me.username)
}

/// `@bot, how …` leaves a comma that belongs to the mention.
fn tidy(words: &Words) -> String {
    let text = words.text.trim();
    if words.mentions_bot { text.trim_start_matches([',', ':', ';']).trim_start() } else { text }.to_owned()
}

/// The range in bytes of a range in UTF-16 units, if it begins and ends between characters of the text.
fn bytes(text: &str, offset: usize, length: usize) -> Option<std::ops::Range<usize>> {
    let end = offset.checked_add(length)?;
    let mut units = 0;
    let mut start_byte = None;
    for (byte, character) in text.char_indices().chain([(text.len(), '\0')]) {
        if units == offset {
            start_byte = Some(byte);
        }
        if units == end {
            return Some(start_byte?..byte);
        }
        units += character.len_utf16();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, offset: usize, length: usize, expect: Option<&str>) {
        assert_eq!(bytes(text, offset, length).map(|range| &text[range]), expect, "{text} {offset} {length}");
    }

    #[test]
    fn ranges_count_in_utf_16_units() {
        check("ciao @bot", 5, 4, Some("@bot"));
        check("👩‍💻 @bot", 6, 4, Some("@bot"));
        check("è @bot", 2, 4, Some("@bot"));
        check("👍", 0, 2, Some("👍"));
        check("👍", 0, 1, None);
        check("👍", 1, 1, None);
        check("abc", 3, 0, Some(""));
        check("abc", 2, 2, None);
        check("abc", usize::MAX, usize::MAX, None);
        check("", 0, 0, Some(""));
    }
}
