//! Rotary position embeddings in GGUF's Llama order: dimensions `2i` and `2i + 1` of a head are rotated together.
//! (The converter reorders the rows of the query and key weights for this.) Only angles live here.

/// How the frequencies of a model were stretched for long contexts.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    None,
    /// Positions divided by a factor.
    Linear(f64),
    /// Each frequency divided by its own number (`rope_freqs.weight`; Llama 3.1 and later).
    Divisors(Vec<f32>),
}

/// The frequencies of one model. Angles are computed per call: 64 sines for a decode step cost less than a table for
/// 128K positions would take in memory.
#[derive(Clone, Debug)]
pub struct Rope {
    /// Radians per position, one per pair of dimensions.
    frequencies: Vec<f64>,
}

impl Rope {
    /// Frequencies `base^(-2i / head_size)` for `i` in `0..head_size / 2`, scaled.
    /// Source: RoFormer (<https://arxiv.org/abs/2104.09864>), section 3.2.2.
    pub fn new(base: f64, head_size: usize, scaling: &RopeScaling) -> Self {
        let plain = (0..head_size / 2).map(|pair| base.powf(-2.0 * pair as f64 / head_size as f64));
        let frequencies = match scaling {
            RopeScaling::None => plain.collect(),
            RopeScaling::Linear(factor) => plain.map(|frequency| frequency / factor).collect(),
            RopeScaling::Divisors(divisors) => {
                plain.zip(divisors).map(|(f, &divisor)| f / f64::from(divisor)).collect()
            }
        };
        Rope { frequencies }
    }

    /// Cosines and sines for `positions`, `head_size / 2` each, into buffers that are kept.
    pub(super) fn angles(&self, positions: impl Iterator<Item = usize>, cos: &mut Vec<f32>, sin: &mut Vec<f32>) {
        cos.clear();
        sin.clear();
        for position in positions {
            for frequency in &self.frequencies {
                let (s, c) = (frequency * position as f64).sin_cos();
                cos.push(c as f32);
                sin.push(s as f32);
            }
        }
    }
}

/// The divisors of Llama 3.1's context extension: short wavelengths stay, long ones are stretched by `factor`, those
/// between are blended. GGUF files carry these numbers as `rope_freqs.weight`; this is the formula they come from.
/// Source: `apply_scaling` in <https://github.com/meta-llama/llama-models> (models/llama3/model.py).
pub fn llama3_divisors(base: f64, head_size: usize, scaling: &Llama3Scaling) -> Vec<f32> {
    let long = scaling.original_context_tokens as f64 / scaling.low_frequency_factor;
    let short = scaling.original_context_tokens as f64 / scaling.high_frequency_factor;
    let divisor = |pair: usize| {
        let frequency = base.powf(-2.0 * pair as f64 / head_size as f64);
        let wavelength = 2.0 * std::f64::consts::PI / frequency;
        if wavelength < short {
            1.0
        } else if wavelength > long {
            scaling.factor
        } else {
            let span = scaling.high_frequency_factor - scaling.low_frequency_factor;
            let smooth = (scaling.original_context_tokens as f64 / wavelength - scaling.low_frequency_factor) / span;
            1.0 / ((1.0 - smooth) / scaling.factor + smooth)
        }
    };
    (0..head_size / 2).map(|pair| divisor(pair) as f32).collect()
}

/// Parameters of [`llama3_divisors`]; Llama 3.1 has 8, 1, 4, 8192 and Llama 3.2 has 32, 1, 4, 8192.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Llama3Scaling {
    pub factor: f64,
    pub low_frequency_factor: f64,
    pub high_frequency_factor: f64,
    pub original_context_tokens: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaling(factor: f64) -> Llama3Scaling {
        Llama3Scaling { factor, low_frequency_factor: 1.0, high_frequency_factor: 4.0, original_context_tokens: 8192 }
    }

    /// Expected values were computed with 40 decimal digits, apart from this code.
    fn check(factor: f64, expected: &[(usize, f64)]) {
        let divisors = llama3_divisors(500_000.0, 128, &scaling(factor));
        assert_eq!(divisors.len(), 64);
        for &(pair, value) in expected {
            let error = (f64::from(divisors[pair]) - value).abs() / value;
            assert!(error < 1e-6, "pair {pair}, factor {factor}: {} instead of {value}", divisors[pair]);
        }
    }

    #[test]
    fn divisors_of_llama_3_1_follow_the_formula() {
        check(
            8.0,
            &[
                (0, 1.0),
                (28, 1.0),
                (29, 1.207_483_871_283_662),
                (31, 2.026_313_205_905_056),
                (33, 3.684_252_527_745_718),
                (34, 5.257_326_588_708_467),
                (35, 8.0),
                (63, 8.0),
            ],
        );
    }

    #[test]
    fn divisors_of_llama_3_2_follow_the_formula() {
        check(
            32.0,
            &[
                (0, 1.0),
                (28, 1.0),
                (29, 1.234_937_033_772_083),
                (31, 2.276_659_535_951_085),
                (33, 5.171_595_583_066_132),
                (34, 9.666_728_978_753_29),
                (35, 32.0),
                (63, 32.0),
            ],
        );
    }

    #[test]
    fn frequencies_are_powers_of_the_base_over_their_divisor() {
        let rope = Rope::new(10_000.0, 8, &RopeScaling::Divisors(vec![1.0, 2.0, 4.0, 8.0]));
        for (found, expected) in rope.frequencies.iter().zip([1.0, 0.05, 0.0025, 0.000125]) {
            assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
        }
        let linear = Rope::new(10_000.0, 4, &RopeScaling::Linear(4.0));
        assert!((linear.frequencies[1] - 0.0025).abs() < 1e-12);
    }

    #[test]
    fn angles_go_on_where_the_cache_ends() {
        let rope = Rope::new(10_000.0, 8, &RopeScaling::None);
        let (mut cos, mut sin) = (vec![9.0], vec![9.0]);
        rope.angles(5..7, &mut cos, &mut sin);
        assert_eq!((cos.len(), sin.len()), (8, 8));
        assert!((sin[5] - 0.6f32.sin()).abs() < 1e-6);
    }
}
