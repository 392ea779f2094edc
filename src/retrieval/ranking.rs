//! The order in which hits are shown: copies folded, newer versions first, passages that continue each other joined.

use super::search::{Hit, SearchQuery};
use super::terms;

/// Share of common terms from which on two passages in one language say the same.
const DUPLICATE_OVERLAP: f32 = 0.9;
/// Share of common terms from which on they are two versions of a text.
const VERSION_OVERLAP: f32 = 0.6;
/// Versions whose scores differ by no more come in the order of their dates, the newer one first.
const VERSION_TIE: f32 = 0.05;
/// Passages that are joined to one hit beside its own.
const NEIGHBOURS_MAX: usize = 2;
/// Share of a hit's score that a neighbour must have by itself to be joined to it.
const NEIGHBOUR_SCORE: f32 = 0.6;

/// The hits in their order, without those that say the same as another one in the same language; as many of each document
/// as the query wants come before the rest. Of what says the same, or nearly, the newest counts, at the better one's place.
/// A passage that goes on where a better one ends, or before it begins, is joined to that one.
pub(super) struct Ranking<'a> {
    query: &'a SearchQuery,
    first: Vec<Ranked>,
    later: Vec<Ranked>,
}

struct Ranked {
    hit: Hit,
    /// Of its own passage; sorted.
    terms: Vec<String>,
    /// Of the passages that were joined to it.
    of_neighbours: Vec<Vec<String>>,
}

impl Ranked {
    fn new(hit: Hit) -> Self {
        let mut terms = terms(&hit.passage.text, hit.passage.language);
        terms.sort_unstable();
        Ranked { hit, terms, of_neighbours: Vec::new() }
    }

    /// Jaccard index of the terms; 0 for another language.
    fn overlap(&self, other: &Ranked) -> f32 {
        let same_language = self.hit.passage.language == other.hit.passage.language;
        if same_language { overlap(&self.terms, &other.terms) } else { 0.0 }
    }

    /// Whether a passage that was joined to this one says the same.
    fn is_said_beside(&self, other: &Ranked) -> bool {
        let same_language = self.hit.passage.language == other.hit.passage.language;
        same_language && self.of_neighbours.iter().any(|terms| overlap(terms, &other.terms) >= DUPLICATE_OVERLAP)
    }

    /// Whether both documents tell their day, and this one's is later.
    fn is_newer_than(&self, other: &Ranked) -> bool {
        self.hit.passage.date.zip(other.hit.passage.date).is_some_and(|(own, other)| own > other)
    }
}

impl<'a> Ranking<'a> {
    pub(super) fn new(query: &'a SearchQuery) -> Self {
        Ranking { query, first: Vec::new(), later: Vec::new() }
    }

    /// Nothing that follows can be among the hits.
    pub(super) fn is_full(&self) -> bool {
        self.first.len() >= self.query.top
    }

    pub(super) fn push(&mut self, hit: Hit) {
        let ranked = Ranked::new(hit);
        let mut known = self.first.iter_mut().chain(&mut self.later);
        if let Some(same) = known.find(|other| ranked.overlap(other) >= DUPLICATE_OVERLAP) {
            if ranked.is_newer_than(same) {
                let score = same.hit.score;
                *same = ranked;
                same.hit.score = score;
            }
            return;
        }
        if self.first.iter().chain(&self.later).any(|better| better.is_said_beside(&ranked)) {
            return;
        }
        let mut known = self.first.iter_mut().chain(&mut self.later);
        if let Some(better) = known.find(|better| better.hit.is_continued_by(&ranked.hit)) {
            better.hit.join(ranked.hit);
            better.of_neighbours.push(ranked.terms);
            return;
        }
        let passage = &ranked.hit.passage;
        let of_document = self.first.iter().filter(|other| other.hit.passage.is_of_document_of(passage)).count();
        let list = if of_document < self.query.per_document { &mut self.first } else { &mut self.later };
        list.push(ranked);
    }

