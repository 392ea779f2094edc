//! What may not change on the way from a passage to an answer: numbers, codes, negation.

use std::collections::HashSet;

use crate::domain::Language;
use crate::retrieval::codes;

/// The numbers and codes of a text in a form in which Italian and English writing are equal: `1.000,50` and `1,000.50`
/// are `1000.5`.
pub fn facts(text: &str) -> HashSet<String> {
    let mut found: HashSet<String> = HashSet::new();
    for word in codes(text) {
        match number(&word) {
            Some(number) => found.insert(number),
            None if word.chars().any(|c| c.is_ascii_digit()) => found.insert(word),
            None => false,
        };
    }
    for word in text.split(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ','))) {
        found.extend(number(word.trim_matches(['.', ','])));
    }
    found
}

/// A number in digits, groups and decimals; `None` for addresses, versions and whatever else holds digits.
fn number(word: &str) -> Option<String> {
    if word.is_empty() || !word.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ',')) {
        return None;
    }
    let decimal = decimal_mark(word);
    let (whole, fraction) = match decimal {
        Some(at) => (&word[..at], &word[at + 1..]),
        None => (word, ""),
    };
    let groups: Vec<&str> = whole.split(['.', ',']).collect();
    if groups.len() > 1 && groups[1..].iter().any(|group| group.len() != 3) {
        return None;
    }
    let whole = groups.concat();
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let fraction = fraction.trim_end_matches('0');
    Some(if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") })
}

/// The last mark is a decimal one when both kinds occur, or when it is the only one and no group of three follows.
fn decimal_mark(word: &str) -> Option<usize> {
    let last = word.rfind(['.', ','])?;
    let mark = word.as_bytes()[last];
    let others = word.bytes().filter(|b| matches!(b, b'.' | b',') && *b != mark).count();
    let same = word.bytes().filter(|b| *b == mark).count();
    let follows = word.len() - last - 1;
    (same == 1 && (others > 0 || follows != 3)).then_some(last)
}

/// Whether a sentence denies something.
pub(super) fn negates(text: &str, language: Language) -> bool {
    const ITALIAN: &[&str] =
        &["non", "mai", "senza", "né", "nessun", "nessuno", "nessuna", "vietato", "vietata", "niente"];
    const ENGLISH: &[&str] = &[
        "not",
        "no",
        "never",
        "without",
        "cannot",
        "none",
        "nor",
        "neither",
        "forbidden",
        "don't",
        "doesn't",
        "can't",
        "isn't",
        "aren't",
        "won't",
        "mustn't",
        "shouldn't",
        "didn't",
        "wasn't",
    ];
    let words = match language {
        Language::Italian => ITALIAN,
        Language::English => ENGLISH,
    };
    let text = text.to_lowercase().replace('’', "'");
    text.split(|c: char| !(c.is_alphanumeric() || c == '\'')).any(|word| words.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        let expect: HashSet<String> = expect.iter().map(|fact| (*fact).to_owned()).collect();
        assert_eq!(facts(text), expect, "{text:?}");
    }

    #[test]
    fn italian_and_english_numbers_are_equal() {
        check("1.000,50 €", &["1000.5"]);
        check("EUR 1,000.50", &["1000.5"]);
        check("€1000.50", &["1000.5"]);
        check("circa 2.500 euro", &["2500"]);
        check("1,5 ore", &["1.5"]);
        check("15 ore", &["15"]);
        check("1.234.567", &["1234567"]);
        check("26 giorni, 3 marzo 2026.", &["26", "3", "2026"]);
    }

    #[test]
    fn codes_and_addresses_stay_whole() {
        assert!(facts("errore E4021 su 10.20.0.15:5432").contains("e4021"));
        assert!(facts("errore E4021 su 10.20.0.15:5432").contains("10.20.0.15:5432"));
        assert!(!facts("10.20.0.15").contains("10200015"));
    }

    #[test]
    fn negation_is_seen_in_both_languages() {
        assert!(negates("Le ferie non si pagano.", Language::Italian));
        assert!(!negates("Le ferie si pagano.", Language::Italian));
        assert!(negates("You can’t share it", Language::English));
        assert!(!negates("Note the number", Language::English));
    }
}
