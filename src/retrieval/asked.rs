//! The words of a question: how common they are, and which of them a passage holds.

use super::lexical::{Lexical, Words};
use super::pairs::TermPairs;
use super::{RetrievalError, Weights, terms};
use crate::domain::{Language, Passage};

/// A word of a question.
#[derive(Clone, Debug, PartialEq)]
pub struct AskedWord {
    /// What it is in Italian and in English passages, what it may be a slip of included: any of them will do.
    forms: [Vec<String>; 2],
    /// Passages that hold it, in the language in which more do.
    passages: usize,
    /// Whether it stands, as it is written, in any document.
    pub is_known: bool,
}

/// The words of a question in their order, function words left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AskedWords {
    words: Vec<AskedWord>,
    /// Passages of the index.
    passages: usize,
}

impl AskedWords {
    pub(super) fn of(
        text: &str,
        language: Language,
        lexical: &Lexical,
        pairs: &TermPairs,
    ) -> Result<Self, RetrievalError> {
        let weights = Weights::default();
        let asked = Words::of(text, &weights, pairs).or_in(language);
        let [italian, english] = Language::ALL.map(|language| lexical.groups(&asked, language));
        let known = lexical.known(&asked)?;
        let mut words = Vec::new();
        for ((italian, english), is_known) in italian?.into_iter().zip(english?).zip(known) {
            let forms = [italian, english].map(|group| group.into_iter().map(|(term, _)| term).collect::<Vec<_>>());
            let mut passages = 0;
            for (forms, language) in forms.iter().zip(Language::ALL) {
                for form in forms {
                    passages = passages.max(lexical.passages_with(form, language)?);
                }
            }
            words.push(AskedWord { forms, passages, is_known });
        }
        Ok(AskedWords { words, passages: lexical.count() })
    }

    /// Passages of the index that was asked.
    pub fn passages(&self) -> usize {
        self.passages
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &AskedWord> {
        self.words.iter()
    }

    /// How much it tells that a passage holds the word: 1 for one that hardly any holds, 0 for one that all do.
    pub fn rarity(&self, word: &AskedWord) -> f32 {
        let all = self.passages.max(1) as f32 + 1.0;
        (all / (word.passages as f32 + 1.0)).ln() / all.ln()
    }

    /// Which of the words stand in a passage's title, headings or text.
    pub fn held_by(&self, passage: &Passage) -> Vec<bool> {
        self.held_in(&format!("{} {} {}", passage.title, passage.heading(), passage.text), passage.language)
    }

    /// Which of the words stand in a text of this language.
    pub fn held_in(&self, text: &str, language: Language) -> Vec<bool> {
        let held = terms(text, language);
        let at = usize::from(language == Language::English);
        self.words.iter().map(|word| word.forms[at].iter().any(|form| held.contains(form))).collect()
    }

    /// Share of the words, by their rarity, that stand in a text of this language.
    pub fn share_in(&self, text: &str, language: Language) -> f32 {
        let held = self.held_in(text, language);
        let all: f32 = self.words.iter().map(|word| self.rarity(word)).sum();
        let of_text: f32 =
            self.words.iter().zip(held).filter(|(_, held)| *held).map(|(word, _)| self.rarity(word)).sum();
        if all > 0.0 { of_text / all } else { 0.0 }
    }
}
