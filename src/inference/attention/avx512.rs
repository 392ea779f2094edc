//! Sixteen lanes with AVX512F.

use std::arch::x86_64::*;

use half::f16;

use super::exp::EXPONENT_MIN;
use super::simd::Simd;
use super::tile::{Tile, attend_tile};
use super::workspace::Workspace;

#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512(());

/// [`attend_tile`] compiled for AVX512F.
///
/// # Safety
/// The processor has AVX512F, and the promises of [`attend_tile`].
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn attend_avx512(tile: &Tile<'_>, workspace: &mut Workspace) {
    // SAFETY: the caller's promise.
    unsafe { attend_tile(Avx512(()), tile, workspace) }
}

macro_rules! avx512 {
    ($call:expr) => {
        // SAFETY: an `Avx512` is made only where AVX512F is enabled; what pointers point to is the caller's promise.
        unsafe { $call }
    };
}

impl Simd for Avx512 {
    type Vector = __m512;
    const LANES: usize = 16;
    const WIDE: bool = true;

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        avx512!(_mm512_set1_ps(value))
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        avx512!(_mm512_loadu_ps(from))
    }

    #[inline(always)]
    unsafe fn load_f16(self, from: *const f16) -> __m512 {
        avx512!(_mm512_cvtph_ps(_mm256_loadu_si256(from.cast())))
    }

    #[inline(always)]
    unsafe fn load_i8(self, from: *const i8) -> __m512 {
        avx512!(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: __m512) {
        avx512!(_mm512_storeu_ps(to, value));
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_max_ps(a, b))
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        avx512!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn round(self, value: __m512) -> __m512 {
        avx512!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(value))
    }

    #[inline(always)]
    fn scale_where_normal(self, p: __m512, n: __m512, x: __m512) -> __m512 {
        avx512!({
            let normal = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(x, _mm512_set1_ps(EXPONENT_MIN));
            _mm512_maskz_scalef_ps(normal, p, n)
        })
    }

    #[inline(always)]
    fn first(self, value: __m512, count: usize) -> __m512 {
        let mask = if count >= 16 { u16::MAX } else { (1 << count) - 1 };
        avx512!(_mm512_mask_mov_ps(_mm512_set1_ps(f32::NEG_INFINITY), mask, value))
    }

    #[inline(always)]
    fn max_lane(self, value: __m512) -> f32 {
        avx512!(_mm512_reduce_max_ps(value))
    }

    #[inline(always)]
    fn sum_lanes(self, value: __m512) -> f32 {
        avx512!(_mm512_reduce_add_ps(value))
    }

    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        avx512!(_mm_prefetch::<_MM_HINT_T1>(at.cast()));
    }
}

/// One power of two, if the processor can.
#[cfg(test)]
pub(super) fn exp2_avx512(x: f32) -> Option<f32> {
    #[target_feature(enable = "avx512f")]
    fn inner(x: f32) -> f32 {
        let simd = Avx512(());
        simd.max_lane(super::exp::exp2(simd, simd.splat(x)))
    }
    // SAFETY: the processor has AVX512F.
    is_x86_feature_detected!("avx512f").then(|| unsafe { inner(x) })
}
