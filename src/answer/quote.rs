//! The part of a passage that answers best, word for word.

use std::ops::Range;

use super::address::is_for_the_model;
use crate::domain::{Passage, sentences};
use crate::retrieval::{AskedWords, Hit, HitPart};

/// Characters of a quote, roughly: sentences are not cut.
const QUOTE_CHARS: usize = 320;
/// What the question's words in a part count, against its cosine.
const WORDS: f32 = 0.3;
/// Letters that a sentence needs to say anything, and those that it needs beside its links to other documents.
const LETTERS_MIN: usize = 3;
const BESIDE_LINKS_MIN: usize = 20;

/// A stretch of whole sentences.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Quote<'a> {
    /// Where it stands.
    pub passage: &'a Passage,
    pub text: &'a str,
    /// How well its best part fits the question; comparable between hits of one question.
    pub fit: f32,
}

impl<'a> Quote<'a> {
    /// The stretch of a hit's own passage that fits the question best. Those that continue it were found to fit worse, though one
    /// of their sentences may repeat the question's words.
    pub fn of(hit: &'a Hit, asked: &AskedWords) -> Self {
        let text = hit.passage.text.as_str();
        let bounds: Vec<Range<usize>> =
            sentences(text).into_iter().filter(|range| says_something(&text[range.clone()])).collect();
        let share = |range: &Range<usize>| asked.share_in(&text[range.clone()], hit.passage.language);
        let parts = hit.parts.iter().filter_map(|HitPart { range, cosine }| {
            let first = bounds.iter().position(|sentence| contains(range, sentence))?;
            let goes_on = |&at: &usize| contains(range, &bounds[at]) && !skips(text, &bounds, at - 1);
            let last = (first + 1..bounds.len()).take_while(goes_on).last().unwrap_or(first);
            Some((first, last, cosine + WORDS * share(range)))
        });
        let Some((mut first, mut last, fit)) = parts.max_by(|a, b| a.2.total_cmp(&b.2)) else {
            let lines: Vec<&str> = text.lines().filter(|line| !is_for_the_model(line)).collect();
            let all =
                if lines.len() == text.lines().count() { text } else { lines.first().copied().unwrap_or_default() };
            return Quote { passage: &hit.passage, text: all.trim(), fit: 0.0 };
        };
        if bounds[last].end - bounds[first].start > QUOTE_CHARS {
            let best = (first..=last).rev().max_by(|&a, &b| share(&bounds[a]).total_cmp(&share(&bounds[b])));
            (first, last) = best.map_or((first, last), |best| (best, best));
        }
        let (first, last) = widen(text, &bounds, first, last);
        Quote { passage: &hit.passage, text: text[bounds[first].start..bounds[last].end].trim(), fit }
    }
}

fn contains(range: &Range<usize>, inner: &Range<usize>) -> bool {
    range.start <= inner.start && inner.end <= range.end
}

/// A heading line, a rule, a table's separator row or a mere pointer to another document ("Italian version: …") is no
/// quote, and neither is what is meant for a model.
fn says_something(sentence: &str) -> bool {
    let sentence = sentence.trim();
    let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).count();
    let points = without_links(sentence).is_some_and(|rest| letters(&rest) < BESIDE_LINKS_MIN && !is_item(sentence));
    letters(sentence) >= LETTERS_MIN && !points && !is_for_the_model(sentence) && !sentence.starts_with('#')
}

/// What a sentence says beside its Markdown links to other documents; `None`: it has none, or leads somewhere else.
fn without_links(sentence: &str) -> Option<String> {
    let mut beside = String::new();
    let mut rest = sentence;
    while let Some(middle) = rest.find("](") {
        let open = rest[..middle].rfind('[')?;
        let close = middle + rest[middle..].find(')')?;
        if rest[middle..close].contains(':') {
            return None;
        }
        beside.push_str(&rest[..open]);
        rest = &rest[close + 1..];
    }
    (rest.len() < sentence.len()).then(|| beside + rest)
}

/// Takes in the sentences after the best one, then those before it, while they fit: lists need what follows their
/// colon and all their items, pronouns what precedes them.
fn widen(text: &str, bounds: &[Range<usize>], mut first: usize, mut last: usize) -> (usize, usize) {
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
    if skips(text, bounds, at) {
        return false;
    }
    let gap = &text[bounds[at].end.min(bounds[at + 1].start)..bounds[at + 1].start];
    let between = format!("{}{gap}", &text[bounds[at].clone()][text[bounds[at].clone()].trim_end().len()..]);
    this.ends_with(':') || (is_item(this) && is_item(next)) || !between.contains("\n\n")
}

/// Whether something that is no quote stands between a sentence and the next.
fn skips(text: &str, bounds: &[Range<usize>], at: usize) -> bool {
    text.get(bounds[at].end..bounds[at + 1].start).is_some_and(|gap| gap.chars().any(char::is_alphanumeric))
}

fn is_item(sentence: &str) -> bool {
    let after_digits = sentence.trim_start_matches(|c: char| c.is_ascii_digit());
    sentence.starts_with("- ")
        || sentence.starts_with("* ")
        || (after_digits.len() < sentence.len() && after_digits.starts_with(['.', ')']))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hit with a part for each cosine, as long as a line.
    fn hit(text: &str, cosines: &[f32]) -> Hit {
        let mut at = 0;
        let lines = text.split_inclusive('\n').map(|line| {
            at += line.len();
            at - line.len()..at
        });
        let parts = lines.zip(cosines).map(|(range, &cosine)| HitPart { range, cosine }).collect();
        Hit { parts, ..Hit::of("a.md", text) }
    }

    #[test]
    fn the_part_that_fits_best_is_quoted() {
        let text = "Ask for leave on the portal.\n\nStaff have 26 days of leave.\n\nThe office closes in August.\n";
        let leave = hit(text, &[0.1, 0.0, 0.6, 0.0, 0.2]);
        let quote = Quote::of(&leave, &AskedWords::default());
        assert_eq!(quote, Quote { passage: &leave.passage, text: "Staff have 26 days of leave.", fit: 0.6 });
    }

    #[test]
    fn pointers_headings_and_rules_say_nothing() {
        for (sentence, expect) in [
            ("# Leave", false),
            ("|---|---|", false),
            ("Italian version: [Ferie](../it/ferie.md).", false),
            ("See [the rules](a.md) and [the form](b.md).", false),
            ("- [Form A](a.pdf)", true),
            ("Ask on [the HR portal](https://hr.example).", true),
            ("Write to [HR](mailto:hr@acme.example).", true),
            ("Staff have 26 days.", true),
            ("What is asked for on [the portal](https://p.example) is approved within a day.", true),
            ("Write `f](` and read on.", true),
        ] {
            assert_eq!(says_something(sentence), expect, "{sentence}");
        }
    }
}
