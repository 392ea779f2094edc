//! Which of the two languages a text is written in. Code, addresses and identifiers have no say.

use std::sync::LazyLock;

use lingua::{LanguageDetector as Lingua, LanguageDetectorBuilder};

use super::Language;

/// Below this share of the probability the language of a text is left open.
const SURE: f64 = 0.58;
/// Letters that a text without function words needs before its language is guessed at all.
const LETTERS_MIN: usize = 4;
/// Bytes that are looked at; more do not change the verdict and cost time.
const BYTES_MAX: usize = 1_000;
/// How much one function word weighs against the letter statistics, as a factor on the odds.
const WORD_ODDS: f64 = 6.0;
/// With so many more function words of one language than of the other, the letter statistics are not asked.
const WORDS_ENOUGH: i32 = 5;

/// Short words that belong to one of the two languages only. They settle questions that are full of English
/// technical terms ("come faccio il deploy?").
const ITALIAN_WORDS: &[&str] = &[
    "il", "lo", "la", "gli", "le", "un", "uno", "una", "di", "del", "della", "dello", "dei", "delle", "degli", "al",
    "alla", "alle", "ai", "da", "dal", "dalla", "nel", "nella", "nelle", "sul", "sulla", "con", "per", "che", "chi",
    "come", "cosa", "dove", "quando", "quanto", "quanti", "quante", "quale", "quali", "perché", "perche", "non", "mi",
    "si", "è", "sono", "ho", "hai", "ha", "ci", "posso", "devo", "serve", "fare", "faccio", "anche", "più", "questo",
    "questa", "se", "ma", "mio", "mia", "e", "ed", "dopo", "prima", "senza", "tra", "fra", "ogni", "l", "dell", "all",
    "nell", "sull", "dall", "un'", "c'è", "cos",
];
const ENGLISH_WORDS: &[&str] = &[
    "the", "an", "of", "to", "is", "are", "was", "and", "or", "how", "what", "when", "where", "who", "which", "why",
    "not", "can", "does", "did", "my", "we", "you", "it", "this", "that", "with", "for", "from", "at", "by", "be",
    "have", "has", "should", "must", "will", "your", "our", "there", "if", "but", "get", "any", "many", "much", "on",
    "isn't", "doesn't", "don't", "can't",
];

/// English words that Italians use too: no evidence for either language.
const SHARED_WORDS: &[&str] = &[
    "account",
    "backup",
    "badge",
    "browser",
    "budget",
    "chat",
    "client",
    "cloud",
    "cluster",
    "computer",
    "container",
    "database",
    "deploy",
    "email",
    "file",
    "firewall",
    "firmware",
    "hardware",
    "hotel",
    "laptop",
    "link",
    "login",
    "mail",
    "manager",
    "meeting",
    "monitor",
    "mouse",
    "offline",
    "online",
    "password",
    "policy",
    "privacy",
    "proxy",
    "release",
    "reset",
    "report",
    "rollback",
    "router",
    "runbook",
    "server",
    "shutdown",
    "smartphone",
    "software",
    "staging",
    "team",
    "test",
    "ticket",
    "token",
    "welfare",
    "wifi",
    "wi-fi",
    "wireless",
    "workflow",
];

/// Detector of Italian and English; text in another language is filed under the closer of the two.
/// Cheap to make: the statistics are loaded once per process.
#[derive(Clone, Copy, Debug, Default)]
pub struct LanguageDetector;

static LINGUA: LazyLock<Lingua> = LazyLock::new(|| {
    LanguageDetectorBuilder::from_languages(&[lingua::Language::English, lingua::Language::Italian])
        .with_preloaded_language_models()
        .build()
});

impl LanguageDetector {
    pub fn new() -> Self {
        LanguageDetector
    }

    /// `None` when the text has too few letters or could be either ("VPN", "wifi 2").
    pub fn detect(&self, text: &str) -> Option<Language> {
        let prose = prose(head(text));
        let balance = word_balance(&prose);
        if balance == 0 && prose.chars().filter(|c| c.is_alphabetic()).count() < LETTERS_MIN {
            return None;
        }
        if balance.abs() >= WORDS_ENOUGH {
            return Some(if balance > 0 { Language::Italian } else { Language::English });
        }
        // The shares of the two languages add up to one.
        let italian = LINGUA.compute_language_confidence(prose.as_str(), lingua::Language::Italian);
        let odds = (italian + 0.01) / (1.0 - italian + 0.01) * WORD_ODDS.powi(balance);
        let italian = odds / (1.0 + odds);
        if italian >= SURE {
            Some(Language::Italian)
        } else if italian <= 1.0 - SURE {
            Some(Language::English)
        } else {
            None
        }
    }
}

fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(BYTES_MAX)]
}

