//! The part of a passage that answers best, word for word.

use std::ops::Range;

use super::check::Embed;
use crate::domain::{Passage, sentences};
use crate::retrieval::{RetrievalError, terms};

/// Characters of a quote, roughly: sentences are not cut.
const QUOTE_CHARS: usize = 280;
/// Sentences of a passage that are compared with the question.
const SENTENCES_MAX: usize = 24;

/// A stretch of whole sentences.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Quote {
    pub text: String,
    /// How well its best sentence fits the question; comparable between passages of one question.
    pub fit: f32,
}

/// Picks the stretch of `passage` that fits the question best. `question_vector`: the question, embedded.
///
/// # Errors
/// From the embedder.
pub(super) fn best_quote(
    question: &str,
    question_vector: &[f32],
    passage: &Passage,
    embed: &Embed<'_>,
) -> Result<Quote, RetrievalError> {
    let text = &passage.text;
    let bounds: Vec<Range<usize>> =
        sentences(text).into_iter().filter(|range| says_something(&text[range.clone()])).collect();
    if bounds.is_empty() {
        return Ok(Quote { text: text.trim().to_owned(), fit: 0.0 });
    }
    let considered = &bounds[..bounds.len().min(SENTENCES_MAX)];
    let asked = terms(question, passage.language);
    let texts: Vec<String> = considered.iter().map(|range| text[range.clone()].trim().to_owned()).collect();
    let vectors = embed(&texts)?;
    let fits: Vec<f32> = texts
        .iter()
        .zip(&vectors)
        .map(|(sentence, vector)| {
            let cosine: f32 = vector.iter().zip(question_vector).map(|(a, b)| a * b).sum();
            let words = terms(sentence, passage.language);
            let common = asked.iter().filter(|term| words.contains(term)).count();
            let overlap = if asked.is_empty() { 0.0 } else { common as f32 / asked.len() as f32 };
            // Cosines of e5 lie between 0.7 and 1: the factor brings both to the same range.
            3.0 * (cosine - 0.7) + overlap
        })
        .collect();
    let best = (0..fits.len()).max_by(|&a, &b| fits[a].total_cmp(&fits[b])).unwrap_or(0);
    let (first, last) = widen(text, &bounds, best);
    Ok(Quote { text: text[bounds[first].start..bounds[last].end].trim().to_owned(), fit: fits[best] })
}

/// A heading line, a rule or a table's separator row is no quote.
fn says_something(sentence: &str) -> bool {
    let sentence = sentence.trim();
    !sentence.starts_with('#') && sentence.chars().filter(|c| c.is_alphabetic()).count() >= 3
}

/// Takes in the sentences after the best one, then those before it, while they fit: lists need what follows their
/// colon and all their items, pronouns what precedes them.
fn widen(text: &str, bounds: &[Range<usize>], best: usize) -> (usize, usize) {
    let (mut first, mut last) = (best, best);
    let length = |first: usize, last: usize| bounds[last].end - bounds[first].start;
    while last + 1 < bounds.len() && length(first, last + 1) <= QUOTE_CHARS && continues(text, bounds, last) {
        last += 1;
    }
    while first > 0 && length(first - 1, last) <= QUOTE_CHARS && continues(text, bounds, first - 1) {
        first -= 1;
    }
    (first, last)
}

/// Whether the next sentence belongs to this one: a list after a colon, the next item, or the same paragraph.
fn continues(text: &str, bounds: &[Range<usize>], at: usize) -> bool {
    let (this, next) = (text[bounds[at].clone()].trim(), text[bounds[at + 1].clone()].trim());
    let gap = &text[bounds[at].end.min(bounds[at + 1].start)..bounds[at + 1].start];
    let between = format!("{}{gap}", &text[bounds[at].clone()][text[bounds[at].clone()].trim_end().len()..]);
    this.ends_with(':') || (is_item(this) && is_item(next)) || !between.contains("\n\n")
}

fn is_item(sentence: &str) -> bool {
    let after_digits = sentence.trim_start_matches(|c: char| c.is_ascii_digit());
    sentence.starts_with("- ")
        || sentence.starts_with("* ")
        || (after_digits.len() < sentence.len() && after_digits.starts_with(['.', ')']))
}
