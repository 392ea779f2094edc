//! Two rankings into one.

use std::collections::HashMap;

use crate::domain::PassageId;

/// The constant of reciprocal-rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009).
const RRF_K: f32 = 60.0;
/// The dense side weighs more: it also finds what is worded otherwise or written in the other language.
const DENSE_WEIGHT: f32 = 2.0;

/// A passage with its place, from 0, on either side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fused {
    pub id: PassageId,
    /// Between 0 and 1; 1 is first place on both sides.
    pub score: f32,
    pub lexical_rank: Option<usize>,
    pub dense_rank: Option<usize>,
}

/// Best first; equal scores keep the order of the dense side, then of the lexical one.
pub(super) fn fuse(lexical: &[PassageId], dense: &[PassageId]) -> Vec<Fused> {
    let mut place: HashMap<PassageId, usize> = HashMap::with_capacity(lexical.len() + dense.len());
    let mut fused: Vec<Fused> = Vec::with_capacity(lexical.len() + dense.len());
    let mut entry = |id: PassageId, fused: &mut Vec<Fused>| {
        *place.entry(id).or_insert_with(|| {
            fused.push(Fused { id, score: 0.0, lexical_rank: None, dense_rank: None });
            fused.len() - 1
        })
    };
    let best = (1.0 + DENSE_WEIGHT) / (RRF_K + 1.0);
    for (rank, &id) in dense.iter().enumerate() {
        let at = entry(id, &mut fused);
        fused[at].dense_rank = Some(rank);
        fused[at].score += DENSE_WEIGHT / (RRF_K + 1.0 + rank as f32) / best;
    }
    for (rank, &id) in lexical.iter().enumerate() {
        let at = entry(id, &mut fused);
        fused[at].lexical_rank = Some(rank);
        fused[at].score += 1.0 / (RRF_K + 1.0 + rank as f32) / best;
    }
    fused.sort_by(|a, b| b.score.total_cmp(&a.score));
    fused
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(numbers: &[u8]) -> Vec<PassageId> {
        numbers.iter().map(|&n| PassageId([n; 16])).collect()
    }

    #[test]
    fn what_both_sides_found_comes_first() {
        let fused = fuse(&ids(&[1, 2, 3]), &ids(&[4, 3, 5]));
        assert_eq!(fused[0].id, ids(&[3])[0]);
        assert_eq!((fused[0].lexical_rank, fused[0].dense_rank), (Some(2), Some(1)));
    }

    #[test]
    fn first_on_both_sides_scores_one() {
        assert!((fuse(&ids(&[7]), &ids(&[7]))[0].score - 1.0).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn every_passage_comes_out_once_and_in_order(
            lexical in proptest::collection::hash_set(any::<u8>(), 0..40),
            dense in proptest::collection::hash_set(any::<u8>(), 0..40),
        ) {
            let union = lexical.union(&dense).count();
            let (lexical, dense): (Vec<u8>, Vec<u8>) = (lexical.into_iter().collect(), dense.into_iter().collect());
            let fused = fuse(&ids(&lexical), &ids(&dense));
            prop_assert_eq!(fused.len(), union);
            prop_assert!(fused.windows(2).all(|pair| pair[0].score >= pair[1].score));
            prop_assert!(fused.iter().all(|hit| hit.score > 0.0 && hit.score <= 1.0 + 1e-6));
        }
    }
}
