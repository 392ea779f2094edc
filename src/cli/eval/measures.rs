//! The measures of ranking and of the gate.

use serde::Serialize;

use super::{DEPTH, EvalResult};

/// Means over questions. A hit is right when its document is one of the right ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct RankFigures {
    pub questions: usize,
    pub recall_at_1: f64,
    pub recall_at_3: f64,
    pub recall_at_5: f64,
    pub recall_at_10: f64,
    /// Binary gains; the ideal ranking has all right documents in front (Järvelin and Kekäläinen, 2002).
    pub ndcg_at_10: f64,
    pub mrr_at_10: f64,
}

/// A right document among so many hits counts as found.
pub(super) const FOUND: usize = 5;

/// Abstention as the positive class: a question is refused when its evidence lies below the limit. A question is answerable
/// here when the index holds one of its documents.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct GateFigures {
    pub abstention_precision: f64,
    pub abstention_recall: f64,
    pub unanswerable: usize,
    pub refused_unanswerable: usize,
    pub answerable: usize,
    pub refused_answerable: usize,
    /// Answerable ones whose document is among the first hits.
    pub found: usize,
    pub refused_found: usize,
    pub curve: Vec<CurvePoint>,
}

/// What another limit would refuse.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct CurvePoint {
    pub evidence_min: f64,
    pub refused_unanswerable: usize,
    pub refused_answerable: usize,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(in crate::cli) struct Percentiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

impl RankFigures {
    pub(super) fn of(results: &[&EvalResult]) -> Self {
        let mean = |value: &dyn Fn(&EvalResult) -> f64| mean(results.iter().map(|result| value(result)));
        let recall = |k: usize| mean(&|result| f64::from(result.rank.is_some_and(|rank| rank <= k)));
        RankFigures {
            questions: results.len(),
            recall_at_1: recall(1),
            recall_at_3: recall(3),
            recall_at_5: recall(5),
            recall_at_10: recall(10),
            ndcg_at_10: mean(&|result| ndcg(&result.right_ranks, result.right_documents)),
            mrr_at_10: mean(&|result| result.rank.map_or(0.0, |rank| 1.0 / rank as f64)),
        }
    }
}

/// Of one ranking: places of the right documents, from 1.
pub(in crate::cli) fn ndcg(right_ranks: &[usize], right_documents: usize) -> f64 {
    let gain = |rank: usize| 1.0 / ((rank + 1) as f64).log2();
    let ideal: f64 = (1..=right_documents.min(DEPTH)).map(gain).sum();
    let reached: f64 = right_ranks.iter().copied().map(gain).sum();
    if ideal > 0.0 { reached / ideal } else { 0.0 }
}

/// 0 for no values.
pub(in crate::cli) fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1);
    values.sum::<f64>() / count as f64
}

impl GateFigures {
    pub(super) fn of(results: &[EvalResult], evidence_min: f64) -> Self {
        let answerable = |result: &EvalResult| result.answerable && result.indexed;
        let found = |result: &EvalResult| answerable(result) && result.rank.is_some_and(|rank| rank <= FOUND);
        let count = |of: &dyn Fn(&EvalResult) -> bool| results.iter().filter(|result| of(result)).count();
        let refused = |of: &dyn Fn(&EvalResult) -> bool, limit: f64| {
            count(&|result: &EvalResult| of(result) && result.evidence < limit)
        };
        let silent = |result: &EvalResult| !answerable(result);
        let refused_unanswerable = refused(&silent, evidence_min);
        let refused_answerable = refused(&answerable, evidence_min);
        let point = |tenths: u8| {
            let limit = f64::from(tenths) / 10.0;
            CurvePoint {
                evidence_min: limit,
                refused_unanswerable: refused(&silent, limit),
                refused_answerable: refused(&answerable, limit),
            }
        };
        let unanswerable = count(&silent);
        let share = |part: usize, of: usize| if of == 0 { 0.0 } else { part as f64 / of as f64 };
        GateFigures {
            abstention_precision: share(refused_unanswerable, refused_unanswerable + refused_answerable),
            abstention_recall: share(refused_unanswerable, unanswerable),
            unanswerable,
            refused_unanswerable,
            answerable: count(&answerable),
            refused_answerable,
            found: count(&found),
            refused_found: refused(&found, evidence_min),
            curve: (1..10).map(point).collect(),
        }
    }
}

impl Percentiles {
    /// By the nearest rank.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = (share * values.len() as f64).ceil() as usize;
            values.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        Percentiles { p50: at(0.50), p95: at(0.95), p99: at(0.99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_ranking_has_an_ndcg_of_one() {
        assert!((ndcg(&[1, 2], 2) - 1.0).abs() < 1e-9);
        assert!((ndcg(&[2], 1) - 1.0 / 3f64.log2()).abs() < 1e-9);
        assert_eq!(ndcg(&[], 3), 0.0);
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let percentiles = Percentiles::of((1..=200).map(f64::from).collect());
        assert_eq!((percentiles.p50, percentiles.p95, percentiles.p99), (100.0, 190.0, 198.0));
    }
}