    pub(super) fn into_hits(mut self) -> Vec<Hit> {
        self.first.append(&mut self.later);
        self.first.truncate(self.query.top);
        newest_version_first(&mut self.first);
        self.first.into_iter().map(|ranked| ranked.hit).collect()
    }
}

impl Hit {
    /// Whether the passage of a hit that scores no better stands right after it or before it, in its section.
    fn is_continued_by(&self, other: &Hit) -> bool {
        let ordinal = |hit: &Hit| hit.passage.ordinal;
        let follows = |after: &Hit, before: &Hit| ordinal(after) == ordinal(before) + 1 && after.follows.is_some();
        self.neighbours.len() < NEIGHBOURS_MAX
            && other.score >= NEIGHBOUR_SCORE * self.score
            && other.passage.is_of_document_of(&self.passage)
            && other.passage.headings == self.passage.headings
            && other.passage.language == self.passage.language
            && self.joined().any(|own| follows(other, own) || follows(own, other))
    }

    fn join(&mut self, other: Hit) {
        let at = self.neighbours.partition_point(|own| own.passage.ordinal < other.passage.ordinal);
        self.neighbours.insert(at, other);
    }
}

/// Moves the newer one of two versions before the older one, with its score, if their scores are as good as the same.
fn newest_version_first(ranked: &mut [Ranked]) {
    for at in 0..ranked.len() {
        let older = &ranked[at];
        let score = older.hit.score;
        let newest = (at + 1..ranked.len())
            .filter(|&other| score - ranked[other].hit.score <= VERSION_TIE)
            .filter(|&other| ranked[other].is_newer_than(older) && ranked[other].overlap(older) >= VERSION_OVERLAP)
            .rev()
            .max_by_key(|&other| ranked[other].hit.passage.date);
        if let Some(newest) = newest {
            ranked[newest].hit.score = score;
            ranked[at..=newest].rotate_right(1);
        }
    }
}

