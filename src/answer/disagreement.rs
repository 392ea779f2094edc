//! Where two documents tell different figures of the same thing. Neither is left out: the reader decides.

use std::ops::Range;

use super::address::is_for_the_model;
use super::claims::Claims;
use crate::domain::sentences;
use crate::retrieval::Hit;

/// What another document says instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Otherwise<'a> {
    /// Place of its hit.
    pub at: usize,
    /// Its sentence, word for word.
    pub quote: &'a str,
}

/// The first hit of another document in the same language with a sentence that says what one of `quote` does, but for
/// how much.
pub(super) fn disagreement<'a>(quote: &str, quoted: &Hit, hits: &'a [Hit]) -> Option<Otherwise<'a>> {
    let language = quoted.passage.language;
    let of_sentences = |text: &str| -> Vec<(Range<usize>, Claims)> {
        let claims = |range: Range<usize>| (range.clone(), Claims::of(&text[range], language));
        sentences(text).into_iter().map(claims).collect()
    };
    let said: Vec<Claims> = of_sentences(quote).into_iter().map(|(_, claims)| claims).collect();
    if !said.iter().any(Claims::counts_anything) {
        return None;
    }
    let place = |hit: &Hit| Claims::of(&format!("{} {}", hit.passage.title, hit.passage.heading()), language);
    let quoted_place = place(quoted);
    let is_comparable = |hit: &Hit| {
        hit.passage.language == language
            && !hit.passage.is_of_document_of(&quoted.passage)
            && place(hit).is_about_the_names_of(&quoted_place)
    };
    hits.iter().enumerate().filter(|(_, hit)| is_comparable(hit)).find_map(|(at, hit)| {
        let text = hit.passage.text.as_str();
        let differs = |(range, other): &(Range<usize>, Claims)| {
            said.iter().any(|said| said.differs_in_figures(other)) && !is_for_the_model(&text[range.clone()])
        };
        let (range, _) = of_sentences(text).into_iter().find(differs)?;
        Some(Otherwise { at, quote: text[range].trim() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Language;

    const LEAVE: &str = "Staff in full time have 26 days of leave a year.";

    #[track_caller]
    fn check(other: &Hit, expect: Option<&str>) {
        let quoted = Hit::of("leave.md", LEAVE);
        let hits = [quoted.clone(), other.clone()];
        let found = disagreement(LEAVE, &quoted, &hits);
        assert_eq!(found, expect.map(|quote| Otherwise { at: 1, quote }), "{other:?}");
    }

    #[test]
    fn another_document_in_the_same_language_may_disagree() {
        let otherwise = "Staff in full time have 24 days of leave a year.";
        let text = format!("Rules of the house. {otherwise} Doors close at 17.");
        let other = Hit::of("rules.md", &text);
        check(&other, Some(otherwise));
        check(&Hit::of("rules.md", LEAVE), None);
        check(&Hit::of("leave.md", &text), None);
        let with = |change: &dyn Fn(&mut Hit)| {
            let mut hit = other.clone();
            change(&mut hit);
            hit
        };
        check(&with(&|hit| hit.passage.language = Language::Italian), None);
        check(&with(&|hit| hit.passage.title = "Rules of Milan".to_owned()), None);
        check(&with(&|hit| hit.passage.title = "Rules of the house".to_owned()), Some(otherwise));
    }
}
