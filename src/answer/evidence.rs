//! The gate before any generation: how probable it is that the hits hold the answer.

use crate::retrieval::{Hit, RetrievalError, Searcher, terms};

/// Hits that are looked at.
const HITS: usize = 3;

/// What the hits of a question look like.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Highest centred cosine among the first hits.
    pub cosine: f32,
    /// Highest share of the question's terms, weighted by how rare they are, that one of the first hits
    /// holds.
    pub coverage: f32,
}

/// Weights of a logistic model: see `docs/decisions/0004-evidence-gate.md` for how they were fitted.
const BIAS: f32 = -5.0;
const COSINE_WEIGHT: f32 = 17.8;
const COVERAGE_WEIGHT: f32 = 2.14;

impl Evidence {
    /// # Errors
    /// Errors of the index.
    pub fn of(question: &str, hits: &[Hit], searcher: &Searcher) -> Result<Self, RetrievalError> {
        let first = &hits[..hits.len().min(HITS)];
        let mut evidence = Evidence::default();
        for hit in first {
            evidence.cosine = evidence.cosine.max(hit.cosine);
            evidence.coverage = evidence.coverage.max(coverage(question, hit, searcher)?);
        }
        Ok(evidence)
    }

    /// Between 0 and 1.
    pub fn probability(&self) -> f64 {
        let z = BIAS + COSINE_WEIGHT * self.cosine + COVERAGE_WEIGHT * self.coverage;
        f64::from(1.0 / (1.0 + (-z).exp()))
    }
}

fn coverage(question: &str, hit: &Hit, searcher: &Searcher) -> Result<f32, RetrievalError> {
    let passage = &hit.passage;
    let text = format!("{} {} {}", passage.title, passage.heading(), passage.text);
    let held = terms(&text, passage.language);
    let (mut sum, mut all) = (0.0, 0.0);
    for term in terms(question, passage.language) {
        let frequency = searcher.term_frequency(&term, passage.language)?;
        let weight = (1.0 / (frequency + 0.0005)).ln();
        all += weight;
        if held.contains(&term) {
            sum += weight;
        }
    }
    Ok(if all > 0.0 { sum / all } else { 0.0 })
}