/// Jaccard index of two sorted lists of distinct terms.
fn overlap(a: &[String], b: &[String]) -> f32 {
    let common = a.iter().filter(|term| b.binary_search(term).is_ok()).count();
    let union = a.len() + b.len() - common;
    if union == 0 { 1.0 } else { common as f32 / union as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Language;

    fn hit(path: &str, text: &str, score: f32, date: Option<&str>) -> Hit {
        let mut hit = Hit { score, ..Hit::of(path, text) };
        hit.passage.date = date.map(|date| date.parse().expect("a day"));
        hit
    }

    fn paths(hits: &[Hit]) -> Vec<&str> {
        hits.iter().map(|hit| hit.passage.path.as_str()).collect()
    }

    fn ranked(hits: Vec<Hit>) -> Vec<Hit> {
        let query = SearchQuery::new("", 10);
        let mut ranking = Ranking::new(&query);
        hits.into_iter().for_each(|hit| ranking.push(hit));
        ranking.into_hits()
    }

    const LEAVE: &str = "Full time staff have 26 days of annual leave, asked for ten days ahead on the portal.";
    const LEAVE_BEFORE: &str = "Full time staff have 24 days of annual leave, asked for ten days ahead by mail.";
    const TRAVEL: &str = "Trips above EUR 500 are approved by the lead before anything is booked.";

    #[test]
    fn of_what_says_the_same_the_newest_is_shown() {
        let hits = vec![
            hit("2024", LEAVE, 0.6, Some("2024-05-01")),
            hit("2026", LEAVE, 0.5, Some("2026-05-01")),
            hit("undated", LEAVE, 0.4, None),
        ];
        let ranked = ranked(hits);
        assert_eq!(paths(&ranked), ["2026"]);
        assert_eq!(ranked[0].score, 0.6);
    }

    #[test]
    fn of_two_versions_the_newer_comes_first_if_they_fit_alike() {
        let versions = |score: f32, date: Option<&'static str>| {
            vec![
                hit("old", LEAVE_BEFORE, 0.60, Some("2024-05-01")),
                hit("travel", TRAVEL, 0.59, Some("2026-06-01")),
                hit("new", LEAVE, score, date),
            ]
        };
        let new = Some("2026-05-01");
        let newer_first = ranked(versions(0.57, new));
        assert_eq!(paths(&newer_first), ["new", "old", "travel"]);
        // Whoever sorts by score finds the same order.
        assert!(newer_first.is_sorted_by(|a, b| a.score >= b.score));
        assert_eq!(paths(&ranked(versions(0.40, new))), ["old", "travel", "new"]);
        assert_eq!(paths(&ranked(versions(0.57, None))), ["old", "travel", "new"]);
    }

    /// A passage of a document of two sections, found with a score.
    fn part(ordinal: u32, follows: Option<&str>, score: f32) -> Hit {
        let text =
            ["Leave:", "26 days;", "asked for early.", "Travel by train.", "Hotels are booked."][ordinal as usize];
        let mut hit = Hit { score, follows: follows.map(str::to_owned), ..Hit::of("a.md", text) };
        hit.passage.ordinal = ordinal;
        hit.passage.headings = vec![if ordinal < 3 { "Leave" } else { "Travel" }.to_owned()];
        hit
    }

    fn joined(hits: &[Hit]) -> Vec<String> {
        hits.iter().map(Hit::joined_text).collect()
    }

    #[test]
    fn neighbours_in_a_section_become_one() {
        let section = |scores: [f32; 3]| {
            let [first, second, third] = scores;
            let parts = vec![part(0, None, first), part(1, Some("\n"), second), part(2, Some(" "), third)];
            let mut parts: Vec<Hit> = parts.into_iter().filter(|part| part.score > 0.0).collect();
            parts.sort_by(|a, b| b.score.total_cmp(&a.score));
            parts
        };
        assert_eq!(joined(&ranked(section([0.6, 0.5, 0.0]))), ["Leave:\n26 days;"]);
        assert_eq!(joined(&ranked(section([0.5, 0.6, 0.5]))), ["Leave:\n26 days; asked for early."]);
        // Two that are not beside each other stay apart, and what fits much worse is no part of it.
        assert_eq!(joined(&ranked(section([0.6, 0.0, 0.5]))), ["Leave:", "asked for early."]);
        assert_eq!(joined(&ranked(section([0.6, 0.2, 0.0]))), ["Leave:", "26 days;"]);
    }

    #[test]
    fn a_copy_of_what_was_joined_is_folded_too() {
        let copy = |ordinal, follows, score| {
            let mut hit = part(ordinal, follows, score);
            hit.passage.path = "copy.md".to_owned();
            hit
        };
        let hits =
            vec![part(1, Some("\n"), 0.6), copy(1, Some("\n"), 0.6), part(2, Some(" "), 0.5), copy(2, Some(" "), 0.5)];
        assert_eq!(joined(&ranked(hits)), ["26 days; asked for early."]);
    }

    #[test]
    fn sections_documents_and_languages_stay_apart() {
        assert_eq!(ranked(vec![part(3, None, 0.6), part(2, Some(" "), 0.5)]).len(), 2);
        assert_eq!(ranked(vec![part(2, Some(" "), 0.6), part(3, None, 0.5)]).len(), 2);
        let apart = |change: &dyn Fn(&mut Hit)| {
            let mut other = part(4, Some("\n\n"), 0.5);
            assert_eq!(ranked(vec![part(3, None, 0.6), other.clone()]).len(), 1);
            change(&mut other);
            assert_eq!(ranked(vec![part(3, None, 0.6), other]).len(), 2);
        };
        apart(&|other| other.passage.path = "b.md".to_owned());
        apart(&|other| other.passage.collection = "other".to_owned());
        apart(&|other| other.passage.headings.clear());
        apart(&|other| other.passage.language = Language::Italian);
    }
}
