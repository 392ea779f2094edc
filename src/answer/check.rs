//! Binds every sentence of the model to the passage that says it. The model's own citation marks decide nothing: a
//! sentence is shown when one sentence of a passage, or two neighbours, hold its numbers, codes, units and names, nearly all of
//! its words, the first of them included, and deny what it denies.

use std::collections::HashMap;
use std::ops::Range;

use super::address::is_for_the_model;
use super::claims::Claims;
use crate::domain::{Language, LanguageDetector, Passage, PassageId, sentences};
use crate::retrieval::{RetrievalError, Searcher};

/// Share of a sentence's different words that its source must hold: one strange word is allowed from six on, because in
/// a shorter sentence it can be the subject.
const COVERAGE_MIN: f32 = 0.82;
/// Different words, numbers and codes that a sentence must hold: with fewer it says nothing, or the same word over and
/// over.
const CONTENT_MIN: usize = 3;
/// Cosine from which on a sentence says the same as one in the other language: translations have a mean of 0.90 with
/// multilingual-e5-small, other pairs 0.79 (measured on twelve passages in both languages); a garbled copy reaches 0.9.
const TRANSLATION_COSINE_MIN: f32 = 0.92;

/// Cosine from which on a part of a passage (two sentences, a row) may hold the translation of a sentence: of the sentences
/// that are translations, 98 % reach it with the part that holds theirs, of unrelated ones 1 % (168 from parallel pages).
const NEAR_COSINE_MIN: f32 = 0.84;

/// What sentences of different languages are compared by.
pub trait Meanings {
    /// One vector of unit length for each text.
    ///
    /// # Errors
    /// From the embedding model.
    fn vectors(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, RetrievalError>;

    /// Where each part of a passage stands in its text, with its cosine to `vector`; empty: the passage is gone.
    ///
    /// # Errors
    /// Errors of the index.
    fn parts_beside(&self, passage: PassageId, vector: &[f32]) -> Result<Vec<(Range<usize>, f32)>, RetrievalError>;
}

impl Meanings for Searcher {
    fn vectors(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, RetrievalError> {
        self.embedder().passages(texts)
    }

    fn parts_beside(&self, passage: PassageId, vector: &[f32]) -> Result<Vec<(Range<usize>, f32)>, RetrievalError> {
        Searcher::parts_beside(self, passage, vector)
    }
}

/// Where a sentence comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Support {
    /// Place of the passage among those that were shown, from 0.
    pub at: usize,
    /// The sentences of the passage that say it, word for word.
    pub quote: String,
}

/// The passages that were shown to the model, ready to be compared with what it says.
pub struct Checker<'a> {
    sources: Vec<Source<'a>>,
    language: Language,
    /// Of sentences in the other language, by their source and their place in it, made when they are first needed.
    vectors: HashMap<(usize, usize), Vec<f32>>,
}

struct Source<'a> {
    passage: &'a Passage,
    /// Of title, headings and table header: they may be used with any sentence of the passage.
    above: Claims,
    sentences: Vec<Sentence>,
}

struct Sentence {
    range: Range<usize>,
    claims: Claims,
}

impl<'a> Checker<'a> {
    /// `passages`, the best first, with the text that belongs to them but stands elsewhere;
    /// `language` is the answer's.
    pub fn new(passages: impl IntoIterator<Item = (&'a Passage, Option<&'a str>)>, language: Language) -> Self {
        let sources = passages.into_iter().map(|(passage, context)| Source::new(passage, context)).collect();
        Checker { sources, language, vectors: HashMap::new() }
    }

