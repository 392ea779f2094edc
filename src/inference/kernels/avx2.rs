//! The product with AVX2: eight outputs a register, so a group is two halves; `vpmaddubsw` for four inputs of each.
//!
//! As in [`avx512`](super::avx512) a tile computes some rows from a [`Source`] of weights: packed bytes ([`Stream`]) or
//! 256 unpacked inputs ([`Panel`]). Sums stay 16 bits wide as long as they cannot overflow, then one `vpmaddwd`
//! widens and scales them.

// Sums, units and sources are indexed side by side.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::layout::{LINE, Layout, OUTPUTS_PER_GROUP, Stream, UNIT};
use super::{Activations, Product};

/// Rows of a tile: six sums of 16 bits and six of 32, and the operands, in sixteen registers.
const TILE_ROWS: usize = 3;
const PANEL_ROWS: usize = 240;
const PANEL_INPUTS: usize = 256;
const HALVES: usize = 2;
/// Outputs of a half.
const HALF: usize = OUTPUTS_PER_GROUP / HALVES;
const PREFETCH_BYTES: usize = 2048;

/// Weights of one group, by half and block, as registers.
trait Source<L: Layout> {
    type Unit: Copy;

    /// The four quads of a unit: registers, or where to load each just before its use.
    ///
    /// # Safety
    /// As for all functions here: AVX2, FMA and F16C, and half, block, unit and quad exist.
    unsafe fn unit(&self, half: usize, block: usize, unit: usize) -> Self::Unit;
    unsafe fn quad(unit: Self::Unit, quad: usize) -> __m256i;
    /// Two equal i16 per output; 1 where there are no sub-blocks.
    unsafe fn scale(&self, half: usize, block: usize, sub: usize) -> __m256i;
    /// Two i16 per output, for sub-blocks `2 * pair` and the next.
    unsafe fn min_pair(&self, half: usize, block: usize, pair: usize) -> __m256i;
    unsafe fn d(&self, half: usize, block: usize) -> __m256;
    unsafe fn min_d(&self, half: usize, block: usize) -> __m256;
}

