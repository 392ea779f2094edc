//! What a sentence says, in the parts that may not change on the way from a passage to an answer: its numbers, dates, codes,
//! units, names and denials, and its words. Italian and English writing are brought to one form.

mod numbers;
mod units;

use std::collections::HashSet;

use crate::domain::Language;
use crate::retrieval::{codes, terms};
pub use numbers::facts;
use numbers::spelled;
use units::{Unit, counted, unit};

/// Words after a denial among which is what it denies: "non si può più usare".
const DENIED_WITHIN: usize = 4;
/// Letters from which on a word in capitals is a name.
const NAME_LETTERS_MIN: usize = 2;
/// Words, figures aside, of the shorter one of two sentences about the same thing: how many, and as a share of the longer
/// one's.
const COMMON_WORDS_MIN: usize = 3;
const COMMON_SHARE_MIN: f32 = 0.7;

#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    /// Stemmed words, function words left out.
    pub terms: HashSet<String>,
    /// The first of them, mostly what the sentence is about.
    pub first: Option<String>,
    /// Numbers, months and codes with digits.
    pub facts: HashSet<String>,
    /// All words in lower case, as they are written.
    words: HashSet<String>,
    /// Names and codes without digits, in lower case: words in capitals that do not begin the sentence.
    names: HashSet<String>,
    /// Characters that plain prose has no need of: of links, mentions and markup, and those that nobody sees.
    marks: HashSet<char>,
    counted: HashSet<(String, Unit)>,
    units: HashSet<Unit>,
    /// The terms that a denial stands before.
    denied: HashSet<String>,
    /// Whether it denies anything.
    pub denies: bool,
}

impl Claims {
    /// Of one sentence.
    pub fn of(text: &str, language: Language) -> Self {
        let words = words(text);
        let lower: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        let denials: Vec<usize> = (0..lower.len()).filter(|&at| denies(lower[at], language)).collect();
        let denied = denials.iter().filter_map(|&at| {
            let end = lower.len().min(at + 1 + DENIED_WITHIN);
            lower[at + 1..end].iter().find_map(|word| terms(word, language).pop())
        });
        let terms_in_order = terms(text, language);
        Claims {
            first: terms_in_order.first().cloned(),
            terms: terms_in_order.into_iter().collect(),
            facts: facts(text),
            names: names(text, &words),
            marks: text.chars().filter(|c| is_mark(*c)).collect(),
            counted: counted(&lower).into_iter().collect(),
            units: lower.iter().filter_map(|word| unit(word)).collect(),
            denied: denied.collect(),
            denies: !denials.is_empty(),
            words: lower.iter().flat_map(|word| parts(word)).map(str::to_owned).collect(),
        }
    }

    /// How many words, numbers and codes it holds.
    pub fn content(&self) -> usize {
        self.terms.len() + self.facts.len()
    }

    pub fn counts_anything(&self) -> bool {
        !self.counted.is_empty()
    }

    /// Whether both say the same thing of the same, but for how much it is: other numbers of the same units.
    pub fn differs_in_figures(&self, other: &Claims) -> bool {
        let units = |claims: &Claims| claims.counted.iter().map(|(_, unit)| *unit).collect::<HashSet<Unit>>();
        let plain = |claims: &Claims| {
            let is_figure = |term: &String| term.chars().any(|c| c.is_ascii_digit()) || spelled(term).is_some();
            claims.terms.iter().filter(|term| !is_figure(term)).cloned().collect::<HashSet<String>>()
        };
        let of_unit = |claims: &Claims, unit: Unit| {
            claims.counted.iter().filter(|(_, of)| *of == unit).map(|(value, _)| value.clone()).collect::<HashSet<_>>()
        };
        let same_units = units(self);
        if same_units != units(other) || self.denies != other.denies || !self.is_about_the_names_of(other) {
            return false;
        }
        let (own, others) = (plain(self), plain(other));
        let (fewer, more) = if own.len() < others.len() { (own, others) } else { (others, own) };
        // One may leave something out; another word in its place makes it another thing.
        fewer.len() >= COMMON_WORDS_MIN
            && fewer.len() as f32 >= COMMON_SHARE_MIN * more.len() as f32
            && fewer.is_subset(&more)
            && same_units.into_iter().any(|unit| of_unit(self, unit).is_disjoint(&of_unit(other, unit)))
    }