    /// The passage that says `sentence` (without citation marks); `None`: no passage does.
    ///
    /// # Errors
    /// From what compares sentences of different languages.
    pub fn support(&mut self, sentence: &str, meanings: &dyn Meanings) -> Result<Option<Support>, RetrievalError> {
        let said = Claims::of(sentence, self.language);
        if said.content() < CONTENT_MIN {
            return Ok(None);
        }
        // A model that falls into another language than the reader's has lost the thread.
        if LanguageDetector.detect(sentence).is_some_and(|language| language != self.language) {
            return Ok(None);
        }
        let (own, foreign): (Vec<usize>, Vec<usize>) =
            (0..self.sources.len()).partition(|&index| self.sources[index].passage.language == self.language);
        let said_by = |index: usize| self.sources[index].says(&said).map(|(coverage, range)| (coverage, index, range));
        // The one that says most of it, the first of equals.
        let best = own.into_iter().rev().filter_map(said_by).max_by(|a, b| a.0.total_cmp(&b.0));
        let found = match best {
            Some((_, index, range)) => Some((index, range)),
            None => self.translated(&foreign, sentence, &said, meanings)?,
        };
        Ok(found.map(|(index, range)| {
            let quote = self.sources[index].passage.text[range].trim().to_owned();
            Support { at: index, quote }
        }))
    }

    /// The sentence of these sources, which are in the other language, that says the same.
    fn translated(
        &mut self,
        foreign: &[usize],
        sentence: &str,
        said: &Claims,
        meanings: &dyn Meanings,
    ) -> Result<Option<(usize, Range<usize>)>, RetrievalError> {
        let may_say_it = |index: &usize| {
            let source = &self.sources[*index];
            source.sentences.iter().any(|sentence| source.translates(said, &sentence.claims))
        };
        let foreign: Vec<usize> = foreign.iter().copied().filter(may_say_it).collect();
        if foreign.is_empty() {
            return Ok(None);
        }
        let Some(own) = meanings.vectors(&[sentence.to_owned()])?.pop() else { return Ok(None) };
        let mut candidates: Vec<(usize, usize)> = Vec::new();
        for index in foreign {
            let source = &self.sources[index];
            // Embedding all sentences would take a tenth of a second; the parts have vectors already.
            let near = source.near(&own, meanings)?.into_iter();
            candidates
                .extend(near.filter(|&at| source.translates(said, &source.sentences[at].claims)).map(|at| (index, at)));
        }
        let unknown: Vec<(usize, usize)> =
            candidates.iter().copied().filter(|place| !self.vectors.contains_key(place)).collect();
        let texts: Vec<String> = unknown
            .iter()
            .map(|&(index, at)| {
                let source = &self.sources[index];
                source.passage.text[source.sentences[at].range.clone()].to_owned()
            })
            .collect();
        self.vectors.extend(unknown.into_iter().zip(meanings.vectors(&texts)?));
        let cosine = |other: &[f32]| other.iter().zip(&own).map(|(a, b)| a * b).sum::<f32>();
        let compared = candidates.iter().filter_map(|place| Some((cosine(self.vectors.get(place)?), *place)));
        let closest =
            compared.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(cosine, _)| *cosine >= TRANSLATION_COSINE_MIN);
        Ok(closest.map(|(_, (index, at))| (index, self.sources[index].sentences[at].range.clone())))
    }
}

impl<'a> Source<'a> {
    fn new(passage: &'a Passage, context: Option<&str>) -> Self {
        let language = passage.language;
        let above = format!("{} {} {}", passage.title, passage.heading(), context.unwrap_or_default());
        let sentence =
            |range: Range<usize>| Sentence { claims: Claims::of(&passage.text[range.clone()], language), range };
        let meant = |range: &Range<usize>| !is_for_the_model(&passage.text[range.clone()]);
        let sentences = sentences(&passage.text).into_iter().filter(meant).map(sentence).collect();
        Source { passage, above: Claims::of(&above, language), sentences }
    }

