//! From text to the terms that are indexed and looked up: elisions, stop words, folding, stemming, and codes kept exact.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use tantivy::tokenizer::{
    AsciiFoldingFilter, LowerCaser, RemoveLongFilter, SimpleTokenizer, Stemmer, StopWordFilter, TextAnalyzer, Token,
    TokenStream, Tokenizer,
};

use crate::domain::Language;

/// Longest term that is indexed, in bytes; longer ones are encoded data.
const TERM_BYTES_MAX: usize = 64;

/// Elided articles, prepositions and pronouns that the stop word list lacks (the tokenizer splits at the apostrophe),
/// and stop words as people type them without their accents.
const ITALIAN_EXTRA: &[&str] = &[
    "d", "n", "s", "t", "m", "v", "po", "quest", "quell", "bell", "sant", "senz", "cos", "com", "dov", "quand", "e",
    "perche", "cosi", "piu", "gia", "sara", "puo", "cioe", "ne", "cosa", "quale", "quali", "quando", "posso", "devo",
];

/// Question words and auxiliaries that the stop word list lacks.
const ENGLISH_EXTRA: &[&str] = &[
    "how", "what", "which", "who", "when", "where", "why", "do", "does", "did", "can", "could", "should", "would", "i",
    "my", "me", "we", "our", "you", "your", "s", "t", "m", "re", "ll", "ve", "don", "am", "get",
];

static PROSE: LazyLock<[TextAnalyzer; 2]> = LazyLock::new(|| Language::ALL.map(build_prose));

/// The analyzer of prose in a language.
pub(super) fn prose(language: Language) -> TextAnalyzer {
    let [italian, english] = &*PROSE;
    match language {
        Language::Italian => italian.clone(),
        Language::English => english.clone(),
    }
}

/// The order of the filters matters: stop words are listed with accents, stems are taken of folded words, so that
/// `citta` finds `città`.
fn build_prose(language: Language) -> TextAnalyzer {
    let (stemming, extra) = match language {
        Language::Italian => (tantivy::tokenizer::Language::Italian, ITALIAN_EXTRA),
        Language::English => (tantivy::tokenizer::Language::English, ENGLISH_EXTRA),
    };
    let stop_words = StopWordFilter::new(stemming).unwrap_or_else(|| StopWordFilter::remove([]));
    TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(TERM_BYTES_MAX))
        .filter(LowerCaser)
        .filter(stop_words)
        .filter(AsciiFoldingFilter)
        .filter(StopWordFilter::remove(extra.iter().map(|word| (*word).to_owned())))
        .filter(Stemmer::new(stemming))
        .build()
}

/// The analyzer of what must match to the letter: codes, paths, addresses, error names.
pub(super) fn exact() -> TextAnalyzer {
    TextAnalyzer::builder(CodeTokenizer).build()
}

/// The distinct terms of a text in a language, in order of first appearance.
pub fn terms(text: &str, language: Language) -> Vec<String> {
    distinct(prose(language), text)
}

/// The distinct terms of a text in a language, each with what its word is in the other one; in order of first appearance.
pub(super) fn terms_with_other(text: &str, language: Language) -> Vec<(String, Option<String>)> {
    let places = |language: Language| {
        let mut analyzer = prose(language);
        let mut stream = analyzer.token_stream(text);
        let mut terms = Vec::new();
        while let Some(token) = stream.next() {
            terms.push((token.offset_from, token.text.clone()));
        }
        terms
    };
    let others: HashMap<usize, String> = places(language.other()).into_iter().collect();
    let mut seen = HashSet::new();
    let distinct = places(language).into_iter().filter(|(_, term)| seen.insert(term.clone()));
    distinct.map(|(place, term)| (term, others.get(&place).cloned())).collect()
}

/// The distinct codes of a text, in lower case.
pub fn codes(text: &str) -> Vec<String> {
    distinct(exact(), text)
}

fn distinct(mut analyzer: TextAnalyzer, text: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut stream = analyzer.token_stream(text);
    let mut terms = Vec::new();
    while let Some(token) = stream.next() {
        if seen.insert(token.text.clone()) {
            terms.push(token.text.clone());
        }
    }
    terms
}

/// Keeps the words between white space that look like codes: with a digit, with punctuation inside, or in capitals.
#[derive(Clone)]
struct CodeTokenizer;

struct CodeStream {
    tokens: std::vec::IntoIter<Token>,
    current: Token,
}

impl Tokenizer for CodeTokenizer {
    type TokenStream<'a> = CodeStream;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> CodeStream {
        let mut tokens = Vec::new();
        for (position, word) in text.split_whitespace().enumerate() {
            let word = word.trim_matches(|c: char| !c.is_alphanumeric() && !matches!(c, '/' | '.' | '-' | '_'));
            let word = word.trim_end_matches(['.', '-']);
            if word.len() > TERM_BYTES_MAX || !looks_like_code(word) {
                continue;
            }
            let offset_from = word.as_ptr() as usize - text.as_ptr() as usize;
            tokens.push(Token {
                offset_from,
                offset_to: offset_from + word.len(),
                position,
                text: word.to_lowercase(),
                position_length: 1,
            });
        }
        CodeStream { tokens: tokens.into_iter(), current: Token::default() }
    }
}

fn looks_like_code(word: &str) -> bool {
    let letters = word.chars().filter(|c| c.is_alphabetic()).count();
    let digits = word.chars().any(|c| c.is_ascii_digit());
    let inner_punctuation = word.chars().any(|c| matches!(c, '.' | '-' | '_' | '/' | ':' | '=' | '@'));
    let capitals = letters >= 2 && word.chars().all(|c| !c.is_lowercase());
    letters + usize::from(digits) > 0 && word.len() >= 2 && (digits || inner_punctuation || capitals)
}

impl TokenStream for CodeStream {
    fn advance(&mut self) -> bool {
        match self.tokens.next() {
            Some(token) => {
                self.current = token;
                true
            }
            None => false,
        }
    }

    fn token(&self) -> &Token {
        &self.current
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(language: Language, text: &str, expect: &[&str]) {
        assert_eq!(terms(text, language), expect, "{text:?}");
    }

    #[test]
    fn elisions_articles_and_missing_accents_do_not_matter() {
        check(Language::Italian, "dell'ufficio", &["uffic"]);
        check(Language::Italian, "l’ufficio", &["uffic"]);
        check(Language::Italian, "quest'anno un'ora", &["anno", "ora"]);
        check(Language::Italian, "perche la citta", &["citt"]);
        check(Language::Italian, "perché la città è", &["citt"]);
    }

    #[test]
    fn english_words_are_stemmed_and_question_words_dropped() {
        check(Language::English, "How do I reset my passwords?", &["reset", "password"]);
    }

    #[test]
    fn codes_are_kept_whole() {
        assert_eq!(
            codes("Error E4021: ECONNREFUSED 10.20.0.15:5432, see /etc/fstab and apt-get. The end."),
            ["e4021", "econnrefused", "10.20.0.15:5432", "/etc/fstab", "apt-get"]
        );
    }
}
