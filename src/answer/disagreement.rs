//! Where two documents tell different figures of the same thing. Neither is left out: the reader decides.

use std::ops::Range;

use super::address::is_for_the_model;
use super::claims::Claims;
use crate::domain::{Passage, sentences};
use crate::retrieval::Hit;

/// What another document says instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Otherwise<'a> {
    pub passage: &'a Passage,
    /// Its sentence, word for word.
    pub quote: &'a str,
}

/// The first hit of another document in the same language with a sentence that says what one of `quote` does, but for
/// how much.
pub(super) fn disagreement<'a>(quote: &str, quoted: &Passage, hits: &'a [Hit]) -> Option<Otherwise<'a>> {
    let language = quoted.language;
    let of_sentences = |text: &str| -> Vec<(Range<usize>, Claims)> {
        let claims = |range: Range<usize>| (range.clone(), Claims::of(&text[range], language));
        sentences(text).into_iter().map(claims).collect()
    };
    let said: Vec<Claims> = of_sentences(quote).into_iter().map(|(_, claims)| claims).collect();
    if !said.iter().any(Claims::counts_anything) {
        return None;
    }
    let place = |passage: &Passage| Claims::of(&format!("{} {}", passage.title, passage.heading()), language);
    let quoted_place = place(quoted);
    let is_comparable = |passage: &&Passage| {
        passage.language == language
            && !passage.is_of_document_of(quoted)
            && place(passage).is_about_the_names_of(&quoted_place)
    };
    hits.iter().flat_map(Hit::joined).map(|hit| &hit.passage).filter(is_comparable).find_map(|passage| {
        let text = passage.text.as_str();
        let differs = |(range, other): &(Range<usize>, Claims)| {
            said.iter().any(|said| said.differs_in_figures(other)) && !is_for_the_model(&text[range.clone()])
        };
        let (range, _) = of_sentences(text).into_iter().find(differs)?;
        Some(Otherwise { passage, quote: text[range].trim() })
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
        let found = disagreement(LEAVE, &quoted.passage, &hits);
        assert_eq!(found, expect.map(|quote| Otherwise { passage: &hits[1].passage, quote }), "{other:?}");
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
