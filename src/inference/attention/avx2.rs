//! Eight lanes with AVX2, FMA and F16C.

use std::arch::x86_64::*;

use half::f16;

use super::exp::EXPONENT_MIN;
use super::simd::Simd;
use super::tile::{Tile, attend_tile};
use super::workspace::Workspace;

#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2(());

/// [`attend_tile`] compiled for AVX2, FMA and F16C.
///
/// # Safety
/// The processor has the three, and the promises of [`attend_tile`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn attend_avx2(tile: &Tile<'_>, workspace: &mut Workspace) {
    // SAFETY: the caller's promise.
    unsafe { attend_tile(Avx2(()), tile, workspace) }
}

macro_rules! avx2 {
    ($call:expr) => {
        // SAFETY: an `Avx2` is made only where AVX2, FMA and F16C are enabled; what pointers point to is the caller's
        // promise.
        unsafe { $call }
    };
}

/// A window of eight into this, counted from the middle, has as many leading ones as wanted.
static LEADING: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

impl Simd for Avx2 {
    type Vector = __m256;
    const LANES: usize = 8;
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        avx2!(_mm256_set1_ps(value))
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        avx2!(_mm256_loadu_ps(from))
    }

    #[inline(always)]
    unsafe fn load_f16(self, from: *const f16) -> __m256 {
        avx2!(_mm256_cvtph_ps(_mm_loadu_si128(from.cast())))
    }

    #[inline(always)]
    unsafe fn load_i8(self, from: *const i8) -> __m256 {
        avx2!(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()))))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: __m256) {
        avx2!(_mm256_storeu_ps(to, value));
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_sub_ps(a, b))
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_add_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_mul_ps(a, b))
    }

    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_max_ps(a, b))
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        avx2!(_mm256_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn round(self, value: __m256) -> __m256 {
        avx2!(_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(value))
    }

    #[inline(always)]
    fn scale_where_normal(self, p: __m256, n: __m256, x: __m256) -> __m256 {
        avx2!({
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            let power = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent));
            let normal = _mm256_cmp_ps::<_CMP_GE_OQ>(x, _mm256_set1_ps(EXPONENT_MIN));
            _mm256_and_ps(_mm256_mul_ps(p, power), normal)
        })
    }

    #[inline(always)]
    fn first(self, value: __m256, count: usize) -> __m256 {
        let window = LEADING[8 - count.min(8)..].as_ptr();
        avx2!({
            let mask = _mm256_castsi256_ps(_mm256_loadu_si256(window.cast()));
            _mm256_blendv_ps(_mm256_set1_ps(f32::NEG_INFINITY), value, mask)
        })
    }

    #[inline(always)]
    fn max_lane(self, value: __m256) -> f32 {
        avx2!({
            let four = _mm_max_ps(_mm256_castps256_ps128(value), _mm256_extractf128_ps::<1>(value));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        })
    }

    #[inline(always)]
    fn sum_lanes(self, value: __m256) -> f32 {
        avx2!({
            let four = _mm_add_ps(_mm256_castps256_ps128(value), _mm256_extractf128_ps::<1>(value));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        })
    }

    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        avx2!(_mm_prefetch::<_MM_HINT_T1>(at.cast()));
    }
}

/// One power of two, if the processor can.
#[cfg(test)]
pub(super) fn exp2_avx2(x: f32) -> Option<f32> {
    #[target_feature(enable = "avx2,fma,f16c")]
    fn inner(x: f32) -> f32 {
        let simd = Avx2(());
        simd.max_lane(super::exp::exp2(simd, simd.splat(x)))
    }
    let has_all =
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
    // SAFETY: the processor has AVX2, FMA and F16C.
    has_all.then(|| unsafe { inner(x) })
}