    /// The sentences that stand in a part which is near to this vector; all, if the parts are not known.
    fn near(&self, vector: &[f32], meanings: &dyn Meanings) -> Result<Vec<usize>, RetrievalError> {
        let parts = meanings.parts_beside(self.passage.id, vector)?;
        let is_near = |Sentence { range, .. }: &Sentence| {
            let mut of_it = parts.iter().filter(|(part, _)| part.start < range.end && range.start < part.end);
            parts.is_empty() || of_it.any(|(_, cosine)| *cosine >= NEAR_COSINE_MIN)
        };
        Ok((0..self.sentences.len()).filter(|&at| is_near(&self.sentences[at])).collect())
    }

    /// Whether a sentence in the other language may say the same, as far as that can be told without knowing its words.
    fn translates(&self, said: &Claims, sentence: &Claims) -> bool {
        let holds = |fact: &String| sentence.facts.contains(fact) || self.above.facts.contains(fact);
        said.denies == sentence.denies && said.facts.iter().all(holds) && said.agree_with(&[sentence], &self.above)
    }

    /// The sentence, or the two neighbours, that say it, and how completely.
    fn says(&self, said: &Claims) -> Option<(f32, Range<usize>)> {
        let alone = (0..self.sentences.len()).map(|at| &self.sentences[at..=at]);
        let pairs = (1..self.sentences.len()).map(|at| &self.sentences[at - 1..=at]);
        // What was left out between two sentences does not make them neighbours.
        let pairs = pairs.filter(|pair| {
            let gap = self.passage.text.get(pair[0].range.end..pair[1].range.start);
            !gap.is_some_and(|gap| gap.chars().any(char::is_alphanumeric))
        });
        let mut best: Option<(f32, Range<usize>)> = None;
        for window in alone.chain(pairs) {
            // Single sentences come first: two must say more to be the better quote.
            if let Some(coverage) = self.coverage(said, window)
                && best.as_ref().is_none_or(|(so_far, _)| coverage > *so_far)
            {
                best = Some((coverage, window[0].range.start..window[window.len() - 1].range.end));
            }
        }
        best
    }

