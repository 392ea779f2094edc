//! Messages with several questions: each that stands by itself is answered by itself. What explains one, or follows it up,
//! stays with it.

use super::follow_up::refers_back;
use crate::domain::{Language, LanguageDetector, sentences};
use crate::retrieval::terms;

/// Questions of one message that are answered.
pub const QUESTIONS: usize = 3;

/// Different words with a meaning of their own that a question has at least.
const TERMS_MIN: usize = 2;
/// One that follows another has more: "come viene calcolato?" and "quali documenti servono?" go on from it.
const TERMS_OF_ANOTHER: usize = 3;
/// From so many on one that follows another needs no word that asks.
const TERMS_WITHOUT_ASKING: usize = 4;
/// Letters of such a word: "come va?" asks nothing.
const LETTERS_MIN: usize = 3;
/// Words from the beginning among which the one that asks stands: "da quando", "per quali progetti".
const ASKING_AMONG: usize = 3;

/// Words that a question may follow another one with and still be one of its own.
const JOINING: &[&str] = &["e", "ed", "poi", "inoltre", "infine", "and", "also", "then", "finally"];

const ASKING: &[&str] = &[
    "chi", "che", "cosa", "cos", "come", "com", "quando", "quanto", "quanta", "quanti", "quante", "quant", "dove",
    "dov", "perché", "quale", "quali", "qual", "who", "whom", "whose", "what", "when", "where", "why", "how", "which",
];

/// Words of things that were named before.
const OF_SOMEBODY: &[&str] = &["suo", "sua", "suoi", "sue", "loro", "his", "her", "hers", "their"];
/// A first question with one of these, and none that asks, asks for nothing yet.
const HELP: &[&str] = &["aiuto", "aiutare", "aiutarmi", "aiutarci", "aiuti", "help", "informazione", "informazioni"];

/// The questions of a message, in their order; one, the whole message, unless several of them stand by themselves. What is
/// told before a question belongs to it, what follows the last one to that.
pub fn questions(text: &str) -> Vec<String> {
    let language = LanguageDetector.detect(text).unwrap_or(Language::Italian);
    // Where each question begins.
    let mut begins: Vec<usize> = Vec::new();
    let mut told_from = None;
    for range in sentences(text) {
        let begin = *told_from.get_or_insert(range.start);
        let sentence = &text[range];
        if !sentence.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '?').ends_with('?') {
            continue;
        }
        let stands_alone = match begins.is_empty() {
            true => is_one(sentence, language),
            false => is_another(sentence, language),
        };
        if stands_alone {
            begins.push(begin);
        }
        if !begins.is_empty() {
            told_from = None;
        }
    }
    if begins.len() < 2 {
        return vec![text.to_owned()];
    }
    begins[0] = 0;
    let ends = begins[1..].iter().copied().chain([text.len()]);
    begins.iter().zip(ends).map(|(&begin, end)| text[begin..end].trim().to_owned()).collect()
}

/// Whether the first question of a message asks for something: "can you help me?" does not.
fn is_one(question: &str, language: Language) -> bool {
    let lower = question.to_lowercase();
    let words = words(&lower);
    match asks(&words) {
        true => subjects(question, language) > 0,
        false => subjects(question, language) >= TERMS_MIN && !words.iter().any(|word| HELP.contains(word)),
    }
}

/// Whether a question that follows another one is about something else.
fn is_another(question: &str, language: Language) -> bool {
    let lower = question.to_lowercase();
    let mut words = words(&lower);
    let is_joined = words.first().is_some_and(|first| JOINING.contains(first));
    while words.first().is_some_and(|first| JOINING.contains(first)) {
        words.remove(0);
    }
    let least = match asks(&words) {
        true if is_joined => TERMS_MIN,
        true => TERMS_OF_ANOTHER,
        false => TERMS_WITHOUT_ASKING,
    };
    let is_of_somebody = words.iter().any(|word| OF_SOMEBODY.contains(word));
    subjects(question, language) >= least && !is_of_somebody && !refers_back(&words.join(" "))
}

