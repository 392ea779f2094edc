//! What the hits of a question look like, before anything is made of them.

use serde::{Deserialize, Serialize};

use crate::retrieval::{AskedWord, AskedWords, Hit, SearchQuery};

/// Hits that evidence is made of.
const DEPTH: usize = 10;
/// The hits that the best one is compared with: the ones before may hold the answer too.
const OTHERS_FROM: usize = 3;
/// Score of a hit that is not there, in a small index: what the passages of a small handbook score that have nothing to do
/// with the question (median of 60 questions).
const CROWD: f32 = 0.17;
/// Score from which on a hit is about what was asked: few answered questions have no hit that reaches it,
/// and nearly all about something else have none in a small index. A large one has something near to any question.
const RELATED: f32 = 0.25;
/// The hits whose words count.
const WORDS_OF: usize = 5;
/// Passages of an index in which a word that nobody wrote counts in full.
const PASSAGES_OF_MANY: f32 = 10_000.0;

/// What tells whether the hits of a question hold its answer; each between 0 and about 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// How far the score of the best hit stands above the mean of those from the fourth to the tenth: an answer stands
    /// out, what is only related comes in crowds.
    pub lead: f32,
    /// Share of the question's words, by their rarity, that stand in documents, but in none of the first five hits: other
    /// words for the same thing, or another thing.
    pub missing: f32,
    /// Share of those that no document holds: likely the very thing that is asked about. Less in a small index, which lacks
    /// many words.
    pub unknown: f32,
    /// How much the score of the best hit lacks to what related passages reach.
    pub shortfall: f32,
}

impl Evidence {
    /// The search whose hits are evidence.
    pub fn query(question: &str) -> SearchQuery {
        SearchQuery { per_document: 2, ..SearchQuery::new(question, DEPTH) }
    }

    /// `asked`: the question's words; `hits`: of [`Evidence::query`], more may follow.
    pub fn of(asked: &AskedWords, hits: &[Hit]) -> Self {
        let Some(best) = hits.first() else { return Evidence { unknown: 1.0, ..Evidence::default() } };
        let others = &hits[hits.len().min(OTHERS_FROM)..hits.len().min(DEPTH)];
        let mean =
            others.iter().map(|hit| hit.score).chain(std::iter::repeat(CROWD)).take(DEPTH - OTHERS_FROM).sum::<f32>()
                / (DEPTH - OTHERS_FROM) as f32;
        let lost = lost(asked, &hits[..hits.len().min(WORDS_OF)]);
        let share = |known: bool| {
            let all: f32 = asked.iter().map(|word| asked.rarity(word)).sum();
            let lost = lost.iter().filter(|word| word.is_known == known);
            if all > 0.0 { lost.map(|word| asked.rarity(word)).sum::<f32>() / all } else { 0.0 }
        };
        let size = (asked.passages().max(1) as f32).ln() / PASSAGES_OF_MANY.ln();
        let shortfall = (RELATED - best.score).max(0.0);
        Evidence { lead: best.score - mean, missing: share(true), unknown: share(false) * size, shortfall }
    }
}

/// The words that none of the hits holds.
fn lost<'a>(asked: &'a AskedWords, hits: &[Hit]) -> Vec<&'a AskedWord> {
    let held: Vec<Vec<bool>> = hits.iter().flat_map(Hit::joined).map(|hit| asked.held_by(&hit.passage)).collect();
    let words = asked.iter().enumerate().filter(|(at, _)| !held.iter().any(|held| held[*at]));
    words.map(|(_, word)| word).collect()
}
