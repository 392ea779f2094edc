//! Powers of two in vectors: the exponential of the softmax.
//!
//! The softmax works with `2^(x log2 e)` in place of `e^x`; the factor is multiplied into the queries once. The method
//! is the usual one (Cody and Waite, "Software Manual for the Elementary Functions", 1980, chapter 6): `x = n + f` with
//! an integer `n` and `|f| <= 1/2`, a polynomial for `2^f`, and `n` put into the exponent. The polynomial is
//! `1 + f p(f)` so that the largest score gets exactly 1; the coefficients of `p` are ours, by Remez exchange for the
//! least relative error over `[-1/2, 1/2]`, which is 4.4e-7, or 6e-7 with f32's rounding.

use super::simd::Simd;

/// Coefficients of `p`, lowest power first.
const COEFFICIENTS: [f32; 5] = [0.693_142_83, 0.240_223_5, 0.055_574, 0.009_666_282, 0.001_112_550_8];

/// Below this a weight counts as zero: its power of two would not be a normal number.
pub(super) const EXPONENT_MIN: f32 = -126.0;

/// `2^x` for `x` in `-126..=0`, and 0 below. Relative error below 1e-6.
#[inline(always)]
pub(super) fn exp2<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let n = simd.round(x);
    let f = simd.sub(x, n);
    let [c0, c1, c2, c3, c4] = COEFFICIENTS;
    let p = simd.mul_add(f, simd.splat(c4), simd.splat(c3));
    let p = simd.mul_add(f, p, simd.splat(c2));
    let p = simd.mul_add(f, p, simd.splat(c1));
    let p = simd.mul_add(f, p, simd.splat(c0));
    let p = simd.mul_add(f, p, simd.splat(1.0));
    simd.scale_where_normal(p, n, x)
}