/// Italian function words minus English ones.
fn word_balance(prose: &str) -> i32 {
    let mut balance = 0;
    for word in prose.to_lowercase().replace('’', "'").split(|c: char| !c.is_alphabetic() && c != '\'') {
        if ENGLISH_WORDS.contains(&word) {
            balance -= 1;
        } else {
            balance += word.split('\'').filter(|part| ITALIAN_WORDS.contains(part)).count() as i32;
        }
    }
    balance
}

/// The words of `text` that speak a language: no code, addresses, paths, identifiers, numbers or acronyms.
fn prose(text: &str) -> String {
    let mut prose = String::with_capacity(text.len());
    for (at, outside) in text.split("```").enumerate() {
        if at % 2 == 1 {
            continue;
        }
        for (at, outside) in outside.split('`').enumerate() {
            if at % 2 == 0 {
                outside.split_whitespace().filter(|word| speaks(word)).for_each(|word| {
                    prose.push_str(word);
                    prose.push(' ');
                });
            }
        }
    }
    prose
}

fn speaks(word: &str) -> bool {
    let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
    if SHARED_WORDS.contains(&bare.to_lowercase().as_str()) {
        return false;
    }
    if bare.is_empty() || bare.chars().any(|c| c.is_ascii_digit() || "_/\\@=<>{}$#".contains(c)) {
        return false;
    }
    // A dot or a colon inside: `config.toml`, `std::env`.
    if bare.contains(['.', ':']) {
        return false;
    }
    let mut letters = bare.chars().filter(|c| c.is_alphabetic());
    let acronym = bare.chars().count() > 1 && letters.clone().all(char::is_uppercase) && bare.chars().count() <= 5;
    let first_upper = letters.next().is_some_and(char::is_uppercase);
    let inner_upper = letters.clone().any(char::is_uppercase) && letters.any(char::is_lowercase);
    // camelCase, but not SHOUTING and not "L'Italia".
    let identifier = inner_upper && !bare.contains(['\'', '’', '-']) && !(first_upper && bare.len() < 4);
    !acronym && !identifier
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(language: Option<Language>, texts: &[&str]) {
        let detector = LanguageDetector::new();
        let wrong: Vec<_> =
            texts.iter().map(|text| (text, detector.detect(text))).filter(|(_, l)| *l != language).collect();
        assert!(wrong.is_empty(), "not {language:?}: {wrong:?}");
    }

    #[test]
    fn short_questions_in_italian() {
        check(
            Some(Language::Italian),
            &[
                "e per i part-time?",
                "ferie?",
                "quanti giorni di ferie ho?",
                "come faccio il deploy in staging?",
                "la vpn non va",
                "password wifi ospiti?",
                "chi approva le trasferte",
                "rimborso chilometrico",
                "COME SI CHIEDE UN PERMESSO?",
                "dov'è il runbook del database?",
                "cos'è l'on-call?",
                "permesso per lutto",
                "il mio laptop è rotto",
                "e se sono in malattia?",
                "posso lavorare da casa il venerdì",
            ],
        );
    }

    #[test]
    fn short_questions_in_english() {
        check(
            Some(Language::English),
            &[
                "vpn not working",
                "how many days off do I get?",
                "who approves travel",
                "what about part-timers?",
                "how do I roll back a deploy?",
                "holidays?",
                "my laptop is broken",
                "expense report deadline",
                "can I work from home on Friday",
                "is there a dress code",
                "reset my password",
                "WHERE IS THE ONBOARDING CHECKLIST?",
            ],
        );
    }

    #[test]
    fn too_little_to_tell() {
        check(
            None,
            &["", "VPN", "?", "1234", "`git push --force`", "https://example.com/la/pagina", "a", "config.toml"],
        );
        // Could be asked in either.
        check(None, &["wifi password?", "laptop", "reset password VPN"]);
    }

    #[test]
    fn code_and_addresses_do_not_decide() {
        check(
            Some(Language::Italian),
            &[
                "Per aggiornare il pacchetto esegui `apt-get update and then install the package from the list`.",
                "Esegui:\n```\nfor the file in this and that; do print the name; done\n```\nPoi riavvia il servizio.",
                "Vedi https://example.com/how-to-install-the-package-and-run-it per i dettagli.",
            ],
        );
        check(
            Some(Language::English),
            &["Open `impostazioni/della/rete.conf` and set the default gateway of the network."],
        );
    }

    #[test]
    fn other_languages_are_filed_under_the_closer_one() {
        check(
            Some(Language::Italian),
            &["El sistema de vacaciones está disponible para todos los empleados de la empresa."],
        );
        check(Some(Language::Italian), &["Le congé est demandé au responsable avant la fin du mois."]);
        check(Some(Language::English), &["De medewerkers hebben recht op dertig dagen verlof in het jaar."]);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = "è".repeat(3_000);
        let _ = LanguageDetector::new().detect(&text);
    }
}