fn words(lower: &str) -> Vec<&str> {
    lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect()
}

fn asks(words: &[&str]) -> bool {
    words.iter().take(ASKING_AMONG).any(|word| ASKING.contains(word))
}

/// Words with a meaning of their own.
fn subjects(question: &str, language: Language) -> usize {
    terms(question, language).iter().filter(|term| term.chars().count() >= LETTERS_MIN).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        assert_eq!(questions(text), expect, "{text}");
    }

    #[test]
    fn questions_that_stand_by_themselves_are_told_apart() {
        check(
            "Quanti giorni di ferie ho all'anno? E chi approva le trasferte?",
            &["Quanti giorni di ferie ho all'anno?", "E chi approva le trasferte?"],
        );
        check(
            "How many days of leave do I get? Where is the first aid kit? And which VPN do we use?",
            &["How many days of leave do I get?", "Where is the first aid kit?", "And which VPN do we use?"],
        );
        check(
            "1. Come chiedo le ferie?\n2. Da quando vale la nuova regola sui rimborsi?",
            &["1. Come chiedo le ferie?", "2. Da quando vale la nuova regola sui rimborsi?"],
        );
        check(
            "Posso lavorare da casa il venerdì? Posso portare il mio cane piccolo in ufficio?",
            &["Posso lavorare da casa il venerdì?", "Posso portare il mio cane piccolo in ufficio?"],
        );
    }

    #[test]
    fn what_is_told_stays_with_its_question() {
        check(
            "Ciao! Lavoro part-time. Quante ferie ho? Ho anche un viaggio a Berlino. Chi approva le trasferte all'estero? Grazie.",
            &[
                "Ciao! Lavoro part-time. Quante ferie ho?",
                "Ho anche un viaggio a Berlino. Chi approva le trasferte all'estero? Grazie.",
            ],
        );
    }

    #[test]
    fn what_follows_a_question_up_stays_with_it() {
        for text in [
            "quante ferie ho?",
            "",
            "Ferie? Permessi?",
            "Can you help me? How do I install Debian?",
            "Quante ferie ho? E i part-time? E per i tirocinanti?",
            "come metto l'iso di debian sulla chiavetta da linux? va scritta su sdb o su sdb1?",
            "nei criteri di conta.se che differenza c'è tra ? e * ?",
            "dove sta il defibrilatore??",
            "Ciao, come va? Quante ferie ho?",
            "Could you help me with my expense report please? How do I submit the receipts?",
            "Buongiorno, avrei bisogno di un'informazione, è possibile? Quante ferie ho?",
            "Lo straordinario è pagato? Come viene calcolato? Quando viene liquidato?",
            "Posso lavorare da casa? Quanti giorni a settimana?",
            "A che ora apre la mensa? A che ora chiude?",
            "Come si richiede un rimborso? Quali documenti servono? Entro quando?",
            "Chi è il responsabile HR? Qual è la sua email?",
            "Who is the head of HR? What is her email address?",
            "Can I expense a taxi? What receipts are needed?",
            "Hai presente il contratto Rossi? Quando scade la garanzia?",
            "Should I use SSH or HTTPS? What does the team recommend? Why?",
            "Who approves travel? And how do I ask them?",
            "Is it 26 days? Or 24? Or how many?",
            "The page http://wiki/?a=1 says no. Why does the VPN not connect?",
        ] {
            check(text, &[text]);
        }
    }

    #[test]
    fn nothing_of_a_message_is_lost() {
        let text = "Prima domanda: quante ferie ho?\n\nSeconda: dove trovo il modulo dei rimborsi? Mi serve oggi.";
        let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
        assert_eq!(questions(text).len(), 2);
        assert_eq!(letters(&questions(text).concat()), letters(text));
    }
}
