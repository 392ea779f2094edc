//! Follow-ups: messages that need what was asked before to be understood. They are told by rules, which cost nothing and
//! can be read; the model is asked only where they found nothing (`rewriting`).

use crate::domain::{Language, LanguageDetector, Question};
use crate::retrieval::terms;

/// Different words with a meaning of their own up to which a message may go on from another one.
const SHORT_TERMS_MAX: usize = 4;

/// A message that begins like this goes on from another one.
const OPENINGS: &[&str] = &[
    "e",
    "ed",
    "ma",
    "però",
    "invece",
    "oppure",
    "o",
    "poi",
    "anche",
    "quindi",
    "allora",
    "se invece",
    "e se",
    "and",
    "but",
    "or",
    "so",
    "then",
    "also",
    "instead",
    "what about",
    "how about",
    "what if",
];

/// A message that begins like this has no subject of its own: "per i part-time?".
const PREPOSITIONS: &[&str] = &[
    "per", "con", "senza", "da", "dal", "dalla", "in", "nel", "nella", "su", "sul", "sulla", "tra", "fra", "for",
    "with", "without", "from", "on", "under", "at",
];

/// Words that stand for something said before; forms that are articles too are not among them.
const PRONOUNS: &[&str] = &[
    "questo", "questa", "questi", "queste", "quello", "quella", "quelli", "quelle", "esso", "essa", "essi", "esse",
    "ciò", "ne", "stesso", "stessa", "it", "its", "that", "this", "those", "these", "them", "they", "he", "she", "one",
    "ones", "there", "same",
];

/// Italian verbs with a pronoun at their end: `farlo`, `disattivarla`.
const ENCLITICS: &[&str] = &[
    "arlo", "arla", "arli", "arle", "erlo", "erla", "erli", "erle", "irlo", "irla", "irli", "irle", "arsi", "ersi",
    "irsi",
];

/// Words that only look like them.
const NO_ENCLITICS: &[&str] = &[
    "parlo", "parla", "parli", "carlo", "carla", "merlo", "perla", "perle", "diversi", "versi", "persi", "dispersi",
    "scarsi", "sparsi", "comparsi", "apparsi",
];

/// Whether a message can only be understood with what was asked before it in its conversation.
pub fn refers_back(text: &str) -> bool {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let begins_with = |opening: &&str| {
        let opening: Vec<&str> = opening.split(' ').collect();
        words.len() > opening.len() && words.starts_with(&opening)
    };
    if OPENINGS.iter().any(begins_with) {
        return true;
    }
    if !is_short(text) {
        return false;
    }
    let has_pronoun =
        |word: &str| ENCLITICS.iter().any(|ending| word.ends_with(ending)) && !NO_ENCLITICS.contains(&word);
    let pronoun = |word: &&str| PRONOUNS.contains(word) || has_pronoun(word);
    PREPOSITIONS.iter().any(begins_with) || words.iter().any(pronoun)
}

/// Whether a message has so few words of its own that it may go on from another one.
pub(super) fn is_short(text: &str) -> bool {
    let language = LanguageDetector.detect(text).unwrap_or(Language::Italian);
    terms(text, language).len() <= SHORT_TERMS_MAX
}

/// A question as it is looked for: by itself, or together with the one that it refers back to.
pub fn self_contained(question: &Question) -> String {
    match question.after.as_deref().map(str::trim) {
        Some(before) if !before.is_empty() && refers_back(&question.text) => format!("{before}\n{}", question.text),
        _ => question.text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Reader;

    #[test]
    fn follow_ups_are_told_from_questions_of_their_own() {
        for text in [
            "e come lo disattivo?",
            "se invece la voglio ripetuta in stampa su ogni foglio?",
            "E per i part-time?",
            "per i part-time?",
            "come faccio a disattivarla?",
            "come ci si iscrive, e come può cancellarsi?",
            "e prima di farlo, come controllo che il file sia integro?",
            "and who was that in the movie?",
            "what about part-timers?",
            "how do I turn it off?",
            "for how long?",
            "who approves them?",
        ] {
            assert!(refers_back(text), "{text}");
        }
        for text in [
            "",
            "e",
            "quante ferie ho?",
            "ferie?",
            "come installo aptitude?",
            "dove trovo la password del wifi ospiti?",
            "how many days of leave do I have?",
            "VPN not working",
            "is it possible to change the language of the user interface of the installer?",
            "chi approva le trasferte all'estero?",
            "come chiedo i rimborsi?",
            "quali corsi ci sono?",
            "chi parla inglese?",
        ] {
            assert!(!refers_back(text), "{text}");
        }
    }

    #[test]
    fn what_refers_back_is_looked_for_with_what_it_refers_to() {
        let question = |text: &str, after: Option<&str>| Question {
            after: after.map(str::to_owned),
            ..Question::new(text, Reader::Operator)
        };
        let asked = |text, after| self_contained(&question(text, after));
        assert_eq!(asked("e per i part-time?", Some("quante ferie ho?")), "quante ferie ho?\ne per i part-time?");
        assert_eq!(asked("come chiedo la VPN?", Some("quante ferie ho?")), "come chiedo la VPN?");
        assert_eq!(asked("e per i part-time?", None), "e per i part-time?");
        assert_eq!(asked("e per i part-time?", Some(" ")), "e per i part-time?");
    }
}
