//! Binds every sentence of the model to the passage that says it. The model's own citation marks decide nothing: a
//! sentence is shown when one or two neighbouring sentences of a passage hold its numbers, its codes and nearly all of
//! its words, and denies what they deny.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::facts::{facts, negates};
use crate::domain::{Language, Passage, sentences};
use crate::retrieval::{RetrievalError, terms};

/// Share of a sentence's content that its source must hold.
const COVERAGE_MIN: f32 = 0.8;
/// Cosine from which on a sentence says the same as one in the other language. Measured with multilingual-e5-small on
/// translated pairs of the sample handbook: 0.90 and more; unrelated sentences of one document stay below 0.87.
const TRANSLATION_COSINE_MIN: f32 = 0.89;

/// Embeds sentences: one vector of unit length each.
pub(super) type Embed<'a> = dyn Fn(&[String]) -> Result<Vec<Vec<f32>>, RetrievalError> + 'a;

/// Where a sentence comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Support {
    /// Number of the passage, from 1.
    pub n: usize,
    /// The sentences of the passage that say it, word for word.
    pub quote: String,
}

/// The passages that were shown to the model, ready to be compared with what it says.
pub(super) struct Checker<'a> {
    sources: Vec<Source<'a>>,
    language: Language,
    /// Vectors of the windows of passages in the other language, made when they are first needed.
    vectors: HashMap<usize, Vec<Vec<f32>>>,
}

struct Source<'a> {
    passage: &'a Passage,
    /// Terms and facts of title, headings and table header: they may be used with any sentence of the passage.
    above: Content,
    windows: Vec<Window>,
}

struct Window {
    range: Range<usize>,
    content: Content,
    /// One for each of its sentences.
    negated: Vec<bool>,
}

#[derive(Default)]
struct Content {
    terms: HashSet<String>,
    facts: HashSet<String>,
}

impl Content {
    fn of(text: &str, language: Language) -> Self {
        Content { terms: terms(text, language).into_iter().collect(), facts: facts(text) }
    }
}

impl<'a> Checker<'a> {
    /// `passages` as they are numbered in the prompt, with the text that belongs to them but stands elsewhere;
    /// `language` is the answer's.
    pub(super) fn new(passages: impl IntoIterator<Item = (&'a Passage, Option<&'a str>)>, language: Language) -> Self {
        let sources = passages.into_iter().map(|(passage, context)| Source::new(passage, context)).collect();
        Checker { sources, language, vectors: HashMap::new() }
    }

    /// The passage that says `sentence` (without citation marks); `None`: no passage does.
    ///
    /// # Errors
    /// From the embedder, which compares sentences of different languages.
    pub(super) fn support(&mut self, sentence: &str, embed: &Embed<'_>) -> Result<Option<Support>, RetrievalError> {
        let said = facts(sentence);
        let negated = negates(sentence, self.language);
        let mut best: Option<(f32, Support)> = None;
        for index in 0..self.sources.len() {
            let found = if self.sources[index].passage.language == self.language {
                self.sources[index].says(sentence, &said, negated, self.language)
            } else {
                self.translates(index, sentence, &said, embed)?
            };
            if let Some((score, range)) = found
                && best.as_ref().is_none_or(|(so_far, _)| score > *so_far)
            {
                let quote = self.sources[index].passage.text[range].trim().to_owned();
                best = Some((score, Support { n: index + 1, quote }));
            }
        }
        Ok(best.map(|(_, support)| support))
    }

