//! Two rankings into one.

use std::collections::{HashMap, HashSet};

use super::lexical::LexicalHit;
use super::{Fusion, Weights};
use crate::domain::PassageId;

/// Damps the difference between the first places; the value of the paper.
const RECIPROCAL_K: f32 = 60.0;

/// A passage with what either side says of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fused {
    pub id: PassageId,
    /// Between 0 and 1.
    pub score: f32,
    pub cosine: f32,
    /// Place by the cosine, from 1.
    pub dense_place: usize,
    /// Place by the words, from 1; `None`: none of them stands in the passage, or too many others hold more.
    pub lexical_place: Option<usize>,
}

/// The hits of both sides, best first. `lexical`: best first; `dense`: passages and their cosines, in any order, those of
/// `lexical` among them.
pub(super) fn fuse(lexical: &[LexicalHit], mut dense: Vec<(PassageId, f32)>, weights: &Weights) -> Vec<Fused> {
    dense.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let lexical: HashMap<PassageId, (usize, &LexicalHit)> =
        lexical.iter().enumerate().map(|(at, hit)| (hit.id, (at + 1, hit))).collect();
    let mut seen = HashSet::new();
    dense.retain(|(id, _)| seen.insert(*id));
    let fuse_one = |(at, (id, cosine)): (usize, (PassageId, f32))| {
        let (dense_place, hit) = (at + 1, lexical.get(&id));
        let lexical_place = hit.map(|(place, _)| *place);
        let of_dense = match weights.fusion {
            Fusion::Mean => cosine.max(0.0),
            Fusion::ReciprocalRanks => reciprocal(dense_place),
        };
        let of_lexical = hit.map_or(0.0, |(place, hit)| match weights.fusion {
            Fusion::Mean => hit.share,
            Fusion::ReciprocalRanks => reciprocal(*place),
        });
        let all = (weights.dense + weights.lexical).max(f32::EPSILON);
        let score = (weights.dense * of_dense + weights.lexical * of_lexical) / all;
        Fused { id, score, cosine, dense_place, lexical_place }
    };
    let mut fused: Vec<Fused> = dense.into_iter().enumerate().map(fuse_one).collect();
    fused.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
    fused
}

/// 1 for the first place.
fn reciprocal(place: usize) -> f32 {
    (RECIPROCAL_K + 1.0) / (RECIPROCAL_K + place as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(n: u8) -> PassageId {
        PassageId([n; 16])
    }

    fn words(shares: &[(u8, f32)]) -> Vec<LexicalHit> {
        shares.iter().map(|&(n, share)| LexicalHit { id: id(n), score: share * 10.0, share }).collect()
    }

    fn meaning(cosines: &[(u8, f32)]) -> Vec<(PassageId, f32)> {
        cosines.iter().map(|&(n, cosine)| (id(n), cosine)).collect()
    }

    fn ids(fused: &[Fused]) -> Vec<PassageId> {
        fused.iter().map(|hit| hit.id).collect()
    }

    #[test]
    fn what_both_sides_found_comes_first() {
        let cosines = meaning(&[(1, 0.1), (2, 0.5), (3, 0.45), (1, 0.1)]);
        let fused = fuse(&words(&[(1, 0.6), (3, 0.6)]), cosines, &Weights::default());
        assert_eq!(ids(&fused), [id(3), id(2), id(1)]);
        assert_eq!((fused[0].lexical_place, fused[0].dense_place), (Some(2), 2));
        assert_eq!((fused[1].lexical_place, fused[1].dense_place), (None, 1));
    }

    #[test]
    fn a_common_word_does_not_outweigh_the_meaning() {
        let fused = fuse(&words(&[(1, 0.1)]), meaning(&[(1, 0.42), (2, 0.5)]), &Weights::default());
        assert_eq!(fused[0].id, id(2));
    }

    #[test]
    fn one_side_alone_ranks_as_it_does() {
        let [bm25, vectors, both] = Weights::SIMPLE.map(|(_, weights)| weights);
        let (words, cosines) = (words(&[(1, 0.9), (2, 0.5)]), meaning(&[(2, 0.2), (1, 0.1), (3, 0.8)]));
        assert_eq!(ids(&fuse(&words, cosines.clone(), &bm25))[..2], [id(1), id(2)]);
        assert_eq!(ids(&fuse(&words, cosines.clone(), &vectors)), [id(3), id(2), id(1)]);
        assert_eq!(ids(&fuse(&words, cosines, &both)), [id(1), id(2), id(3)]);
    }

    proptest! {
        #[test]
        fn every_passage_comes_out_once_and_in_order(
            shares in proptest::collection::hash_map(any::<u8>(), 0.0f32..1.0, 0..40),
            cosines in proptest::collection::hash_map(any::<u8>(), -1.0f32..1.0, 0..40),
            fusion in proptest::sample::select(vec![Fusion::Mean, Fusion::ReciprocalRanks]),
        ) {
            let all: HashSet<&u8> = shares.keys().chain(cosines.keys()).collect();
            let shares: Vec<_> = shares.iter().map(|(&n, &share)| (n, share)).collect();
            let dense: Vec<_> = all.iter().map(|&&n| (n, cosines.get(&n).copied().unwrap_or(0.0))).collect();
            let fused = fuse(&words(&shares), meaning(&dense), &Weights { fusion, ..Weights::default() });
            prop_assert_eq!(fused.len(), all.len());
            prop_assert!(fused.windows(2).all(|pair| pair[0].score >= pair[1].score));
            prop_assert!(fused.iter().all(|hit| (0.0..=1.0 + 1e-6).contains(&hit.score)));
        }
    }
}
