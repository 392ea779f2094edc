//! The few vector operations that attention needs, so that one algorithm serves every instruction set, and the
//! version of them in plain Rust.

use half::f16;

use super::exp::EXPONENT_MIN;

/// Vectors of f32. A value of an implementing type is the proof that the processor has the instructions.
///
/// The kernels are `#[inline(always)]` down to here, and are entered through one function per instruction set that
/// enables it.
pub(super) trait Simd: Copy {
    type Vector: Copy;
    /// Divides [`BLOCK`](crate::inference::kv::BLOCK).
    const LANES: usize;
    /// 32 vector registers and not 16.
    const WIDE: bool;

    fn splat(self, value: f32) -> Self::Vector;
    /// # Safety
    /// `LANES` values can be read from `from`, at any alignment. The same for the other loads.
    unsafe fn load(self, from: *const f32) -> Self::Vector;
    /// # Safety
    /// As [`load`](Self::load).
    unsafe fn load_f16(self, from: *const f16) -> Self::Vector;
    /// # Safety
    /// As [`load`](Self::load).
    unsafe fn load_i8(self, from: *const i8) -> Self::Vector;
    /// # Safety
    /// `LANES` values can be written to `to`, at any alignment.
    unsafe fn store(self, to: *mut f32, value: Self::Vector);
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// To the nearest integer.
    fn round(self, value: Self::Vector) -> Self::Vector;
    /// `p * 2^n` where `x` is at least [`EXPONENT_MIN`], else 0; `n` is an integer up to 127.
    fn scale_where_normal(self, p: Self::Vector, n: Self::Vector, x: Self::Vector) -> Self::Vector;
    /// The first `count` lanes, minus infinity in the others.
    fn first(self, value: Self::Vector, count: usize) -> Self::Vector;
    fn max_lane(self, value: Self::Vector) -> f32;
    fn sum_lanes(self, value: Self::Vector) -> f32;
    /// Asks for the cache line of `at` without reading it.
    fn prefetch(self, at: *const u8);
}

/// What keys and values are held in.
pub(super) trait Element: Copy {
    /// Read from the store, so that what comes next should be asked for in time, and not from a tile in the cache.
    const STREAMED: bool;
    /// # Safety
    /// `S::LANES` elements can be read from `from`.
    unsafe fn load<S: Simd>(simd: S, from: *const Self) -> S::Vector;
}

impl Element for f32 {
    const STREAMED: bool = false;

    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, from: *const Self) -> S::Vector {
        // SAFETY: the caller's promise.
        unsafe { simd.load(from) }
    }
}

impl Element for f16 {
    const STREAMED: bool = true;

    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, from: *const Self) -> S::Vector {
        // SAFETY: the caller's promise.
        unsafe { simd.load_f16(from) }
    }
}

impl Element for i8 {
    const STREAMED: bool = true;

    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, from: *const Self) -> S::Vector {
        // SAFETY: the caller's promise.
        unsafe { simd.load_i8(from) }
    }
}

/// Four lanes in plain Rust, for what the compiler makes of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain;

const LANES: usize = 4;

#[inline(always)]
fn zip(a: [f32; LANES], b: [f32; LANES], op: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    let mut out = a;
    out.iter_mut().zip(b).for_each(|(a, b)| *a = op(*a, b));
    out
}

impl Simd for Plain {
    type Vector = [f32; LANES];
    const LANES: usize = LANES;
    const WIDE: bool = false;

    fn splat(self, value: f32) -> Self::Vector {
        [value; LANES]
    }

    unsafe fn load(self, from: *const f32) -> Self::Vector {
        // SAFETY: the caller's promise.
        unsafe { from.cast::<Self::Vector>().read_unaligned() }
    }

    unsafe fn load_f16(self, from: *const f16) -> Self::Vector {
        // SAFETY: the caller's promise.
        let bits = unsafe { from.cast::<[u16; LANES]>().read_unaligned() };
        // Exponent and mantissa moved to where f32 has them, then the difference of the two exponent biases: right for
        // all finite numbers, which is all a store holds, and unlike the conversion of `half` a few vector instructions.
        const BIAS: f32 = f32::from_bits((127 + 112) << 23);
        bits.map(|bits| {
            let magnitude = f32::from_bits(u32::from(bits & 0x7fff) << 13) * BIAS;
            f32::from_bits(magnitude.to_bits() | u32::from(bits & 0x8000) << 16)
        })
    }

    unsafe fn load_i8(self, from: *const i8) -> Self::Vector {
        // SAFETY: the caller's promise.
        unsafe { from.cast::<[i8; LANES]>().read_unaligned() }.map(f32::from)
    }

    unsafe fn store(self, to: *mut f32, value: Self::Vector) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<Self::Vector>().write_unaligned(value) }
    }

    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        zip(a, b, |a, b| a - b)
    }

    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        zip(a, b, |a, b| a + b)
    }

    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        zip(a, b, |a, b| a * b)
    }

    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        zip(a, b, |a, b| if a > b { a } else { b })
    }

    // Not `f32::mul_add`, which is a call into the maths library on processors without the instruction.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        self.add(self.mul(a, b), c)
    }

    fn round(self, value: Self::Vector) -> Self::Vector {
        // Adding 1.5 * 2^23 leaves no bits for the fraction. It holds for the few hundred around 0 that matter here.
        const SHIFT: f32 = 12_582_912.0;
        value.map(|value| (value + SHIFT) - SHIFT)
    }

    fn scale_where_normal(self, p: Self::Vector, n: Self::Vector, x: Self::Vector) -> Self::Vector {
        let mut out = zip(p, n, |p, n| p * f32::from_bits(((n as i32).wrapping_add(127) as u32) << 23));
        out.iter_mut().zip(x).filter(|(_, x)| *x < EXPONENT_MIN).for_each(|(out, _)| *out = 0.0);
        out
    }

    fn first(self, value: Self::Vector, count: usize) -> Self::Vector {
        let mut out = value;
        out.iter_mut().skip(count).for_each(|out| *out = f32::NEG_INFINITY);
        out
    }

    fn max_lane(self, value: Self::Vector) -> f32 {
        value.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }

    fn sum_lanes(self, value: Self::Vector) -> f32 {
        value.into_iter().sum()
    }

    fn prefetch(self, _at: *const u8) {}
}