    fn translates(
        &mut self,
        index: usize,
        sentence: &str,
        said: &HashSet<String>,
        embed: &Embed<'_>,
    ) -> Result<Option<(f32, Range<usize>)>, RetrievalError> {
        let source = &self.sources[index];
        if !self.vectors.contains_key(&index) {
            let texts: Vec<String> =
                source.windows.iter().map(|window| source.passage.text[window.range.clone()].to_owned()).collect();
            self.vectors.insert(index, embed(&texts)?);
        }
        let Some(vector) = embed(&[sentence.to_owned()])?.pop() else { return Ok(None) };
        let cosine = |other: &[f32]| other.iter().zip(&vector).map(|(a, b)| a * b).sum::<f32>();
        Ok(source
            .windows
            .iter()
            .zip(&self.vectors[&index])
            .filter(|(window, _)| source.holds(said, window))
            .map(|(window, other)| (cosine(other), window.range.clone()))
            .filter(|(cosine, _)| *cosine >= TRANSLATION_COSINE_MIN)
            .max_by(|a, b| a.0.total_cmp(&b.0)))
    }
}

impl<'a> Source<'a> {
    fn new(passage: &'a Passage, context: Option<&str>) -> Self {
        let language = passage.language;
        let mut above = Content::of(&format!("{} {}", passage.title, passage.heading()), language);
        if let Some(context) = context {
            let context = Content::of(context, language);
            above.terms.extend(context.terms);
            above.facts.extend(context.facts);
        }
        let bounds = sentences(&passage.text);
        let negated: Vec<bool> = bounds.iter().map(|range| negates(&passage.text[range.clone()], language)).collect();
        let window = |first: usize, last: usize| {
            let range = bounds[first].start..bounds[last].end;
            let content = Content::of(&passage.text[range.clone()], language);
            Window { range, content, negated: negated[first..=last].to_vec() }
        };
        let mut windows = Vec::with_capacity(bounds.len() * 2);
        for at in 0..bounds.len() {
            windows.push(window(at, at));
            if at + 1 < bounds.len() {
                windows.push(window(at, at + 1));
            }
        }
        Source { passage, above, windows }
    }

    fn holds(&self, said: &HashSet<String>, window: &Window) -> bool {
        said.iter().all(|fact| window.content.facts.contains(fact) || self.above.facts.contains(fact))
    }

    fn says(
        &self,
        sentence: &str,
        said: &HashSet<String>,
        negated: bool,
        language: Language,
    ) -> Option<(f32, Range<usize>)> {
        let words = terms(sentence, language);
        let mut best: Option<(f32, Range<usize>)> = None;
        for window in &self.windows {
            if words.is_empty() || !window.negated.contains(&negated) || !self.holds(said, window) {
                continue;
            }
            let inside = words.iter().filter(|word| window.content.terms.contains(*word)).count();
            let above = words
                .iter()
                .filter(|word| !window.content.terms.contains(*word) && self.above.terms.contains(*word))
                .count();
            // What only the headings say does not make a sentence true of this window.
            if inside * 2 < words.len() {
                continue;
            }
            let coverage = (inside + above) as f32 / words.len() as f32;
            // A shorter window that says as much is the better quote.
            let score = coverage + 0.001 / window.negated.len() as f32;
            if coverage >= COVERAGE_MIN && best.as_ref().is_none_or(|(so_far, _)| score > *so_far) {
                best = Some((score, window.range.clone()));
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::PassageId;

    const LEAVE: &str = "Full-time employees have 26 days of paid leave a year. Sick leave is paid for 180 days. \
                         Leave cannot be paid out. Requests go to your manager ten days before.";

    fn passage(text: &str) -> Passage {
        Passage {
            id: PassageId([0; 16]),
            path: "en/leave.md".into(),
            title: "Leave".into(),
            headings: vec!["Holidays".into()],
            anchor: None,
            language: Language::English,
            ordinal: 0,
            text: text.into(),
        }
    }

    fn no_embedding(_: &[String]) -> Result<Vec<Vec<f32>>, RetrievalError> {
        panic!("sentences of one language are compared by their words")
    }

    #[track_caller]
    fn check(sentence: &str, expect: Option<&str>) {
        let passage = passage(LEAVE);
        let mut checker = Checker::new([(&passage, None)], Language::English);
        let quote = checker.support(sentence, &no_embedding).unwrap().map(|support| support.quote);
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
    }
}
