//! Two rankings into one.

use std::collections::HashMap;

use super::dense::DenseHit;
use super::lexical::LexicalHit;
use crate::domain::PassageId;

/// Weight of the lexical side beside the dense one.
const LEXICAL_WEIGHT: f32 = 0.5;

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
/// Retrieval", TOIS 2023). `cosine` tells the cosine of a passage that only the lexical side found.
pub(super) fn fuse(lexical: &[LexicalHit], dense: &[DenseHit], cosine: impl Fn(PassageId) -> f32) -> Vec<Fused> {
    let mut fused: HashMap<PassageId, Fused> = HashMap::with_capacity(lexical.len() + dense.len());
    for hit in dense {
        fused.insert(hit.id, Fused { id: hit.id, score: 0.0, cosine: hit.cosine, lexical: None });
    }
    let mut shares = HashMap::with_capacity(lexical.len());
    for hit in lexical {
        let entry = fused.entry(hit.id);
        entry.or_insert_with(|| Fused { id: hit.id, score: 0.0, cosine: cosine(hit.id), lexical: None }).lexical =
            Some(hit.score);
        shares.insert(hit.id, hit.share);
    }
    let mut fused: Vec<Fused> = fused.into_values().collect();
    for hit in &mut fused {
        let share = shares.get(&hit.id).copied().unwrap_or(0.0);
        hit.score = (hit.cosine.max(0.0) + LEXICAL_WEIGHT * share) / (1.0 + LEXICAL_WEIGHT);
    }
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

    fn dense(n: u8, cosine: f32) -> DenseHit {
        DenseHit { id: id(n), cosine }
    }

    #[test]
    fn what_both_sides_found_comes_first() {
        let fused = fuse(&[lexical(1, 0.6), lexical(3, 0.6)], &[dense(2, 0.5), dense(3, 0.45)], |_| 0.1);
        assert_eq!(fused.iter().map(|hit| hit.id).collect::<Vec<_>>(), [id(3), id(2), id(1)]);
        assert_eq!((fused[0].lexical, fused[1].lexical), (Some(6.0), None));
    }

    #[test]
    fn a_common_word_does_not_outweigh_the_meaning() {
        let fused = fuse(&[lexical(1, 0.1)], &[dense(2, 0.5), dense(1, 0.42)], |_| 0.0);
        assert_eq!(fused[0].id, id(2));
    }

    proptest! {
        #[test]
        fn every_passage_comes_out_once_and_in_order(
            words in proptest::collection::hash_map(any::<u8>(), 0.0f32..1.0, 0..40),
            meanings in proptest::collection::hash_map(any::<u8>(), -1.0f32..1.0, 0..40),
        ) {
            let union = words.keys().chain(meanings.keys()).collect::<std::collections::HashSet<_>>().len();
            let words: Vec<_> = words.into_iter().map(|(n, share)| lexical(n, share)).collect();
            let meanings: Vec<_> = meanings.into_iter().map(|(n, cosine)| dense(n, cosine)).collect();
            let fused = fuse(&words, &meanings, |_| 0.0);
            prop_assert_eq!(fused.len(), union);
            prop_assert!(fused.windows(2).all(|pair| pair[0].score >= pair[1].score));
            prop_assert!(fused.iter().all(|hit| (0.0..=1.0 + 1e-6).contains(&hit.score)));
        }
    }
}