impl<L: Layout> Source<L> for Stream {
    type Unit = [__m256i; 4];

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unit(&self, half: usize, block: usize, unit: usize) -> [__m256i; 4] {
        let nibble = _mm256_set1_epi8(15);
        // SAFETY: the unit is inside the group's quants; a prefetch may point anywhere.
        let at = unsafe {
            let at = self.quants.add(block * L::QUANT_BYTES + unit * L::UNIT_BYTES);
            if half == 0 {
                for line in 0..L::UNIT_BYTES / LINE {
                    _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(PREFETCH_BYTES + line * LINE).cast());
                }
            }
            at.add(half * LINE / HALVES)
        };
        // SAFETY: inside the unit.
        let line = |line: usize| unsafe { _mm256_loadu_si256(at.add(line * LINE).cast()) };
        let split =
            |line: __m256i| [_mm256_and_si256(line, nibble), _mm256_and_si256(_mm256_srli_epi16::<4>(line), nibble)];
        match L::BITS {
            4 => {
                let ([a, b], [c, d]) = (split(line(0)), split(line(1)));
                [a, b, c, d]
            }
            6 => {
                let (high, [a, b], [c, d]) = (line(0), split(line(1)), split(line(2)));
                let mask = _mm256_set1_epi8(0x30);
                let join = |low, high| _mm256_or_si256(low, _mm256_and_si256(high, mask));
                [
                    join(a, _mm256_slli_epi16::<4>(high)),
                    join(b, _mm256_slli_epi16::<2>(high)),
                    join(c, high),
                    join(d, _mm256_srli_epi16::<2>(high)),
                ]
            }
            _ => {
                // Back to signed: products of 255 would not fit into 16 bits.
                let sign = _mm256_set1_epi8(i8::MIN);
                [line(0), line(1), line(2), line(3)].map(|quad| _mm256_xor_si256(quad, sign))
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn quad(unit: [__m256i; 4], quad: usize) -> __m256i {
        unit[quad]
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn scale(&self, half: usize, block: usize, sub: usize) -> __m256i {
        if L::SUBS == 1 {
            return _mm256_set1_epi16(1);
        }
        // SAFETY: eight bytes of the block's record.
        let scales = unsafe {
            let at = self.scales.add(block * L::SCALE_BYTES + sub * OUTPUTS_PER_GROUP + half * HALF);
            _mm256_cvtepi8_epi32(_mm_loadl_epi64(at.cast()))
        };
        _mm256_blend_epi16::<0b1010_1010>(scales, _mm256_slli_epi32::<16>(scales))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn min_pair(&self, half: usize, block: usize, pair: usize) -> __m256i {
        let at = block * L::SCALE_BYTES + L::SUB_SCALE_BYTES + pair * 2 * OUTPUTS_PER_GROUP + half * 2 * HALF;
        // SAFETY: sixteen bytes of the block's record.
        unsafe { _mm256_cvtepu8_epi16(_mm_loadu_si128(self.scales.add(at).cast())) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn d(&self, half: usize, block: usize) -> __m256 {
        let at = block * L::SCALE_BYTES + L::D_AT + half * 2 * HALF;
        // SAFETY: eight f16 of the block's record.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(self.scales.add(at).cast())) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn min_d(&self, half: usize, block: usize) -> __m256 {
        let at = block * L::SCALE_BYTES + L::D_AT + 2 * OUTPUTS_PER_GROUP + half * 2 * HALF;
        // SAFETY: eight f16 of the block's record.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(self.scales.add(at).cast())) }
    }
}

/// 256 inputs (or the last fewer) of a group, unpacked.
#[repr(C, align(64))]
struct Panel {
    quads: [[__m256i; PANEL_INPUTS / 4]; HALVES],
    /// Blocks with sub-blocks only.
    scales: [[__m256i; 16]; HALVES],
    min_pairs: [[__m256i; 4]; HALVES],
    d: [[__m256; 8]; HALVES],
    min_d: [[__m256; 8]; HALVES],
}

impl Panel {
    /// # Safety
    /// AVX2, FMA and F16C, and the blocks exist in the stream.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn fill<L: Layout>(&mut self, stream: &Stream, blocks: Range<usize>) {
        for half in 0..HALVES {
            for (to, block) in blocks.clone().enumerate() {
                // SAFETY: the caller's.
                unsafe {
                    for unit in 0..L::BLOCK / UNIT {
                        let quads = <Stream as Source<L>>::unit(stream, half, block, unit);
                        let at = (to * L::BLOCK + unit * UNIT) / 4;
                        self.quads[half][at..at + 4].copy_from_slice(&quads);
                    }
                    if L::SUBS > 1 {
                        for sub in 0..L::SUBS {
                            self.scales[half][sub] = <Stream as Source<L>>::scale(stream, half, block, sub);
                        }
                    }
                    self.d[half][to] = <Stream as Source<L>>::d(stream, half, block);
                    if L::MINS {
                        for pair in 0..L::SUBS / 2 {
                            self.min_pairs[half][pair] = <Stream as Source<L>>::min_pair(stream, half, block, pair);
                        }
                        self.min_d[half][to] = <Stream as Source<L>>::min_d(stream, half, block);
                    }
                }
            }
        }
    }
}

impl<L: Layout> Source<L> for Panel {
    type Unit = *const __m256i;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unit(&self, half: usize, block: usize, unit: usize) -> *const __m256i {
        // SAFETY: the block and unit exist.
        unsafe { self.quads.get_unchecked(half).as_ptr().add((block * L::BLOCK + unit * UNIT) / 4) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn quad(unit: *const __m256i, quad: usize) -> __m256i {
        // SAFETY: one of the unit's four.
        unsafe { *unit.add(quad) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn scale(&self, half: usize, _: usize, sub: usize) -> __m256i {
        if L::SUBS == 1 {
            return _mm256_set1_epi16(1);
        }
        // SAFETY: the sub-block exists.
        unsafe { *self.scales.get_unchecked(half).get_unchecked(sub) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn min_pair(&self, half: usize, _: usize, pair: usize) -> __m256i {
        // SAFETY: the sub-blocks exist.
        unsafe { *self.min_pairs.get_unchecked(half).get_unchecked(pair) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn d(&self, half: usize, block: usize) -> __m256 {
        // SAFETY: the block exists.
        unsafe { *self.d.get_unchecked(half).get_unchecked(block) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn min_d(&self, half: usize, block: usize) -> __m256 {
        // SAFETY: the block exists.
        unsafe { *self.min_d.get_unchecked(half).get_unchecked(block) }
    }
}

type Sums<const M: usize> = [[__m256; HALVES]; M];

/// How many quads' products a 16-bit sum can hold: 8 of 15 * 127 * 2, 2 of 63 * 127 * 2, 1 of 128 * 127 * 2.
const fn quads_per_sum(bits: usize) -> usize {
    match bits {
        4 => 8,
        6 => 2,
        _ => 1,
    }
}

/// Adds the product of one block to `sums`: `block` of the source, `cell` of the activations.
///
/// # Safety
/// AVX2, FMA and F16C; the block exists in `source`, and `M` cells from `cell` on in `activations`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_block<L: Layout, S: Source<L>, const M: usize>(
    source: &S,
    block: usize,
    (activations, cell): (&Activations, usize),
    sums: &mut Sums<M>,
) {
    let mut totals = [[_mm256_setzero_si256(); HALVES]; M];
    // SAFETY: everything read belongs to the block and the cells.
    unsafe {
        for sub in 0..L::SUBS {
            add_sub_block::<L, S, M>(source, (block, sub), (activations, cell), &mut totals);
        }
        for half in 0..HALVES {
            let d = source.d(half, block);
            for m in 0..M {
                let mut product = _mm256_mul_ps(d, _mm256_cvtepi32_ps(totals[m][half]));
                if L::MINS && L::SUBS > 1 {
                    let sums = activations.sums().as_ptr().add((cell + m) * L::SUBS).cast::<i32>();
                    let mut total = _mm256_setzero_si256();
                    for pair in 0..L::SUBS / 2 {
                        let sums = _mm256_set1_epi32(sums.add(pair).read_unaligned());
                        let mins = source.min_pair(half, block, pair);
                        total = _mm256_add_epi32(total, _mm256_madd_epi16(mins, sums));
                    }
                    product = _mm256_fnmadd_ps(source.min_d(half, block), _mm256_cvtepi32_ps(total), product);
                }
                let scale = _mm256_set1_ps(*activations.scales().as_ptr().add(cell + m));
                sums[m][half] = _mm256_fmadd_ps(product, scale, sums[m][half]);
                if L::MINS && L::SUBS == 1 {
                    let sum = _mm256_set1_ps(*activations.scaled_sums().as_ptr().add(cell + m));
                    sums[m][half] = _mm256_fmadd_ps(source.min_d(half, block), sum, sums[m][half]);
                }
            }
        }
    }
}

/// Adds a sub-block's scaled product to `totals`.
///
/// # Safety
/// As [`add_block`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_sub_block<L: Layout, S: Source<L>, const M: usize>(
    source: &S,
    (block, sub): (usize, usize),
    (activations, cell): (&Activations, usize),
    totals: &mut [[__m256i; HALVES]; M],
) {
    // SAFETY: everything read belongs to the block and the cells.
    unsafe {
        let values = activations.values().as_ptr().add(cell * L::BLOCK);
        let scales: [__m256i; HALVES] = std::array::from_fn(|half| source.scale(half, block, sub));
        if L::OFFSET != 0 && L::BITS != 8 {
            for (m, totals) in totals.iter_mut().enumerate() {
                let start = _mm256_set1_epi32(*activations.starts().as_ptr().add((cell + m) * L::SUBS + sub));
                for (total, scale) in totals.iter_mut().zip(scales) {
                    // The scale's upper copy, widened.
                    let scale = _mm256_srai_epi32::<16>(scale);
                    let start = if L::SUBS == 1 { start } else { _mm256_mullo_epi32(start, scale) };
                    *total = _mm256_add_epi32(*total, start);
                }
            }
        }
        let mut dots = [[_mm256_setzero_si256(); HALVES]; M];
        for unit in 0..L::SUB / UNIT {
            let unit = sub * (L::SUB / UNIT) + unit;
            let units: [S::Unit; HALVES] = std::array::from_fn(|half| source.unit(half, block, unit));
            for q in 0..4 {
                let weights: [__m256i; HALVES] = std::array::from_fn(|half| S::quad(units[half], q));
                for m in 0..M {
                    let quad = values.add(m * L::BLOCK + unit * UNIT + q * 4).cast::<i32>().read_unaligned();
                    let quad = _mm256_set1_epi32(quad);
                    for half in 0..HALVES {
                        let weights = weights[half];
                        let products = if L::BITS == 8 {
                            _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(quad, weights))
                        } else {
                            _mm256_maddubs_epi16(weights, quad)
                        };
                        dots[m][half] = _mm256_add_epi16(dots[m][half], products);
                    }
                }
                if (unit * 4 + q + 1).is_multiple_of(quads_per_sum(L::BITS)) {
                    for (totals, dots) in totals.iter_mut().zip(&mut dots) {
                        for half in 0..HALVES {
                            let scaled = _mm256_madd_epi16(dots[half], scales[half]);
                            totals[half] = _mm256_add_epi32(totals[half], scaled);
                            dots[half] = _mm256_setzero_si256();
                        }
                    }
                }
            }
        }
    }
}

/// # Safety
/// AVX2, FMA and F16C; shapes match and the groups are claimed.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn matmul<L: Layout>(product: &Product) {
    // SAFETY: the caller's.
    unsafe {
        match product.activations.rows() {
            0 => {}
            1 => stream::<L, 1>(product),
            2 => stream::<L, 2>(product),
            3 => stream::<L, TILE_ROWS>(product),
            _ => product.groups.clone().for_each(|group| panels::<L>(product, group)),
        }
    }
}

/// All rows (`M`) at once, group after group.
///
/// # Safety
/// As [`matmul`].
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn stream<L: Layout, const M: usize>(product: &Product) {
    for group in product.groups.clone() {
        let stream = Stream::of::<L>(product, group);
        let mut sums = [[_mm256_setzero_ps(); HALVES]; M];
        for block in 0..product.weights.shape.inputs / L::BLOCK {
            // SAFETY: the block and its rows exist.
            unsafe { add_block::<L, _, M>(&stream, block, (product.activations, block * M), &mut sums) };
        }
        for (row, sums) in sums.iter().enumerate() {
            // SAFETY: the group is claimed by the caller.
            unsafe { store(product.out.at(row, group * OUTPUTS_PER_GROUP), sums) };
        }
    }
}

/// # Safety
/// `to` is a group's sixteen outputs.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn store(to: *mut f32, sums: &[__m256; HALVES]) {
    for (half, sum) in sums.iter().enumerate() {
        // SAFETY: the caller's.
        unsafe { _mm256_storeu_ps(to.add(half * HALF), *sum) };
    }
}

/// All rows of a group, by panels of weights.
///
/// # Safety
/// As [`matmul`].
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn panels<L: Layout>(product: &Product, group: usize) {
    let mut panel = MaybeUninit::<Panel>::uninit();
    let mut sums = [[_mm256_setzero_ps(); HALVES]; PANEL_ROWS + TILE_ROWS];
    // SAFETY: any bits are vectors; only what was filled is read.
    let panel = unsafe { &mut *panel.as_mut_ptr() };
    let stream = Stream::of::<L>(product, group);
    let (activations, rows) = (product.activations, product.activations.rows());
    let (blocks, step) = (product.weights.shape.inputs / L::BLOCK, PANEL_INPUTS / L::BLOCK);

    for first in (0..rows).step_by(PANEL_ROWS) {
        let count = PANEL_ROWS.min(rows - first);
        sums[..count].fill([_mm256_setzero_ps(); HALVES]);
        for block in (0..blocks).step_by(step) {
            let blocks = block..(block + step).min(blocks);
            // SAFETY: the blocks exist.
            unsafe { panel.fill::<L>(&stream, blocks.clone()) };
            for row in (0..count).step_by(TILE_ROWS) {
                for (from, block) in blocks.clone().enumerate() {
                    let cell = (activations, block * rows + first + row);
                    // SAFETY: the panel holds the block; sums and activations are padded to whole tiles.
                    unsafe {
                        let sums = sums[row..].as_mut_ptr();
                        match count - row {
                            1 => add_block::<L, _, 1>(panel, from, cell, &mut *sums.cast()),
                            2 => add_block::<L, _, 2>(panel, from, cell, &mut *sums.cast()),
                            _ => add_block::<L, _, TILE_ROWS>(panel, from, cell, &mut *sums.cast()),
                        }
                    }
                }
            }
        }
        for (row, sums) in sums[..count].iter().enumerate() {
            // SAFETY: the group is claimed by the caller.
            unsafe { store(product.out.at(first + row, group * OUTPUTS_PER_GROUP), sums) };
        }
    }
}
