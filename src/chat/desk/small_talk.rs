//! Messages that are no question: greetings and thanks, in both languages. They get a short reply without retrieval.

use unicode_segmentation::UnicodeSegmentation;

use crate::domain::Language;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmallTalk {
    Greeting,
    Thanks,
}

const GREETINGS: &[(&str, Language)] = &[
    ("ciao", Language::Italian),
    ("salve", Language::Italian),
    ("buongiorno", Language::Italian),
    ("buonasera", Language::Italian),
    ("buon giorno", Language::Italian),
    ("buona sera", Language::Italian),
    ("ehi", Language::Italian),
    ("hi", Language::English),
    ("hello", Language::English),
    ("hey", Language::English),
    ("good morning", Language::English),
    ("good afternoon", Language::English),
    ("good evening", Language::English),
];

const THANKS: &[(&str, Language)] = &[
    ("grazie", Language::Italian),
    ("grazie mille", Language::Italian),
    ("mille grazie", Language::Italian),
    ("ti ringrazio", Language::Italian),
    ("ok grazie", Language::Italian),
    ("perfetto grazie", Language::Italian),
    ("perfetto", Language::Italian),
    ("ottimo", Language::Italian),
    ("thanks", Language::English),
    ("thank you", Language::English),
    ("thanks a lot", Language::English),
    ("many thanks", Language::English),
    ("thx", Language::English),
    ("ok thanks", Language::English),
    ("great thanks", Language::English),
    ("perfect thanks", Language::English),
    ("perfect", Language::English),
];

/// Words that may stand beside a greeting or thanks without making a question of it.
const BESIDE: &[&str] = &[
    "a", "tutti", "all", "everyone", "there", "team", "cervella", "bot", "so", "much", "tante", "molte", "very", "ok",
    "va", "bene", "great", "good", "super", "e", "and", "the", "per", "for", "l'aiuto", "help",
];

/// What a message is if it is nothing more than a greeting or thanks, and in which language.
pub fn small_talk(text: &str) -> Option<(SmallTalk, Language)> {
    let words: Vec<String> = text.unicode_words().map(str::to_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if words.is_empty() || words.len() > 6 {
        return None;
    }
    // Thanks first: "ciao e grazie" is no greeting.
    let lists = [(THANKS, SmallTalk::Thanks), (GREETINGS, SmallTalk::Greeting)];
    lists.into_iter().find_map(|(phrases, kind)| {
        let said = |phrase: &str| {
            let phrase: Vec<&str> = phrase.split(' ').collect();
            words.windows(phrase.len()).any(|window| window == phrase)
        };
        let (_, language) = phrases.iter().find(|(phrase, _)| said(phrase))?;
        let spoken: Vec<&str> = GREETINGS.iter().chain(THANKS).flat_map(|(phrase, _)| phrase.split(' ')).collect();
        words.iter().all(|word| spoken.contains(word) || BESIDE.contains(word)).then_some((kind, *language))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<(SmallTalk, Language)>) {
        assert_eq!(small_talk(text), expect, "{text:?}");
    }

    #[test]
    fn greetings_and_thanks_are_told_from_questions() {
        check("Ciao!", Some((SmallTalk::Greeting, Language::Italian)));
        check("buongiorno a tutti", Some((SmallTalk::Greeting, Language::Italian)));
        check("Hello there 👋", Some((SmallTalk::Greeting, Language::English)));
        check("Grazie mille!!", Some((SmallTalk::Thanks, Language::Italian)));
        check("thank you so much", Some((SmallTalk::Thanks, Language::English)));
        check("ottimo, grazie", Some((SmallTalk::Thanks, Language::Italian)));
        check("ok, perfetto, grazie mille a tutti", Some((SmallTalk::Thanks, Language::Italian)));
        check("va bene, grazie", Some((SmallTalk::Thanks, Language::Italian)));
        check("great, thanks for the help", Some((SmallTalk::Thanks, Language::English)));
        check("ciao, quanti giorni di ferie ho?", None);
        check("hi, where is the VPN guide", None);
        check("perfetto, e per i part-time?", None);
        check("grazie, e le trasferte?", None);
        check("a chi mando le ferie", None);
        check("", None);
        check("👍", None);
    }
}
