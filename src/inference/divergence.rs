//! How far a distribution of the next token is from another.

/// Logarithms of the probabilities of all tokens.
pub fn log_probabilities(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - max).exp()).sum();
    logits.iter().map(|&logit| f64::from(logit - max) - sum.ln()).collect()
}

/// Kullback-Leibler divergence of `found` from `expected` in nats, both logarithms of probabilities.
pub fn divergence(expected: &[f64], found: &[f64]) -> f64 {
    expected.iter().zip(found).map(|(expected, found)| expected.exp() * (expected - found)).sum()
}

/// The token with the highest value; the first of several.
pub fn likeliest<T: PartialOrd + Copy>(row: &[T]) -> u32 {
    let mut best = 0;
    for (at, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = at;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_nothing_away_from_itself() {
        let (one, other) = (log_probabilities(&[1.0, 2.0, 3.0]), log_probabilities(&[1.0, 2.0, 2.0]));
        assert!((one.iter().map(|log| log.exp()).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(divergence(&one, &one).abs() < 1e-12 && divergence(&one, &other) > 0.01);
        assert_eq!((likeliest(&one), likeliest(&[5.0, 5.0])), (2, 0));
    }
}