    /// Whether both have the same names, codes, months and numbers that count nothing: a year or a place makes it another thing.
    pub fn is_about_the_names_of(&self, other: &Claims) -> bool {
        let subject = |claims: &Claims| {
            let is_counted = |fact: &String| claims.counted.iter().any(|(value, _)| value == fact);
            let facts = claims.facts.iter().filter(|fact| !is_counted(fact));
            facts.chain(&claims.names).cloned().collect::<HashSet<String>>()
        };
        subject(self) == subject(other)
    }

    /// Whether these sentences hold all that this one names and counts, and all its marks, and deny what it denies; `above`: what may be used with
    /// any of them.
    pub fn agree_with(&self, sources: &[&Claims], above: &Claims) -> bool {
        let any = |holds: &dyn Fn(&Claims) -> bool| sources.iter().any(|source| holds(source));
        let named = |name: &String| {
            parts(name).all(|part| any(&|source| source.words.contains(part)) || above.words.contains(part))
        };
        let is_counted = |counted: &(String, Unit)| {
            let (value, unit) = counted;
            let otherwise = any(&|source| source.counted.iter().any(|(of, _)| of == value));
            any(&|source| source.counted.contains(counted))
                || (!otherwise && (any(&|source| source.units.contains(unit)) || above.units.contains(unit)))
        };
        let as_denied = |term: &String| {
            let is_there = any(&|source| source.terms.contains(term));
            let is_denied = any(&|source| source.denied.contains(term));
            !is_there || self.denied.contains(term) == is_denied
        };
        let is_there = |mark: &char| any(&|source| source.marks.contains(mark)) || above.marks.contains(mark);
        self.marks.iter().all(is_there)
            && self.names.iter().all(named)
            && self.counted.iter().all(is_counted)
            && self.terms.iter().all(as_denied)
    }
}

/// The words of a text without the punctuation around them.
fn words(text: &str) -> Vec<&str> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '%' | '€' | '$' | '/');
    text.split_whitespace().map(|word| word.trim_matches(|c| !is_part(c))).filter(|word| !word.is_empty()).collect()
}

/// A word, and what its punctuation divides it into: `l'Aquila`, `salva/apri`.
fn parts(word: &str) -> impl Iterator<Item = &str> {
    word.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty())
}

fn names(text: &str, words: &[&str]) -> HashSet<String> {
    let is_name =
        |part: &&str| part.chars().next().is_some_and(char::is_uppercase) && part.chars().count() >= NAME_LETTERS_MIN;
    // Months and days of the week are facts, which both languages have in common.
    let capitals = words.iter().skip(1).flat_map(|word| parts(word)).filter(is_name);
    let capitals = capitals.filter(|part| spelled(part).is_none()).map(str::to_lowercase);
    let codes = codes(text).into_iter().filter(|code| !code.chars().any(|c| c.is_ascii_digit()));
    capitals.chain(codes).collect()
}

fn is_mark(c: char) -> bool {
    const OF_PROSE: &str = ".,;:!?'\"’‘“”«»()-–—…%€$&/*_+°";
    !c.is_alphanumeric() && !c.is_whitespace() && !OF_PROSE.contains(c)
}

