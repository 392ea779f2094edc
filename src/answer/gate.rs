//! The gate before any generation: how probable it is that the hits hold the answer. Its weights stand in `gate.json`,
//! which `cervella eval --fit` makes: see `docs/decisions/0004-evidence-gate.md`.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::evidence::Evidence;

/// Share of the answerable questions that a fitted gate refuses at 0.5.
const REFUSED: f64 = 0.1;
/// Strength of the pull of the weights to 0, against one question each.
const RIDGE: f64 = 0.33;
const STEPS: usize = 20_000;
const RATE: f64 = 0.5;
const FEATURES: usize = 4;

/// Weights of a logistic model of [`Evidence`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Of this file's form.
    version: u32,
    bias: f64,
    lead: f64,
    missing: f64,
    unknown: f64,
    shortfall: f64,
}

/// A question whose answer is known to stand in the hits, or not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub evidence: Evidence,
    pub is_answered: bool,
}

impl Gate {
    const VERSION: u32 = 1;

    /// The one that the program was built with.
    pub fn fitted() -> &'static Gate {
        static FITTED: LazyLock<Gate> =
            LazyLock::new(|| serde_json::from_str(include_str!("gate.json")).expect("gate.json is a gate"));
        &FITTED
    }

    /// That the hits hold the answer, between 0 and 1.
    pub fn probability(&self, evidence: &Evidence) -> f64 {
        let weights = [self.lead, self.missing, self.unknown, self.shortfall];
        logistic(self.bias + dot(&weights, &features(evidence)))
    }

    /// A gate that tells these samples apart, by logistic regression with the two kinds of equal weight; its bias is such
    /// that it refuses a tenth of the answered ones at 0.5. `None`: there are not both kinds.
    pub fn fit(samples: &[Sample]) -> Option<Gate> {
        let answered = samples.iter().filter(|sample| sample.is_answered).count();
        if answered == 0 || answered == samples.len() {
            return None;
        }
        let rows: Vec<[f64; FEATURES]> = samples.iter().map(|sample| features(&sample.evidence)).collect();
        let scale = Scale::of(&rows);
        let count = samples.len() as f64;
        let weight = |sample: &Sample| {
            let of_kind = if sample.is_answered { answered } else { samples.len() - answered };
            count / (2.0 * of_kind as f64)
        };
        let (mut bias, mut weights) = (0.0, [0.0; FEATURES]);
        for _ in 0..STEPS {
            let (mut of_bias, mut of_weights) = (0.0, weights.map(|weight| RIDGE * weight));
            for (sample, row) in samples.iter().zip(&rows) {
                let row = scale.apply(row);
                let target = f64::from(u8::from(sample.is_answered));
                let error = weight(sample) * (logistic(bias + dot(&weights, &row)) - target);
                of_bias += error;
                of_weights.iter_mut().zip(row).for_each(|(sum, value)| *sum += error * value);
            }
            bias -= RATE * of_bias / count;
            weights.iter_mut().zip(of_weights).for_each(|(weight, slope)| *weight -= RATE * slope / count);
        }
        let [lead, missing, unknown, shortfall] = std::array::from_fn(|at| weights[at] / scale.deviation[at]);
        let mut scores: Vec<f64> = samples
            .iter()
            .zip(&rows)
            .filter(|(sample, _)| sample.is_answered)
            .map(|(_, row)| dot(&[lead, missing, unknown, shortfall], row))
            .collect();
        scores.sort_by(f64::total_cmp);
        let bias = -scores[(REFUSED * scores.len() as f64) as usize];
        Some(Gate { version: Gate::VERSION, bias, lead, missing, unknown, shortfall })
    }
}

fn features(evidence: &Evidence) -> [f64; FEATURES] {
    [evidence.lead, evidence.missing, evidence.unknown, evidence.shortfall].map(f64::from)
}

fn dot(a: &[f64; FEATURES], b: &[f64; FEATURES]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn logistic(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// Mean and standard deviation of each feature.
struct Scale {
    mean: [f64; FEATURES],
    deviation: [f64; FEATURES],
}

impl Scale {
    fn of(rows: &[[f64; FEATURES]]) -> Self {
        let mean_of = |value: &dyn Fn(usize, &[f64; FEATURES]) -> f64| -> [f64; FEATURES] {
            std::array::from_fn(|at| rows.iter().map(|row| value(at, row)).sum::<f64>() / rows.len() as f64)
        };
        let mean = mean_of(&|at, row| row[at]);
        let variance = mean_of(&|at, row| (row[at] - mean[at]).powi(2));
        Scale { mean, deviation: variance.map(|variance| variance.sqrt().max(1e-6)) }
    }

    fn apply(&self, row: &[f64; FEATURES]) -> [f64; FEATURES] {
        std::array::from_fn(|at| (row[at] - self.mean[at]) / self.deviation[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(lead: f32, unknown: f32, is_answered: bool) -> Sample {
        Sample { evidence: Evidence { lead, unknown, ..Evidence::default() }, is_answered }
    }

    #[test]
    fn a_fitted_gate_tells_its_samples_apart_and_refuses_a_tenth() {
        let answered = (0..20).map(|at| sample(0.1 + at as f32 * 0.005, 0.0, true));
        let silent = (0..20).map(|at| sample(0.05 + at as f32 * 0.001, 0.3, false));
        let samples: Vec<Sample> = answered.chain(silent).collect();
        let gate = Gate::fit(&samples).unwrap();
        assert!(gate.lead > 0.0 && gate.unknown < 0.0, "{gate:?}");
        let refused = |is_answered: bool| {
            let of_kind = samples.iter().filter(|sample| sample.is_answered == is_answered);
            of_kind.filter(|sample| gate.probability(&sample.evidence) < 0.5).count()
        };
        assert_eq!((refused(true), refused(false)), (2, 20));
        assert_eq!(Gate::fit(&samples[..20]), None);
    }

    #[test]
    fn the_gate_of_the_program_is_of_this_version() {
        assert_eq!(Gate::fitted().version, Gate::VERSION);
    }

    proptest! {
        #[test]
        fn more_that_nobody_wrote_is_never_more_evidence(lead in 0.0f32..1.0, missing in 0.0f32..1.0, unknown in 0.0f32..1.0) {
            let gate = Gate::fitted();
            let known = Evidence { lead, missing, unknown: 0.0, shortfall: 0.0 };
            let (less, more) = (gate.probability(&Evidence { unknown, ..known }), gate.probability(&known));
            prop_assert!(less <= more && less >= 0.0 && more <= 1.0);
        }
    }
}
