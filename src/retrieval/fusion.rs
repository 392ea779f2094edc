//! Two rankings into one.

use std::collections::{HashMap, HashSet};

use super::lexical::LexicalHit;
use crate::domain::PassageId;

/// Weight of the lexical side beside the dense one.
const LEXICAL_WEIGHT: f32 = 0.3;

/// A passage with what either side says of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fused {
    pub id: PassageId,
    /// Between 0 and 1.
    pub score: f32,
    /// Centred cosine.
    pub cosine: f32,
    /// BM25 score; `None`: not among the lexical hits.
    pub lexical: Option<f32>,
}

/// The hits of both sides, best first: a weighted mean of the centred cosine and of the share of the query that the
/// passage's words hold (a convex combination: Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid
/// Retrieval", TOIS 2023). `cosine` tells the cosine of a passage.
pub(super) fn fuse(lexical: &[LexicalHit], dense: &[PassageId], cosine: impl Fn(PassageId) -> f32) -> Vec<Fused> {
    let lexical: HashMap<PassageId, &LexicalHit> = lexical.iter().map(|hit| (hit.id, hit)).collect();
    let ids: HashSet<PassageId> = lexical.keys().chain(dense).copied().collect();
    let fuse_one = |id: PassageId| {
        let (cosine, hit) = (cosine(id), lexical.get(&id));
        let share = hit.map_or(0.0, |hit| hit.share);
        let score = (cosine.max(0.0) + LEXICAL_WEIGHT * share) / (1.0 + LEXICAL_WEIGHT);
        Fused { id, score, cosine, lexical: hit.map(|hit| hit.score) }
    };
    let mut fused: Vec<Fused> = ids.into_iter().map(fuse_one).collect();
    fused.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
    fused
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(n: u8) -> PassageId {
        PassageId([n; 16])
    }

    fn lexical(n: u8, share: f32) -> LexicalHit {
        LexicalHit { id: id(n), score: share * 10.0, share }
    }

    fn meaning(of: &[(u8, f32)]) -> impl Fn(PassageId) -> f32 {
        let of: HashMap<PassageId, f32> = of.iter().map(|&(n, cosine)| (id(n), cosine)).collect();
        move |id| of.get(&id).copied().unwrap_or(0.0)
    }

    #[test]
    fn what_both_sides_found_comes_first() {
        let cosine = meaning(&[(1, 0.1), (2, 0.5), (3, 0.45)]);
        let fused = fuse(&[lexical(1, 0.6), lexical(3, 0.6)], &[id(2), id(3)], cosine);
        assert_eq!(fused.iter().map(|hit| hit.id).collect::<Vec<_>>(), [id(3), id(2), id(1)]);
        assert_eq!((fused[0].lexical, fused[1].lexical), (Some(6.0), None));
    }

    #[test]
    fn a_common_word_does_not_outweigh_the_meaning() {
        let fused = fuse(&[lexical(1, 0.1)], &[id(2), id(1)], meaning(&[(1, 0.42), (2, 0.5)]));
        assert_eq!(fused[0].id, id(2));
    }

    proptest! {
        #[test]
        fn every_passage_comes_out_once_and_in_order(
            words in proptest::collection::hash_map(any::<u8>(), 0.0f32..1.0, 0..40),
            meanings in proptest::collection::hash_map(any::<u8>(), -1.0f32..1.0, 0..40),
        ) {
            let union = words.keys().chain(meanings.keys()).collect::<HashSet<_>>().len();
            let words: Vec<_> = words.into_iter().map(|(n, share)| lexical(n, share)).collect();
            let meanings: Vec<(u8, f32)> = meanings.into_iter().collect();
            let found: Vec<PassageId> = meanings.iter().map(|&(n, _)| id(n)).collect();
            let fused = fuse(&words, &found, meaning(&meanings));
            prop_assert_eq!(fused.len(), union);
            prop_assert!(fused.windows(2).all(|pair| pair[0].score >= pair[1].score));
            prop_assert!(fused.iter().all(|hit| (0.0..=1.0 + 1e-6).contains(&hit.score)));
        }
    }
}