/// Whether a word, in lower case, denies something.
fn denies(word: &str, language: Language) -> bool {
    const ITALIAN: &[&str] = &[
        "non", "mai", "senza", "né", "nessun", "nessuno", "nessuna", "vietato", "vietata", "vietati", "vietate",
        "niente", "nulla", "nemmeno", "neanche", "neppure", "proibito", "proibita", "salvo", "tranne", "eccetto",
    ];
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
        "except",
        "nobody",
        "nothing",
        "prohibited",
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
    let word = word.replace('’', "'");
    let is_one = |word: &str| words.contains(&word);
    is_one(&word) || word.ends_with("n't") || parts(&word).any(is_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(said: &str, source: &str, expect: bool) {
        let language = if source.contains(" the ") { Language::English } else { Language::Italian };
        let (said, source) = (Claims::of(said, language), Claims::of(source, language));
        assert_eq!(said.agree_with(&[&source], &Claims::default()), expect, "{said:?}");
    }

    #[test]
    fn figures_differ_when_all_the_rest_is_the_same() {
        let differs = |one: &str, other: &str| {
            Claims::of(one, Language::Italian).differs_in_figures(&Claims::of(other, Language::Italian))
        };
        let leave = "Chi lavora a tempo pieno ha 26 giorni di ferie all'anno.";
        assert!(differs(leave, "Chi lavora a tempo pieno ha 24 giorni di ferie all'anno."));
        assert!(!differs(leave, leave));
        assert!(!differs(leave, "Chi lavora a tempo pieno ha 26 giorni all'anno di ferie."));
        assert!(!differs(leave, "Chi lavora a tempo pieno ha 24 ore di ferie all'anno."));
        assert!(!differs(leave, "Chi lavora a tempo pieno a Torino ha 24 giorni di ferie all'anno."));
        assert!(!differs(leave, "Nel 2024 chi lavora a tempo pieno ha 24 giorni di ferie all'anno."));
        assert!(differs(leave, "Chi lavora a tempo pieno ha di norma 24 giorni di ferie all'anno."));
        assert!(!differs(leave, "Chi lavora a tempo parziale ha 13 giorni di ferie all'anno."));
        assert!(!differs(leave, "Chi parte per una trasferta ha 24 giorni di preavviso all'anno."));
    }

    #[test]
    fn names_may_not_change() {
        let source = "Le ferie di Anna le approva il direttore di Torino.";
        check("Il direttore di Torino approva le ferie.", source, true);
        check("Il direttore di Milano approva le ferie.", source, false);
        check(
            "Choose Tools - Options, then the Security tab.",
            "On the menu Tools choose Options, tab Security.",
            true,
        );
        check(
            "Choose Tools - Macros, then the Security tab.",
            "On the menu Tools choose Options, tab Security.",
            false,
        );
    }

    #[test]
    fn marks_may_not_be_added() {
        let marked = "Il direttore di Torino approva le ferie <entro> il mese.";
        let source = "Il direttore di Torino approva le ferie entro il mese.";
        check("Il direttore di Torino approva le ferie <entro> il mese.", marked, true);
        check("Il direttore di Torino approva le ferie <!channel>.", source, false);
        check("Il direttore di Torino approva le fe\u{200b}rie.", source, false);
        check("Il direttore di Torino approva le ferie https://evil.example", source, false);
    }

    #[test]
    fn units_may_not_change() {
        let source = "Il rimborso arriva entro 30 giorni e copre 50 euro.";
        check("Il rimborso arriva entro 30 giorni.", source, true);
        check("Il rimborso arriva entro 30 ore.", source, false);
        check("Il rimborso copre € 50.", source, true);
        check("Il rimborso copre 50 giorni.", source, false);
    }

    #[test]
    fn what_is_denied_may_not_change() {
        let source = "Le ore non usate non si pagano e si possono recuperare.";
        check("Le ore non usate si possono recuperare.", source, true);
        check("Le ore non usate si pagano.", source, false);
        check("Le ore non usate non si possono recuperare.", source, false);
        check("You can share the password.", "You can’t share the password.", false);
        check("You cannot share the password.", "You can’t share the password.", true);
    }

    #[test]
    fn what_is_denied_is_seen_in_both_languages() {
        assert!(Claims::of("Le ferie non si pagano.", Language::Italian).denies);
        assert!(!Claims::of("Le ferie si pagano.", Language::Italian).denies);
        assert!(Claims::of("You can’t share it", Language::English).denies);
        assert!(!Claims::of("Note the number", Language::English).denies);
    }
}
