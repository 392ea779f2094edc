//! What happens to single rows of f32 between the matrix products: normalisation, rotation, activation. Plain loops that
//! the compiler turns into vectors, compiled once for each instruction set.

use super::kernels::{Isa, isa};

/// Compiles the body for the processor's instructions.
macro_rules! vectorised {
    ($(#[$doc:meta])* pub(super) fn $name:ident($($argument:ident: $kind:ty),*) $body:block) => {
        $(#[$doc])*
        pub(super) fn $name($($argument: $kind),*) {
            #[inline(always)]
            fn body($($argument: $kind),*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
            fn avx512($($argument: $kind),*) {
                body($($argument),*);
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($argument: $kind),*) {
                body($($argument),*);
            }

            match isa() {
                // SAFETY: `isa` has seen these instructions; every processor with AVX512 has FMA.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512Vnni => unsafe { avx512($($argument),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => unsafe { avx2($($argument),*) },
                _ => body($($argument),*),
            }
        }
    };
}

/// Sums side by side, so that they fit vector registers of every width.
const LANES: usize = 32;

vectorised! {
    /// `out = x / sqrt(mean(x^2) + epsilon) * weight`.
    /// Source: RMSNorm (<https://arxiv.org/abs/1910.07467>), equation 4.
    pub(super) fn rms_norm(row: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
        let mut sums = [0f32; LANES];
        let chunks = row.chunks_exact(LANES);
        let tail: f32 = chunks.remainder().iter().map(|x| x * x).sum();
        for chunk in chunks {
            for lane in 0..LANES {
                sums[lane] += chunk[lane] * chunk[lane];
            }
        }
        let mean = (sums.iter().sum::<f32>() + tail) / row.len() as f32;
        let scale = 1.0 / (mean + epsilon).sqrt();
        for ((out, x), weight) in out.iter_mut().zip(row).zip(weight) {
            *out = x * scale * weight;
        }
    }
}

vectorised! {
    /// `gate = gate * sigmoid(gate) * up`.
    /// Source: <https://arxiv.org/abs/2002.05202>, equation 6 (SwiGLU).
    pub(super) fn swiglu(gate: &mut [f32], up: &[f32]) {
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = *gate / (1.0 + exp(-*gate)) * up;
        }
    }
}

vectorised! {
    pub(super) fn add(to: &mut [f32], what: &[f32]) {
        for (to, what) in to.iter_mut().zip(what) {
            *to += what;
        }
    }
}

vectorised! {
    /// Rotates the dimensions `2i` and `2i + 1` of every head in `row` by the angle whose cosine and sine stand at `i`.
    pub(super) fn rotate(row: &mut [f32], cos: &[f32], sin: &[f32]) {
        for head in row.chunks_exact_mut(2 * cos.len()) {
            for ((pair, cos), sin) in head.chunks_exact_mut(2).zip(cos).zip(sin) {
                let (x, y) = (pair[0], pair[1]);
                pair[0] = x * cos - y * sin;
                pair[1] = x * sin + y * cos;
            }
        }
    }
}

/// `e^x` without a call, so that loops over it become vectors: `x log2 e = n + f` with an integer `n`, a polynomial for
/// `2^f`, and `n` put into the exponent. Relative error below 3e-7 between -87 and 88; beyond, the value at the border.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 leaves no bits for the fraction.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, so that the product with `n` is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = if x > 88.0 { 88.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let f = x - n * LN2_HIGH - n * LN2_LOW;
    // Taylor's series: the next term is below 1e-8 where |f| <= ln 2 / 2.
    const TERMS: [f32; 7] = [1.0, 1.0, 1.0 / 2.0, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0];
    let p = TERMS.iter().rev().fold(0.0, |p, term| p * f + term);
    p * f32::from_bits(((n as i32 + 127) << 23) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_what_f64_says() {
        for step in -8700..=8800 {
            let x = step as f32 / 100.0;
            let (found, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!(((found - expected) / expected).abs() < 5e-7, "exp({x}) is {found} instead of {expected}");
        }
        assert!(exp(-1e9) < 1e-37 && exp(1e9).is_finite());
    }

    #[test]
    fn rows_are_normalised_and_weighted() {
        let row: Vec<f32> = (0..70).map(|i| i as f32 - 30.0).collect();
        let weight: Vec<f32> = (0..70).map(|i| 1.0 + i as f32 / 70.0).collect();
        let mut out = vec![0.0; 70];
        rms_norm(&row, &weight, 1e-5, &mut out);
        let mean = row.iter().map(|x| f64::from(x * x)).sum::<f64>() / 70.0;
        for ((out, x), weight) in out.iter().zip(&row).zip(&weight) {
            let expected = f64::from(*x) / (mean + 1e-5).sqrt() * f64::from(*weight);
            assert!((f64::from(*out) - expected).abs() < 1e-5, "{out} instead of {expected}");
        }
    }

    #[test]
    fn gates_follow_the_formula() {
        let mut gate: Vec<f32> = (-40..40).map(|i| i as f32 / 4.0).collect();
        let (before, up) = (gate.clone(), vec![0.5; 80]);
        swiglu(&mut gate, &up);
        for (found, x) in gate.iter().zip(before) {
            let expected = f64::from(x) / (1.0 + (-f64::from(x)).exp()) * 0.5;
            assert!((f64::from(*found) - expected).abs() < 1e-5);
        }
    }

    #[test]
    fn every_head_is_rotated_by_the_same_angles() {
        let mut row = vec![1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0];
        rotate(&mut row, &[0.0, 1.0], &[1.0, 0.0]);
        assert_eq!(row, [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
    }
}