    /// Share of the said words that `window` holds; `None` if it does not support what is said.
    fn coverage(&self, said: &Claims, window: &[Sentence]) -> Option<f32> {
        let count = said.terms.len();
        if count == 0 || window.iter().any(|sentence| sentence.claims.denies != said.denies) {
            return None;
        }
        let held = |sentence: &Sentence| said.terms.iter().filter(|word| sentence.claims.terms.contains(*word)).count();
        // A number belongs to its own sentence: that one must be what is talked about.
        let at_home = |fact: &String| {
            self.above.facts.contains(fact)
                || window.iter().any(|sentence| sentence.claims.facts.contains(fact) && held(sentence) * 2 >= count)
        };
        let claims: Vec<&Claims> = window.iter().map(|sentence| &sentence.claims).collect();
        if !said.facts.iter().all(at_home) || !said.agree_with(&claims, &self.above) {
            return None;
        }
        let inside = |word: &&String| claims.iter().any(|claims| claims.terms.contains(*word));
        if !said.first.iter().all(|first| inside(&first) || self.above.terms.contains(first)) {
            return None;
        }
        let in_window = said.terms.iter().filter(inside).count();
        let above = said.terms.iter().filter(|word| !inside(word) && self.above.terms.contains(*word)).count();
        // What only the headings say does not make a sentence true of this window.
        let coverage = (in_window + above) as f32 / count as f32;
        (in_window * 2 >= count && coverage >= COVERAGE_MIN).then_some(coverage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAVE: &str = "Full-time employees have 26 days of paid leave a year. Sick leave is paid for 180 days. \
                         Leave cannot be paid out. Requests go to your manager ten days before.";

    fn passage(text: &str) -> Passage {
        Passage {
            collection: "knowledge".into(),
            link: None,
            id: PassageId([0; 16]),
            path: "en/leave.md".into(),
            title: "Leave".into(),
            headings: vec!["Holidays".into()],
            anchor: None,
            date: None,
            language: Language::English,
            ordinal: 0,
            text: text.into(),
        }
    }

    struct Unneeded;

    impl Meanings for Unneeded {
        fn vectors(&self, _: &[String]) -> Result<Vec<Vec<f32>>, RetrievalError> {
            panic!("sentences of one language are compared by their words")
        }

        fn parts_beside(&self, _: PassageId, _: &[f32]) -> Result<Vec<(Range<usize>, f32)>, RetrievalError> {
            panic!("sentences of one language are compared by their words")
        }
    }

    /// Texts are alike as their letters are.
    struct Letters<'a> {
        passage: &'a Passage,
        embedded: std::cell::Cell<usize>,
    }

    impl Meanings for Letters<'_> {
        fn vectors(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, RetrievalError> {
            self.embedded.set(self.embedded.get() + texts.len());
            Ok(texts.iter().map(|text| letters(text)).collect())
        }

        fn parts_beside(&self, _: PassageId, vector: &[f32]) -> Result<Vec<(Range<usize>, f32)>, RetrievalError> {
            let beside = |range: Range<usize>| {
                let other = letters(&self.passage.text[range.clone()]);
                (range, other.iter().zip(vector).map(|(a, b)| a * b).sum())
            };
            Ok(sentences(&self.passage.text).into_iter().map(beside).collect())
        }
    }

    fn letters(text: &str) -> Vec<f32> {
        let mut counts = [0.0f32; 26];
        text.bytes()
            .filter(u8::is_ascii_alphabetic)
            .for_each(|b| counts[usize::from(b.to_ascii_lowercase() - b'a')] += 1.0);
        let length = counts.iter().map(|count| count * count).sum::<f32>().sqrt().max(f32::EPSILON);
        counts.iter().map(|count| count / length).collect()
    }

    #[track_caller]
    fn check(sentence: &str, expect: Option<&str>) {
        let passage = passage(LEAVE);
        let mut checker = Checker::new([(&passage, None)], Language::English);
        let quote = checker.support(sentence, &Unneeded).unwrap().map(|support| support.quote);
        assert_eq!(quote.as_deref(), expect, "{sentence:?}");
    }

    #[test]
    fn what_a_passage_says_is_bound_to_its_sentence() {
        check(
            "Full-time employees have 26 days of paid leave.",
            Some("Full-time employees have 26 days of paid leave a year."),
        );
        check("Leave cannot be paid out.", Some("Leave cannot be paid out."));
    }

    #[test]
    fn of_the_other_language_only_what_is_near_is_embedded() {
        let passage = passage(
            "Zigzag puzzles buzz by foggy jazz clubs up. L'ufficio di Torino apre alle otto di mattina. Kayak wax.",
        );
        let meanings = Letters { passage: &passage, embedded: 0.into() };
        let mut checker = Checker::new([(&passage, None)], Language::Italian);
        let said = "L'ufficio di Torino apre alle otto la mattina";
        let support = checker.support(said, &meanings).unwrap();
        assert_eq!(support.unwrap().quote, "L'ufficio di Torino apre alle otto di mattina.");
        assert_eq!(meanings.embedded.get(), 2);
        assert_eq!(
            checker.support("Le biciclette del magazzino restano quindi spesso fuori.", &meanings).unwrap(),
            None
        );
        assert_eq!(meanings.embedded.get(), 3);
    }

    #[test]
    fn numbers_may_not_change_or_move_to_another_sentence() {
        check("Full-time employees have 30 days of paid leave.", None);
        check("Full-time employees have 180 days of paid leave a year, managers ten.", None);
    }

    #[test]
    fn negation_may_not_change() {
        check("Leave can be paid out.", None);
    }

    #[test]
    fn what_the_passage_does_not_tell_is_refused() {
        check("The canteen opens at noon.", None);
        check("Employees get a free parking place and a bicycle.", None);
        check("", None);
        check("Leave is leave and leave.", None);
        check("The parking days are paid leave days a year.", None);
    }
}
